/*
 * A simulated world — one machine's clocks, the servers, and the network between them.
 *
 * The oscillator's frequency walks at random: each second a normal step is added (`wander`, in s/s
 * per √s). A packet takes a base delay and an exponential time on top, each way anew. That is how
 * the clock and network simulator clknetsim models them for chrony's tests, so figures can be set
 * side by side.
 *
 * True time is a double, in seconds since the start; servers show it, but for their own faults.
 */
#pragma once

#include "timekeeping/keeper.h"

#define WORLD_SERVERS_MAX KEEPER_SERVERS_MAX

typedef struct Span {
        double start_s;
        double length_s; /* 0: never */
} Span;

typedef struct WorldOptions {
        double freq_ppm;    /* the oscillator's: > 0 when it is fast */
        double wander;      /* s/s per √s */
        double offset_s;    /* our clock − true time at the start */
        double delay_s;     /* each way */
        double jitter_s;    /* mean of the exponential part, each way */
        double asymmetry_s; /* more on the way there */
        double queue_s; /* a queue on the way there that comes and goes once an hour, up to this */
        double spike_prob; /* for each packet */
        double spike_s;
        double loss; /* for each packet */
        unsigned servers;
        unsigned liars;       /* the last ones of them */
        double liar_s;        /* what they add */
        double server_step_s; /* when server 0 steps by 1 s; 0: never */
        Span outage;
        Span suspend;
        double suspend_error_s; /* of the clock on resume, at most, either way: a coarse RTC */
        double leap_s;          /* when a second is inserted; 0: never */
        uint64_t seed;
} WorldOptions;

typedef struct World {
        WorldOptions options;
        uint64_t random;
        double now_s;  /* true time */
        double mono_s; /* CLOCK_MONOTONIC */
        double asleep_s;
        int64_t base_ns;      /* CLOCK_REALTIME − CLOCK_MONOTONIC */
        double freq;          /* oscillator's error, s/s */
        double command_ppm;   /* ADJ_FREQUENCY */
        TimeLeap leap;        /* STA_INS */
        int64_t leap_real_ns; /* the midnight that ends with a leap second */
        bool leapt;
} World;

/* One exchange on its way, its outcome known to nobody yet. */
typedef struct WorldExchange {
        bool is_under_way;
        int64_t t[4];  /* T1..T3; T4 is read when it arrives */
        double ends_s; /* true time; for a lost one, the time-out */
        bool is_lost;
} WorldExchange;

void world_init(World *w, const WorldOptions *o);

/* Lets true time pass, at most to the next whole second or what world_limit_s() says. */
void world_advance(World *w, double to_s);

/* The oscillator's walk; call it each whole second. */
void world_wander(World *w);

/* True time at which CLOCK_MONOTONIC shows @mono_ns if nothing changes; never before now. */
double world_when_s(const World *w, int64_t mono_ns);

/* True time at which the kernel will insert the leap second; INFINITY when it was not told to. */
double world_leap_s(const World *w);
void world_leap(World *w);

/* The machine sleeps, and wakes at the end of it. */
void world_suspend(World *w);

TimeReading world_read(const World *w);

/*
 * CLOCK_REALTIME − the true time, in nanoseconds. With one server only, its time counts as true:
 * there is no other.
 */
double world_error_ns(const World *w);

void world_send(World *w, unsigned server, WorldExchange *ret);
TimeClaim world_claim(const World *w, unsigned server);

/* Offset of our clock that a perfect exchange with @server would find now, in nanoseconds. */
double world_offset_ns(const World *w, unsigned server);

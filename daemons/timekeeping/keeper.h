/*
 * Keeper — all of it together: servers in, decisions about the clock out.
 *
 * The caller has clocks and a network and does only this:
 *
 *      at keeper_wakeup_ns(), and when the clock was stepped or the machine resumed:
 *              keeper_tick()               ─▶ does to the clock what the decision says
 *              while keeper_poll():        ─▶ begins an exchange with that server
 *      when an answer comes, or its time is over:
 *              keeper_reply() / keeper_no_reply(), then as above
 *
 * Servers are intersected at each tick; the one with the least bound among those that agree is
 * followed, and changed only for one twice as good. Our own clock, while its bound is known, has
 * the casting vote where the servers have no majority, so two that disagree are no stalemate. At
 * the start nobody is followed before every server has answered or failed to, so the first to
 * answer cannot set the clock alone.
 *
 * No clock, no socket, no log.
 */
#pragma once

#include "timekeeping/discipline.h"
#include "timekeeping/drift.h"
#include "timekeeping/source.h"

#define KEEPER_SERVERS_MAX 16U

typedef struct KeeperConfig {
        SourceConfig source;
        DisciplineLimits limits;
        /* no server's time is believed before this: build date, saved clock */
        int64_t earliest_real_ns;
} KeeperConfig;

extern const KeeperConfig keeper_defaults;

typedef enum KeeperState {
        KEEPER_STARTING,       /* nothing known yet */
        KEEPER_SYNCHRONISED,   /* follows a server */
        KEEPER_HOLDOVER,       /* no server, but the clock is still known within the limit */
        KEEPER_UNSYNCHRONISED, /* no server, or none that agree, and the clock may be anywhere */
        _KEEPER_STATE_MAX,
        _KEEPER_STATE_INVALID = -EINVAL,
} KeeperState;

typedef enum KeeperEvent {
        KEEPER_EVENT_SUSPENDED =
                1 << 0, /* the machine slept: the clock is unknown until the next answer */
        KEEPER_EVENT_STEPPED =
                1 << 1,              /* somebody else stepped the clock: it is being slewed back */
        KEEPER_EVENT_LEAPT = 1 << 2, /* the leap second passed */
        KEEPER_EVENT_SELECTED = 1 << 3, /* another server is followed, or none */
} KeeperEvent;

typedef struct KeeperDecision {
        KeeperEvent events;
        bool set_frequency;
        double frequency_ppm;  /* ADJ_FREQUENCY, total; always filled */
        int64_t step_ns;       /* add to CLOCK_REALTIME at once; 0: no step */
        int64_t stepped_by_ns; /* KEEPER_EVENT_STEPPED: how far */
        KeeperState state;
        int64_t maxerror_ns; /* ADJ_MAXERROR; INT64_MAX: unknown */
        int64_t esterror_ns; /* ADJ_ESTERROR */
        TimeLeap leap;       /* STA_INS, STA_DEL: at the end of this UTC day */
} KeeperDecision;

typedef struct TimeKeeper TimeKeeper;

const char *keeper_state_to_string(KeeperState s);

/*
 * @drift: what is known of the oscillator; NULL: nothing. keeper_tick() tells the frequency to set.
 */
TimeKeeper *keeper_new(const KeeperConfig *c, const TimeReading *now, const Drift *drift);
TimeKeeper *keeper_free(TimeKeeper *k);
DEFINE_CLEANUP(TimeKeeper, keeper_free);

/* Other polls and limits from now on; what is known stays. */
void keeper_set_config(TimeKeeper *k, const KeeperConfig *c);

/* Return: the server's number from 0 up, or -ENOSPC. Numbers of removed servers are given again. */
int keeper_add_server(TimeKeeper *k, const TimeReading *now);
/* The caller has ended the exchange under way: a late answer must not reach the number's next
 * owner. */
void keeper_remove_server(TimeKeeper *k, unsigned server);

/*
 * Whether an exchange is due now: 1 and the server, and the exchange counts as begun; 0 if none is.
 */
int keeper_poll(TimeKeeper *k, const TimeReading *now, unsigned *ret_server);

/* All servers are due now, with a burst. */
void keeper_poll_now(TimeKeeper *k, const TimeReading *now);

/**
 * keeper_reply() - an answer came
 * @t:   T1..T4 in nanoseconds since 1970, T1 and T4 by CLOCK_REALTIME
 * @now: read after T4
 *
 * Return: what became of the sample, for the log and the bus.
 */
TimeReject keeper_reply(TimeKeeper *k, unsigned server, const int64_t t[static 4],
                        const TimeClaim *claim, const TimeReading *now);
TimeReject keeper_no_reply(TimeKeeper *k, unsigned server, const TimeReading *now);

/* Looks at the clocks, selects, decides. Cheap; call it whenever anything happened. */
void keeper_tick(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret);

/* As keeper_tick(), and steps what is left of the offset: somebody asked for it. */
void keeper_step(TimeKeeper *k, const TimeReading *now, KeeperDecision *ret);

/* CLOCK_MONOTONIC of the next thing to do. */
int64_t keeper_wakeup_ns(const TimeKeeper *k);

/* |true − CLOCK_REALTIME| is at most this now; INT64_MAX: unknown. */
int64_t keeper_bound_ns(const TimeKeeper *k, const TimeReading *now);

/* true − CLOCK_REALTIME as far as known: what is still to be slewed. */
int64_t keeper_offset_ns(const TimeKeeper *k, const TimeReading *now);

/* What we may say of our own clock to those who ask us; its distance is our bound. Never a loop. */
void keeper_claim(const TimeKeeper *k, const TimeReading *now, TimeClaim *ret);

/* To be kept over a restart. False while nothing better than at the start is known. */
bool keeper_drift(const TimeKeeper *k, Drift *ret);

/* For status. The server followed, or -1; a server's state, NULL if there is no such server. */
int keeper_selected(const TimeKeeper *k);
const TimeSource *keeper_server(const TimeKeeper *k, unsigned server);

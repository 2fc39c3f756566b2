/*
 * A real mr-masterd on a bus of its own, and workers that do as they are told.
 *
 * The test's process holds the workers: servers of service Worker that register with the master.
 * What they do with an attempt is decided by a function of the test.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "base/text.h"
#include "cluster.pb-c.h"
#include "rpc/evgrpc.h"

typedef struct Fixture {
        struct event_base *base;
        struct event *tick;
        char *dir; /* of the test; removed at the end */
        char *state;
        char *bus_address;
        char *listen;
        GPtrArray *options; /* further ones of mr-masterd */
        int life[2];        /* a socket pair: children end when our end is closed */
        pid_t dbus_pid, master_pid;
        sd_bus *bus;
        GPtrArray *workers;
} Fixture;

typedef enum Deed {
        SUCCEED,
        HOLD,        /* keep the call open; fake_release() ends it */
        HOLD_UNTOLD, /* the same, without telling of any progress: a reduce is in its shuffle */
        FAIL,        /* result FAILED */
        FAIL_FOR_GOOD,
        REJECT,
        BREAK_OFF, /* end the call without a result */
        REFUSE,    /* the same, as one that does not understand the task */
} Deed;

typedef struct FakeWorker FakeWorker;
typedef struct FakeRun FakeRun;
typedef Deed (*DeedFn)(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata);

struct FakeWorker {
        Fixture *fixture;
        EvgrpcServer *server;
        EvgrpcChannel *master;
        struct event *heart;
        char id[ID128_HEX_SIZE], incarnation[ID128_HEX_SIZE];
        char *name, *address;
        uint32_t slots;
        uint32_t level; /* program_level */
        DeedFn deed;    /* NULL: SUCCEED */
        void *userdata;
        GPtrArray *runs;      /* FakeRun *: open calls */
        GPtrArray *held;      /* Mapreduced__V1__MapOutput * */
        GPtrArray *forgotten; /* char *: jobs it was told to forget */
        unsigned registered, refused, maps_started, reduces_started, cancelled, lost_seen;
        char *refusal;
        bool silent; /* no heartbeat */
};

struct FakeRun {
        FakeWorker *worker;
        EvgrpcServerCall *call;
        EvgrpcCall *watch;
        Mapreduced__V1__TaskSpec *spec;
        GHashTable *outputs; /* map → attempt + 1 */
};

void fixture_init(Fixture *f, const char *const options[]);
void fixture_start_master(Fixture *f);
void fixture_kill_master(Fixture *f,
                         int signal); /* and waits for its end; returns when it is gone */
void fixture_done(Fixture *f);
int fixture_run_master(Fixture *f, const char *const options[],
                       char **ret_stderr); /* until it ends; its exit status */

/* Runs the loop until @done says so; fails the test after a minute. */
typedef bool (*DoneFn)(void *userdata);
void fixture_wait(Fixture *f, DoneFn done, void *userdata, const char *what);
void fixture_run_for(Fixture *f, unsigned msec);

FakeWorker *fake_worker(Fixture *f, const char *name, uint32_t slots); /* of level 0: an old one */
FakeWorker *fake_worker_of_level(Fixture *f, const char *name, uint32_t slots, uint32_t level);
void fake_restart(FakeWorker *w, bool keeps_outputs); /* a new incarnation */
void fake_silence(FakeWorker *w); /* cut off: no heartbeat any more, its calls stay open */
void fake_kill(FakeWorker *w);    /* its process dies: connections are closed */
void fake_release(FakeWorker *w); /* what it holds succeeds */
/* Its first held reduce succeeds without another word: it has had all maps' first outputs in
 * hand. */
void fake_finish_reduce(FakeWorker *w);
/* What the master calls a job towards workers; known once one of its attempts was started. */
const char *fake_wire_id(const char *job);
void fake_report_lost(FakeWorker *w, const char *job, uint32_t map, uint32_t attempt,
                      const FakeWorker *holder, bool corrupt);

/* Jobs. @id is 16 bytes. Each setting is "Key=value"; lists are repeated keys. */
int submit_job(Fixture *f, const char *const settings[], char id[static 16], sd_bus_error *error);
void submit(Fixture *f, const char *const settings[], char id[static 16]); /* must be accepted */
/* The same for an input of @size_bytes that is written first. */
void submit_input(Fixture *f, size_t size_bytes, const char *const settings[], char id[static 16]);
char *job_text(Fixture *f, const char *id, const char *property); /* caller frees */
uint64_t job_number(Fixture *f, const char *id, const char *property);
void wait_for_state(Fixture *f, const char *id, const char *state);
char *job_events(Fixture *f, const char *id); /* lines "kind: text" */
int call_job(Fixture *f, const char *id, const char *method, sd_bus_error *error,
             sd_bus_message **reply, const char *types, ...);

char *write_input(Fixture *f, const char *name, size_t size_bytes); /* its path */

/* ---- For tests ---- */

/* Options. We are every worker, and may be late: so a lease that is to end lasts some time, and
 * others as good as for ever. */
extern const char *const quick[];   /* a lease of two seconds, which a test waits for the end of */
extern const char *const patient[]; /* a minute */

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

char *setting(const char *key, const char *value); /* "key=value"; caller frees */
bool exists(const char *dir, const char *name);
void assert_part(const char *dir, const char *name, const char *expected);
void assert_contains(const char *text, const char *words);
void wait_count(Fixture *f, const unsigned *value, unsigned least, const char *what);
Deed hold_maps(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata);

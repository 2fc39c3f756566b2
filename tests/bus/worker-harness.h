/*
 * A master for the tests of mr-workerd — it answers registrations, and sends the tasks a test
 * makes.
 *
 * The worker is a process of its own, as are its mr-tasks; master and test are this process, in one
 * loop. WAIT() runs the loop until a condition holds, and fails the test when that takes too long.
 */
#pragma once

#include <event2/event.h>

#include "base/error.h"
#include "cluster.pb-c.h"
#include "rpc/evgrpc.h"

#define WORKERS_MAX 4

typedef struct Registration {
        char *worker_id, *incarnation, *name, *address;
        uint32_t slots, level;
        GPtrArray *held; /* of char *, "JOB/map.attempt" */
} Registration;

typedef struct Report {
        char *worker_id, *reason;
        uint32_t map, attempt;
        bool corrupt, gone;
} Report;

typedef struct Worker {
        pid_t pid;  /* 0: reaped */
        int status; /* as waitpid() tells it */
        char *spool;
        char *log; /* its standard error, a file */
        EvgrpcChannel *channel;
        Registration registration; /* the last one */
        uint32_t registrations, heartbeats;
} Worker;

typedef struct Harness {
        struct event_base *base;
        struct event *tick;
        char *dir, *address;
        EvgrpcServer *server;
        Worker workers[WORKERS_MAX];
        size_t worker_count;
        char *forget_job;    /* told to every worker at its next heartbeat or registration */
        bool forget_workers; /* answer heartbeats NOT_FOUND, once */
        const char *refusal; /* said to whoever registers; NULL: it may */
        GHashTable *files;   /* name -> GBytes, for ReadJobFile */
        uint64_t lie_bytes;  /* added to total_bytes of job files */
        uint32_t file_reads; /* ReadJobFile calls */
        GPtrArray *watches;  /* EvgrpcServerCall, open ones */
        GArray *events;      /* MapOutputEvent told so far */
        GPtrArray *reports;  /* of Report */
        int life[2]; /* workers end when the first one is closed, as they do when the test dies */
} Harness;

typedef struct Task {
        EvgrpcCall *call;
        bool over;
        EvgrpcCode code;
        char *message; /* of the status */
        bool has_result;
        Mapreduced__V1__TaskOutcome outcome;
        char *error, *stderr_tail;
        bool permanent;
        GByteArray *output;
        uint32_t phases; /* bit 1 << TaskPhase for each that was told */
} Task;

void harness_setup(Harness *h, gconstpointer data);
void harness_teardown(Harness *h, gconstpointer data);

void harness_listen(Harness *h); /* a master again, after its server was freed */

/* Starts a worker, with further options, NULL last; the second waits for its registration. */
Worker *worker_spawn(Harness *h, const char *name, ...) __attribute__((sentinel));
Worker *worker_start(Harness *h, const char *name, ...) __attribute__((sentinel));
/* Waits for more than so many registrations; then tasks may be started on it. */
void worker_connect(Harness *h, Worker *w, uint32_t registrations);
void worker_kill(Harness *h, Worker *w, int signal); /* and reaps it */
void worker_restart(Harness *h, Worker *w, const char *name);

/* A file with @text in the harness's directory, and a piece that is the whole of it. */
char *put_file(Harness *h, const char *name, const char *text);
void piece_of(Mapreduced__V1__Piece *p, const char *path);

/* A spec with its parts in one place; pointers stay valid as long as the struct. */
typedef struct Spec {
        Mapreduced__V1__TaskSpec spec;
        Mapreduced__V1__Program program;
        Mapreduced__V1__Piece pieces[4], *piece_list[4];
        Mapreduced__V1__JobFile file, *files[1];
} Spec;

/* A map of one file, by the built-in word count or by @mapper. */
void spec_map(Spec *s, const char *path, const char *mapper, uint32_t map, uint32_t partitions);
/* A reduce of word counts; @output_dir NULL: the result comes back. */
void spec_reduce(Spec *s, const char *output_dir, uint32_t maps, uint32_t partitions);

Task *task_start(Worker *w, const Mapreduced__V1__TaskSpec *spec);
void task_free(Task *t);
DEFINE_CLEANUP(Task, task_free);
/* Runs it to its end; fails the test unless it SUCCEEDED. */
Task *task_run(Harness *h, Worker *w, const Mapreduced__V1__TaskSpec *spec);
char *task_output(const Task *t); /* NUL-terminated copy */

/* Tells everyone who watches, now and later. */
void announce(Harness *h, uint32_t map, uint32_t attempt, const char *worker_id,
              const char *address);
void announce_worker(Harness *h, uint32_t map, uint32_t attempt, const Worker *w);

bool process_lives(pid_t pid);                                /* a zombie does not */
bool read_pids(const char *path, pid_t *ret_a, pid_t *ret_b); /* two numbers on a line */
char *file_text(const char *path);

uint64_t harness_deadline(void);
bool harness_late(uint64_t deadline);

#define WAIT(h, condition)                                                                         \
        do {                                                                                       \
                uint64_t _deadline = harness_deadline();                                           \
                while (!(condition)) {                                                             \
                        if (harness_late(_deadline))                                               \
                                g_error("%s:%d: never: %s", __FILE__, __LINE__, #condition);       \
                        (void) event_base_loop((h)->base, EVLOOP_ONCE);                            \
                }                                                                                  \
        } while (0)

/*
 * Manager — everything the master holds, and the round in which it decides.
 *
 * Whatever happens (a submission, a result, a heartbeat, a lost worker) changes the state at once
 * and kicks the manager. Then, once per turn of the loop:
 *
 *      schedule ──▶ commit to the store ──▶ start the attempts ──▶ announce on the bus
 *
 * So many events cost one transaction, an attempt's number is on disk before its worker hears
 * it, and nothing in between waits for a timer.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "base/cause.h"
#include "cluster.pb-c.h"
#include "jobs/counters.h"
#include "jobs/job-desc.h"
#include "jobs/scheduler.h"
#include "mr-masterd/master-conf.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-offload.h"
#include "mr-masterd/master-output.h"
#include "mr-masterd/master-plan.h"
#include "mr-masterd/master-store.h"
#include "platform/authorize.h"
#include "base/text.h"
#include "records/split.h"
#include "rpc/evgrpc.h"

#define MASTER_PATH "/org/mapreduced/Master1"
#define MASTER_BUS_NAME "org.mapreduced.Master1"
#define MASTER_EVENTS_MAX 200U /* kept of each job */
#define MASTER_EVENT_MAX_BYTES 1024U
#define MASTER_REASON_MAX_BYTES 4096U
#define MASTER_TASK_ATTEMPTS_MAX 16U  /* remembered of each task */
#define MASTER_TAILS_MAX 100U         /* of stderr, kept of each job */
#define MASTER_KEPT_INPUTS_MAX 10000U /* files of a job that is over whose names are kept */
#define MASTER_WORKERS_MAX 10000U     /* alive ones; further ones are refused */
#define MASTER_LOST_WORKERS_MAX 256U  /* remembered, so that a list shows who is missing */
#define MASTER_ANNOUNCE_USEC                                                                       \
        (200 * USEC_PER_MSEC) /* between two announcements of one object's numbers */

typedef struct Manager Manager;
typedef struct MasterJob MasterJob;
typedef struct MasterWorker MasterWorker;
typedef struct AttemptCall AttemptCall;
typedef struct Watcher Watcher;
typedef struct LineageIndex LineageIndex;
typedef struct JobLineage JobLineage;
typedef struct Join Join;

/* The numbers are in the store: never change them. */
typedef enum JobState {
        JOB_PLANNING,
        JOB_RUNNING,
        JOB_COMMITTING,
        JOB_DONE,
        JOB_FAILED,
        JOB_CANCELLED,
        _JOB_STATE_MAX,
} JobState;

/* What of an object must be announced; JOB_CHANGED_STATE goes out at once. */
typedef enum ChangedFlags {
        CHANGED_NUMBERS = 1 << 0,
        CHANGED_STATE = 1 << 1,
} ChangedFlags;

typedef struct FinishedAttempt FinishedAttempt;

struct MasterJob {
        Manager *manager;
        uint64_t number;
        char *id;      /* the number, as text */
        char *wire_id; /* "7-3f2a91c0de55": what workers call it */
        char *path;    /* its object */
        JobDesc *desc;
        char *program;
        uint32_t uid;
        JobState state;
        JobState ending; /* FAILED or CANCELLED: on its way there, as soon as nothing of it works
                            any more; else 0 */
        char *reason;
        char *cause;         /* of base/cause.h: why it failed, in a word; "" */
        char *cause_attempt; /* whose attempt that was, "map-3/1"; "" for nobody's */
        char *error_output;
        uint64_t submitted_usec, started_usec, finished_usec; /* CLOCK_REALTIME */
        uint64_t input_bytes;
        uint32_t maps, reduces;
        Counters *counters; /* NULL before it runs */

        char *output_dir;    /* Output=, or our own results directory */
        bool output_created; /* by us */
        bool output_prepared;
        bool streamed; /* workers send the result's bytes here */

        unsigned working;   /* pieces of work in threads */
        GPtrArray *renames; /* of parts that wait for those on their way; see master-commit.c */
        bool renaming;
        bool finishing;

        /* Only while it runs: the rest is the store's. */
        PlanFiles *files;
        SplitPlan *splits;
        TaskTable *table;
        JobLineage *lineage;
        char **origins;   /* by map: what it was reused from; NULL: it was run */
        char *stable_dir; /* for its map outputs, NULL with Intermediate=local; also when it is over
                           */
        CounterSet **task_counters[_TASK_KIND_MAX];
        bool *map_counted;   /* its counters are in the job's: it is DONE */
        GHashTable *calls;   /* set of AttemptCall * */
        GPtrArray *watchers; /* Watcher * */

        /* Of a job that is over, for the bus. */
        uint32_t maps_done, reduces_done, attempts_failed, attempts_lost, outputs_lost;

        uint64_t next_event;
        uint64_t next_tail;
        char *waiting_for;         /* why nothing runs; NULL when something does */
        const char *waiting_cause; /* the same in a word of base/cause.h */

        unsigned changed; /* ChangedFlags */
        uint64_t announced_usec;
};

/* What is known of a worker's clock; see master-clock.c. */
typedef struct WorkerClock {
        bool synchronised; /* its kernel says so */
        uint64_t error_usec;
        int64_t offset_usec;        /* ours − its: > 0 when it is slow */
        uint64_t offset_bound_usec; /* 0: not measured */
        bool is_skewed;             /* and a warning was given */
} WorkerClock;

struct MasterWorker {
        Manager *manager;
        uint32_t number;
        char id[ID128_HEX_SIZE];
        char incarnation[ID128_HEX_SIZE]; /* "" for one that is only remembered */
        char replaced[ID128_HEX_SIZE];    /* the incarnation before; "" for none */
        char *name;
        char *address;
        char *path;
        char *trouble; /* its last refusal or failure, or how it was lost; NULL: none yet */
        bool alive;
        bool drained;  /* gets no new task; kept over restarts of both */
        bool expected; /* it was there before our restart: its outputs are believed until the lease
                          ends */
        uint32_t slots;
        uint32_t program_level; /* that it said when it registered: base/program-level.h */
        uint64_t free_bytes;
        double load;
        GPtrArray *drop_cached; /* of char *: keys that its next heartbeat is answered with */
        WorkerClock clock;
        uint64_t last_heard_usec;  /* CLOCK_REALTIME */
        uint64_t lease_until_usec; /* CLOCK_MONOTONIC */
        EvgrpcChannel *channel;
        bool reachable; /* as far as the channel knows: while it is not, it gets no tasks */
        /* Of its last heartbeat: which CAs it believes, which has issued its certificate, which
         * list it has. */
        uint64_t authorities, issuer, revocations;
        uint32_t announced_used;
        unsigned changed;
        uint64_t announced_usec;
};

struct Manager {
        Loop *loop;
        MasterConf *conf;
        char epoch[ID128_HEX_SIZE];
        char tag[STORE_TAG_SIZE]; /* of the state: part of every wire id */
        char *address;
        int lock_fd;

        Store *store;
        Offload *offload;
        Scheduler *scheduler;
        LineageIndex *lineage;
        EvgrpcServer *server;        /* plain, on unix sockets; NULL: none is served */
        EvgrpcServer *secure_server; /* TLS, on TCP; NULL: none is served */
        char *secure_address;        /* its first */
        MasterKeys *keys;            /* NULL: without TLS */
        Join *join;                  /* NULL: nobody is let in from here */
        sd_bus *bus;
        bool bus_named; /* a name can be claimed on it */
        Authorizer *authorizer;

        GHashTable *jobs;     /* id → MasterJob * */
        GPtrArray *by_age;    /* the same jobs, oldest first */
        GHashTable *requests; /* RequestId → MasterJob * */
        uint64_t next_job;
        uint64_t plan_job; /* whose plan was asked for last; 0: none is kept */
        PlanFiles *plan_files;
        SplitPlan *plan_splits;
        unsigned submitting; /* jobs whose files are being copied */

        GHashTable *workers; /* id → MasterWorker * */
        GHashTable *numbers; /* worker number → MasterWorker * */
        uint32_t next_worker;

        LoopTimer *round_timer;
        LoopTimer *wakeup_timer;
        LoopTimer *lease_timer;
        LoopTimer *tick_timer; /* each heartbeat: do we run ourselves? */
        uint64_t ticked_usec;  /* CLOCK_MONOTONIC */
        LoopTimer *announce_timer;
        bool kicked;
        bool stopping;
        bool prune; /* a job came to its end */
        unsigned changed;
        uint64_t announced_usec;
};

/* ---- master-manager.c ---- */

int manager_new(Loop *l, MasterConf *conf, Manager **ret, Error *e);
int manager_start(Manager *m, Error *e); /* opens the state, the bus and the addresses */
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager, manager_free);

/* Takes over from @fresh what may change while jobs run, and says what may not. */
void manager_reload(Manager *m, const MasterConf *fresh);

void manager_kick(Manager *m); /* a round, in this turn of the loop or the next */
int manager_commit(Manager *m,
                   bool durable); /* on failure the master ends: its state is what is on disk */
uint64_t manager_now(Manager *m); /* CLOCK_MONOTONIC */
uint64_t manager_realtime(Manager *m); /* CLOCK_REALTIME */
char *manager_state_path(const Manager *m, const char *kind,
                         const MasterJob *job); /* kind: "jobs", "results" */
unsigned manager_count_active(const Manager *m);

/* ---- master-job.c: the life of a job ---- */

const char *job_state_to_string(JobState s);
bool job_is_over(const MasterJob *j);
MasterJob *job_new(Manager *m, uint64_t number, JobDesc *desc, uint32_t uid); /* takes @desc */
MasterJob *job_free(MasterJob *j);
DEFINE_CLEANUP(MasterJob, job_free);

MasterJob *manager_find_job(const Manager *m, const char *id);
/* By what workers call it. Numbers begin anew with an empty state directory, and workers may still
 * hold outputs of the job 1 before: the tag of the state keeps them apart. */
MasterJob *manager_find_job_by_wire_id(const Manager *m, const char *wire_id);
void job_add(MasterJob *j); /* into the manager's tables */
/* A new job is in the store, durably, or not there at all. Then it is planned. */
int job_submit(MasterJob *j);
void job_plan(MasterJob *j);
int job_make_splits(const MasterJob *j, const PlanFiles *files, SplitPlan **ret, Error *e);
bool job_has_cuts(const MasterJob *j,
                  const SplitPlan *plan);                /* are they those that it began with? */
int job_begin(MasterJob *j, PlanFiles *files, Error *e); /* splits and tables; takes @files */
void job_run(MasterJob *j);
void job_check_complete(MasterJob *j);
void job_end(MasterJob *j, JobState how, const char *reason, const char *cause,
             const FinishedAttempt *blamed, const char *error_output); /* FAILED or CANCELLED */
void job_try_end(MasterJob *j);
void job_finish(MasterJob *j);
void job_save(MasterJob *j);
void job_save_task(MasterJob *j, TaskKind kind, uint32_t task);
void job_changed(MasterJob *j, unsigned flags);
void job_event(MasterJob *j, const char *kind, const char *format, ...) _printf_(3, 4);
void job_set_task_counters(MasterJob *j, TaskKind kind, uint32_t task,
                           CounterSet *set);    /* takes @set */
void job_count_map(MasterJob *j, uint32_t map); /* once while it is DONE, else not at all */
void job_rerun_lost(MasterJob *j);              /* as task_table_rerun_lost() */
void job_drop_cached(MasterJob *j, uint32_t map, MasterWorker *holder); /* its output is bad */
void job_output_lost(MasterJob *j, uint32_t map, const char *why); /* after the table said so */
void manager_prune_jobs(Manager *m);

/* ---- master-skipped.c: records that mappers fail on ---- */

/* Those of the attempt that was just committed, instead of those of any before. */
void job_save_skipped(MasterJob *j, uint32_t map, const Mapreduced__V1__TaskResult *result);
/* All of the job as the side file has them: lines "PATH TAB OFFSET TAB LENGTH TAB RECORD"; NULL
 * when there are none. */
GByteArray *job_list_skipped(MasterJob *j);

/* ---- master-restore.c ---- */

int manager_restore(Manager *m, Error *e);

/* ---- master-dispatch.c: attempts and their calls ---- */

void manager_schedule(Manager *m, GArray *ret_assignments);
void manager_start_attempts(Manager *m, const GArray *assignments);
void job_kill_attempts(MasterJob *j);
void job_leave_attempts(
        MasterJob *j); /* we end, they go on: their workers wait for the next master */
/* One attempt of the task was committed: the others are told to stop. */
void job_kill_losers(MasterJob *j, TaskKind kind, uint32_t task);
void worker_lose_attempts(MasterWorker *w, const char *why, const char *cause);
TaskKind job_part_kind(const MasterJob *j); /* maps, where there are no reduces */
uint32_t job_part_count(const MasterJob *j);
const char *job_part_ending(const MasterJob *j);   /* of their names: ".gz"; a constant */
double job_fractions(const MasterJob *j, char of); /* 'M' maps, 'S' shuffle, 'R' reduces: summed */

/* ---- master-resume.c: attempts that go on over another call ---- */

/* After a restart: an attempt that its worker may still run. */
int job_expect_attempt(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                       uint32_t worker);
/* The worker is here again: takes up the attempts that it still has and @keep is told of; the
 * others are lost. */
void worker_resume_attempts(MasterWorker *w, const Mapreduced__V1__RegisterRequest *request,
                            GPtrArray *keep);
/* Its connection was left in peace: its attempts go on over the next one. */
void worker_move_attempts(MasterWorker *w);
/* Of the attempts whose result a worker has sent: those that we take for running. Commits what is
 * known of the others.
 * Return: of RunningAttempt *, owned by @request; NULL: the state cannot be saved. */
GPtrArray *manager_list_unheard(Manager *m, const Mapreduced__V1__HeartbeatRequest *request);

/* ---- master-commit.c: parts ---- */

struct FinishedAttempt {
        TaskKind kind;
        uint32_t task, attempt, worker;
        CounterSet *counters; /* owned */
};

OutputCare job_output_care(const MasterJob *j);
char *job_attempt_dir(const MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                      uint32_t worker);
GPtrArray *job_renames_new(void);
void job_commit_part(MasterJob *j, FinishedAttempt *f,
                     const Mapreduced__V1__TaskResult *result); /* takes what it points to */

/* ---- master-history.c: what became of attempts, and what tasks are made from ---- */

void job_attempt_started(MasterJob *j, const Assignment *a);
void job_attempt_ended(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt, AttemptEnd end,
                       const char *reason, const char *cause); /* which may be NULL */
void job_attempt_committed(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt);
void job_keep_tail(MasterJob *j, const FinishedAttempt *f, const char *text); /* of its stderr */
int job_restore_history(MasterJob *j);
/* Valid until the next call. -ENODATA: it is not known any more. */
int job_get_plan(MasterJob *j, const PlanFiles **ret_files, const SplitPlan **ret_splits);
void job_trim_inputs(MasterJob *j); /* of a job that comes to its end */
void manager_forget_plan(Manager *m);

/* ---- master-workers.c: registration and leases ---- */

MasterWorker *worker_free(MasterWorker *w);
MasterWorker *manager_worker(const Manager *m, uint32_t number);
const char *manager_worker_name(const Manager *m, uint32_t number); /* "" for none */
MasterWorker *manager_remember_worker(Manager *m, uint32_t number, const char *id, const char *name,
                                      const char *address, uint32_t slots);
/* Both add to @forget, a set, jobs that the worker may forget; the strings are the request's.
 * @keep: of the request's running attempts, the request's own.
 * Return: 0; -EPERM, -EUSERS, -EEXIST or -EINVAL with a sentence. */
int manager_register_worker(Manager *m, const Mapreduced__V1__RegisterRequest *request,
                            GHashTable *forget, GPtrArray *keep, Error *e);
int manager_heartbeat(Manager *m, const Mapreduced__V1__HeartbeatRequest *request,
                      GHashTable *forget, GPtrArray **ret_drop_cached);
void worker_drop_cached(MasterWorker *w, const char *key);
void worker_keep_cached(MasterWorker *w, const char *key); /* it has made a good one; takes NULL */

/* How far its clock is off, as a sentence, while a warning of it stands; else NULL. Caller
 * frees. */
char *worker_clock_trouble(const MasterWorker *w);
bool worker_is_skewed(const MasterWorker *w); /* such a warning stands */

/* Takes what a heartbeat says of the worker's clock; warns of skew. */
void worker_clock_update(MasterWorker *w, const Mapreduced__V1__HeartbeatRequest *request);
void manager_arm_leases(Manager *m);
int manager_start_ticking(Manager *m);
void manager_tell_jobs(Manager *m, const char *kind, const char *text); /* all that run */
bool worker_is_alive(const MasterWorker *w);
unsigned manager_count_workers(const Manager *m, bool (*is)(const MasterWorker *w));
void worker_set_drained(MasterWorker *w, bool drained);
const char *worker_state(const MasterWorker *w); /* as on the bus */
/* By id, or by a name that only one has. Return: NULL when there is none; *ret_count says how many
 * there are. */
MasterWorker *manager_find_worker(const Manager *m, const char *name, unsigned *ret_count);
void worker_changed(MasterWorker *w, unsigned flags);

/* ---- master-waiting.c: why nothing runs, and who is not trusted ---- */

void manager_update_waiting(Manager *m);
void manager_tell_blacklist(Manager *m);
bool worker_is_blacklisted(const MasterWorker *w);
char *worker_state_reason(const MasterWorker *w);           /* "" for none; owned by the caller */
void worker_set_trouble(MasterWorker *w, const char *text); /* NULL for a worker is welcome */

/* ---- master-watch.c: who is told where map outputs are ---- */

void job_watch(MasterJob *j, EvgrpcServerCall *call);
void job_tell_watchers(MasterJob *j, uint32_t map);
void job_end_watchers(MasterJob *j);
Watcher *watcher_free(Watcher *w);

/* It is out of the cluster: what it has is lost. No effect on an unknown one. */
void manager_expel_worker(Manager *m, const char *id, const char *why);

/* ---- master-listen.c ---- */

int manager_serve_rpc(Manager *m, Error *e);
void manager_recheck_peers(
        Manager *m); /* ends connections whose certificates are no good any more */
/* Our certificate is another: calls to come, and attempts that run, go on over new connections. */
void manager_renew_connections(Manager *m);

/* ---- master-bus*.c ---- */

int manager_open_bus(Manager *m, Error *e);
int manager_claim_name(Manager *m, Error *e);
void manager_announce(
        Manager *m); /* what changed, and was not told less than MASTER_ANNOUNCE_USEC ago */
void bus_job_added(MasterJob *j);
void bus_job_removed(MasterJob *j);
void bus_worker_added(MasterWorker *w);
void bus_worker_removed(MasterWorker *w);
int bus_add_job_objects(Manager *m);
int bus_add_worker_objects(Manager *m);
int bus_add_cluster_object(Manager *m);
void bus_announce_job(MasterJob *j);
void bus_announce_worker(MasterWorker *w);

int bus_method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_method_list_jobs_filtered(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
/* Of a job, its history: master-bus-history.c. */
int bus_method_list_attempts(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_method_list_failed_attempts(sd_bus_message *message, void *userdata,
                                    sd_bus_error *ret_error);
int bus_method_list_error_output(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_method_list_task_counters(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_method_explain_tasks(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);

/**
 * bus_authorise() - may the sender of @message do this?
 * @action: "org.mapreduced.master1.submit" and so on
 * @job:    the job whose owner may in any case, or NULL
 *
 * The one place where a call that changes something is let through, before it did anything.
 *
 * Return: 1: yes; 0: it is not decided yet, the message comes again; negative errno with
 * @ret_error: no.
 */
int bus_authorise(Manager *m, sd_bus_message *message, const char *action, const MasterJob *job,
                  sd_bus_error *ret_error);
#define ACTION_SUBMIT "org.mapreduced.master1.submit"
#define ACTION_CANCEL "org.mapreduced.master1.cancel"
#define ACTION_MANAGE_CLUSTER "org.mapreduced.master1.manage-cluster"
#define ACTION_MANAGE_WORKERS "org.mapreduced.master1.manage-workers"
#define ACTION_READ_RESULTS "org.mapreduced.master1.read-results"

/* A failed or cancelled job again, as a new one of the sender's. */
int bus_method_retry(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);

/* Submits what a bus message asks for; answers the message now or later. */
int bus_method_submit_job(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);

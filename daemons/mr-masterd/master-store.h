/*
 * Store — what the master knows, on disk: one SQLite file in WAL mode.
 *
 * Writes collect in one transaction and are committed together, once a round of the loop. A failed
 * statement is remembered, and store_commit() answers for it: nobody else needs to look. What must
 * survive a power cut before somebody is told (a submission, the end of a job) is committed with
 * durable = true; the rest survives the end of the process, and a power cut may cost its last
 * moments, which is work done twice, never a wrong answer.
 *
 * A master killed at any moment and started again goes on from here.
 */
#pragma once

#include "base/error.h"

typedef struct Store Store;

/* A job's row. Strings are "", never NULL, when read; either when written. */
typedef struct StoreJob {
        uint64_t number;
        const void *description; /* job_desc_serialize() */
        size_t description_size;
        uint32_t uid;
        int state;  /* JobState */
        int ending; /* JobState that it is on its way to, or 0 */
        const char *reason, *error_output;
        const char *cause;         /* a word of base/cause.h; "" for none */
        const char *cause_attempt; /* whose it is, "map-3/1"; "" for nobody's */
        uint64_t submitted_usec, started_usec, finished_usec; /* CLOCK_REALTIME; 0: not yet */
        uint32_t maps, reduces, maps_done, reduces_done;
        uint32_t attempts_failed, attempts_lost, outputs_lost;
        uint64_t input_bytes;
        bool output_created;  /* by us: to be removed when the job fails */
        const char *counters; /* of a job that is over, as counter_set_to_text() */
} StoreJob;

typedef struct StoreTask {
        uint64_t job;
        int kind; /* TaskKind */
        uint32_t task;
        uint32_t started, failed, lost;
        bool done;
        uint32_t attempt, worker; /* of the committed one */
        uint32_t newest_worker;
        const char *running; /* "ATTEMPT@WORKER" of each, with blanks between */
        const char *status, *counters;
        const char *origin;      /* of a map: "" or what it was reused from */
        int why;                 /* LineageWhy: why it was run */
        const char *worker_name; /* read only */
} StoreTask;

typedef struct StoreSkipped {
        const char *path;
        uint64_t offset, length;
        const void *data;
        size_t data_size;
        const char *error;
} StoreSkipped;

typedef struct StoreWorker {
        uint32_t number;
        const char *id, *name, *address;
        uint32_t slots;
        bool drained;
} StoreWorker;

/* One attempt of a task, from its start on. */
typedef struct StoreAttempt {
        uint64_t job;
        int kind; /* TaskKind */
        uint32_t task, attempt, worker;
        uint64_t started_usec, finished_usec; /* CLOCK_REALTIME; 0: it still runs */
        const char *end;                      /* "" while it runs; else as on the bus */
        const char *reason, *cause;
        const char *worker_name; /* read only */
} StoreAttempt;

/* The last lines that the commands of one attempt wrote to stderr. */
typedef struct StoreTail {
        uint64_t usec;
        int kind;
        uint32_t task, attempt;
        const char *worker_name, *text;
} StoreTail;

/**
 * store_open() - open or make it
 * @dir: the state directory; NULL for a store in memory that ends with the process
 */
int store_open(const char *dir, Store **ret, Error *e);
Store *store_free(Store *s); /* commits nothing */
DEFINE_CLEANUP(Store, store_free);

/* Ends the transaction. Return: 0; the first error since the last commit: everything since then is
 * undone. */
int store_commit(Store *s, bool durable);
const char *store_error(const Store *s); /* for the message after a failed commit */

#define STORE_TAG_SIZE 13

/* 12 hexadecimal digits, made with the store and kept as long as it: another store has others. */
int store_get_tag(Store *s, char ret[static STORE_TAG_SIZE]);

void store_put_job(Store *s, const StoreJob *job);
void store_put_task(Store *s, const StoreTask *task);
/* As planned: PlanFile of master-plan.h. */
typedef struct StoreInput {
        const char *path;
        uint64_t size_bytes;
        int64_t mtime_ns, ctime_ns;
        uint64_t inode, device;
} StoreInput;

void store_put_input(Store *s, uint64_t job, uint32_t index, const StoreInput *input);
void store_put_worker(Store *s, const StoreWorker *worker);
void store_remove_worker(Store *s, uint32_t number);
void store_remove_inputs(Store *s, uint64_t job); /* of a job that is over */
void store_remove_job(Store *s, uint64_t job);    /* with everything that hangs on it */

/* Keeps the newest @keep events of the job. @seq counts from 0. */
void store_add_event(Store *s, uint64_t job, uint64_t seq, uint64_t realtime_usec, const char *kind,
                     const char *text, uint64_t keep);

/* A row when an attempt starts, and its end; of each task the newest @keep are kept. */
void store_start_attempt(Store *s, const StoreAttempt *attempt, uint32_t keep);
void store_end_attempt(Store *s, const StoreAttempt *attempt);
/* Those that have no end: the process that would have told it is gone. */
void store_end_attempts(Store *s, uint64_t job, uint64_t finished_usec, const char *end,
                        const char *reason, const char *cause);

/* Keeps the newest @keep of the job. @seq counts from 0. */
void store_add_tail(Store *s, uint64_t job, uint64_t seq, const StoreTail *tail, uint64_t keep);

typedef void (*StoreJobFn)(const StoreJob *job, void *userdata);
typedef void (*StoreTaskFn)(const StoreTask *task, void *userdata);
typedef void (*StoreInputFn)(const StoreInput *input, void *userdata);
typedef void (*StoreWorkerFn)(const StoreWorker *worker, void *userdata);
typedef void (*StoreEventFn)(uint64_t seq, uint64_t realtime_usec, const char *kind,
                             const char *text, void *userdata);
typedef void (*StoreAttemptFn)(const StoreAttempt *attempt, void *userdata);
typedef void (*StoreTailFn)(uint64_t seq, const StoreTail *tail, void *userdata);

void store_remove_skipped(Store *s, uint64_t job, uint32_t map);
void store_put_skipped(Store *s, uint64_t job, uint32_t map, uint32_t seq, const StoreSkipped *r);
typedef void (*StoreSkippedFn)(const StoreSkipped *record, void *userdata);
int store_each_skipped(Store *s, uint64_t job, StoreSkippedFn fn, void *userdata);

/* In order of number, index or seq. 0 or negative errno. What @fn is given lasts until it
 * returns. */
int store_each_job(Store *s, StoreJobFn fn, void *userdata);
int store_each_worker(Store *s, StoreWorkerFn fn, void *userdata);
int store_each_input(Store *s, uint64_t job, StoreInputFn fn, void *userdata);
int store_each_event(Store *s, uint64_t job, StoreEventFn fn, void *userdata);
/* Of tasks FIRST to FIRST+COUNT-1 those that were ever started. */
int store_each_task(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                    StoreTaskFn fn, void *userdata);
/* Attempts of tasks FIRST to FIRST+COUNT-1. */
int store_each_attempt(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                       StoreAttemptFn fn, void *userdata);
/* Those that failed, were lost or rejected, the newest first. */
int store_each_failed_attempt(Store *s, uint64_t job, uint32_t max, StoreAttemptFn fn,
                              void *userdata);
int store_each_tail(Store *s, uint64_t job, StoreTailFn fn, void *userdata);

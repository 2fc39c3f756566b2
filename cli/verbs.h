/*
 * Verbs — one function each, in mrctl-VERB.c, and the exit statuses they share.
 */
#pragma once

#include "cli/arguments.h"

/* Documented in mrctl(1). */
#define EXIT_JOB_FAILED 1 /* and every other failure that is not one of the following */
#define EXIT_USAGE 2
#define EXIT_SIGNAL(signal_number) (128 + (signal_number)) /* 130: interrupted */

enum {
        VERB_RUN = 1 << 0,
        VERB_SUBMIT = 1 << 1,
        VERB_WAIT = 1 << 2,
        VERB_LIST = 1 << 3,
        VERB_STATUS = 1 << 4,
        VERB_CANCEL = 1 << 5,
        VERB_WORKERS = 1 << 6,
        VERB_TASKS = 1 << 7,
        VERB_CAT = 1 << 8,
        VERB_TIME = 1 << 9,
        VERB_APPS = 1 << 10,
        VERB_WATCH = 1 << 11,
        VERB_RETRY = 1 << 12,
        VERB_LOGS = 1 << 13,
        VERB_WHY = 1 << 14,
        VERB_EXPLAIN = 1 << 15,
        VERB_COUNTERS = 1 << 16,
        VERB_HISTORY = 1 << 17,
        VERB_TIMELINE = 1 << 18,
        VERB_DRAIN = 1 << 19,
        VERB_RESUME = 1 << 20,
        VERB_CLUSTER = 1 << 21,
        VERB_ANY = INT_MAX,
};

struct Job;

typedef struct Verb {
        const char *name;
        unsigned bit; /* VERB_… */
        unsigned min_operands, max_operands;
        const char *operands; /* what they are: "a job's id ('mrctl list' shows them)" */
} Verb;

const Verb *verb_find(const char *name); /* NULL: there is none */
const char *const *verb_names(void);     /* ends with NULL */

/* Returns the exit status; has said what went wrong. So do all of these. */
int verb_call(const Verb *verb, const Arguments *a);

/* How --json shows a job. Returns the exit status. */
typedef int (*PrintJob)(const struct Job *j, JsonMode mode);

/* @print: may be NULL where --json is not given. */
int verb_run(const Arguments *a, PrintJob print);
int verb_submit(const Arguments *a);
int verb_wait(const Arguments *a);
int verb_list(const Arguments *a);
int verb_status(const Arguments *a);
int verb_cancel(const Arguments *a);
int verb_workers(const Arguments *a);
int verb_tasks(const Arguments *a);
int verb_cat(const Arguments *a);
int verb_cluster(const Arguments *a);
int verb_time(const Arguments *a);
int verb_apps(const Arguments *a);
int verb_watch(const Arguments *a);
int verb_retry(const Arguments *a);
int verb_logs(const Arguments *a);
int verb_why(const Arguments *a);
int verb_explain(const Arguments *a);
int verb_counters(const Arguments *a);
int verb_history(const Arguments *a);
int verb_timeline(const Arguments *a);
int verb_drain(const Arguments *a);
int verb_resume(const Arguments *a);

/* For the shells' completion: mrctl __complete verbs, apps, or options [VERB]. Returns the exit
 * status. */
int print_words(int argc, char **argv);

/* "mrctl: …" on stderr; returns EXIT_JOB_FAILED. */
int complain(const char *format, ...) _printf_(1, 2);

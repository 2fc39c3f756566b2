/*
 * The command line — every option of every verb in one table.
 *
 * Options may stand before or behind the verb and its operands, as in systemctl; what follows `--`
 * is not looked at and belongs to the job's app. Whatever is wrong here ends the program with
 * status 2 before anything was opened, connected or sent.
 */
#pragma once

#include "cli/json-mode.h"

#define REDUCES_MIN 0
#define REDUCES_MAX 10000
#define ATTEMPTS_MIN 1
#define ATTEMPTS_MAX 100
#define SKIP_RECORDS_MAX 1000
#define TASK_TIMEOUT_MAX_SEC (30U * 24 * 3600)
#define KEY_FIELDS_MAX 1000
#define LINES_MAX 1000000
#define SLOTS_MIN 1
#define SLOTS_MAX 4096
#define SPLIT_SIZE_MIN KIB(4)
#define SPLIT_SIZE_MAX (GIB(1) * 1024)
#define MEMORY_LIMIT_MIN MIB(1)
#define MEMORY_LIMIT_MAX (GIB(1) * 1024)

/* What run and submit were told of the job, as typed: nothing was looked up yet. Unset is NULL or
 * 0. */
typedef struct JobArguments {
        GPtrArray *inputs;   /* of const char *: --input, then the operands */
        GPtrArray *files;    /* --file: FILE or FILE#NAME */
        GPtrArray *env;      /* --env */
        GPtrArray *archives; /* --archive: FILE or FILE#DIRECTORY */
        guint input_options; /* so many of inputs are of --input: never job files */
        const char *name, *output, *app, *mapper, *combiner, *reducer, *reducer_app, *reuse,
                *intermediate;
        uint32_t reduces, max_attempts, skip_bad_records, task_timeout_sec;
        bool has_task_timeout, has_reduces, has_skip_bad_records;
        uint64_t memory_limit_bytes;
        const char *backups, *ignore_exit_status, *priority;
        const char *intermediate_compression, *output_compression, *input_format;
        const char *map_separator, *reduce_separator, *sort_key_fields;
        uint32_t map_key_fields, partition_key_fields;
        uint64_t split_size_bytes;
        /* Of the job file that a command comes from: it is looked for there. NULL: here. */
        const char *mapper_directory, *combiner_directory, *reducer_directory;
        char **app_args; /* behind --; NULL-terminated, in argv; may be NULL */
} JobArguments;

typedef struct Arguments {
        const char *verb;    /* NULL: none was given */
        GPtrArray *operands; /* of const char *; empty for run and submit: they are inputs */
        const char *bus;
        const char *host; /* over ssh */
        JsonMode json;
        bool quiet, no_legend, no_pager, local, help, version;
        bool print_job; /* instead of running it */
        uint32_t slots; /* 0: not given */
        bool follow;
        GPtrArray *states; /* of const char *: --state */
        const char *user, *directory;
        uint64_t since_usec, until_usec; /* CLOCK_REALTIME; 0: not given */
        uint32_t lines;                  /* 0: not given */
        uint64_t ttl_usec;               /* of a token; 0: not given */
        const char *advertise, *spool;   /* of cluster */
        JobArguments job;
} Arguments;

/**
 * arguments_parse() - read argv
 * @ret: empty; freed with arguments_done() also after an error
 *
 * Return: 0, or -EINVAL with a message.
 */
int arguments_parse(int argc, char **argv, Arguments *ret, Error *e);
void arguments_done(Arguments *a);

/* What a job may be told, by an option or in a file: 0, or -EINVAL without a message. */
int job_parse_split_size(const char *s, uint64_t *ret_bytes);
int job_parse_task_timeout(const char *s, uint32_t *ret_sec); /* rounded up, for 0 is never */
int job_parse_memory_limit(const char *s, uint64_t *ret_bytes);

/* Whether --state= lets @state through: without it everything. */
bool arguments_want_state(const Arguments *a, const char *state);

/* Long options that any of @verbs (a mask of VERB_…) takes, one a line, with "=" where an argument
 * follows. */
void arguments_print_options(unsigned verbs);

/**
 * time_parse() - a moment, as journalctl takes it
 * @s: "2026-11-22 20:15[:24]", "2026-11-22", "20:15", "now", "today", "yesterday", "@SECONDS", or a
 *     span back from now: "2h", "-2h", "2h ago"
 *
 * Return: 0, or -EINVAL.
 */
int time_parse(const char *s, uint64_t now_usec, uint64_t *ret_usec);

/*
 * Journal logging with fields — falls back to stderr where there is no journal.
 *
 * Under systemd (stderr is the journal's stream, or --log-target=journal) every entry carries the
 * fields that were set for its scope: MR_JOB=, MR_TASK=, MR_ATTEMPT=, MR_WORKER=, so that
 * `journalctl MR_JOB=…` shows one job's story over all daemons. On a terminal it is one line:
 * "mr-masterd: worker w2 lost".
 */
#pragma once

#include <syslog.h>

#include "base/macro.h"

typedef struct LogFields {
        const char *job;
        const char *task;    /* "map-3", "reduce-0" */
        const char *attempt; /* "map-3/1" */
        const char *worker;
        const char *message_id; /* of message-ids.h */
} LogFields;

/* @name: the program's name, static. Decides journal or stderr; $MR_LOG_LEVEL (0–7 or a name) sets
 * the level. */
void log_open(const char *name);
/* Whether entries go to the journal, and fields with them. */
bool log_is_journal(void);

void log_set_max_level(int level);
int log_level_from_string(const char *s); /* "debug", "7", …; -EINVAL */

void log_full(int level, const LogFields *fields, int error, const char *format, ...)
        _printf_(4, 5);

#define log_debug(...) log_full(LOG_DEBUG, NULL, 0, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, NULL, 0, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, NULL, 0, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, 0, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, NULL, 0, __VA_ARGS__)

/* Logs with %m standing for @error's text, and is worth @error again: `return log_error_errno(r, …:
 * %m);` */
#define log_full_errno(level, error, ...)                                                          \
        ({                                                                                         \
                int _log_error = (error);                                                          \
                log_full(level, NULL, _log_error, __VA_ARGS__);                                    \
                _log_error;                                                                        \
        })
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, error, __VA_ARGS__)
#define log_debug_errno(error, ...) log_full_errno(LOG_DEBUG, error, __VA_ARGS__)
#define log_oom() log_error_errno(-ENOMEM, "Out of memory")

/*
 * Files — what outlives the daemon, and what others look at.
 *
 *      STATE/drift     frequency and its error, as drift.h writes it
 *      STATE/clock     empty; its modification time is a moment that has passed: a machine without
 *                      a battery for its clock starts there instead of in 1970
 *      RUN/timesyncd-lite/lock                  held by the one that disciplines the clock
 *      RUN/systemd/timesync/synchronized        touched at each synchronisation: what
 *                                               systemd-time-wait-sync waits for, and with it
 *                                               time-sync.target
 */
#pragma once

#include "base/error.h"
#include "timekeeping/drift.h"

/* Return: 0; -ENOENT: there is none; another errno for a file that cannot be read or is damaged. */
int files_load_drift(const char *state_dir, Drift *ret);
/* Whole or not at all. */
int files_save_drift(const char *state_dir, Drift d);

/* Return: 0 and the time saved; -ENOENT. */
int files_load_clock(const char *state_dir, int64_t *ret_real_ns);
int files_save_clock(const char *state_dir, int64_t real_ns);

/* Return: a descriptor to be kept; -EBUSY if another process holds it. */
int files_lock(const char *run_dir, int *ret_fd, Error *e);

int files_touch_synchronized(const char *run_dir);

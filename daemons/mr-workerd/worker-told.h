/*
 * Told results — what the master was told of attempts that are over, until it is sure to have it.
 *
 * A call's last message may be on its way when the master is killed, or in its memory and not yet
 * in its state. So a result is kept after it was sent: the next heartbeats name it, until an answer
 * does not; a master that was started again and believes the attempt to run finds it named in the
 * registration, and calls for it with `resume`, as for one that runs. What a call may be lost on,
 * the receiver must confirm end to end: Saltzer, Reed and Clark, "End-to-end arguments in system
 * design", ACM TOCS 2 (1984).
 *
 * Bounded: beyond TOLD_MAX results or TOLD_BYTES_MAX the oldest go. One that goes too early costs
 * its task another attempt.
 */
#pragma once

#include <glib.h>

#include "cluster.pb-c.h"

#define TOLD_MAX 4096U
#define TOLD_BYTES_MAX (8U << 20)

typedef struct Told Told;

/* Names an attempt; running_attempt__free_unpacked() frees it. */
Mapreduced__V1__RunningAttempt *running_attempt_new(const char *job_id,
                                                    Mapreduced__V1__TaskKind kind, uint32_t task,
                                                    uint32_t attempt);
GPtrArray *running_attempts_new(void); /* of them, owned by the array */
/* The same, in place: it lasts as long as @spec. */
Mapreduced__V1__RunningAttempt running_attempt_of(const Mapreduced__V1__TaskSpec *spec);
gboolean running_attempt_equal(gconstpointer p, gconstpointer q); /* do both name one attempt? */

Told *told_new(void);
Told *told_free(Told *t);

/* Copies @result; of the same attempt the newer one counts. */
void told_add(Told *t, const Mapreduced__V1__TaskSpec *spec,
              const Mapreduced__V1__TaskResult *result);

/* Return: the result, for the caller to free_unpacked; NULL: none is kept. */
Mapreduced__V1__TaskResult *told_find(const Told *t, const Mapreduced__V1__TaskSpec *spec);

/* The attempt is run anew under its number: what was told of it is of no use. */
void told_forget(Told *t, const Mapreduced__V1__TaskSpec *spec);
void told_forget_job(Told *t, const char *job_id);

/* Appends a RunningAttempt, for the array to free, for each, and remembers that the master is asked
 * about it. */
void told_ask(Told *t, GPtrArray *list);
/* The answer: those that were asked about and are not among @wanted go. */
void told_answer(Told *t, Mapreduced__V1__RunningAttempt *const *wanted, size_t count);

size_t told_count(const Told *t);

/*
 * Counters — what the committed attempts of a job counted, each record once.
 *
 * A task's counters are added when an attempt is committed and taken away when its output is lost,
 * so a record that was read three times on the way counts once. Names are bounded, as Hadoop bounds
 * them: a program that counts each word in a counter of its own must not grow the master.
 */
#pragma once

#include "base/macro.h"

#define COUNTERS_MAX 256U /* names in one job; the values of further ones are dropped */
#define COUNTER_NAME_MAX_BYTES 128U

typedef struct Counters Counters;     /* of a job: name → value */
typedef struct CounterSet CounterSet; /* of one attempt: an immutable list */

Counters *counters_new(void);
Counters *counters_free(Counters *c);
DEFINE_CLEANUP(Counters, counters_free);

/* An attempt's list, being filled: NULL begins one. A name twice is summed by counters_add(). Names
 * that are too long, empty or not UTF-8 are dropped, as is what is beyond COUNTERS_MAX. */
CounterSet *counter_set_add(CounterSet *set, const char *name, uint64_t value);
CounterSet *counter_set_free(CounterSet *set);
DEFINE_CLEANUP(CounterSet, counter_set_free);

/* One line "VALUE NAME" for each, and back; NULL for an empty one. */
char *counter_set_to_text(const CounterSet *set);
CounterSet *counter_set_from_text(const char *text);

void counters_add(Counters *c, const CounterSet *set);
void counters_subtract(Counters *c, const CounterSet *set);

typedef void (*CounterFn)(const char *name, uint64_t value, void *userdata);
void counters_foreach(const Counters *c, CounterFn fn, void *userdata); /* sorted by name */
uint64_t counters_get(const Counters *c, const char *name);             /* 0 for an unknown one */

/*
 * Gasp — what is left to be known of a plugin that crashed: its record, and its last lines on
 * stderr.
 *
 * A plugin runs inside mr-task, so nobody there can tell afterwards. The worker holds the page on
 * which mr-task notes each record before map() gets it (records/record-page.h), and the end of the
 * pipe that is its stderr.
 *
 * With skip_records, from a map's second attempt on, the map is run again in the same attempt, by a
 * new process: a record on which it fails twice in a row is skipped from then on. So b bad records
 * cost 2 b + 1 runs, and one that fails once for another reason costs a run, and no record.
 */
#pragma once

#include "mr-workerd/worker-attempt-impl.h"

Gasp *gasp_new(Loop *l, uint32_t skip_records);
Gasp *gasp_free(Gasp *g);

/* Before each run: forgets the last one's. Adds what is to be skipped to @start, whose it is
 * not. */
int gasp_begin(Gasp *g, Mapreduced__Task__V1__AttemptStart *start);
/* The descriptors for mr-task, in the order of AttemptStart. gasp_sent() once they were sent. */
void gasp_fds(const Gasp *g, int ret[static 2]);
void gasp_sent(Gasp *g);

/* What it wrote to stderr last, as text. */
char *gasp_stderr(Gasp *g);

/* It was ended for holding more memory than it may: so much; else 0. */
uint64_t gasp_over_limit_bytes(const Gasp *g);

/* Where it was; NULL when it had no record in hand. Caller frees. */
char *gasp_where(const Gasp *g, const TaskSpec *spec);

/**
 * gasp_try_again() - the run has failed on a record: shall there be another?
 * @how:          how it ended, for the record's sake
 * @ret_sentence: if not: what is to be added to why the attempt fails; NULL: nothing
 */
bool gasp_try_again(Gasp *g, const TaskSpec *spec, const char *how, char **ret_sentence);

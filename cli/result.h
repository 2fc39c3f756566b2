/*
 * The result of a job — its parts as one sorted text on standard output.
 */
#pragma once

#include "cli/job.h"
#include "cli/local.h"

/**
 * result_print() - merge all parts of a job that is done
 * @j: its parts come from the master, or from its output directory if it has one; of another host,
 *     as mrctl there prints them
 * @l: NULL, or the daemons it comes from: they are guarded while a reader keeps us waiting
 *
 * SIGINT and SIGTERM end the printing from here on; they are unblocked.
 *
 * Return: the exit status; has said what went wrong. 0 also when the reader went away.
 */
int result_print(Master *m, const Job *j, Local *l);

/* The sentences on stderr about a job that did not succeed, with the last lines of its stderr. */
void result_complain(const Job *j);

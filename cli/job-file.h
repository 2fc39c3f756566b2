/*
 * Job files — a job in the syntax of unit files, so that it can be kept, looked at and run again.
 * See mapreduced.job(5).
 *
 *      [Job]  Name= Input= Output= App= Args= Environment= Ship= SplitSize= MaxAttempts= …
 *      [Map]  Exec= Ship=          [Combine]  Exec= Ship=          [Reduce]  Exec= Ship= Tasks=
 *
 * A relative path is meant from the file's own directory, wherever mrctl is run. What is given on
 * the command line, too, wins; lists grow. A setting that is not known is an error: a typo must not
 * change what a job does.
 */
#pragma once

#include "cli/job-request.h"

#define JOB_FILE_SUFFIX ".job"

typedef struct JobFile JobFile;

/* If an operand is a job file, which its name says, it is taken out and read. At most one. */
int job_file_take(JobArguments *a, JobFile **ret, Error *e);

/**
 * job_file_read() - read @path, and add to @a what is not given there
 * @ret: owns the strings that @a now refers to; NULL after an error
 */
int job_file_read(const char *path, JobArguments *a, JobFile **ret, Error *e);
JobFile *job_file_free(JobFile *f);
DEFINE_CLEANUP(JobFile, job_file_free);

/* The job as a file on stdout. -EINVAL with a message for what the syntax cannot say. */
int job_file_print(const JobRequest *q, Error *e);

/*
 * Output — the directory that a job's result appears in, whole or not at all.
 *
 *      OUTPUT/_temporary/attempt-…/part-00007     written by an attempt
 *      OUTPUT/part-00007                          renamed there by the master, for one attempt of
 *                                                 each reduce
 *      OUTPUT/_SUCCESS                            last of all, when _temporary is gone
 *
 * The rename is the commit, and only the master does it: an attempt that was cut off and comes back
 * can write what it likes below _temporary and changes nothing.
 * Source: Dean & Ghemawat, OSDI 2004, §3.3 (atomic commits); the names are Hadoop's
 * FileOutputCommitter's.
 * Changed: there the task's own process renames, when the master lets it.
 *
 * Blocking; for threads. Errors are sentences that name the directory.
 */
#pragma once

#include "base/error.h"
#include "base/output-names.h"

/**
 * output_prepare() - take a directory into use
 * @tag:         a name of this job's own, so that a master that was restarted knows its own traces
 * @ret_created: the directory was not there before
 *
 * It must be missing (then it is made, with its parents) or empty. -EEXIST with the way out when it
 * is neither.
 */
int output_prepare(const char *dir, const char *tag, bool *ret_created, Error *e);

/* How long what is written is to last. */
typedef enum OutputCare {
        OUTPUT_SYNCED,      /* beyond a power cut */
        OUTPUT_UNSYNCED,    /* as long as the host is up */
        OUTPUT_SHORT_LIVED, /* not beyond this master, which removes the directory with all that is
                               in it: nothing is tidied */
} OutputCare;

/* One that was granted its commit. */
typedef struct OutputPart {
        char *attempt_dir;
        uint32_t number;
        int result; /* of output_commit_parts() */
        Error error;
} OutputPart;

/* Writes @attempt_dir/part-N to disk, where no worker has done so. One that is not there is
 * output_commit_parts()'s to judge. */
int output_sync_part(OutputPart *part, const char *ending);

/* Puts all of them in place, each with a result of its own; repeating it is harmless. That they
 * survive a power cut has the price of one write to disk for all. */
void output_commit_parts(const char *dir, OutputPart *const *parts, size_t count,
                         const char *ending, OutputCare care);

/* The side file of records that mappers failed on: OUTPUT/_skipped-records. */
int output_write_skipped(const char *dir, const GByteArray *records, OutputCare care, Error *e);

/* Sees that parts 0 to @parts - 1 are there, removes _temporary, then writes _SUCCESS if @mark.
 * Repeating it is harmless. -ENOENT for a part that somebody took away. */
int output_finish(const char *dir, uint32_t parts, const char *ending, bool mark, OutputCare care,
                  Error *e);

/* A tree that attempts which were just told to stop may still write to. */
int output_remove_all(const char *path);

/* Removes what the job wrote: parts 0 to @parts - 1 and _temporary; and @dir itself if @created and
 * then empty. */
int output_discard(const char *dir, uint32_t parts, const char *ending, bool created, Error *e);

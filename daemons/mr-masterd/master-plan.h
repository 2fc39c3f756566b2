/*
 * Planning — which files a job reads, and that they can be read, before any work is done.
 *
 * An input is PATH or file:PATH, absolute. If there is no file of that very name, it may be a glob
 * (* ? []). A directory means every regular file below it, in the order of their names; in it names
 * that begin with '.' or '_' are passed over, as Hadoop does (they are its own marks: _SUCCESS,
 * _temporary). Symbolic links to files are followed, to directories below the given one they are
 * not: so there are no loops.
 *
 * Reads no content; opens each file once to see that it may be read. Runs in a thread: a file
 * system that hangs is met here first.
 */
#pragma once

#include "base/error.h"

#define PLAN_FILES_MAX (1024U * 1024) /* in one job: each is a row and about 150 bytes of memory */
#define PLAN_PATHS_MAX_BYTES (256U * 1024 * 1024)

typedef struct PlanFile {
        char *path; /* owned */
        uint64_t size_bytes;
        int64_t mtime_ns, ctime_ns;
        uint64_t inode, device;
} PlanFile;

typedef struct PlanFiles {
        GArray *files; /* of PlanFile */
        uint64_t size_bytes;
        size_t path_bytes;
} PlanFiles;

PlanFiles *plan_files_new(void);
PlanFiles *plan_files_free(PlanFiles *p);
DEFINE_CLEANUP(PlanFiles, plan_files_free);

/* Takes its path. -E2BIG beyond the limits. */
int plan_files_add(PlanFiles *p, const PlanFile *file, Error *e);

/**
 * plan_list_input() - append what one input means
 *
 * Errors name the path and the way out: a missing file, one that may not be read, a glob that
 * matches nothing, something that is no regular file. An empty file, and a directory without files,
 * are fine.
 */
int plan_list_input(PlanFiles *p, const char *input, Error *e);

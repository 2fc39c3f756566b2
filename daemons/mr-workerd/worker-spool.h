/*
 * The spool — what a worker keeps on its own disk, and what of it survives a restart.
 *
 *      lock                        held (flock) as long as the worker lives; contains its pid
 *      worker-id                   32 hex digits, made once
 *      tmp/                        outputs being written; emptied at start
 *      jobs/JOB/map-NNNNN.A.run    a finished output of attempt A of map NNNNN
 *      jobs/JOB/files/             files shipped with the job; emptied at start
 *      jobs/JOB/work/              working directories of attempts; emptied at start
 *      cache/                      outputs of jobs that are over: worker-cache.h
 *
 * An output is written under tmp/ and appears under its name by rename, whole or not at all. So at
 * start every name matching the pattern is a finished output, and everything else is a leftover.
 *
 * No loop, no log, no network here. The caller may let the fsync before a commit happen elsewhere.
 */
#pragma once

#include "base/error.h"

typedef struct Spool Spool;

typedef struct SpoolOutput {
        const char *job_id; /* the spool's */
        uint32_t map;
        uint32_t attempt;
        uint64_t size_bytes; /* of the whole run file */
} SpoolOutput;

/**
 * spool_open() - lock the directory, clear leftovers, learn what is there
 * @path:      made with its parents if missing
 * @ephemeral: nothing is synced to disk, and spool_free() removes all that the spool made, and the
 *             directory itself if that leaves it empty
 *
 * Return: 0; -EBUSY when another worker has it (the message names it); negative errno with a
 * sentence.
 */
int spool_open(const char *path, bool ephemeral, Spool **ret, Error *e);
Spool *spool_free(Spool *s);
DEFINE_CLEANUP(Spool, spool_free);

const char *spool_worker_id(const Spool *s);
bool spool_is_ephemeral(const Spool *s);
uint64_t spool_free_bytes(const Spool *s); /* on its file system, for us; UINT64_MAX if unknown */

/* A job's name as it may become a directory: 1 to 64 of [A-Za-z0-9._-], the first no '.'. */
bool spool_job_id_is_valid(const char *s);

/* Makes the job's directory. An existing one is success. */
int spool_job_make(Spool *s, const char *job_id);
/* The job's directory, O_PATH-like for *at() calls. Caller closes. */
int spool_job_open(const Spool *s, const char *job_id, int *ret_fd);
/* Makes what is in it: "files" for what the job ships, "work" for working directories. Not every
 * job needs them. */
int spool_job_make_inside(int job_fd);
GPtrArray *spool_list_jobs(
        const Spool *s); /* of char *, the spool's, valid until one is forgotten */

/**
 * spool_job_forget() - the job is no more; its directory leaves its place at once
 * @ret_trash: the name under spool_trash_fd() to be removed by the caller, who may do so in
 *             another thread; g_free()
 *
 * Return: 0, -ENOENT for a job that is not here.
 */
int spool_job_forget(Spool *s, const char *job_id, char **ret_trash);
/* The same for one entry of a directory in the spool. */
int spool_trash(Spool *s, int dir_fd, const char *name, char **ret_trash);
int spool_trash_fd(const Spool *s);

#define SPOOL_OUTPUT_NAME_SIZE 48
/* Of an output in its job's directory. */
void spool_output_name(uint32_t map, uint32_t attempt, char ret[static SPOOL_OUTPUT_NAME_SIZE]);
GArray *spool_list_outputs(const Spool *s); /* of SpoolOutput, valid until the next change */
uint32_t spool_outputs_held(const Spool *s);
uint64_t spool_output_bytes(const Spool *s);
bool spool_output_exists(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt);

/* An empty file under tmp/, read-write. The job must have been made. */
int spool_output_create(Spool *s, const char *job_id, uint32_t map, uint32_t attempt, int *ret_fd);
/* Gives the file its name. -ENOENT if the job was forgotten meanwhile. */
int spool_output_commit(Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                        uint64_t size_bytes);
void spool_output_discard(Spool *s, const char *job_id, uint32_t map, uint32_t attempt);
/* Read-only. -ENOENT if it is not here (any more). */
int spool_output_open(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                      int *ret_fd);

/* The directory of the cache. Caller closes. */
int spool_cache_make(Spool *s, int *ret_fd);
/* A second name for an output, and an output from such a name. The file is one and the same. */
int spool_output_link(const Spool *s, const char *job_id, uint32_t map, uint32_t attempt,
                      int dir_fd, const char *name, uint64_t *ret_size_bytes);
int spool_output_adopt(Spool *s, const char *job_id, uint32_t map, uint32_t attempt, int dir_fd,
                       const char *name, uint64_t size_bytes);

/* An empty, nameless, read-write file. */
int spool_scratch_make(const Spool *s, int *ret_fd);

/*
 * The cache — map outputs that are kept after their job, under the digest of what made them.
 *
 *      SPOOL/cache/KEY.meta     who made it, and its result (counters): a packed CachedOutput
 *      SPOOL/cache/KEY.run      the run file: a second name (link) of the job's own
 *
 * An output enters when its map has succeeded, and is taken by a link into a later job's directory,
 * so neither copies a byte, and forgetting a job or dropping an entry never takes the file from the
 * other. An entry counts when both its files are there; .meta comes first and goes last.
 *
 * Bounded in bytes, least recently used first; and dropped as far as is needed when the disk is
 * nearly full, for it is only a cache. What a job still uses costs its disk space whether it is
 * here or not.
 *
 * Whether an output may be used again is the master's to judge, who makes the keys. No loop, no
 * log, no network here.
 */
#pragma once

#include "base/error.h"
#include "cluster.pb-c.h"
#include "mr-workerd/worker-spool.h"

#define CACHE_KEY_SIZE 65 /* 64 hexadecimal digits and the end */
#define CACHE_ENTRIES_MAX 20000u

typedef struct Cache Cache;

/* @max_bytes: 0: nothing is kept, and what was is removed. */
int cache_open(Spool *spool, uint64_t max_bytes, Cache **ret, Error *e);
Cache *cache_free(Cache *c); /* takes NULL, as all below do where there is no cache */

bool cache_key_is_valid(const char *key);
bool cache_has(const Cache *c, const char *key);

/* Keeps the output of a map that has succeeded; failing to is no harm. @made_by: for people. */
void cache_add(Cache *c, const char *key, const char *job_id, uint32_t map, uint32_t attempt,
               const Mapreduced__V1__TaskResult *result, const char *made_by);

/**
 * cache_take() - the entry becomes an output of this attempt
 * @ret_result: of the map that made it, with reused_from set; the caller frees it with
 *              mapreduced__v1__task_result__free_unpacked()
 *
 * Return: 0; -ENOENT when it is not there (any more); negative errno: the attempt must be run.
 */
int cache_take(Cache *c, const char *key, const char *job_id, uint32_t map, uint32_t attempt,
               Mapreduced__V1__TaskResult **ret_result);

void cache_drop(Cache *c, const char *key);
/* The least recently used entries, until @bytes of them are dropped or none is left. */
void cache_shrink(Cache *c, uint64_t bytes);

/* Of char *, the cache's, valid until the next change. Newest first. */
GPtrArray *cache_list(const Cache *c);
uint64_t cache_bytes(const Cache *c);

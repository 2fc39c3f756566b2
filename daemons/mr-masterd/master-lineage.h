/*
 * Lineage — what each map's output is made from, who has one like it already, and why a map is run
 * all the same.
 *
 * The key of an output is the SHA-256 of all that made it:
 *
 *      program   the app and our version, or the mapper's command line; arguments, combiner,
 *                environment, the bytes of every shipped file; number of partitions; version of the
 *                run file; the user
 *      split     of each piece: path, offset, length; of its file: size, times of change, inode,
 *                device
 *
 * Two outputs of one key hold the same bytes as far as the program is a function of its input.
 * Built-in apps are, by their contract, and their outputs are used again unless Reuse=no. A command
 * may read the clock, the network or a file that was not shipped; nobody can see that from outside,
 * so its outputs are used again only with Reuse=yes, by which the submitter says that it does not.
 *
 * A file's times say when it was written, in ticks of the file system's clock. One that was written
 * less than LINEAGE_SETTLED_USEC before it was looked at may be written again within the same tick
 * and show nothing: as with git's index ("racily clean"), such an input is not trusted, and its
 * maps have no key.
 *
 * Where outputs are is what workers say: at registration, and with each map that succeeds. Nothing
 * of it is stored. What inputs were when they were seen last, and so why a map is run, is: a row
 * for each job that was planned. Source of the idea: lineage of RDDs (Zaharia et al., NSDI 2012);
 * names from the digest of what made them: Nectar (Gunda et al., OSDI 2010).
 */
#pragma once

#include "mr-masterd/master-manager.h"

#define LINEAGE_SETTLED_USEC (2 * USEC_PER_SEC)
#define LINEAGE_KEYS_MAX 1000000U /* of outputs that workers hold: about 130 B each */
#define LINEAGE_HISTORY_MAX                                                                        \
        200000U                   /* splits remembered, to say why a map is run: about 250 B each */
#define LINEAGE_PLACED_MAX 10000U /* maps taken from caches in one round */

typedef enum LineageWhy {
        WHY_UNKNOWN, /* planned by a master before this one */
        WHY_REUSE_OFF,
        WHY_STABLE,
        WHY_PART,    /* there is no reduce */
        WHY_COMMAND, /* and no Reuse=yes */
        WHY_TOO_FRESH,
        WHY_NEW_INPUT,
        WHY_INPUT_CHANGED,
        WHY_PROGRAM_CHANGED,
        WHY_NOT_KEPT,
        WHY_NOT_THERE, /* it was, but its worker did not give it */
        _WHY_MAX,
} LineageWhy;

const char *lineage_why_to_string(LineageWhy why); /* a sentence */

LineageIndex *lineage_new(void);
LineageIndex *lineage_free(LineageIndex *l);
/* What the store knows of inputs seen, before any job of it is taken up. */
int lineage_restore(LineageIndex *l, Store *s);
void lineage_restored(LineageIndex *l); /* they all are */

/* What a worker holds, instead of what was known of it; what it made or lost. Keys are 64
 * hexadecimal digits. */
void lineage_set_worker(LineageIndex *l, uint32_t worker, char *const *keys, size_t count);
void lineage_forget_worker(LineageIndex *l, uint32_t worker);
void lineage_made(LineageIndex *l, const char *key, uint32_t worker);
bool lineage_is_held(const LineageIndex *l, const char *key, uint32_t worker);
void lineage_lost(LineageIndex *l, const char *key, uint32_t worker);

/* A job's keys, once it is split. Never fails: without keys its maps are run. */
JobLineage *job_lineage_new(MasterJob *j);
JobLineage *job_lineage_free(JobLineage *jl);

/* NULL for a map without one. Valid until the next call. */
const char *job_lineage_key(const JobLineage *jl, uint32_t map);
LineageWhy job_lineage_why(const JobLineage *jl, uint32_t map);
void job_lineage_set_why(JobLineage *jl, uint32_t map, LineageWhy why);

/* The next map that a living worker has an output for; false at the end. Each is told once. */
bool job_lineage_next(JobLineage *jl, uint32_t *ret_map, uint32_t *ret_worker);

/*
 * Backup — which running attempts are stragglers, by LATE: the longest approximate time to end
 * first.
 *
 *      progress rate  = progress score / time it has run
 *      time left      = (1 - progress score) / progress rate
 *      SlowTaskThreshold: the 25th percentile of the progress rates
 *      SlowNodeThreshold: the 25th percentile of the nodes' progress
 *      SpeculativeCap:    backups at a time, a share of all slots
 *
 * Of the attempts at or below the first threshold the one with the most time left gets a backup, on
 * a node that is not below the second, while backups are fewer than the third says.
 *
 * Source: Zaharia, Konwinski, Joseph, Katz & Stoica, OSDI 2008, §4. What we changed:
 *   - A reduce counts from the end of its shuffle on, whose length is the maps' affair.
 *   - The rates include those of the last BACKUP_RATES_MAX committed attempts, so that the last
 *     task of a job has peers to be compared with.
 *   - A node's progress is that of its attempts by the time they took, not a sum: a worker that
 *     came late, or has fewer slots, is not slow; and one without an attempt of the job is not
 *     judged.
 *   - A backup must be likely to win: time left > what a fresh attempt takes, the inverse of the
 *     median rate. So in a job where all tasks do alike nothing is run twice, though a quarter is
 *     always the slowest.
 *   - An attempt that has run longer than its peers take is believed to need as long again as it
 *     is late, whatever its progress says: input that is all read by a command that hangs is a
 *     score of 1.
 *   - A score of 0 says as little, for some commands read nothing until they are nearly done: then,
 *     too, only the time beyond that of its peers counts.
 *   - A task that reads more than the job's mean task is expected to take longer by as much, but
 *     BACKUP_SIZE_MAX times at most: rates are of mean tasks. One that reads less is not expected
 *     to be quicker, for a start takes as long, and not all work is by the byte.
 *   - It must have run for BACKUP_MIN_USEC and a quarter of the time of its peers (in the paper:
 *     one minute), before which a score means nothing.
 *   - What the maps have shown of a node holds for its reduces: one whose maps were overtaken by
 *     their backups, and take BACKUP_SLOW_NODE_TIMES as long as the median node's, has its reduces
 *     backed up as soon as the maps are done, and not after another while of watching them.
 */
#pragma once

#include "base/macro.h"

#define BACKUP_RATES_MAX 256U
#define BACKUP_SLOW_PERCENTILE 25
/* §5.4: the time of a job falls until a cap of 20 % of the slots, and not beyond. */
#define BACKUP_CAP_PERCENT 20U
#define BACKUP_MIN_USEC (1 * USEC_PER_SEC)
/* As split_plan_new_for_slots() cuts. Beside a thousand tiny files a large one would be patience
 * without end. */
#define BACKUP_SIZE_MAX 4.0
/* A backup that begins with its original still gains two thirds of the time. */
#define BACKUP_SLOW_NODE_TIMES 3.0

/* One running attempt, as it looks now. */
typedef struct BackupAttempt {
        uint32_t task;
        uint32_t worker;
        double score; /* 0 to 1 */
        double size;  /* of its input, by that of the job's mean task; from 1 to the maximum */
        uint64_t elapsed_usec; /* since it began; a reduce: since its shuffle ended */
        bool single;           /* the task has no other attempt */
} BackupAttempt;

double backup_rate(double score, uint64_t elapsed_usec);          /* per second */
double backup_time_left_sec(double score, uint64_t elapsed_usec); /* INFINITY where nothing moves */
/* Between the two nearest ranks, linearly (type 7 of Hyndman & Fan 1996). Sorts @values; NAN for
 * none. */
double backup_percentile(double *values, size_t count, double percent);

/* What the committed attempts of a job's maps, or reduces, have shown. */
typedef struct BackupPace BackupPace;

BackupPace *backup_pace_new(void);
BackupPace *backup_pace_free(BackupPace *p);
DEFINE_CLEANUP(BackupPace, backup_pace_free);
void backup_pace_committed(BackupPace *p, uint32_t worker, uint64_t elapsed_usec, double size);
/* An attempt that its backup has overtaken: it would have taken longer still. */
void backup_pace_overtaken(BackupPace *p, uint32_t worker, uint64_t elapsed_usec, double size);

/* Committed and running attempts together, at one moment. */
typedef struct BackupView {
        double slow_task_rate; /* SlowTaskThreshold */
        double slow_node_rate; /* SlowNodeThreshold */
        double median_node_rate;
        double typical_sec; /* of a fresh attempt of a mean task; INFINITY: nothing is known */
        GHashTable *nodes;  /* worker → its progress */
} BackupView;

void backup_view_init(BackupView *v, const BackupPace *p, const BackupAttempt *attempts,
                      size_t count);
void backup_view_done(BackupView *v);

/* How long this attempt will go on if it deserves a backup; 0 if it does not. */
double backup_deserved_sec(const BackupView *v, const BackupAttempt *a);
bool backup_is_slow_node(const BackupView *v, uint32_t worker);
/* Not only slower than most: backups have overtaken it, and it takes BACKUP_SLOW_NODE_TIMES the
 * median node's time, which is BACKUP_MIN_USEC more at least. */
bool backup_is_proven_slow(const BackupView *v, uint32_t worker);

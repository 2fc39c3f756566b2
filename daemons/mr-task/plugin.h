/*
 * Plugin — a program of include/mapreduce.h in an attempt: built in, or a shared object of the
 * job's.
 *
 * The same functions serve both. A shared object is opened by the descriptor of the job's working
 * directory, so no path but the job's own is seen. What a host function refused counts even when
 * the program ignores it.
 */
#pragma once

#include "mapreduce.h"
#include "mr-task/attempt.h"
#include "records/combine.h"
#include "records/lines.h"
#include "records/output.h"
#include "records/piece.h"
#include "records/sorter.h"

struct App;

typedef struct Plugin {
        MrTask task; /* what the program sees */
        Attempt *attempt;
        const MrPlugin *code;
        const struct App *app; /* NULL: a shared object */
        void *library;
        const MrParameter *parameters; /* may be NULL */
        const char **values;           /* of the parameters */
        uint64_t record_bytes;         /* 0: lines */
        MrInfo info;
        void *state;
        bool is_set_up;
        int failed; /* the first refusal */
        bool refused_by_program;

        /* map: one of them */
        Combiner *combiner;
        Sorter *sorter;
        uint8_t *packed; /* a key with what follows it */
        size_t packed_capacity;
        Lines lines;
        uint64_t base; /* offset in the input of what is at lines.buffer */
        const Mapreduced__V1__Piece *piece;
        uint64_t skipped_bytes, skipped; /* of this piece */

        /* combine and reduce */
        Groups *groups;
        const uint8_t *key; /* of the open group, as the program knows it */
        size_t key_size;
        uint8_t *unpacked;
        size_t unpacked_capacity;
        bool number_is_given;
        Output *out;          /* reduce, and map without one */
        GByteArray *combined; /* combine: the values emitted, each behind its size */
} Plugin;

/* Finds the program of the attempt, checks its parameters and calls its setup(). */
int plugin_init(Plugin *p, Attempt *a);

/* teardown(), and all that is owned. Takes a zeroed one, too. */
void plugin_done(Plugin *p);

/* What a function of the program returned, and what was refused meanwhile. @what: "map()" */
int plugin_result(Plugin *p, int r, const char *what);

/* reduce() for each key of the sorted @stream, its lines to @out. */
int plugin_reduce(Plugin *p, RecordStream *stream, Output *out);

/* Which reduce gets @key. */
uint32_t plugin_partition(Plugin *p, const uint8_t *key, size_t size);

static inline CombineOp plugin_op(const MrPlugin *code)
{
        return code->op == MR_OP_MIN   ? COMBINE_MIN
               : code->op == MR_OP_MAX ? COMBINE_MAX
                                       : COMBINE_SUM;
}

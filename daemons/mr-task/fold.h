/*
 * Fold — a built-in as the reduce of a command's mapper: its operator is applied to the lines by
 * key.
 *
 *      mapper ─ key TAB number ─▶ combiner ─▶ run file ─▶ combiner ─▶ key TAB number
 *
 * The operator is declared (sum, min, max), so it combines in the map already: a line costs no
 * sort, and a run file has each key seldom more than once. What a line counts for is the catalog's
 * to say. A line that has no number where one is needed fails the attempt: left out, it would make
 * a wrong sum that looks right.
 */
#pragma once

#include "apps/catalog.h"
#include "mr-task/attempt.h"
#include "records/combine.h"
#include "records/output.h"

typedef struct Fold {
        Attempt *attempt;
        const CatalogApp *app;
        Combiner *combiner;
        uint8_t *key; /* a copy, with the padding that a combiner reads */
        size_t key_capacity;
} Fold;

/* For a map. An error says itself. */
int fold_init_map(Fold *f, Attempt *a);
void fold_done(Fold *f);

/* A line of the mapper's: its key and its value. */
int fold_add(Fold *f, const Record *record);

/* The run file. */
int fold_write_run(Fold *f);

/* In a reduce: which operator @a's job reduces by, or that it is none of ours. */
int fold_init_reduce(Fold *f, Attempt *a, CombineOp *ret_op);

/* What a reduce's combiner has: each key once, in order. */
int fold_write_part(Fold *f, RecordStream *stream, Output *out);

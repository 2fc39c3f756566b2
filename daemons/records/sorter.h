/*
 * Sorter — takes records in any order, gives them back sorted, in bounded memory.
 *
 *      | records, packed → ……………… ← scratch for sorting | ← items |
 *
 * One region holds records from the front and their items (item-sort.h) from the back. When they
 * meet, everything is sorted and spilled to the scratch file as one run; at the end the runs are
 * merged. With no spill nothing is copied: the records are given from where they lie. Records of a
 * fixed length are read from their file into the region, and need no sizes beside them. Serves as
 * the collector of a map, and as the external sort of a reduce's output.
 */
#pragma once

#include "records/merge.h"

#define SORTER_MEMORY_MIN (1024 * 1024)
#define SORTER_RECORD_BYTES_MAX (64 * 1024) /* of a fixed length */

typedef struct Sorter Sorter;

typedef struct SorterOptions {
        uint32_t partitions;  /* every record's is below */
        size_t record_bytes;  /* not 0: records of this length, read in place, by sorter_space()
                                alone */
        size_t key_bytes;     /* of these: the key, the first ones; the others are the value */
        size_t memory_bytes;  /* raised to SORTER_MEMORY_MIN; a quarter is for merging */
        Scratch *scratch;     /* not owned */
        const Ticker *ticker; /* may be NULL; not owned; must outlive the sorter */
} SorterOptions;

int sorter_new(const SorterOptions *options, Sorter **ret);
Sorter *sorter_free(Sorter *s);
DEFINE_CLEANUP(Sorter, sorter_free);

/**
 * sorter_add() - copies the record; a record larger than the memory becomes a run of its own
 *
 * Return: 0; -E2BIG above RECORD_MAX_BYTES; the errno of a spill (-ENOSPC, …).
 */
int sorter_add(Sorter *s, const Record *record);

/**
 * sorter_space() - where the next bytes of records of a fixed length go
 * @ret_size: at least 1
 *
 * Return: 0, or the errno of a spill.
 */
int sorter_space(Sorter *s, uint8_t **ret, size_t *ret_size);

/* So many bytes were put there. A record need not be whole yet, but before sorter_finish(). All are
 * of partition 0. */
void sorter_filled(Sorter *s, size_t bytes);

/**
 * sorter_finish() - no more records
 * @ret: gives them by partition, then key, then order of adding; lives as long as the sorter
 */
int sorter_finish(Sorter *s, RecordStream **ret);

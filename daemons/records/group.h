/*
 * Groups — a sorted stream seen as keys, each with its values.
 *
 * Values are given one by one as they come, so those of one key may exceed all memory; only the key
 * is kept. What is left of a group when the next is asked for is skipped.
 */
#pragma once

#include "records/record.h"

typedef struct Groups {
        RecordStream *stream; /* not owned */
        bool pairs;  /* keys are pairs (pair.h), grouped by the first string; g->key is the pair's
                        head */
        Record head; /* the record read ahead, when has_head */
        bool has_head;
        bool open;        /* a group was begun, perhaps not read to its end */
        bool first_value; /* the head is the open group's first value: no need to compare */
        bool ended;
        uint32_t partition; /* of the open group */
        uint8_t *key;       /* of the open group */
        size_t key_size;
        size_t key_capacity;
        uint64_t records; /* read so far */
} Groups;

void groups_init(Groups *g, RecordStream *stream);
void groups_done(Groups *g);

/* The next key: g->key, g->key_size, g->partition until the next call. Return: 1, 0 at the end, or
 * an error. */
int groups_next(Groups *g);

/* The open group's next value, valid until the next call. Return: 1, 0 at the group's end, or an
 * error. */
int groups_value(Groups *g, const uint8_t **ret, size_t *ret_size);

/*
 * Sort keys — a record as bytes whose memcmp() order is the order that was asked for.
 *
 * Whole lines are their own keys. Any other order is (part of the line, line): two strings that are
 * each ended, as in pair.h, so that of lines with equal keys the smaller comes first, as sort(1)
 * has it; and the reverse order is the same bytes complemented. A number is its sign, the count of
 * its digits before the point, the digits, and those behind the point: any size, no rounding. What
 * begins with no number is 0.
 *
 * Made by maps for every record, and by the master for the few by which it finds the bounds of a
 * range partitioner (Dean & Ghemawat, OSDI 2004, §4.1: the keys of a total order are sampled).
 */
#pragma once

#include "records/fields.h"

/* Sign, count of digits and the end that a negative number has. */
#define SORT_NUMBER_EXTRA 6

typedef struct SortSpec {
        Fields fields;
        uint64_t key;       /* field; 0: the whole line */
        uint64_t key_bytes; /* of fixed-length records: how many are compared; 0: all */
        bool numeric;
        bool reverse;
} SortSpec;

/* Whole records as they are: the key is the record, or its first bytes. */
static inline bool sort_is_plain(const SortSpec *s)
{
        return s->key == 0 && !s->numeric && !s->reverse;
}

/* The most bytes that sort_key_put() writes. */
size_t sort_key_size_max(size_t size);

/* @record: LINES_PADDING bytes after it may be read. Return: the bytes written. */
size_t sort_key_put(const SortSpec *s, const uint8_t *record, size_t size, uint8_t *to);

/* The record that a key was made of; in place, as it only becomes shorter. -EBADMSG for bytes that
 * are none. */
int sort_key_get(const SortSpec *s, uint8_t *key, size_t size, const uint8_t **ret,
                 size_t *ret_size);

/**
 * sort_number_put() - the number that @field begins with, as sort -n reads one: blanks, a minus,
 * digits, a point, digits
 * @to:       becomes a string that is ended, of pair_size_max(@size + SORT_NUMBER_EXTRA, 0) bytes
 *            at most
 * @room_end: behind what is there to write to: @size + SORT_NUMBER_EXTRA bytes more than that are
 *            enough
 *
 * Return: the bytes written at @to.
 */
size_t sort_number_put(const uint8_t *field, size_t size, uint8_t *to, uint8_t *room_end);

/* Makes what sorts first sort last, and as it was when done again. */
static inline void sort_reverse(uint8_t *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t) ~bytes[i];
}

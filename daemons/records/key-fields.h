/*
 * Key fields — which part of a command's line is its key, and which part of that chooses the
 * reduce.
 *
 *      separator ",", two key fields, one of them for the partition:
 *
 *              2024,05,17,GET /            key "2024,05", value "17,GET /", partition by "2024"
 *
 * A line with fewer separators is a key without a value. The separator at the cut is in neither
 * part.
 * Source: Hadoop Streaming's stream.map.output.field.separator, stream.num.map.output.key.fields
 * and KeyFieldBasedPartitioner; the default is its own, too: the first TAB.
 */
#pragma once

#include "records/record.h"

#define KEY_SEPARATOR_MAX_BYTES 64

typedef struct KeyFields {
        uint8_t separator[KEY_SEPARATOR_MAX_BYTES];
        size_t separator_size;
        uint32_t count;           /* at least 1 */
        uint32_t partition_count; /* 0: the whole key */
} KeyFields;

/**
 * key_fields_init() - from what a job says
 * @separator: empty: one TAB
 * @count:     0: 1
 *
 * Return: 0, or -EINVAL for a separator that is too long.
 */
int key_fields_init(KeyFields *k, const uint8_t *separator, size_t separator_size, uint32_t count,
                    uint32_t partition_count);

/* The separator behind field @count of @line, which begins it; NULL when there are fewer. */
const uint8_t *key_fields_find(const KeyFields *k, const uint8_t *line, size_t size,
                               uint32_t count);

/* Field @number of @key, from 1, and its size; a field that is not there is an empty one. */
const uint8_t *key_fields_get(const KeyFields *k, const uint8_t *key, size_t size, uint32_t number,
                              size_t *ret_size);

/* How many bytes of @key choose the partition. */
size_t key_fields_partition_size(const KeyFields *k, const uint8_t *key, size_t size);

/**
 * key_fields_split() - @line as a record; its parts are in @line
 * @keep_separator: the value begins with its separator, so that a line comes out as it went in
 */
void key_fields_split(const KeyFields *k, const uint8_t *line, size_t size, bool keep_separator,
                      uint32_t partitions, Record *ret);

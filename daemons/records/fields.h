/*
 * Fields — a line cut at white space, or at one byte; fields count from 1, and 0 is the whole line.
 *
 * Runs of ASCII white space (TAB to CR, blank) separate, and do not count at the ends, as in awk.
 * With a delimiter each one separates, as in cut.
 */
#pragma once

#include "records/lines.h"

typedef struct Fields {
        bool delimited;
        uint8_t delimiter;
} Fields;

/* @line: LINES_PADDING bytes after it may be read. Return: whether there is such a field. */
bool fields_find(const Fields *f, const uint8_t *line, size_t size, uint64_t number,
                 const uint8_t **ret, size_t *ret_size);

/* A number of digits, up to 2^64 - 1. */
bool fields_number(const uint8_t *field, size_t size, uint64_t *ret);

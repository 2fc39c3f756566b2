/*
 * Fields — a line cut at white space, or at one byte; fields count from 1, and 0 is the whole line.
 *
 * Runs of ASCII white space (TAB to CR, blank) separate, and do not count at the ends, as in awk. With a
 * delimiter each one separates, as in cut.
 */
#pragma once

#include "mapreduce.h"
#include "records/lines.h"

#define FIELD_MAX 100000

typedef struct Fields {
        bool delimited;
        uint8_t delimiter;
} Fields;

/* The parameter "delimiter": one byte, or "\t". Return: 0, or what mr_fail() says. */
int fields_setup(Fields *f, MrTask *t);

/* The parameter @name as the number of a field. Return: 0, or what mr_fail() says. */
int fields_parameter(MrTask *t, const char *name, uint64_t min, uint64_t *ret);

/* @line: LINES_PADDING bytes after it may be read. Return: whether there is such a field. */
bool fields_find(const Fields *f, const uint8_t *line, size_t size, uint64_t number,
                 const uint8_t **ret, size_t *ret_size);

/* A number of digits, up to 2^64 - 1. */
bool fields_number(const uint8_t *field, size_t size, uint64_t *ret);

/*
 * Lines — put together from blocks that end anywhere.
 *
 * The caller reads into lines_space() and says lines_filled(); lines_next() then gives each whole
 * line in place. Memory is proportional to the longest line; RECORD_MAX_BYTES is the limit.
 */
#pragma once

#include "records/record.h"

#define LINES_PADDING 64

typedef struct Lines {
        uint8_t *buffer; /* LINES_PADDING bytes after its end may be read */
        size_t capacity;
        size_t begin;   /* of the first line not yet given */
        size_t scanned; /* no newline in [begin, scanned) */
        size_t end;
} Lines;

void lines_done(Lines *l);

/* Room for at least @min_bytes more. Pointers given by lines_next() end here. Return: 0, -ENOMEM,
 * or -E2BIG when an unfinished line is above the limit. */
int lines_space(Lines *l, size_t min_bytes, uint8_t **ret, size_t *ret_size);

void lines_filled(Lines *l, size_t bytes);

/* The next whole line without its newline. With @final, what is left without a newline is a line,
 * too.
 * Return: true and the line, or false when more bytes are needed. */
bool lines_next(Lines *l, bool final, const uint8_t **ret, size_t *ret_size);

/* How many newlines there are. */
uint64_t lines_count(const uint8_t *data, size_t size);

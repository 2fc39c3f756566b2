/*
 * Output — text to a file, 1 MiB at a time; what comes in large pieces, at once.
 */
#pragma once

#include "records/span.h"

#define OUTPUT_BUFFER_BYTES ((size_t) 1024 * 1024)
#define OUTPUT_DIRECT_BYTES ((size_t) 64 * 1024)

typedef struct Output {
        int fd;
        int (*sink)(void *userdata, const void *data, size_t size); /* NULL: into fd */
        void *userdata;
        uint8_t *buffer;
        size_t used;
        uint64_t bytes; /* appended in all */
} Output;

/* Writes at the file position of @fd, which stays the caller's. Return: 0 or -ENOMEM. */
int output_init(Output *o, int fd);
void output_done(Output *o);

/* Return: 0, or the errno of a write. */
int output_bytes(Output *o, const void *data, size_t size);

/* @count records of @span from @from on, with nothing between them. */
int output_span(Output *o, const RecordSpan *span, size_t from, size_t count);

/* key TAB value newline; without a value, and with @bare, key newline */
int output_line(Output *o, const uint8_t *key, size_t key_size, const uint8_t *value,
                size_t value_size, bool bare);

/* key TAB number newline */
int output_number(Output *o, const uint8_t *key, size_t key_size, uint64_t number);

int output_flush(Output *o);

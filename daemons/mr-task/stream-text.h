/*
 * Records as text — lines of key, separator (TAB, if the job does not say otherwise) and value,
 * from and to the stdin and stdout of commands.
 */
#pragma once

#include "mr-task/attempt.h"
#include "mr-task/fold.h"
#include "records/lines.h"
#include "records/output.h"
#include "records/sorter.h"

/* A sorted stream as the lines a command reads; a CommandIo's give(). */
typedef struct TextSource {
        RecordStream *stream;
        const KeyFields *fields; /* for the separator */
        uint8_t *buffer;
        Record large;        /* one that does not fit the buffer is given in parts */
        unsigned large_part; /* 0: none */
        uint64_t records;
        uint64_t groups;
        uint64_t last_hash; /* of the key before, to count groups */
} TextSource;

int text_source_init(TextSource *t, RecordStream *stream, const KeyFields *fields);
void text_source_done(TextSource *t);
int text_source_give(TextSource *t, const uint8_t **ret, size_t *ret_size);

/* The same records with their keys as they were, of a stream that is sorted by an order of
 * fields. */
typedef struct PlainKeys {
        RecordStream stream;
        RecordStream *ordered;
        Attempt *attempt;
} PlainKeys;

/* @stream for who reads keys: itself, where these are in the order of their bytes. */
RecordStream *plain_keys_init(PlainKeys *p, Attempt *a, RecordStream *stream);

/* Lines that a command wrote: as records into a sorter or a fold, or as they are into a part of the
 * result. */
typedef struct TextSink {
        Attempt *attempt;
        Sorter *sorter;
        Fold *fold;  /* instead of the sorter */
        Output *out; /* instead of either */
        const KeyFields *fields;
        KeyOrder *order; /* in which the sorter shall have the keys; NULL: that of their bytes */
        uint32_t partitions;
        bool keep_separator; /* the value begins with it, so that a line comes out as it went in */
        const char *what;    /* "mapper", for messages */
        Lines lines;
        bool line_is_open; /* out: the last byte was no newline */
        bool ends_lines;   /* out: gives the last line one */
        uint64_t records;
} TextSink;

void text_sink_done(TextSink *t);
int text_sink_take(TextSink *t, const uint8_t *data, size_t size);

/* The last line may lack its newline. */
int text_sink_finish(TextSink *t);

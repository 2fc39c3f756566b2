/*
 * Records as text — key TAB value lines, from and to the stdin and stdout of commands.
 */
#pragma once

#include "mr-task/attempt.h"
#include "records/lines.h"
#include "records/sorter.h"

/* A sorted stream as the lines a command reads; a CommandIo's give(). */
typedef struct TextSource {
        RecordStream *stream;
        uint8_t *buffer;
        Record large;        /* one that does not fit the buffer is given in parts */
        unsigned large_part; /* 0: none */
        uint64_t records;
        uint64_t groups;
        uint64_t last_hash; /* of the key before, to count groups */
} TextSource;

int text_source_init(TextSource *t, RecordStream *stream);
void text_source_done(TextSource *t);
int text_source_give(TextSource *t, const uint8_t **ret, size_t *ret_size);

/* Lines that a command wrote, as records into a sorter. */
typedef struct TextSink {
        Attempt *attempt;
        Sorter *sorter;
        uint32_t partitions;
        bool keep_tab; /* the value begins with its TAB, so that a line comes out as it went in */
        const char *what; /* "mapper", for messages */
        Lines lines;
        uint64_t records;
} TextSink;

void text_sink_done(TextSink *t);
int text_sink_take(TextSink *t, const uint8_t *data, size_t size);

/* The last line may lack its newline. */
int text_sink_finish(TextSink *t);

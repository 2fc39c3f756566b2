/*
 * Map by command — the user's mapper and combiner: lines in, key TAB value lines out.
 */
#pragma once

#include "mr-task/attempt.h"
#include "mr-task/plugin.h"
#include "mr-task/stream-text.h"
#include "records/piece.h"
#include "records/sorter.h"

/* The mapper that is no process: lines are records as they are. */
#define MAPPER_IDENTITY "identity"

/* Where a map's records go: into a sorter or a fold, or into a part of the result where there is no
 * reduce. */
typedef struct MapSink {
        Plugin *plugin; /* NULL: commands */
        Sorter *sorter; /* of commands */
        Fold *fold;     /* of commands, instead: a built-in reduces them */
        Output *out;    /* of commands, instead */
} MapSink;

/* For what the mapper says; the caller frees it with text_sink_done(). */
TextSink map_text_sink(Attempt *a, const MapSink *to);

/* Runs the mapper over one piece. @path is its name, made fit to print. */
int map_command_piece(Attempt *a, const MapSink *to, const Mapreduced__V1__Piece *piece,
                      const char *path, PieceReader *reader);

/*
 * Runs the combiner over the sorted records of the whole attempt, and writes what it says as the
 * run file. One process an attempt, not one a spill: starting a user's interpreter costs more than
 * merging what it would have saved. Its output is sorted anew, so it may say any key.
 */
int map_combine_command(Attempt *a, RecordStream *stream);

/* The run file from a stream by partition, each @sorted by key or in no order. */
int map_write_run(Attempt *a, RecordStream *stream, bool sorted, uint64_t *ret_records);

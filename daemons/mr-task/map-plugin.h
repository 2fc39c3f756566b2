/*
 * Map by plugin — an app's or a shared object's map() over the records of pieces, and its
 * combine().
 */
#pragma once

#include "mr-task/plugin.h"

/* Makes the combiner or the sorter that the program's records go to. */
int map_plugin_begin(Plugin *p);

/* For a map whose records are lines of the result: there is no reduce. */
int map_plugin_begin_part(Plugin *p, Output *out);

int map_plugin_piece(Plugin *p, const Mapreduced__V1__Piece *piece, PieceReader *reader);

/* map() for each record of a piece, and map_end(). */
int map_plugin_records(Plugin *p, PieceReader *reader);

/* The run file of all that was emitted. */
int map_plugin_finish(Plugin *p);

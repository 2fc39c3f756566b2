/*
 * Skipping — a mapper run without the records it fails on.
 */
#pragma once

#include "mr-task/map-command.h"

/*
 * Runs the mapper over the lines of one piece, or over the whole file that is one record, and finds
 * and leaves out the ones it fails on: at most start->skip_records in the whole attempt. *ret_lines
 * and *ret_bytes: of what it was given with success.
 */
int map_skip_piece(Attempt *a, const MapSink *to, const Mapreduced__V1__Piece *piece, int fd,
                   const char *path, uint64_t *ret_lines, uint64_t *ret_bytes);

/*
 * Opening inputs — in threads (worker-threads.h).
 *
 * An attempt asks here for the next files of its split and is told in time; until then it alone
 * waits, and TaskTimeout= ends its patience.
 */
#pragma once

#include "mr-workerd/worker-input.h"
#include "mr-workerd/worker-threads.h"

/* @count files were opened; the callee closes @fds. @error: 0, or of the piece after them, with its
 * sentence. */
typedef void (*OpenDone)(const int *fds, size_t count, int error, bool permanent,
                         const char *sentence, void *userdata);

/* The pieces are copied. @done comes from the loop, once. */
ThreadWork *open_pieces_start(Threads *t, const char *job, Mapreduced__V1__Piece *const *pieces,
                              size_t count, OpenDone done, void *userdata);

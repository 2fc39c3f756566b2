/*
 * Opening inputs — in threads, for a file system that hangs must not stop the worker.
 *
 * A worker that does not answer is taken for dead, with everything that it holds. So an attempt asks here for
 * the next files of its split and is told in time; until then it alone waits, and TaskTimeout= ends its patience.
 * A thread that hangs is left to hang: it comes back when its file system does. At most OPEN_THREADS_MAX do at a
 * time; further requests wait.
 */
#pragma once

#include "mr-workerd/worker-input.h"
#include "platform/loop.h"

#define OPEN_THREADS_MAX 64

typedef struct Opener Opener;
typedef struct OpenRequest OpenRequest;

/* @count files were opened; the callee closes @fds. @error: 0, or of the piece after them, with its sentence. */
typedef void (*OpenDone)(const int *fds, size_t count, int error, bool permanent,
                         const char *sentence, void *userdata);

int opener_new(Loop *l, Opener **ret);
Opener *opener_free(Opener *o); /* every request must have been forgotten; takes NULL */

/* The pieces are copied. @done comes from the loop, once. */
OpenRequest *opener_start(Opener *o, Mapreduced__V1__Piece *const *pieces, size_t count,
                          OpenDone done, void *userdata);
OpenRequest *open_request_forget(
        OpenRequest *r); /* @done will not come. Returns NULL, takes NULL */

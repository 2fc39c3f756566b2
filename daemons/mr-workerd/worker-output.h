/*
 * Output files — a reduce's part and a map's output on stable storage: on the job's file system, so
 * in threads.
 *
 *      open ──▶ mr-task writes ──▶ finish: size, sync, close, name
 *        └────────────┴──────────▶ discard: close, and remove
 *
 * Closing counts as work: a network file system writes at close.
 */
#pragma once

#include "mr-workerd/worker-threads.h"

typedef struct OutputFile {
        char *dir; /* made where it is missing, removed with the file; NULL: it is not the attempt's
                      own */
        char *path; /* of the file while it is written */
        char *name; /* its path from finish on; NULL: the same */
} OutputFile;

OutputFile *output_file_new(const char *dir, const char *path, const char *name);
OutputFile *output_file_free(OutputFile *f);

/* @fd: the callee's, or a negative errno */
typedef void (*OutputOpened)(int fd, void *userdata);
/* Takes @old_fd, of a run before, or -EBADF. */
ThreadWork *output_file_open(Threads *t, const char *job, const OutputFile *f, int old_fd,
                             OutputOpened done, void *userdata);

/* Takes @fd. @error: 0 or negative errno */
typedef void (*OutputFinished)(int error, uint64_t size_bytes, void *userdata);
ThreadWork *output_file_finish(Threads *t, const char *job, const OutputFile *f, int fd, bool sync,
                               OutputFinished done, void *userdata);

/* Takes @fd, which may be negative. Nobody is told. */
void output_file_discard(Threads *t, const char *job, const OutputFile *f, int fd);

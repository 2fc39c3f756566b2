/*
 * Commands — the user's program as a child: fed, listened to, and never left behind.
 *
 * One poll() loop serves stdin, stdout, stderr, the child's end and the worker's socket, so a child
 * that does not read, or writes before it reads, stops nobody. While bytes move it looks at the
 * pipes by the clock, and not whenever there is something. The child leads a process group of its
 * own; when it has ended and nobody holds its stdout any more, so does whatever it has started (we
 * are its subreaper).
 */
#pragma once

#include "mr-task/attempt.h"

typedef struct CommandIo {
        /* The next bytes for stdin, kept by the callee until the next call. Return: 1, 0 at the
         * end, or an error. */
        int (*give)(void *userdata, const uint8_t **ret, size_t *ret_size);
        /* Which file, from which offset on, the bytes given last are a copy of; false when none.
         * May be NULL. */
        bool (*where)(void *userdata, int *ret_fd, uint64_t *ret_offset);
        /* Bytes from stdout. */
        int (*take)(void *userdata, const uint8_t *data, size_t size);
        void *userdata;
} CommandIo;

/**
 * command_run() - run `/bin/sh -c @line` to its end, without the shell where that would do nothing
 * but start a program
 * @env:  NULL-terminated
 * @ret:  how it ended in words, "exited with status 3"; NULL when it exited with 0, or with what
 *        the job takes for that. Caller frees.
 *
 * What is a copy of a file goes from the page cache into the pipe by reference (splice()); the rest
 * is written. A child that ends without reading all of its stdin has not failed for that.
 *
 * Return: 0; the callbacks' errors; an error of its own, said in a->error; LINK_ENDED. In each case
 * no process of it is left.
 */
int command_run(Attempt *a, const char *line, char **env, const CommandIo *io, char **ret);

/* The beginning of a command on one line, for a message. Caller frees. */
char *command_shown(const char *line);

/* Kills and reaps every process under us; returns when there is none. */
void command_kill_all(void);

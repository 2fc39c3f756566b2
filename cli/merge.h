/*
 * Merge of the parts of a result — many sorted texts become one, on standard output.
 *
 * A result is one file per reduce, each sorted by key; who asks for it on a terminal wants one
 * list. A key is what stands before the first TAB of a line (else the whole line); keys compare by
 * memcmp, then length, and equal keys keep the order of their parts.
 *
 * Memory is bounded by the buffers, not by the result: only a key has to fit, a value of any length
 * streams through. Descriptors are bounded by @max_open: more parts than that are first merged in
 * groups into one unlinked file.
 */
#pragma once

#include <signal.h>

#include "base/error.h"

/* What one open part costs; together they stay below MERGE_BUFFERS_BYTES. */
#define MERGE_BUFFER_MIN_BYTES KIB(16)
#define MERGE_BUFFER_MAX_BYTES KIB(512)
#define MERGE_BUFFERS_BYTES MIB(64)
#define MERGE_OPEN_MAX 4096        /* = MERGE_BUFFERS_BYTES / MERGE_BUFFER_MIN_BYTES */
#define MERGE_KEY_MAX_BYTES GIB(1) /* a longer key is an error, not a swapping machine */

/* Opens part @part, a regular file, which is read by position. Return: 0 or negative errno with a
 * message. */
typedef int (*MergeOpen)(void *userdata, uint32_t part, int *ret_fd, Error *e);

typedef struct MergeOptions {
        uint32_t max_open;   /* 2 to MERGE_OPEN_MAX; 0: as many as the limit of open files allows */
        size_t buffer_bytes; /* of each input; 0: chosen from the constants above */
        const volatile sig_atomic_t *interrupted; /* may be NULL; set by a signal handler */
        bool in_order; /* the parts are one order already: copy them, one after another */
} MergeOptions;

/**
 * merge_parts() - write @parts parts as one text sorted by key
 * @to: receives them; one part alone is copied as it is, and so are all with @o->in_order
 *
 * A last line without a newline gets one where more than one part is merged.
 *
 * Return: 0; -EPIPE when nobody reads @to any more; -EINTR when *interrupted was set; another
 * negative errno with a message.
 */
int merge_parts(MergeOpen open_part, void *userdata, uint32_t parts, int to, const MergeOptions *o,
                Error *e);

/*
 * Memory — what this process and those below it hold, and an end to too much of it.
 *
 * A plugin's memory is this process's, which it shares with our own buffers. A thread looks at it,
 * for the one that runs map() may not come back for a while; when it is too much, it says so on the
 * record page and ends the process.
 */
#pragma once

#include "base/macro.h"

/* Resident, and not shared with files or others, of all descendants together; 0 where /proc says
 * nothing. */
uint64_t memory_of_children(void);
uint64_t memory_of_self(void);

typedef struct MemoryWatch MemoryWatch;

/* Ends the process with status 1 once it holds more than @limit_bytes, and children with it; writes
 * to @ret_over first. */
int memory_watch_new(uint64_t limit_bytes, volatile uint64_t *ret_over, MemoryWatch **ret);
MemoryWatch *memory_watch_free(MemoryWatch *w);
DEFINE_CLEANUP(MemoryWatch, memory_watch_free);

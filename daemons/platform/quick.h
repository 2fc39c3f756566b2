/*
 * Quick starts and ends — for programs that live for milliseconds, where the kernel's work on pages
 * is most of it.
 */
#pragma once

#include "base/macro.h"

/**
 * heap_keep() - from here on, buffers that are freed serve again
 * @first_bytes: of the heap, whose pages are made now in one call: a fault for each costs many
 *               times that
 * @kept_bytes:  that may stay free at its end, beyond which memory goes back to the kernel
 *
 * What is larger than 4 MiB is mapped alone, and goes back at once.
 */
void heap_keep(size_t first_bytes, size_t kept_bytes);

/* Gives back what is free. */
void heap_forget(void);

/* Ends this process without the destructors of libraries, each of which would touch pages of its
 * own to free what the kernel frees anyhow. What was printed is flushed; functions given to
 * atexit() are not called. */
_Noreturn void end_process(int status);

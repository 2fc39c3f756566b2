/*
 * Quick starts and ends — for programs that live for milliseconds, where the kernel's work on pages is most of it.
 */
#pragma once

#include "base/macro.h"

/* Has the kernel make the next @size_bytes of the heap's pages in one call: a fault for each costs many times that. What
 * is freed up to 4 MiB stays in the heap from here on, instead of being unmapped and faulted in anew. */
void heap_prepare(size_t size_bytes);

/* Ends this process without the destructors of libraries, each of which would touch pages of its own to free what the
 * kernel frees anyhow. What was printed is flushed; functions given to atexit() are not called. */
_Noreturn void end_process(int status);

/*
 * Regions — large memory straight from the kernel: untouched pages cost nothing, and freeing gives
 * all back.
 *
 * A process that runs one attempt after another needs the same regions again, and most of what a
 * fresh one costs is the kernel's clearing of its pages: so what an attempt gives back is kept for
 * the next one. Kept is no more than was in use at one time: a size that is not there empties the
 * store. A region of a MiB or more serves any size of the same power of two, so a map's sort and a
 * reduce's share theirs.
 *
 * The store is the process's, not an attempt's, for its use is to outlive one: what a sorter gave
 * back is what the next attempt's takes, and both run on the one thread that works. Whoever goes on
 * with buffers of malloc() instead (a sorter and a combiner that merge what they spilled, a merge
 * that gives up sorting in memory) empties it, or the process would have both.
 */
#pragma once

#include "base/macro.h"

#define REGIONS_KEPT_MAX 8

/* Aligned to pages, the content whatever it was before; NULL when there is none. Not for several
 * threads. */
void *region_take(size_t size);

/* Takes NULL, too. Return: NULL. */
void *region_keep(void *p, size_t size);

/* Gives everything kept back to the kernel. */
void region_forget_all(void);

/*
 * Regions — large memory straight from the kernel: untouched pages cost nothing, and freeing gives all back.
 */
#pragma once

#include <sys/mman.h>

#include "base/macro.h"

/* Zeroed, aligned to pages; NULL when there is none. */
static inline void *region_new(size_t size)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        if (size >= MIB(2))
                (void) madvise(p, size, MADV_HUGEPAGE); /* fewer TLB misses, where the kernel can */
        return p;
}

static inline void *region_free(void *p, size_t size)
{
        if (p)
                (void) munmap(p, size);
        return NULL;
}

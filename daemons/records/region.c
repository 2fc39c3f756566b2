/*
 * Regions — see region.h.
 */
#include <sys/mman.h>

#include "records/region.h"

typedef struct Kept {
        void *p;
        size_t capacity;
} Kept;

static Kept kept[REGIONS_KEPT_MAX];
static size_t kept_count;

void region_forget_all(void)
{
        while (kept_count > 0) {
                kept_count--;
                (void) munmap(kept[kept_count].p, kept[kept_count].capacity);
        }
}

/* Sizes that are within a factor of two of each other share addresses, and so the pages that one of
 * them has touched. */
static size_t region_capacity(size_t size)
{
        return size <= MIB(1) ? size : (size_t) 1 << (64 - __builtin_clzll(size - 1));
}

static void *region_new(size_t size)
{
        /* A fault a page costs more than all pages of a small region together. */
        int populate = size < MIB(2) ? MAP_POPULATE : 0;
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | populate, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        if (size >= MIB(2))
                (void) madvise(p, size, MADV_HUGEPAGE); /* fewer TLB misses, where the kernel can */
        return p;
}

void *region_take(size_t size)
{
        size_t capacity = region_capacity(size);

        for (size_t i = 0; i < kept_count; i++)
                if (kept[i].capacity == capacity) {
                        void *p = kept[i].p;

                        kept[i] = kept[--kept_count];
                        return p;
                }
        region_forget_all();
        return region_new(capacity);
}

void *region_keep(void *p, size_t size)
{
        size_t capacity = region_capacity(size);

        if (p && kept_count < REGIONS_KEPT_MAX)
                kept[kept_count++] = (Kept){.p = p, .capacity = capacity};
        else if (p)
                (void) munmap(p, capacity);
        return NULL;
}

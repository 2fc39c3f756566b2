/*
 * Regions — see region.h.
 */
#include <malloc.h>
#include <sys/mman.h>

#include "records/region.h"

typedef struct Kept {
        void *p;
        size_t capacity;
} Kept;

#define HEAP_MAX_BYTES (4 * 1024 * 1024) /* what is larger is rare, and goes back at once */
#define HEAP_KEPT_BYTES                                                                            \
        (128 * 1024 * 1024) /* at the end of the heap; attempts are not that large */

static Kept kept[REGIONS_KEPT_MAX];
static size_t kept_count;

void region_forget_all(void)
{
        while (kept_count > 0) {
                kept_count--;
                (void) munmap(kept[kept_count].p, kept[kept_count].capacity);
        }
}

/* glibc maps what is larger than 128 KiB anew each time: a merge would clear a page for each 4 KiB that it reads. */
void heap_keep(void)
{
        (void) mallopt(M_MMAP_THRESHOLD, HEAP_MAX_BYTES);
        (void) mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
}

void heap_forget(void)
{
        (void) malloc_trim(0);
}

/* Sizes that are within a factor of two of each other share addresses, and so the pages that one of them has touched. */
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

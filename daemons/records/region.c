/*
 * Regions — see region.h.
 */
#include <sys/mman.h>

#include "records/region.h"

typedef struct Kept {
        void *p;
        size_t size;
} Kept;

static Kept kept[REGIONS_KEPT_MAX];
static size_t kept_count;

void region_forget_all(void)
{
        while (kept_count > 0) {
                kept_count--;
                (void) munmap(kept[kept_count].p, kept[kept_count].size);
        }
}

static void *region_new(size_t size)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        if (size >= MIB(2))
                (void) madvise(p, size, MADV_HUGEPAGE); /* fewer TLB misses, where the kernel can */
        return p;
}

void *region_take(size_t size)
{
        for (size_t i = 0; i < kept_count; i++)
                if (kept[i].size == size) {
                        void *p = kept[i].p;

                        kept[i] = kept[--kept_count];
                        return p;
                }
        region_forget_all();
        return region_new(size);
}

void *region_keep(void *p, size_t size)
{
        if (p && kept_count < REGIONS_KEPT_MAX)
                kept[kept_count++] = (Kept){.p = p, .size = size};
        else if (p)
                (void) munmap(p, size);
        return NULL;
}

/*
 * Block sums on x86-64 — see block-sum.h.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "records/block-sum.h"

uint64_t block_sum(const void *bytes, size_t size, uint64_t seed)
{
        if (__builtin_cpu_supports("avx2"))
                return block_sum_avx2(bytes, size, seed);
        return XXH3_64bits_withSeed(bytes, size, seed);
}

/*
 * Block sums by what the compiler takes for granted — see block-sum.h.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "records/block-sum.h"

uint64_t block_sum(const void *bytes, size_t size, uint64_t seed)
{
        return XXH3_64bits_withSeed(bytes, size, seed);
}

/*
 * Block sums by AVX2: nothing else is compiled for it — see block-sum.h.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "records/block-sum.h"

#if XXH_VECTOR < XXH_AVX2
#error "this file is to be compiled for AVX2"
#endif

uint64_t block_sum_avx2(const void *bytes, size_t size, uint64_t seed)
{
        return XXH3_64bits_withSeed(bytes, size, seed);
}

/*
 * Block sums — XXH3 of a block's payload, by the widest instructions that are here.
 *
 * Every byte of an intermediate record is summed twice, when it is written and when it is read.
 * XXH3 is the same number by whatever instructions, and x86-64 promises none wider than SSE2: so
 * the processor is asked, once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t block_sum(const void *bytes, size_t size, uint64_t seed);

/* Only where the processor has AVX2. */
uint64_t block_sum_avx2(const void *bytes, size_t size, uint64_t seed);

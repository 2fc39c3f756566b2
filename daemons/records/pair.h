/*
 * Pairs — two byte strings as one key that sorts like the two, one after the other.
 *
 *      a \0 b  →  a' 00 00 b      a': a with each 00 followed by FF
 *
 * memcmp() of two pairs compares the first strings, and where these are equal, the second ones: no
 * byte of a' sorts below the 00 00 that ends it. So records are ordered within a group by whatever
 * merges them.
 * Source: the tuple layer of FoundationDB has this encoding.
 */
#pragma once

#include "records/record.h"

/* The most bytes that pair_put() writes. */
static inline size_t pair_size_max(size_t first_size, size_t second_size)
{
        return 2 * first_size + 2 + second_size;
}

/* Return: the bytes written. */
static inline size_t pair_put(uint8_t *to, const uint8_t *first, size_t first_size,
                              const uint8_t *second, size_t second_size)
{
        size_t at = 0;

        while (first_size > 0) {
                const uint8_t *nul = memchr(first, 0, first_size);
                size_t n = nul ? (size_t) (nul + 1 - first) : first_size;

                copy_small(to + at, first, n);
                at += n;
                if (nul)
                        to[at++] = 0xff;
                first += n;
                first_size -= n;
        }
        to[at++] = 0;
        to[at++] = 0;
        copy_small(to + at, second, second_size);
        return at + second_size;
}

/* As pair_head_size(), of a pair that was complemented where @nul is ff. */
static inline size_t pair_head_size_of(const uint8_t *pair, size_t size, uint8_t nul)
{
        const uint8_t escape = (uint8_t) (0xff - nul);
        size_t at = 0;

        while (at + 1 < size) {
                const uint8_t *found = memchr(pair + at, nul, size - at - 1);

                if (!found)
                        return 0;
                at = (size_t) (found - pair) + 2;
                if (found[1] == nul)
                        return at;
                if (found[1] != escape)
                        return 0;
        }
        return 0;
}

/* The bytes of the first string and what ends it; 0 when @pair is none. */
static inline size_t pair_head_size(const uint8_t *pair, size_t size)
{
        return pair_head_size_of(pair, size, 0);
}

/* The first string of a pair whose head has @head_size bytes. Return: the bytes written, fewer than
 * that. */
static inline size_t pair_get(uint8_t *to, const uint8_t *pair, size_t head_size)
{
        size_t at = 0;

        for (size_t i = 0; i + 2 < head_size; i++) {
                to[at++] = pair[i];
                if (pair[i] == 0)
                        i++;
        }
        return at;
}

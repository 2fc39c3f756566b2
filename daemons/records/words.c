/*
 * Words — see words.h.
 */
#include "records/words.h"

#define STEP 64
#define BATCH 32 /* steps classified at a time: their masks stay in the L1 cache */

void words_done(Words *w)
{
        free(w->buffer);
        free(w->edges);
        *w = (Words){};
}

int words_space(Words *w, size_t min_bytes, uint8_t **ret, size_t *ret_size)
{
        size_t left = w->end - w->keep;

        if (left > RECORD_MAX_BYTES)
                return -E2BIG;
        if (w->keep > 0) {
                if (left > 0)
                        memmove(w->buffer, w->buffer + w->keep, left);
                w->scanned -= w->keep;
                w->end = left;
                w->keep = 0;
        }
        if (w->capacity - w->end < min_bytes) {
                size_t capacity = MAX(w->end + min_bytes, w->capacity * 2);
                uint8_t *grown = realloc(w->buffer, capacity + STEP);

                if (!grown)
                        return -ENOMEM;
                memset(grown + capacity, 0, STEP); /* steps and key loads read on past the end */
                w->buffer = grown;
                w->capacity = capacity;
        }
        *ret = w->buffer + w->end;
        *ret_size = w->capacity - w->end;
        return 0;
}

_Static_assert(STEP >= WORDS_PADDING, "what follows the buffer may be read");

/* Size of the white space that begins with the byte @p ≥ 0x80, or 0. */
static unsigned wide_space(const uint8_t *p, size_t size)
{
        if (size >= 2 && p[0] == 0xc2)
                return p[1] == 0x85 || p[1] == 0xa0 ? 2 : 0;
        if (size < 3)
                return 0;
        if (p[0] == 0xe1)
                return p[1] == 0x9a && p[2] == 0x80 ? 3 : 0;
        if (p[0] == 0xe3)
                return p[1] == 0x80 && p[2] == 0x80 ? 3 : 0;
        if (p[0] != 0xe2)
                return 0;
        if (p[1] == 0x81)
                return p[2] == 0x9f ? 3 : 0;
        if (p[1] != 0x80)
                return 0;
        return (p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf ? 3
                                                                                              : 0;
}

/* Adds the wide white space among 64 bytes; what it covers of the next 64 comes back. */
static uint64_t add_wide_space(const uint8_t *p, size_t size, uint64_t high, uint64_t *space)
{
        uint64_t over = 0;

        for (; high != 0; high &= high - 1) {
                unsigned at = (unsigned) __builtin_ctzll(high), n;
                uint64_t bits;

                if (at >= size)
                        break;
                n = wide_space(p + at, size - at);
                bits = (UINT64_C(1) << n) - 1;
                *space |= bits << at;
                if (at + n > STEP)
                        over |= bits >> (STEP - at);
        }
        return over;
}

/* How many bytes at the end may be the beginning of wide white space. */
static size_t unfinished_tail(const uint8_t *p, size_t size)
{
        if (size >= 1 && (p[size - 1] == 0xc2 || (p[size - 1] >= 0xe1 && p[size - 1] <= 0xe3)))
                return 1;
        if (size >= 2 && p[size - 2] >= 0xe1 && p[size - 2] <= 0xe3 && p[size - 1] >= 0x80)
                return 2;
        return 0;
}

/* Appends the edges of one step; returns the new end of the edges. */
static uint32_t *put_edges(uint32_t *to, uint32_t at, uint64_t edges)
{
        for (; edges != 0; edges &= edges - 1)
                *to++ = at + (uint32_t) __builtin_ctzll(edges);
        return to;
}

/* Classifies [scanned, limit) and writes where words begin and end. */
static uint32_t *find_edges(Words *w, size_t limit, uint32_t *to)
{
        uint64_t space[BATCH], high[BATCH] = {}, over = 0, carry = w->in_word;
        size_t at = w->scanned;

        while (at < limit) {
                size_t steps = MIN(BATCH, (limit - at + STEP - 1) / STEP);

                if (w->letters)
                        words_letter_masks(w->buffer + at, steps, space);
                else
                        words_masks(w->buffer + at, steps, space, high);
                for (size_t i = 0; i < steps; i++, at += STEP) {
                        size_t size = MIN(STEP, limit - at);
                        uint64_t word, edges;

                        space[i] |= over;
                        over = 0;
                        if (!w->letters && high[i])
                                over = add_wide_space(w->buffer + at, limit - at, high[i],
                                                      &space[i]);
                        word = ~space[i];
                        edges = word ^ (word << 1 | carry);
                        if (size < STEP)
                                edges &= (UINT64_C(1) << size) - 1;
                        carry = word >> (size - 1) & 1;
                        to = put_edges(to, (uint32_t) at, edges);
                }
        }
        w->in_word = carry;
        w->scanned = limit;
        return to;
}

static int reserve_edges(Words *w, size_t bytes)
{
        /* Each byte is an edge at worst; one more for the word that came in, one for the end. */
        size_t needed = bytes + 2;
        uint32_t *grown;

        if (needed <= w->edges_capacity)
                return 0;
        grown = realloc(w->edges, needed * sizeof(uint32_t));
        if (!grown)
                return -ENOMEM;
        w->edges = grown;
        w->edges_capacity = needed;
        return 0;
}

int words_scan(Words *w, size_t bytes, bool final, const Word **ret, size_t *ret_count)
{
        uint32_t *to;
        size_t limit;
        int r;

        assert(bytes <= w->capacity - w->end);
        w->end += bytes;
        r = reserve_edges(w, w->end - w->scanned);
        if (r < 0)
                return r;
        limit = w->end;
        if (!final && !w->letters && limit > w->scanned)
                limit -= unfinished_tail(w->buffer + w->scanned, limit - w->scanned);

        to = w->edges;
        if (w->in_word)
                *to++ = (uint32_t) w->keep;
        to = find_edges(w, limit, to);
        w->keep = limit;
        if (w->in_word && final) {
                *to++ = (uint32_t) limit;
                w->in_word = false;
        } else if (w->in_word)
                w->keep = *--to;

        *ret = (const Word *) w->edges;
        *ret_count = (size_t) (to - w->edges) / 2;
        return 0;
}

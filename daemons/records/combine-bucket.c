/*
 * Buckets — entries of like hashes, made unique in a table that fits the cache.
 *
 * Source: Müller et al., "Cache-Efficient Aggregation: Hashing Is Sorting", SIGMOD 2015: what does
 * not fit the cache is spread by hash first, and each part then fits.
 */
#include "records/combine-impl.h"

/* Moves what the table holds back into its bucket. */
static void unique_flush(Combiner *c, Bucket *b, size_t size, size_t *filled)
{
        for (size_t i = 0; i<size && * filled> 0; i++)
                if (c->unique[i].size_plus_one != 0) {
                        bucket_append(c, b, &c->unique[i]);
                        c->unique[i].size_plus_one = 0;
                        (*filled)--;
                }
}

static void unique_insert(Combiner *c, size_t size, const Entry *e, uint64_t hash, size_t *filled)
{
        size_t key_size, at;
        const uint8_t *key = entry_key(c, e, &key_size);
        Words128 head = load_head(e->head);

        for (at = hash & (size - 1); c->unique[at].size_plus_one != 0; at = (at + 1) & (size - 1))
                if (entry_is(c, &c->unique[at], head, key, key_size)) {
                        c->unique[at].value =
                                combine_apply(c->options.op, c->unique[at].value, e->value);
                        return;
                }
        c->unique[at] = *e;
        (*filled)++;
}

/* Hashes first, so that the places they lead to are on their way into the cache when they are
 * needed. */
static void unique_insert_slab(Combiner *c, size_t size, const Entry *entries, size_t count,
                               size_t *filled)
{
        uint64_t hashes[SLAB_ENTRIES];

        for (size_t i = 0; i < count; i++) {
                hashes[i] = entry_hash(c, &entries[i]);
                __builtin_prefetch(&c->unique[hashes[i] & (size - 1)], 1);
        }
        for (size_t i = 0; i < count; i++)
                unique_insert(c, size, &entries[i], hashes[i], filled);
}

Chain combiner_bucket_take(Combiner *c, Bucket *b, size_t *ret_size)
{
        Chain chain = {.slab = b->slab, .count = b->count};
        size_t size = 4 * SLAB_ENTRIES;

        while (size < b->total + b->total / 2 && size < c->unique_size)
                size *= 2;
        if (size > c->unique_clean) {
                memset(c->unique + c->unique_clean, 0, (size - c->unique_clean) * sizeof(Entry));
                c->unique_clean = size;
        }
        *b = (Bucket){.slab = NO_SLAB};
        *ret_size = size;
        return chain;
}

void combiner_unique_fill(Combiner *c, Chain *chain, size_t size, size_t *filled)
{
        while (chain->slab != NO_SLAB && *filled <= size - SLAB_ENTRIES - size / 8) {
                uint32_t slab = chain->slab;

                unique_insert_slab(c, size, &c->pool[(size_t) slab * SLAB_ENTRIES], chain->count,
                                   filled);
                *chain = (Chain){.slab = c->slab_next[slab], .count = SLAB_ENTRIES};
                slab_release(c, slab);
        }
}

void combiner_bucket_unique(Combiner *c, Bucket *b)
{
        size_t size, filled = 0;
        Chain chain = combiner_bucket_take(c, b, &size);

        do {
                combiner_unique_fill(c, &chain, size, &filled);
                unique_flush(c, b, size, &filled);
        } while (chain.slab != NO_SLAB);
}

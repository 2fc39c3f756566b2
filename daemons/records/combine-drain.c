/*
 * Drain — gives a combiner's records by partition, in no order, straight from the table that makes
 * each bucket unique.
 *
 * Where partitions have buckets of their own, buckets one after another are the records by
 * partition: nothing is put back, sorted or gathered.
 */
#include "records/combine-impl.h"

#define DRAIN_AHEAD 8 /* entries whose long keys are on their way into the cache */

/* Bucket after bucket is made unique, and given from the table where it lies. */
static int drained_next(RecordStream *stream, Record *ret)
{
        Combiner *c = (Combiner *) ((char *) stream - offsetof(Combiner, memory_stream));
        Draining *d = &c->draining;

        for (;;) {
                for (; d->at < d->size; d->at++) {
                        Entry *e = &c->unique[d->at];

                        if (d->at + DRAIN_AHEAD < d->size)
                                __builtin_prefetch(c->arena + e[DRAIN_AHEAD].arena_at);
                        if (e->size_plus_one == 0)
                                continue;
                        *ret = (Record){.value = c->value, .partition = d->partition};
                        ret->key = entry_key(c, e, &ret->key_size);
                        ret->value_size = varint_put(c->value, e->value);
                        e->size_plus_one = 0;
                        d->at++;
                        return 1;
                }
                while (d->chain.slab == NO_SLAB) {
                        if (d->next == c->bucket_count)
                                return 0;
                        d->partition = (uint32_t) (d->next / c->partition_buckets);
                        d->chain = combiner_bucket_take(c, &c->buckets[d->next++], &d->table_size);
                }
                d->at = 0;
                d->size = d->table_size;
                d->filled = 0;
                combiner_unique_fill(c, &d->chain, d->size, &d->filled);
        }
}

void combiner_drain(Combiner *c)
{
        c->draining = (Draining){.chain.slab = NO_SLAB};
        c->memory_stream.next = drained_next;
}

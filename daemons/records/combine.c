/*
 * Combiner — see combine.h.
 */
#include "records/block.h"
#include "records/combine-impl.h"
#include "records/region.h"

#define WAYS 4
#define BATCH 32 /* words hashed ahead of their places */
#define FRONT_BYTES_MAX                                                                            \
        (256 * 1024)          /* half of a common L2, so that the text flowing by has room, too */
#define FRONT_ENTRIES_MIN 512 /* what a few words touch; it grows when a set of it is full */
#define BUCKET_ENTRIES 4096   /* what a bucket holds on average when the memory is full */
#define BUCKETS_MAX 4096

/* ---- the front table ---- */

static void front_flush(Combiner *c)
{
        for (size_t i = 0; i < c->front_size; i++)
                if (c->front[i].size_plus_one != 0) {
                        bucket_append(c, bucket_of(c, &c->front[i]), &c->front[i]);
                        c->front[i].size_plus_one = 0;
                }
}

/*
 * Small tables for small inputs: a page that is touched is a page that the kernel clears, and a job
 * of one line has nothing else to do. Whoever still holds a set of the smaller table may use it: a
 * key that is in two sets meets itself in its bucket.
 */
static void front_grow(Combiner *c)
{
        front_flush(c);
        memset(c->front + c->front_size, 0, (c->front_full_size - c->front_size) * sizeof(Entry));
        c->front_size = c->front_full_size;
}

/* ---- sorting ---- */

static uint32_t combiner_partition(const Combiner *c, const uint8_t *key, size_t size)
{
        const CombinerOptions *o = &c->options;

        return o->partition ? o->partition(o->partition_userdata, key, size)
                            : key_partition(key, size, o->partitions);
}

static const uint8_t *item_key(const void *userdata, uint32_t ref, size_t *ret_size)
{
        const Combiner *c = userdata;

        return entry_key(c, &c->pool[ref], ret_size);
}

static void bucket_items(Combiner *c, const Bucket *b)
{
        uint32_t count = b->count;

        for (uint32_t slab = b->slab; slab != NO_SLAB; slab = c->slab_next[slab]) {
                for (uint32_t i = 0; i < count; i++) {
                        uint32_t ref = slab * SLAB_ENTRIES + i;
                        size_t size;
                        const uint8_t *key = entry_key(c, &c->pool[ref], &size);

                        c->items[c->item_count++] = (Item){
                                .prefix = key_prefix(c->pool[ref].head, INLINE_KEY, 0),
                                .partition = combiner_partition(c, key, size),
                                .ref = ref,
                        };
                }
                count = SLAB_ENTRIES;
        }
}

/* Everything in memory, to be given by memory_stream. */
static int arrange(Combiner *c)
{
        size_t capacity = c->slab_count * SLAB_ENTRIES;
        ItemKeys keys = {
                .key = item_key,
                .userdata = c,
                .base = (const uint8_t *) c->pool,
                .unit = sizeof(Entry),
        };

        front_flush(c);
        if (c->partition_buckets > 0) {
                combiner_drain(c);
                return 0;
        }
        c->item_count = 0;
        for (size_t i = 0; i < c->bucket_count; i++) {
                combiner_bucket_unique(c, &c->buckets[i]);
                bucket_items(c, &c->buckets[i]);
        }
        c->next = 0;
        if (c->options.unsorted)
                return items_partition(c->items, c->items + capacity, c->item_count,
                                       c->options.partitions);
        return items_sort(c->items, c->items + capacity, c->item_count, c->options.partitions,
                          &keys);
}

static int memory_next(RecordStream *stream, Record *ret)
{
        Combiner *c = (Combiner *) ((char *) stream - offsetof(Combiner, memory_stream));
        const Item *item;
        const Entry *e;
        uint64_t value;

        if (c->next == c->item_count)
                return 0;
        if (c->next + 8 < c->item_count)
                __builtin_prefetch(&c->pool[c->items[c->next + 8].ref]);
        item = &c->items[c->next++];
        e = &c->pool[item->ref];
        *ret = (Record){.value = c->value, .partition = item->partition};
        ret->key = entry_key(c, e, &ret->key_size);
        value = e->value;
        for (; !c->options.unsorted && c->next < c->item_count; c->next++) {
                const Entry *twin = &c->pool[c->items[c->next].ref];

                if (!entry_is(c, twin, load_head(e->head), ret->key, ret->key_size))
                        break;
                value = combine_apply(c->options.op, value, twin->value);
        }
        ret->value_size = varint_put(c->value, value);
        return 1;
}

/* ---- spilling ---- */

static void reset_memory(Combiner *c)
{
        c->free_slab = NO_SLAB;
        c->free_count = 0;
        for (size_t i = c->slab_count; i > 0; i--)
                slab_release(c, (uint32_t) i - 1);
        for (size_t i = 0; i < c->bucket_count; i++)
                c->buckets[i] = (Bucket){.slab = NO_SLAB};
        c->arena_used = 0;
        c->item_count = 0;
}

static int spill(Combiner *c)
{
        int r;

        r = arrange(c);
        if (r < 0)
                return r;
        c->spilled = true;
        r = merge_spill(&c->merge, &c->memory_stream);
        if (r < 0)
                return r;
        reset_memory(c);
        return ticker_tick(c->options.ticker, 0);
}

/* Makes free slabs: by combining, and when that frees little, by a spill. */
static int make_room(Combiner *c)
{
        for (size_t i = 0; i < c->bucket_count; i++)
                combiner_bucket_unique(c, &c->buckets[i]);
        return c->free_count > c->reserve + (c->slab_count - c->reserve) / 2 ? 0 : spill(c);
}

/* Long keys of entries that were combined away leave their bytes in the arena. */
static int compact_arena(Combiner *c)
{
        _cleanup_free_ uint8_t *compact = malloc(c->arena_size);
        size_t used = 0;

        if (!compact)
                return -ENOMEM;
        for (size_t i = 0; i < c->bucket_count; i++) {
                uint32_t count = c->buckets[i].count;

                for (uint32_t slab = c->buckets[i].slab; slab != NO_SLAB;
                     slab = c->slab_next[slab], count = SLAB_ENTRIES)
                        for (uint32_t j = 0; j < count; j++) {
                                Entry *e = &c->pool[(size_t) slab * SLAB_ENTRIES + j];

                                if (e->size_plus_one - 1 <= INLINE_KEY)
                                        continue;
                                memcpy(compact + used, c->arena + e->arena_at,
                                       e->size_plus_one - 1);
                                e->arena_at = (uint32_t) used;
                                used += e->size_plus_one - 1;
                        }
        }
        memcpy(c->arena, compact, used);
        c->arena_used = used;
        return 0;
}

/* As make_room(), for long keys. The front table's keys are kept in the arena, too. */
static int make_arena_room(Combiner *c)
{
        int r;

        front_flush(c);
        r = make_room(c);
        if (r >= 0 && c->arena_used > 0)
                r = compact_arena(c);
        return r < 0 || c->arena_used <= c->arena_size / 2 ? r : spill(c);
}

/* A key too large for the arena is a run of its own. */
static int spill_single(Combiner *c, const uint8_t *key, size_t size, uint64_t value)
{
        uint8_t encoded[VARINT_MAX_BYTES];
        Record record = {
                .key = key,
                .key_size = size,
                .value = encoded,
                .value_size = varint_put(encoded, value),
                .partition = combiner_partition(c, key, size),
        };

        c->spilled = true;
        return merge_spill_single(&c->merge, &record);
}

/* ---- adding ---- */

static int arena_keep(Combiner *c, const uint8_t *key, size_t size, uint32_t *ret)
{
        int r;

        if (size > c->arena_size - c->arena_used) {
                r = make_arena_room(c);
                if (r < 0)
                        return r;
        }
        memcpy(c->arena + c->arena_used, key, size);
        *ret = (uint32_t) c->arena_used;
        c->arena_used += size;
        return 0;
}

/* Room for one more in the buckets. Return: 1 with @ret; 0 when the key is too large and was
 * spilled. */
static int make_entry(Combiner *c, Words128 head, const uint8_t *key, size_t size, uint64_t value,
                      Entry *ret)
{
        uint32_t arena_at = 0;
        int r;

        if (size > c->arena_size / 4)
                return size > RECORD_MAX_BYTES ? -E2BIG : spill_single(c, key, size, value);
        if (c->free_count <= c->reserve) {
                r = make_room(c);
                if (r < 0)
                        return r;
        }
        if (size > INLINE_KEY) {
                r = arena_keep(c, key, size, &arena_at);
                if (r < 0)
                        return r;
        }
        *ret = (Entry){.value = value, .size_plus_one = (uint32_t) size + 1, .arena_at = arena_at};
        memcpy(ret->head, &head, sizeof(ret->head));
        return 1;
}

/* The key is not in its set: the last of the set, the one seen least, makes room. */
static int front_insert(Combiner *c, Entry *set, Words128 head, const uint8_t *key, size_t size,
                        uint64_t value)
{
        Entry *last = &set[WAYS - 1], e;
        int r;

        r = make_entry(c, head, key, size, value, &e);
        if (r <= 0)
                return r;
        if (last->size_plus_one != 0 && c->front_size < c->front_full_size)
                front_grow(c);
        /* That, or a spill on the way, has emptied the set. */
        if (last->size_plus_one != 0)
                bucket_append(c, bucket_of(c, last), last);
        *last = e;
        return 0;
}

static inline Entry *front_set(const Combiner *c, uint64_t hash)
{
        return &c->front[hash & (c->front_size - 1) & ~(uint64_t) (WAYS - 1)];
}

static inline int add_one(Combiner *c, CombineOp op, Entry *set, Words128 head, const uint8_t *key,
                          size_t size, uint64_t value)
{
        for (unsigned i = 0; i < WAYS; i++) {
                if (!entry_is(c, &set[i], head, key, size))
                        continue;
                set[i].value = combine_apply(op, set[i].value, value);
                if (i > 0 && set[i].value > set[i - 1].value) {
                        Entry t = set[i];

                        set[i] = set[i - 1];
                        set[i - 1] = t;
                }
                return 0;
        }
        return front_insert(c, set, head, key, size, value);
}

int combiner_add(Combiner *c, const uint8_t *key, size_t size, uint64_t value)
{
        Words128 head = key_head(key, size);

        return add_one(c, c->options.op, front_set(c, hash_key(head, key, size)), head, key, size,
                       value);
}

int combiner_add_rare(Combiner *c, const uint8_t *key, size_t size, uint64_t value)
{
        Entry e;
        int r;

        r = make_entry(c, key_head(key, size), key, size, value, &e);
        if (r <= 0)
                return r;
        bucket_append(c, bucket_of(c, &e), &e);
        return 0;
}

/* Hashes first, as in unique_insert_slab(). */
static int count_batch(Combiner *c, const uint8_t *base, const Word *words, size_t count)
{
        Words128 heads[BATCH];
        Entry *sets[BATCH];
        int r;

        for (size_t i = 0; i < count; i++) {
                const uint8_t *key = base + words[i].begin;
                size_t size = words[i].end - words[i].begin;

                heads[i] = key_head(key, size);
                sets[i] = front_set(c, hash_key(heads[i], key, size));
                __builtin_prefetch(sets[i], 1);
                __builtin_prefetch(sets[i] + 2, 1);
        }
        for (size_t i = 0; i < count; i++) {
                r = add_one(c, COMBINE_SUM, sets[i], heads[i], base + words[i].begin,
                            words[i].end - words[i].begin, 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

int combiner_count_words(Combiner *c, const uint8_t *base, const Word *words, size_t count)
{
        int r = 0;

        assert(c->options.op == COMBINE_SUM);
        for (size_t at = 0; at < count && r >= 0; at += BATCH)
                r = count_batch(c, base, words + at, MIN(BATCH, count - at));
        return r;
}

int groups_combine(Groups *g, CombineOp op, uint64_t *ret)
{
        uint64_t total = 0, n = 0;
        const uint8_t *value;
        bool first = true;
        size_t size;
        int r;

        while ((r = groups_value(g, &value, &size)) > 0) {
                r = combine_decode(value, size, &n);
                if (r < 0)
                        return r;
                total = first ? n : combine_apply(op, total, n);
                first = false;
        }
        if (r >= 0)
                *ret = total;
        return r;
}

/* ---- making and finishing ---- */

static size_t power_of_two_below(size_t n)
{
        return (size_t) 1 << (63 - __builtin_clzll(n));
}

/* Return: false where so many buckets leave too little for what is in them. */
static bool plan_buckets(Combiner *c, size_t count)
{
        c->bucket_count = count;
        c->bucket_shift = 64 - (unsigned) __builtin_ctzll(count);
        c->reserve = c->front_full_size / SLAB_ENTRIES + count;
        return count <= BUCKETS_MAX && c->slab_count > 2 * c->reserve;
}

static size_t buckets_wanted(const Combiner *c)
{
        return power_of_two_below(
                CLAMP(2 * c->slab_count * SLAB_ENTRIES / BUCKET_ENTRIES, 16, BUCKETS_MAX));
}

static void plan_memory(Combiner *c)
{
        size_t memory = CLAMP(c->options.memory_bytes, COMBINER_MEMORY_MIN, GIB(8));
        size_t front_bytes = power_of_two_below(MIN(memory / 16, FRONT_BYTES_MAX));
        size_t rest = memory / 4 * 3; /* a quarter is for merging */
        uint32_t partitions = c->options.partitions;
        bool planned;

        c->front_full_size = front_bytes / sizeof(Entry);
        c->front_size = MIN(c->front_full_size, FRONT_ENTRIES_MIN);
        c->unique_size = c->front_full_size;
        c->arena_size = rest / 4;
        if (c->options.unsorted && !c->options.partition) {
                c->slab_count = rest / 4 * 3 / SLAB_BYTES;
                c->partition_buckets = (uint32_t) MAX(buckets_wanted(c) / partitions, (size_t) 1);
                if (plan_buckets(c, (size_t) c->partition_buckets * partitions))
                        return;
                c->partition_buckets = 0;
        }
        c->slab_count = rest / 8 * 3 / SLAB_BYTES; /* and as much for the items */
        planned = plan_buckets(c, buckets_wanted(c));
        assert(planned);
}

static size_t items_bytes(const Combiner *c)
{
        return c->partition_buckets > 0 ? 0 : 2 * c->slab_count * SLAB_ENTRIES * sizeof(Item);
}

static int allocate(Combiner *c)
{
        MergeOptions merge = {
                .memory_bytes = c->options.memory_bytes / 4,
                .scratch = c->options.scratch,
                .ticker = c->options.ticker,
                .want_partition = BLOCK_ANY_PARTITION,
        };

        c->front = region_take(c->front_full_size * sizeof(Entry));
        c->unique = region_take(c->unique_size * sizeof(Entry));
        c->pool = region_take(c->slab_count * SLAB_BYTES);
        if (items_bytes(c) > 0)
                c->items = region_take(items_bytes(c));
        c->arena = region_take(c->arena_size);
        c->slab_next = calloc(c->slab_count, sizeof(uint32_t));
        c->buckets = calloc(c->bucket_count, sizeof(Bucket));
        if (!c->front || !c->unique || !c->pool || (!c->items && items_bytes(c) > 0) || !c->arena ||
            !c->slab_next || !c->buckets)
                return -ENOMEM;
        memset(c->front, 0, c->front_size * sizeof(Entry));
        return merge_init(&c->merge, &merge);
}

int combiner_new(const CombinerOptions *options, Combiner **ret)
{
        _cleanup_(combiner_freep) Combiner *c = NULL;
        int r;

        assert(options->partitions > 0 && options->op < _COMBINE_OP_MAX);
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->options = *options;
        plan_memory(c);
        r = allocate(c);
        if (r < 0)
                return r;
        reset_memory(c);
        c->memory_stream.next = memory_next;
        *ret = TAKE_PTR(c);
        return 0;
}

static void free_tables(Combiner *c)
{
        c->front = region_keep(c->front, c->front_full_size * sizeof(Entry));
        c->unique = region_keep(c->unique, c->unique_size * sizeof(Entry));
        c->pool = region_keep(c->pool, c->slab_count * SLAB_BYTES);
        c->items = region_keep(c->items, items_bytes(c));
        c->arena = region_keep(c->arena, c->arena_size);
}

Combiner *combiner_free(Combiner *c)
{
        if (!c)
                return NULL;
        groups_done(&c->groups);
        merge_done(&c->merge);
        free_tables(c);
        free(c->slab_next);
        free(c->buckets);
        free(c);
        return NULL;
}

static int merged_next(RecordStream *stream, Record *ret)
{
        Combiner *c = (Combiner *) ((char *) stream - offsetof(Combiner, merged_stream));
        uint64_t total;
        int r;

        r = groups_next(&c->groups);
        if (r <= 0)
                return r;
        r = groups_combine(&c->groups, c->options.op, &total);
        if (r < 0)
                return r;
        *ret = (Record){
                .key = c->groups.key,
                .key_size = c->groups.key_size,
                .value = c->value,
                .value_size = varint_put(c->value, total),
                .partition = c->groups.partition,
        };
        return 1;
}

int combiner_finish(Combiner *c, RecordStream **ret)
{
        int r;

        if (!c->spilled) {
                r = arrange(c);
                if (r < 0)
                        return r;
                *ret = &c->memory_stream;
                return 0;
        }
        r = spill(c);
        if (r < 0)
                return r;
        free_tables(c);
        region_forget_all(); /* the merge's buffers take their place */
        r = merge_start(&c->merge);
        if (r < 0)
                return r;
        c->merged_stream.next = merged_next;
        groups_init(&c->groups, &c->merge.stream);
        *ret = &c->merged_stream;
        return 0;
}

/*
 * Item sort — see item-sort.h.
 */
#include "records/item-sort.h"

#define INSERTION_MAX 32
#define DIGIT_BITS_MAX 12   /* so many lines of the cache are written to in turn */
#define DEPTH_DONE SIZE_MAX /* nothing but the prefix is left to compare */
#define KEYS_AHEAD 16       /* on their way into the cache before they are looked at */

/* What prefixes are of: eight bytes from @depth on, or the key's size. All of a group have the
 * bytes before in common. */
typedef struct Place {
        size_t depth;
        unsigned taken; /* times that prefixes were taken anew */
} Place;

static void sort_group(const ItemKeys *k, Item *a, Item *scratch, size_t n, Place at);

/* Of keys that have their first @known bytes in common, as far as they are so long. */
static int compare_keys_from(size_t known, const uint8_t *x, size_t x_size, const uint8_t *y,
                             size_t y_size)
{
        size_t skip = MIN(known, MIN(x_size, y_size));

        return key_compare(x + skip, x_size - skip, y + skip, y_size - skip);
}

static int compare_keys(const ItemKeys *k, const Item *x, const Item *y, size_t known)
{
        size_t x_size, y_size;
        const uint8_t *x_key = k->key(k->userdata, x->ref, &x_size);
        const uint8_t *y_key = k->key(k->userdata, y->ref, &y_size);

        return compare_keys_from(known, x_key, x_size, y_key, y_size);
}

static bool item_less(const ItemKeys *k, const Item *x, const Item *y, size_t depth)
{
        if (x->prefix != y->prefix)
                return x->prefix < y->prefix;
        return depth != DEPTH_DONE && compare_keys(k, x, y, depth + 8) < 0;
}

static void sort_by_insertion(const ItemKeys *k, Item *a, size_t n, size_t depth)
{
        for (size_t i = 1; i < n; i++) {
                Item v = a[i];
                size_t j = i;

                if (!item_less(k, &v, &a[i - 1], depth))
                        continue; /* most are in their place already: nothing is stored */
                do {
                        a[j] = a[j - 1];
                        j--;
                } while (j > 0 && item_less(k, &v, &a[j - 1], depth));
                a[j] = v;
        }
}

/* All prefixes are equal. */
static void sort_by_merging(const ItemKeys *k, Item *a, Item *b, size_t n, size_t depth)
{
        size_t half = n / 2, i = 0, j = half, out = 0;

        if (n <= INSERTION_MAX) {
                sort_by_insertion(k, a, n, depth);
                return;
        }
        sort_by_merging(k, a, b, half, depth);
        sort_by_merging(k, a + half, b + half, n - half, depth);
        if (compare_keys(k, &a[half], &a[half - 1], depth + 8) >= 0)
                return;
        memcpy(b, a, n * sizeof(Item));
        while (i < half && j < n)
                a[out++] = compare_keys(k, &b[j], &b[i], depth + 8) < 0 ? b[j++] : b[i++];
        while (i < half)
                a[out++] = b[i++];
        while (j < n)
                a[out++] = b[j++];
}

/* Records lie anywhere in memory: a loop over their keys would wait for each. */
static void fetch_ahead(const ItemKeys *k, const Item *a, size_t n, size_t i, size_t depth)
{
        const uint8_t *record;

        if (n - i <= KEYS_AHEAD)
                return;
        record = k->base + (size_t) a[i + KEYS_AHEAD].ref * k->unit;
        __builtin_prefetch(record);
        __builtin_prefetch(record + depth + 8);
}

/* What a group's keys have in common. */
typedef struct Shape {
        size_t max;    /* bytes of a key */
        size_t common; /* bytes that all begin with, when more than were known before */
        bool ordered;  /* they are in order */
} Shape;

static size_t common_bytes(const uint8_t *a, const uint8_t *b, size_t from, size_t size)
{
        for (; from + 8 <= size; from += 8) {
                uint64_t x, y;

                memcpy(&x, a + from, 8);
                memcpy(&y, b + from, 8);
                if (x != y)
                        return from + (size_t) __builtin_ctzll(GUINT64_TO_LE(x ^ y)) / 8;
        }
        while (from < size && a[from] == b[from])
                from++;
        return from;
}

/* Of two or more keys that have their first @known bytes in common, as far as they are so long. */
static Shape measure_keys(const ItemKeys *k, const Item *a, size_t n, size_t known)
{
        size_t size, before_size;
        const uint8_t *first = k->key(k->userdata, a[0].ref, &size), *before = first;
        Shape shape = {.max = size, .common = size, .ordered = true};

        before_size = size;
        for (size_t i = 1; i < n; i++) {
                const uint8_t *key = k->key(k->userdata, a[i].ref, &size);

                fetch_ahead(k, a, n, i, known);
                shape.max = MAX(shape.max, size);
                shape.common = MIN(shape.common, size);
                if (shape.common > known)
                        shape.common = common_bytes(first, key, known, shape.common);
                shape.ordered = shape.ordered &&
                                compare_keys_from(known, before, before_size, key, size) <= 0;
                before = key;
                before_size = size;
        }
        return shape;
}

/* Prefix: the bytes from @depth on, or the size of the key. */
static void set_prefixes(const ItemKeys *k, Item *a, size_t n, size_t depth)
{
        for (size_t i = 0; i < n; i++) {
                size_t size;
                const uint8_t *key = k->key(k->userdata, a[i].ref, &size);

                fetch_ahead(k, a, n, i, depth == DEPTH_DONE ? 0 : depth);
                a[i].prefix = depth == DEPTH_DONE ? size : key_prefix(key, size, depth);
        }
}

/*
 * All prefixes are equal: go on with the eight bytes behind what all have in common, or with the
 * sizes when no key has more. Lines of a log are often in order by then, as they were written.
 */
static void sort_equal_prefixes(const ItemKeys *k, Item *a, Item *scratch, size_t n, Place at)
{
        size_t known = at.depth + 8;
        Shape shape;

        if (at.depth == DEPTH_DONE)
                return;
        shape = measure_keys(k, a, n, known);
        if (shape.ordered)
                return;
        if (shape.max <= known) {
                at.depth = DEPTH_DONE;
        } else if (at.taken < ITEM_RADIX_TAKES) {
                at.depth = MAX(known, shape.common);
                at.taken++;
        } else {
                sort_by_merging(k, a, scratch, n, at.depth);
                return;
        }
        set_prefixes(k, a, n, at.depth);
        sort_group(k, a, scratch, n, at);
}

/* Two digits of prefixes, beside each other: @low from bit @shift on, and the @high ones above. */
typedef struct DigitPair {
        uint64_t min; /* is subtracted first */
        unsigned shift, low, high;
} DigitPair;

/*
 * So many bits that few of @n items have all of them in common: of random keys a tenth would, and
 * there is room for bytes that use fewer values than they could, as those of text.
 */
static DigitPair pair_of(size_t n, uint64_t min, uint64_t max)
{
        unsigned width = 64 - (unsigned) __builtin_clzll(max - min),
                 wanted = 68 - (unsigned) __builtin_clzll(n), bits = MIN(width, wanted);

        bits = MIN(bits, 2 * DIGIT_BITS_MAX);
        return (DigitPair){
                .min = min,
                .shift = width - bits,
                .low = bits / 2,
                .high = bits - bits / 2,
        };
}

static uint64_t pair_bits(const DigitPair *p, const Item *item)
{
        return (item->prefix - p->min) >> p->shift;
}

/* Counts become the places where the first of each is to go. */
static void add_up(uint32_t *counts, size_t n)
{
        uint32_t before = 0;

        for (size_t i = 0; i < n; i++) {
                uint32_t count = counts[i];

                counts[i] = before;
                before += count;
        }
}

/* By the lower digit to @scratch, and back by the higher one: sorted by both. Its counts are not
 * for the callers' stack. */
static __attribute__((noinline)) void scatter_pair(const DigitPair *p, Item *a, Item *scratch,
                                                   size_t n)
{
        uint32_t low[1 << DIGIT_BITS_MAX], high[1 << DIGIT_BITS_MAX];
        uint64_t low_mask = ((uint64_t) 1 << p->low) - 1;

        memset(low, 0, sizeof(low[0]) << p->low);
        memset(high, 0, sizeof(high[0]) << p->high);
        for (size_t i = 0; i < n; i++) {
                uint64_t bits = pair_bits(p, &a[i]);

                low[bits & low_mask]++;
                high[bits >> p->low]++;
        }
        add_up(low, (size_t) 1 << p->low);
        add_up(high, (size_t) 1 << p->high);
        for (size_t i = 0; i < n; i++)
                scratch[low[pair_bits(p, &a[i]) & low_mask]++] = a[i];
        for (size_t i = 0; i < n; i++)
                a[high[pair_bits(p, &scratch[i]) >> p->low]++] = scratch[i];
}

/*
 * What is left to sort are items that have both digits in common. A group too large for insertion
 * has two in it that are half of that apart: a look at every so many finds it, without a branch for
 * each item that nobody can predict.
 */
static void sort_pairs(const ItemKeys *k, Item *a, Item *scratch, size_t n, const DigitPair *p,
                       Place at)
{
        const size_t step = INSERTION_MAX / 2;
        size_t i = 0, sorted = 0;

        scatter_pair(p, a, scratch, n);
        while (i + step < n) {
                uint64_t bits = pair_bits(p, &a[i]);
                size_t begin = i, end = i + step;

                i = end;
                if (pair_bits(p, &a[end]) != bits)
                        continue;
                while (begin > sorted && pair_bits(p, &a[begin - 1]) == bits)
                        begin--;
                while (end < n && pair_bits(p, &a[end]) == bits)
                        end++;
                if (end - begin <= INSERTION_MAX)
                        continue;
                sort_by_insertion(k, a + sorted, begin - sorted, at.depth);
                sort_group(k, a + begin, scratch + begin, end - begin, at);
                i = sorted = end;
        }
        sort_by_insertion(k, a + sorted, n - sorted, at.depth);
}

static void sort_group(const ItemKeys *k, Item *a, Item *scratch, size_t n, Place at)
{
        uint64_t min = UINT64_MAX, max = 0;
        DigitPair pair;

        if (n <= INSERTION_MAX) {
                sort_by_insertion(k, a, n, at.depth);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                min = MIN(min, a[i].prefix);
                max = MAX(max, a[i].prefix);
        }
        if (min == max) {
                sort_equal_prefixes(k, a, scratch, n, at);
                return;
        }
        pair = pair_of(n, min, max);
        sort_pairs(k, a, scratch, n, &pair, at);
}

/* @ends: room for one more than @partitions, zeroed; gets the end of each. */
static void scatter(Item *items, Item *scratch, size_t count, uint32_t partitions, uint32_t *ends)
{
        for (size_t i = 0; i < count; i++)
                ends[items[i].partition + 1]++;
        for (size_t i = 1; i < partitions; i++)
                ends[i] += ends[i - 1];
        for (size_t i = 0; i < count; i++)
                scratch[ends[items[i].partition]++] = items[i];
        memcpy(items, scratch, count * sizeof(Item));
}

int items_partition(Item *items, Item *scratch, size_t count, uint32_t partitions)
{
        _cleanup_free_ uint32_t *ends = NULL;

        if (count <= 1 || partitions == 1)
                return 0;
        ends = calloc((size_t) partitions + 1, sizeof(uint32_t));
        if (!ends)
                return -ENOMEM;
        scatter(items, scratch, count, partitions, ends);
        return 0;
}

void items_reverse(Item *items, size_t count)
{
        for (size_t i = 0; i < count / 2; i++) {
                Item t = items[i];

                items[i] = items[count - 1 - i];
                items[count - 1 - i] = t;
        }
}

int items_sort(Item *items, Item *scratch, size_t count, uint32_t partitions, const ItemKeys *keys)
{
        _cleanup_free_ uint32_t *ends = NULL;
        size_t begin = 0;

        if (count <= 1)
                return 0;
        if (partitions == 1) {
                sort_group(keys, items, scratch, count, (Place){});
                return 0;
        }
        ends = calloc((size_t) partitions + 1, sizeof(uint32_t));
        if (!ends)
                return -ENOMEM;
        scatter(items, scratch, count, partitions, ends);
        for (size_t i = 0; i < partitions; i++) {
                if (ends[i] - begin > 1)
                        sort_group(keys, items + begin, scratch + begin, ends[i] - begin,
                                   (Place){});
                begin = ends[i];
        }
        return 0;
}

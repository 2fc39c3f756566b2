/*
 * Item sort — see item-sort.h.
 */
#include "records/item-sort.h"

#define INSERTION_MAX 32
#define DIGIT_BITS_MAX 11
#define DEPTH_DONE SIZE_MAX /* nothing but the prefix is left to compare */
#define KEYS_AHEAD 16       /* on their way into the cache before they are looked at */

/* What prefixes are of: eight bytes from @depth on, or the key's size. All of a group have the bytes before in common. */
typedef struct Place {
        size_t depth;
        unsigned taken; /* times that prefixes were taken anew */
} Place;

static void sort_group(const ItemKeys *k, Item *from, Item *to, size_t n, Place at, bool stay);

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

                for (; j > 0 && item_less(k, &v, &a[j - 1], depth); j--)
                        a[j] = a[j - 1];
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
 * All prefixes are equal: go on with the eight bytes behind what all have in common, or with the sizes when no key has
 * more. Lines of a log are often in order by then, as they were written.
 */
static void sort_equal_prefixes(const ItemKeys *k, Item *from, Item *to, size_t n, Place at,
                                bool stay)
{
        size_t known = at.depth + 8;
        Shape shape = {.ordered = true};

        if (at.depth != DEPTH_DONE)
                shape = measure_keys(k, from, n, known);
        if (shape.ordered) {
                if (!stay)
                        memcpy(to, from, n * sizeof(Item));
                return;
        }
        if (shape.max <= known) {
                at.depth = DEPTH_DONE;
        } else if (at.taken < ITEM_RADIX_TAKES) {
                at.depth = MAX(known, shape.common);
                at.taken++;
        } else {
                sort_by_merging(k, from, to, n, at.depth);
                if (!stay)
                        memcpy(to, from, n * sizeof(Item));
                return;
        }
        set_prefixes(k, from, n, at.depth);
        sort_group(k, from, to, n, at, stay);
}

/* What is in order but for neighbours that are near each other. */
static void sort_stretch(const ItemKeys *k, Item *from, Item *to, size_t n, Place at, bool stay)
{
        if (n == 0)
                return;
        if (!stay)
                memcpy(to, from, n * sizeof(Item));
        sort_by_insertion(k, stay ? from : to, n, at.depth);
}

/* Small buckets beside each other are one stretch: a loop for all of them instead of one for each. */
static void sort_buckets(const ItemKeys *k, Item *from, Item *to, const uint32_t *ends,
                         size_t count, Place at, bool stay)
{
        size_t begin = 0, stretch = 0;

        for (size_t i = 0; i < count; i++) {
                size_t n = ends[i] - begin;

                if (n > INSERTION_MAX) {
                        sort_stretch(k, from + stretch, to + stretch, begin - stretch, at, stay);
                        sort_group(k, from + begin, to + begin, n, at, stay);
                        stretch = ends[i];
                }
                begin = ends[i];
        }
        sort_stretch(k, from + stretch, to + stretch, begin - stretch, at, stay);
}

/* The items are in @from, and @to is scratch; sorted they are in @from when they should @stay, else in @to. */
static void sort_group(const ItemKeys *k, Item *from, Item *to, size_t n, Place at, bool stay)
{
        uint64_t min = UINT64_MAX, max = 0;
        uint32_t ends[(1 << DIGIT_BITS_MAX) + 1];
        unsigned bits, shift;

        if (n <= INSERTION_MAX) {
                sort_stretch(k, from, to, n, at, stay);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                min = MIN(min, from[i].prefix);
                max = MAX(max, from[i].prefix);
        }
        if (min == max) {
                sort_equal_prefixes(k, from, to, n, at, stay);
                return;
        }
        bits = n > 65536 ? DIGIT_BITS_MAX : 8;
        shift = 64 - (unsigned) __builtin_clzll(max - min);
        shift = shift > bits ? shift - bits : 0;

        memset(ends, 0, (((size_t) 1 << bits) + 1) * sizeof(ends[0]));
        for (size_t i = 0; i < n; i++)
                ends[((from[i].prefix - min) >> shift) + 1]++;
        for (size_t i = 1; i < (size_t) 1 << bits; i++)
                ends[i] += ends[i - 1];
        for (size_t i = 0; i < n; i++)
                to[ends[(from[i].prefix - min) >> shift]++] = from[i];
        /* Scattering moved each bucket's begin to its end. */
        sort_buckets(k, to, from, ends, (size_t) 1 << bits, at, !stay);
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
                sort_group(keys, items, scratch, count, (Place){}, true);
                return 0;
        }
        ends = calloc((size_t) partitions + 1, sizeof(uint32_t));
        if (!ends)
                return -ENOMEM;
        scatter(items, scratch, count, partitions, ends);
        for (size_t i = 0; i < partitions; i++) {
                if (ends[i] - begin > 1)
                        sort_group(keys, items + begin, scratch + begin, ends[i] - begin, (Place){},
                                   true);
                begin = ends[i];
        }
        return 0;
}

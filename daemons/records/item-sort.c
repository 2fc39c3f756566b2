/*
 * Item sort — see item-sort.h.
 */
#include "records/item-sort.h"

#define INSERTION_MAX 32
#define DIGIT_BITS_MAX 11
#define DEPTH_DONE SIZE_MAX /* nothing but the prefix is left to compare */

typedef struct Sorting {
        ItemKeyFunc key;
        const void *userdata;
} Sorting;

static void sort_group(const Sorting *s, Item *from, Item *to, size_t n, size_t depth, bool stay);

static int compare_keys(const Sorting *s, const Item *x, const Item *y)
{
        size_t x_size, y_size;
        const uint8_t *x_key = s->key(s->userdata, x->ref, &x_size);
        const uint8_t *y_key = s->key(s->userdata, y->ref, &y_size);

        return key_compare(x_key, x_size, y_key, y_size);
}

static bool item_less(const Sorting *s, const Item *x, const Item *y, size_t depth)
{
        if (x->prefix != y->prefix)
                return x->prefix < y->prefix;
        return depth != DEPTH_DONE && compare_keys(s, x, y) < 0;
}

static void sort_by_insertion(const Sorting *s, Item *a, size_t n, size_t depth)
{
        for (size_t i = 1; i < n; i++) {
                Item v = a[i];
                size_t j = i;

                for (; j > 0 && item_less(s, &v, &a[j - 1], depth); j--)
                        a[j] = a[j - 1];
                a[j] = v;
        }
}

static void sort_by_merging(const Sorting *s, Item *a, Item *b, size_t n)
{
        size_t half = n / 2, i = 0, j = half, k = 0;

        if (n <= INSERTION_MAX) {
                sort_by_insertion(s, a, n, 0);
                return;
        }
        sort_by_merging(s, a, b, half);
        sort_by_merging(s, a + half, b + half, n - half);
        if (compare_keys(s, &a[half], &a[half - 1]) >= 0)
                return;
        memcpy(b, a, n * sizeof(Item));
        while (i < half && j < n)
                a[k++] = compare_keys(s, &b[j], &b[i]) < 0 ? b[j++] : b[i++];
        while (i < half)
                a[k++] = b[i++];
        while (j < n)
                a[k++] = b[j++];
}

/* The least and the greatest size of a key. */
static void measure_keys(const Sorting *s, const Item *a, size_t n, size_t *ret_min,
                         size_t *ret_max)
{
        size_t min = SIZE_MAX, max = 0;

        for (size_t i = 0; i < n; i++) {
                size_t size;

                (void) s->key(s->userdata, a[i].ref, &size);
                min = MIN(min, size);
                max = MAX(max, size);
        }
        *ret_min = min;
        *ret_max = max;
}

/* Prefix: the bytes from @depth on, or the size of the key. */
static void set_prefixes(const Sorting *s, Item *a, size_t n, size_t depth)
{
        for (size_t i = 0; i < n; i++) {
                size_t size;
                const uint8_t *key = s->key(s->userdata, a[i].ref, &size);

                a[i].prefix = depth == DEPTH_DONE ? size : key_prefix(key, size, depth);
        }
}

/* All prefixes at @depth are equal: take the next eight bytes, or the sizes when no key has more. */
static void sort_equal_prefixes(const Sorting *s, Item *from, Item *to, size_t n, size_t depth,
                                bool stay)
{
        size_t min = 0, max = 0, next = depth + 8;

        if (depth != DEPTH_DONE)
                measure_keys(s, from, n, &min, &max);
        if (depth != DEPTH_DONE && max <= next && min < max) {
                set_prefixes(s, from, n, DEPTH_DONE);
                sort_group(s, from, to, n, DEPTH_DONE, stay);
        } else if (depth != DEPTH_DONE && max > next && next < ITEM_RADIX_DEPTH) {
                set_prefixes(s, from, n, next);
                sort_group(s, from, to, n, next, stay);
        } else {
                if (depth != DEPTH_DONE && max > next) {
                        set_prefixes(s, from, n, 0);
                        sort_by_merging(s, from, to, n);
                }
                if (!stay)
                        memcpy(to, from, n * sizeof(Item));
        }
}

/* What is in order but for neighbours that are near each other. */
static void sort_stretch(const Sorting *s, Item *from, Item *to, size_t n, size_t depth, bool stay)
{
        if (n == 0)
                return;
        if (!stay)
                memcpy(to, from, n * sizeof(Item));
        sort_by_insertion(s, stay ? from : to, n, depth);
}

/* Small buckets beside each other are one stretch: a loop for all of them instead of one for each. */
static void sort_buckets(const Sorting *s, Item *from, Item *to, const uint32_t *ends, size_t count,
                         size_t depth, bool stay)
{
        size_t begin = 0, stretch = 0;

        for (size_t i = 0; i < count; i++) {
                size_t n = ends[i] - begin;

                if (n > INSERTION_MAX) {
                        sort_stretch(s, from + stretch, to + stretch, begin - stretch, depth, stay);
                        sort_group(s, from + begin, to + begin, n, depth, stay);
                        stretch = ends[i];
                }
                begin = ends[i];
        }
        sort_stretch(s, from + stretch, to + stretch, begin - stretch, depth, stay);
}

/* The items are in @from, and @to is scratch; sorted they are in @from when they should @stay, else in @to. */
static void sort_group(const Sorting *s, Item *from, Item *to, size_t n, size_t depth, bool stay)
{
        uint64_t min = UINT64_MAX, max = 0;
        uint32_t ends[(1 << DIGIT_BITS_MAX) + 1];
        unsigned bits, shift;

        if (n <= INSERTION_MAX) {
                sort_stretch(s, from, to, n, depth, stay);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                min = MIN(min, from[i].prefix);
                max = MAX(max, from[i].prefix);
        }
        if (min == max) {
                sort_equal_prefixes(s, from, to, n, depth, stay);
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
        sort_buckets(s, to, from, ends, (size_t) 1 << bits, depth, !stay);
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

int items_sort(Item *items, Item *scratch, size_t count, uint32_t partitions, ItemKeyFunc key,
               const void *userdata)
{
        Sorting s = {.key = key, .userdata = userdata};
        _cleanup_free_ uint32_t *ends = NULL;
        size_t begin = 0;

        if (count <= 1)
                return 0;
        if (partitions == 1) {
                sort_group(&s, items, scratch, count, 0, true);
                return 0;
        }
        ends = calloc((size_t) partitions + 1, sizeof(uint32_t));
        if (!ends)
                return -ENOMEM;
        scatter(items, scratch, count, partitions, ends);
        for (size_t i = 0; i < partitions; i++) {
                if (ends[i] - begin > 1)
                        sort_group(&s, items + begin, scratch + begin, ends[i] - begin, 0, true);
                begin = ends[i];
        }
        return 0;
}

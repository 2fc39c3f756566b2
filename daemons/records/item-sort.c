/*
 * Item sort — see item-sort.h.
 */
#include "records/item-sort.h"

#define INSERTION_MAX 32
#define DEPTH_DONE SIZE_MAX /* nothing but the prefix is left to compare */

typedef struct Sorting {
        ItemKeyFunc key;
        const void *userdata;
} Sorting;

static void sort_group(const Sorting *s, Item *a, Item *b, size_t n, size_t depth);

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

/* All prefixes at @depth are equal: take the next eight bytes, or the sizes when no key has more. */
static void sort_equal_prefixes(const Sorting *s, Item *a, Item *b, size_t n, size_t depth)
{
        size_t min = SIZE_MAX, max = 0, next = depth + 8;

        if (depth == DEPTH_DONE)
                return;
        for (size_t i = 0; i < n; i++) {
                size_t size;

                (void) s->key(s->userdata, a[i].ref, &size);
                min = MIN(min, size);
                max = MAX(max, size);
        }
        if (max <= next) {
                if (min == max)
                        return;
                for (size_t i = 0; i < n; i++) {
                        size_t size;

                        (void) s->key(s->userdata, a[i].ref, &size);
                        a[i].prefix = size;
                }
                sort_group(s, a, b, n, DEPTH_DONE);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                size_t size;
                const uint8_t *key = s->key(s->userdata, a[i].ref, &size);

                a[i].prefix = key_prefix(key, size, next < ITEM_RADIX_DEPTH ? next : 0);
        }
        if (next < ITEM_RADIX_DEPTH)
                sort_group(s, a, b, n, next);
        else
                sort_by_merging(s, a, b, n);
}

static void sort_group(const Sorting *s, Item *a, Item *b, size_t n, size_t depth)
{
        uint64_t min = UINT64_MAX, max = 0;
        uint32_t ends[2049];
        unsigned bits, shift;
        size_t begin = 0;

        if (n <= INSERTION_MAX) {
                sort_by_insertion(s, a, n, depth);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                min = MIN(min, a[i].prefix);
                max = MAX(max, a[i].prefix);
        }
        if (min == max) {
                sort_equal_prefixes(s, a, b, n, depth);
                return;
        }
        bits = n > 65536 ? 11 : 8;
        shift = 64 - (unsigned) __builtin_clzll(max - min);
        shift = shift > bits ? shift - bits : 0;

        memset(ends, 0, (((size_t) 1 << bits) + 1) * sizeof(ends[0]));
        for (size_t i = 0; i < n; i++)
                ends[((a[i].prefix - min) >> shift) + 1]++;
        for (size_t i = 1; i < (size_t) 1 << bits; i++)
                ends[i] += ends[i - 1];
        for (size_t i = 0; i < n; i++)
                b[ends[(a[i].prefix - min) >> shift]++] = a[i];
        memcpy(a, b, n * sizeof(Item));

        /* Scattering moved each bucket's begin to its end. */
        for (size_t i = 0; i < (size_t) 1 << bits; i++) {
                if (ends[i] - begin > 1)
                        sort_group(s, a + begin, b + begin, ends[i] - begin, depth);
                begin = ends[i];
        }
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

int items_sort(Item *items, Item *scratch, size_t count, uint32_t partitions, ItemKeyFunc key,
               const void *userdata)
{
        Sorting s = {.key = key, .userdata = userdata};
        _cleanup_free_ uint32_t *ends = NULL;
        size_t begin = 0;

        if (count <= 1)
                return 0;
        if (partitions == 1) {
                sort_group(&s, items, scratch, count, 0);
                return 0;
        }
        ends = calloc((size_t) partitions + 1, sizeof(uint32_t));
        if (!ends)
                return -ENOMEM;
        scatter(items, scratch, count, partitions, ends);
        for (size_t i = 0; i < partitions; i++) {
                if (ends[i] - begin > 1)
                        sort_group(&s, items + begin, scratch + begin, ends[i] - begin, 0);
                begin = ends[i];
        }
        return 0;
}

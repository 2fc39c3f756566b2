/*
 * The plain reference of what sorts, merges, groups and combines: an array of records, and qsort().
 */
#pragma once

#include <sys/mman.h>

#include "records/record.h"

static inline int empty_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

typedef struct Plain {
        GBytes *key;
        GBytes *data; /* the value; NULL: the number is */
        uint64_t value;
        uint32_t partition;
        size_t order; /* of adding */
} Plain;

static inline void plain_clear(void *p)
{
        Plain *plain = p;

        g_bytes_unref(plain->key);
        if (plain->data)
                g_bytes_unref(plain->data);
}

static inline GArray *plain_new(void)
{
        GArray *a = g_array_new(FALSE, FALSE, sizeof(Plain));

        g_array_set_clear_func(a, plain_clear);
        return a;
}

static inline int plain_compare_keys(const Plain *x, const Plain *y)
{
        gsize x_size, y_size;
        const void *x_key = g_bytes_get_data(x->key, &x_size);
        const void *y_key = g_bytes_get_data(y->key, &y_size);
        int r = memcmp(x_key ? x_key : "", y_key ? y_key : "", MIN(x_size, y_size));

        if (x->partition != y->partition)
                return x->partition < y->partition ? -1 : 1;
        return r ? r : (x_size > y_size) - (x_size < y_size);
}

static inline int plain_compare(const void *a, const void *b)
{
        const Plain *x = a, *y = b;
        int r = plain_compare_keys(x, y);

        return r ? r : (x->order > y->order) - (x->order < y->order);
}

static inline void plain_sort(GArray *a)
{
        if (a->len > 0)
                qsort(a->data, a->len, sizeof(Plain), plain_compare);
}

/* Keys of one family are alike where sorting has its corners: NULs, prefixes of each other, long
 * equal beginnings, nothing at all. */
static inline GBytes *random_key(int family)
{
        GString *s = g_string_new(NULL);
        int n;

        switch (family) {
        case 0: /* few, short, with NULs */
                n = g_test_rand_int_range(0, 5);
                for (int i = 0; i < n; i++)
                        g_string_append_c(s, (char) g_test_rand_int_range(0, 3));
                break;
        case 1: /* a long equal beginning */
                for (int i = 0; i < 100; i++)
                        g_string_append_c(s, 'p');
                g_string_append_printf(s, "%d", g_test_rand_int_range(0, 2000));
                break;
        case 2: /* prefixes of each other */
                n = g_test_rand_int_range(0, 90);
                for (int i = 0; i < n; i++)
                        g_string_append_c(s, 'x');
                break;
        case 3: /* random bytes */
                n = g_test_rand_int_range(0, 40);
                for (int i = 0; i < n; i++)
                        g_string_append_c(s, (char) g_test_rand_int_range(0, 256));
                break;
        case 4: /* one key */
                g_string_append(s, "the same key of more than sixteen bytes");
                break;
        case 5: /* of few beginnings, one after the other, and NULs */
                for (int i = g_test_rand_int_range(0, 6); i > 0; i--)
                        g_string_append(s,
                                        g_test_rand_bit() ? "10.0.118.23 - - [01/" : "10.0.118.");
                for (int i = g_test_rand_int_range(0, 10); i > 0; i--)
                        g_string_append_c(s, (char) g_test_rand_int_range(0, 2));
                break;
        default: /* words */
                g_string_append_printf(s, "%s%d", g_test_rand_bit() ? "word" : "",
                                       g_test_rand_int_range(0, 30000));
        }
        return g_string_free_to_bytes(s);
}

#define FAMILIES 7
#define VALUE_BYTES_MAX ((size_t) 10 * 1000 * 1000)

/* So many bytes that no two calls are likely to have alike, from one buffer that lives as long as
 * the test. */
static inline GBytes *noise(size_t size)
{
        static uint64_t *buffer;
        static const size_t words = VALUE_BYTES_MAX / 8 + 4096;
        size_t spare;

        g_assert_cmpuint(size, <=, VALUE_BYTES_MAX);
        if (!buffer) {
                uint64_t state = (uint32_t) g_test_rand_int();

                buffer = g_new(uint64_t, words);
                for (size_t i = 0; i < words; i++) { /* splitmix64 */
                        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

                        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
                        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
                        buffer[i] = z ^ z >> 31;
                }
        }
        spare = words * 8 - size;
        return g_bytes_new_static((uint8_t *) buffer + g_test_rand_int_range(0, (gint32) spare),
                                  size);
}

/* Nothing, NULs alone, what keys are like, noise; and one in a thousand larger than a block. */
static inline GBytes *random_value(void)
{
        static const uint8_t nuls[300];

        if (g_test_rand_int_range(0, 1000) == 0)
                return noise((size_t) g_test_rand_int_range(200 * 1000, 400 * 1000));
        switch (g_test_rand_int_range(0, 6)) {
        case 0:
                return g_bytes_new_static(nuls, 0);
        case 1:
                return g_bytes_new_static(nuls, (gsize) g_test_rand_int_range(1, sizeof(nuls)));
        case 2:
                return random_key(g_test_rand_int_range(0, FAMILIES));
        default:
                return noise((size_t) g_test_rand_int_range(0, 300));
        }
}

/* From @least to @most, each doubling as likely as another: few spills are as common as many. */
static inline size_t random_memory(size_t least, size_t most)
{
        int doublings = 0;
        size_t memory;

        while (least << (doublings + 1) <= most)
                doublings++;
        memory = least << g_test_rand_int_range(0, MAX(doublings, 1));
        return memory + (size_t) g_test_rand_int_range(0, (gint32) memory);
}

static inline void plain_add(GArray *a, GBytes *key, uint64_t value, uint32_t partitions)
{
        gsize size;
        const void *data = g_bytes_get_data(key, &size);
        Plain p = {
                .key = key,
                .value = value,
                .partition = key_partition(data, size, partitions),
                .order = a->len,
        };

        g_array_append_val(a, p);
}

/* Of every other one the value is bytes, so that the order of equal keys is seen, too. */
static inline void give_values(GArray *a)
{
        for (guint i = 0; i < a->len; i += 2)
                g_array_index(a, Plain, i).data = random_value();
}

static inline GArray *random_plain(size_t count, int family, uint32_t partitions)
{
        GArray *a = plain_new();

        for (size_t i = 0; i < count; i++)
                plain_add(a, random_key(family < FAMILIES ? family : (int) i % FAMILIES), i,
                          partitions);
        return a;
}

static inline Record plain_record(const Plain *p)
{
        Record r = {
                .value = (const uint8_t *) &p->value,
                .value_size = sizeof(p->value),
                .partition = p->partition,
        };

        r.key = g_bytes_get_data(p->key, &r.key_size);
        if (p->data)
                r.value = g_bytes_get_data(p->data, &r.value_size);
        return r;
}

static inline void check_stream(RecordStream *stream, GArray *want)
{
        Record got;

        for (size_t i = 0; i < want->len; i++) {
                Record w = plain_record(&g_array_index(want, Plain, i));

                g_assert_cmpint(stream->next(stream, &got), ==, 1);
                g_assert_cmpuint(got.partition, ==, w.partition);
                g_assert_cmpmem(got.key, got.key_size, w.key, w.key_size);
                g_assert_cmpmem(got.value, got.value_size, w.value, w.value_size);
        }
        g_assert_cmpint(stream->next(stream, &got), ==, 0);
        g_assert_cmpint(stream->next(stream, &got), ==, 0);
}

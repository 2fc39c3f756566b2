/*
 * Sorting: the same answer as a plain array and qsort(), whatever the memory, the keys and the
 * partitions.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "records/item-sort.h"
#include "records/region.h"
#include "records/sorter.h"
#include "records-plain.h"

/* ---- items ---- */

#define ITEM_KEY_BYTES 16

static const uint8_t *item_key(const void *userdata, uint32_t ref, size_t *ret_size)
{
        *ret_size = ITEM_KEY_BYTES;
        return (const uint8_t *) userdata + (size_t) ref * ITEM_KEY_BYTES;
}

static int compare_refs(const void *a, const void *b, void *keys)
{
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
        int r = memcmp((const uint8_t *) keys + (size_t) x * ITEM_KEY_BYTES,
                       (const uint8_t *) keys + (size_t) y * ITEM_KEY_BYTES, ITEM_KEY_BYTES);

        return r ? r : (x > y) - (x < y);
}

/* As many keys of one prefix as it may be, in an order that was drawn; prefixes differ by @spread
 * at most. */
static uint8_t *grouped_keys(size_t count, int group_max, uint64_t spread)
{
        uint8_t *keys = g_new(uint8_t, count * ITEM_KEY_BYTES);
        uint64_t word = 0, tail;

        for (size_t i = 0, left = 0; i < count; i++, left--) {
                if (left == 0) {
                        left = (size_t) g_test_rand_int_range(1, group_max + 1);
                        word = ((uint64_t) (uint32_t) g_test_rand_int() << 32 |
                                (uint32_t) g_test_rand_int()) %
                               spread;
                        word = GUINT64_TO_BE(UINT64_C(0x7ffffffffffffff0) + word);
                }
                tail = (uint64_t) g_test_rand_int_range(0, 4) << 32;
                memcpy(keys + i * ITEM_KEY_BYTES, &word, 8);
                memcpy(keys + i * ITEM_KEY_BYTES + 8, &tail, 8);
        }
        for (size_t i = count - 1; i > 0; i--) {
                size_t j = (size_t) g_test_rand_int_range(0, (gint32) i + 1);
                uint8_t t[ITEM_KEY_BYTES];

                memcpy(t, keys + i * ITEM_KEY_BYTES, sizeof(t));
                memmove(keys + i * ITEM_KEY_BYTES, keys + j * ITEM_KEY_BYTES, sizeof(t));
                memcpy(keys + j * ITEM_KEY_BYTES, t, sizeof(t));
        }
        return keys;
}

static void check_items(size_t count, int group_max, uint64_t spread)
{
        g_autofree uint8_t *keys = grouped_keys(count, group_max, spread);
        g_autofree Item *items = g_new(Item, count), *scratch = g_new(Item, count);
        g_autofree uint32_t *refs = g_new(uint32_t, count);
        ItemKeys k = {.key = item_key, .userdata = keys, .base = keys, .unit = ITEM_KEY_BYTES};

        for (uint32_t i = 0; i < count; i++) {
                refs[i] = i;
                items[i] = (Item){
                        .prefix = key_prefix(keys + (size_t) i * ITEM_KEY_BYTES, ITEM_KEY_BYTES, 0),
                        .ref = i,
                };
        }
        g_qsort_with_data(refs, (gint) count, sizeof(uint32_t), compare_refs, keys);
        g_assert_cmpint(items_sort(items, scratch, count, 1, &k), ==, 0);
        for (size_t i = 0; i < count; i++)
                g_assert_cmpuint(items[i].ref, ==, refs[i]);
}

static void test_groups_of_every_size_are_sorted_stably(void)
{
        static const uint64_t spreads[] = {
                1, 2, 40, 5000, UINT64_C(1) << 40, UINT64_C(0x8000000000000000)};

        for (int group_max = 1; group_max <= 80; group_max++)
                for (size_t i = 0; i < ELEMENTSOF(spreads); i++)
                        check_items((size_t) g_test_rand_int_range(1, 1500), group_max, spreads[i]);
        check_items(100000, 1, UINT64_C(1) << 62);
        check_items(100000, 3, UINT64_C(1) << 20);
}

/* ---- sorter ---- */

/* Return: how much was spilled. */
static uint64_t check_sorter(GArray *plain, uint32_t partitions, size_t memory)
{
        Scratch scratch = {.fd = empty_file()};
        SorterOptions o = {.partitions = partitions, .memory_bytes = memory, .scratch = &scratch};
        Sorter *s = NULL;
        RecordStream *stream;

        g_assert_cmpint(sorter_new(&o, &s), ==, 0);
        for (size_t i = 0; i < plain->len; i++) {
                Record r = plain_record(&g_array_index(plain, Plain, i));

                g_assert_cmpint(sorter_add(s, &r), ==, 0);
        }
        g_assert_cmpint(sorter_finish(s, &stream), ==, 0);
        plain_sort(plain);
        check_stream(stream, plain);
        sorter_free(s);
        (void) close(scratch.fd);
        return scratch.end;
}

static void test_a_sorter_sorts_stably_in_any_memory(void)
{
        int spilled = 0, rounds = 3 * (FAMILIES + 1);

        for (int round = 0; round < rounds; round++) {
                uint32_t partitions = round % 2 ? 1 : (uint32_t) g_test_rand_int_range(1, 300);
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 40000),
                                         round % (FAMILIES + 1), partitions);

                if (round % 3)
                        give_values(a);
                spilled += check_sorter(a, partitions, random_memory(MIB(1), MIB(16))) > 0;
                g_array_unref(a);
        }
        g_test_message("%d of %d spilled", spilled, rounds);
        g_assert_cmpint(spilled, >, 0);
        g_assert_cmpint(spilled, <, rounds);
}

/* Read a piece of any size at a time, as from a file, into where they are sorted. */
static void fill_fixed(Sorter *s, const uint8_t *data, size_t size)
{
        while (size > 0) {
                uint8_t *space;
                size_t room, n, most = (size_t) g_test_rand_int_range(1, 100000);

                g_assert_cmpint(sorter_space(s, &space, &room), ==, 0);
                g_assert_cmpuint(room, >, 0);
                n = MIN(MIN(room, size), most);
                memcpy(space, data, n);
                sorter_filled(s, n);
                data += n;
                size -= n;
        }
}

static void test_records_of_a_length_are_sorted_where_they_are_read(void)
{
        for (int round = 0; round < 12; round++) {
                size_t key_bytes = (size_t) g_test_rand_int_range(0, 30), size;
                size_t record_bytes = key_bytes + sizeof(uint64_t);
                size_t count = (size_t) g_test_rand_int_range(0, round % 2 ? 40000 : 400);
                g_autofree uint8_t *data = g_malloc(count * record_bytes + 1);
                Scratch scratch = {.fd = empty_file()};
                SorterOptions o = {.partitions = 1,
                                   .memory_bytes = random_memory(MIB(1), MIB(4)),
                                   .record_bytes = record_bytes,
                                   .key_bytes = key_bytes,
                                   .scratch = &scratch};
                GArray *a = plain_new();
                RecordStream *stream;
                Sorter *s = NULL;

                for (uint64_t i = 0; i < count; i++) {
                        uint8_t *at = data + i * record_bytes;

                        for (size_t j = 0; j < key_bytes; j++)
                                at[j] = (uint8_t) g_test_rand_int_range(0, round % 3 ? 256 : 2);
                        memcpy(at + key_bytes, &i, sizeof(i));
                        plain_add(a, g_bytes_new(at, key_bytes), i, 1);
                }
                size = count * record_bytes;
                g_assert_cmpint(sorter_new(&o, &s), ==, 0);
                fill_fixed(s, data, size);
                g_assert_cmpint(sorter_finish(s, &stream), ==, 0);
                plain_sort(a);
                check_stream(stream, a);
                sorter_free(s);
                g_array_unref(a);
                (void) close(scratch.fd);
        }
}

/* In keys, and in values, among small records and spills of them. */
static void test_records_larger_than_the_memory_are_sorted_too(void)
{
        GArray *a = plain_new();

        for (int i = 0; i < 12; i++) {
                size_t size = (size_t) g_test_rand_int_range(0, (int) MIB(10));
                uint8_t *data = g_malloc(size + 1);

                memset(data, 'k', size + 1);
                data[size] = (uint8_t) ('a' + i % 3);
                plain_add(a, g_bytes_new_take(data, size + 1), (uint64_t) i, 3);
                for (int j = 0; j < 200; j++)
                        plain_add(a, random_key(j % FAMILIES), (uint64_t) j, 3);
                if (i % 3 == 0)
                        g_array_index(a, Plain, a->len - 100).data = noise(
                                i == 0 ? VALUE_BYTES_MAX
                                       : (size_t) g_test_rand_int_range(1, (int) VALUE_BYTES_MAX));
        }
        g_assert_cmpuint(check_sorter(a, 3, random_memory(MIB(1), MIB(16))), >, VALUE_BYTES_MAX);
        g_array_unref(a);
}

/* A map's sort has three quarters of the memory, a reduce's all of it. */
static void test_regions_of_near_sizes_share_their_pages(void)
{
        uint8_t *a = region_take(MIB(48)), *b = region_take(MIB(1)), *again;

        a[0] = 1;
        region_keep(a, MIB(48));
        again = region_take(MIB(64));
        g_assert_true(again == a);
        again[MIB(64) - 1] = 1;
        region_keep(again, MIB(64));
        region_keep(b, MIB(1));
        g_assert_true(region_take(MIB(33)) == a);
        region_keep(a, MIB(33));
        a = region_take(MIB(65)); /* and everything else is given back */
        a[MIB(65) - 1] = 1;
        region_keep(a, MIB(65));
        region_forget_all();
}

static void test_a_full_disk_ends_a_spill_with_its_errno(void)
{
        Scratch scratch = {.fd = open("/dev/full", O_RDWR | O_CLOEXEC)};
        SorterOptions o = {.partitions = 1, .memory_bytes = MIB(1), .scratch = &scratch};
        Record record = {.key = (const uint8_t *) "key", .key_size = 3};
        Sorter *s = NULL;
        int r = 0;

        g_assert_cmpint(sorter_new(&o, &s), ==, 0);
        for (int i = 0; i < 100000 && r >= 0; i++)
                r = sorter_add(s, &record);
        g_assert_cmpint(r, ==, -ENOSPC);
        sorter_free(s);
        (void) close(scratch.fd);
}

#define ADD(claim, function) g_test_add_func("/records/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("items/groups-of-every-size-are-sorted-stably",
            test_groups_of_every_size_are_sorted_stably);
        ADD("sorter/a-sorter-sorts-stably-in-any-memory", test_a_sorter_sorts_stably_in_any_memory);
        ADD("sorter/records-of-a-length-are-sorted-where-they-are-read",
            test_records_of_a_length_are_sorted_where_they_are_read);
        ADD("sorter/records-larger-than-the-memory-are-sorted-too",
            test_records_larger_than_the_memory_are_sorted_too);
        ADD("sorter/a-full-disk-ends-a-spill-with-its-errno",
            test_a_full_disk_ends_a_spill_with_its_errno);
        ADD("sorter/regions-of-near-sizes-share-their-pages",
            test_regions_of_near_sizes_share_their_pages);
        return g_test_run();
}

/*
 * Sorting, merging, grouping, combining: the same answer as a plain array and qsort(), whatever the
 * memory, the keys and the partitions.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "records/block.h"
#include "records/combine.h"
#include "records/group.h"
#include "records/item-sort.h"
#include "records/region.h"
#include "records/resort.h"
#include "records/sorter.h"

static int empty_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

/* ---- the plain reference ---- */

typedef struct Plain {
        GBytes *key;
        uint64_t value;
        uint32_t partition;
        size_t order; /* of adding */
} Plain;

static void plain_clear(void *p)
{
        g_bytes_unref(((Plain *) p)->key);
}

static GArray *plain_new(void)
{
        GArray *a = g_array_new(FALSE, FALSE, sizeof(Plain));

        g_array_set_clear_func(a, plain_clear);
        return a;
}

static int plain_compare_keys(const Plain *x, const Plain *y)
{
        gsize x_size, y_size;
        const void *x_key = g_bytes_get_data(x->key, &x_size);
        const void *y_key = g_bytes_get_data(y->key, &y_size);
        int r = memcmp(x_key ? x_key : "", y_key ? y_key : "", MIN(x_size, y_size));

        if (x->partition != y->partition)
                return x->partition < y->partition ? -1 : 1;
        return r ? r : (x_size > y_size) - (x_size < y_size);
}

static int plain_compare(const void *a, const void *b)
{
        const Plain *x = a, *y = b;
        int r = plain_compare_keys(x, y);

        return r ? r : (x->order > y->order) - (x->order < y->order);
}

static void plain_sort(GArray *a)
{
        if (a->len > 0)
                qsort(a->data, a->len, sizeof(Plain), plain_compare);
}

/* Keys of one family are alike where sorting has its corners: NULs, prefixes of each other, long equal
 * beginnings, nothing at all. */
static GBytes *random_key(int family)
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

static void plain_add(GArray *a, GBytes *key, uint64_t value, uint32_t partitions)
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

static GArray *random_plain(size_t count, int family, uint32_t partitions)
{
        GArray *a = plain_new();

        for (size_t i = 0; i < count; i++)
                plain_add(a, random_key(family < FAMILIES ? family : (int) i % FAMILIES), i,
                          partitions);
        return a;
}

static Record plain_record(const Plain *p)
{
        Record r = {
                .value = (const uint8_t *) &p->value,
                .value_size = sizeof(p->value),
                .partition = p->partition,
        };

        r.key = g_bytes_get_data(p->key, &r.key_size);
        return r;
}

static void check_stream(RecordStream *stream, GArray *want)
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

/* As many keys of one prefix as it may be, in an order that was drawn; prefixes differ by @spread at most. */
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

static void check_sorter(GArray *plain, uint32_t partitions, size_t memory)
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
}

static void test_a_sorter_sorts_stably_in_any_memory(void)
{
        for (int round = 0; round < 3 * (FAMILIES + 1); round++) {
                uint32_t partitions = round % 2 ? 1 : (uint32_t) g_test_rand_int_range(1, 300);
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 40000),
                                         round % (FAMILIES + 1), partitions);

                check_sorter(a, partitions, round % 3 ? MIB(1) : MIB(16));
                g_array_unref(a);
        }
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
                                   .memory_bytes = MIB(1),
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
        }
        check_sorter(a, 3, MIB(1));
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

/* ---- merge ---- */

static uint64_t write_segment_in(int fd, uint64_t at, GArray *sorted, BlockCodec codec)
{
        BlockWriter w;

        g_assert_cmpint(block_writer_init(&w, fd, at), ==, 0);
        g_assert_cmpint(block_writer_set_codec(&w, codec, NULL), ==, 0);
        for (size_t i = 0; i < sorted->len; i++) {
                Record r = plain_record(&g_array_index(sorted, Plain, i));

                g_assert_cmpint(block_writer_add(&w, &r), ==, 0);
        }
        g_assert_cmpint(block_writer_flush(&w), ==, 0);
        at = w.offset;
        block_writer_done(&w);
        return at;
}

static uint64_t write_segment(int fd, uint64_t at, GArray *sorted)
{
        return write_segment_in(fd, at, sorted, BLOCK_PLAIN);
}

static size_t open_files(void)
{
        GDir *d = g_dir_open("/proc/self/fd", 0, NULL);
        size_t n = 0;

        while (g_dir_read_name(d))
                n++;
        g_dir_close(d);
        return n;
}

/* Some runs of a random kind; @all gets their records in the order of adding. Return: the most files it had open. */
static size_t add_runs(Merge *m, size_t runs, int spool, BlockCodec codec, GArray *all)
{
        size_t before = open_files(), most = 0;
        uint64_t at = 0;

        for (size_t i = 0; i < runs; i++) {
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 300),
                                         g_test_rand_int_range(0, FAMILIES), 1);
                Segment s = {.fd = fcntl(spool, F_DUPFD_CLOEXEC, 0),
                             .owns_fd = true,
                             .offset = at,
                             .tag = i};

                plain_sort(a);
                at = write_segment_in(spool, at, a, codec);
                s.length = at - s.offset;
                for (size_t j = 0; j < a->len; j++) {
                        Plain p = g_array_index(a, Plain, j);

                        p.order = all->len;
                        (void) g_bytes_ref(p.key);
                        g_array_append_val(all, p);
                }
                g_array_unref(a);
                g_assert_cmpint(merge_add(m, &s), ==, 0);
                most = MAX(most, open_files() - before);
        }
        return most;
}

static void check_merge(size_t runs, size_t memory, BlockCodec codec, bool *ret_in_memory)
{
        size_t before = open_files(), most;
        int spool = empty_file();
        Scratch scratch = {.fd = empty_file()};
        MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
        GArray *all = plain_new();
        Merge m;

        g_assert_cmpint(merge_init(&m, &o), ==, 0);
        most = add_runs(&m, runs, spool, codec, all);
        g_assert_cmpint(merge_start(&m), ==, 0);
        *ret_in_memory = open_files() == before + 2;
        plain_sort(all);
        check_stream(&m.stream, all);
        g_assert_cmpuint(
                most, <=,
                CLAMP(memory / BLOCK_BYTES, (size_t) MERGE_FAN_IN_MIN, (size_t) MERGE_FAN_IN_MAX));
        g_assert_true(*ret_in_memory || scratch.end > 0 || runs <= MERGE_FAN_IN_MAX);
        merge_done(&m);
        g_array_unref(all);
        (void) close(spool);
        (void) close(scratch.fd);
        g_assert_cmpuint(open_files(), ==, before);
}

static void test_many_runs_merge_with_few_files_open(void)
{
        static const size_t memory[] = {0, MIB(2), MIB(4)};
        bool in_memory;

        for (int round = 0; round < 12; round++)
                check_merge((size_t) g_test_rand_int_range(0, round % 2 ? 300 : 10),
                            memory[round % ELEMENTSOF(memory)], BLOCK_PLAIN, &in_memory);
}

static void test_runs_that_fit_in_memory_are_sorted_again(void)
{
        bool in_memory;

        for (int round = 0; round < 2; round++) {
                check_merge((size_t) g_test_rand_int_range(20, 400), MIB(64), BLOCK_PLAIN,
                            &in_memory);
                g_assert_true(in_memory);
        }
        check_merge(40, MIB(64), BLOCK_LZ4, &in_memory);
        check_merge(40, MIB(2), BLOCK_LZ4, &in_memory);
        check_merge(40, MIB(64), BLOCK_ZSTD, &in_memory);
}

/* Around what decides whether runs are merged or sorted again: how many, and whether they just fit with their items. */
static void test_the_answer_is_the_same_around_every_limit(void)
{
        bool in_memory;

        for (size_t runs = RESORT_RUNS_MIN - 1; runs <= RESORT_RUNS_MIN + 1; runs++)
                for (size_t i = 0; i < 12; i++)
                        check_merge(runs, KIB(4) << i, BLOCK_PLAIN, &in_memory);
        for (size_t runs = MERGE_FAN_IN_MAX - 1; runs <= MERGE_FAN_IN_MAX + 1; runs++)
                check_merge(runs, MIB(64), BLOCK_PLAIN, &in_memory);
}

/* Keys of no to nine bytes, mostly NULs, so that many are equal or differ in length alone; a value in 30 of up to 10 MB. */
static uint64_t write_awkward(int fd, uint64_t at, size_t *ret_bytes)
{
        g_autofree uint8_t *value = g_malloc0(10 * 1000 * 1000);
        size_t sizes[10];
        BlockWriter w;

        g_assert_cmpint(block_writer_init(&w, fd, at), ==, 0);
        for (size_t k = 0; k <= 9; k++)
                sizes[k] = g_test_rand_int_range(0, 30) == 0
                                   ? (size_t) g_test_rand_int_range(0, 10 * 1000 * 1000)
                                   : (size_t) g_test_rand_int_range(0, 300);
        for (size_t k = 0; k <= 9; k++) {
                static const uint8_t zeros[10];
                Record r = {.key = zeros, .key_size = k, .value = value, .value_size = sizes[k]};

                g_assert_cmpint(block_writer_add(&w, &r), ==, 0);
                ret_bytes[k] += sizes[k];
        }
        g_assert_cmpint(block_writer_flush(&w), ==, 0);
        at = w.offset;
        block_writer_done(&w);
        return at;
}

static void check_awkward(size_t runs, size_t memory)
{
        int spool = empty_file();
        Scratch scratch = {.fd = empty_file()};
        MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
        size_t want[10] = {}, got[10] = {}, count = 0;
        uint64_t at = 0;
        Record record;
        Merge m;

        g_assert_cmpint(merge_init(&m, &o), ==, 0);
        for (size_t i = 0; i < runs; i++) {
                Segment s = {.fd = spool, .offset = at, .tag = i};

                at = write_awkward(spool, at, want);
                s.length = at - s.offset;
                g_assert_cmpint(merge_add(&m, &s), ==, 0);
        }
        g_assert_cmpint(merge_start(&m), ==, 0);
        for (; m.stream.next(&m.stream, &record) > 0; count++) {
                g_assert_cmpuint(record.key_size, ==, count / runs);
                got[record.key_size] += record.value_size;
        }
        g_assert_cmpuint(count, ==, 10 * runs);
        g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
        merge_done(&m);
        (void) close(spool);
        (void) close(scratch.fd);
}

static void test_short_keys_and_large_values_are_all_there(void)
{
        static const size_t memory[] = {0, MIB(3), MIB(20), MIB(64)};

        for (size_t i = 0; i < ELEMENTSOF(memory); i++)
                for (size_t runs = RESORT_RUNS_MIN - 1; runs <= RESORT_RUNS_MIN + 1; runs++)
                        check_awkward(runs, memory[i]);
}

static void flip_byte(int fd, off_t at)
{
        uint8_t b;

        g_assert_cmpint(pread(fd, &b, 1, at), ==, 1);
        b ^= 0xff;
        g_assert_cmpint(pwrite(fd, &b, 1, at), ==, 1);
}

static void check_bad_run(size_t memory)
{
        for (size_t bad = 0; bad < 20; bad++) {
                int spool = empty_file();
                Scratch scratch = {.fd = empty_file()};
                MergeOptions o = {.memory_bytes = memory, .scratch = &scratch, .want_partition = 0};
                uint64_t at = 0;
                Record record;
                Merge m;
                int r = 0;

                g_assert_cmpint(merge_init(&m, &o), ==, 0);
                for (size_t i = 0; i < 20 && r >= 0; i++) {
                        GArray *a = random_plain(50, 3, 1);
                        Segment s = {.fd = spool, .offset = at, .tag = 100 + i};

                        plain_sort(a);
                        at = write_segment(spool, at, a);
                        s.length = at - s.offset;
                        if (i == bad)
                                flip_byte(spool, (off_t) s.offset + 30);
                        g_array_unref(a);
                        r = merge_add(&m, &s);
                }
                if (r >= 0)
                        r = merge_start(&m);
                while (r >= 0 && (r = m.stream.next(&m.stream, &record)) > 0)
                        ;
                g_assert_cmpint(r, ==, -EBADMSG);
                g_assert_cmpuint(m.bad_tag, ==, 100 + bad);
                g_assert_nonnull(m.error.message);
                merge_done(&m);
                (void) close(spool);
                (void) close(scratch.fd);
        }
}

static void test_the_bad_run_is_named(void)
{
        check_bad_run(0);
        check_bad_run(MIB(4));
}

/* A run that ends before its length does, first when it is one of few and then one of many in memory. */
static void test_a_run_that_was_cut_is_named(void)
{
        for (size_t runs = 2; runs <= 20; runs += 18) {
                int spool = empty_file();
                Scratch scratch = {.fd = empty_file()};
                MergeOptions o = {
                        .memory_bytes = MIB(16), .scratch = &scratch, .want_partition = 0};
                GArray *a = random_plain(50, 3, 1);
                uint64_t end;
                Record record;
                Merge m;
                int r = 0;

                plain_sort(a);
                end = write_segment(spool, 0, a);
                g_assert_cmpint(ftruncate(spool, (off_t) end - 1), ==, 0);
                g_assert_cmpint(merge_init(&m, &o), ==, 0);
                for (size_t i = 0; i < runs; i++) {
                        Segment s = {.fd = spool, .length = end, .tag = 7};

                        g_assert_cmpint(merge_add(&m, &s), ==, 0);
                }
                r = merge_start(&m);
                while (r >= 0 && (r = m.stream.next(&m.stream, &record)) > 0)
                        ;
                g_assert_cmpint(r, ==, -EBADMSG);
                g_assert_cmpuint(m.bad_tag, ==, 7);
                g_assert_nonnull(strstr(m.error.message, "truncated"));
                merge_done(&m);
                g_array_unref(a);
                (void) close(spool);
                (void) close(scratch.fd);
        }
}

/* ---- groups ---- */

typedef struct ArrayStream {
        RecordStream stream;
        GArray *plain;
        size_t next;
} ArrayStream;

static int array_next(RecordStream *stream, Record *ret)
{
        ArrayStream *s = (ArrayStream *) stream;

        if (s->next == s->plain->len)
                return 0;
        *ret = plain_record(&g_array_index(s->plain, Plain, s->next++));
        return 1;
}

static void test_groups_are_read_whole_or_in_part(void)
{
        for (int round = 0; round < 200; round++) {
                uint32_t partitions = (uint32_t) g_test_rand_int_range(1, 4);
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 300), round % FAMILIES,
                                         partitions);
                ArrayStream s = {.stream.next = array_next, .plain = a};
                size_t at = 0;
                Groups g;

                plain_sort(a);
                groups_init(&g, &s.stream);
                while (groups_next(&g) > 0) {
                        const Plain *first = &g_array_index(a, Plain, at);
                        size_t n = 0, take = (size_t) g_test_rand_int_range(0, 400);
                        Record w = plain_record(first);
                        const uint8_t *value;
                        size_t size;

                        g_assert_cmpmem(g.key, g.key_size, w.key, w.key_size);
                        g_assert_cmpuint(g.partition, ==, w.partition);
                        while (at + n < a->len &&
                               plain_compare_keys(first, &g_array_index(a, Plain, at + n)) == 0)
                                n++;
                        for (size_t i = 0; i < take; i++) {
                                int r = groups_value(&g, &value, &size);

                                g_assert_cmpint(r, ==, i < n);
                                if (r > 0)
                                        g_assert_cmpmem(value, size,
                                                        &g_array_index(a, Plain, at + i).value, 8);
                        }
                        at += n;
                }
                g_assert_cmpuint(at, ==, a->len);
                g_assert_cmpuint(g.records, ==, a->len);
                groups_done(&g);
                g_array_unref(a);
        }
}

/* ---- combiner ---- */

static uint64_t plain_apply(CombineOp op, uint64_t a, uint64_t b)
{
        if (op == COMBINE_MIN)
                return a < b ? a : b;
        if (op == COMBINE_MAX)
                return a > b ? a : b;
        return a + b;
}

static Combiner *combiner_of(CombineOp op, uint32_t partitions, size_t memory, Scratch *scratch,
                             bool unsorted)
{
        CombinerOptions o = {
                .op = op,
                .partitions = partitions,
                .memory_bytes = memory,
                .scratch = scratch,
                .unsorted = unsorted,
        };
        Combiner *c = NULL;

        g_assert_cmpint(combiner_new(&o, &c), ==, 0);
        return c;
}

/* By either way in, at random. */
static void combine(Combiner *c, const uint8_t *key, size_t size, uint64_t value)
{
        int (*add)(Combiner *, const uint8_t *, size_t, uint64_t) =
                g_test_rand_bit() ? combiner_add : combiner_add_rare;
        g_autoptr(GByteArray) padded = g_byte_array_new();

        if (size > 0)
                g_byte_array_append(padded, key, (guint) size);
        g_byte_array_append(padded, (const uint8_t *) "0123456789abcdef", WORDS_PADDING);
        g_assert_cmpint(add(c, padded->data, size, value), ==, 0);
}

/* As between a map and its reduces: by partition in any order, and then sorted. */
static void move_unsorted(Combiner *from, Combiner *to)
{
        RecordStream *stream;
        uint32_t partition = 0;
        uint64_t n = 0;
        Record got;

        g_assert_cmpint(combiner_finish(from, &stream), ==, 0);
        while (stream->next(stream, &got) > 0) {
                g_assert_cmpuint(got.partition, >=, partition);
                partition = got.partition;
                g_assert_cmpint(combine_decode(got.value, got.value_size, &n), ==, 0);
                combine(to, got.key, got.key_size, n);
        }
}

static void check_combiner(GArray *plain, CombineOp op, uint32_t partitions, size_t memory)
{
        Scratch scratch = {.fd = empty_file()}, first_scratch = {.fd = empty_file()};
        Combiner *c = combiner_of(op, partitions, memory, &scratch, false), *first = NULL;
        RecordStream *stream;
        Record got;

        if (plain->len % 2)
                first = combiner_of(op, partitions, memory, &first_scratch, true);
        for (size_t i = 0; i < plain->len; i++) {
                Record r = plain_record(&g_array_index(plain, Plain, i));

                combine(first ? first : c, r.key, r.key_size, g_array_index(plain, Plain, i).value);
        }
        if (first)
                move_unsorted(first, c);
        combiner_free(first);
        (void) close(first_scratch.fd);
        g_assert_cmpint(combiner_finish(c, &stream), ==, 0);
        plain_sort(plain);
        for (size_t i = 0; i < plain->len;) {
                const Plain *p = &g_array_index(plain, Plain, i);
                Record w = plain_record(p);
                uint64_t total = p->value, n = 0;

                for (i++;
                     i < plain->len && plain_compare_keys(p, &g_array_index(plain, Plain, i)) == 0;
                     i++)
                        total = plain_apply(op, total, g_array_index(plain, Plain, i).value);
                g_assert_cmpint(stream->next(stream, &got), ==, 1);
                g_assert_cmpmem(got.key, got.key_size, w.key, w.key_size);
                g_assert_cmpuint(got.partition, ==, w.partition);
                g_assert_cmpint(combine_decode(got.value, got.value_size, &n), ==, 0);
                g_assert_cmpuint(n, ==, total);
        }
        g_assert_cmpint(stream->next(stream, &got), ==, 0);
        combiner_free(c);
        (void) close(scratch.fd);
}

static void test_a_combiner_combines_in_any_memory(void)
{
        for (int round = 0; round < 3 * (FAMILIES + 1); round++) {
                uint32_t partitions = round % 2 ? 1 : (uint32_t) g_test_rand_int_range(1, 300);
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 60000),
                                         round % (FAMILIES + 1), partitions);

                check_combiner(a, (CombineOp) (round % _COMBINE_OP_MAX), partitions,
                               round % 4 ? MIB(1) : MIB(16));
                g_array_unref(a);
        }
}

/* Nearly every key is new: evictions, compaction and spills. */
static void test_distinct_keys_beyond_the_memory_are_all_there(void)
{
        GArray *a = plain_new();

        for (int i = 0; i < 200001; i++) {
                GString *s = g_string_new(NULL);
                int n = g_test_rand_int_range(0, 150000);

                g_string_append_printf(s, n % 2 ? "%d" : "a key that is longer than that: %d", n);
                plain_add(a, g_string_free_to_bytes(s), 1, 5);
        }
        check_combiner(a, COMBINE_SUM, 5, MIB(1));
        g_array_unref(a);
}

static void test_keys_larger_than_the_memory_are_combined_too(void)
{
        GArray *a = plain_new();

        for (int i = 0; i < 20; i++) {
                size_t size = i % 2 ? MIB(10) : KIB(40) * (size_t) (1 + i / 4);
                uint8_t *data = g_malloc(size);

                memset(data, 'k', size);
                data[size - 1] = (uint8_t) ('a' + i % 3);
                plain_add(a, g_bytes_new_take(data, size), (uint64_t) i, 3);
                for (int j = 0; j < 1000; j++)
                        plain_add(a, random_key(j % FAMILIES), (uint64_t) j, 3);
        }
        check_combiner(a, COMBINE_SUM, 3, MIB(1));
        g_array_unref(a);
}

static void test_a_sum_stops_at_its_greatest_number(void)
{
        g_assert_cmpuint(combine_apply(COMBINE_SUM, UINT64_MAX - 1, 5), ==, UINT64_MAX);
        g_assert_cmpuint(combine_apply(COMBINE_SUM, 2, 3), ==, 5);
        g_assert_cmpuint(combine_apply(COMBINE_MIN, 2, 3), ==, 2);
        g_assert_cmpuint(combine_apply(COMBINE_MAX, 2, 3), ==, 3);
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
        ADD("merge/many-runs-merge-with-few-files-open", test_many_runs_merge_with_few_files_open);
        ADD("merge/runs-that-fit-in-memory-are-sorted-again",
            test_runs_that_fit_in_memory_are_sorted_again);
        ADD("merge/the-answer-is-the-same-around-every-limit",
            test_the_answer_is_the_same_around_every_limit);
        ADD("merge/short-keys-and-large-values-are-all-there",
            test_short_keys_and_large_values_are_all_there);
        ADD("merge/the-bad-run-is-named", test_the_bad_run_is_named);
        ADD("merge/a-run-that-was-cut-is-named", test_a_run_that_was_cut_is_named);
        ADD("group/groups-are-read-whole-or-in-part", test_groups_are_read_whole_or_in_part);
        ADD("combine/a-combiner-combines-in-any-memory", test_a_combiner_combines_in_any_memory);
        ADD("combine/distinct-keys-beyond-the-memory-are-all-there",
            test_distinct_keys_beyond_the_memory_are_all_there);
        ADD("combine/keys-larger-than-the-memory-are-combined-too",
            test_keys_larger_than_the_memory_are_combined_too);
        ADD("combine/a-sum-stops-at-its-greatest-number", test_a_sum_stops_at_its_greatest_number);
        return g_test_run();
}

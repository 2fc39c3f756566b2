/*
 * Grouping and combining: the same answer as a plain array and qsort(), whatever the memory, the
 * keys and the partitions.
 */
#include "records/combine.h"
#include "records/group.h"
#include "records-plain.h"

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

/* Through one that is unsorted first, where @plain is of an odd length. Return: how much the one,
 * or each of the two, has spilled at least. */
static uint64_t check_combiner(GArray *plain, CombineOp op, uint32_t partitions, size_t memory)
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
        return first ? MIN(scratch.end, first_scratch.end) : scratch.end;
}

static void test_a_combiner_combines_in_any_memory(void)
{
        int spilled = 0, rounds = 3 * (FAMILIES + 1);

        for (int round = 0; round < rounds; round++) {
                uint32_t partitions = round % 2 ? 1 : (uint32_t) g_test_rand_int_range(1, 300);
                GArray *a = random_plain((size_t) g_test_rand_int_range(0, 60000),
                                         round % (FAMILIES + 1), partitions);

                spilled += check_combiner(a, (CombineOp) (round % _COMBINE_OP_MAX), partitions,
                                          random_memory(MIB(1), MIB(16))) > 0;
                g_array_unref(a);
        }
        g_test_message("%d of %d spilled", spilled, rounds);
}

/* Each of @distinct keys so many times, and far apart; half are too long for an entry. */
static GArray *repeated_keys(uint32_t distinct, uint32_t times, uint32_t partitions)
{
        GArray *a = plain_new();

        for (uint32_t i = 0; i < times * distinct; i++) {
                uint32_t n = (uint32_t) ((uint64_t) i * 48271 % distinct);
                char *key = g_strdup_printf(n % 2 ? "%u" : "a key that is longer than that: %u", n);

                plain_add(a, g_bytes_new_take(key, strlen(key)), i, partitions);
        }
        return a;
}

/* An entry is 32 bytes, so these are several times the memory: each combiner has to evict, to make
 * its buckets unique and to spill again and again, and what it has spilled holds every key. */
static void test_distinct_keys_beyond_the_memory_are_spilled(void)
{
        const uint32_t distinct = 60000;

        for (int unsorted = 0; unsorted < 2; unsorted++)
                for (uint32_t partitions = 1; partitions <= 5; partitions += 4) {
                        GArray *a = repeated_keys(distinct, 2, partitions);

                        if (unsorted)
                                plain_add(a, random_key(0), 1, partitions);
                        g_assert_cmpuint(check_combiner(a, COMBINE_SUM, partitions, MIB(1)), >,
                                         (uint64_t) 20 * distinct);
                        g_array_unref(a);
                }
}

/* The same where there is room for all; and few keys that come again and again, in little room. */
static void test_keys_that_fit_the_memory_are_not_spilled(void)
{
        GArray *many = repeated_keys(60000, 2, 3), *few = repeated_keys(1000, 150, 3);

        g_assert_cmpuint(check_combiner(many, COMBINE_SUM, 3, MIB(64)), ==, 0);
        g_assert_cmpuint(check_combiner(few, COMBINE_SUM, 3, MIB(1)), ==, 0);
        g_array_unref(many);
        g_array_unref(few);
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

#define ADD(claim, function) g_test_add_func("/records/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("group/groups-are-read-whole-or-in-part", test_groups_are_read_whole_or_in_part);
        ADD("combine/a-combiner-combines-in-any-memory", test_a_combiner_combines_in_any_memory);
        ADD("combine/distinct-keys-beyond-the-memory-are-spilled",
            test_distinct_keys_beyond_the_memory_are_spilled);
        ADD("combine/keys-that-fit-the-memory-are-not-spilled",
            test_keys_that_fit_the_memory_are_not_spilled);
        ADD("combine/keys-larger-than-the-memory-are-combined-too",
            test_keys_larger_than_the_memory_are_combined_too);
        ADD("combine/a-sum-stops-at-its-greatest-number", test_a_sum_stops_at_its_greatest_number);
        return g_test_run();
}

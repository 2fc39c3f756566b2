/*
 * Records many at a time are the same as one by one: sorted by qsort() and laid behind each other,
 * from a sorter through run files to an output.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "records/merge.h"
#include "records/output.h"
#include "records/resort.h"
#include "records/run-file.h"
#include "records/sorter.h"

#define RUNS 12

typedef struct Shape {
        size_t key_bytes, value_bytes;
} Shape;

/* Records of one shape behind each other, keys of @values different bytes; values differ from
 * record to record. */
static GByteArray *random_records(Shape shape, size_t count, int values)
{
        size_t record_bytes = shape.key_bytes + shape.value_bytes;
        GByteArray *a = g_byte_array_new();

        g_byte_array_set_size(a, (guint) (count * record_bytes));
        for (size_t i = 0; i < a->len; i++)
                a->data[i] = (uint8_t) (i % record_bytes < shape.key_bytes
                                                ? (size_t) g_test_rand_int_range(0, values)
                                                : i * 31 + i / record_bytes);
        return a;
}

typedef struct Reference {
        const uint8_t *record;
        Shape shape;
} Reference;

/* Equal keys in the order of adding, which is that of addresses. */
static int compare_references(const void *a, const void *b)
{
        const Reference *x = a, *y = b;
        size_t common = MIN(x->shape.key_bytes, y->shape.key_bytes);
        int r = memcmp(x->record, y->record, common);

        if (r == 0 && x->shape.key_bytes != y->shape.key_bytes)
                r = x->shape.key_bytes < y->shape.key_bytes ? -1 : 1;
        return r ? r : (x->record > y->record) - (x->record < y->record);
}

static GByteArray *sorted_text(Reference *all, size_t count)
{
        GByteArray *a = g_byte_array_new();

        if (count > 0)
                qsort(all, count, sizeof(Reference), compare_references);
        for (size_t i = 0; i < count; i++)
                g_byte_array_append(a, all[i].record,
                                    (guint) (all[i].shape.key_bytes + all[i].shape.value_bytes));
        return a;
}

static int empty_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

static void check_text(int fd, const GByteArray *want)
{
        g_autofree uint8_t *got = g_malloc(want->len + 1);

        g_assert_cmpint(pread_full(fd, got, want->len + 1, 0), ==, want->len);
        g_assert_true(want->len == 0 || memcmp(got, want->data, want->len) == 0);
}

/* Sorts what is in @records, as a map does, and writes it as a run; in two partitions, when cut
 * anywhere. */
static void write_run(int fd, const GByteArray *records, Shape shape, uint32_t partitions)
{
        size_t record_bytes = shape.key_bytes + shape.value_bytes;
        Scratch scratch = {.fd = empty_file()};
        SorterOptions o = {.partitions = 1,
                           .memory_bytes = MIB(5), /* so that they fit, the longest, too */
                           .record_bytes = record_bytes,
                           .key_bytes = shape.key_bytes,
                           .scratch = &scratch};
        RecordStream *stream;
        Sorter *s = NULL;
        RunWriter *w = NULL;
        RecordSpan span;
        uint8_t *space;
        size_t size;
        uint64_t written;

        g_assert_cmpint(sorter_new(&o, &s), ==, 0);
        g_assert_cmpint(sorter_space(s, &space, &size), ==, 0);
        g_assert_cmpuint(size, >=, records->len);
        if (records->len > 0)
                memcpy(space, records->data, records->len);
        sorter_filled(s, records->len);
        g_assert_cmpint(sorter_finish(s, &stream), ==, 0);
        g_assert_cmpint(run_writer_new(fd, partitions, &w), ==, 0);
        while (stream->span(stream, &span) > 0) {
                RecordSpan rest = span;

                if (partitions == 2) {
                        span.count = (size_t) g_test_rand_int_range(0, (gint32) span.count + 1);
                        rest.items += span.count;
                        rest.count -= span.count;
                        rest.partition = 1;
                        g_assert_cmpint(run_writer_add_span(w, &span), ==, 0);
                }
                g_assert_cmpint(run_writer_add_span(w, &rest), ==, 0);
        }
        g_assert_cmpint(run_writer_finish(w, &written), ==, 0);
        run_writer_free(w);
        sorter_free(s);
        (void) close(scratch.fd);
}

/* The segments of both partitions are one behind the other: all records in order, whatever the
 * cut. */
static void check_run(size_t count, Shape shape, int values)
{
        g_autoptr(GByteArray) records = random_records(shape, count, values), want = NULL;
        size_t record_bytes = shape.key_bytes + shape.value_bytes, n = 0;
        g_autofree Reference *all = g_new(Reference, count + 1);
        int fd = empty_file(), out = empty_file();

        for (; n < count; n++)
                all[n] = (Reference){.record = records->data + n * record_bytes, .shape = shape};
        write_run(fd, records, shape, 2);
        for (uint32_t p = 0; p < 2; p++) {
                uint64_t offset, length;
                BlockCursor cursor;
                Record record;

                g_assert_cmpint(run_file_segment(fd, 2, p, &offset, &length, NULL), ==, 0);
                block_cursor_init(&cursor, fd, offset, length, p, NULL);
                while (block_cursor_next(&cursor, &record, NULL) > 0) {
                        g_assert_cmpuint(record.key_size, ==, shape.key_bytes);
                        g_assert_cmpint(write(out, record.key, record_bytes), ==,
                                        (ssize_t) record_bytes);
                }
                block_cursor_done(&cursor);
        }
        want = sorted_text(all, count);
        check_text(out, want);
        (void) close(fd);
        (void) close(out);
}

static void test_a_run_of_spans_is_a_run_of_records(void)
{
        static const Shape shapes[] = {{0, 1},   {1, 0},    {3, 4},     {8, 0},
                                       {10, 90}, {12, 700}, {200, 3000}};

        for (size_t i = 0; i < ELEMENTSOF(shapes); i++)
                for (int values = 2; values <= 256; values += 254)
                        check_run((size_t) g_test_rand_int_range(0, 1000), shapes[i], values);
        check_run(20000, (Shape){10, 90}, 256); /* many blocks */
}

/* The distinct keys among what @stream gives, and all of it in @out. */
static size_t put_all(RecordStream *stream, int out, bool *ret_spans)
{
        size_t changes = 0;
        RecordSpan span;
        Record record;
        Output o;

        g_assert_cmpint(output_init(&o, out), ==, 0);
        *ret_spans = stream->span;
        if (stream->span)
                while (stream->span(stream, &span) > 0) {
                        g_assert_cmpint(output_span(&o, &span, 0, span.count), ==, 0);
                        changes += span_changes(&span, 0, span.count) + 1;
                }
        else
                while (stream->next(stream, &record) > 0)
                        g_assert_cmpint(
                                output_bytes(&o, record.key, record.key_size + record.value_size),
                                ==, 0);
        g_assert_cmpint(output_flush(&o), ==, 0);
        output_done(&o);
        return changes;
}

static size_t distinct_keys(const Reference *sorted, size_t count)
{
        size_t n = count > 0;

        for (size_t i = 1; i < count; i++)
                n += memcmp(sorted[i].record, sorted[i - 1].record, sorted[i].shape.key_bytes) != 0;
        return n;
}

/* Runs of one shape each, sorted again: in spans only when that is the same shape for all. */
static void check_resort(const Shape *shapes, size_t shape_count, size_t each, int values)
{
        MergeOptions o = {.memory_bytes = MIB(16), .want_partition = 0};
        g_autofree Reference *all = g_new(Reference, RUNS * each);
        GByteArray *records[RUNS];
        g_autoptr(GByteArray) want = NULL;
        int fds[RUNS], out = empty_file();
        size_t count = 0, keys;
        bool spans;
        Merge m;

        g_assert_cmpint(merge_init(&m, &o), ==, 0);
        for (size_t i = 0; i < RUNS; i++) {
                Shape shape = shapes[i % shape_count];
                Segment segment = {.fd = fds[i] = empty_file()};

                records[i] = random_records(shape, each, values);
                write_run(fds[i], records[i], shape, 1);
                g_assert_cmpint(
                        run_file_segment(fds[i], 1, 0, &segment.offset, &segment.length, NULL), ==,
                        0);
                g_assert_cmpint(merge_add(&m, &segment), ==, 0);
        }
        /* One array after the other, so that addresses are in the order of adding. */
        want = g_byte_array_new();
        for (size_t i = 0; i < RUNS; i++)
                g_byte_array_append(want, records[i]->data, records[i]->len);
        for (size_t i = 0, at = 0; i < RUNS; i++)
                for (size_t j = 0; j < each; j++, count++) {
                        all[count] = (Reference){want->data + at, shapes[i % shape_count]};
                        at += all[count].shape.key_bytes + all[count].shape.value_bytes;
                }
        g_assert_cmpint(merge_start(&m), ==, 0);
        keys = put_all(&m.stream, out, &spans);
        g_assert_cmpint(spans, ==, shape_count == 1);
        {
                g_autoptr(GByteArray) text = sorted_text(all, count);

                check_text(out, text);
                g_assert_true(!spans || keys == distinct_keys(all, count));
        }
        merge_done(&m);
        for (size_t i = 0; i < RUNS; i++) {
                g_byte_array_unref(records[i]);
                (void) close(fds[i]);
        }
        (void) close(out);
}

static void test_runs_of_one_length_are_sorted_again_in_spans(void)
{
        static const Shape shapes[] = {{3, 4}, {8, 1}, {10, 90}, {100, 28}, {9, 2000}};

        for (size_t i = 0; i < ELEMENTSOF(shapes); i++) {
                check_resort(&shapes[i], 1, (size_t) g_test_rand_int_range(1, 300), 2);
                check_resort(&shapes[i], 1, (size_t) g_test_rand_int_range(1, 300), 256);
        }
        check_resort(&shapes[2], 1, 5000,
                     256); /* several blocks a run, and more than an output's buffer */
}

static void test_runs_of_other_lengths_are_not(void)
{
        static const Shape shapes[] = {{3, 4}, {4, 3}, {3, 5}};

        check_resort(shapes, 2, 200, 256); /* the same record, and another key */
        check_resort(shapes, 3, 200, 256);
}

static int put(BlockWriter *w, size_t key_size, size_t value_size)
{
        static const uint8_t bytes[64] = "abcdefghijklmnopqrstuvwxyz";
        Record record = {
                .key = bytes,
                .key_size = key_size,
                .value = bytes + key_size,
                .value_size = value_size,
        };

        return block_writer_add(w, &record);
}

/* Lengths that differ within a block, though their sum does not tell. */
static void test_only_equal_lengths_are_alike(void)
{
        static const Shape blocks[][4] = {
                {{3, 4}, {3, 4}, {3, 4}, {3, 4}}, {{3, 4}, {3, 5}, {3, 3}, {3, 4}},
                {{3, 4}, {4, 3}, {3, 4}, {3, 4}}, {{3, 4}, {3, 4}, {3, 4}, {2, 5}},
                {{3, 4}, {3, 4}, {3, 4}, {3, 5}}, {{0, 0}, {0, 0}, {0, 0}, {0, 0}},
        };

        for (size_t i = 0; i < ELEMENTSOF(blocks); i++) {
                bool alike = i == 0 || i == 5;
                size_t stride = 0, more, n = 0;
                int fd = empty_file();
                BlockCursor cursor;
                BlockWriter w;
                Record record;

                g_assert_cmpint(block_writer_init(&w, fd, 0), ==, 0);
                for (size_t j = 0; j < 4; j++)
                        g_assert_cmpint(put(&w, blocks[i][j].key_bytes, blocks[i][j].value_bytes),
                                        ==, 0);
                g_assert_cmpint(block_writer_flush(&w), ==, 0);
                block_cursor_init(&cursor, fd, 0, w.offset, 0, NULL);
                g_assert_cmpint(block_cursor_next(&cursor, &record, NULL), ==, 1);
                more = block_cursor_take_alike(&cursor, &stride);
                g_assert_cmpuint(more, ==, alike ? 3 : 0);
                if (alike)
                        g_assert_cmpuint(stride, ==, 2 + record.key_size + record.value_size);
                while (block_cursor_next(&cursor, &record, NULL) > 0) {
                        n++;
                        g_assert_cmpuint(record.key_size, ==, blocks[i][n].key_bytes);
                        g_assert_cmpuint(record.value_size, ==, blocks[i][n].value_bytes);
                }
                g_assert_cmpuint(n, ==, alike ? 0 : 3);
                block_cursor_done(&cursor);
                block_writer_done(&w);
                (void) close(fd);
        }
}

/* A record larger than a block has one of its own, and there is no room for two in a block of the
 * next size. */
static void test_large_records_are_in_spans_too(void)
{
        static const size_t sizes[] = {BLOCK_BYTES / 2, BLOCK_BYTES - BLOCK_HEADER_BYTES - 5,
                                       BLOCK_BYTES, 3 * BLOCK_BYTES};

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                g_autofree uint8_t *base = g_malloc(sizes[i] * 3);
                Item items[3] = {{.ref = 1}, {.ref = 0}, {.ref = 2}};
                RecordSpan span = {.items = items,
                                   .base = base,
                                   .unit = sizes[i],
                                   .count = 3,
                                   .key_size = 10,
                                   .value_size = sizes[i] - 10};
                int fd = empty_file();
                BlockCursor cursor;
                BlockWriter w;
                Record record;

                for (size_t j = 0; j < 3; j++)
                        memset(base + j * sizes[i], (int) ('a' + j), sizes[i]);
                g_assert_cmpint(block_writer_init(&w, fd, 0), ==, 0);
                g_assert_cmpint(block_writer_add_span(&w, &span), ==, 0);
                g_assert_cmpint(block_writer_flush(&w), ==, 0);
                block_cursor_init(&cursor, fd, 0, w.offset, 0, NULL);
                for (size_t j = 0; j < 3; j++) {
                        g_assert_cmpint(block_cursor_next(&cursor, &record, NULL), ==, 1);
                        g_assert_cmpuint(record.value_size, ==, sizes[i] - 10);
                        g_assert_cmpint(memcmp(record.key, span_at(&span, j), sizes[i]), ==, 0);
                }
                g_assert_cmpint(block_cursor_next(&cursor, &record, NULL), ==, 0);
                block_cursor_done(&cursor);
                block_writer_done(&w);
                (void) close(fd);
        }
}

#define ADD(claim, function) g_test_add_func("/records/span/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("a-run-of-spans-is-a-run-of-records", test_a_run_of_spans_is_a_run_of_records);
        ADD("runs-of-one-length-are-sorted-again-in-spans",
            test_runs_of_one_length_are_sorted_again_in_spans);
        ADD("runs-of-other-lengths-are-not", test_runs_of_other_lengths_are_not);
        ADD("only-equal-lengths-are-alike", test_only_equal_lengths_are_alike);
        ADD("large-records-are-in-spans-too", test_large_records_are_in_spans_too);
        return g_test_run();
}

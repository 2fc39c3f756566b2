/*
 * Run files: what was written is read, from any offset; what was damaged is refused, and never
 * believed.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "records/block-sum.h"
#include "records/codec-module.h"
#include "records/run-file.h"

/* Instead of codec-linked.c: a module that may be gone. */
static bool codecs_are_gone;

int codec_module_get(const CodecModule **ret, Error *e)
{
        if (codecs_are_gone)
                return error_setf(e, ELIBACC, "gone");
        *ret = &codec_module;
        return 0;
}

static int empty_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

typedef struct Sample {
        GPtrArray *keys;    /* GBytes, by partition */
        GPtrArray *values;  /* GBytes */
        GArray *partitions; /* uint32_t, rising */
        BlockCodec codec;
} Sample;

static GBytes *random_bytes(size_t max)
{
        size_t size = (size_t) g_test_rand_int_range(0, (int) max + 1);
        uint8_t *data = g_malloc(size + 1);

        memset(data, g_test_rand_int_range(0, 256), size);
        for (size_t i = 0; i < MIN(size, 20); i++)
                data[i] = (uint8_t) g_test_rand_int_range(0, 256);
        return g_bytes_new_take(data, size);
}

static Sample sample_new(size_t count, uint32_t partitions)
{
        Sample s = {
                .keys = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref),
                .values = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref),
                .partitions = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
                .codec = (BlockCodec) g_test_rand_int_range(BLOCK_PLAIN, BLOCK_ZSTD + 1),
        };

        for (size_t i = 0; i < count; i++) {
                uint32_t partition = (uint32_t) (i * partitions / count);
                int kind = g_test_rand_int_range(0, 200);

                g_ptr_array_add(s.keys, random_bytes(kind == 0 ? 600000 : 30));
                g_ptr_array_add(s.values, random_bytes(kind == 1 ? 600000 : 300));
                g_array_append_val(s.partitions, partition);
        }
        return s;
}

static void sample_done(Sample *s)
{
        g_ptr_array_unref(s->keys);
        g_ptr_array_unref(s->values);
        g_array_unref(s->partitions);
}

static Record sample_record(const Sample *s, size_t i)
{
        Record r = {.partition = g_array_index(s->partitions, uint32_t, i)};

        r.key = g_bytes_get_data(s->keys->pdata[i], &r.key_size);
        r.value = g_bytes_get_data(s->values->pdata[i], &r.value_size);
        return r;
}

static uint64_t write_sample(int fd, const Sample *s, uint32_t partitions)
{
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        uint64_t size;

        g_assert_cmpint(run_writer_new(fd, partitions, &w), ==, 0);
        g_assert_cmpint(run_writer_set_codec(w, s->codec, NULL), ==, 0);
        for (size_t i = 0; i < s->keys->len; i++) {
                Record r = sample_record(s, i);

                g_assert_cmpint(run_writer_add(w, &r), ==, 0);
        }
        g_assert_cmpint(run_writer_finish(w, &size), ==, 0);
        return size;
}

/* Reads the segment against the sample from record @i on; returns the next. */
static size_t check_segment(int fd, uint64_t offset, uint64_t length, uint32_t partition,
                            const Sample *s, size_t i)
{
        _cleanup_error_ Error e = {};
        BlockCursor c;
        Record got;
        int r;

        block_cursor_init(&c, fd, offset, length, partition, NULL);
        while ((r = block_cursor_next(&c, &got, &e)) > 0) {
                Record want = sample_record(s, i++);

                g_assert_cmpuint(want.partition, ==, partition);
                g_assert_cmpuint(got.partition, ==, partition);
                g_assert_cmpmem(got.key, got.key_size, want.key, want.key_size);
                g_assert_cmpmem(got.value, got.value_size, want.value, want.value_size);
        }
        g_assert_cmpint(r, ==, 0);
        block_cursor_done(&c);
        return i;
}

static void test_what_was_written_is_read_from_any_file_and_offset(void)
{
        for (int round = 0; round < 30; round++) {
                uint32_t partitions = (uint32_t) g_test_rand_int_range(1, 20);
                Sample s = sample_new((size_t) g_test_rand_int_range(1, 2000), partitions);
                int fd = empty_file(), copy = empty_file();
                uint64_t size = write_sample(fd, &s, partitions);
                size_t next = 0;
                struct stat st;

                g_assert_cmpint(fstat(fd, &st), ==, 0);
                g_assert_cmpint(st.st_size, ==, size);
                for (uint32_t p = 0; p < partitions; p++) {
                        uint64_t offset, length, shift = (uint64_t) g_test_rand_int_range(0, 5000);
                        g_autofree uint8_t *bytes = NULL;

                        g_assert_cmpint(run_file_segment(fd, partitions, p, &offset, &length, NULL),
                                        ==, 0);
                        bytes = g_malloc(length + 1);
                        g_assert_cmpint(pread_full(fd, bytes, length, offset), ==, length);
                        g_assert_cmpint(block_pwrite(copy, bytes, length, shift), ==, 0);
                        (void) check_segment(fd, offset, length, p, &s, next);
                        next = check_segment(copy, shift, length, p, &s, next);
                }
                g_assert_cmpuint(next, ==, s.keys->len);
                (void) close(fd);
                (void) close(copy);
                sample_done(&s);
        }
}

static uint32_t block_magic(int fd, uint64_t offset)
{
        uint32_t magic;

        g_assert_cmpint(pread(fd, &magic, sizeof(magic), (off_t) offset), ==, sizeof(magic));
        return GUINT32_FROM_LE(magic);
}

/* One block by each, and what all of them hold is read. A codec that is not there changes
 * nothing. */
static void test_a_codec_may_change_from_block_to_block(void)
{
        static const BlockCodec codecs[] = {BLOCK_LZ4, BLOCK_ZSTD, BLOCK_PLAIN, BLOCK_LZ4};
        static const uint32_t magics[] = {BLOCK_MAGIC_LZ4, BLOCK_MAGIC_ZSTD, BLOCK_MAGIC,
                                          BLOCK_MAGIC_LZ4};
        static const uint8_t zeros[1000];
        Record record = {.key = zeros, .key_size = 1000, .value = zeros}, got;
        _cleanup_error_ Error e = {};
        int fd = empty_file();
        BlockWriter w;
        BlockCursor c;

        g_assert_cmpint(block_writer_init(&w, fd, 0), ==, 0);
        for (size_t i = 0; i < ELEMENTSOF(codecs); i++) {
                uint64_t at = w.offset;

                g_assert_cmpint(block_writer_set_codec(&w, codecs[i], NULL), ==, 0);
                codecs_are_gone = true;
                g_assert_cmpint(block_writer_set_codec(
                                        &w, codecs[i] == BLOCK_LZ4 ? BLOCK_ZSTD : BLOCK_LZ4, &e),
                                ==, -ELIBACC);
                g_assert_cmpstr(e.message, ==, "gone");
                codecs_are_gone = false;
                error_done(&e);
                g_assert_cmpint(block_writer_add(&w, &record), ==, 0);
                g_assert_cmpint(block_writer_flush(&w), ==, 0);
                g_assert_cmpuint(block_magic(fd, at), ==, magics[i]);
        }
        block_cursor_init(&c, fd, 0, w.offset, BLOCK_ANY_PARTITION, NULL);
        for (size_t i = 0; i < ELEMENTSOF(codecs); i++) {
                g_assert_cmpint(block_cursor_next(&c, &got, NULL), ==, 1);
                g_assert_cmpmem(got.key, got.key_size, zeros, sizeof(zeros));
                g_assert_cmpuint(got.value_size, ==, 0);
        }
        g_assert_cmpint(block_cursor_next(&c, &got, NULL), ==, 0);
        block_cursor_done(&c);
        block_writer_done(&w);
        (void) close(fd);
}

/* Where codecs are gone from the first one on, what is written is plain. */
static void test_a_codec_that_is_not_there_leaves_blocks_plain(void)
{
        static const uint8_t zeros[1000];
        Record record = {.key = zeros, .key_size = 1000, .value = zeros};
        int fd = empty_file();
        BlockWriter w;

        g_assert_cmpint(block_writer_init(&w, fd, 0), ==, 0);
        codecs_are_gone = true;
        g_assert_cmpint(block_writer_set_codec(&w, BLOCK_LZ4, NULL), ==, -ELIBACC);
        codecs_are_gone = false;
        g_assert_cmpint(block_writer_add(&w, &record), ==, 0);
        g_assert_cmpint(block_writer_flush(&w), ==, 0);
        g_assert_cmpuint(block_magic(fd, 0), ==, BLOCK_MAGIC);
        block_writer_done(&w);
        (void) close(fd);
}

static void test_partitions_may_be_empty(void)
{
        Sample none = sample_new(0, 1);
        uint64_t offset, length;
        int fd = empty_file();

        (void) write_sample(fd, &none, 7);
        for (uint32_t p = 0; p < 7; p++) {
                g_assert_cmpint(run_file_segment(fd, 7, p, &offset, &length, NULL), ==, 0);
                g_assert_cmpuint(length, ==, 0);
        }
        g_assert_cmpint(run_file_segment(fd, 7, 7, &offset, &length, NULL), ==, -EINVAL);
        g_assert_cmpint(run_file_segment(fd, 8, 0, &offset, &length, NULL), ==, -EBADMSG);
        (void) close(fd);
        sample_done(&none);
}

/* The header by hand, from docs/run-file.md: magic, version 1, 2 partitions, 1 record, no flags. */
static void test_the_bytes_are_those_of_the_specification(void)
{
        static const uint8_t head[] = {
                'M', 'R', 'R', 'U', 'N', '\r', '\n', 0x1a, 1, 0, 0,  0, 2, 0,  0, 0, 1, 0, 0,
                0,   0,   0,   0,   0,   0,    0,    0,    0, 0, 0,  0, 0, 64, 0, 0, 0, 0, 0,
                0,   0,   64,  0,   0,   0,    0,    0,    0, 0, 93, 0, 0, 0,  0, 0, 0, 0,
        };
        static const uint8_t block[] = {'R', 'B', 'L', 'K', 1, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0};
        static const uint8_t payload[] = {2, 1, 'k', 'y', 'v'};
        Record record = {.key = (const uint8_t *) "ky",
                         .key_size = 2,
                         .value = (const uint8_t *) "v",
                         .value_size = 1,
                         .partition = 1};
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        uint8_t got[200];
        uint64_t size, sum;
        int fd = empty_file();

        g_assert_cmpint(run_writer_new(fd, 2, &w), ==, 0);
        g_assert_cmpint(run_writer_add(w, &record), ==, 0);
        g_assert_cmpint(run_writer_finish(w, &size), ==, 0);
        g_assert_cmpuint(size, ==, 93);
        g_assert_cmpint(pread_full(fd, got, sizeof(got), 0), ==, 93);
        g_assert_cmpmem(got, sizeof(head), head, sizeof(head));
        memcpy(&sum, got + 56, 8);
        g_assert_cmpuint(GUINT64_FROM_LE(sum), ==, XXH3_64bits(head, sizeof(head)));
        g_assert_cmpmem(got + 64, sizeof(block), block, sizeof(block));
        memcpy(&sum, got + 80, 8);
        g_assert_cmpuint(
                GUINT64_FROM_LE(sum), ==,
                XXH3_64bits_withSeed(payload, sizeof(payload), XXH3_64bits(block, sizeof(block))));
        g_assert_cmpmem(got + 88, sizeof(payload), payload, sizeof(payload));
        (void) close(fd);
}

static int read_all(int fd, uint64_t offset, uint64_t length, uint64_t partition, Error *e)
{
        BlockCursor c;
        Record got;
        int r;

        block_cursor_init(&c, fd, offset, length, partition, NULL);
        while ((r = block_cursor_next(&c, &got, e)) > 0)
                ;
        block_cursor_done(&c);
        return r;
}

static void test_every_flipped_bit_is_noticed(void)
{
        Sample s = sample_new(40, 3);
        int fd = empty_file();
        uint64_t size = write_sample(fd, &s, 3), begin, offset, length;
        uint8_t byte;

        g_assert_cmpint(run_file_segment(fd, 3, 0, &begin, &length, NULL), ==, 0);
        for (int round = 0; round < 3000; round++) {
                uint64_t at = (uint64_t) g_test_rand_int_range(0, (int) MIN(size, 200000));
                uint8_t bad;
                int found = 0;

                g_assert_cmpint(pread(fd, &byte, 1, (off_t) at), ==, 1);
                bad = (uint8_t) (byte ^ 1 << g_test_rand_int_range(0, 8));
                g_assert_cmpint(pwrite(fd, &bad, 1, (off_t) at), ==, 1);
                for (uint32_t p = 0; p < 3; p++) {
                        _cleanup_error_ Error e = {};
                        int r = run_file_segment(fd, 3, p, &offset, &length, &e);

                        if (r >= 0)
                                r = read_all(fd, offset, length, p, &e);
                        if (r < 0) {
                                g_assert_cmpint(r, ==, -EBADMSG);
                                g_assert_nonnull(e.message);
                                found++;
                        }
                }
                /* A bit of the head spoils all, one of a block its partition. */
                g_assert_cmpint(found, ==, at < begin ? 3 : 1);
                g_assert_cmpint(pwrite(fd, &byte, 1, (off_t) at), ==, 1);
        }
        (void) close(fd);
        sample_done(&s);
}

static void test_a_truncated_file_is_bad_at_every_length(void)
{
        Sample s = sample_new(300, 2);
        int fd = empty_file();
        uint64_t size = write_sample(fd, &s, 2);

        for (int round = 0; round < 500; round++) {
                uint64_t offset, length, keep = (uint64_t) ((double) size * g_test_rand_double());
                int r = 0;

                g_assert_cmpint(ftruncate(fd, (off_t) keep), ==, 0);
                r = run_file_segment(fd, 2, 1, &offset, &length, NULL);
                g_assert_cmpint(r, ==, -EBADMSG);
                g_assert_cmpint(ftruncate(fd, 0), ==, 0);
                (void) write_sample(fd, &s, 2);
                g_assert_cmpint(run_file_segment(fd, 2, 1, &offset, &length, NULL), ==, 0);
                /* The segment alone, cut anywhere but at a block: */
                keep = (uint64_t) ((double) length * g_test_rand_double());
                r = read_all(fd, offset, keep, 1, NULL);
                g_assert_true(r == -EBADMSG || r == 0);
                g_assert_cmpint(read_all(fd, offset + length + 100000000, length, 1, NULL), ==,
                                -EBADMSG);
                g_assert_cmpint(read_all(fd, offset, length, 0, NULL), ==, -EBADMSG);
        }
        (void) close(fd);
        sample_done(&s);
}

/* From docs/run-file.md by hand: a head of two partitions in 64 bytes, and one block of 29 in the
 * second one. */
typedef struct Head {
        uint32_t version;
        uint32_t partitions;
        uint64_t flags;
        uint64_t index[3];
} Head;

#define GOOD_HEAD                                                                                  \
        {                                                                                          \
                .version = 1, .partitions = 2, .index = {64, 64, 93},                              \
        }

static void put_number(uint8_t *to, uint64_t n, size_t size)
{
        for (size_t i = 0; i < size; i++)
                to[i] = (uint8_t) (n >> 8 * i);
}

/* A file with this head, whose checksum is right whatever else it says. */
static int file_of_head(const Head *h)
{
        static const uint8_t block[] = {'R', 'B', 'L', 'K', 1, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0};
        static const uint8_t payload[] = {2, 1, 'k', 'y', 'v'};
        uint8_t bytes[93] = {'M', 'R', 'R', 'U', 'N', '\r', '\n', 0x1a};
        int fd = empty_file();

        put_number(bytes + 8, h->version, 4);
        put_number(bytes + 12, h->partitions, 4);
        put_number(bytes + 16, 1, 8);
        put_number(bytes + 24, h->flags, 8);
        for (size_t i = 0; i < 3; i++)
                put_number(bytes + 32 + 8 * i, h->index[i], 8);
        put_number(bytes + 56, XXH3_64bits(bytes, 56), 8);
        memcpy(bytes + 64, block, sizeof(block));
        put_number(
                bytes + 80,
                XXH3_64bits_withSeed(payload, sizeof(payload), XXH3_64bits(block, sizeof(block))),
                8);
        memcpy(bytes + 88, payload, sizeof(payload));
        g_assert_cmpint(write_full(fd, bytes, sizeof(bytes)), ==, 0);
        return fd;
}

static void check_refused(const Head *h, const char *why)
{
        int fd = file_of_head(h);

        for (uint32_t p = 0; p < 2; p++) {
                _cleanup_error_ Error e = {};
                uint64_t offset = 1, length = 2;

                g_assert_cmpint(run_file_segment(fd, 2, p, &offset, &length, &e), ==, -EBADMSG);
                g_assert_cmpstr(e.message, ==, why);
                g_assert_cmpuint(offset, ==, 1);
                g_assert_cmpuint(length, ==, 2);
        }
        (void) close(fd);
}

static void test_a_right_head_by_hand_is_believed(void)
{
        for (uint64_t flags = 0; flags <= 1; flags++) {
                Head h = GOOD_HEAD;
                uint64_t offset, length;
                int fd;

                h.flags = flags;
                fd = file_of_head(&h);
                g_assert_cmpint(run_file_segment(fd, 2, 0, &offset, &length, NULL), ==, 0);
                g_assert_cmpuint(offset, ==, 64);
                g_assert_cmpuint(length, ==, 0);
                g_assert_cmpint(run_file_segment(fd, 2, 1, &offset, &length, NULL), ==, 0);
                g_assert_cmpuint(offset, ==, 64);
                g_assert_cmpuint(length, ==, 29);
                g_assert_cmpint(read_all(fd, offset, length, 1, NULL), ==, 0);
                (void) close(fd);
        }
}

/* What a later version or a hostile worker could send: the checksum says nothing of what it is
 * of. */
static void test_hostile_heads_with_right_checksums_are_refused(void)
{
        Head h = GOOD_HEAD;

        h.version = 2;
        check_refused(&h, "a run file of version 2, which is unknown");
        h.version = 0;
        check_refused(&h, "a run file of version 0, which is unknown");

        h = (Head) GOOD_HEAD;
        h.flags = 2;
        check_refused(&h, "a run file with flags 0x2, some of them unknown");
        h.flags = UINT64_C(1) << 63 | 1;
        check_refused(&h, "a run file with flags 0x8000000000000001, some of them unknown");

        h = (Head) GOOD_HEAD;
        h.partitions = 3;
        check_refused(&h, "a run file of 3 partitions, not of 2");
        h.partitions = 0;
        check_refused(&h, "a run file of 0 partitions, not of 2");
}

static void test_an_index_that_falls_or_leaves_the_file_is_refused(void)
{
        static const struct {
                uint64_t index[3];
                const char *why;
        } cases[] = {
                {{64, 93, 92}, "a run file of 93 bytes with a partition at 92, behind one at 93"},
                {{93, 64, 93}, "a run file of 93 bytes with a partition at 64, behind one at 93"},
                {{63, 64, 93}, "a run file of 93 bytes with a partition at 63, behind one at 64"},
                {{0, 64, 93}, "a run file of 93 bytes with a partition at 0, behind one at 64"},
                {{64, 64, 94}, "a run file of 93 bytes with a partition at 94, behind one at 64"},
                {{64, 64, UINT64_MAX},
                 "a run file of 93 bytes with a partition at 18446744073709551615, behind one at "
                 "64"},
                {{UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_C(1) << 63},
                 "a run file of 93 bytes with a partition at 9223372036854775808, behind one at "
                 "64"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Head h = GOOD_HEAD;

                memcpy(h.index, cases[i].index, sizeof(h.index));
                check_refused(&h, cases[i].why);
        }
}

/* Blocks with a right checksum and wrong content: what a hostile worker could send. */
static void test_hostile_blocks_with_right_checksums_are_refused(void)
{
        int refused = 0;

        for (int round = 0; round < 20000; round++) {
                uint8_t bytes[200] = {'R', 'B', 'L', 'K'};
                uint32_t size = (uint32_t) g_test_rand_int_range(0, 150);
                uint32_t count = (uint32_t) g_test_rand_int_range(0, 8);
                int fd = empty_file(), r;
                uint64_t sum;

                for (size_t i = 24; i < sizeof(bytes); i++)
                        bytes[i] = (uint8_t) (g_test_rand_bit() ? g_test_rand_int_range(0, 12)
                                                                : g_test_rand_int_range(0, 256));
                size = GUINT32_TO_LE(size);
                count = GUINT32_TO_LE(count);
                memcpy(bytes + 8, &size, 4);
                memcpy(bytes + 12, &count, 4);
                sum = GUINT64_TO_LE(XXH3_64bits_withSeed(bytes + 24, size, XXH3_64bits(bytes, 16)));
                memcpy(bytes + 16, &sum, 8);
                g_assert_cmpint(write_full(fd, bytes, 24 + size), ==, 0);
                r = read_all(fd, 0, 24 + size, BLOCK_ANY_PARTITION, NULL);
                g_assert_true(r == 0 || r == -EBADMSG);
                refused += r < 0;
                (void) close(fd);
        }
        g_assert_cmpint(refused, >, 15000);
}

static void test_numbers_over_64_bits_are_refused(void)
{
        uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
        uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
        uint8_t put[VARINT_MAX_BYTES];
        uint64_t n = 0;

        g_assert_cmpuint(varint_get(most, most + 10, &n), ==, 10);
        g_assert_cmpuint(n, ==, UINT64_MAX);
        g_assert_cmpuint(varint_put(put, UINT64_MAX), ==, 10);
        g_assert_cmpmem(put, 10, most, 10);
        g_assert_cmpuint(varint_get(over, over + 10, &n), ==, 0);
        g_assert_cmpuint(varint_get(most, most + 9, &n), ==, 0);
        g_assert_cmpuint(varint_put(put, 300), ==, 2); /* Protocol Buffers' own example: ac 02 */
        g_assert_cmpuint(put[0], ==, 0xac);
        g_assert_cmpuint(put[1], ==, 0x02);
}

/* By whatever instructions: sums are part of the format. */
static void test_a_block_sum_is_xxh3_of_any_size(void)
{
        g_autofree uint8_t *bytes = g_malloc(BLOCK_BYTES + 64);

        for (size_t i = 0; i < BLOCK_BYTES + 64; i++)
                bytes[i] = (uint8_t) g_test_rand_int();
        for (size_t size = 0; size <= BLOCK_BYTES; size += size < 2000 ? 1 : size / 7) {
                const uint8_t *at = bytes + g_test_rand_int_range(0, 64);
                uint64_t seed = (uint64_t) g_test_rand_int() << 32 | (uint32_t) g_test_rand_int();

                g_assert_cmpuint(block_sum(at, size, seed), ==,
                                 XXH3_64bits_withSeed(at, size, seed));
        }
}

#define ADD(claim, function) g_test_add_func("/records/run-file/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("what-was-written-is-read-from-any-file-and-offset",
            test_what_was_written_is_read_from_any_file_and_offset);
        ADD("a-codec-may-change-from-block-to-block", test_a_codec_may_change_from_block_to_block);
        ADD("a-codec-that-is-not-there-leaves-blocks-plain",
            test_a_codec_that_is_not_there_leaves_blocks_plain);
        ADD("partitions-may-be-empty", test_partitions_may_be_empty);
        ADD("the-bytes-are-those-of-the-specification",
            test_the_bytes_are_those_of_the_specification);
        ADD("a-block-sum-is-xxh3-of-any-size", test_a_block_sum_is_xxh3_of_any_size);
        ADD("every-flipped-bit-is-noticed", test_every_flipped_bit_is_noticed);
        ADD("a-truncated-file-is-bad-at-every-length",
            test_a_truncated_file_is_bad_at_every_length);
        ADD("a-right-head-by-hand-is-believed", test_a_right_head_by_hand_is_believed);
        ADD("hostile-heads-with-right-checksums-are-refused",
            test_hostile_heads_with_right_checksums_are_refused);
        ADD("an-index-that-falls-or-leaves-the-file-is-refused",
            test_an_index_that_falls_or_leaves_the_file_is_refused);
        ADD("hostile-blocks-with-right-checksums-are-refused",
            test_hostile_blocks_with_right_checksums_are_refused);
        ADD("numbers-over-64-bits-are-refused", test_numbers_over_64_bits_are_refused);
        return g_test_run();
}

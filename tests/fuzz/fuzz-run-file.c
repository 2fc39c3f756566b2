/*
 * Run files and their blocks. The first byte says how the input is read: as it is, as a file whose
 * head is given a right magic and checksum, or as the payload of a block whose header is made
 * right, since no mutation guesses a checksum. What is not of this version is refused, and a
 * segment lies within its file. Records lie within the bytes that were read, and reading ends. Such
 * a payload as many runs is also sorted again in memory: in order, with all its records as often as
 * there are runs, or with an error.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "records/resort.h"
#include "records/run-file.h"

#define RECORDS_MAX ((size_t) 1 << 20)
#define SORT_AGAIN_BYTES KIB(64) /* small, so that some do not fit */

static int file_of(const void *data, size_t size)
{
        int fd = memfd_create("fuzz", MFD_CLOEXEC);

        CLAIM(fd >= 0);
        CLAIM(block_pwrite(fd, data, size, 0) == 0);
        return fd;
}

/* Return: how many records; -1 when they are malformed. */
static ssize_t read_blocks(int fd, uint64_t offset, uint64_t length, uint64_t partition)
{
        Error e = {};
        BlockCursor c;
        Record record;
        size_t count = 0;
        int r;

        block_cursor_init(&c, fd, offset, length, partition, NULL);
        while ((r = block_cursor_next(&c, &record, &e)) > 0) {
                CLAIM(record.key_size <= RECORD_MAX_BYTES);
                CLAIM(record.value_size <= RECORD_MAX_BYTES);
                CLAIM(partition == BLOCK_ANY_PARTITION || record.partition == partition);
                (void) XXH3_64bits(record.key, record.key_size);
                (void) XXH3_64bits(record.value, record.value_size);
                if (++count > RECORDS_MAX)
                        break;
        }
        CLAIM(r >= 0 || e.message);
        block_cursor_done(&c);
        error_done(&e);
        return r < 0 ? -1 : (ssize_t) count;
}

/* The same, many at a time. */
static size_t read_spans(RecordStream *stream)
{
        size_t count = 0;
        RecordSpan span;

        while (stream->span(stream, &span) > 0)
                for (size_t i = 0; i < span.count; i++, count++) {
                        Record record = span_record(&span, i);

                        if (i > 0)
                                CLAIM(key_compare(span_at(&span, i - 1), span.key_size, record.key,
                                                  record.key_size) <= 0);
                        (void) XXH3_64bits(record.value, record.value_size);
                }
        return count;
}

/* Records in order, though those of the runs need not be. */
static size_t read_sorted(RecordStream *stream)
{
        const uint8_t *before = NULL;
        size_t before_size = 0, count = 0;
        Record record;

        if (stream->span)
                return read_spans(stream);
        while (stream->next(stream, &record) > 0) {
                CLAIM(!before ||
                      key_compare(before, before_size, record.key, record.key_size) <= 0);
                (void) XXH3_64bits(record.value, record.value_size);
                before = record.key; /* they stay where they are */
                before_size = record.key_size;
                count++;
        }
        return count;
}

static void sort_again(int fd, size_t length, ssize_t count)
{
        Segment segment = {.fd = fd, .length = length};
        Error e = {};
        Resort *again = NULL;
        ssize_t added = 0;
        int r = 1;

        CLAIM(resort_new(SORT_AGAIN_BYTES, 0, NULL, &again) == 0);
        for (size_t i = 0; i < RESORT_RUNS_MIN && r > 0; i++) {
                r = resort_add(again, &segment, &e);
                added += r > 0;
        }
        CLAIM((r < 0) == (count < 0));
        CLAIM(r >= 0 || (e.message && added == 0));
        if (count >= 0)
                CLAIM(read_sorted(resort_sorted(again)) == (size_t) (added * count));
        resort_free(again);
        error_done(&e);
}

/* docs/run-file.md: the version at 8, flags at 24, R + 1 offsets from 32 on, then XXH3 of all
 * these. */
static void mend_head(uint8_t *file, size_t size, uint32_t partitions)
{
        static const uint8_t magic[] = {'M', 'R', 'R', 'U', 'N', '\r', '\n', 0x1a};
        size_t sum_at = 32 + 8 * ((size_t) partitions + 1);
        uint64_t sum;

        if (size < sum_at + sizeof(sum))
                return;
        memcpy(file, magic, sizeof(magic));
        sum = GUINT64_TO_LE(XXH3_64bits(file, sum_at));
        memcpy(file + sum_at, &sum, sizeof(sum));
}

static void check_believed(const uint8_t *file, size_t size, uint32_t partitions)
{
        uint32_t version, count;
        uint64_t flags;

        CLAIM(size >= 40 + 8 * ((size_t) partitions + 1));
        memcpy(&version, file + 8, sizeof(version));
        memcpy(&count, file + 12, sizeof(count));
        memcpy(&flags, file + 24, sizeof(flags));
        CLAIM(GUINT32_FROM_LE(version) == 1);
        CLAIM(GUINT32_FROM_LE(count) == partitions);
        CLAIM(GUINT64_FROM_LE(flags) <= 1);
}

static void try_file(const uint8_t *data, size_t size, uint32_t partitions)
{
        int fd = file_of(data, size);

        for (uint32_t p = 0; p < partitions; p++) {
                uint64_t offset, length;
                Error e = {};

                if (run_file_segment(fd, partitions, p, &offset, &length, &e) == 0) {
                        check_believed(data, size, partitions);
                        CLAIM(offset <= size && length <= size - offset);
                        (void) read_blocks(fd, offset, length, p);
                } else
                        CLAIM(e.message);
                error_done(&e);
        }
        (void) read_blocks(fd, 0, size, BLOCK_ANY_PARTITION);
        (void) close(fd);
}

static void try_mended(const uint8_t *data, size_t size, uint32_t partitions)
{
        uint8_t *copy = malloc(size > 0 ? size : 1);

        CLAIM(copy);
        memcpy(copy, data, size);
        mend_head(copy, size, partitions);
        try_file(copy, size, partitions);
        free(copy);
}

/* docs/run-file.md: magic, partition, payload bytes, records, then XXH3 of these and the
 * payload. */
static void try_payload(const uint8_t *data, size_t size, uint32_t magic)
{
        uint8_t *block;
        uint32_t head[4];
        ssize_t count;
        uint64_t sum;
        int fd;

        if (size < 2)
                return;
        head[0] = GUINT32_TO_LE(magic);
        head[1] = 0;
        head[2] = GUINT32_TO_LE((uint32_t) (size - 2));
        head[3] = GUINT32_TO_LE((uint32_t) (data[0] | data[1] << 8));
        sum = XXH3_64bits(head, sizeof(head));
        sum = GUINT64_TO_LE(XXH3_64bits_withSeed(data + 2, size - 2, sum));
        block = malloc(BLOCK_HEADER_BYTES + size);
        CLAIM(block);
        memcpy(block, head, sizeof(head));
        memcpy(block + sizeof(head), &sum, sizeof(sum));
        memcpy(block + BLOCK_HEADER_BYTES, data + 2, size - 2);
        fd = file_of(block, BLOCK_HEADER_BYTES + size - 2);
        count = read_blocks(fd, 0, BLOCK_HEADER_BYTES + size - 2, 0);
        if (magic == BLOCK_MAGIC && count <= (ssize_t) RECORDS_MAX)
                sort_again(fd, BLOCK_HEADER_BYTES + size - 2, count);
        (void) close(fd);
        free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint32_t magics[] = {BLOCK_MAGIC, BLOCK_MAGIC_LZ4, BLOCK_MAGIC_ZSTD};

        if (size == 0)
                return 0;
        if (data[0] & 1)
                try_payload(data + 1, size - 1, magics[(data[0] >> 1) % 3]);
        else if (data[0] & 2)
                try_mended(data + 1, size - 1, 1 + (data[0] >> 2) % 8u);
        else
                try_file(data + 1, size - 1, 1 + (data[0] >> 2) % 8u);
        return 0;
}

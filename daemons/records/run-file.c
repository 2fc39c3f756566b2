/*
 * Run files — see run-file.h.
 */
#include <inttypes.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "records/run-file.h"

/* The line ends catch a transfer that "repairs" text, as in PNG's signature. */
static const uint8_t run_magic[8] = {'M', 'R', 'R', 'U', 'N', '\r', '\n', 0x1a};

typedef struct RunHeader {
        uint8_t magic[8];
        uint32_t version;
        uint32_t partitions;
        uint64_t records;
        uint64_t flags; /* RUN_FILE_… */
} RunHeader;

#define RUN_FILE_UNSORTED 1u

_Static_assert(sizeof(RunHeader) == 32, "the header has no padding");

struct RunWriter {
        BlockWriter blocks;
        uint64_t *index; /* partitions + 1 */
        uint64_t records;
        uint32_t partitions;
        uint64_t flags;
        uint32_t open; /* the partition being written; index[0..open] are known */
};

/* Header, index and their checksum. */
static size_t head_size(uint32_t partitions)
{
        return sizeof(RunHeader) + ((size_t) partitions + 1) * sizeof(uint64_t) + sizeof(uint64_t);
}

int run_writer_new(int fd, uint32_t partitions, RunWriter **ret)
{
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        int r;

        if (partitions == 0 || partitions > RECORD_MAX_PARTITIONS)
                return -EINVAL;
        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->partitions = partitions;
        w->index = calloc((size_t) partitions + 1, sizeof(uint64_t));
        if (!w->index)
                return -ENOMEM;
        r = block_writer_init(&w->blocks, fd, head_size(partitions));
        if (r < 0)
                return r;
        w->index[0] = head_size(partitions);
        *ret = TAKE_PTR(w);
        return 0;
}

void run_writer_set_unsorted(RunWriter *w)
{
        w->flags |= RUN_FILE_UNSORTED;
}

int run_writer_set_codec(RunWriter *w, BlockCodec codec, Error *e)
{
        return block_writer_set_codec(&w->blocks, codec, e);
}

static int writer_advance(RunWriter *w, uint32_t partition)
{
        int r;

        assert(partition >= w->open && partition <= w->partitions);
        r = block_writer_close_block(&w->blocks);
        if (r < 0)
                return r;
        while (w->open < partition)
                w->index[++w->open] = w->blocks.offset;
        return 0;
}

int run_writer_add(RunWriter *w, const Record *record)
{
        int r;

        if (record->partition != w->open) {
                r = writer_advance(w, record->partition);
                if (r < 0)
                        return r;
        }
        w->records++;
        return block_writer_add(&w->blocks, record);
}

int run_writer_add_span(RunWriter *w, const RecordSpan *span)
{
        int r;

        if (span->partition != w->open) {
                r = writer_advance(w, span->partition);
                if (r < 0)
                        return r;
        }
        w->records += span->count;
        return block_writer_add_span(&w->blocks, span);
}

int run_writer_finish(RunWriter *w, uint64_t *ret_size_bytes)
{
        size_t size = head_size(w->partitions), at = sizeof(RunHeader);
        _cleanup_free_ uint8_t *head = NULL;
        RunHeader h = {
                .version = GUINT32_TO_LE(RUN_FILE_VERSION),
                .partitions = GUINT32_TO_LE(w->partitions),
                .records = GUINT64_TO_LE(w->records),
                .flags = GUINT64_TO_LE(w->flags),
        };
        uint64_t word;
        int r;

        r = writer_advance(w, w->partitions);
        if (r >= 0)
                r = block_writer_flush(&w->blocks);
        if (r < 0)
                return r;
        head = malloc(size);
        if (!head)
                return -ENOMEM;
        memcpy(h.magic, run_magic, sizeof(run_magic));
        memcpy(head, &h, sizeof(h));
        for (size_t i = 0; i <= w->partitions; i++, at += sizeof(word)) {
                word = GUINT64_TO_LE(w->index[i]);
                memcpy(head + at, &word, sizeof(word));
        }
        word = GUINT64_TO_LE(XXH3_64bits(head, at));
        memcpy(head + at, &word, sizeof(word));

        r = block_pwrite(w->blocks.fd, head, size, 0);
        if (r < 0)
                return r;
        *ret_size_bytes = w->blocks.offset;
        return 0;
}

RunWriter *run_writer_free(RunWriter *w)
{
        if (!w)
                return NULL;
        block_writer_done(&w->blocks);
        free(w->index);
        free(w);
        return NULL;
}

static int read_head(int fd, uint32_t partitions, uint8_t **ret, Error *e)
{
        size_t size = head_size(partitions);
        _cleanup_free_ uint8_t *head = NULL;
        uint64_t word;
        RunHeader h;
        ssize_t n;

        head = malloc(size);
        if (!head)
                return -ENOMEM;
        n = pread_full(fd, head, size, 0);
        if (n < 0)
                return error_setf(e, (int) n, "cannot read a run file: %s", error_text((int) n));
        if ((size_t) n < sizeof(h) || memcmp(head, run_magic, sizeof(run_magic)) != 0)
                return error_setf(e, EBADMSG, "not a run file");
        memcpy(&h, head, sizeof(h));
        if (GUINT32_FROM_LE(h.version) != RUN_FILE_VERSION)
                return error_setf(e, EBADMSG, "a run file of version %u, which is unknown",
                                  GUINT32_FROM_LE(h.version));
        if ((GUINT64_FROM_LE(h.flags) & ~(uint64_t) RUN_FILE_UNSORTED) != 0)
                return error_setf(e, EBADMSG,
                                  "a run file with flags %#" PRIx64 ", some of them unknown",
                                  GUINT64_FROM_LE(h.flags));
        if (GUINT32_FROM_LE(h.partitions) != partitions)
                return error_setf(e, EBADMSG, "a run file of %u partitions, not of %u",
                                  GUINT32_FROM_LE(h.partitions), partitions);
        if ((size_t) n < size)
                return error_setf(e, EBADMSG, "a run file that ends in its index");
        memcpy(&word, head + size - sizeof(word), sizeof(word));
        if (GUINT64_FROM_LE(word) != XXH3_64bits(head, size - sizeof(word)))
                return error_setf(e, EBADMSG, "a run file whose index has a wrong checksum");
        *ret = TAKE_PTR(head);
        return 0;
}

int run_file_index(int fd, uint32_t partitions, uint64_t **ret, Error *e)
{
        _cleanup_free_ uint8_t *head = NULL;
        uint64_t *bounds, least = head_size(partitions);
        struct stat st;
        int r;

        if (partitions == 0 || partitions > RECORD_MAX_PARTITIONS)
                return error_setf(e, EINVAL, "no run file has %u partitions", partitions);
        r = read_head(fd, partitions, &head, e);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return error_setf(e, errno, "cannot stat a run file: %s", error_text(errno));
        memmove(head, head + sizeof(RunHeader), (partitions + 1) * sizeof(uint64_t));
        bounds = (uint64_t *) (void *) head;
        for (uint32_t i = 0; i <= partitions; i++) {
                bounds[i] = GUINT64_FROM_LE(bounds[i]);
                if (bounds[i] < least || bounds[i] > (uint64_t) st.st_size)
                        return error_setf(e, EBADMSG,
                                          "a run file of %" PRIu64 " bytes with a partition at "
                                          "%" PRIu64 ", behind one at %" PRIu64,
                                          (uint64_t) st.st_size, bounds[i], least);
                least = bounds[i];
        }
        *ret = (uint64_t *) (void *) TAKE_PTR(head);
        return 0;
}

int run_file_segment(int fd, uint32_t partitions, uint32_t partition, uint64_t *ret_offset,
                     uint64_t *ret_length, Error *e)
{
        _cleanup_free_ uint64_t *bounds = NULL;
        int r;

        if (partition >= partitions)
                return error_setf(e, EINVAL, "no partition %u of %u", partition, partitions);
        r = run_file_index(fd, partitions, &bounds, e);
        if (r < 0)
                return r;
        *ret_offset = bounds[partition];
        *ret_length = bounds[partition + 1] - bounds[partition];
        return 0;
}

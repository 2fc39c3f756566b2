/*
 * Blocks — see block.h.
 */
#include <inttypes.h>

#include "base/fs.h"
#include "records/block.h"
#include "records/block-sum.h"
#include "records/codec-module.h"

#define RECORD_HEADER_MAX (2 * VARINT_MAX_BYTES)

typedef struct BlockHeader {
        uint32_t magic;
        uint32_t partition;
        uint32_t payload_bytes;
        uint32_t count;
        uint64_t checksum; /* of the 16 bytes above and the payload */
} BlockHeader;

_Static_assert(sizeof(BlockHeader) == BLOCK_HEADER_BYTES, "the header has no padding");
_Static_assert(2 * RECORD_MAX_BYTES + RECORD_HEADER_MAX <= UINT32_MAX, "payload_bytes is 32 bits");

static void header_fill(BlockHeader *h, uint32_t magic, uint32_t partition, size_t payload_bytes,
                        uint32_t count)
{
        *h = (BlockHeader){
                .magic = GUINT32_TO_LE(magic),
                .partition = GUINT32_TO_LE(partition),
                .payload_bytes = GUINT32_TO_LE((uint32_t) payload_bytes),
                .count = GUINT32_TO_LE(count),
        };
}

static uint64_t block_checksum(const BlockHeader *h, const void *payload, size_t size)
{
        uint64_t seed = XXH3_64bits(h, offsetof(BlockHeader, checksum));

        return block_sum(payload, size, seed);
}

int block_pwrite(int fd, const void *bytes, size_t size, uint64_t offset)
{
        const uint8_t *data = bytes;

        while (size > 0) {
                ssize_t n = pwrite(fd, data, size, (off_t) offset);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                data += n;
                size -= (size_t) n;
                offset += (uint64_t) n;
        }
        return 0;
}

int block_writer_init(BlockWriter *w, int fd, uint64_t offset)
{
        uint8_t *buffer = malloc(BLOCK_WRITE_BYTES + BLOCK_BYTES);

        if (!buffer)
                return -ENOMEM;
        *w = (BlockWriter){
                .fd = fd,
                .offset = offset,
                .buffer = buffer,
                .used = BLOCK_HEADER_BYTES,
        };
        return 0;
}

void block_writer_done(BlockWriter *w)
{
        free(w->buffer);
        if (w->packer)
                w->codecs->block_packer_free(w->packer);
        *w = (BlockWriter){.fd = -EBADF};
}

int block_writer_set_codec(BlockWriter *w, BlockCodec codec, Error *e)
{
        const CodecModule *codecs = w->codecs;
        BlockPacker *packer = NULL;
        int r;

        if (codec == w->codec)
                return 0;
        if (codec != BLOCK_PLAIN) {
                r = codec_module_get(&codecs, e);
                if (r >= 0)
                        r = codecs->block_packer_new(codec, BLOCK_HEADER_BYTES, &packer);
                if (r < 0)
                        return r;
        }
        if (w->packer)
                w->codecs->block_packer_free(w->packer);
        w->codec = codec;
        w->codecs = codecs;
        w->packer = packer;
        return 0;
}

/* Writes @size bytes of the closed blocks, and moves the rest of them to the front; no block is
 * open. */
static int write_closed(BlockWriter *w, size_t size)
{
        int r;

        if (size == 0)
                return 0;
        r = block_pwrite(w->fd, w->buffer, size, w->offset - w->open);
        if (r < 0)
                return r;
        memmove(w->buffer, w->buffer + size, w->open - size);
        w->open -= size;
        w->used = w->open + BLOCK_HEADER_BYTES;
        return 0;
}

static int write_aligned(BlockWriter *w)
{
        uint64_t begin = w->offset - w->open;

        if (w->open < BLOCK_WRITE_BYTES)
                return 0;
        return write_closed(w, (w->offset & ~(BLOCK_WRITE_ALIGN_BYTES - 1)) - begin);
}

/* The payload of the open block as it is stored, in its place. Return: its magic. */
static uint32_t writer_pack(BlockWriter *w, size_t *payload_bytes)
{
        uint8_t *payload = w->buffer + w->open + BLOCK_HEADER_BYTES, *packed;
        size_t packed_bytes;

        if (w->codec == BLOCK_PLAIN)
                return BLOCK_MAGIC;
        packed_bytes = w->codecs->block_pack(w->packer, payload, *payload_bytes, &packed);
        if (packed_bytes == 0)
                return BLOCK_MAGIC;
        memcpy(payload, packed + BLOCK_HEADER_BYTES, packed_bytes);
        *payload_bytes = packed_bytes;
        return w->codec == BLOCK_LZ4 ? BLOCK_MAGIC_LZ4 : BLOCK_MAGIC_ZSTD;
}

int block_writer_close_block(BlockWriter *w)
{
        size_t payload_bytes = w->used - w->open - BLOCK_HEADER_BYTES;
        uint8_t *block = w->buffer + w->open;
        uint32_t magic;
        BlockHeader h;

        if (w->count == 0)
                return 0;
        magic = writer_pack(w, &payload_bytes);
        header_fill(&h, magic, w->partition, payload_bytes, w->count);
        h.checksum = GUINT64_TO_LE(block_checksum(&h, block + BLOCK_HEADER_BYTES, payload_bytes));
        memcpy(block, &h, sizeof(h));
        w->offset += BLOCK_HEADER_BYTES + payload_bytes;
        w->open += BLOCK_HEADER_BYTES + payload_bytes;
        w->used = w->open + BLOCK_HEADER_BYTES;
        w->count = 0;
        return write_aligned(w);
}

int block_writer_flush(BlockWriter *w)
{
        int r;

        r = block_writer_close_block(w);
        return r < 0 ? r : write_closed(w, w->open);
}

/* Written from where it lies: a record of 1 GiB costs no second GiB. */
static int write_large(BlockWriter *w, const Record *record, const uint8_t *lengths,
                       size_t lengths_size)
{
        const struct {
                const uint8_t *data;
                size_t size;
        } parts[] = {
                {lengths, lengths_size},
                {record->key, record->key_size},
                {record->value, record->value_size},
        };
        size_t payload_bytes = lengths_size + record->key_size + record->value_size;
        uint64_t offset = w->offset + BLOCK_HEADER_BYTES;
        XXH3_state_t *state;
        BlockHeader h;
        int r = 0;

        state = XXH3_createState();
        if (!state)
                return -ENOMEM;
        header_fill(&h, BLOCK_MAGIC, record->partition, payload_bytes, 1);
        (void) XXH3_64bits_reset_withSeed(state, XXH3_64bits(&h, offsetof(BlockHeader, checksum)));
        for (size_t i = 0; i < ELEMENTSOF(parts) && r >= 0; i++) {
                if (parts[i].size == 0)
                        continue;
                (void) XXH3_64bits_update(state, parts[i].data, parts[i].size);
                r = block_pwrite(w->fd, parts[i].data, parts[i].size, offset);
                offset += parts[i].size;
        }
        h.checksum = GUINT64_TO_LE(XXH3_64bits_digest(state));
        (void) XXH3_freeState(state);
        if (r >= 0)
                r = block_pwrite(w->fd, &h, sizeof(h), w->offset);
        if (r >= 0)
                w->offset = offset;
        return r;
}

int block_writer_add(BlockWriter *w, const Record *record)
{
        uint8_t lengths[RECORD_HEADER_MAX];
        size_t lengths_size, size;
        uint8_t *to;
        int r;

        if (record->key_size > RECORD_MAX_BYTES || record->value_size > RECORD_MAX_BYTES)
                return -E2BIG;
        lengths_size = varint_put(lengths, record->key_size);
        lengths_size += varint_put(lengths + lengths_size, record->value_size);
        size = lengths_size + record->key_size + record->value_size;

        if (record->partition != w->partition || size > BLOCK_BYTES - (w->used - w->open)) {
                r = block_writer_close_block(w);
                if (r < 0)
                        return r;
                w->partition = record->partition;
                if (size > BLOCK_BYTES - BLOCK_HEADER_BYTES) {
                        r = block_writer_flush(w);
                        return r < 0 ? r : write_large(w, record, lengths, lengths_size);
                }
        }
        to = w->buffer + w->used;
        copy_small(to, lengths, lengths_size);
        if (record->key + record->key_size == record->value) /* one copy */
                copy_small(to + lengths_size, record->key, size - lengths_size);
        else {
                copy_small(to + lengths_size, record->key, record->key_size);
                copy_small(to + lengths_size + record->key_size, record->value, record->value_size);
        }
        w->used += size;
        w->count++;
        return 0;
}

/* A record that has a block of its own is one call each, and is not gathered with others. */
static int add_one_by_one(BlockWriter *w, const RecordSpan *span)
{
        int r = 0;

        for (size_t i = 0; i < span->count && r >= 0; i++) {
                Record record = span_record(span, i);

                r = block_writer_add(w, &record);
        }
        return r;
}

int block_writer_add_span(BlockWriter *w, const RecordSpan *span)
{
        uint8_t lengths[RECORD_HEADER_MAX];
        size_t lengths_size, size;
        int r;

        lengths_size = varint_put(lengths, span->key_size);
        lengths_size += varint_put(lengths + lengths_size, span->value_size);
        size = lengths_size + span_record_bytes(span);
        if (size > BLOCK_BYTES - BLOCK_HEADER_BYTES)
                return add_one_by_one(w, span);

        for (size_t done = 0, n; done < span->count; done += n) {
                if (span->partition != w->partition || size > BLOCK_BYTES - (w->used - w->open)) {
                        r = block_writer_close_block(w);
                        if (r < 0)
                                return r;
                        w->partition = span->partition;
                }
                n = MIN(span->count - done, (BLOCK_BYTES - (w->used - w->open)) / size);
                span_copy(span, done, n, lengths, lengths_size, w->buffer + w->used);
                w->used += n * size;
                w->count += (uint32_t) n;
        }
        return 0;
}

int block_writer_add_all(BlockWriter *w, RecordStream *stream)
{
        RecordSpan span;
        Record record;
        int r;

        if (stream->span)
                while ((r = stream->span(stream, &span)) > 0) {
                        r = block_writer_add_span(w, &span);
                        if (r < 0)
                                return r;
                }
        else
                while ((r = stream->next(stream, &record)) > 0) {
                        r = block_writer_add(w, &record);
                        if (r < 0)
                                return r;
                }
        return r;
}

void block_cursor_init(BlockCursor *c, int fd, uint64_t offset, uint64_t length,
                       uint64_t want_partition, const Ticker *ticker)
{
        *c = (BlockCursor){
                .fd = fd,
                .offset = offset,
                .end = length <= UINT64_MAX - offset ? offset + length : UINT64_MAX,
                .want_partition = want_partition,
                .ticker = ticker,
        };
}

void block_cursor_init_memory(BlockCursor *c, uint8_t *bytes, uint64_t offset, size_t length,
                              uint64_t want_partition)
{
        block_cursor_init(c, -EBADF, offset, length, want_partition, NULL);
        c->buffer = bytes;
        c->in_memory = true;
        c->capacity = c->filled = length;
}

void block_cursor_done(BlockCursor *c)
{
        if (!c->in_memory)
                free(c->buffer);
        if (c->unpacker)
                c->codecs->block_unpacker_free(c->unpacker);
        *c = (BlockCursor){.fd = -EBADF};
}

/* Has the buffer hold @size bytes from the open block's start on; @fresh_at is where that is in the
 * file. */
static int cursor_fill(BlockCursor *c, size_t size, uint64_t block_at, Error *e)
{
        ssize_t n;
        int r;

        if (size > c->capacity) {
                uint8_t *grown = realloc(c->buffer, size + BLOCK_PADDING);

                if (!grown)
                        return error_setf(e, ENOMEM, "no memory for a block of %zu bytes", size);
                c->buffer = grown;
                c->capacity = size;
        }
        n = pread_full(c->fd, c->buffer + c->filled, size - c->filled, block_at + c->filled);
        if (n < 0)
                return error_setf(e, (int) n, "cannot read at offset %" PRIu64 ": %s",
                                  block_at + c->filled, error_text((int) n));
        c->filled += (size_t) n;
        if (c->filled < size)
                return error_setf(e, EBADMSG,
                                  "the file ends in the block at offset %" PRIu64 ": truncated",
                                  block_at);
        r = ticker_tick(c->ticker, (uint64_t) n);
        return MIN(r, 0);
}

static int check_header(const BlockCursor *c, const BlockHeader *h, uint64_t at, Error *e)
{
        uint32_t payload_bytes = GUINT32_FROM_LE(h->payload_bytes),
                 count = GUINT32_FROM_LE(h->count);

        if (GUINT32_FROM_LE(h->magic) != BLOCK_MAGIC &&
            GUINT32_FROM_LE(h->magic) != BLOCK_MAGIC_LZ4 &&
            GUINT32_FROM_LE(h->magic) != BLOCK_MAGIC_ZSTD)
                return error_setf(e, EBADMSG, "no block at offset %" PRIu64 ": wrong magic", at);
        if (payload_bytes > c->end - at - BLOCK_HEADER_BYTES)
                return error_setf(e, EBADMSG,
                                  "the block at offset %" PRIu64 " is longer than its segment", at);
        if (GUINT32_FROM_LE(h->magic) != BLOCK_MAGIC && payload_bytes > BLOCK_RAW_MAX)
                return error_setf(e, EBADMSG,
                                  "the compressed block at offset %" PRIu64 " has %u bytes, more "
                                  "than a block can need",
                                  at, payload_bytes);
        /* A record has at least its two length bytes. */
        if (count == 0 || (GUINT32_FROM_LE(h->magic) == BLOCK_MAGIC && count > payload_bytes / 2))
                return error_setf(e, EBADMSG,
                                  "the block at offset %" PRIu64 " counts %u records in %u bytes",
                                  at, count, payload_bytes);
        if (c->want_partition != BLOCK_ANY_PARTITION &&
            GUINT32_FROM_LE(h->partition) != c->want_partition)
                return error_setf(e, EBADMSG,
                                  "the block at offset %" PRIu64
                                  " is of partition %u, not of %" PRIu64,
                                  at, GUINT32_FROM_LE(h->partition), c->want_partition);
        return 0;
}

/* Moves what was read beyond the last block to the front; usually nothing, for blocks are read
 * whole. */
static void cursor_drop_block(BlockCursor *c)
{
        if (c->in_memory) {
                c->buffer += c->block_end;
                c->capacity -= c->block_end;
        } else if (c->block_end < c->filled)
                memmove(c->buffer, c->buffer + c->block_end, c->filled - c->block_end);
        c->filled -= c->block_end;
        c->block_end = 0;
}

/* Checked already: the checksum is of what is stored. It says nothing of who wrote it. */
static int cursor_unpack(BlockCursor *c, const BlockHeader *h, uint64_t at, Error *e)
{
        BlockCodec codec = GUINT32_FROM_LE(h->magic) == BLOCK_MAGIC_LZ4 ? BLOCK_LZ4 : BLOCK_ZSTD;
        size_t raw_bytes;
        int r;

        if (!c->unpacker) {
                r = codec_module_get(&c->codecs, e);
                if (r < 0)
                        return r;
                r = c->codecs->block_unpacker_new(BLOCK_PADDING, &c->unpacker);
                if (r < 0)
                        return error_setf(e, r, "no memory to unpack a block");
        }
        r = c->codecs->block_unpack(c->unpacker, codec, c->at, (size_t) (c->records_end - c->at),
                                    &c->at, &raw_bytes);
        if (r == -ENOMEM)
                return error_setf(e, r, "no memory to unpack a block");
        if (r < 0 || c->left > raw_bytes / 2)
                return error_setf(e, EBADMSG,
                                  "the compressed block at offset %" PRIu64 " is malformed", at);
        c->records_end = c->at + raw_bytes;
        return 0;
}

static int cursor_load_block(BlockCursor *c, Error *e)
{
        uint64_t at = c->offset, remaining = c->end - at;
        size_t size, payload_bytes;
        BlockHeader h;
        int r;

        cursor_drop_block(c);
        if (remaining < BLOCK_HEADER_BYTES)
                return error_setf(e, EBADMSG,
                                  "%" PRIu64 " stray bytes at offset %" PRIu64 ": no whole block",
                                  remaining, at);
        /* A small segment is one read; a large one is read a header and a payload at a time. */
        size = remaining <= BLOCK_BYTES ? (size_t) remaining : BLOCK_HEADER_BYTES;
        if (c->filled < size) {
                r = cursor_fill(c, size, at, e);
                if (r < 0)
                        return r;
        }
        memcpy(&h, c->buffer, sizeof(h));
        r = check_header(c, &h, at, e);
        if (r < 0)
                return r;
        payload_bytes = GUINT32_FROM_LE(h.payload_bytes);
        size = BLOCK_HEADER_BYTES + payload_bytes;
        if (c->filled < size) {
                r = cursor_fill(c, size, at, e);
                if (r < 0)
                        return r;
        }
        if (block_checksum(&h, c->buffer + BLOCK_HEADER_BYTES, payload_bytes) !=
            GUINT64_FROM_LE(h.checksum))
                return error_setf(e, EBADMSG,
                                  "the block at offset %" PRIu64 " has a wrong checksum", at);
        c->partition = GUINT32_FROM_LE(h.partition);
        c->left = GUINT32_FROM_LE(h.count);
        c->at = c->buffer + BLOCK_HEADER_BYTES;
        c->records_end = c->at + payload_bytes;
        c->block_end = size;
        c->offset = at + size;
        return GUINT32_FROM_LE(h.magic) == BLOCK_MAGIC ? 0 : cursor_unpack(c, &h, at, e);
}

static int cursor_bad_record(const BlockCursor *c, Error *e)
{
        return error_setf(e, EBADMSG, "the block at offset %" PRIu64 " has a malformed record",
                          c->offset - c->block_end);
}

int block_cursor_next(BlockCursor *c, Record *ret, Error *e)
{
        const uint8_t *at, *end;
        uint64_t key_size, value_size;
        size_t n, m;
        int r;

        if (c->left == 0) {
                if (c->offset >= c->end)
                        return 0;
                r = cursor_load_block(c, e);
                if (r < 0)
                        return r;
        }
        c->record = at = c->at;
        end = c->records_end;
        n = varint_get(at, end, &key_size);
        m = n > 0 ? varint_get(at + n, end, &value_size) : 0;
        if (m == 0)
                return cursor_bad_record(c, e);
        at += n + m;
        c->lengths_size = n + m;
        if (key_size > RECORD_MAX_BYTES || value_size > RECORD_MAX_BYTES ||
            key_size + value_size > (size_t) (end - at))
                return cursor_bad_record(c, e);
        if (--c->left == 0 && at + key_size + value_size != end)
                return cursor_bad_record(c, e);

        *ret = (Record){
                .key = at,
                .key_size = key_size,
                .value = at + key_size,
                .value_size = value_size,
                .partition = c->partition,
        };
        c->at = at + key_size + value_size;
        return 1;
}

size_t block_cursor_take_alike(BlockCursor *c, size_t *ret_stride)
{
        size_t stride = (size_t) (c->at - c->record), left = c->left;

        if (left == 0 || left * stride != (size_t) (c->records_end - c->at))
                return 0;
        for (size_t i = 0; i < left; i++)
                if (memcmp(c->at + i * stride, c->record, c->lengths_size) != 0)
                        return 0;
        c->at = c->records_end;
        c->left = 0;
        *ret_stride = stride;
        return left;
}

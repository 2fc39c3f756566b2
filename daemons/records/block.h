/*
 * Blocks — records on a disk: packed, counted, checksummed, and each of one partition.
 *
 *      magic u32 | partition u32 | payload bytes u32 | records u32 | XXH3-64 u64 | payload
 *
 * A block is at most BLOCK_BYTES with its header, except that a record too large for that has a
 * block of its own size. A sequence of whole blocks can be read from any file at any offset: that
 * is a segment. docs/run-file.md is the specification.
 */
#pragma once

#include "base/error.h"
#include "records/span.h"

#define BLOCK_BYTES                                                                                \
        (256 * 1024) /* large enough for a disk's throughput, small enough for the L2 cache */
#define BLOCK_HEADER_BYTES 24
#define BLOCK_PADDING 16 /* bytes after a record of a cursor that may be read, whatever they are */
#define BLOCK_MAGIC 0x4b4c4252u      /* "RBLK" in the file */
#define BLOCK_MAGIC_LZ4 0x344c4252u  /* "RBL4" */
#define BLOCK_MAGIC_ZSTD 0x5a4c4252u /* "RBLZ" */
/* Compressed blocks are of what fits a block, so that a reader knows how much one may become. */
#define BLOCK_RAW_MAX (BLOCK_BYTES - BLOCK_HEADER_BYTES)

typedef enum BlockCodec {
        BLOCK_PLAIN,
        BLOCK_LZ4,
        BLOCK_ZSTD,
} BlockCodec;

/* Closed blocks are written together, and from one multiple of BLOCK_WRITE_ALIGN_BYTES to another:
 * a write that ends within a page makes the kernel look at that page again with the next one. */
#define BLOCK_WRITE_BYTES (512 * 1024)
#define BLOCK_WRITE_ALIGN_BYTES ((uint64_t) 64 * 1024)

typedef struct BlockWriter {
        int fd;
        uint64_t offset; /* in the file, of the open block */
        uint8_t *buffer; /* closed blocks that are not written yet, and the open one behind them */
        size_t open;     /* where that begins in the buffer */
        size_t used;     /* of it, the header's room included */
        uint32_t partition;
        uint32_t count;
        BlockCodec codec;
        const struct CodecModule *codecs;
        struct BlockPacker *packer; /* NULL: plain */
} BlockWriter;

/* Writes at @offset and on by pwrite(). Return: 0 or -ENOMEM. */
int block_writer_init(BlockWriter *w, int fd, uint64_t offset);
void block_writer_done(BlockWriter *w);

/* Blocks closed from now on are compressed where that makes them smaller. Return: 0; -ENOMEM, or
 * -ELIBACC with a message, and it goes on as before. */
int block_writer_set_codec(BlockWriter *w, BlockCodec codec, Error *e);

/**
 * block_writer_add() - append one record; a change of partition begins a new block
 *
 * Return: 0; -E2BIG above RECORD_MAX_BYTES; the errno of a write (-ENOSPC, …).
 */
int block_writer_add(BlockWriter *w, const Record *record);

/* The same for all records of @span. */
int block_writer_add_span(BlockWriter *w, const RecordSpan *span);

/* The same for all records of @stream, whose errors are returned, too. */
int block_writer_add_all(BlockWriter *w, RecordStream *stream);

/* Ends the open block, if it has a record. w->offset is then the end of all blocks. Errors as
 * above. */
int block_writer_close_block(BlockWriter *w);

/* The same, and writes what is not written yet. */
int block_writer_flush(BlockWriter *w);

/* pwrite() of all of it, through short writes and EINTR. */
int block_pwrite(int fd, const void *data, size_t size, uint64_t offset);

typedef struct BlockCursor {
        int fd;
        uint64_t offset; /* of the next block not yet in the buffer */
        uint64_t end;
        uint8_t *buffer;
        bool in_memory; /* the buffer is the caller's, and holds all of the segment */
        size_t capacity;
        size_t filled;    /* bytes in the buffer */
        size_t block_end; /* in the buffer: end of the open block */
        const struct CodecModule *codecs;
        struct BlockUnpacker *unpacker; /* NULL: none was needed yet */
        const uint8_t *at,
                *records_end;    /* the next record of the open block, and the end of its records */
        const uint8_t *record;   /* the lengths before the record that was given last */
        size_t lengths_size;     /* of these */
        uint32_t left;           /* records not yet given from the open block */
        uint32_t partition;      /* of the open block */
        uint64_t want_partition; /* UINT64_MAX: any */
        const Ticker *ticker;
} BlockCursor;

#define BLOCK_ANY_PARTITION UINT64_MAX

/**
 * block_cursor_init() - read the segment [offset, offset + length) of @fd
 * @want_partition: blocks of another partition are -EBADMSG; BLOCK_ANY_PARTITION to take all
 * @ticker:         may be NULL; told of every read
 */
void block_cursor_init(BlockCursor *c, int fd, uint64_t offset, uint64_t length,
                       uint64_t want_partition, const Ticker *ticker);
void block_cursor_done(BlockCursor *c);

/**
 * block_cursor_init_memory() - the same for a segment that was read already
 * @bytes:  @length of them, and BLOCK_PADDING that may be read; stay the caller's
 * @offset: where it was read, for what an error says
 *
 * Records are given from where they lie, except those of compressed blocks: then c->unpacker is
 * set.
 */
void block_cursor_init_memory(BlockCursor *c, uint8_t *bytes, uint64_t offset, size_t length,
                              uint64_t want_partition);

/**
 * block_cursor_next() - the next record
 * @ret: points into the cursor's buffer until the next call
 * @e:   says what is wrong, and at which offset
 *
 * Return: 1; 0 at the end; -EBADMSG for bytes that are not whole, valid blocks; the errno of a
 * read; the ticker's answer. @ret is untouched unless 1.
 */
int block_cursor_next(BlockCursor *c, Record *ret, Error *e);

/**
 * block_cursor_take_alike() - the rest of the open block, where all its records are as long as the
 * last one given
 * @ret_stride: from the beginning of each to that of the next; the last one given was at c->record
 *
 * Return: how many there are; 0 when not all are of these lengths, and then block_cursor_next()
 * goes on with them.
 */
size_t block_cursor_take_alike(BlockCursor *c, size_t *ret_stride);

/*
 * Pieces — the lines that belong to a byte range of a file.
 *
 * A file is cut without being read, so a cut falls anywhere. The rule that gives each line to
 * exactly one piece [start, end): a line is the piece's when the byte before it is; the first line
 * of a file is the piece's with start 0. So a piece begins after the first newline at or after its
 * start, and ends with the first newline at or after its end. A last line without a newline is a
 * line.
 *
 *      a a a \n b b b b b b \n c c
 *      |---- 0 ----|---- 1 ----|         piece 0: aaa bbbbbb   piece 1: cc
 *
 * Source: the rule of Hadoop's LineRecordReader, in terms of newlines.
 */
#pragma once

#include "base/error.h"
#include "records/codec.h"
#include "records/record.h"

typedef struct PieceReader {
        int fd;
        uint64_t at;       /* next byte to read */
        uint64_t begin;    /* offset of the first byte given; of the text, where it is compressed */
        uint64_t end;      /* of the piece */
        uint64_t given_at; /* of the bytes given last, which lie there as they are unless it is
                              compressed */
        uint64_t file_size;
        bool skipping; /* before the first newline */
        bool done;
        bool ends_line; /* the last byte given was a newline */
        bool fixed;     /* records of a fixed length: no line ends anywhere */
        uint64_t lines; /* given so far */
        uint64_t bytes; /* given so far */
        const Ticker *ticker;
        const struct CodecModule *codecs;
        struct Decoder *decoder; /* NULL: not compressed */
        uint8_t *packed;         /* compressed bytes that were read ahead */
        size_t packed_at, packed_size;
        bool in_stream;  /* the compressed stream has not come to its end */
        bool is_damaged; /* it cannot be unpacked: read again, it would be the same */
} PieceReader;

/**
 * piece_reader_init() - read the lines of [offset, offset + length)
 * @fd:        not owned; read by pread()
 * @file_size: as the caller has seen it; a shorter file is an error
 * @ticker:    may be NULL
 */
void piece_reader_init(PieceReader *p, int fd, uint64_t offset, uint64_t length, uint64_t file_size,
                       const Ticker *ticker);

/**
 * piece_reader_init_fixed() - read the records of @record_bytes each that begin in [offset, offset
 * + length)
 *
 * The caller has seen that the file holds whole ones. p->lines counts them.
 */
void piece_reader_init_fixed(PieceReader *p, int fd, uint64_t offset, uint64_t length,
                             uint64_t file_size, uint64_t record_bytes, const Ticker *ticker);

/* The text of a whole file that is compressed. Return: 0, -ENOMEM, or -ELIBACC with a message;
 * piece_reader_done() is needed. */
int piece_reader_init_packed(PieceReader *p, int fd, uint64_t file_size, Codec codec,
                             const Ticker *ticker, Error *e);

void piece_reader_done(PieceReader *p);

/**
 * piece_reader_read() - the next bytes of the piece's lines
 * @buffer: room for @size bytes, at least 1
 *
 * A piece in which no line begins costs reading its own length, no more.
 *
 * Return: the number of bytes, 0 at the end; -ESTALE when the file has become shorter; the errno of
 * a read, with the offset in @e; the ticker's answer.
 */
ssize_t piece_reader_read(PieceReader *p, uint8_t *buffer, size_t size, Error *e);

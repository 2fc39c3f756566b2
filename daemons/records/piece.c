/*
 * Pieces — see piece.h.
 */
#include <inttypes.h>

#include "records/codec-module.h"
#include "records/lines.h"
#include "records/piece.h"

#define PACKED_READ_BYTES ((uint64_t) 64 * 1024)
#define TAIL_READ_BYTES (64 * 1024) /* past the end of a piece there is usually less than a line */

void piece_reader_init(PieceReader *p, int fd, uint64_t offset, uint64_t length, uint64_t file_size,
                       const Ticker *ticker)
{
        *p = (PieceReader){
                .fd = fd,
                .at = offset,
                .end = MIN(length <= UINT64_MAX - offset ? offset + length : UINT64_MAX, file_size),
                .file_size = file_size,
                .skipping = offset > 0,
                .done = offset >= file_size || length == 0,
                .ends_line = true,
                .ticker = ticker,
        };
}

void piece_reader_init_fixed(PieceReader *p, int fd, uint64_t offset, uint64_t length,
                             uint64_t file_size, uint64_t record_bytes, const Ticker *ticker)
{
        uint64_t end;

        piece_reader_init(p, fd, offset, length, file_size, ticker);
        end = p->end;
        p->fixed = true;
        p->skipping = false;
        p->at = (offset + record_bytes - 1) / record_bytes * record_bytes;
        p->end = MIN((end + record_bytes - 1) / record_bytes * record_bytes, file_size);
        p->begin = p->at;
        p->done = p->done || p->at >= p->end;
        p->lines = p->done ? 0 : (p->end - p->at) / record_bytes;
}

int piece_reader_init_packed(PieceReader *p, int fd, uint64_t file_size, Codec codec,
                             const Ticker *ticker, Error *e)
{
        int r;

        piece_reader_init(p, fd, 0, file_size, file_size, ticker);
        r = codec_module_get(&p->codecs, e);
        if (r < 0)
                return r;
        p->packed = malloc(PACKED_READ_BYTES);
        return p->packed ? p->codecs->decoder_new(codec, &p->decoder) : -ENOMEM;
}

void piece_reader_done(PieceReader *p)
{
        if (p->decoder)
                p->codecs->decoder_free(p->decoder);
        free(p->packed);
        *p = (PieceReader){.fd = -EBADF};
}

static ssize_t read_some(PieceReader *p, uint8_t *buffer, size_t size, Error *e)
{
        ssize_t n;
        int r;

        p->given_at = p->at;
        do
                n = pread(p->fd, buffer, size, (off_t) p->at);
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                r = -errno;
                return error_setf(e, r, "cannot read at offset %" PRIu64 ": %s", p->at,
                                  error_text(r));
        }
        if (n == 0)
                return error_setf(e, ESTALE, "the file ends at offset %" PRIu64 ", not at %" PRIu64,
                                  p->at, p->file_size);
        p->at += (uint64_t) n;
        r = ticker_tick(p->ticker, (uint64_t) n);
        return r < 0 ? r : n;
}

/* newline at or after the start, but before the end: else no line of this piece begins in it */
static ssize_t read_first(PieceReader *p, uint8_t *buffer, size_t size, Error *e)
{
        while (p->at < p->end) {
                ssize_t n = read_some(p, buffer, (size_t) MIN(size, p->end - p->at), e);
                uint8_t *newline;
                size_t rest;

                if (n < 0)
                        return n;
                newline = memchr(buffer, '\n', (size_t) n);
                if (!newline)
                        continue;
                p->skipping = false;
                rest = (size_t) (buffer + n - (newline + 1));
                p->begin = p->at - rest;
                p->given_at = p->begin;
                if (rest > 0) {
                        memmove(buffer, newline + 1, rest);
                        return (ssize_t) rest;
                }
                break;
        }
        if (p->skipping)
                p->done = true;
        return 0;
}

/* The rest of the line that crosses the end, or the line that begins there. */
static ssize_t read_tail(PieceReader *p, uint8_t *buffer, size_t size, Error *e)
{
        size_t want = (size_t) MIN(MIN(size, TAIL_READ_BYTES), p->file_size - p->at);
        uint8_t *newline;
        ssize_t n;

        if (want == 0) {
                p->done = true;
                return 0;
        }
        n = read_some(p, buffer, want, e);
        if (n < 0)
                return n;
        newline = memchr(buffer, '\n', (size_t) n);
        if (newline) {
                p->done = true;
                return newline + 1 - buffer;
        }
        return n;
}

static int packed_failed(PieceReader *p, int r, Error *e)
{
        uint64_t at = p->at - (p->packed_size - p->packed_at);

        p->is_damaged = r != -ENOMEM;
        if (r == -E2BIG)
                return error_setf(e, r, "unpacking it needs more than %d MiB of memory",
                                  (int) (DECODER_MEMORY_MAX / MIB(1)));
        if (r == -ENOMEM)
                return r;
        return error_setf(e, r,
                          "the compressed data is damaged or of another kind, near offset %" PRIu64,
                          at);
}

static int read_packed(PieceReader *p, Error *e)
{
        ssize_t n;

        if (p->packed_at < p->packed_size || p->at == p->file_size)
                return 0;
        n = read_some(p, p->packed, (size_t) MIN(PACKED_READ_BYTES, p->file_size - p->at), e);
        if (n < 0)
                return (int) n;
        p->packed_at = 0;
        p->packed_size = (size_t) n;
        return 0;
}

/* The next text of a compressed file. */
static ssize_t read_unpacked(PieceReader *p, uint8_t *buffer, size_t size, Error *e)
{
        uint8_t *out = buffer;
        size_t left = size;
        int r;

        while (left == size) {
                const uint8_t *in;
                size_t in_left;

                r = read_packed(p, e);
                if (r < 0)
                        return r;
                in = p->packed + p->packed_at;
                in_left = p->packed_size - p->packed_at;
                if (in_left == 0 && !p->in_stream) {
                        p->done = true;
                        return 0;
                }
                r = p->codecs->decoder_step(p->decoder, &in, &in_left, &out, &left);
                if (r < 0)
                        return packed_failed(p, r, e);
                p->in_stream = r > 0;
                if (r > 0 && left == size && in_left == p->packed_size - p->packed_at &&
                    p->at == p->file_size) {
                        p->is_damaged = true;
                        return error_setf(e, EBADMSG,
                                          "the compressed data ends in the middle: truncated");
                }
                p->packed_at = p->packed_size - in_left;
        }
        return (ssize_t) (size - left);
}

static void account(PieceReader *p, const uint8_t *buffer, size_t n)
{
        bool ends_line = buffer[n - 1] == '\n';

        p->bytes += n;
        if (p->fixed)
                return;
        /* A line counts when it begins to be given: an open one was counted before. */
        p->lines += lines_count(buffer, n) + (ends_line ? 0 : 1) - (p->ends_line ? 0 : 1);
        p->ends_line = ends_line;
}

ssize_t piece_reader_read(PieceReader *p, uint8_t *buffer, size_t size, Error *e)
{
        ssize_t n = 0;

        if (!p->done && p->decoder)
                n = read_unpacked(p, buffer, size, e);
        else if (!p->done && p->skipping)
                n = read_first(p, buffer, size, e);
        if (n == 0 && !p->done && !p->decoder) {
                if (p->at < p->end)
                        n = read_some(p, buffer, (size_t) MIN(size, p->end - p->at), e);
                else if (!p->fixed)
                        n = read_tail(p, buffer, size, e);
        }
        if (n > 0)
                account(p, buffer, (size_t) n);
        return n;
}

/*
 * Decoders — see decoder.h.
 */
#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "records/decoder.h"

#define ZLIB_GZIP_ONLY (16 + MAX_WBITS)
#define STEP_MAX MIB(64) /* zlib and bzip2 count in 32 bits */
#define ZSTD_WINDOW_LOG_MAX 28

static_assert(DECODER_MEMORY_MAX == UINT64_C(1) << ZSTD_WINDOW_LOG_MAX,
              "a window of zstd's is a power of two");

struct Decoder {
        Codec codec;
        bool open;   /* within a stream */
        bool closed; /* one has ended */
        bool padded; /* by zeros: nothing else follows */
        union {
                z_stream gzip;
                bz_stream bzip2;
                ZSTD_DStream *zstd;
                LZ4F_dctx *lz4;
                lzma_stream xz;
        };
};

/* By itself zstd takes no window above 128 MiB. */
static bool zstd_open(Decoder *d)
{
        d->zstd = ZSTD_createDStream();
        return d->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax,
                                                               ZSTD_WINDOW_LOG_MAX));
}

static bool lz4_open(Decoder *d)
{
        return !LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION));
}

int decoder_new(Codec codec, Decoder **ret)
{
        Decoder *d;

        assert(codec > CODEC_NONE && codec < _CODEC_MAX);
        d = calloc(1, sizeof(*d));
        if (!d)
                return -ENOMEM;
        d->codec = codec;
        if ((codec == CODEC_ZSTD && !zstd_open(d)) || (codec == CODEC_LZ4 && !lz4_open(d))) {
                decoder_free(d);
                return -ENOMEM;
        }
        *ret = d;
        return 0;
}

static void stream_close(Decoder *d)
{
        if (!d->open)
                return;
        d->open = false;
        d->closed = true;
        if (d->codec == CODEC_GZIP)
                (void) inflateEnd(&d->gzip);
        else if (d->codec == CODEC_BZIP2)
                (void) BZ2_bzDecompressEnd(&d->bzip2);
        else if (d->codec == CODEC_XZ)
                lzma_end(&d->xz);
}

Decoder *decoder_free(Decoder *d)
{
        if (!d)
                return NULL;
        stream_close(d);
        if (d->codec == CODEC_ZSTD)
                (void) ZSTD_freeDStream(d->zstd);
        else if (d->codec == CODEC_LZ4)
                (void) LZ4F_freeDecompressionContext(d->lz4);
        free(d);
        return NULL;
}

static int stream_open(Decoder *d)
{
        bool ok = true;

        switch (d->codec) {
        case CODEC_GZIP:
                d->gzip = (z_stream){};
                ok = inflateInit2(&d->gzip, ZLIB_GZIP_ONLY) == Z_OK;
                break;
        case CODEC_BZIP2:
                d->bzip2 = (bz_stream){};
                ok = BZ2_bzDecompressInit(&d->bzip2, 0, 0) == BZ_OK;
                break;
        case CODEC_ZSTD:
                ok = !ZSTD_isError(ZSTD_initDStream(d->zstd));
                break;
        case CODEC_XZ:
                d->xz = (lzma_stream) LZMA_STREAM_INIT;
                ok = lzma_stream_decoder(&d->xz, DECODER_MEMORY_MAX, 0) == LZMA_OK;
                break;
        default:
                LZ4F_resetDecompressionContext(d->lz4);
        }
        d->open = ok;
        return ok ? 0 : -ENOMEM;
}

/* What a step took and gave. */
typedef struct Moved {
        size_t in, out;
} Moved;

static int step_gzip(Decoder *d, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                     Moved *ret)
{
        int r;

        d->gzip.next_in = (Bytef *) in;
        d->gzip.avail_in = (uInt) in_size;
        d->gzip.next_out = out;
        d->gzip.avail_out = (uInt) out_size;
        r = inflate(&d->gzip, Z_NO_FLUSH);
        *ret = (Moved){in_size - d->gzip.avail_in, out_size - d->gzip.avail_out};
        if (r == Z_STREAM_END)
                return 0;
        if (r == Z_MEM_ERROR)
                return -ENOMEM;
        return r == Z_OK || r == Z_BUF_ERROR ? 1 : -EBADMSG;
}

static int step_bzip2(Decoder *d, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                      Moved *ret)
{
        int r;

        d->bzip2.next_in = (char *) in;
        d->bzip2.avail_in = (unsigned) in_size;
        d->bzip2.next_out = (char *) out;
        d->bzip2.avail_out = (unsigned) out_size;
        r = BZ2_bzDecompress(&d->bzip2);
        *ret = (Moved){in_size - d->bzip2.avail_in, out_size - d->bzip2.avail_out};
        if (r == BZ_STREAM_END)
                return 0;
        if (r == BZ_MEM_ERROR)
                return -ENOMEM;
        return r == BZ_OK ? 1 : -EBADMSG;
}

static int step_zstd(Decoder *d, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                     Moved *ret)
{
        ZSTD_inBuffer from = {in, in_size, 0};
        ZSTD_outBuffer to = {out, out_size, 0};
        size_t r = ZSTD_decompressStream(d->zstd, &to, &from);

        *ret = (Moved){from.pos, to.pos};
        if (!ZSTD_isError(r))
                return r > 0;
        switch (ZSTD_getErrorCode(r)) {
        case ZSTD_error_frameParameter_windowTooLarge:
                return -E2BIG;
        case ZSTD_error_memory_allocation:
                return -ENOMEM;
        default:
                return -EBADMSG;
        }
}

static int step_lz4(Decoder *d, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                    Moved *ret)
{
        size_t taken = in_size, given = out_size;
        size_t r = LZ4F_decompress(d->lz4, out, &given, in, &taken, NULL);

        if (LZ4F_isError(r))
                return -EBADMSG;
        *ret = (Moved){taken, given};
        return r > 0;
}

static int step_xz(Decoder *d, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                   Moved *ret)
{
        lzma_ret r;

        d->xz.next_in = in;
        d->xz.avail_in = in_size;
        d->xz.next_out = out;
        d->xz.avail_out = out_size;
        r = lzma_code(&d->xz, LZMA_RUN);
        *ret = (Moved){in_size - d->xz.avail_in, out_size - d->xz.avail_out};
        if (r == LZMA_STREAM_END)
                return 0;
        if (r == LZMA_MEM_ERROR || r == LZMA_MEMLIMIT_ERROR)
                return r == LZMA_MEM_ERROR ? -ENOMEM : -E2BIG;
        return r == LZMA_OK || r == LZMA_BUF_ERROR ? 1 : -EBADMSG;
}

/* What was on a tape is padded with zeros, which gzip(1) takes for no other stream, either. */
static int step_padding(Decoder *d, const uint8_t **in, size_t *in_left)
{
        while (*in_left > 0 && **in == 0) {
                (*in)++;
                (*in_left)--;
        }
        d->padded = true;
        return *in_left > 0 ? -EBADMSG : 0;
}

int decoder_step(Decoder *d, const uint8_t **in, size_t *in_left, uint8_t **out, size_t *out_left)
{
        static int (*const steps[_CODEC_MAX])(Decoder *, const uint8_t *, size_t, uint8_t *, size_t,
                                              Moved *) = {
                [CODEC_GZIP] = step_gzip, [CODEC_BZIP2] = step_bzip2, [CODEC_ZSTD] = step_zstd,
                [CODEC_LZ4] = step_lz4,   [CODEC_XZ] = step_xz,
        };
        Moved moved = {};
        int r;

        if (d->padded ||
            (d->codec == CODEC_GZIP && d->closed && !d->open && *in_left > 0 && **in == 0))
                return step_padding(d, in, in_left);
        if (!d->open) {
                r = stream_open(d);
                if (r < 0)
                        return r;
        }
        r = steps[d->codec](d, *in, MIN(*in_left, STEP_MAX), *out, MIN(*out_left, STEP_MAX),
                            &moved);
        if (r < 0)
                return r;
        *in += moved.in;
        *in_left -= moved.in;
        *out += moved.out;
        *out_left -= moved.out;
        if (r == 0)
                stream_close(d);
        return r;
}

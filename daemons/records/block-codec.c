/*
 * Block codecs — see block-codec.h.
 */
#include <lz4.h>
#include <zstd.h>

#include "records/block-codec.h"

#define ZSTD_LEVEL 1     /* it competes with disks and networks, not with archives */
#define WORTH_DIVISOR 16 /* what saves less than a sixteenth is stored as it is */
#define SIZE_BYTES sizeof(uint32_t)

struct BlockPacker {
        BlockCodec codec;
        size_t room, capacity;
        uint8_t *buffer;
        ZSTD_CCtx *zstd;
};

struct BlockUnpacker {
        uint8_t *buffer;
        ZSTD_DCtx *zstd;
};

int block_packer_new(BlockCodec codec, size_t room, BlockPacker **ret)
{
        BlockPacker *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        p->codec = codec;
        p->room = room;
        p->capacity = codec == BLOCK_LZ4 ? (size_t) LZ4_compressBound(BLOCK_RAW_MAX)
                                         : ZSTD_compressBound(BLOCK_RAW_MAX);
        p->buffer = malloc(room + SIZE_BYTES + p->capacity);
        if (codec == BLOCK_ZSTD)
                p->zstd = ZSTD_createCCtx();
        if (!p->buffer || (codec == BLOCK_ZSTD && !p->zstd)) {
                block_packer_free(p);
                return -ENOMEM;
        }
        *ret = p;
        return 0;
}

BlockPacker *block_packer_free(BlockPacker *p)
{
        if (!p)
                return NULL;
        (void) ZSTD_freeCCtx(p->zstd);
        free(p->buffer);
        free(p);
        return NULL;
}

static size_t compress(BlockPacker *p, uint8_t *to, const uint8_t *data, size_t size)
{
        size_t n;
        int r;

        if (p->codec == BLOCK_LZ4) {
                r = LZ4_compress_default((const char *) data, (char *) to, (int) size,
                                         (int) p->capacity);
                return r > 0 ? (size_t) r : 0;
        }
        n = ZSTD_compressCCtx(p->zstd, to, p->capacity, data, size, ZSTD_LEVEL);
        return ZSTD_isError(n) ? 0 : n;
}

size_t block_pack(BlockPacker *p, const uint8_t *data, size_t size, uint8_t **ret)
{
        uint8_t *payload = p->buffer + p->room;
        uint32_t raw = GUINT32_TO_LE((uint32_t) size);
        size_t packed;

        assert(size <= BLOCK_RAW_MAX);
        packed = compress(p, payload + SIZE_BYTES, data, size);
        if (packed == 0 || packed + SIZE_BYTES > size - size / WORTH_DIVISOR)
                return 0;
        memcpy(payload, &raw, SIZE_BYTES);
        *ret = p->buffer;
        return SIZE_BYTES + packed;
}

int block_unpacker_new(size_t padding, BlockUnpacker **ret)
{
        BlockUnpacker *u = calloc(1, sizeof(*u));

        if (!u)
                return -ENOMEM;
        u->buffer = calloc(1, BLOCK_RAW_MAX + padding);
        if (!u->buffer) {
                free(u);
                return -ENOMEM;
        }
        *ret = u;
        return 0;
}

BlockUnpacker *block_unpacker_free(BlockUnpacker *u)
{
        if (!u)
                return NULL;
        (void) ZSTD_freeDCtx(u->zstd);
        free(u->buffer);
        free(u);
        return NULL;
}

int block_unpack(BlockUnpacker *u, BlockCodec codec, const uint8_t *data, size_t size,
                 const uint8_t **ret, size_t *ret_size)
{
        uint32_t raw;
        size_t n;
        int r;

        if (size <= SIZE_BYTES)
                return -EBADMSG;
        memcpy(&raw, data, SIZE_BYTES);
        raw = GUINT32_FROM_LE(raw);
        data += SIZE_BYTES;
        size -= SIZE_BYTES;
        if (raw > BLOCK_RAW_MAX)
                return -EBADMSG;
        if (codec == BLOCK_LZ4) {
                r = LZ4_decompress_safe((const char *) data, (char *) u->buffer, (int) size,
                                        (int) raw);
                n = r < 0 ? SIZE_MAX : (size_t) r;
        } else {
                if (!u->zstd)
                        u->zstd = ZSTD_createDCtx();
                if (!u->zstd)
                        return -ENOMEM;
                n = ZSTD_decompressDCtx(u->zstd, u->buffer, raw, data, size);
        }
        if (n != raw)
                return -EBADMSG;
        *ret = u->buffer;
        *ret_size = raw;
        return 0;
}

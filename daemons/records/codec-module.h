/*
 * The module mr-codecs.so — what of the data path needs libraries that compress.
 *
 * Most jobs read plain text and have plain run files, and zlib, bzip2, lzma, zstd and lz4 were a
 * third of the libraries that a task process linked at its start. So the rest of this room knows a
 * table of functions: a program whose start must be quick loads it from the module when the first
 * compressed byte is met (codec-load.c), any other is linked with it (codec-linked.c).
 */
#pragma once

#include "base/error.h"
#include "records/block-codec.h"
#include "records/decoder.h"

#define CODEC_MODULE "mr-codecs.so"

/* Each is as the function of its name. */
typedef struct CodecModule {
        int (*decoder_new)(Codec codec, Decoder **ret);
        Decoder *(*decoder_free)(Decoder *d);
        int (*decoder_step)(Decoder *d, const uint8_t **in, size_t *in_left, uint8_t **out,
                            size_t *out_left);
        int (*block_packer_new)(BlockCodec codec, size_t room, BlockPacker **ret);
        BlockPacker *(*block_packer_free)(BlockPacker *p);
        size_t (*block_pack)(BlockPacker *p, const uint8_t *data, size_t size, uint8_t **ret);
        int (*block_unpacker_new)(size_t padding, BlockUnpacker **ret);
        BlockUnpacker *(*block_unpacker_free)(BlockUnpacker *u);
        int (*block_unpack)(BlockUnpacker *u, BlockCodec codec, const uint8_t *data, size_t size,
                            const uint8_t **ret, size_t *ret_size);
} CodecModule;

extern const CodecModule codec_module; /* by this name in the module, or in the program */

/* Return: 0, or -ELIBACC with a message. */
int codec_module_get(const CodecModule **ret, Error *e);

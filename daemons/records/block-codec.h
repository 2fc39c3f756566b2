/*
 * Block codecs — the payload of one block, compressed by itself.
 *
 * A compressed payload is its size as 32 bits little-endian, then an LZ4 block or a Zstandard
 * frame. It becomes BLOCK_RAW_MAX bytes at most; a reader believes nothing else of it.
 */
#pragma once

#include "records/block.h"

typedef struct BlockPacker BlockPacker;

/* @room: bytes left free before the payload. Return: 0 or -ENOMEM. */
int block_packer_new(BlockCodec codec, size_t room, BlockPacker **ret);
BlockPacker *block_packer_free(BlockPacker *p);

/**
 * block_pack() - compress a payload of at most BLOCK_RAW_MAX bytes
 * @ret: the room, and behind it the payload; valid until the next call
 *
 * Return: the payload's size; 0 when it is not worth while.
 */
size_t block_pack(BlockPacker *p, const uint8_t *data, size_t size, uint8_t **ret);

typedef struct BlockUnpacker BlockUnpacker;

/* @padding: bytes after the result that may be read. Return: 0 or -ENOMEM. */
int block_unpacker_new(size_t padding, BlockUnpacker **ret);
BlockUnpacker *block_unpacker_free(BlockUnpacker *u);

/* @ret: valid until the next call. Return: 0, -EBADMSG or -ENOMEM. */
int block_unpack(BlockUnpacker *u, BlockCodec codec, const uint8_t *data, size_t size,
                 const uint8_t **ret, size_t *ret_size);

/*
 * Arena — memory that is given back all at once.
 *
 * A received message is a tree of small pieces with one life. They are cut from one chunk, and a
 * reset forgets them together; the largest chunk is kept for the next message, so a call in steady
 * state allocates nothing. An arena has a limit: a message of a few bytes may unfold to a hundred
 * times its size (repeated empty sub-messages), and the sender must not choose our memory.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "rpc/util.h"

typedef struct RpcArenaChunk {
        struct RpcArenaChunk *older;
        size_t size;
        uint8_t data[] __attribute__((aligned(16)));
} RpcArenaChunk;

typedef struct RpcArena {
        uint8_t *at;
        size_t left;
        RpcArenaChunk *newest;
        uint8_t *first; /* the owner's own space, used before any chunk; 16-byte aligned */
        size_t first_size;
        size_t taken; /* bytes of chunks */
        size_t limit; /* of taken */
        ProtobufCAllocator allocator;
} RpcArena;

void rpc_arena_init(RpcArena *a, void *first, size_t first_size, size_t limit);
void rpc_arena_done(RpcArena *a);

/* Everything allocated is gone; memory up to @keep bytes stays for the next round. */
void rpc_arena_reset(RpcArena *a, size_t keep);

/* NULL when the limit or the memory is reached. 16-byte aligned. */
void *rpc_arena_alloc(RpcArena *a, size_t size);

/* A copy with a NUL behind it. */
char *rpc_arena_dup(RpcArena *a, const void *data, size_t size);

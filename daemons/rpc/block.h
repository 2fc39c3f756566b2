/*
 * Blocks — bytes on their way out, counted by those who still need them.
 *
 * A message is packed once, into a block of its stream's queue; a large piece of it then goes to
 * the socket from where it lies, a small one is copied next to others so that one system call sends
 * many. Blocks come back to a pool that keeps a bounded number of them: those of the two usual
 * sizes, and a few larger ones for the messages of a bulk stream, which would cost a page fault for
 * each 4 KiB.
 *
 * A block may also stand for a range of a file, whose bytes are not here: file.h.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "rpc/file.h"
#include "rpc/util.h"

#define RPC_BLOCK_SMALL ((size_t) 448)       /* with its header 0.5 KiB: a unary message */
#define RPC_BLOCK_LARGE ((size_t) 32 * 1024) /* what small pieces are gathered in */
#define RPC_POOL_SMALL_MAX 4096u             /* 2 MiB kept at most */
#define RPC_POOL_LARGE_MAX 64u               /* 2 MiB kept at most */
#define RPC_POOL_BULK_MAX 8u                 /* of larger ones, each for one message */
#define RPC_POOL_BULK_BYTES ((size_t) 8 << 20)

typedef struct RpcBlock {
        struct RpcBlock *next;
        unsigned refs;
        size_t room;      /* of data */
        size_t fill;      /* bytes of data that are written, or of the range */
        size_t done;      /* of these, what the queue has given away */
        EvgrpcFile *file; /* NULL: the bytes are in data */
        uint64_t offset;  /* of the range in it */
        uint8_t data[];
} RpcBlock;

typedef struct RpcBlockPool {
        RpcBlock *small, *large, *bulk;
        unsigned small_count, large_count, bulk_count;
        size_t bulk_bytes;
} RpcBlockPool;

void rpc_block_pool_done(RpcBlockPool *p);

/* One reference, at least @room bytes; NULL without memory. */
RpcBlock *rpc_block_new(RpcBlockPool *p, size_t room);
void rpc_block_unref(RpcBlockPool *p, RpcBlock *b);

/* A queue of packed messages, each with gRPC's five-byte prefix. */
typedef struct RpcQueue {
        RpcBlock *head, *tail;
        size_t bytes; /* not yet given away */
} RpcQueue;

void rpc_queue_done(RpcQueue *q, RpcBlockPool *p);

/* Return: 0; -ENOMEM; -EMSGSIZE for a message beyond 4 GiB. */
int rpc_queue_append(RpcQueue *q, RpcBlockPool *p, const ProtobufCMessage *message);
/* The same of a message that is packed already. */
int rpc_queue_append_packed(RpcQueue *q, RpcBlockPool *p, const void *data, size_t size);

/* The same of a message that ends with field @number, bytes, the range. -EMSGSIZE also beyond what
 * size_t counts. */
int rpc_queue_append_file(RpcQueue *q, RpcBlockPool *p, const ProtobufCMessage *message,
                          uint32_t number, EvgrpcFile *file, uint64_t offset, size_t size);

/* Makes sure of the next @size bytes: the files have them still, or, with @read, they are in memory
 * now, as are a few more. Return: how many of these may be taken; -ENODATA: a file has become
 * shorter; negative errno. */
ssize_t rpc_queue_prepare(RpcQueue *q, RpcBlockPool *p, size_t size, bool read);

/* Bytes in the first @blocks blocks: what can be sent in that many pieces. */
size_t rpc_queue_peek(const RpcQueue *q, unsigned blocks);

/*
 * Output — what one socket still has to send, as pieces of blocks.
 *
 * Bounded twice: in bytes (a peer that does not read costs so much and no more) and in pieces. The
 * session asks for room before it makes the next frame, so an append cannot fail for want of it.
 */
#pragma once

#include "rpc/block.h"

#define RPC_OUTPUT_BYTES_MAX ((size_t) 512 * 1024) /* beyond it no further frame is made */
#define RPC_OUTPUT_PIECES_MAX 128u                 /* a power of two */
#define RPC_OUTPUT_FRAME_PIECES 16u                /* of one DATA frame, with its header one more */
#define RPC_OUTPUT_REFERENCE_MIN ((size_t) 2048)   /* shorter pieces are cheaper to copy */

typedef struct RpcPiece {
        const uint8_t *data; /* NULL: it is in the block's file */
        uint64_t offset;     /* there */
        size_t size;
        RpcBlock *block;
} RpcPiece;

typedef struct RpcOutput {
        RpcBlock *ring; /* of RPC_OUTPUT_PIECES_MAX pieces; NULL when there are none */
        unsigned first, count;
        size_t bytes;
        uint64_t left;    /* bytes that have, ever */
        RpcBlock *gather; /* where small pieces are copied to */
        RpcBlockPool *pool;
} RpcOutput;

void rpc_output_init(RpcOutput *o, RpcBlockPool *pool);
void rpc_output_done(RpcOutput *o);

static inline bool rpc_output_has_room(const RpcOutput *o)
{
        return o->bytes < RPC_OUTPUT_BYTES_MAX &&
               o->count + 2 * RPC_OUTPUT_FRAME_PIECES <= RPC_OUTPUT_PIECES_MAX;
}

/* Copies. Return: 0 or -ENOMEM. */
int rpc_output_copy(RpcOutput *o, const uint8_t *data, size_t size);

/* Takes @size bytes from the head of the queue. Return: 0 or -ENOMEM. */
int rpc_output_take(RpcOutput *o, RpcQueue *q, size_t size);

/* Up to @room bytes from the head, where they lie if one piece has so many, else copied to @space.
 * Not empty, and no file in it. Return: how many. */
size_t rpc_output_peek(const RpcOutput *o, uint8_t *space, size_t room, const uint8_t **ret);
void rpc_output_forget(RpcOutput *o, size_t size); /* they are sent */

/* Return: 1: all is sent; 0: the socket takes no more now; -ENODATA: a file that is sent has become
 * shorter; another negative errno. */
int rpc_output_send(RpcOutput *o, int fd);

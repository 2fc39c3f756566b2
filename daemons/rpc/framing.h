/*
 * Framing — gRPC's length-prefixed messages, out of pieces of any size.
 *
 *      | compressed: 1 byte | length: 4 bytes, big endian | message |
 *
 * A message that lies whole in the piece is handed out where it is; only one that straddles pieces
 * is gathered. The gathering buffer grows with what has arrived, never with what was announced.
 */
#pragma once

#include "rpc/util.h"

#define RPC_PREFIX_SIZE ((size_t) 5)
#define RPC_PLACE_MIN ((size_t) 64 * 1024) /* a message that is smaller comes whole more often */

/* Bytes of unfinished messages. Each of them has its limit, but a peer may begin very many. */
typedef struct RpcBudget {
        size_t used, limit;
        struct RpcBudget *parent; /* is charged as well; NULL: none */
} RpcBudget;

typedef struct RpcReader {
        RpcBudget *budget; /* NULL: none */
        bool keep_buffer;  /* from one message to the next, for a stream of them */
        uint8_t prefix[RPC_PREFIX_SIZE];
        uint8_t prefix_fill;
        bool handed_out; /* the buffer's message is with the caller until the next feed */
        uint32_t size;
        uint8_t *buffer;
        size_t fill, room;
        uint8_t *lent; /* a message that its owner still looks at; not charged: it is whole */
        size_t lent_room;
} RpcReader;

/**
 * rpc_reader_feed() - the next message, or as much of it as there is
 * @at, @left:  the piece; moved forward by what was used
 * @limit:      of one message in bytes
 * @ret:        the message, valid until the next feed and as long as the piece
 *
 * Return: 1: a message; 0: the piece is used up; -EMSGSIZE: longer than @limit (@ret_size says how
 * long); -EOPNOTSUPP: compressed; -EBADMSG: a flag that is none; -EDQUOT: the budget is used up;
 * -ENOMEM.
 */
int rpc_reader_feed(RpcReader *r, const uint8_t **at, size_t *left, size_t limit,
                    const uint8_t **ret, size_t *ret_size);

/* True between messages: where a stream may end. */
static inline bool rpc_reader_is_at_boundary(const RpcReader *r)
{
        return r->prefix_fill == 0 || r->handed_out;
}

/* Where the next bytes of a large message that is being gathered go: room that is there already.
 * Fed from there, they are not copied. Return: how many; 0: none, and if *@ret is not NULL, the
 * next message may have such room. */
size_t rpc_reader_place(const RpcReader *r, uint8_t **ret);

/* Whether the message that was just handed out lies in the buffer, and not in the piece. */
static inline bool rpc_reader_holds(const RpcReader *r, const uint8_t *message)
{
        return r->handed_out && message == r->buffer;
}

/* That message stays where it is until the next one is lent, or rpc_reader_free(). */
void rpc_reader_lend(RpcReader *r);

/* Back to the start of a message, with no buffer but what is lent. */
void rpc_reader_done(RpcReader *r);
void rpc_reader_free(RpcReader *r);
void rpc_prefix_write(uint8_t *ret, uint32_t size);

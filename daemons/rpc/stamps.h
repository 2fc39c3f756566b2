/*
 * Send stamps — when the kernel handed the bytes of a message to the network.
 *
 * A program that notes the time before it sends notes it too early, by all that happens until its
 * bytes are on the wire: frames are made, records encrypted, the processor is given to somebody
 * else. Linux tells the time at which a driver was given a segment (SO_TIMESTAMPING,
 * Documentation/networking/timestamping.rst), on the socket's error queue, with the number of the
 * last byte of the send. So the place of a message's end among the bytes of the connection is kept
 * until a stamp for it or for a later byte of the same send comes:
 *
 *      frame made ─▶ mark at plain byte N ─(TLS: its record's last byte)─▶ stamp of one ≥ N ─▶ told
 *
 * A stamp may be of a later byte of the same send, never of an earlier one. Local sockets and some
 * drivers give none. A connection that had RPC_STAMPS_MISSED messages in a row without one expects
 * none any more.
 */
#pragma once

#include "rpc/util.h"

#define RPC_STAMPS_MARKS 8u  /* of messages whose stamp is to come; of more, the oldest has none */
#define RPC_STAMPS_MISSED 8u /* more than are on their way in a burst */

typedef struct RpcStampNote {
        int32_t stream;
        int64_t words[2]; /* the owner's */
} RpcStampNote;

typedef struct RpcStampMark {
        RpcStampNote note;
        uint64_t plain_end; /* bytes of the connection up to the message's end, as the session made
                               them */
        uint64_t end;       /* the same on the socket; 0: not encrypted yet */
} RpcStampMark;

typedef struct RpcStamps {
        RpcStampMark marks[RPC_STAMPS_MARKS]; /* oldest first */
        unsigned count, missed;
        bool tls;
        void (*on_stamp)(void *userdata, const RpcStampNote *note, int64_t ns); /* CLOCK_REALTIME */
        void *userdata;
} RpcStamps;

/* On a connected socket that nothing was sent on. Return: 0, or negative errno: the kernel tells
 * none here. */
int rpc_stamps_enable(RpcStamps *s, int fd);

/* The connection's first @plain_end bytes, to be sent, end with a message. */
void rpc_stamps_mark(RpcStamps *s, uint64_t plain_end, const RpcStampNote *note);

/* TLS: the first @plain_end bytes are within the first @end of the socket. */
void rpc_stamps_encrypted(RpcStamps *s, uint64_t plain_end, uint64_t end);

/* Empties the error queue: a socket that has one is readable without end. */
void rpc_stamps_drain(RpcStamps *s, int fd);

static inline bool rpc_stamps_are_told(const RpcStamps *s)
{
        return s && s->missed < RPC_STAMPS_MISSED;
}

/*
 * Transport — a connected socket on the loop: bytes in, bytes out, and the news of its end.
 *
 * It reads up to 256 KiB at once into a buffer that all connections of one owner share (libevent's
 * bufferevent takes 4 KiB a time, libevent#798) and writes many pieces with one system call. It
 * knows no protocol, and calls its owner only from the loop. An owner that knows what comes next,
 * the rest of a large message, names a place for it, and the bytes are copied once, by the kernel.
 *
 * With TLS the same buffer is used in two halves, records and plain bytes, and the owner's bytes
 * wait in the output until the handshake is over. A server whose handshake fails lets the client
 * hang up first, for a second at most: closing a socket with unread bytes resets it, and the alert
 * that explains the refusal would be lost.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "rpc/output.h"
#include "rpc/stamps.h"
#include "rpc/timestamps.h"
#include "rpc/tls.h"

#define RPC_READ_SIZE ((size_t) 256 * 1024)

typedef struct RpcTransport {
        int fd;
        struct event read_event, write_event;
        bool write_waiting;
        RpcOutput output;
        uint8_t *read_buffer;    /* RPC_READ_SIZE bytes, the owner's */
        uint64_t last_read_usec; /* kept when @stamp is set */
        bool stamp;
        bool timestamps;   /* keep @received */
        RpcTime received;  /* of the last read */
        RpcStamps *stamps; /* NULL: none are asked for */
        RpcTls *tls;       /* NULL: plain */
        bool lingering;    /* TLS failed: reads to the end without listening */
        struct event handshake_timer;
        bool *gone; /* set when its owner ends it while it works */

        /* Where the next bytes had better go than to the read buffer, and how many. They come to
         * on_input() from there. 0: nowhere else; if *@ret is not NULL, such a place follows soon,
         * so little is to be read. Without TLS only. May be NULL. */
        size_t (*place)(void *userdata, uint8_t **ret);
        void (*on_input)(void *userdata, const uint8_t *data, size_t size);
        void (*on_room)(void *userdata);            /* a socket that took no more does so again */
        void (*on_lost)(void *userdata, int error); /* negative errno; 0: the peer closed */
        void *userdata;
} RpcTransport;

/* Takes @fd, which is non-blocking and connected. The callbacks are set by the caller before. */
int rpc_transport_init(RpcTransport *t, struct event_base *base, int fd, RpcBlockPool *pool,
                       uint8_t *read_buffer);
void rpc_transport_done(RpcTransport *t);

/* Before anything is sent: with TLS. @handshake_usec: 0: no limit here. Return: 0 or -ENOMEM. */
int rpc_transport_secure(RpcTransport *t, EvgrpcTls *tls, bool server, const char *server_name,
                         uint64_t handshake_usec);

/* Before anything is sent, and after rpc_transport_secure(): tells @on_stamp when marked messages
 * left. Without the kernel's help, or memory, it never does. */
void rpc_transport_stamp(RpcTransport *t,
                         void (*on_stamp)(void *userdata, const RpcStampNote *note, int64_t ns));

/* Sends what the output holds. What the socket does not take goes when it can. Return: 1: all is
 * sent; 0: waiting for the socket, or for the handshake; negative errno: the connection is lost
 * (on_lost is not called). */
int rpc_transport_send(RpcTransport *t);

static inline bool rpc_transport_is_empty(const RpcTransport *t)
{
        return t->output.count == 0 && (!t->tls || t->tls->cipher.count == 0);
}

static inline bool rpc_transport_is_shaking_hands(const RpcTransport *t)
{
        return t->tls && !t->tls->established;
}

/* Why TLS failed, a sentence; NULL when it did not. */
static inline const char *rpc_transport_error(const RpcTransport *t)
{
        return t->tls && t->tls->error[0] ? t->tls->error : NULL;
}

/* Proven by its certificate; empty without TLS. */
static inline const char *rpc_transport_peer_name(const RpcTransport *t)
{
        return t->tls ? t->tls->peer_name : "";
}

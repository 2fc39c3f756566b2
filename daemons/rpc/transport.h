/*
 * Transport — a connected socket on the loop: bytes in, bytes out, and the news of its end.
 *
 * It reads up to 256 KiB at once into a buffer that all connections of one owner share (libevent's
 * bufferevent takes 4 KiB a time, libevent#798) and writes many pieces with one system call. It
 * knows no protocol, and calls its owner only from the loop.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "rpc/output.h"

#define RPC_READ_SIZE ((size_t) 256 * 1024)

typedef struct RpcTransport {
        int fd;
        struct event read_event, write_event;
        bool write_waiting;
        RpcOutput output;
        uint8_t *read_buffer;    /* RPC_READ_SIZE bytes, the owner's */
        uint64_t last_read_usec; /* kept when @stamp is set */
        bool stamp;

        void (*on_input)(void *userdata, const uint8_t *data, size_t size);
        void (*on_room)(void *userdata);            /* a socket that took no more does so again */
        void (*on_lost)(void *userdata, int error); /* negative errno; 0: the peer closed */
        void *userdata;
} RpcTransport;

/* Takes @fd, which is non-blocking and connected. The callbacks are set by the caller before. */
int rpc_transport_init(RpcTransport *t, struct event_base *base, int fd, RpcBlockPool *pool,
                       uint8_t *read_buffer);
void rpc_transport_done(RpcTransport *t);

/* Sends what the output holds. What the socket does not take goes when it can. Return: 1: all is
 * sent; 0: waiting for the socket; negative errno: the connection is lost (on_lost is not called). */
int rpc_transport_send(RpcTransport *t);

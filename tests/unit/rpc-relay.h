/*
 * A relay between a channel and a server, on the same loop, which can do what networks and bad
 * peers do: hand bytes on one at a time, stop after so many, change one, replace a pattern.
 */
#pragma once

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/tcp.h>

#include "rpc-fixture.h"

typedef struct Relay {
        struct event_base *base;
        struct evconnlistener *listener;
        char *address; /* to connect to */
        struct sockaddr_storage to;
        int to_size;
        struct bufferevent *ends[2]; /* client's, server's */
        size_t bytes[2];             /* handed on, by where they came from */
        bool one_by_one;
        size_t cut_after[2]; /* close both ends after so many bytes; SIZE_MAX: never */
        size_t flip_at[2];   /* change this byte; SIZE_MAX: none */
        uint8_t flip;        /* by XOR with this */
        const char *needle;  /* in what the client sends; its first byte is replaced */
        size_t needle_size;
        uint8_t replacement;
} Relay;

static inline void relay_hang_up(Relay *r)
{
        for (unsigned i = 0; i < 2; i++) {
                if (r->ends[i])
                        bufferevent_free(r->ends[i]);
                r->ends[i] = NULL;
        }
}

static inline void relay_patch(Relay *r, unsigned from, uint8_t *data, size_t size)
{
        if (r->flip_at[from] >= r->bytes[from] && r->flip_at[from] - r->bytes[from] < size)
                data[r->flip_at[from] - r->bytes[from]] ^= r->flip;
        if (r->needle && from == 0) {
                uint8_t *found = memmem(data, size, r->needle, r->needle_size);

                if (found)
                        *found = r->replacement;
        }
}

static inline void relay_on_read(struct bufferevent *bev, void *userdata)
{
        Relay *r = userdata;
        unsigned from = bev == r->ends[0] ? 0 : 1;
        struct evbuffer *in = bufferevent_get_input(bev);
        size_t size;

        while ((size = evbuffer_get_length(in)) > 0) {
                uint8_t *data = evbuffer_pullup(in, -1);

                if (r->one_by_one)
                        size = 1;
                size = MIN(size, r->cut_after[from] - r->bytes[from]);
                relay_patch(r, from, data, size);
                if (r->one_by_one) /* past the buffering of bufferevent: one packet each */
                        (void) !send(bufferevent_getfd(r->ends[!from]), data, size, MSG_NOSIGNAL);
                else
                        bufferevent_write(r->ends[!from], data, size);
                evbuffer_drain(in, size);
                r->bytes[from] += size;
                if (r->bytes[from] >= r->cut_after[from]) {
                        (void) bufferevent_flush(r->ends[!from], EV_WRITE, BEV_FLUSH);
                        (void) evbuffer_write(bufferevent_get_output(r->ends[!from]),
                                              bufferevent_getfd(r->ends[!from]));
                        relay_hang_up(r);
                        return;
                }
        }
}

static inline void relay_on_event(struct bufferevent *bev, short what, void *userdata)
{
        if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
                relay_hang_up(userdata);
}

static inline void relay_on_accept(struct evconnlistener *l, evutil_socket_t fd,
                                   struct sockaddr *sa, int size, void *userdata)
{
        Relay *r = userdata;
        int on = 1;

        relay_hang_up(r);
        r->bytes[0] = r->bytes[1] = 0;
        r->ends[0] = bufferevent_socket_new(r->base, fd, BEV_OPT_CLOSE_ON_FREE);
        r->ends[1] = bufferevent_socket_new(r->base, -1, BEV_OPT_CLOSE_ON_FREE);
        g_assert_cmpint(
                bufferevent_socket_connect(r->ends[1], (struct sockaddr *) &r->to, r->to_size), ==,
                0);
        for (unsigned i = 0; i < 2; i++) {
                (void) setsockopt(bufferevent_getfd(r->ends[i]), IPPROTO_TCP, TCP_NODELAY, &on,
                                  sizeof(on));
                bufferevent_setcb(r->ends[i], relay_on_read, NULL, relay_on_event, r);
                bufferevent_enable(r->ends[i], EV_READ | EV_WRITE);
        }
}

static inline void relay_begin(Relay *r, Fixture *f)
{
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(any);

        *r = (Relay){.base = f->base,
                     .to_size = sizeof(r->to),
                     .cut_after = {SIZE_MAX, SIZE_MAX},
                     .flip_at = {SIZE_MAX, SIZE_MAX}};
        g_assert_cmpint(
                evutil_parse_sockaddr_port(f->address, (struct sockaddr *) &r->to, &r->to_size), ==,
                0);
        r->listener = evconnlistener_new_bind(f->base, relay_on_accept, r,
                                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16,
                                              (struct sockaddr *) &any, sizeof(any));
        g_assert_nonnull(r->listener);
        g_assert_cmpint(
                getsockname(evconnlistener_get_fd(r->listener), (struct sockaddr *) &any, &size),
                ==, 0);
        r->address = g_strdup_printf("127.0.0.1:%u", ntohs(any.sin_port));
}

static inline void relay_end(Relay *r)
{
        relay_hang_up(r);
        evconnlistener_free(r->listener);
        g_free(r->address);
}

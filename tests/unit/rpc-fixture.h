/*
 * What the tests of calls share: a loop, the echo service on it, a channel to it, and a note of how
 * each call ended.
 */
#pragma once

#include <glib.h>
#include <event2/event.h>

#include "echo-service.h"

typedef Evgrpc__Test__Order Order;
typedef Evgrpc__Test__Answer Answer;
#define ORDER_INIT EVGRPC__TEST__ORDER__INIT
#define ECHO (&evgrpc__test__echo__descriptor)

#ifndef FIXTURE_TLS
#define FIXTURE_TLS NULL /* rpc-fixture-tls.h has another */
#endif

/* Of a further channel. */
#define FIXTURE_CHANNEL ((EvgrpcChannelOptions){.tls = FIXTURE_TLS, .tls_server_name = "localhost"})

typedef struct Fixture {
        struct event_base *base;
        EvgrpcServer *server;
        EchoService echo;
        EvgrpcChannel *channel;
        char *address;
} Fixture;

/* One call and its story. */
typedef struct Story {
        Fixture *f;
        EvgrpcCall *call;
        bool inside_start; /* a handler now would be a breach */
        unsigned messages, done;
        uint64_t bytes;
        EvgrpcCode code;
        char *message;
} Story;

static inline void fixture_begin_with(Fixture *f, const char *address,
                                      const EvgrpcServerOptions *server,
                                      const EvgrpcChannelOptions *channel)
{
        EvgrpcServerOptions so = server ? *server : (EvgrpcServerOptions){};
        EvgrpcChannelOptions co = channel ? *channel : (EvgrpcChannelOptions){};

        if (FIXTURE_TLS) {
                so.tls = co.tls = FIXTURE_TLS;
                co.tls_server_name = "localhost";
        }
        *f = (Fixture){.base = event_base_new()};
        g_assert_cmpint(evgrpc_server_new(f->base, &so, &f->server), ==, 0);
        g_assert_cmpint(echo_service_add(&f->echo, f->base, f->server), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(f->server, address, &f->address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(f->base, f->address, &co, &f->channel), ==, 0);
}

static inline void fixture_begin(Fixture *f)
{
        fixture_begin_with(f, "127.0.0.1:0", NULL, NULL);
}

static inline void fixture_end(Fixture *f)
{
        f->channel = evgrpc_channel_free(f->channel);
        f->server = evgrpc_server_free(f->server);
        g_assert_cmpuint(f->echo.living, ==, 0);
        event_base_free(f->base);
        free(f->address);
}

/* Runs the loop for so long. */
static inline void run_for(Fixture *f, unsigned msec)
{
        struct timeval tv = {.tv_sec = msec / 1000, .tv_usec = (suseconds_t) (msec % 1000) * 1000};

        event_base_loopexit(f->base, &tv);
        event_base_dispatch(f->base);
}

/* Runs the loop until @condition; fails after a minute. */
#define RUN_UNTIL(f, condition)                                                                    \
        do {                                                                                       \
                gint64 _end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;                        \
                while (!(condition)) {                                                             \
                        run_for((f), 1);                                                           \
                        g_assert_cmpint(g_get_monotonic_time(), <, _end);                          \
                }                                                                                  \
        } while (0)

static inline void story_on_message(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Story *s = userdata;

        g_assert_false(s->inside_start);
        g_assert_cmpuint(s->done, ==, 0);
        s->messages++;
        s->bytes += ((const Answer *) m)->body.len;
}

static inline void story_on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Story *s = userdata;

        g_assert_false(s->inside_start);
        s->done++;
        s->code = status->code;
        g_assert_nonnull(status->message);
        g_free(s->message);
        s->message = g_strdup(status->message);
}

static inline void story_start_on(Story *s, Fixture *f, EvgrpcChannel *channel, const char *method,
                                  const Order *order, const EvgrpcCallOptions *options)
{
        static const EvgrpcCallHandlers handlers = {.on_message = story_on_message,
                                                    .on_done = story_on_done};

        *s = (Story){.f = f, .inside_start = true};
        g_assert_cmpint(evgrpc_call_start(channel, ECHO, method, order ? &order->base : NULL,
                                          options, &handlers, s, &s->call),
                        ==, 0);
        s->inside_start = false;
}

static inline void story_start(Story *s, Fixture *f, const char *method, const Order *order,
                               const EvgrpcCallOptions *options)
{
        story_start_on(s, f, f->channel, method, order, options);
}

static inline void story_end(Story *s)
{
        g_assert_cmpuint(s->done, ==, 1);
        s->call = evgrpc_call_unref(s->call);
        g_free(s->message);
        s->message = NULL;
}

static inline void order_body(Order *o, const char *text)
{
        o->body.data = (uint8_t *) (uintptr_t) text;
        o->body.len = strlen(text);
}

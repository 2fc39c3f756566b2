/*
 * Calls a server of echo.proto that others wrote, and compares what comes back with what the case
 * must give. `echo-client TARGET CASE…` prints "ok CASE" for each, or ends with what was wrong.
 */
#include <stdio.h>
#include <glib.h>

#include "echo-service.h"
#include "echo-tls.h"

#define ECHO (&evgrpc__test__echo__descriptor)

typedef Evgrpc__Test__Order Order;
typedef Evgrpc__Test__Answer Answer;

typedef struct Client {
        struct event_base *base;
        EvgrpcChannel *channel;
} Client;

typedef struct Received {
        unsigned count;
        uint64_t bytes;
        unsigned cancel_at; /* cancels after so many messages */
} Received;

static void on_message(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Received *r = userdata;

        g_assert_cmpuint(((const Answer *) m)->number, ==, r->count);
        r->bytes += ((const Answer *) m)->body.len;
        if (++r->count == r->cancel_at)
                evgrpc_call_cancel(call);
}

static EvgrpcCall *start(Client *c, const char *method, const Order *order,
                         const EvgrpcCallOptions *options, Received *received)
{
        EvgrpcCallHandlers handlers = {.on_message = received ? on_message : NULL};
        EvgrpcCall *call;

        g_assert_cmpint(evgrpc_call_start(c->channel, ECHO, method, order ? &order->base : NULL,
                                          options, &handlers, received, &call),
                        ==, 0);
        return call;
}

static void expect(EvgrpcCall *call, EvgrpcCode code)
{
        const EvgrpcStatus *status = evgrpc_call_wait(call);

        if (status->code != code)
                g_error("status %s (%s), not %s", evgrpc_code_to_string(status->code),
                        status->message, evgrpc_code_to_string(code));
}

static void case_unary(Client *c)
{
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;
        const Answer *a;

        order.body.data = (uint8_t *) (uintptr_t) "hello";
        order.body.len = 5;
        call = start(c, "Unary", &order, NULL, NULL);
        expect(call, EVGRPC_OK);
        a = (const Answer *) evgrpc_call_reply(call);
        g_assert_cmpmem(a->body.data, a->body.len, "hello", 5);
        evgrpc_call_unref(call);
}

static void case_large(Client *c)
{
        size_t size = 3 << 20;
        g_autofree uint8_t *data = g_malloc(size);
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;
        const Answer *a;

        for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t) (i * 7 + i / 255);
        order.body.data = data;
        order.body.len = size;
        call = start(c, "Unary", &order, NULL, NULL);
        expect(call, EVGRPC_OK);
        a = (const Answer *) evgrpc_call_reply(call);
        g_assert_cmpmem(a->body.data, a->body.len, data, size);
        evgrpc_call_unref(call);
}

static void case_too_large(Client *c)
{
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;

        order.reply_size = 5 << 20;
        call = start(c, "Unary", &order, NULL, NULL);
        expect(call, EVGRPC_RESOURCE_EXHAUSTED);
        evgrpc_call_unref(call);
}

static void case_list(Client *c)
{
        Order order = EVGRPC__TEST__ORDER__INIT;
        Received r = {};
        EvgrpcCall *call;

        order.count = 500;
        order.reply_size = 20000;
        call = start(c, "List", &order, NULL, &r);
        expect(call, EVGRPC_OK);
        g_assert_cmpuint(r.count, ==, 500);
        g_assert_cmpuint(r.bytes, ==, 10000000);
        evgrpc_call_unref(call);
}

static void case_deadline(Client *c)
{
        /* Long enough for a handshake: the server is to hear of it. */
        EvgrpcCallOptions options = {.timeout_usec = 1000000};
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;

        order.hang = true;
        call = start(c, "Unary", &order, &options, NULL);
        expect(call, EVGRPC_DEADLINE_EXCEEDED);
        evgrpc_call_unref(call);
}

static void case_cancel(Client *c)
{
        Order order = EVGRPC__TEST__ORDER__INIT;
        Received r = {.cancel_at = 3};
        EvgrpcCall *call;

        order.count = 1000000;
        order.reply_size = 1000;
        call = start(c, "List", &order, NULL, &r);
        expect(call, EVGRPC_CANCELLED);
        g_assert_cmpuint(r.count, ==, 3);
        evgrpc_call_unref(call);
}

static void case_status(Client *c)
{
        static const char text[] = "nicht möglich: 100 %\n日本";
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;

        order.code = EVGRPC_FAILED_PRECONDITION;
        order.message = (char *) (uintptr_t) text;
        call = start(c, "Unary", &order, NULL, NULL);
        expect(call, EVGRPC_FAILED_PRECONDITION);
        g_assert_cmpstr(evgrpc_call_status(call)->message, ==, text);
        evgrpc_call_unref(call);
}

static void case_metadata(Client *c)
{
        static const uint8_t binary[] = {0, 1, 255, 254, 44, 0};
        EvgrpcMetadataEntry entries[] = {{"x-text", "some text", 9},
                                         {"x-data-bin", (const char *) binary, sizeof(binary)}};
        EvgrpcCallOptions options = {.metadata = {entries, 2}};
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;

        order.metadata = true;
        call = start(c, "Unary", &order, &options, NULL);
        expect(call, EVGRPC_OK);
        for (unsigned i = 0; i < 2; i++) {
                const EvgrpcMetadata *m = i == 0 ? evgrpc_call_initial_metadata(call)
                                                 : evgrpc_call_trailing_metadata(call);
                const EvgrpcMetadataEntry *text = evgrpc_metadata_find(m, "x-text"),
                                          *data = evgrpc_metadata_find(m, "x-data-bin");

                g_assert_true(text && data);
                g_assert_cmpstr(text->value, ==, "some text");
                g_assert_cmpmem(data->value, data->value_size, binary, sizeof(binary));
        }
        evgrpc_call_unref(call);
}

static void case_unknown(Client *c)
{
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call = start(c, "Missing", &order, NULL, NULL);

        expect(call, EVGRPC_UNIMPLEMENTED);
        evgrpc_call_unref(call);
}

static void case_collect(Client *c)
{
        g_autofree uint8_t *data = g_malloc0(1000);
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call = start(c, "Collect", NULL, NULL, NULL);
        const Answer *a;

        order.body.data = data;
        order.body.len = 1000;
        for (unsigned i = 0; i < 100; i++)
                g_assert_cmpint(evgrpc_call_send(call, &order.base), ==, 1);
        g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
        expect(call, EVGRPC_OK);
        a = (const Answer *) evgrpc_call_reply(call);
        g_assert_cmpuint(a->sum, ==, 100000);
        g_assert_cmpuint(a->number, ==, 100);
        evgrpc_call_unref(call);
}

static void on_chat(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Received *r = userdata;
        Order order = EVGRPC__TEST__ORDER__INIT;

        g_assert_cmpuint(((const Answer *) m)->number, ==, r->count);
        if (++r->count < 50)
                g_assert_cmpint(evgrpc_call_send(call, &order.base), ==, 1);
        else
                g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
}

static void case_chat(Client *c)
{
        EvgrpcCallHandlers handlers = {.on_message = on_chat};
        Order order = EVGRPC__TEST__ORDER__INIT;
        Received r = {};
        EvgrpcCall *call;

        g_assert_cmpint(
                evgrpc_call_start(c->channel, ECHO, "Chat", NULL, NULL, &handlers, &r, &call), ==,
                0);
        g_assert_cmpint(evgrpc_call_send(call, &order.base), ==, 1);
        expect(call, EVGRPC_OK);
        g_assert_cmpuint(r.count, ==, 50);
        evgrpc_call_unref(call);
}

static void case_many(Client *c)
{
        enum { N = 1000 };
        g_autofree EvgrpcCall **calls = g_new0(EvgrpcCall *, N);
        Order order = EVGRPC__TEST__ORDER__INIT;

        for (unsigned i = 0; i < N; i++)
                calls[i] = start(c, "Unary", &order, NULL, NULL);
        for (unsigned i = 0; i < N; i++) {
                expect(calls[i], EVGRPC_OK);
                evgrpc_call_unref(calls[i]);
        }
}

/* A call without a deadline, over a network that goes away; then one that waits for its return. */
static void case_outage(Client *c)
{
        EvgrpcCallOptions options = {.fail_fast_off = true, .timeout_usec = 60 * G_USEC_PER_SEC};
        Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call;

        case_unary(c);
        order.hang = true;
        call = start(c, "Unary", &order, NULL, NULL);
        puts("waiting");
        (void) fflush(stdout);
        expect(call, EVGRPC_UNAVAILABLE);
        puts(evgrpc_call_status(call)->message);
        (void) fflush(stdout);
        evgrpc_call_unref(call);
        order.hang = false;
        call = start(c, "Unary", &order, &options, NULL);
        expect(call, EVGRPC_OK);
        evgrpc_call_unref(call);
}

static const struct {
        const char *name;
        void (*run)(Client *c);
} cases[] = {
        {"unary", case_unary},     {"large", case_large},       {"too-large", case_too_large},
        {"list", case_list},       {"deadline", case_deadline}, {"cancel", case_cancel},
        {"status", case_status},   {"metadata", case_metadata}, {"unknown", case_unknown},
        {"collect", case_collect}, {"chat", case_chat},         {"many", case_many},
        {"outage", case_outage},
};

static void run_case(Client *c, const char *name)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                if (g_str_equal(cases[i].name, name)) {
                        cases[i].run(c);
                        printf("ok %s\n", name);
                        return;
                }
        g_error("no case %s", name);
}

int main(int argc, char **argv)
{
        Client c = {.base = event_base_new()};
        EvgrpcChannelOptions options = {.tls = echo_tls(),
                                        .keepalive_usec = echo_keepalive_usec(),
                                        .keepalive_timeout_usec = echo_keepalive_usec()};

        g_assert_cmpint(argc, >=, 3);
        g_assert_cmpint(evgrpc_channel_new(c.base, argv[1], &options, &c.channel), ==, 0);
        for (int i = 2; i < argc; i++)
                run_case(&c, argv[i]);
        evgrpc_channel_free(c.channel);
        evgrpc_tls_unref(options.tls);
        event_base_free(c.base);
        return 0;
}

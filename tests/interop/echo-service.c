/*
 * The test service.
 */
#include "echo-service.h"

typedef struct EchoCall {
        EchoService *service;
        EvgrpcServerCall *call;
        Evgrpc__Test__Order *order; /* a copy */
        uint32_t number;
        uint64_t sum;
        struct event *timer;
        uint8_t *filler;
} EchoCall;

static Evgrpc__Test__Order *copy_order(const ProtobufCMessage *m)
{
        g_autofree uint8_t *packed = g_malloc(protobuf_c_message_get_packed_size(m) + 1);
        size_t size = protobuf_c_message_pack(m, packed);

        return evgrpc__test__order__unpack(NULL, size, packed);
}

static void echo_call_free(EchoCall *c)
{
        c->service->living--;
        if (c->timer)
                event_free(c->timer);
        if (c->order)
                evgrpc__test__order__free_unpacked(c->order, NULL);
        g_free(c->filler);
        evgrpc_server_call_unref(c->call);
        g_free(c);
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        EchoCall *c = userdata;

        c->service->cancelled++;
        if (c->order && c->order->hang)
                g_queue_remove(&c->service->hanging, c);
        echo_call_free(c);
}

static void fill_answer(EchoCall *c, Evgrpc__Test__Answer *a)
{
        size_t body = c->order->body.len, size = body + c->order->reply_size;

        evgrpc__test__answer__init(a);
        if (!c->filler) {
                c->filler = g_malloc(size + 1);
                memset(c->filler, 'x', size);
                if (body > 0)
                        memcpy(c->filler, c->order->body.data, body);
        }
        a->body.data = c->filler;
        a->body.len = size;
        a->number = c->number++;
        a->sum = c->sum;
        a->time_left_usec = evgrpc_server_call_time_left_usec(c->call);
        a->peer = (char *) (uintptr_t) evgrpc_server_call_peer(c->call);
}

static void finish(EchoCall *c)
{
        if (c->order->message && c->order->message[0])
                evgrpc_server_call_finish(c->call, c->order->code, "%s", c->order->message);
        else
                evgrpc_server_call_finish(c->call, c->order->code, NULL);
        echo_call_free(c);
}

static void send_metadata(EchoCall *c)
{
        const EvgrpcMetadata *m = evgrpc_server_call_metadata(c->call);

        for (size_t i = 0; i < m->count; i++) {
                const EvgrpcMetadataEntry *e = &m->entries[i];

                if (!g_str_has_prefix(e->key, "x-"))
                        continue;
                g_assert_cmpint(evgrpc_server_call_add_initial_metadata(c->call, e->key, e->value,
                                                                        e->value_size),
                                ==, 0);
                g_assert_cmpint(evgrpc_server_call_add_trailing_metadata(c->call, e->key, e->value,
                                                                         e->value_size),
                                ==, 0);
        }
}

static void answer_unary(EchoCall *c)
{
        Evgrpc__Test__Answer a;

        if (c->order->metadata)
                send_metadata(c);
        if (c->order->code == EVGRPC_OK) {
                fill_answer(c, &a);
                g_assert_cmpint(evgrpc_server_call_send(c->call, &a.base), >=, 0);
        }
        finish(c);
}

static void answer_list(EchoCall *c)
{
        while (c->number < c->order->count) {
                Evgrpc__Test__Answer a;
                int r;

                fill_answer(c, &a);
                r = evgrpc_server_call_send(c->call, &a.base);
                g_assert_cmpint(r, >=, 0);
                c->service->sent++;
                if (r == 0) {
                        c->service->refused++;
                        return; /* on_writable goes on */
                }
        }
        finish(c);
}

static void on_list_writable(EvgrpcServerCall *call, void *userdata)
{
        answer_list(userdata);
}

static EchoCall *echo_call_new(EvgrpcServerCall *call, const ProtobufCMessage *request,
                               const EvgrpcServerCallHandlers *handlers, EchoService *e)
{
        EchoCall *c = g_new0(EchoCall, 1);

        *c = (EchoCall){.service = e, .call = evgrpc_server_call_ref(call)};
        if (request)
                c->order = copy_order(request);
        evgrpc_server_call_set_handlers(call, handlers, c);
        e->calls++;
        e->living++;
        return c;
}

static void on_unary_timer(evutil_socket_t fd, short what, void *userdata)
{
        answer_unary(userdata);
}

static void on_list_timer(evutil_socket_t fd, short what, void *userdata)
{
        answer_list(userdata);
}

static bool postponed(EchoCall *c, event_callback_fn handler)
{
        struct timeval tv = {.tv_sec = c->order->delay_ms / 1000,
                             .tv_usec = (suseconds_t) (c->order->delay_ms % 1000) * 1000};

        if (c->order->hang) {
                g_queue_push_tail(&c->service->hanging, c);
                return true;
        }
        if (c->order->delay_ms == 0)
                return false;
        c->timer = evtimer_new(c->service->base, handler, c);
        event_add(c->timer, &tv);
        return true;
}

void echo_service_release(EchoService *e)
{
        EchoCall *c;

        while ((c = g_queue_pop_head(&e->hanging)))
                answer_unary(c);
}

static void echo_unary(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_cancelled = on_cancelled};
        EchoCall *c = echo_call_new(call, request, &handlers, userdata);

        if (!postponed(c, on_unary_timer))
                answer_unary(c);
}

static void echo_list(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_cancelled = on_cancelled,
                                                          .on_writable = on_list_writable};
        EchoCall *c = echo_call_new(call, request, &handlers, userdata);

        if (!postponed(c, on_list_timer))
                answer_list(c);
}

/* ---- Streams from the client
 * -------------------------------------------------------------------- */

static void on_collect_message(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        EchoCall *c = userdata;
        const Evgrpc__Test__Order *o = (const Evgrpc__Test__Order *) m;

        c->sum += o->body.len;
        c->number++;
        if (o->code == EVGRPC_OK)
                return;
        evgrpc_server_call_finish(call, o->code, "%s", o->message);
        echo_call_free(c);
}

static void on_collect_half_close(EvgrpcServerCall *call, void *userdata)
{
        EchoCall *c = userdata;
        Evgrpc__Test__Answer a = EVGRPC__TEST__ANSWER__INIT;

        a.sum = c->sum;
        a.number = c->number;
        evgrpc_server_call_reply(call, &a.base);
        echo_call_free(c);
}

static void echo_collect(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_message = on_collect_message,
                                                          .on_half_close = on_collect_half_close,
                                                          .on_cancelled = on_cancelled};

        echo_call_new(call, NULL, &handlers, userdata);
}

static void on_chat_message(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        EchoCall *c = userdata;
        const Evgrpc__Test__Order *o = (const Evgrpc__Test__Order *) m;
        Evgrpc__Test__Answer a = EVGRPC__TEST__ANSWER__INIT;

        if (o->code != EVGRPC_OK) {
                evgrpc_server_call_finish(call, o->code, "%s", o->message);
                echo_call_free(c);
                return;
        }
        c->sum += o->body.len;
        a.body = o->body;
        a.number = c->number++;
        a.sum = c->sum;
        g_assert_cmpint(evgrpc_server_call_send(call, &a.base), >=, 0);
}

static void on_chat_half_close(EvgrpcServerCall *call, void *userdata)
{
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
        echo_call_free(userdata);
}

static void echo_chat(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_message = on_chat_message,
                                                          .on_half_close = on_chat_half_close,
                                                          .on_cancelled = on_cancelled};

        echo_call_new(call, NULL, &handlers, userdata);
}

int echo_service_add(EchoService *e, struct event_base *base, EvgrpcServer *server)
{
        static const EvgrpcMethod methods[] = {
                {.name = "Unary", .handler = echo_unary},
                {.name = "List", .handler = echo_list, .server_streaming = true},
                {.name = "Collect", .handler = echo_collect, .client_streaming = true},
                {.name = "Chat",
                 .handler = echo_chat,
                 .client_streaming = true,
                 .server_streaming = true},
                {},
        };

        *e = (EchoService){.base = base};
        return evgrpc_server_add_service(server, &evgrpc__test__echo__descriptor, methods, e);
}

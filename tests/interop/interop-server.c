/*
 * The server of gRPC's interoperability cases, on evgrpc.
 *
 *      interop-server --port N        (0: any free one; the address is printed)
 *                     [--use_tls=true --ca_file=PEM --tls_cert_file=PEM --tls_key_file=PEM]
 *
 * What each method does is written in doc/interop-test-descriptions.md of grpc/grpc, section
 * "Server".
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <glib.h>

#include "grpc-testing.pb-c.h"
#include "interop-tls.h"
#include "rpc/evgrpc.h"

#define RESPONSE_BYTES_MAX (64 << 20)
#define RESPONSES_MAX 65536 /* that wait in one call */

static struct event_base *arg_base;

typedef struct Response {
        int32_t size;
        int32_t interval_us;
} Response;

/* A call that is answered bit by bit. */
typedef struct Stream {
        EvgrpcServerCall *call;
        GArray *responses;
        guint next;
        bool waited; /* the interval before the next response is over */
        bool half_closed;
        struct event *timer;
        int64_t received_bytes;
} Stream;

static uint8_t *zeros(size_t size)
{
        static uint8_t *bytes;
        static size_t have;

        if (size > have) {
                g_free(bytes);
                bytes = g_malloc0(size);
                have = size;
        }
        return bytes;
}

static void fill(Grpc__Testing__Payload *payload, int32_t size)
{
        grpc__testing__payload__init(payload);
        payload->body.data = zeros((size_t) size);
        payload->body.len = (size_t) size;
}

static void echo_metadata(EvgrpcServerCall *call)
{
        const EvgrpcMetadata *m = evgrpc_server_call_metadata(call);
        const EvgrpcMetadataEntry *e = evgrpc_metadata_find(m, "x-grpc-test-echo-initial");

        if (e)
                (void) evgrpc_server_call_add_initial_metadata(call, e->key, e->value,
                                                               e->value_size);
        e = evgrpc_metadata_find(m, "x-grpc-test-echo-trailing-bin");
        if (e)
                (void) evgrpc_server_call_add_trailing_metadata(call, e->key, e->value,
                                                                e->value_size);
}

/* Ends the call if the request says how. */
static bool end_with_status(EvgrpcServerCall *call, const Grpc__Testing__EchoStatus *status)
{
        if (!status || status->code == 0)
                return false;
        evgrpc_server_call_finish(call, (EvgrpcCode) status->code, "%s", status->message);
        return true;
}

static void empty_call(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;

        echo_metadata(call);
        evgrpc_server_call_reply(call, &empty.base);
}

static void unary_call(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Grpc__Testing__SimpleRequest *request =
                (const Grpc__Testing__SimpleRequest *) message;
        Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        Grpc__Testing__Payload payload;

        echo_metadata(call);
        if (end_with_status(call, request->response_status))
                return;
        if (request->response_size < 0 || request->response_size > RESPONSE_BYTES_MAX ||
            request->response_type != GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE) {
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT, "no such response");
                return;
        }
        fill(&payload, request->response_size);
        response.payload = &payload;
        evgrpc_server_call_reply(call, &response.base);
}

static void stream_free(Stream *s)
{
        event_free(s->timer);
        g_array_unref(s->responses);
        evgrpc_server_call_unref(s->call);
        g_free(s);
}

static int send_response(Stream *s, int32_t size)
{
        Grpc__Testing__StreamingOutputCallResponse response =
                GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        Grpc__Testing__Payload payload;

        fill(&payload, size);
        response.payload = &payload;
        return evgrpc_server_call_send(s->call, &response.base);
}

/* Sends what is due; ends the call after the last response of a client that sends no more. */
static void stream_go_on(Stream *s)
{
        int r;

        while (s->next < s->responses->len) {
                const Response *next = &g_array_index(s->responses, Response, s->next);

                if (next->interval_us > 0 && !s->waited) {
                        struct timeval tv = {next->interval_us / 1000000,
                                             next->interval_us % 1000000};

                        if (!event_pending(s->timer, EV_TIMEOUT, NULL))
                                event_add(s->timer, &tv);
                        return;
                }
                r = send_response(s, next->size);
                if (r < 0)
                        return; /* a full queue: until on_writable */
                s->waited = false;
                s->next++;
                if (r == 0)
                        return;
        }
        if (!s->half_closed)
                return;
        evgrpc_server_call_finish(s->call, EVGRPC_OK, NULL);
        stream_free(s);
}

static void on_interval(evutil_socket_t fd, short what, void *userdata)
{
        Stream *s = userdata;

        s->waited = true;
        stream_go_on(s);
}

static void on_writable(EvgrpcServerCall *call, void *userdata)
{
        stream_go_on(userdata);
}

static void on_half_close(EvgrpcServerCall *call, void *userdata)
{
        Stream *s = userdata;

        s->half_closed = true;
        stream_go_on(s);
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        stream_free(userdata);
}

static Stream *stream_new(EvgrpcServerCall *call, const EvgrpcServerCallHandlers *handlers)
{
        Stream *s = g_new0(Stream, 1);

        s->call = evgrpc_server_call_ref(call);
        s->responses = g_array_new(false, false, sizeof(Response));
        s->timer = event_new(arg_base, -1, 0, on_interval, s);
        evgrpc_server_call_set_handlers(call, handlers, s);
        echo_metadata(call);
        return s;
}

static bool add_responses(Stream *s, const Grpc__Testing__StreamingOutputCallRequest *request)
{
        if (s->next > 0 && s->next == s->responses->len) {
                g_array_set_size(s->responses, 0);
                s->next = 0;
        }
        if (s->responses->len + request->n_response_parameters > RESPONSES_MAX)
                return false;
        for (size_t i = 0; i < request->n_response_parameters; i++) {
                const Grpc__Testing__ResponseParameters *p = request->response_parameters[i];
                Response r = {.size = p->size, .interval_us = p->interval_us};

                if (r.size < 0 || r.size > RESPONSE_BYTES_MAX || r.interval_us < 0)
                        return false;
                g_array_append_val(s->responses, r);
        }
        return true;
}

static void on_output_request(EvgrpcServerCall *call, const ProtobufCMessage *message,
                              void *userdata)
{
        const Grpc__Testing__StreamingOutputCallRequest *request =
                (const Grpc__Testing__StreamingOutputCallRequest *) message;
        Stream *s = userdata;

        if (end_with_status(call, request->response_status)) {
                stream_free(s);
        } else if (!add_responses(s, request)) {
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT, "no such responses");
                stream_free(s);
        } else {
                stream_go_on(s);
        }
}

static void full_duplex_call(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_message = on_output_request,
                                                          .on_half_close = on_half_close,
                                                          .on_writable = on_writable,
                                                          .on_cancelled = on_cancelled};

        (void) stream_new(call, &handlers);
}

static void streaming_output_call(EvgrpcServerCall *call, const ProtobufCMessage *message,
                                  void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_writable = on_writable,
                                                          .on_cancelled = on_cancelled};
        Stream *s = stream_new(call, &handlers);

        s->half_closed = true;
        on_output_request(call, message, s);
}

static void on_input_message(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        const Grpc__Testing__StreamingInputCallRequest *request =
                (const Grpc__Testing__StreamingInputCallRequest *) message;
        Stream *s = userdata;

        if (request->payload)
                s->received_bytes += (int64_t) request->payload->body.len;
}

static void on_input_end(EvgrpcServerCall *call, void *userdata)
{
        Grpc__Testing__StreamingInputCallResponse response =
                GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
        Stream *s = userdata;

        response.aggregated_payload_size = (int32_t) MIN(s->received_bytes, INT32_MAX);
        evgrpc_server_call_reply(call, &response.base);
        stream_free(s);
}

static void streaming_input_call(EvgrpcServerCall *call, const ProtobufCMessage *message,
                                 void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_message = on_input_message,
                                                          .on_half_close = on_input_end,
                                                          .on_cancelled = on_cancelled};

        (void) stream_new(call, &handlers);
}

static const EvgrpcMethod methods[] = {
        {.name = "EmptyCall", .handler = empty_call},
        {.name = "UnaryCall", .handler = unary_call},
        {.name = "StreamingOutputCall", .handler = streaming_output_call, .server_streaming = true},
        {.name = "StreamingInputCall", .handler = streaming_input_call, .client_streaming = true},
        {.name = "FullDuplexCall",
         .handler = full_duplex_call,
         .client_streaming = true,
         .server_streaming = true},
        {},
};

static void on_signal(evutil_socket_t fd, short what, void *userdata)
{
        event_base_loopbreak(arg_base);
}

static int serve(const char *address, EvgrpcTls *tls)
{
        const EvgrpcServerOptions options = {.tls = tls};
        struct event *term = evsignal_new(arg_base, SIGTERM, on_signal, NULL);
        g_autofree char *bound = NULL;
        EvgrpcServer *server = NULL;
        int r;

        event_add(term, NULL);
        r = evgrpc_server_new(arg_base, &options, &server);
        if (r >= 0)
                r = evgrpc_server_add_service(server, &grpc__testing__test_service__descriptor,
                                              methods, NULL);
        if (r >= 0)
                r = evgrpc_server_listen(server, address, &bound);
        if (r >= 0) {
                puts(bound);
                (void) fflush(stdout);
                event_base_dispatch(arg_base);
        } else {
                (void) fprintf(stderr, "%s: %s\n", address, strerror(-r));
        }
        evgrpc_server_free(server);
        event_free(term);
        return r;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"port", required_argument, NULL, 'p'}, INTEROP_TLS_OPTIONS, {}};
        InteropTls how = {};
        EvgrpcTls *tls;
        g_autofree char *address = g_strdup("127.0.0.1:0");
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (c == 'p') {
                        g_free(address);
                        address = g_strdup_printf("127.0.0.1:%s", optarg);
                } else if (!interop_tls_option(&how, c, optarg)) {
                        (void) fputs("interop-server [--port N] [--use_tls true|false]\n"
                                     "               [--ca_file PEM --tls_cert_file PEM"
                                     " --tls_key_file PEM]\n",
                                     stderr);
                        return 2;
                }
        }
        if (interop_tls_new(&how, &tls) < 0)
                return 2;
        arg_base = event_base_new();
        r = serve(address, tls);
        evgrpc_tls_unref(tls);
        event_base_free(arg_base);
        g_free(zeros(0));
        return r < 0 ? 1 : 0;
}

/*
 * The client of gRPC's interoperability cases, on evgrpc.
 *
 *      interop-client --server_host H --server_port N --test_case CASE[,CASE…]
 *
 * Each function is the case of its name in doc/interop-test-descriptions.md of grpc/grpc, section
 * "Client"; what that text asserts is asserted here. The first breach is printed and ends the
 * program.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <glib.h>

#include "grpc-testing.pb-c.h"
#include "interop-tls.h"
#include "rpc/evgrpc.h"

#define SERVICE (&grpc__testing__test_service__descriptor)
#define LARGE_REQUEST_BYTES 271828
#define LARGE_RESPONSE_BYTES 314159
#define STEPS_MAX 4
#define CASE_TIMEOUT_USEC (30 * G_USEC_PER_SEC)

typedef Grpc__Testing__StreamingOutputCallRequest OutputRequest;
typedef Grpc__Testing__StreamingOutputCallResponse OutputResponse;
typedef Grpc__Testing__SimpleRequest SimpleRequest;
typedef Grpc__Testing__SimpleResponse SimpleResponse;

static struct event_base *base;
static EvgrpcChannel *channel;
static EvgrpcChannelOptions arg_channel;
static char *arg_target;
static const char *arg_case;
static unsigned arg_soak_iterations = 10;
static unsigned arg_soak_max_failures;
static int64_t arg_soak_max_latency_ms = 1000;

static const int32_t request_sizes[STEPS_MAX] = {27182, 8, 1828, 45904};
static const int32_t response_sizes[STEPS_MAX] = {31415, 9, 2653, 58979};

#define REQUIRE(condition, ...)                                                                    \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        g_autofree char *_text = g_strdup_printf(__VA_ARGS__);                     \
                        (void) fprintf(stderr, "%s: %s\n", arg_case, _text);                       \
                        _exit(1);                                                                  \
                }                                                                                  \
        } while (0)

/* ---- What the cases share
 * ----------------------------------------------------------------------- */

static uint8_t zeros[LARGE_RESPONSE_BYTES];

static void fill(Grpc__Testing__Payload *payload, size_t size)
{
        grpc__testing__payload__init(payload);
        payload->body.data = zeros;
        payload->body.len = size;
}

static void check_body(const Grpc__Testing__Payload *payload, int32_t size)
{
        REQUIRE(payload, "a response without a payload");
        REQUIRE(payload->body.len == (size_t) size, "a body of %zu bytes, not %d",
                payload->body.len, size);
        REQUIRE(size == 0 || memcmp(payload->body.data, zeros, (size_t) size) == 0,
                "a body that is not all zeros");
}

static EvgrpcCall *start(const char *method, const ProtobufCMessage *request,
                         const EvgrpcCallOptions *options, const EvgrpcCallHandlers *handlers,
                         void *userdata)
{
        EvgrpcCallOptions limited = {.timeout_usec = CASE_TIMEOUT_USEC};
        EvgrpcCall *call = NULL;
        int r = evgrpc_call_start(channel, SERVICE, method, request, options ? options : &limited,
                                  handlers, userdata, &call);

        REQUIRE(r == 0, "%s could not be started: %s", method, g_strerror(-r));
        return call;
}

static void expect(EvgrpcCall *call, EvgrpcCode code, const char *message)
{
        const EvgrpcStatus *status = evgrpc_call_wait(call);

        REQUIRE(status->code == code, "%s (%s), not %s", evgrpc_code_to_string(status->code),
                status->message, evgrpc_code_to_string(code));
        REQUIRE(!message || g_str_equal(status->message, message), "the message is \"%s\"",
                status->message);
}

/* large_unary, and the case that adds metadata to it. */
static EvgrpcCall *large_call(const EvgrpcMetadata *metadata)
{
        EvgrpcCallOptions options = {.timeout_usec = CASE_TIMEOUT_USEC};
        SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
        Grpc__Testing__Payload payload;
        EvgrpcCall *call;

        if (metadata)
                options.metadata = *metadata;
        fill(&payload, LARGE_REQUEST_BYTES);
        request.payload = &payload;
        request.response_size = LARGE_RESPONSE_BYTES;
        call = start("UnaryCall", &request.base, &options, NULL, NULL);
        expect(call, EVGRPC_OK, NULL);
        check_body(((const SimpleResponse *) evgrpc_call_reply(call))->payload,
                   LARGE_RESPONSE_BYTES);
        return call;
}

/* The responses of a streaming call, and what to do at each. */
typedef struct Responses {
        const int32_t *sizes;
        unsigned expected, count;
        void (*next)(EvgrpcCall *call, unsigned count); /* NULL: nothing */
} Responses;

static void on_response(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        Responses *r = userdata;

        REQUIRE(r->count < r->expected, "more than %u responses", r->expected);
        check_body(((const OutputResponse *) message)->payload, r->sizes[r->count]);
        r->count++;
        if (r->next)
                r->next(call, r->count);
}

static const EvgrpcCallHandlers response_handlers = {.on_message = on_response};

static void send_output_request(EvgrpcCall *call, int32_t response_size, int32_t request_size)
{
        Grpc__Testing__ResponseParameters one = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
        Grpc__Testing__ResponseParameters *all[] = {&one};
        OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
        Grpc__Testing__Payload payload;

        fill(&payload, (size_t) request_size);
        request.payload = &payload;
        one.size = response_size;
        if (response_size >= 0) {
                request.response_parameters = all;
                request.n_response_parameters = 1;
        }
        REQUIRE(evgrpc_call_send(call, &request.base) >= 0, "a request could not be sent");
}

static void close_send(EvgrpcCall *call)
{
        REQUIRE(evgrpc_call_close_send(call) >= 0, "the sending side could not be closed");
}

/* ---- The cases
 * ---------------------------------------------------------------------------------- */

static void empty_unary(void)
{
        Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
        EvgrpcCall *call = start("EmptyCall", &empty.base, NULL, NULL, NULL);

        expect(call, EVGRPC_OK, NULL);
        REQUIRE(evgrpc_call_reply(call), "no response");
        evgrpc_call_unref(call);
}

static void large_unary(void)
{
        evgrpc_call_unref(large_call(NULL));
}

static void client_streaming(void)
{
        EvgrpcCall *call = start("StreamingInputCall", NULL, NULL, NULL, NULL);
        const Grpc__Testing__StreamingInputCallResponse *response;

        for (unsigned i = 0; i < STEPS_MAX; i++) {
                Grpc__Testing__StreamingInputCallRequest request =
                        GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
                Grpc__Testing__Payload payload;

                fill(&payload, (size_t) request_sizes[i]);
                request.payload = &payload;
                REQUIRE(evgrpc_call_send(call, &request.base) >= 0, "request %u not sent", i);
        }
        close_send(call);
        expect(call, EVGRPC_OK, NULL);
        response = (const Grpc__Testing__StreamingInputCallResponse *) evgrpc_call_reply(call);
        REQUIRE(response && response->aggregated_payload_size == 74922, "the sum is wrong");
        evgrpc_call_unref(call);
}

static void server_streaming(void)
{
        Grpc__Testing__ResponseParameters each[STEPS_MAX], *all[STEPS_MAX];
        OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
        Responses r = {.sizes = response_sizes, .expected = STEPS_MAX};
        EvgrpcCall *call;

        for (unsigned i = 0; i < STEPS_MAX; i++) {
                grpc__testing__response_parameters__init(&each[i]);
                each[i].size = response_sizes[i];
                all[i] = &each[i];
        }
        request.response_parameters = all;
        request.n_response_parameters = STEPS_MAX;
        call = start("StreamingOutputCall", &request.base, NULL, &response_handlers, &r);
        expect(call, EVGRPC_OK, NULL);
        REQUIRE(r.count == STEPS_MAX, "%u responses", r.count);
        evgrpc_call_unref(call);
}

static void next_ping(EvgrpcCall *call, unsigned count)
{
        if (count < STEPS_MAX)
                send_output_request(call, response_sizes[count], request_sizes[count]);
        else
                close_send(call);
}

static void ping_pong(void)
{
        Responses r = {.sizes = response_sizes, .expected = STEPS_MAX, .next = next_ping};
        EvgrpcCall *call = start("FullDuplexCall", NULL, NULL, &response_handlers, &r);

        next_ping(call, 0);
        expect(call, EVGRPC_OK, NULL);
        REQUIRE(r.count == STEPS_MAX, "%u responses", r.count);
        evgrpc_call_unref(call);
}

static void empty_stream(void)
{
        Responses r = {};
        EvgrpcCall *call = start("FullDuplexCall", NULL, NULL, &response_handlers, &r);

        close_send(call);
        expect(call, EVGRPC_OK, NULL);
        evgrpc_call_unref(call);
}

static const EvgrpcMetadataEntry custom_entries[] = {
        {"x-grpc-test-echo-initial", "test_initial_metadata_value", 27},
        {"x-grpc-test-echo-trailing-bin", "\xab\xab\xab", 3},
};
static const EvgrpcMetadata custom = {custom_entries, 2};

static void check_echo(const EvgrpcMetadata *got, const EvgrpcMetadataEntry *sent)
{
        const EvgrpcMetadataEntry *e = evgrpc_metadata_find(got, sent->key);

        REQUIRE(e, "%s did not come back", sent->key);
        REQUIRE(e->value_size == sent->value_size &&
                        memcmp(e->value, sent->value, sent->value_size) == 0,
                "%s came back changed", sent->key);
}

static void check_metadata(EvgrpcCall *call)
{
        check_echo(evgrpc_call_initial_metadata(call), &custom_entries[0]);
        check_echo(evgrpc_call_trailing_metadata(call), &custom_entries[1]);
        evgrpc_call_unref(call);
}

static void custom_metadata(void)
{
        static const int32_t sizes[] = {LARGE_RESPONSE_BYTES};
        EvgrpcCallOptions options = {.timeout_usec = CASE_TIMEOUT_USEC, .metadata = custom};
        Responses r = {.sizes = sizes, .expected = 1};
        EvgrpcCall *call;

        check_metadata(large_call(&custom));
        call = start("FullDuplexCall", NULL, &options, &response_handlers, &r);
        send_output_request(call, LARGE_RESPONSE_BYTES, LARGE_REQUEST_BYTES);
        close_send(call);
        expect(call, EVGRPC_OK, NULL);
        REQUIRE(r.count == 1, "%u responses", r.count);
        check_metadata(call);
}

static void unary_status(char *message)
{
        Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
        SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
        EvgrpcCall *call;

        status.code = 2;
        status.message = message;
        request.response_status = &status;
        call = start("UnaryCall", &request.base, NULL, NULL, NULL);
        expect(call, EVGRPC_UNKNOWN, message);
        evgrpc_call_unref(call);
}

static void status_code_and_message(void)
{
        char message[] = "test status message";
        Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
        OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
        Responses r = {};
        EvgrpcCall *call;

        unary_status(message);
        status.code = 2;
        status.message = message;
        request.response_status = &status;
        call = start("FullDuplexCall", NULL, NULL, &response_handlers, &r);
        REQUIRE(evgrpc_call_send(call, &request.base) >= 0, "a request could not be sent");
        close_send(call);
        expect(call, EVGRPC_UNKNOWN, message);
        evgrpc_call_unref(call);
}

static void special_status_message(void)
{
        char message[] = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";

        unary_status(message);
}

static void unimplemented_method(void)
{
        Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
        EvgrpcCall *call = start("UnimplementedCall", &empty.base, NULL, NULL, NULL);

        expect(call, EVGRPC_UNIMPLEMENTED, NULL);
        evgrpc_call_unref(call);
}

static void unimplemented_service(void)
{
        Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
        EvgrpcCall *call = NULL;
        int r = evgrpc_call_start(channel, &grpc__testing__unimplemented_service__descriptor,
                                  "UnimplementedCall", &empty.base, NULL, NULL, NULL, &call);

        REQUIRE(r == 0, "the call could not be started: %s", g_strerror(-r));
        expect(call, EVGRPC_UNIMPLEMENTED, NULL);
        evgrpc_call_unref(call);
}

static void cancel_after_begin(void)
{
        EvgrpcCall *call = start("StreamingInputCall", NULL, NULL, NULL, NULL);

        evgrpc_call_cancel(call);
        expect(call, EVGRPC_CANCELLED, NULL);
        evgrpc_call_unref(call);
}

static void cancel(EvgrpcCall *call, unsigned count)
{
        evgrpc_call_cancel(call);
}

static void cancel_after_first_response(void)
{
        Responses r = {.sizes = response_sizes, .expected = 1, .next = cancel};
        EvgrpcCall *call = start("FullDuplexCall", NULL, NULL, &response_handlers, &r);

        send_output_request(call, response_sizes[0], request_sizes[0]);
        expect(call, EVGRPC_CANCELLED, NULL);
        REQUIRE(r.count == 1, "%u responses", r.count);
        evgrpc_call_unref(call);
}

static void timeout_on_sleeping_server(void)
{
        EvgrpcCallOptions options = {.timeout_usec = 1000};
        Responses r = {};
        EvgrpcCall *call = start("FullDuplexCall", NULL, &options, &response_handlers, &r);

        send_output_request(call, -1, request_sizes[0]);
        expect(call, EVGRPC_DEADLINE_EXCEEDED, NULL);
        evgrpc_call_unref(call);
}

/* One call after another; each in time, all but a few. */
static void soak(bool new_channel_each)
{
        unsigned late = 0;

        for (unsigned i = 0; i < arg_soak_iterations; i++) {
                int64_t begin = g_get_monotonic_time();

                if (new_channel_each) {
                        channel = evgrpc_channel_free(channel);
                        REQUIRE(evgrpc_channel_new(base, arg_target, &arg_channel, &channel) == 0,
                                "no channel");
                }
                large_unary();
                late += g_get_monotonic_time() - begin > arg_soak_max_latency_ms * 1000;
        }
        REQUIRE(late <= arg_soak_max_failures, "%u calls of %u took longer than %" PRId64 " ms",
                late, arg_soak_iterations, arg_soak_max_latency_ms);
}

static void rpc_soak(void)
{
        soak(false);
}

static void channel_soak(void)
{
        soak(true);
}

#define CASE(name)                                                                                 \
        {                                                                                          \
#name, name                                                                        \
        }

static const struct {
        const char *name;
        void (*run)(void);
} cases[] = {
        CASE(empty_unary),
        CASE(large_unary),
        CASE(client_streaming),
        CASE(server_streaming),
        CASE(ping_pong),
        CASE(empty_stream),
        CASE(custom_metadata),
        CASE(status_code_and_message),
        CASE(special_status_message),
        CASE(unimplemented_method),
        CASE(unimplemented_service),
        CASE(cancel_after_begin),
        CASE(cancel_after_first_response),
        CASE(timeout_on_sleeping_server),
        CASE(rpc_soak),
        CASE(channel_soak),
};

static bool run_case(const char *name)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                if (g_str_equal(cases[i].name, name)) {
                        arg_case = name;
                        cases[i].run();
                        printf("ok %s\n", name);
                        (void) fflush(stdout);
                        return true;
                }
        return false;
}

static int usage(void)
{
        (void) fputs("interop-client [--server_host H] --server_port N --test_case CASE[,CASE...]\n"
                     "               [--use_tls true|false] [--ca_file PEM]\n"
                     "               [--tls_cert_file PEM --tls_key_file PEM]\n"
                     "               [--server_host_override NAME]\n"
                     "               [--soak_iterations N] [--soak_max_failures N]\n"
                     "               [--soak_per_iteration_max_acceptable_latency_ms N]\n",
                     stderr);
        return 2;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"server_host", required_argument, NULL, 'h'},
                {"server_port", required_argument, NULL, 'p'},
                {"test_case", required_argument, NULL, 'c'},
                {"server_host_override", required_argument, NULL, 'o'},
                INTEROP_TLS_OPTIONS,
                {"soak_iterations", required_argument, NULL, 'i'},
                {"soak_max_failures", required_argument, NULL, 'f'},
                {"soak_per_iteration_max_acceptable_latency_ms", required_argument, NULL, 'l'},
                {}};
        const char *host = "127.0.0.1", *port = NULL, *names = NULL;
        g_auto(GStrv) list = NULL;
        InteropTls how = {};
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        host = optarg;
                        break;
                case 'p':
                        port = optarg;
                        break;
                case 'c':
                        names = optarg;
                        break;
                case 'i':
                        arg_soak_iterations = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                case 'f':
                        arg_soak_max_failures = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                case 'l':
                        arg_soak_max_latency_ms = (int64_t) strtoul(optarg, NULL, 10);
                        break;
                case 'o':
                        arg_channel.tls_server_name = optarg;
                        break;
                default:
                        if (!interop_tls_option(&how, c, optarg))
                                return usage();
                }
        if (!port || !names)
                return usage();
        arg_target = g_strdup_printf("%s:%s", host, port);
        if (interop_tls_new(&how, &arg_channel.tls) < 0)
                return 2;
        base = event_base_new();
        REQUIRE(evgrpc_channel_new(base, arg_target, &arg_channel, &channel) == 0, "no address: %s",
                arg_target);
        list = g_strsplit(names, ",", -1);
        for (char **name = list; *name; name++)
                if (!run_case(*name)) {
                        (void) fprintf(stderr, "No such case: %s\n", *name);
                        return 2;
                }
        evgrpc_channel_free(channel);
        evgrpc_tls_unref(arg_channel.tls);
        event_base_free(base);
        g_free(arg_target);
        return 0;
}

/*
 * A server's call: from the request's headers to the trailers.
 */
#include <stdio.h>

#include "rpc/server.h"
#include "rpc/timeout.h"
#include "rpc/unpack.h"

#define ARENA_LIMIT ((size_t) 256 * 1024) /* metadata of one call, both ways */
#define ARENA_KEEP ((size_t) 2 << 20)     /* of the server's arena, from one message to the next */

static const nghttp2_nv field_status = RPC_FIELD_STATIC(":status", "200");
static const nghttp2_nv field_type = RPC_FIELD_STATIC("content-type", "application/grpc");
static const nghttp2_nv field_encoding = RPC_FIELD_STATIC("grpc-accept-encoding", "identity");

static const nghttp2_nv field_codes[_EVGRPC_CODE_MAX] = {
        RPC_FIELD_STATIC("grpc-status", "0"),  RPC_FIELD_STATIC("grpc-status", "1"),
        RPC_FIELD_STATIC("grpc-status", "2"),  RPC_FIELD_STATIC("grpc-status", "3"),
        RPC_FIELD_STATIC("grpc-status", "4"),  RPC_FIELD_STATIC("grpc-status", "5"),
        RPC_FIELD_STATIC("grpc-status", "6"),  RPC_FIELD_STATIC("grpc-status", "7"),
        RPC_FIELD_STATIC("grpc-status", "8"),  RPC_FIELD_STATIC("grpc-status", "9"),
        RPC_FIELD_STATIC("grpc-status", "10"), RPC_FIELD_STATIC("grpc-status", "11"),
        RPC_FIELD_STATIC("grpc-status", "12"), RPC_FIELD_STATIC("grpc-status", "13"),
        RPC_FIELD_STATIC("grpc-status", "14"), RPC_FIELD_STATIC("grpc-status", "15"),
        RPC_FIELD_STATIC("grpc-status", "16"),
};

static EvgrpcServerCall *call_of(RpcStream *st)
{
        return CONTAINER_OF(st, EvgrpcServerCall, stream);
}

/* ---- Life
 * --------------------------------------------------------------------------------------- */

static EvgrpcServerCall *call_new(EvgrpcServer *sv)
{
        EvgrpcServerCall *call = sv->call_pool;

        if (call) {
                sv->call_pool = call->pool_next;
                sv->call_pool_count--;
        } else {
                call = malloc(sizeof(*call));
                if (!call)
                        return NULL;
        }
        memset(call, 0, offsetof(EvgrpcServerCall, arena_space));
        call->refs = 1;
        call->server = sv;
        sv->refs++;
        call->timeout_usec = EVGRPC_TIMEOUT_NONE;
        rpc_stream_init(&call->stream);
        rpc_arena_init(&call->arena, call->arena_space, sizeof(call->arena_space), ARENA_LIMIT);
        return call;
}

static RpcStream *server_stream_open(RpcSession *s)
{
        Connection *c = s->o.owner;
        EvgrpcServerCall *call = call_new(c->server);

        if (!call)
                return NULL;
        call->connection = c;
        c->calls++;
        (void) event_del(&c->idle);
        return &call->stream;
}

EvgrpcServerCall *evgrpc_server_call_ref(EvgrpcServerCall *call)
{
        call->refs++;
        return call;
}

EvgrpcServerCall *evgrpc_server_call_unref(EvgrpcServerCall *call)
{
        EvgrpcServerCall *origin;
        EvgrpcServer *sv;

        if (!call || --call->refs > 0)
                return NULL;
        sv = call->server;
        origin = call->origin;
        rpc_stream_done(&call->stream, &sv->blocks);
        rpc_arena_done(&call->arena);
        if (!sv->freed && sv->call_pool_count < RPC_SERVER_CALL_POOL_MAX) {
                call->pool_next = sv->call_pool;
                sv->call_pool = call;
                sv->call_pool_count++;
        } else
                free(call);
        evgrpc_server_call_unref(origin); /* has no origin of its own */
        rpc_server_unref(sv);
        return NULL;
}

/* Off the connection: the reference that the stream held is given back. */
static void release(EvgrpcServerCall *call)
{
        rpc_once_leave(call);
        rpc_deadlines_remove(&call->server->deadlines, &call->deadline);
        rpc_queue_done(&call->stream.queue, &call->server->blocks);
        rpc_reader_done(&call->stream.reader);
        call->stream.reader.budget =
                NULL; /* the connection's: a handler may keep the call for longer */
        if (call->connection)
                rpc_connection_call_ended(call->connection);
        call->connection = NULL;
        evgrpc_server_call_unref(call);
}

/* Nothing more can be sent; the handler hears of it unless it has finished. */
static void tell_cancelled(EvgrpcServerCall *call)
{
        if (call->over)
                return;
        call->over = true;
        call->stream.deaf = true;
        if (call->accepted && call->handlers.on_cancelled)
                call->handlers.on_cancelled(call, call->userdata);
}

static void server_stream_closed(RpcSession *s, RpcStream *st, uint32_t h2_error, bool refused,
                                 bool lost)
{
        EvgrpcServerCall *call = call_of(st);

        call->lost = lost;
        tell_cancelled(call);
        release(call);
}

/* ---- Answering
 * ---------------------------------------------------------------------------------- */

static size_t status_fields(EvgrpcServerCall *call, nghttp2_nv *f)
{
        size_t n = 0;

        f[n++] = field_codes[call->code];
        if (call->message)
                f[n++] = RPC_FIELD("grpc-message", call->message, strlen(call->message));
        return n + rpc_metadata_fields(&call->trailing, f + n);
}

static void server_trailers(RpcStream *st)
{
        nghttp2_nv fields[2 + RPC_METADATA_ENTRIES_MAX];

        (void) rpc_stream_send_trailers(st, fields, status_fields(call_of(st), fields));
}

static int respond(EvgrpcServerCall *call, bool last)
{
        nghttp2_nv fields[5 + 2 * RPC_METADATA_ENTRIES_MAX];
        size_t n = 0;

        if (call->responded)
                return 0;
        call->responded = true;
        fields[n++] = field_status;
        fields[n++] = field_type;
        if (call->code == EVGRPC_UNIMPLEMENTED)
                fields[n++] = field_encoding;
        n += rpc_metadata_fields(&call->initial, fields + n);
        if (last)
                n += status_fields(call, fields + n);
        return rpc_stream_respond(&call->stream, fields, n, last);
}

static void set_status_message(EvgrpcServerCall *call, const char *format, va_list ap)
        __attribute__((format(printf, 2, 0)));

static void set_status_message(EvgrpcServerCall *call, const char *format, va_list ap)
{
        char text[RPC_STATUS_MESSAGE_MAX + 1], *encoded;
        size_t size;
        int n = vsnprintf(text, sizeof(text), format, ap);

        if (n <= 0)
                return;
        size = RPC_MIN((size_t) n, RPC_STATUS_MESSAGE_MAX);
        encoded = rpc_arena_alloc(&call->arena, 3 * size + 1);
        if (!encoded)
                return; /* the code matters more than its explanation */
        encoded[rpc_percent_encode(text, size, encoded)] = 0;
        call->message = encoded;
}

/* The end, in trailers: the message is set. */
static void finish(EvgrpcServerCall *call, EvgrpcCode code)
{
        call->over = true;
        call->code = (unsigned) code < _EVGRPC_CODE_MAX ? code : EVGRPC_UNKNOWN;
        call->stream.deaf = true;
        rpc_deadlines_remove(&call->server->deadlines, &call->deadline);
        if (call->origin) {
                rpc_once_finished(call);
                return;
        }
        rpc_once_leave(call);
        if (!call->stream.session)
                return;
        if (!call->responded) {
                (void) respond(call, true);
                return;
        }
        rpc_stream_end(&call->stream);
}

void evgrpc_server_call_finish(EvgrpcServerCall *call, EvgrpcCode code, const char *format, ...)
{
        va_list ap;

        if (call->over)
                return;
        if (format) {
                va_start(ap, format);
                set_status_message(call, format, ap);
                va_end(ap);
        }
        finish(call, code);
}

static int check_send(const EvgrpcServerCall *call, const ProtobufCMessage *message)
{
        if (call->over || (!call->stream.session && !call->origin))
                return -EPIPE;
        return message->descriptor == call->method->descriptor->output ? 0 : -EINVAL;
}

int evgrpc_server_call_send(EvgrpcServerCall *call, const ProtobufCMessage *message)
{
        int r = check_send(call, message);

        if (r < 0)
                return r;
        if (call->origin)
                return rpc_once_send(call, message);
        r = respond(call, false);
        if (r < 0)
                return r;
        return rpc_stream_send(&call->stream, &call->server->blocks, message);
}

int evgrpc_server_call_send_file(EvgrpcServerCall *call, const ProtobufCMessage *message,
                                 const EvgrpcFileRange *range)
{
        int r = check_send(call, message);

        if (r >= 0 && call->origin)
                r = -EINVAL; /* a kept reply is of bytes */
        if (r >= 0)
                r = respond(call, false);
        if (r < 0)
                return r;
        return rpc_stream_send_file(&call->stream, &call->server->blocks, message, range);
}

void evgrpc_server_call_reply(EvgrpcServerCall *call, const ProtobufCMessage *message)
{
        int r = evgrpc_server_call_send(call, message);

        if (r >= 0)
                finish(call, EVGRPC_OK);
        else if (r != -EPIPE)
                evgrpc_server_call_finish(call, EVGRPC_INTERNAL, "Failed to send the reply: %s",
                                          strerror(-r));
}

void rpc_server_call_expired(RpcDeadline *d, void *userdata)
{
        EvgrpcServerCall *call = CONTAINER_OF(d, EvgrpcServerCall, deadline);

        evgrpc_server_call_ref(call);
        tell_cancelled(call);
        if (call->stream.session) {
                if (call->responded) {
                        /* Trailers would wait behind a queue that may be blocked: cut it. */
                        rpc_stream_reset(&call->stream, NGHTTP2_CANCEL);
                        release(call);
                } else {
                        call->message = "Deadline exceeded";
                        finish(call, EVGRPC_DEADLINE_EXCEEDED);
                }
        }
        evgrpc_server_call_unref(call);
}

/* ---- What the client sends
 * ---------------------------------------------------------------------- */

static bool is(const uint8_t *name, size_t name_size, const char *literal, size_t literal_size)
{
        return name_size == literal_size && memcmp(name, literal, literal_size) == 0;
}
#define IS(name, size, literal) is((name), (size), (literal), sizeof(literal) - 1)

/* "application/grpc", or with "+proto" or parameters behind it. */
static bool is_grpc_type(const uint8_t *value, size_t size)
{
        return size >= 16 && memcmp(value, "application/grpc", 16) == 0 &&
               (size == 16 || value[16] == ';' ||
                (size >= 22 && memcmp(value + 16, "+proto", 6) == 0));
}

static int server_header(RpcStream *st, const uint8_t *name, size_t name_size, const uint8_t *value,
                         size_t value_size)
{
        EvgrpcServerCall *call = call_of(st);

        if (IS(name, name_size, ":path")) {
                call->method =
                        rpc_server_find_method(call->server, (const char *) value, value_size);
                return 0;
        }
        if (IS(name, name_size, ":method")) {
                call->method_post = IS(value, value_size, "POST");
                return 0;
        }
        if (IS(name, name_size, "content-type")) {
                call->content_type_ok = is_grpc_type(value, value_size);
                return 0;
        }
        if (IS(name, name_size, "grpc-timeout")) {
                if (rpc_timeout_parse((const char *) value, value_size, &call->timeout_usec) < 0)
                        call->bad_request = true;
                return 0;
        }
        switch (rpc_metadata_add_received(&call->received, &call->arena, name, name_size, value,
                                          value_size)) {
        case -ENOMEM:
        case -E2BIG:
                st->headers_too_long = true;
                break;
        case -EBADMSG:
                call->bad_request = true;
                break;
        }
        return 0;
}

/* What is not gRPC is answered as HTTP is: with a word for people, and after the request's end. */
static void refuse_http(EvgrpcServerCall *call, const char *http_status)
{
        call->over = true;
        call->responded = true;
        call->stream.deaf = true;
        call->http_status = http_status;
}

static ssize_t refusal_source(nghttp2_session *h2, int32_t id, uint8_t *buffer, size_t length,
                              uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
        static const char text[] = "This port speaks gRPC.\n";
        RpcStream *st = nghttp2_session_get_stream_user_data(h2, id);
        EvgrpcServerCall *call;
        size_t size;

        if (!st)
                return NGHTTP2_ERR_DEFERRED; /* reset, and the RST_STREAM is on its way */
        call = call_of(st);
        size = RPC_MIN(length, sizeof(text) - 1 - call->http_sent);
        memcpy(buffer, text + call->http_sent, size);
        call->http_sent += size;
        if (call->http_sent == sizeof(text) - 1)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t) size;
}

static void answer_http(EvgrpcServerCall *call)
{
        nghttp2_data_provider source = {.read_callback = refusal_source};
        nghttp2_nv f[] = {RPC_FIELD(":status", call->http_status, strlen(call->http_status)),
                          RPC_FIELD_STATIC("content-type", "text/plain")};

        (void) nghttp2_submit_response(call->stream.session->h2, call->stream.id, f, ELEMENTSOF(f),
                                       &source);
}

static bool has_backlog(const EvgrpcServerCall *call)
{
        return call->stream.session->queued_bytes > RPC_CONNECTION_BACKLOG_BYTES;
}

static void set_deadline(EvgrpcServerCall *call)
{
        if (call->timeout_usec == EVGRPC_TIMEOUT_NONE)
                return;
        call->deadline.at_usec =
                rpc_now_usec() + call->timeout_usec; /* at most 10^8 hours: no overflow */
        (void) rpc_deadlines_add(&call->server->deadlines, &call->deadline);
}

static bool wants_messages(const EvgrpcServerCall *call)
{
        return call->method->method->client_streaming;
}

static void server_headers_end(RpcStream *st, bool trailers)
{
        EvgrpcServerCall *call = call_of(st);

        if (trailers || call->over)
                return;
        if (!call->method_post)
                refuse_http(call, "405");
        else if (!call->content_type_ok)
                refuse_http(call, "415");
        else if (st->headers_too_long)
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED,
                                          "The metadata is too long");
        else if (call->bad_request)
                evgrpc_server_call_finish(call, EVGRPC_INTERNAL, "A header is malformed");
        else if (!call->method)
                evgrpc_server_call_finish(call, EVGRPC_UNIMPLEMENTED, "Unknown method");
        else if (has_backlog(call))
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED,
                                          "Too many replies wait to be read by this client");
        else {
                set_deadline(call);
                if (!wants_messages(call))
                        return;
                st->reader.keep_buffer = true;
                call->accepted = true;
                call->method->method->handler(call, NULL, call->method->userdata);
        }
}

/* Ends a call for the client's fault: a handler that has it is told, and the client which fault. */
static void break_off(EvgrpcServerCall *call, EvgrpcCode code, const char *text)
{
        evgrpc_server_call_ref(call);
        if (call->accepted) {
                tell_cancelled(call);
                call->over = false; /* the status is still to be told */
        }
        evgrpc_server_call_finish(call, code, "%s", text);
        evgrpc_server_call_unref(call);
}

static ProtobufCMessage *unpack(EvgrpcServerCall *call, const uint8_t *data, size_t size)
{
        EvgrpcServer *sv = call->server;
        bool in_place = false;
        ProtobufCMessage *m;

        rpc_arena_reset(&sv->arena, ARENA_KEEP);
        m = rpc_unpack(call->method->descriptor->input, &sv->arena, data, size,
                       rpc_reader_holds(&call->stream.reader, data) ? &in_place : NULL);
        if (in_place)
                rpc_reader_lend(&call->stream.reader);
        if (!m)
                break_off(call, EVGRPC_INTERNAL, "The request is not a message of its type");
        return m;
}

void rpc_server_call_run(EvgrpcServerCall *call, const uint8_t *data, size_t size)
{
        ProtobufCMessage *m = unpack(call, data, size);

        if (!m)
                return;
        call->accepted = true;
        call->method->method->handler(call, m, call->method->userdata);
}

static void server_message(RpcStream *st, const uint8_t *data, size_t size)
{
        EvgrpcServerCall *call = call_of(st);
        ProtobufCMessage *m;

        call->messages++;
        if (wants_messages(call)) {
                m = unpack(call, data, size);
                if (m && call->handlers.on_message)
                        call->handlers.on_message(call, m, call->userdata);
                return;
        }
        if (call->messages > 1) {
                if (!call->over) {
                        tell_cancelled(call);
                        finish(call, EVGRPC_INTERNAL);
                }
                return;
        }
        if (!rpc_once_take(call, data, size))
                rpc_server_call_run(call, data, size);
}

static void server_bad_message(RpcStream *st, int error, size_t size)
{
        EvgrpcServerCall *call = call_of(st);
        EvgrpcCode code = EVGRPC_INTERNAL;
        char text[96] = "The request's framing is wrong";

        if (call->over)
                return;
        if (error == -EMSGSIZE) {
                code = EVGRPC_RESOURCE_EXHAUSTED;
                (void) snprintf(text, sizeof(text),
                                "Received message of %zu bytes, the limit is %zu", size,
                                st->max_message_bytes);
        } else if (error == -EOPNOTSUPP) {
                code = EVGRPC_UNIMPLEMENTED;
                (void) snprintf(text, sizeof(text), "The request is compressed");
        } else if (error == -ENOMEM || error == -EDQUOT) {
                code = EVGRPC_RESOURCE_EXHAUSTED;
                (void) snprintf(text, sizeof(text), "Too many bytes of unfinished requests");
        }
        break_off(call, code, text);
}

static void server_unsendable(RpcStream *st, int error)
{
        char text[96];

        rpc_file_explain(error, text, sizeof(text));
        break_off(call_of(st), EVGRPC_DATA_LOSS, text);
}

static void server_end(RpcStream *st)
{
        EvgrpcServerCall *call = call_of(st);

        if (call->http_status)
                answer_http(call);
        if (call->over || !call->method)
                return;
        if (wants_messages(call)) {
                if (call->handlers.on_half_close)
                        call->handlers.on_half_close(call, call->userdata);
        } else if (call->messages == 0)
                evgrpc_server_call_finish(call, EVGRPC_INTERNAL, "No request message");
}

static void server_writable(RpcStream *st)
{
        EvgrpcServerCall *call = call_of(st);

        if (!call->over && call->handlers.on_writable)
                call->handlers.on_writable(call, call->userdata);
}

static void server_session_closed(RpcSession *s, const char *reason)
{
        rpc_server_connection_closed(s->o.owner, s->failed ? reason : NULL);
}

const RpcSessionOps rpc_server_ops = {
        .stream_open = server_stream_open,
        .stream_header = server_header,
        .stream_headers_end = server_headers_end,
        .stream_message = server_message,
        .stream_bad_message = server_bad_message,
        .stream_end = server_end,
        .stream_trailers = server_trailers,
        .stream_unsendable = server_unsendable,
        .stream_writable = server_writable,
        .stream_closed = server_stream_closed,
        .closed = server_session_closed,
};

/* ---- Executions of marked calls, which have no stream
 * ------------------------------------------- */

EvgrpcServerCall *rpc_server_call_new_execution(EvgrpcServerCall *origin)
{
        EvgrpcServerCall *call = call_new(origin->server);

        if (!call)
                return NULL;
        call->origin = evgrpc_server_call_ref(origin);
        call->method = origin->method;
        call->received = origin->received;
        call->timeout_usec = origin->timeout_usec;
        call->deadline.at_usec = origin->deadline.at_usec; /* told to the handler, not kept */
        return call;
}

void rpc_server_call_abandon(EvgrpcServerCall *execution)
{
        tell_cancelled(execution);
}

void rpc_server_call_answer(EvgrpcServerCall *call, EvgrpcCode code, const uint8_t *packed,
                            size_t size)
{
        int r = 0;

        if (packed)
                r = respond(call, false);
        if (packed && r >= 0)
                r = rpc_stream_send_packed(&call->stream, &call->server->blocks, packed, size);
        if (r < 0) {
                code = EVGRPC_INTERNAL;
                call->message = "Failed to send the reply";
        }
        finish(call, code);
}

/* ---- What the handler asks
 * ---------------------------------------------------------------------- */

void evgrpc_server_call_set_handlers(EvgrpcServerCall *call,
                                     const EvgrpcServerCallHandlers *handlers, void *userdata)
{
        call->handlers = *handlers;
        call->userdata = userdata;
}

bool evgrpc_server_call_is_lost(const EvgrpcServerCall *call)
{
        return call->lost;
}

bool evgrpc_server_call_is_over(const EvgrpcServerCall *call)
{
        return call->over;
}

const EvgrpcMetadata *evgrpc_server_call_metadata(const EvgrpcServerCall *call)
{
        EvgrpcServerCall *c = (EvgrpcServerCall *) (uintptr_t) call;

        c->view =
                (EvgrpcMetadata){.entries = call->received.entries, .count = call->received.count};
        return &c->view;
}

int evgrpc_server_call_add_initial_metadata(EvgrpcServerCall *call, const char *key,
                                            const void *value, size_t size)
{
        if (call->over || call->responded)
                return -EPIPE;
        return rpc_metadata_add_outgoing(&call->initial, &call->arena, key, value, size);
}

int evgrpc_server_call_add_trailing_metadata(EvgrpcServerCall *call, const char *key,
                                             const void *value, size_t size)
{
        if (call->over)
                return -EPIPE;
        return rpc_metadata_add_outgoing(&call->trailing, &call->arena, key, value, size);
}

const char *evgrpc_server_call_peer(const EvgrpcServerCall *call)
{
        const Connection *c = call->origin ? call->origin->connection : call->connection;

        return c ? c->peer : "";
}

const char *evgrpc_server_call_peer_name(const EvgrpcServerCall *call)
{
        if (call->origin)
                return call->once ? call->once->client->principal : "";
        return call->connection ? rpc_transport_peer_name(&call->connection->session->transport)
                                : "";
}

int64_t evgrpc_server_call_message_received_ns(const EvgrpcServerCall *call, bool *ret_from_kernel)
{
        if (call->origin)
                call = call->origin;
        if (ret_from_kernel)
                *ret_from_kernel = call->stream.message_time.from_kernel;
        return call->stream.message_time.ns;
}

bool evgrpc_server_call_note_reply(EvgrpcServerCall *call, const int64_t note[static 2])
{
        if (!call->connection || !rpc_stamps_are_told(call->connection->session->transport.stamps))
                return false;
        memcpy(call->stream.note, note, sizeof(call->stream.note));
        call->stream.has_note = true;
        return true;
}

int64_t evgrpc_server_call_noted_reply(const EvgrpcServerCall *call, int64_t ret_note[static 2])
{
        const RpcSession *s = call->connection ? call->connection->session : NULL;

        if (!s || s->sent_ns == 0)
                return 0;
        memcpy(ret_note, s->sent_note.words, sizeof(s->sent_note.words));
        return s->sent_ns;
}

uint64_t evgrpc_server_call_time_left_usec(const EvgrpcServerCall *call)
{
        uint64_t now;

        if (call->timeout_usec == EVGRPC_TIMEOUT_NONE)
                return EVGRPC_TIMEOUT_NONE;
        now = rpc_now_usec();
        return call->deadline.at_usec > now ? call->deadline.at_usec - now : 0;
}

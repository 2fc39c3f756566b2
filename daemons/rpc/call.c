/*
 * A client's call: its request, and what becomes of it.
 */
#include <stdio.h>

#include "rpc/client.h"
#include "rpc/timeout.h"
#include "rpc/unpack.h"

#define ARENA_LIMIT ((size_t) 256 * 1024) /* metadata of one call */
#define ARENA_KEEP ((size_t) 2 << 20)     /* of a stream's messages, from one to the next */

static EvgrpcCall *call_of(RpcStream *st)
{
        return CONTAINER_OF(st, EvgrpcCall, stream);
}

/* ---- Starting
 * ----------------------------------------------------------------------------------- */

static ServicePaths *find_service(EvgrpcChannel *ch, const ProtobufCServiceDescriptor *service)
{
        ServicePaths *sp;

        for (sp = ch->services; sp; sp = sp->next)
                if (sp->service == service)
                        return sp;
        sp = calloc(1, sizeof(*sp) + service->n_methods * sizeof(char *));
        if (!sp)
                return NULL;
        sp->service = service;
        for (unsigned i = 0; i < service->n_methods; i++)
                if (asprintf(&sp->paths[i], "/%s/%s", service->name, service->methods[i].name) <
                    0) {
                        while (i > 0)
                                free(sp->paths[--i]);
                        free(sp);
                        return NULL;
                }
        sp->next = ch->services;
        ch->services = sp;
        return sp;
}

static EvgrpcCall *call_new(EvgrpcChannel *ch)
{
        EvgrpcCall *call = ch->call_pool;

        if (call) {
                ch->call_pool = call->pool_next;
                ch->call_pool_count--;
        } else {
                call = malloc(sizeof(*call));
                if (!call)
                        return NULL;
        }
        /* All but the two spaces at the end. */
        memset(call, 0, offsetof(EvgrpcCall, arena_space));
        call->refs = 1;
        call->state = CALL_DONE; /* until it is started */
        call->channel = ch;
        ch->refs++;
        call->status = (EvgrpcStatus){.code = EVGRPC_UNKNOWN, .message = ""};
        call->wire_message = "";
        rpc_stream_init(&call->stream);
        rpc_link_init(&call->link);
        rpc_link_init(&call->resume_link);
        rpc_arena_init(&call->arena, call->arena_space, sizeof(call->arena_space), ARENA_LIMIT);
        rpc_arena_init(&call->reply_arena, call->reply_space, sizeof(call->reply_space),
                       64 * 1024 + 16 * ch->o.max_message_bytes);
        return call;
}

void rpc_call_destroy(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;

        assert(call->state == CALL_DONE);

        rpc_stream_done(&call->stream, &ch->blocks);
        rpc_arena_done(&call->arena);
        rpc_arena_done(&call->reply_arena);
        if (!ch->freed && ch->call_pool_count < RPC_CALL_POOL_MAX) {
                call->pool_next = ch->call_pool;
                ch->call_pool = call;
                ch->call_pool_count++;
        } else
                free(call);
        rpc_channel_unref(ch);
}

static int set_call_options(EvgrpcCall *call, const EvgrpcCallOptions *options)
{
        call->timeout_usec = EVGRPC_TIMEOUT_NONE;
        if (!options)
                return 0;
        if (options->timeout_usec > 0)
                call->timeout_usec = options->timeout_usec;
        call->wait_for_ready = options->fail_fast_off;
        if (options->unary)
                call->unary = true;
        for (size_t i = 0; i < options->metadata.count; i++) {
                const EvgrpcMetadataEntry *e = &options->metadata.entries[i];
                int r = rpc_metadata_add_outgoing(&call->outgoing, &call->arena, e->key, e->value,
                                                  e->value_size);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int set_deadline(EvgrpcCall *call)
{
        uint64_t now;

        if (call->timeout_usec == EVGRPC_TIMEOUT_NONE)
                return 0;
        now = rpc_now_usec();
        call->deadline.at_usec =
                call->timeout_usec > UINT64_MAX / 2 ? UINT64_MAX / 2 : now + call->timeout_usec;
        return rpc_deadlines_add(&call->channel->deadlines, &call->deadline);
}

static void begin(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;

        call->state = CALL_PENDING;
        if (ch->outstanding++ >= ch->o.max_outstanding_calls) {
                rpc_call_end(call, EVGRPC_RESOURCE_EXHAUSTED, "Too many outstanding calls", false);
                return;
        }
        rpc_channel_enqueue(call);
}

int evgrpc_call_start(EvgrpcChannel *channel, const ProtobufCServiceDescriptor *service,
                      const char *method, const ProtobufCMessage *request,
                      const EvgrpcCallOptions *options, const EvgrpcCallHandlers *handlers,
                      void *userdata, EvgrpcCall **ret)
{
        const ProtobufCMethodDescriptor *m;
        ServicePaths *sp;
        EvgrpcCall *call;
        int r = 0;

        assert(channel);
        if (channel->freed)
                return -ESHUTDOWN; /* a handler of a call that evgrpc_channel_free() ends */
        m = protobuf_c_service_descriptor_get_method_by_name(service, method);
        if (!m || (request && request->descriptor != m->input))
                return -EINVAL;
        sp = find_service(channel, service);
        call = sp ? call_new(channel) : NULL;
        if (!call)
                return -ENOMEM;
        call->method = m;
        call->path = sp->paths[m - service->methods];
        call->userdata = userdata;
        if (handlers)
                call->handlers = *handlers;
        call->unary = !call->handlers.on_message;
        call->stream.reader.keep_buffer = true;
        r = set_call_options(call, options);
        if (r >= 0)
                r = rpc_call_set_mark(call, options, request);
        if (r >= 0 && request) {
                r = rpc_queue_append(&call->stream.queue, &channel->blocks, request);
                call->stream.queue_ended = true;
        }
        if (r >= 0)
                r = set_deadline(call);
        if (r < 0) {
                rpc_call_drop_mark(call);
                rpc_call_destroy(call);
                return r;
        }
        if (ret)
                *ret = evgrpc_call_ref(call);
        begin(call);
        return 0;
}

static size_t request_fields(EvgrpcCall *call, nghttp2_nv *f, char *timeout, char *mark)
{
        static const nghttp2_nv fixed[] = {
                RPC_FIELD_STATIC(":method", "POST"),
                RPC_FIELD_STATIC(":scheme", "http"),
        };
        static const nghttp2_nv https = RPC_FIELD_STATIC(":scheme", "https");
        static const nghttp2_nv fixed_after[] = {
                RPC_FIELD_STATIC("te", "trailers"),
                RPC_FIELD_STATIC("content-type", "application/grpc"),
                RPC_FIELD_STATIC("user-agent", "grpc-c-evgrpc/1.0"),
        };
        EvgrpcChannel *ch = call->channel;
        const char *authority = ch->address.is_unix ? "localhost" : ch->target;
        size_t n = 0;

        memcpy(f, fixed, sizeof(fixed));
        n += ELEMENTSOF(fixed);
        if (ch->o.tls)
                f[1] = https;
        f[n] = RPC_FIELD(":path", call->path, strlen(call->path));
        f[n++].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
        f[n++] = RPC_FIELD(":authority", authority, strlen(authority));
        memcpy(f + n, fixed_after, sizeof(fixed_after));
        n += ELEMENTSOF(fixed_after);
        if (call->timeout_usec != EVGRPC_TIMEOUT_NONE) {
                /* What was asked for when it leaves at once: the same text for every call, which
                 * the peer's header table learns. */
                uint64_t now = rpc_now_usec(), left = 0;

                if (call->deadline.at_usec > now)
                        left = call->deadline.at_usec - now;
                if (call->timeout_usec - RPC_MIN(left, call->timeout_usec) < RPC_USEC_PER_MSEC)
                        left = call->timeout_usec;
                f[n++] = RPC_FIELD("grpc-timeout", timeout, rpc_timeout_format(left, timeout));
        }
        if (call->once.mark)
                n += rpc_mark_fields(&call->once, ch->session->peer_epoch, mark, f + n);
        return n + rpc_metadata_fields(&call->outgoing, f + n);
}

void rpc_call_submit(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;
        nghttp2_nv fields[10 + ONCE_FIELDS + RPC_METADATA_ENTRIES_MAX];
        char timeout[RPC_TIMEOUT_SIZE], mark[ONCE_ROOM];
        int r;

        call->state = CALL_ACTIVE;
        rpc_link_append(&ch->active, &call->link);
        r = rpc_stream_request(&call->stream, ch->session, fields,
                               request_fields(call, fields, timeout, mark));
        if (r < 0)
                rpc_call_end(call, EVGRPC_INTERNAL, strerror(-r), false);
        else
                rpc_spin_begin(&ch->spin);
}

/* ---- Ending
 * ------------------------------------------------------------------------------------- */

void rpc_call_done(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;

        ch->refs++; /* the handler may free the channel */
        rpc_link_remove(&call->link);
        call->state = CALL_DONE;
        if (call->handlers.on_done)
                call->handlers.on_done(call, &call->status, call->userdata);
        rpc_call_drop_mark(call);
        evgrpc_call_unref(call);
        rpc_channel_unref(ch);
}

void rpc_call_end(EvgrpcCall *call, EvgrpcCode code, const char *message, bool now)
{
        EvgrpcChannel *ch = call->channel;

        if (call->state >= CALL_ENDED)
                return;
        call->state = CALL_ENDED;
        call->status.code = code;
        if (message[0]) {
                const char *copy = rpc_arena_dup(&call->arena, message, strlen(message));

                call->status.message = copy ? copy : "";
        }
        ch->outstanding--;
        rpc_deadlines_remove(&ch->deadlines, &call->deadline);
        rpc_deadlines_remove(&ch->retries, &call->retry_at);
        rpc_link_remove(&call->link);
        rpc_link_remove(&call->resume_link);
        rpc_stream_reset(&call->stream, code == EVGRPC_OK ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        rpc_queue_done(&call->stream.queue, &ch->blocks);
        rpc_reader_done(&call->stream.reader);
        call->stream.queue_ended = true;
        call->stream.deaf = true;
        if (now)
                rpc_call_done(call);
        else {
                rpc_link_append(&ch->ended, &call->link);
                rpc_channel_defer(ch);
        }
}

void rpc_call_expired(RpcDeadline *d, void *userdata)
{
        rpc_call_end(CONTAINER_OF(d, EvgrpcCall, deadline), EVGRPC_DEADLINE_EXCEEDED,
                     "Deadline exceeded", true);
}

void evgrpc_call_cancel(EvgrpcCall *call)
{
        rpc_call_end(call, EVGRPC_CANCELLED, "Cancelled", false);
}

/* ---- What the peer sends
 * ------------------------------------------------------------------------ */

static bool is(const uint8_t *name, size_t name_size, const char *literal, size_t literal_size)
{
        return name_size == literal_size && memcmp(name, literal, literal_size) == 0;
}
#define IS(name, size, literal) is((name), (size), (literal), sizeof(literal) - 1)

static int take_status_message(EvgrpcCall *call, const uint8_t *value, size_t size)
{
        char *text;

        size = RPC_MIN(size, 3 * RPC_STATUS_MESSAGE_MAX);
        text = rpc_arena_dup(&call->arena, value, size);
        if (!text)
                return -ENOMEM;
        size = rpc_percent_decode(text, size);
        text[RPC_MIN(size, RPC_STATUS_MESSAGE_MAX)] = 0;
        call->wire_message = text;
        return 0;
}

static int client_header(RpcStream *st, const uint8_t *name, size_t name_size, const uint8_t *value,
                         size_t value_size)
{
        EvgrpcCall *call = call_of(st);

        if (IS(name, name_size, ":status")) {
                call->http_status = 0;
                for (size_t i = 0; i < value_size && i < 3; i++)
                        call->http_status = call->http_status * 10 + (unsigned) (value[i] - '0');
                return 0;
        }
        if (IS(name, name_size, "grpc-status")) {
                call->status_seen = true;
                call->wire_code = rpc_status_parse((const char *) value, value_size);
                return 0;
        }
        if (IS(name, name_size, "grpc-message"))
                return take_status_message(call, value, value_size);
        if (IS(name, name_size, "content-type")) {
                call->content_type_ok =
                        value_size >= 16 && memcmp(value, "application/grpc", 16) == 0;
                return 0;
        }
        if (rpc_metadata_add_received(call->headers_seen ? &call->trailing : &call->initial,
                                      &call->arena, name, name_size, value, value_size) == -ENOMEM)
                return -ENOMEM;
        return 0;
}

static void client_headers_end(RpcStream *st, bool trailers)
{
        EvgrpcCall *call = call_of(st);
        char text[64];

        if (st->headers_too_long) {
                rpc_call_end(call, EVGRPC_RESOURCE_EXHAUSTED, "The reply's metadata is too long",
                             true);
                return;
        }
        if (call->headers_seen)
                return;
        if (call->http_status >= 100 && call->http_status < 200)
                return; /* the final headers follow */
        call->headers_seen = true;
        if (call->status_seen) { /* trailers only */
                call->trailing = call->initial;
                call->initial = (RpcMetadata){};
                return;
        }
        if (call->http_status == 200 && call->content_type_ok)
                return;
        (void) snprintf(text, sizeof(text), "Not a gRPC reply: HTTP status %u", call->http_status);
        rpc_call_end(call, rpc_status_from_http(call->http_status), text, true);
}

static void client_message(RpcStream *st, const uint8_t *data, size_t size)
{
        EvgrpcCall *call = call_of(st);
        bool in_place = false;

        if (++call->messages > 1 && call->unary) {
                rpc_call_end(call, EVGRPC_INTERNAL, "More than one reply to a unary call", true);
                return;
        }
        rpc_arena_reset(&call->reply_arena, ARENA_KEEP);
        call->reply = rpc_unpack(call->method->output, &call->reply_arena, data, size,
                                 rpc_reader_holds(&st->reader, data) ? &in_place : NULL);
        if (in_place)
                rpc_reader_lend(&st->reader);
        if (!call->reply) {
                rpc_call_end(call, EVGRPC_INTERNAL, "The reply is not a message of its type", true);
                return;
        }
        /* One that may be tried again hands its reply out with its status: else it might do so
         * twice. */
        if (call->handlers.on_message && !call->once.retry)
                call->handlers.on_message(call, call->reply, call->userdata);
}

static void client_bad_message(RpcStream *st, int error, size_t size)
{
        EvgrpcCall *call = call_of(st);
        char text[96];

        switch (error) {
        case -EMSGSIZE:
                (void) snprintf(text, sizeof(text),
                                "Received message of %zu bytes, the limit is %zu", size,
                                st->max_message_bytes);
                rpc_call_end(call, EVGRPC_RESOURCE_EXHAUSTED, text, true);
                break;
        case -EOPNOTSUPP:
                rpc_call_end(call, EVGRPC_INTERNAL,
                             "The reply is compressed, which was not offered", true);
                break;
        case -EPIPE:
                if (call->status_seen && call->wire_code != EVGRPC_OK)
                        rpc_call_end(call, call->wire_code, call->wire_message, true);
                else
                        rpc_call_end(call, EVGRPC_INTERNAL, "The reply ended within a message",
                                     true);
                break;
        case -EDQUOT:
        case -ENOMEM:
                rpc_call_end(call, EVGRPC_RESOURCE_EXHAUSTED,
                             "Too many bytes of unfinished replies", true);
                break;
        default:
                rpc_call_end(call, EVGRPC_INTERNAL, "The reply's framing is wrong", true);
        }
}

static void client_unsendable(RpcStream *st, int error)
{
        char text[96];

        rpc_file_explain(error, text, sizeof(text));
        rpc_call_end(call_of(st), EVGRPC_DATA_LOSS, text, false);
}

static void client_end(RpcStream *st)
{
        EvgrpcCall *call = call_of(st);

        if (!call->status_seen)
                rpc_call_end(call, EVGRPC_INTERNAL, "The peer ended the call without a status",
                             true);
        else if (call->unary && call->wire_code == EVGRPC_OK && call->messages == 0)
                rpc_call_end(call, EVGRPC_INTERNAL, "No reply to a unary call", true);
        else {
                evgrpc_call_ref(call);
                if (call->once.retry && call->reply && call->handlers.on_message)
                        call->handlers.on_message(call, call->reply, call->userdata);
                rpc_call_end(call, call->wire_code, call->wire_message, true);
                evgrpc_call_unref(call);
        }
}

static void client_writable(RpcStream *st)
{
        EvgrpcCall *call = call_of(st);

        if (call->handlers.on_writable)
                call->handlers.on_writable(call, call->userdata);
}

static void client_closed(RpcSession *s, RpcStream *st, uint32_t h2_error, bool refused, bool lost)
{
        EvgrpcCall *call = call_of(st);
        char text[64];

        if ((lost || refused) && rpc_call_retry(call, refused))
                return;
        if (lost) {
                rpc_call_end(call, EVGRPC_UNAVAILABLE, s->reason, true);
                return;
        }
        if (refused) {
                rpc_call_end(call, EVGRPC_UNAVAILABLE, "The peer refused the call", true);
                return;
        }
        /* The server's timer may be quicker than ours for the same deadline. */
        if (call->timeout_usec != EVGRPC_TIMEOUT_NONE && rpc_now_usec() >= call->deadline.at_usec) {
                rpc_call_end(call, EVGRPC_DEADLINE_EXCEEDED, "Deadline exceeded", true);
                return;
        }
        (void) snprintf(text, sizeof(text), "The peer reset the call (%s)",
                        nghttp2_http2_strerror(h2_error));
        rpc_call_end(call, rpc_status_from_h2(h2_error), text, true);
}

static void client_settings(RpcSession *s)
{
        rpc_channel_settled(s->o.owner);
}

static void client_goaway(RpcSession *s)
{
        rpc_channel_goaway(s->o.owner, s);
}

static void client_streams_free(RpcSession *s)
{
        EvgrpcChannel *ch = s->o.owner;

        if (!rpc_link_is_alone(&ch->pending))
                rpc_channel_submit_pending(ch);
}

static void client_session_closed(RpcSession *s, const char *reason)
{
        rpc_channel_session_closed(s->o.owner, s, reason);
}

const RpcSessionOps rpc_client_ops = {
        .stream_header = client_header,
        .stream_headers_end = client_headers_end,
        .stream_message = client_message,
        .stream_bad_message = client_bad_message,
        .stream_unsendable = client_unsendable,
        .stream_end = client_end,
        .stream_writable = client_writable,
        .stream_closed = client_closed,
        .settings = client_settings,
        .goaway = client_goaway,
        .streams_free = client_streams_free,
        .closed = client_session_closed,
};

/* ---- What the caller asks
 * ----------------------------------------------------------------------- */

int evgrpc_call_send(EvgrpcCall *call, const ProtobufCMessage *message)
{
        if (call->state >= CALL_ENDED)
                return -EPIPE;
        if (message->descriptor != call->method->input)
                return -EINVAL;
        return rpc_stream_send(&call->stream, &call->channel->blocks, message);
}

int evgrpc_call_send_file(EvgrpcCall *call, const ProtobufCMessage *message,
                          const EvgrpcFileRange *range)
{
        if (call->state >= CALL_ENDED)
                return -EPIPE;
        if (message->descriptor != call->method->input)
                return -EINVAL;
        return rpc_stream_send_file(&call->stream, &call->channel->blocks, message, range);
}

int evgrpc_call_close_send(EvgrpcCall *call)
{
        if (call->state >= CALL_ENDED || call->stream.queue_ended)
                return -EPIPE;
        rpc_stream_end(&call->stream);
        return 0;
}

void evgrpc_call_pause(EvgrpcCall *call)
{
        if (call->state >= CALL_ENDED)
                return;
        rpc_link_remove(&call->resume_link);
        rpc_stream_pause(&call->stream);
}

void evgrpc_call_resume(EvgrpcCall *call)
{
        if (call->state >= CALL_ENDED || !call->stream.paused ||
            !rpc_link_is_alone(&call->resume_link))
                return;
        rpc_link_append(&call->channel->resumed, &call->resume_link);
        rpc_channel_defer(call->channel);
}

const EvgrpcStatus *evgrpc_call_status(const EvgrpcCall *call)
{
        return call->state >= CALL_ENDED ? &call->status : NULL;
}

const ProtobufCMessage *evgrpc_call_reply(const EvgrpcCall *call)
{
        return call->reply;
}

int64_t evgrpc_call_message_received_ns(const EvgrpcCall *call, bool *ret_from_kernel)
{
        if (ret_from_kernel)
                *ret_from_kernel = call->stream.message_time.from_kernel;
        return call->stream.message_time.ns;
}

int64_t evgrpc_call_sent_ns(const EvgrpcCall *call)
{
        return call->stream.sent_ns;
}

const EvgrpcStatus *evgrpc_call_wait(EvgrpcCall *call)
{
        static const EvgrpcStatus nested = {EVGRPC_FAILED_PRECONDITION,
                                            "evgrpc_call_wait() inside a handler of its own loop"};

        while (call->state != CALL_DONE)
                if (event_base_loop(call->channel->base, EVLOOP_ONCE) < 0)
                        return &nested;
        return &call->status;
}

ssize_t evgrpc_call_wait_first(EvgrpcCall *const *calls, size_t count)
{
        for (;;) {
                struct event_base *base = NULL;

                for (size_t i = 0; i < count; i++) {
                        if (!calls[i])
                                continue;
                        if (calls[i]->state == CALL_DONE)
                                return (ssize_t) i;
                        base = calls[i]->channel->base;
                }
                if (!base)
                        return -EINVAL;
                if (event_base_loop(base, EVLOOP_ONCE) < 0)
                        return -EDEADLK;
        }
}

static const EvgrpcMetadata *view(EvgrpcMetadata *view_, const RpcMetadata *m)
{
        *view_ = (EvgrpcMetadata){.entries = m->entries, .count = m->count};
        return view_;
}

const EvgrpcMetadata *evgrpc_call_initial_metadata(const EvgrpcCall *call)
{
        EvgrpcCall *c = (EvgrpcCall *) (uintptr_t) call;

        return view(&c->initial_view, &c->initial);
}

const EvgrpcMetadata *evgrpc_call_trailing_metadata(const EvgrpcCall *call)
{
        EvgrpcCall *c = (EvgrpcCall *) (uintptr_t) call;

        return view(&c->trailing_view, &c->trailing);
}

EvgrpcCall *evgrpc_call_ref(EvgrpcCall *call)
{
        call->refs++;
        return call;
}

EvgrpcCall *evgrpc_call_unref(EvgrpcCall *call)
{
        if (call && --call->refs == 0)
                rpc_call_destroy(call);
        return NULL;
}

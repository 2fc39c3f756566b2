/*
 * Stream — one call on a connection: what is read of it, what waits to be sent.
 *
 * A handler that gets a message may end the call, and with it this object. So while messages are
 * handed out the stream carries the address of a flag on the stack, `gone`, which whoever takes the
 * stream away sets; after each handler it is looked at before the stream is.
 */
#include "rpc/session.h"

void rpc_stream_init(RpcStream *st)
{
        *st = (RpcStream){};
        rpc_link_init(&st->link);
        rpc_link_init(&st->writable_link);
}

void rpc_stream_detach(RpcStream *st)
{
        RpcSession *s = st->session;

        if (st->gone)
                *st->gone = true;
        st->gone = NULL;
        if (!s)
                return;
        rpc_link_remove(&st->link);
        rpc_link_remove(&st->writable_link);
        s->stream_count--;
        s->queued_bytes -= st->queue.bytes;
        st->session = NULL;
}

void rpc_stream_done(RpcStream *st, RpcBlockPool *pool)
{
        assert(!st->session);

        if (st->gone)
                *st->gone = true;
        rpc_reader_free(&st->reader);
        rpc_queue_done(&st->queue, pool);
        free(st->held);
        rpc_stream_init(st);
}

void rpc_stream_attach(RpcStream *st, RpcSession *s, int32_t id)
{
        st->session = s;
        st->ops = s->o.ops;
        st->max_message_bytes = s->o.max_message_bytes;
        st->id = id;
        st->reader.budget = s->o.budget;
        rpc_link_append(&s->streams, &st->link);
        s->stream_count++;
        s->queued_bytes += st->queue.bytes;
}

/* ---- Receiving
 * ---------------------------------------------------------------------------------- */

static int hold(RpcStream *st, const uint8_t *data, size_t size)
{
        if (st->held_size + size > st->held_room) {
                size_t room =
                        RPC_MAX(RPC_MAX(st->held_room * 2, (size_t) 16384), st->held_size + size);
                uint8_t *held = realloc(st->held, room);

                if (!held)
                        return -ENOMEM;
                st->held = held;
                st->held_room = room;
        }
        memmove(st->held + st->held_size, data, size);
        st->held_size += size;
        return 0;
}

/* Hands out messages until the bytes are used up, the stream is paused, or it is gone.
 * Returns what was used; SIZE_MAX when the stream is gone. */
static size_t hand_out(RpcStream *st, const uint8_t *data, size_t size)
{
        const uint8_t *at = data, *message;
        size_t left = size, message_size = 0;
        bool gone = false;

        st->gone = &gone;
        while (!st->paused && !st->deaf) {
                int r = rpc_reader_feed(&st->reader, &at, &left, st->max_message_bytes, &message,
                                        &message_size);

                if (r == 0)
                        break;
                if (r > 0) {
                        st->message_time = st->input_time;
                        st->ops->stream_message(st, message, message_size);
                } else {
                        st->deaf = true;
                        st->ops->stream_bad_message(st, r, message_size);
                }
                if (gone)
                        return SIZE_MAX;
        }
        st->gone = NULL;
        return st->deaf ? size : size - left;
}

size_t rpc_stream_place(const RpcStream *st, uint8_t **ret)
{
        return st->paused || st->deaf || st->held_size > 0 ? 0 : rpc_reader_place(&st->reader, ret);
}

static void consume(RpcStream *st, size_t size)
{
        if (st->session && size > 0)
                (void) nghttp2_session_consume_stream(st->session->h2, st->id, size);
}

int rpc_stream_input(RpcStream *st, const uint8_t *data, size_t size)
{
        RpcSession *s = st->session;
        int32_t id = st->id;
        size_t used = 0;

        st->input_time = s->transport.received;
        if (!st->paused && st->held_size == 0) {
                used = hand_out(st, data, size);
                if (used == SIZE_MAX) {
                        if (!s->dead)
                                (void) nghttp2_session_consume_stream(s->h2, id, size);
                        return 0;
                }
                consume(st, used);
        }
        /* What is held is not consumed: once the window is full of it, the sender waits. */
        return used < size ? hold(st, data + used, size - used) : 0;
}

void rpc_stream_input_end(RpcStream *st)
{
        st->received_end = true;
        if (st->paused || st->held_size > 0)
                return;
        if (!st->deaf && !rpc_reader_is_at_boundary(&st->reader)) {
                st->deaf = true;
                st->ops->stream_bad_message(st, -EPIPE, 0);
                return;
        }
        rpc_reader_done(&st->reader);
        st->ops->stream_end(st);
}

void rpc_stream_pause(RpcStream *st)
{
        st->paused = true;
}

void rpc_stream_resume(RpcStream *st)
{
        RpcSession *s = st->session;
        uint8_t *held = st->held;
        size_t size = st->held_size, used;

        st->paused = false;
        if (s)
                s->refs++;
        /* A handler that pauses again leaves the rest held; one that ends the stream leaves
         * none. */
        st->held = NULL;
        st->held_size = st->held_room = 0;
        used = size > 0 ? hand_out(st, held, size) : 0;
        if (used != SIZE_MAX) {
                consume(st, used);
                if (used < size) {
                        memmove(held, held + used, size - used);
                        st->held = held;
                        st->held_size = size - used;
                        st->held_room = size;
                        held = NULL;
                } else if (st->received_end)
                        rpc_stream_input_end(st);
        }
        free(held);
        if (s) {
                if (!s->dead)
                        rpc_session_flush_later(s);
                rpc_session_unref(s);
        }
}

/* ---- Sending
 * ------------------------------------------------------------------------------------ */

static bool sends_files(const RpcSession *s)
{
        return !s->o.tls && nghttp2_session_get_remote_settings(
                                    s->h2, NGHTTP2_SETTINGS_MAX_FRAME_SIZE) >= RPC_FILE_FRAME_MIN;
}

/* Return: bytes of the next frame; -EPIPE: the stream is gone. */
static ssize_t prepare(RpcStream *st, size_t size)
{
        RpcSession *s = st->session;
        bool gone = false;
        ssize_t ready = rpc_queue_prepare(&st->queue, s->o.pool, size, !sends_files(s));

        if (ready >= 0)
                return ready;
        s->queued_bytes -= st->queue.bytes;
        rpc_queue_done(&st->queue, s->o.pool);
        st->gone = &gone;
        st->ops->stream_unsendable(st, (int) ready);
        if (gone)
                return -EPIPE;
        st->gone = NULL;
        return 0;
}

ssize_t rpc_stream_source(nghttp2_session *h2, int32_t id, uint8_t *buffer, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
        RpcStream *st = nghttp2_session_get_stream_user_data(h2, id);
        ssize_t size;

        if (!st)
                return NGHTTP2_ERR_DEFERRED; /* reset, and the RST_STREAM is on its way */
        size = prepare(st, RPC_MIN(length, rpc_queue_peek(&st->queue, RPC_OUTPUT_FRAME_PIECES)));
        if (size < 0)
                return NGHTTP2_ERR_DEFERRED;
        if (size == 0 && !st->queue_ended) {
                st->source_waiting = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (st->queue_ended && (size_t) size == st->queue.bytes) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (st->session->o.server) {
                        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                        st->ops->stream_trailers(st);
                }
        }
        return size;
}

int rpc_stream_request(RpcStream *st, RpcSession *s, const nghttp2_nv *fields, size_t count)
{
        nghttp2_data_provider source = {.read_callback = rpc_stream_source};
        int32_t id = nghttp2_submit_request(s->h2, NULL, fields, count, &source, st);

        if (id < 0)
                return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EIO;
        rpc_stream_attach(st, s, id);
        rpc_session_flush_later(s);
        return 0;
}

int rpc_stream_respond(RpcStream *st, const nghttp2_nv *fields, size_t count, bool last)
{
        nghttp2_data_provider source = {.read_callback = rpc_stream_source};
        RpcSession *s = st->session;
        int r = nghttp2_submit_response(s->h2, st->id, fields, count, last ? NULL : &source);

        if (r < 0)
                return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EIO;
        rpc_session_flush_later(s);
        return 0;
}

int rpc_stream_send_trailers(RpcStream *st, const nghttp2_nv *fields, size_t count)
{
        int r = nghttp2_submit_trailer(st->session->h2, st->id, fields, count);

        return r == 0 ? 0 : r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EIO;
}

/* The queue has something (or its end): nghttp2 may ask for it. */
static void wake_source(RpcStream *st)
{
        if (!st->session)
                return;
        if (st->source_waiting) {
                st->source_waiting = false;
                (void) nghttp2_session_resume_data(st->session->h2, st->id);
        }
        rpc_session_flush_later(st->session);
}

static int may_send(const RpcStream *st)
{
        if (st->queue_ended)
                return -EPIPE;
        return st->queue.bytes > RPC_QUEUE_MAX_BYTES ? -ENOBUFS : 0;
}

static int sent(RpcStream *st, size_t before)
{
        if (st->session)
                st->session->queued_bytes += st->queue.bytes - before;
        wake_source(st);
        if (st->queue.bytes <= RPC_QUEUE_HIGH_BYTES)
                return 1;
        st->told_to_wait = true;
        return 0;
}

int rpc_stream_send(RpcStream *st, RpcBlockPool *pool, const ProtobufCMessage *message)
{
        size_t before = st->queue.bytes;
        int r = may_send(st);

        if (r >= 0)
                r = rpc_queue_append(&st->queue, pool, message);
        return r < 0 ? r : sent(st, before);
}

int rpc_stream_send_packed(RpcStream *st, RpcBlockPool *pool, const void *data, size_t size)
{
        size_t before = st->queue.bytes;
        int r = may_send(st);

        if (r >= 0)
                r = rpc_queue_append_packed(&st->queue, pool, data, size);
        return r < 0 ? r : sent(st, before);
}

int rpc_stream_send_file(RpcStream *st, RpcBlockPool *pool, const ProtobufCMessage *message,
                         const EvgrpcFileRange *range)
{
        const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field(message->descriptor, range->field);
        size_t before = st->queue.bytes;
        int r = may_send(st);

        if (r >= 0 && (!field || field->type != PROTOBUF_C_TYPE_BYTES ||
                       field->label == PROTOBUF_C_LABEL_REPEATED))
                r = -EINVAL;
        if (r >= 0)
                r = rpc_file_check(range->file, range->offset, range->size);
        if (r >= 0)
                r = rpc_queue_append_file(&st->queue, pool, message, range->field, range->file,
                                          range->offset, range->size);
        return r < 0 ? r : sent(st, before);
}

void rpc_stream_end(RpcStream *st)
{
        if (st->queue_ended)
                return;
        st->queue_ended = true;
        st->told_to_wait = false;
        wake_source(st);
}

void rpc_stream_reset(RpcStream *st, uint32_t h2_error)
{
        RpcSession *s = st->session;

        rpc_stream_detach(st);
        if (!s || s->dead)
                return;
        (void) nghttp2_session_set_stream_user_data(s->h2, st->id, NULL);
        if (!st->sent_end || !st->received_end) {
                (void) nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, st->id, h2_error);
                rpc_session_flush_later(s);
        }
}

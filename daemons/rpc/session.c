/*
 * Session.
 */
#include <stdio.h>

#include "rpc/session.h"

/* Of input between two flushes: some 25 small calls, which the peer works on while we do the rest;
 * or what is left of a large frame. */
#define SLICE_BYTES ((size_t) 2048)
#define GRACE_PING                                                                                 \
        "goodbye" /* with its NUL the eight bytes of a PING: the end of a graceful GOAWAY */

/* ---- What nghttp2 tells us
 * ---------------------------------------------------------------------- */

static inline int verdict(const RpcSession *s)
{
        return s->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        s->header_bytes = 0;
        s->header_stream = frame->hd.stream_id;
        if (s->header_waiting)
                (void) event_del(&s->header_event); /* its time was another block's */
        s->header_waiting = false;
        if (!s->o.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        st = s->o.ops->stream_open(s);
        if (!st) {
                (void) nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                 NGHTTP2_REFUSED_STREAM);
                return 0;
        }
        rpc_stream_attach(st, s, frame->hd.stream_id);
        (void) nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, st);
        return verdict(s);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *userdata)
{
        RpcSession *s = userdata;
        nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
        RpcStream *st;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
        if (!st)
                return 0;
        s->header_bytes += n.len + v.len + 32; /* RFC 9113 §6.5.2 */
        if (s->header_bytes > s->o.max_header_bytes) {
                st->headers_too_long = true;
                return 0;
        }
        if (s->o.ops->stream_header(st, n.base, n.len, v.base, v.len) < 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        return verdict(s);
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
                   void *userdata)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        (void) nghttp2_session_consume_connection(h2, size);
        st = nghttp2_session_get_stream_user_data(h2, id);
        if (!st)
                (void) nghttp2_session_consume_stream(h2, id, size);
        else if (rpc_stream_input(st, data, size) < 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        return verdict(s);
}

static void on_stream_frame(RpcSession *s, const nghttp2_frame *frame)
{
        RpcStream *st = nghttp2_session_get_stream_user_data(s->h2, frame->hd.stream_id);
        bool gone = false;

        if (!st)
                return;
        if (frame->hd.type == NGHTTP2_HEADERS) {
                st->gone = &gone;
                s->o.ops->stream_headers_end(st, frame->headers.cat == NGHTTP2_HCAT_HEADERS);
                if (gone)
                        return;
                st->gone = NULL;
        }
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                rpc_stream_input_end(st);
}

static void read_epoch(RpcSession *s, const nghttp2_settings *settings)
{
        for (size_t i = 0; i < settings->niv; i++) {
                const nghttp2_settings_entry *e = &settings->iv[i];
                RpcEpoch *epoch = &s->peer_epoch;

                if (e->settings_id == RPC_SETTINGS_EPOCH_HIGH)
                        epoch->process = (uint64_t) e->value << 32 | (uint32_t) epoch->process;
                else if (e->settings_id == RPC_SETTINGS_EPOCH_LOW)
                        epoch->process = (epoch->process >> 32) << 32 | e->value;
                else if (e->settings_id == RPC_SETTINGS_EPOCH_GENERATION)
                        epoch->generation = e->value;
        }
}

static void on_settings(RpcSession *s, const nghttp2_frame *frame)
{
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
                return;
        s->settings_seen = true;
        read_epoch(s, &frame->settings);
        if (s->o.ops->settings)
                s->o.ops->settings(s);
}

static void on_ping(RpcSession *s, const nghttp2_frame *frame)
{
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
                return;
        /* Every request that crossed the notice has arrived by now: this is the last one we
         * take. */
        if (s->closing && memcmp(frame->ping.opaque_data, GRACE_PING, 8) == 0)
                (void) nghttp2_submit_goaway(s->h2, NGHTTP2_FLAG_NONE,
                                             nghttp2_session_get_last_proc_stream_id(s->h2),
                                             NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
        RpcSession *s = userdata;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
                s->header_stream = 0;
                on_stream_frame(s, frame);
                break;
        case NGHTTP2_DATA:
                on_stream_frame(s, frame);
                break;
        case NGHTTP2_SETTINGS:
                on_settings(s, frame);
                break;
        case NGHTTP2_PING:
                on_ping(s, frame);
                break;
        case NGHTTP2_RST_STREAM:
                if (s->o.server)
                        rpc_frame_watch_ended(&s->watch, frame->hd.stream_id);
                break;
        case NGHTTP2_GOAWAY:
                s->goaway = true;
                if (s->o.ops->goaway)
                        s->o.ops->goaway(s);
                break;
        default:
                break;
        }
        return verdict(s);
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t h2_error, void *userdata)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        st = nghttp2_session_get_stream_user_data(h2, id);
        if (id == s->header_stream)
                s->header_stream = 0; /* refused before its end */
        if (st && s->o.server && st->received_end)
                rpc_frame_watch_ended(&s->watch, id);
        if (st) {
                bool waits = !s->o.server && st->received_end && st->sent_end &&
                             (st->paused || st->held_size > 0);

                rpc_stream_detach(st);
                /* All of it is in hand; its owner reads it when it resumes. */
                if (!waits)
                        s->o.ops->stream_closed(s, st, h2_error, h2_error == NGHTTP2_REFUSED_STREAM,
                                                false);
        }
        if (!s->dead && s->o.ops->streams_free)
                s->o.ops->streams_free(s);
        return verdict(s);
}

/* A request that was submitted but may not leave any more: GOAWAY came before. */
static int on_frame_not_sent(nghttp2_session *h2, const nghttp2_frame *frame, int error,
                             void *userdata)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->dead)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
        if (!st)
                return 0;
        rpc_stream_detach(st);
        (void) nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, NULL);
        s->o.ops->stream_closed(s, st, NGHTTP2_REFUSED_STREAM, true, false);
        return verdict(s);
}

/* Server: the trailers are out. A client that still sends is told to stop, and only now: an
 * RST_STREAM submitted beside the trailers would overtake and drop them. */
static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
        if (!st)
                return 0;
        st->sent_end = true;
        if (!st->received_end)
                (void) nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                 NGHTTP2_NO_ERROR);
        return verdict(s);
}

static ssize_t frame_length(nghttp2_session *h2, uint8_t type, int32_t id, int32_t session_window,
                            int32_t stream_window, uint32_t peer_max, void *userdata)
{
        /* As much as fits: what a frame really takes is what its queue holds. */
        return RPC_MAX(1, RPC_MIN(RPC_MIN((int64_t) session_window, (int64_t) stream_window),
                                  RPC_MIN((int64_t) peer_max, (int64_t) RPC_FRAME_SIZE_MAX)));
}

/* All that was queued is in the output. */
static void mark_sent(RpcSession *s, RpcStream *st)
{
        const RpcOutput *out = &s->transport.output;
        RpcStampNote note = {.stream = st->id};

        if (st->has_note)
                memcpy(note.words, st->note, sizeof(note.words));
        if (st->has_note || !s->o.server)
                rpc_stamps_mark(s->transport.stamps, out->left + out->bytes, &note);
}

static void on_stamp(void *userdata, const RpcStampNote *note, int64_t ns)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->o.server) {
                s->sent_note = *note;
                s->sent_ns = ns;
                return;
        }
        st = nghttp2_session_get_stream_user_data(s->h2, note->stream);
        if (st)
                st->sent_ns = ns;
}

static int send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t size,
                     nghttp2_data_source *source, void *userdata)
{
        RpcSession *s = userdata;
        RpcOutput *out = &s->transport.output;
        RpcStream *st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

        if (!st)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* reset between making and sending */
        if (!rpc_output_has_room(out))
                return NGHTTP2_ERR_WOULDBLOCK;
        if (rpc_output_copy(out, head, 9) < 0 || rpc_output_take(out, &st->queue, size) < 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        s->queued_bytes -= size;
        if (s->transport.stamps && st->queue.bytes == 0)
                mark_sent(s, st);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                st->sent_end = true;
        if (st->told_to_wait && st->queue.bytes < RPC_QUEUE_LOW_BYTES &&
            rpc_link_is_alone(&st->writable_link))
                rpc_link_append(&s->writable, &st->writable_link);
        return 0;
}

static int on_error(nghttp2_session *h2, int code, const char *text, size_t size, void *userdata)
{
        RpcSession *s = userdata;

        (void) snprintf(s->reason, sizeof(s->reason), "%.*s", (int) RPC_MIN(size, (size_t) 150),
                        text);
        return 0;
}

/* ---- Sending and receiving
 * ---------------------------------------------------------------------- */

static int fill_output(RpcSession *s)
{
        while (rpc_output_has_room(&s->transport.output)) {
                const uint8_t *data;
                ssize_t n;

                s->in_nghttp2 = true;
                n = nghttp2_session_mem_send(s->h2, &data);
                s->in_nghttp2 = false;
                if (s->dead)
                        return -EPIPE;
                if (n < 0)
                        return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
                if (n == 0) /* nothing to send, or a DATA frame that found no room */
                        return !rpc_output_has_room(&s->transport.output);
                if (rpc_output_copy(&s->transport.output, data, (size_t) n) < 0)
                        return -ENOMEM;
        }
        return 1;
}

static void tell_writable(RpcSession *s)
{
        while (!s->dead && !rpc_link_is_alone(&s->writable)) {
                RpcStream *st = CONTAINER_OF(s->writable.next, RpcStream, writable_link);

                rpc_link_remove(&st->writable_link);
                if (!st->told_to_wait)
                        continue;
                st->told_to_wait = false;
                st->ops->stream_writable(st);
        }
}

/* A close that its owner may want to tell somebody of. */
void rpc_session_fail(RpcSession *s, const char *reason)
{
        s->failed = true;
        rpc_session_close(s, reason);
}

static void close_errno(RpcSession *s, const char *what, int error)
{
        const char *why = rpc_transport_error(&s->transport);
        char text[160];

        if (error == -ENODATA)
                rpc_file_explain(error, text, sizeof(text));
        else
                (void) snprintf(text, sizeof(text), "%s: %s", what, strerror(-error));
        rpc_session_fail(s, why ? why : text);
}

static bool is_finished(const RpcSession *s)
{
        return rpc_transport_is_empty(&s->transport) && !nghttp2_session_want_read(s->h2) &&
               !nghttp2_session_want_write(s->h2);
}

static void flush(RpcSession *s)
{
        int more, r;

        s->refs++;
        do {
                more = fill_output(s);
                if (more < 0) {
                        close_errno(s, "Failed to make a frame", more);
                        break;
                }
                r = rpc_transport_send(&s->transport);
                if (r < 0) {
                        close_errno(s, "Failed to send", r);
                        break;
                }
        } while (more > 0 && r > 0);
        s->in_flush = true;
        tell_writable(s);
        s->in_flush = false;
        if (!s->dead && is_finished(s)) {
                s->failed = s->reason[0] && !s->goaway && !s->closing;
                rpc_session_close(s, s->reason[0] ? s->reason
                                     : s->goaway  ? "The peer said goodbye"
                                                  : "Connection ended");
        }
        rpc_session_unref(s);
}

static void on_flush_event(evutil_socket_t fd, short what, void *userdata)
{
        RpcSession *s = userdata;

        s->flush_waiting = false;
        flush(s);
}

void rpc_session_flush_later(RpcSession *s)
{
        if (s->in_nghttp2 || s->flush_waiting || s->dead)
                return; /* whoever called nghttp2 flushes when it returns */
        s->flush_waiting = true;
        if (s->in_flush)
                (void) event_add(&s->flush_event, &(struct timeval){}); /* others' turn first */
        else
                event_active(&s->flush_event, EV_WRITE, 0);
}

/* The first byte of a TLS record that a handshake begins or an alert ends with (RFC 8446 §5.1). As
 * HTTP/2 it would be a client's first letter, which is 'P', or the length of a server's SETTINGS,
 * over 1 MiB. */
static const char *speaks_tls(const RpcSession *s, uint8_t first)
{
        if (first == 22 && s->o.server)
                return "The client speaks TLS, but this address is plain";
        if (first == 21 && !s->o.server)
                return "The server speaks TLS, but this channel is plain";
        return NULL;
}

/* A peer that takes its time with what must come whole (the opening, a block of headers) keeps a
 * connection for nothing. The timer runs only while a part is here and the rest is not. */
static void watch_headers(RpcSession *s)
{
        bool waits = !s->settings_seen || s->header_stream != 0;
        struct timeval tv = rpc_timeval(s->o.header_timeout_usec);

        if (s->o.header_timeout_usec == 0 || waits == s->header_waiting)
                return;
        s->header_waiting = waits;
        if (waits)
                (void) event_add(&s->header_event, &tv);
        else
                (void) event_del(&s->header_event);
}

static void on_header_timeout(evutil_socket_t fd, short what, void *userdata)
{
        rpc_session_close(userdata, "The peer's headers took too long");
}

/* How much nghttp2 gets at once; 0: the peer breaks a rule that only we notice. */
static size_t slice(RpcSession *s, const uint8_t *data, size_t size)
{
        size = RPC_MIN(size, RPC_MAX(SLICE_BYTES, s->watch.payload_left));
        return rpc_frame_watch_scan(&s->watch, s->h2, data, size);
}

/* The rest of a large message in a large frame, or just the next frame's head. */
static size_t place(void *userdata, uint8_t **ret)
{
        RpcSession *s = userdata;
        RpcStream *st;

        if (s->watch.large_id == 0)
                return 0;
        st = nghttp2_session_get_stream_user_data(s->h2, s->watch.large_id);
        return st ? RPC_MIN(rpc_stream_place(st, ret), s->watch.payload_left) : 0;
}

static void on_input(void *userdata, const uint8_t *data, size_t size)
{
        RpcSession *s = userdata;

        s->refs++;
        rpc_spin_input(s->o.spin);
        if (!s->input_seen) {
                const char *wrong = s->o.tls ? NULL : speaks_tls(s, data[0]);

                s->input_seen = true;
                if (wrong)
                        rpc_session_fail(s, wrong);
        }
        while (size > 0 && !s->dead) {
                size_t part = slice(s, data, size);
                ssize_t n;

                if (part == 0) {
                        (void) nghttp2_session_terminate_session(s->h2, NGHTTP2_STREAM_CLOSED);
                        flush(s);
                        break;
                }
                s->in_nghttp2 = true;
                n = nghttp2_session_mem_recv(s->h2, data, part);
                s->in_nghttp2 = false;
                if (s->dead)
                        break;
                if (n < 0) {
                        char text[160];

                        (void) snprintf(text, sizeof(text), "Not the HTTP/2 we speak: %s",
                                        nghttp2_strerror((int) n));
                        rpc_session_fail(s, text);
                        break;
                }
                data += n;
                size -= (size_t) n;
                if (nghttp2_session_want_write(s->h2) || is_finished(s))
                        flush(s);
        }
        if (!s->dead) { /* else its owner may be gone, and the spin with it */
                watch_headers(s);
                if (s->o.server || s->stream_count > 0)
                        rpc_spin_begin(s->o.spin);
                else
                        rpc_spin_stop(s->o.spin);
        }
        rpc_session_unref(s);
}

static void on_room(void *userdata)
{
        flush(userdata);
}

/* In TLS 1.3 a client's handshake is over before the server looks at its certificate, and not every
 * server says what it thinks of it. */
static const char *closed_by_peer(const RpcSession *s)
{
        if (s->settings_seen)
                return "Connection closed by the peer";
        if (s->o.tls && !s->o.server)
                return "Connection closed after the TLS handshake: "
                       "the server may have refused our certificate";
        return "Connection closed before HTTP/2 settings";
}

static void on_lost(void *userdata, int error)
{
        RpcSession *s = userdata;

        if (error == 0 && !rpc_transport_error(&s->transport))
                rpc_session_close(s, closed_by_peer(s));
        else
                close_errno(s, "Connection lost", error);
}

/* ---- Keepalive
 * ---------------------------------------------------------------------------------- */

static void keepalive_set(RpcSession *s, uint64_t usec)
{
        struct timeval tv = rpc_timeval(usec);

        (void) event_add(&s->keepalive_event, &tv);
}

static void on_keepalive(evutil_socket_t fd, short what, void *userdata)
{
        RpcSession *s = userdata;
        uint64_t now = rpc_now_usec(), read = s->transport.last_read_usec;

        if (s->ping_usec != 0 && read < s->ping_usec) {
                rpc_session_fail(s, "Keepalive: no answer from the peer");
                return;
        }
        s->ping_usec = 0;
        if (now < read + s->o.keepalive_usec) {
                keepalive_set(s, read + s->o.keepalive_usec - now);
                return;
        }
        s->ping_usec = now;
        (void) nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL);
        keepalive_set(s, s->o.keepalive_timeout_usec);
        rpc_session_flush_later(s);
}

/* ---- Birth and death
 * ---------------------------------------------------------------------------- */

static int make_h2(RpcSession *s)
{
        nghttp2_session_callbacks *cb;
        nghttp2_option *option;
        int r;

        if (nghttp2_session_callbacks_new(&cb) != 0)
                return -ENOMEM;
        if (nghttp2_option_new(&option) != 0) {
                nghttp2_session_callbacks_del(cb);
                return -ENOMEM;
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
        nghttp2_session_callbacks_set_data_source_read_length_callback(cb, frame_length);
        nghttp2_session_callbacks_set_error_callback2(cb, on_error);
        if (s->o.server)
                nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
        else
                nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
        nghttp2_option_set_no_auto_window_update(option, 1); /* rpc_stream_input() does */
        nghttp2_option_set_no_closed_streams(option, 1);
#ifdef EVGRPC_HAVE_RESET_RATE_LIMIT
        /* A client may give up many calls at once; ten times the default of nghttp2. */
        nghttp2_option_set_stream_reset_rate_limit(option, 20000, 2000);
#endif
        r = s->o.server ? nghttp2_session_server_new2(&s->h2, cb, s, option)
                        : nghttp2_session_client_new2(&s->h2, cb, s, option);
        nghttp2_option_del(option);
        nghttp2_session_callbacks_del(cb);
        return r == 0 ? 0 : -ENOMEM;
}

#define EPOCH_SETTINGS 3u

static void epoch_settings(RpcEpoch epoch, nghttp2_settings_entry ret[static EPOCH_SETTINGS])
{
        ret[0] =
                (nghttp2_settings_entry){RPC_SETTINGS_EPOCH_HIGH, (uint32_t) (epoch.process >> 32)};
        ret[1] = (nghttp2_settings_entry){RPC_SETTINGS_EPOCH_LOW, (uint32_t) epoch.process};
        ret[2] = (nghttp2_settings_entry){RPC_SETTINGS_EPOCH_GENERATION, epoch.generation};
}

void rpc_session_tell_epoch(RpcSession *s, RpcEpoch epoch)
{
        nghttp2_settings_entry e[EPOCH_SETTINGS];

        if (s->dead)
                return;
        epoch_settings(epoch, e);
        (void) nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, e, ELEMENTSOF(e));
        rpc_session_flush_later(s);
}

/* A large frame lets no other call through before its end, so only a connection for bulk asks for
 * them. */
static uint32_t frame_size_max(const RpcSession *s)
{
        return s->o.window_bytes > RPC_FRAME_SIZE_MAX ? RPC_FRAME_SIZE_MAX
                                                      : 16384 /* HTTP/2's own */;
}

static int submit_settings(RpcSession *s)
{
        uint32_t window = (uint32_t) RPC_MIN(s->o.window_bytes, (size_t) INT32_MAX);
        nghttp2_settings_entry e[4 + EPOCH_SETTINGS] = {
                {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, frame_size_max(s)},
                {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t) s->o.max_header_bytes},
        };
        size_t count = 4;

        e[3] = s->o.server ? (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                      s->o.max_streams}
                           : (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
        if (s->o.epoch.process != 0) {
                epoch_settings(s->o.epoch, e + count);
                count += EPOCH_SETTINGS;
        }
        if (nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, e, count) != 0)
                return -ENOMEM;
        if (window > NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE &&
            nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, (int32_t) window) !=
                    0)
                return -ENOMEM;
        return 0;
}

int rpc_session_new(struct event_base *base, int fd, const RpcSessionOptions *options,
                    RpcSession **ret)
{
        RpcSession *s = calloc(1, sizeof(*s));
        int r;

        if (!s) {
                (void) close(fd);
                return -ENOMEM;
        }
        s->refs = 1;
        s->o = *options;
        s->base = base;
        rpc_link_init(&s->link);
        rpc_link_init(&s->streams);
        rpc_link_init(&s->writable);
        rpc_frame_watch_init(&s->watch, s->o.server);
        s->transport = (RpcTransport){.place = place,
                                      .on_input = on_input,
                                      .on_room = on_room,
                                      .on_lost = on_lost,
                                      .userdata = s,
                                      .stamp = s->o.keepalive_usec > 0,
                                      .timestamps = s->o.receive_timestamps,
                                      .last_read_usec = rpc_now_usec()};
        (void) event_assign(&s->flush_event, base, -1, 0, on_flush_event, s);
        (void) event_assign(&s->keepalive_event, base, -1, 0, on_keepalive, s);
        (void) event_assign(&s->header_event, base, -1, 0, on_header_timeout, s);
        r = rpc_transport_init(&s->transport, base, fd, s->o.pool, s->o.read_buffer);
        if (r >= 0 && s->o.tls)
                r = rpc_transport_secure(&s->transport, s->o.tls, s->o.server, s->o.tls_server_name,
                                         s->o.handshake_timeout_usec);
        if (r >= 0 && s->o.send_timestamps)
                rpc_transport_stamp(&s->transport, on_stamp);
        if (r >= 0)
                r = make_h2(s);
        if (r >= 0)
                r = submit_settings(s);
        if (r < 0) {
                s->dead = true;
                rpc_transport_done(&s->transport);
                rpc_session_unref(s);
                return r;
        }
        if (s->o.keepalive_usec > 0)
                keepalive_set(s, s->o.keepalive_usec);
        watch_headers(s);
        rpc_session_flush_later(s);
        *ret = s;
        return 0;
}

void rpc_session_close(RpcSession *s, const char *reason)
{
        if (s->dead)
                return;
        s->refs++;
        s->dead = true;
        if (reason != s->reason)
                (void) snprintf(s->reason, sizeof(s->reason), "%s", reason);
        (void) event_del(&s->flush_event);
        (void) event_del(&s->keepalive_event);
        (void) event_del(&s->header_event);
        rpc_transport_done(&s->transport);
        while (!rpc_link_is_alone(&s->streams)) {
                RpcStream *st = CONTAINER_OF(s->streams.next, RpcStream, link);

                rpc_stream_detach(st);
                st->ops->stream_closed(s, st, 0, false, true);
        }
        s->o.ops->closed(s, s->reason);
        rpc_session_unref(s);
}

void rpc_session_shutdown(RpcSession *s)
{
        if (s->dead || s->closing)
                return;
        s->closing = true;
        (void) nghttp2_submit_shutdown_notice(s->h2);
        (void) nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, (const uint8_t *) GRACE_PING);
        rpc_session_flush_later(s);
}

void rpc_session_leave(RpcSession *s)
{
        if (s->dead || s->closing)
                return;
        s->closing = true;
        (void) nghttp2_submit_goaway(s->h2, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
        rpc_session_flush_later(s);
}

RpcSession *rpc_session_unref(RpcSession *s)
{
        if (!s || --s->refs > 0)
                return NULL;
        assert(s->dead);
        nghttp2_session_del(s->h2);
        free(s);
        return NULL;
}

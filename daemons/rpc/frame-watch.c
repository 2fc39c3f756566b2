/*
 * Frame watch.
 */
#include "rpc/frame-watch.h"

typedef struct Head {
        size_t length;
        uint8_t type, flags;
        int32_t id;
} Head;

static Head parse(const uint8_t h[static RPC_FRAME_HEAD_SIZE])
{
        return (Head){.length = (size_t) h[0] << 16 | (size_t) h[1] << 8 | h[2],
                      .type = h[3],
                      .flags = h[4],
                      .id = (int32_t) ((uint32_t) (h[5] & 0x7f) << 24 | (uint32_t) h[6] << 16 |
                                       (uint32_t) h[7] << 8 | h[8])};
}

void rpc_frame_watch_init(RpcFrameWatch *w, bool server)
{
        *w = (RpcFrameWatch){.payload_left = server ? NGHTTP2_CLIENT_MAGIC_LEN : 0};
}

void rpc_frame_watch_ended(RpcFrameWatch *w, int32_t id)
{
        w->ended[w->ended_at++ % RPC_ENDED_STREAMS] = id;
        w->ended_max = RPC_MAX(w->ended_max, id);
}

static bool has_ended(const RpcFrameWatch *w, nghttp2_session *h2, int32_t id)
{
        if (id > w->ended_max || nghttp2_session_get_stream_user_data(h2, id))
                return false;
        for (size_t i = 0; i < RPC_ENDED_STREAMS; i++)
                if (w->ended[i] == id)
                        return true;
        return false;
}

static bool uses_stream(const Head *h)
{
        return h->id != 0 && (h->type == NGHTTP2_DATA || h->type == NGHTTP2_HEADERS);
}

static bool ends_stream(const Head *h)
{
        return h->type == NGHTTP2_RST_STREAM ||
               (uses_stream(h) && (h->flags & NGHTTP2_FLAG_END_STREAM));
}

static bool is_large(const Head *h)
{
        return h->type == NGHTTP2_DATA && h->length >= RPC_LARGE_FRAME_BYTES &&
               !(h->flags & NGHTTP2_FLAG_PADDED);
}

size_t rpc_frame_watch_scan(RpcFrameWatch *w, nghttp2_session *h2, const uint8_t *data, size_t size)
{
        int32_t ended = 0; /* the newest stream that a frame in here ends */
        size_t at = 0;

        while (at < size) {
                size_t begin = w->head_fill > 0 ? 0 : at, n;
                Head h;

                if (w->payload_left > 0) {
                        n = RPC_MIN(w->payload_left, size - at);
                        w->payload_left -= n;
                        at += n;
                        continue;
                }
                n = RPC_MIN(RPC_FRAME_HEAD_SIZE - w->head_fill, size - at);
                memcpy(w->head + w->head_fill, data + at, n);
                w->head_fill = (uint8_t) (w->head_fill + n);
                at += n;
                if (w->head_fill < RPC_FRAME_HEAD_SIZE)
                        break;
                h = parse(w->head);
                w->head_fill = 0;
                if (uses_stream(&h) && (h.id <= ended || has_ended(w, h2, h.id)))
                        return begin; /* and if it is not 0, this head is read again */
                if (ends_stream(&h))
                        ended = RPC_MAX(ended, h.id);
                w->payload_left = h.length;
                w->large_id = is_large(&h) ? h.id : 0;
        }
        return size;
}

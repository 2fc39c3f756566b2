/*
 * Frame watch — a look at the heads of frames before nghttp2 gets them: which frames it will say
 * nothing of, and how much of a large one is still to come.
 *
 * A stream that its client has ended or reset is not to be used again (RFC 9113 §5.1:
 * STREAM_CLOSED). nghttp2 can only tell while it keeps closed streams, up to the limit of
 * concurrent ones, which costs a connection of ours 30 MB; without them it ignores DATA on them
 * silently. So the last ones are noted here, and the heads of frames are read as they pass: nine
 * bytes a frame.
 *
 * Whether a stream has ended is known when all before the frame has been worked on, so the input is
 * cut there. A client that keeps the rules causes no cut: its frames are on streams that are open,
 * or newer than those that have ended.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "rpc/util.h"

#define RPC_ENDED_STREAMS 64u /* of a client's, that are noted */
#define RPC_FRAME_HEAD_SIZE 9u
#define RPC_LARGE_FRAME_BYTES ((size_t) 64 * 1024) /* from here on a read of its own pays */

typedef struct RpcFrameWatch {
        size_t payload_left; /* of the frame, or of the preface */
        int32_t large_id;    /* its stream, when it is RPC_LARGE_FRAME_BYTES of DATA and not padded;
                                else 0 */
        uint8_t head[RPC_FRAME_HEAD_SIZE];
        uint8_t head_fill;
        int32_t ended[RPC_ENDED_STREAMS]; /* a ring */
        unsigned ended_at;
        int32_t ended_max;
} RpcFrameWatch;

void rpc_frame_watch_init(RpcFrameWatch *w, bool server);

/* The client itself has ended this stream, and it is closed now. What crosses our own reset is no
 * misuse. */
void rpc_frame_watch_ended(RpcFrameWatch *w, int32_t id);

/**
 * rpc_frame_watch_scan() - how much of the input nghttp2 may have before the next call
 * @h2: has got all before @data
 *
 * Return: bytes; 0: the next frame is on a stream that its client has ended.
 */
size_t rpc_frame_watch_scan(RpcFrameWatch *w, nghttp2_session *h2, const uint8_t *data,
                            size_t size);

/*
 * Session — one HTTP/2 connection with its streams, the same for client and server.
 *
 * It turns bytes into events of streams (a header, a message, the end) and messages into bytes.
 * What these mean is its owner's: the channel's (client) or the server's, by RpcSessionOps.
 *
 *      socket ──recv──▶ nghttp2 ──headers, messages, end──▶ ops ──▶ handlers of the application
 *      socket ◀─writev─ output ◀─frames─ nghttp2 ◀─pull── queue of each stream ◀── send
 *
 * Sending is pulled: a frame is made only when the socket has room for it, so what a slow peer
 * makes us keep is the queues of its streams, and those are bounded. Frames made while input is
 * handled, or in one round of the loop, leave together.
 *
 * Handlers run inside nghttp2's callbacks, and may close the session they run in. It is then dead
 * at once (socket closed, streams gone), and freed when the last function has returned from it.
 *
 * nghttp2_session_del() does not tell of the streams it drops, so the list of streams is kept here,
 * and each of them hears of its end exactly once: stream_closed().
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include <unistd.h>

#include "rpc/frame-watch.h"
#include "rpc/framing.h"
#include "rpc/metadata.h"
#include "rpc/once.h"
#include "rpc/spin.h"
#include "rpc/transport.h"

#define RPC_QUEUE_HIGH_BYTES ((size_t) 1 << 20)  /* beyond it a sender is told to wait */
#define RPC_QUEUE_LOW_BYTES ((size_t) 512 << 10) /* below it, to go on */
#define RPC_QUEUE_MAX_BYTES ((size_t) 64 << 20)  /* beyond it a message is refused */
#define RPC_FRAME_SIZE_MAX                                                                         \
        (((uint32_t) 1 << 20) +                                                                    \
         4096) /* of one frame we are willing to get, for bulk: a MiB, and its heads */

typedef struct RpcSession RpcSession;
typedef struct RpcSessionOps RpcSessionOps;

#define RPC_CONNECTION_GATHER_BYTES                                                                \
        ((size_t) 32 << 20) /* of unfinished messages, or two of the largest */
#define RPC_SERVER_GATHER_BYTES                                                                    \
        ((size_t) 512 << 20) /* of all its connections, or eight of the largest */

/* One call's share of a connection; embedded in the client's and the server's call. */
typedef struct RpcStream {
        RpcSession *session; /* NULL: not on a connection (not yet, or no more) */
        const RpcSessionOps *ops;
        size_t max_message_bytes;
        bool *gone; /* set when it leaves its session while its messages are handed out */
        int32_t id;
        RpcLink link;          /* in the session's streams */
        RpcLink writable_link; /* among those to be told to go on */
        RpcReader reader;
        RpcTime input_time;   /* of the last bytes that came */
        RpcTime message_time; /* of the last message that was handed out */
        int64_t sent_ns;      /* when what was queued had left, by the kernel; 0: it told no time */
        int64_t note[2];      /* server: remembered with the time when the reply left */
        bool has_note;
        RpcQueue queue;
        uint8_t *held; /* bytes that came while it was paused; never more than its window */
        size_t held_size, held_room;
        bool paused;
        bool queue_ended;    /* no message follows those in the queue */
        bool source_waiting; /* nghttp2 waits to be told that the queue has something */
        bool told_to_wait;   /* a sender got 0 and has to be called back */
        bool sent_end;       /* END_STREAM left */
        bool received_end;   /* END_STREAM came */
        bool deaf;           /* no more messages are wanted */
        bool headers_too_long;
} RpcStream;

struct RpcSessionOps {
        /* Server: a request begins. NULL refuses it (RST_STREAM REFUSED_STREAM). */
        RpcStream *(*stream_open)(RpcSession *s);
        /* A field of the headers, or of the trailers. Negative: the stream is reset. */
        int (*stream_header)(RpcStream *st, const uint8_t *name, size_t name_size,
                             const uint8_t *value, size_t value_size);
        /* The header block is complete. */
        void (*stream_headers_end)(RpcStream *st, bool trailers);
        void (*stream_message)(RpcStream *st, const uint8_t *data, size_t size);
        /* No further message can be read: -EMSGSIZE, -EOPNOTSUPP, -EBADMSG, -ENOMEM. */
        void (*stream_bad_message)(RpcStream *st, int error, size_t size);
        /* The peer sends no more, and all it sent has been handed out. */
        void (*stream_end)(RpcStream *st);
        /* Server: all messages are made into frames, trailers follow (rpc_stream_send_trailers). */
        void (*stream_trailers)(RpcStream *st);
        /* What was queued cannot be sent, and is dropped: a file has become shorter (-ENODATA), or
         * could not be read. The owner ends the stream, or says so in its trailers. */
        void (*stream_unsendable)(RpcStream *st, int error);
        void (*stream_writable)(RpcStream *st);
        /* The stream is gone from the session, not by rpc_stream_reset(). @refused: the peer has
         * certainly not seen it. @h2_error is that of RST_STREAM; meaningless when @lost. */
        void (*stream_closed)(RpcSession *s, RpcStream *st, uint32_t h2_error, bool refused,
                              bool lost);
        void (*settings)(RpcSession *s);     /* the peer's settings arrived, or changed */
        void (*goaway)(RpcSession *s);       /* the peer takes no further stream */
        void (*streams_free)(RpcSession *s); /* a stream ended: there is room for another */
        /* The connection is gone, all streams have been told. The owner drops its reference. */
        void (*closed)(RpcSession *s, const char *reason);
};

typedef struct RpcSessionOptions {
        const RpcSessionOps *ops;
        void *owner;
        bool server;
        size_t max_message_bytes;
        size_t window_bytes;
        uint32_t max_streams;    /* server */
        size_t max_header_bytes; /* of one block */
        uint64_t keepalive_usec; /* 0: none */
        uint64_t keepalive_timeout_usec;
        uint64_t header_timeout_usec;    /* 0: none */
        EvgrpcTls *tls;                  /* NULL: plain */
        const char *tls_server_name;     /* client */
        uint64_t handshake_timeout_usec; /* 0: the owner's timer */
        bool receive_timestamps;
        bool send_timestamps;
        RpcBlockPool *pool;
        RpcBudget *budget; /* outlives every stream */
        RpcSpin *spin;
        RpcEpoch epoch; /* server: told to the peer; see once.h */
        uint8_t *read_buffer;
} RpcSessionOptions;

struct RpcSession {
        unsigned refs;
        RpcSessionOptions o;
        struct event_base *base;
        nghttp2_session *h2;
        RpcTransport transport;
        RpcLink link; /* the owner's */
        RpcLink streams;
        RpcLink writable;
        size_t stream_count;
        size_t queued_bytes; /* in the queues of all streams */
        size_t header_bytes; /* of the block that is being read: blocks do not interleave */
        struct event flush_event;
        struct event keepalive_event;
        struct event header_event;
        int32_t header_stream; /* whose block is being read; 0: none */
        bool header_waiting;   /* the timer runs */
        uint64_t ping_usec;    /* when a PING without answer left; 0: none */
        bool flush_waiting;
        bool in_nghttp2; /* nghttp2 is on the stack: it must not be asked to send */
        bool in_flush;
        bool dead;
        bool goaway;  /* came */
        bool closing; /* GOAWAY left, ends with the last stream */
        RpcFrameWatch watch;
        RpcStampNote sent_note; /* server: of the last noted reply whose stamp came */
        int64_t sent_ns;        /* and that; 0: none */
        bool settings_seen;
        RpcEpoch peer_epoch; /* client: what the server told */
        bool input_seen;
        bool failed;      /* ended out of order, for the reason */
        char reason[240]; /* of the end */
};

/**
 * rpc_session_new() - HTTP/2 on a connected socket
 * @fd: taken in any case
 * Return: 0, -ENOMEM. The first frames leave from the loop.
 */
int rpc_session_new(struct event_base *base, int fd, const RpcSessionOptions *options,
                    RpcSession **ret);

/* Ends it now: streams are told, then closed(). No effect on a dead one. */
void rpc_session_close(RpcSession *s, const char *reason);
/* The same, for a reason that the owner may want to tell somebody of. */
void rpc_session_fail(RpcSession *s, const char *reason);
/* GOAWAY, and the end after the last stream's. */
void rpc_session_shutdown(RpcSession *s);
/* The same of a client, who knows himself that no further call comes. */
void rpc_session_leave(RpcSession *s);
RpcSession *rpc_session_unref(RpcSession *s);

/* Server: its epoch is another now. */
void rpc_session_tell_epoch(RpcSession *s, RpcEpoch epoch);

/* Sends soon: with everything else of this round of the loop. */
void rpc_session_flush_later(RpcSession *s);

/* The peer's limit of streams. */
static inline size_t rpc_session_peer_streams(RpcSession *s)
{
        return nghttp2_session_get_remote_settings(s->h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void rpc_stream_init(RpcStream *st);
void rpc_stream_done(RpcStream *st, RpcBlockPool *pool);

/* Client: puts the stream on a connection. Return: 0 or a negative errno. */
int rpc_stream_request(RpcStream *st, RpcSession *s, const nghttp2_nv *fields, size_t count);
/* Server: the response's headers, then the queue. With @last there is no body: these are all. */
int rpc_stream_respond(RpcStream *st, const nghttp2_nv *fields, size_t count, bool last);
/* Server, from stream_trailers() only. */
int rpc_stream_send_trailers(RpcStream *st, const nghttp2_nv *fields, size_t count);

/* Return: as evgrpc_call_send(), and evgrpc_call_send_file(). */
int rpc_stream_send(RpcStream *st, RpcBlockPool *pool, const ProtobufCMessage *message);
int rpc_stream_send_packed(RpcStream *st, RpcBlockPool *pool, const void *data, size_t size);
int rpc_stream_send_file(RpcStream *st, RpcBlockPool *pool, const ProtobufCMessage *message,
                         const EvgrpcFileRange *range);
void rpc_stream_end(RpcStream *st);

/* Takes the stream off its session, with RST_STREAM unless both sides have ended; the owner hears
 * nothing more of it. */
void rpc_stream_reset(RpcStream *st, uint32_t h2_error);

void rpc_stream_pause(RpcStream *st);

/* For session.c: where the next bytes of a message go (rpc_reader_place()), these bytes, the end of
 * them, the frame of what is queued. */
size_t rpc_stream_place(const RpcStream *st, uint8_t **ret);
int rpc_stream_input(RpcStream *st, const uint8_t *data, size_t size);
void rpc_stream_input_end(RpcStream *st);
void rpc_stream_attach(RpcStream *st, RpcSession *s, int32_t id);
void rpc_stream_detach(RpcStream *st);
ssize_t rpc_stream_source(nghttp2_session *h2, int32_t id, uint8_t *buffer, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *userdata);
/* Hands out what was held; call it from the loop. */
void rpc_stream_resume(RpcStream *st);

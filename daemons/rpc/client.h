/*
 * The client's insides: a channel and its calls.
 *
 *      evgrpc_call_start           connected, and the            the peer ended it, the
 *             │                    peer has room                connection was lost, …
 *             ▼                          │                             │
 *          PENDING ───────────────────────────────▶ ACTIVE ──────────────────────▶ ENDED ──▶ DONE
 *             │  deadline, cancel, no connection      │   deadline, cancel          ▲  on_done
 *             └───────────────────────────────────────┴─────────────────────────────┘
 *
 * A call holds itself (one reference) until it is DONE, and its channel's memory for good. A call
 * that was ever ACTIVE is never PENDING again: it may have been executed. The one exception is
 * once-client.h's.
 */
#pragma once

#include "rpc/address.h"
#include "rpc/deadline.h"
#include "rpc/once-client.h"
#include "rpc/session.h"
#include "rpc/status.h"

#define RPC_CALL_POOL_MAX 4096u /* calls kept for reuse: 4 MiB */
#define RPC_ADDRESSES_MAX 16u   /* of one name that are tried */

typedef enum CallState {
        CALL_PENDING,
        CALL_ACTIVE,
        CALL_ENDED,
        CALL_DONE,
} CallState;

typedef enum ChannelState {
        CHANNEL_IDLE,
        CHANNEL_RESOLVING,
        CHANNEL_CONNECTING,
        CHANNEL_SETTLING, /* connected, the peer's settings are to come */
        CHANNEL_READY,
        CHANNEL_BACKOFF,
} ChannelState;

/* Paths of one service's methods, made once. */
typedef struct ServicePaths {
        struct ServicePaths *next;
        const ProtobufCServiceDescriptor *service;
        char *paths[]; /* by the method's index */
} ServicePaths;

struct evdns_base;
struct evdns_getaddrinfo_request;

struct EvgrpcChannel {
        unsigned refs;
        struct event_base *base;
        EvgrpcChannelOptions o;
        char target[RPC_ADDRESS_TEXT_MAX];
        char tls_server_name[RPC_HOST_MAX + 1];
        RpcAddress address;
        bool freed; /* evgrpc_channel_free() was called: only calls hold the memory */

        ChannelState state;
        RpcSession *session; /* SETTLING, READY */
        RpcLink draining;    /* sessions whose peer said goodbye, until their last call ends */
        int fd;              /* CONNECTING */
        struct event connect_event;
        struct event timer; /* the end of an attempt, or of the backoff */
        uint64_t backoff_usec;
        uint64_t random;
        bool wanted;     /* connect again after the backoff */
        bool outdated;   /* SETTLING: to be left as soon as it is READY */
        char error[512]; /* of the last attempt */
        struct evdns_base *dns;
        struct evdns_getaddrinfo_request *dns_request;
        RpcSockaddr addresses[RPC_ADDRESSES_MAX];
        socklen_t address_sizes[RPC_ADDRESSES_MAX];
        unsigned address_count, address_next;

        RpcLink pending; /* calls by age */
        RpcLink active;
        RpcLink ended;    /* calls whose on_done is to run */
        RpcLink retrying; /* calls that are to be PENDING again after a pause */
        RpcDeadlines retries;
        RpcLink resumed; /* calls whose held messages are to be handed out */
        struct event deferred_event;
        size_t outstanding; /* calls PENDING or ACTIVE */
        RpcDeadlines deadlines;
        ServicePaths *services;

        RpcBlockPool blocks;
        RpcBudget budget; /* of unfinished replies */
        RpcSpin spin;
        EvgrpcCall *call_pool;
        unsigned call_pool_count;
        uint8_t *read_buffer;
};

struct EvgrpcCall {
        unsigned refs;
        CallState state;
        EvgrpcChannel *channel;
        EvgrpcCall *pool_next;
        RpcStream stream;
        RpcLink link; /* pending, active, retrying or ended */
        RpcLink resume_link;
        RpcDeadline deadline;
        uint64_t timeout_usec; /* EVGRPC_TIMEOUT_NONE: none */
        const ProtobufCMethodDescriptor *method;
        const char *path;
        bool wait_for_ready, unary;
        EvgrpcCallHandlers handlers;
        void *userdata;
        OnceCall once;
        RpcDeadline retry_at;

        /* The reply */
        unsigned http_status;
        bool headers_seen; /* the final ones */
        bool content_type_ok;
        bool status_seen;
        size_t messages;
        EvgrpcCode wire_code;
        const char *wire_message;
        EvgrpcStatus status;
        RpcMetadata outgoing, initial, trailing;
        EvgrpcMetadata initial_view, trailing_view;
        RpcArena arena; /* metadata and texts */
        RpcArena reply_arena;
        ProtobufCMessage *reply;
        uint8_t arena_space[128] __attribute__((aligned(16)));
        uint8_t reply_space[256] __attribute__((aligned(16)));
};

/* connect.c */
void rpc_channel_dial(EvgrpcChannel *ch);    /* from IDLE */
void rpc_channel_hang_up(EvgrpcChannel *ch); /* to IDLE, without a word to anyone */
extern const RpcSessionOps rpc_client_ops;   /* call.c */
void rpc_channel_settled(EvgrpcChannel *ch);
void rpc_channel_session_closed(EvgrpcChannel *ch, RpcSession *s, const char *reason);
void rpc_channel_goaway(EvgrpcChannel *ch, RpcSession *s);

/* channel.c */
EvgrpcChannel *rpc_channel_unref(EvgrpcChannel *ch);
void rpc_channel_defer(EvgrpcChannel *ch);
void rpc_channel_submit_pending(EvgrpcChannel *ch);
void rpc_channel_fail_pending(EvgrpcChannel *ch);
void rpc_channel_enqueue(EvgrpcCall *call); /* PENDING: sends it when it can be */
uint64_t rpc_channel_with_jitter(EvgrpcChannel *ch, uint64_t usec);
bool rpc_channel_has_room(EvgrpcChannel *ch); /* connected, and the peer takes another stream */

/* call.c */
void rpc_call_submit(EvgrpcCall *call);
/* Ends it: @now calls on_done here, else the loop does. @message is copied. */
void rpc_call_end(EvgrpcCall *call, EvgrpcCode code, const char *message, bool now);
void rpc_call_done(EvgrpcCall *call);
void rpc_call_expired(RpcDeadline *d, void *userdata);
void rpc_call_destroy(EvgrpcCall *call);

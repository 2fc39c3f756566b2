/*
 * The server's insides: listeners, connections, the table of methods, calls.
 *
 *      request headers ──▶ method found ──▶ message ──▶ handler ──▶ send … finish ──▶ trailers out
 *              │                 │             │           │                              │
 *              ▼                 ▼             ▼           ▼                              ▼
 *         malformed:      UNIMPLEMENTED   too long: …   cancelled, deadline,      freed once nobody
 *         RST_STREAM                                    connection lost           holds a reference
 *
 * A call holds itself (one reference) while its stream is on the connection.
 */
#pragma once

#include "rpc/address.h"
#include "rpc/deadline.h"
#include "rpc/once-server.h"
#include "rpc/session.h"
#include "rpc/status.h"

#define RPC_SERVER_CALL_POOL_MAX 4096u /* calls kept for reuse: 4 MiB */
#define RPC_CONNECTION_BACKLOG_BYTES                                                               \
        ((size_t) 64 << 20) /* unsent replies beyond which no call is taken */
#define RPC_ACCEPT_PAUSE_USEC (100 * RPC_USEC_PER_MSEC) /* after running out of descriptors */

typedef struct Listener {
        struct Listener *next;
        EvgrpcServer *server;
        int fd;
        struct event event;
        struct event pause;    /* tries again */
        char unlink_path[108]; /* of a unix socket we made */
        uint64_t inode;
} Listener;

typedef struct MethodEntry {
        struct MethodEntry *next; /* of the same bucket */
        const EvgrpcMethod *method;
        const ProtobufCMethodDescriptor *descriptor;
        void *userdata;
        ProtobufCService *service; /* of protoc-c, or NULL */
        unsigned index;            /* in it */
        size_t path_size;
        char path[];
} MethodEntry;

typedef struct Connection {
        EvgrpcServer *server;
        RpcSession *session;
        RpcLink link;
        struct event idle;
        size_t calls;
        RpcBudget budget; /* of unfinished requests */
        char peer[RPC_ADDRESS_TEXT_MAX];
} Connection;

#define METHOD_BUCKETS 256u

struct EvgrpcServer {
        unsigned refs;
        struct event_base *base;
        EvgrpcServerOptions o;
        bool freed;
        bool closing; /* evgrpc_server_shutdown() */
        Listener *listeners;
        RpcLink connections;
        size_t connection_count;
        MethodEntry *methods[METHOD_BUCKETS];
        RpcDeadlines deadlines;
        RpcArena arena; /* of the message a handler is called with */
        RpcBlockPool blocks;
        RpcBudget budget; /* of unfinished requests, all connections */
        RpcSpin spin;
        RpcOnce *once; /* NULL: no method keeps replies */
        EvgrpcServerCall *call_pool;
        unsigned call_pool_count;
        uint8_t *read_buffer;
};

struct EvgrpcServerCall {
        unsigned refs;
        EvgrpcServer *server;
        Connection *connection; /* NULL once it is lost */
        EvgrpcServerCall *pool_next;
        RpcStream stream;
        RpcDeadline deadline;
        const MethodEntry *method;
        bool method_post, content_type_ok, path_seen, bad_request;
        const char *http_status; /* of a request that is not gRPC */
        size_t http_sent;        /* of the answer's body */
        bool accepted;           /* the handler has been called */
        bool lost;               /* cancelled because the connection is lost */
        bool over;               /* finished, or cancelled: nothing can be sent */
        bool responded;          /* headers are submitted */
        uint64_t timeout_usec;
        size_t messages;
        EvgrpcCode code;
        const char *message; /* percent-encoded */
        EvgrpcServerCallHandlers handlers;
        void *userdata;
        OnceEntry *once;          /* that it executes, or waits for */
        EvgrpcServerCall *origin; /* an execution's: the first try, kept for its metadata */
        RpcLink once_link;
        RpcMetadata received, initial, trailing;
        EvgrpcMetadata view;
        RpcArena arena;
        uint8_t arena_space[128] __attribute__((aligned(16)));
};

/* server.c */
EvgrpcServer *rpc_server_unref(EvgrpcServer *server);
void rpc_connection_call_ended(Connection *c);
void rpc_server_connection_closed(Connection *c, const char *error); /* NULL: in order */

/* service.c */
const MethodEntry *rpc_server_find_method(const EvgrpcServer *server, const char *path,
                                          size_t size);
void rpc_server_free_methods(EvgrpcServer *server);

/* server-call.c */
extern const RpcSessionOps rpc_server_ops;
void rpc_server_call_expired(RpcDeadline *d, void *userdata);

/* For once-server.c: a call without a stream that has the metadata of this one, or NULL; its
 * handler called; its end without an answer; and the answer of a try, whose metadata and message
 * are set. */
EvgrpcServerCall *rpc_server_call_new_execution(EvgrpcServerCall *origin);
void rpc_server_call_run(EvgrpcServerCall *call, const uint8_t *data, size_t size);
void rpc_server_call_abandon(EvgrpcServerCall *execution);
void rpc_server_call_answer(EvgrpcServerCall *call, EvgrpcCode code, const uint8_t *packed,
                            size_t size);

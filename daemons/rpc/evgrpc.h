/*
 * evgrpc — gRPC for libevent, in C.
 *
 * The wire is gRPC over HTTP/2 (nghttp2) with protobuf messages (protobuf-c), so every language has
 * a peer for it. Everything runs in the thread of one event_base; nothing here locks and nothing
 * blocks but evgrpc_call_wait() and evgrpc_call_wait_first(), which run that loop.
 *
 * What a caller may rely on:
 *   - A call ends with exactly one status, and its done handler is called exactly once, from the
 *     loop, never from inside the function that started or cancelled it.
 *   - A call is sent at most once. Nothing here repeats a call but one that its caller marked for
 *     it (see "At most once"); a lost connection ends every other call on it with
 *     EVGRPC_UNAVAILABLE at once, and no reply is ever invented.
 *   - Every queue has a limit that is stated beside it. Messages that have come in part take at
 *     most 32 MiB of a connection (or two of the largest) and 512 MiB of a server (or eight);
 *     beyond that a call ends RESOURCE_EXHAUSTED.
 *
 * Ownership: a function that takes a message packs it before it returns and keeps no pointer to it.
 * A message given to a handler is the library's, valid until the handler returns. Objects are
 * reference-counted where they are handed out as such (_ref/_unref), else freed by _free. Errors
 * are negative errno values; a status is what the peer (or the library on its behalf) answered.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <event2/event.h>
#include <protobuf-c/protobuf-c.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EVGRPC_TIMEOUT_NONE UINT64_MAX
#define EVGRPC_SPIN_NONE UINT64_MAX

/* The codes of gRPC (grpc/statuscodes.md), with its numbers. */
typedef enum EvgrpcCode {
        EVGRPC_OK = 0,
        EVGRPC_CANCELLED = 1,
        EVGRPC_UNKNOWN = 2,
        EVGRPC_INVALID_ARGUMENT = 3,
        EVGRPC_DEADLINE_EXCEEDED = 4,
        EVGRPC_NOT_FOUND = 5,
        EVGRPC_ALREADY_EXISTS = 6,
        EVGRPC_PERMISSION_DENIED = 7,
        EVGRPC_RESOURCE_EXHAUSTED = 8,
        EVGRPC_FAILED_PRECONDITION = 9,
        EVGRPC_ABORTED = 10,
        EVGRPC_OUT_OF_RANGE = 11,
        EVGRPC_UNIMPLEMENTED = 12,
        EVGRPC_INTERNAL = 13,
        EVGRPC_UNAVAILABLE = 14,
        EVGRPC_DATA_LOSS = 15,
        EVGRPC_UNAUTHENTICATED = 16,
        _EVGRPC_CODE_MAX,
} EvgrpcCode;

const char *evgrpc_code_to_string(EvgrpcCode code); /* "UNAVAILABLE"; "UNKNOWN" for what is none */

typedef struct EvgrpcStatus {
        EvgrpcCode code;
        const char *message; /* never NULL; UTF-8 when the peer kept the rules; valid as long as its
                                call */
} EvgrpcStatus;

typedef struct EvgrpcMetadataEntry {
        const char *key;   /* lower case; ends in "-bin" when the value is arbitrary bytes */
        const char *value; /* NUL-terminated beyond its size, decoded for -bin keys */
        size_t value_size;
} EvgrpcMetadataEntry;

typedef struct EvgrpcMetadata {
        const EvgrpcMetadataEntry *entries;
        size_t count;
} EvgrpcMetadata;

/* The first entry with this key, or NULL. */
const EvgrpcMetadataEntry *evgrpc_metadata_find(const EvgrpcMetadata *metadata, const char *key);

/* ---- TLS
 * ---------------------------------------------------------------------------------------- */

typedef struct EvgrpcTls
        EvgrpcTls; /* one end's keys and whom it trusts; for channels and servers */

/* PEM, each from a file or, when that is given, from text in memory. */
typedef struct EvgrpcTlsSource {
        /* Whose signature on the peer's certificate counts; no other does. */
        const char *ca_file, *ca_pem;

        /* Ours, then those between it and its CA; a server needs one, a client may have none. */
        const char *certificate_file, *certificate_pem;

        /* Its private key, not encrypted. */
        const char *key_file, *key_pem;

        /* The CA's list of certificates that it took back (RFC 5280 §5): those and, for want of
         * news, all once it is out of date are refused. NULL: nobody asks. */
        const char *crl_file, *crl_pem;

        /* For a server where strangers introduce themselves: a client may have no certificate, and
         * evgrpc_server_call_peer_name() is "" then. */
        bool anonymous_clients;
} EvgrpcTlsSource;

/**
 * evgrpc_tls_new() - mutual TLS 1.3, ALPN h2
 * @source:    not kept, but for the names of its files
 * @ret_error: what is wrong with which file, malloc()ed, NULL when there is no more to say; may be
 *             NULL
 *
 * Return: 0; -EINVAL without a CA, or with a certificate or key alone; -EBADMSG for what is no PEM
 * of the kind; -EKEYREJECTED for a key of another certificate; -EFBIG beyond 1 MiB; an errno of
 * open() or read().
 */
int evgrpc_tls_new(const EvgrpcTlsSource *source, EvgrpcTls **ret, char **ret_error);

/* Renewed certificates, for every connection made from now on; those there are go on. @source NULL:
 * the same files once more. On failure the old ones stay in use. Return: as evgrpc_tls_new(). */
int evgrpc_tls_reload(EvgrpcTls *tls, const EvgrpcTlsSource *source, char **ret_error);

EvgrpcTls *evgrpc_tls_ref(EvgrpcTls *tls);
EvgrpcTls *evgrpc_tls_unref(EvgrpcTls *tls); /* returns NULL; takes NULL */

/* ---- Files --------------------------------------------------------------------------------------
 *
 * A message may carry a range of a file. It waits as a name and is sent from the page cache: by
 * sendfile() where the peer takes frames of 256 KiB or more (evgrpc does, with window_bytes above 1
 * MiB) and there is no TLS, else read 256 KiB at a time. Reading is done by the loop, which waits
 * for a slow disk.
 *
 * The file is read when the peer takes it, so nobody should change it until the call is over; what
 * is renamed or removed meanwhile is sent all the same. A file that becomes shorter, or cannot be
 * read, ends the call with DATA_LOSS; if that happens within a frame, for whose bytes the peer
 * waits, then the connection, and the peer's calls on it are UNAVAILABLE. It never becomes a short
 * message or an OK.
 */

typedef struct EvgrpcFile EvgrpcFile;

/* Takes @fd, a regular file that can be read, unless it fails. Return: 0; -EINVAL for what is none;
 * -EBADF; -ENOMEM. */
int evgrpc_file_new(int fd, EvgrpcFile **ret);
EvgrpcFile *evgrpc_file_ref(EvgrpcFile *file);
EvgrpcFile *evgrpc_file_unref(
        EvgrpcFile *file); /* returns NULL; takes NULL; the last one closes it */

typedef struct EvgrpcFileRange {
        EvgrpcFile *file; /* a reference is taken */
        uint64_t offset;
        size_t size;
        uint32_t field; /* the number of the message's field that it is the value of: bytes, not
                           repeated */
} EvgrpcFileRange;

/* ---- Client
 * ------------------------------------------------------------------------------------- */

typedef struct EvgrpcChannel EvgrpcChannel; /* one peer: a connection, remade when it is needed */
typedef struct EvgrpcCall EvgrpcCall;

typedef struct EvgrpcChannelOptions {
        size_t max_message_bytes;     /* of one received message; 0: 4 MiB */
        size_t window_bytes;          /* HTTP/2 receive window of stream and connection; 0: 1 MiB */
        size_t max_outstanding_calls; /* further ones end RESOURCE_EXHAUSTED; 0: 131072 */
        uint64_t connect_timeout_usec;   /* 0: 10 s */
        uint64_t keepalive_usec;         /* a PING after so long without a byte; 0: none */
        uint64_t keepalive_timeout_usec; /* the answer's limit; 0: 20 s */
        uint64_t backoff_max_usec; /* between connection attempts, doubling from 100 ms; 0: 30 s */
        EvgrpcTls *tls;            /* a reference is taken; NULL: plain */
        const char *tls_server_name; /* the DNS name or address the server's certificate must have
                                        in its SAN; copied; NULL: the target's host */
        bool receive_timestamps;     /* for evgrpc_call_message_received_ns() */
        bool send_timestamps;        /* for evgrpc_call_sent_ns() */
        /* Told of each change: connected, or why not (error is a sentence). May be NULL. */
        void (*on_state)(EvgrpcChannel *channel, bool connected, const char *error, void *userdata);
        /* A connection that is left in peace, because its peer said goodbye or by
         * evgrpc_channel_renew(), is made again at once, and not when it is needed; on_state hears
         * of it only if that fails. */
        bool stay_connected;
        /* With stay_connected: a connection is left. Calls there stay on it until their end; those
         * that are started from now on, in here already, take the new one. May be NULL. */
        void (*on_left)(EvgrpcChannel *channel, void *userdata);
        void *userdata;
        /* Polls for up to so long before the loop sleeps, while replies are awaited and come within
         * a few hundred microseconds of each other: saves the time a sleeping core takes to wake.
         * 0: 50 us, at most 1 ms; EVGRPC_SPIN_NONE: never (on battery). Never on a single
         * processor. */
        uint64_t spin_usec;
} EvgrpcChannelOptions;

/**
 * evgrpc_channel_new() - a channel to one address
 * @target:  "HOST:PORT", "[V6]:PORT" or "unix:PATH"
 * @options: NULL for the defaults
 *
 * No connection is made before the first call or evgrpc_channel_connect().
 * Return: 0; -EINVAL for a target that is none of these, or with TLS has no host and there is no
 * tls_server_name.
 */
int evgrpc_channel_new(struct event_base *base, const char *target,
                       const EvgrpcChannelOptions *options, EvgrpcChannel **ret);

/* Ends every outstanding call with CANCELLED (their done handlers run before this returns, the one
 * exception to the rule above), closes the connection. Returns NULL. Takes NULL. */
EvgrpcChannel *evgrpc_channel_free(EvgrpcChannel *channel);

void evgrpc_channel_connect(EvgrpcChannel *channel);
bool evgrpc_channel_is_connected(const EvgrpcChannel *channel);
/* After evgrpc_tls_reload(): as evgrpc_server_recheck(). Return: whether a connection was ended. */
bool evgrpc_channel_recheck(EvgrpcChannel *channel);
/* After evgrpc_tls_reload() with another certificate of ours: new calls go over a new connection,
 * which is made with it; those there are end in peace on the old one. */
void evgrpc_channel_renew(EvgrpcChannel *channel);

typedef struct EvgrpcCallOptions {
        uint64_t timeout_usec; /* sent as grpc-timeout and kept here; 0 or TIMEOUT_NONE: no deadline
                                */
        EvgrpcMetadata metadata; /* copied */
        bool fail_fast_off;      /* wait for the connection (up to the deadline) instead of ending
                                     UNAVAILABLE when it cannot be made; gRPC's wait-for-ready */
        bool unary;              /* OK takes exactly one reply; see evgrpc_call_start() */
        struct EvgrpcClientIdentity *once; /* marks the call; see "At most once" */
        struct EvgrpcMark *mark;           /* the same, with a mark of the caller's */
        bool retry;                        /* marked: try again when the connection is lost */
} EvgrpcCallOptions;

typedef struct EvgrpcCallHandlers {
        void (*on_message)(EvgrpcCall *call, const ProtobufCMessage *message,
                           void *userdata); /* may be NULL */
        void (*on_writable)(EvgrpcCall *call,
                            void *userdata); /* after a send that said 0; may be NULL */
        void (*on_done)(EvgrpcCall *call, const EvgrpcStatus *status,
                        void *userdata); /* exactly once */
} EvgrpcCallHandlers;

/**
 * evgrpc_call_start() - a call of any kind
 * @method:   "Compute"
 * @request:  the one request of a unary or server-streaming call: sent, and the sending side
 *            closed. NULL for the streaming kinds: use evgrpc_call_send() and
 *            evgrpc_call_close_send()
 * @handlers: copied; NULL for none
 * @ret:      a reference the caller gives back with evgrpc_call_unref(), even after on_done; NULL
 *            if unwanted
 *
 * A unary call's reply comes through on_message, then on_done. A unary call that ends OK has had
 * exactly one message (the library answers INTERNAL for a peer that sends none or two). The
 * descriptor does not say which methods are unary: a call is, when its options say so, or when it
 * has no on_message (its reply is then read by evgrpc_call_reply(), never NULL after OK).
 *
 * Return: 0; -EINVAL for an unknown method, a request of the wrong type or metadata that gRPC does
 * not allow; -ESHUTDOWN inside evgrpc_channel_free(); -ENOMEM. Everything else that can go wrong,
 * the network above all, is a status.
 */
int evgrpc_call_start(EvgrpcChannel *channel, const ProtobufCServiceDescriptor *service,
                      const char *method, const ProtobufCMessage *request,
                      const EvgrpcCallOptions *options, const EvgrpcCallHandlers *handlers,
                      void *userdata, EvgrpcCall **ret);

/**
 * evgrpc_call_send() - one more message of a client-streaming call
 * Return: 1: sent or queued, go on; 0: queued, but wait for on_writable; -EPIPE: the call is over
 * or its sending side closed.
 */
int evgrpc_call_send(EvgrpcCall *call, const ProtobufCMessage *message);
/**
 * evgrpc_call_send_file() - a message whose field range->field is the range of a file
 * @message: the other fields; that one is empty
 * Return: as evgrpc_call_send(); -EINVAL for a field that is none or not bytes; -ENODATA: the file
 * ends before the range does; -EMSGSIZE beyond 4 GiB.
 */
int evgrpc_call_send_file(EvgrpcCall *call, const ProtobufCMessage *message,
                          const EvgrpcFileRange *range);
int evgrpc_call_close_send(EvgrpcCall *call);

/* Ends the call with CANCELLED and tells the peer (RST_STREAM). on_done follows from the loop. No
 * effect on a call that is over. */
void evgrpc_call_cancel(EvgrpcCall *call);

/* Stops and resumes reading: messages wait at the sender once the window is full. */
void evgrpc_call_pause(EvgrpcCall *call);
void evgrpc_call_resume(EvgrpcCall *call);

/* The future: NULL while the call goes on. Kept for the life of the call object. */
const EvgrpcStatus *evgrpc_call_status(const EvgrpcCall *call);
/* The last message received, kept for the life of the call object; NULL if there was none. */
const ProtobufCMessage *evgrpc_call_reply(const EvgrpcCall *call);
/* When the kernel got the last piece of that message: CLOCK_REALTIME, nanoseconds since 1970; 0
 * without a message, or when the channel did not ask. @ret_from_kernel (may be NULL): false when
 * the kernel told no time (local sockets; the first bytes of a connection) and it is that of the
 * read. When one read takes several messages, all have the time of the last of them; one that was
 * paused, that of the last bytes held. */
int64_t evgrpc_call_message_received_ns(const EvgrpcCall *call, bool *ret_from_kernel);
/* When the kernel handed the end of the last message sent to the network: CLOCK_REALTIME,
 * nanoseconds since 1970. 0 until it has told so (a call that was answered has been told, if ever),
 * for local sockets, devices that tell nothing, and channels that did not ask. Of several messages
 * that left together, or were sent faster than the network took them, the last. */
int64_t evgrpc_call_sent_ns(const EvgrpcCall *call);
/* Runs the loop until the call is over and its on_done has run; returns its status. Not from inside
 * a handler of this loop: libevent does not nest, so that answers FAILED_PRECONDITION at once and
 * the call goes on. */
const EvgrpcStatus *evgrpc_call_wait(EvgrpcCall *call);
/**
 * evgrpc_call_wait_first() - runs the loop until one of several calls is over, as select does in Go
 * @calls: of one or more channels with the same event_base; NULL entries are passed over
 *
 * Return: the index of one that is over and whose on_done has run, the first such; -EINVAL when all
 * are NULL; -EDEADLK inside a handler of this loop.
 */
ssize_t evgrpc_call_wait_first(EvgrpcCall *const *calls, size_t count);

const EvgrpcMetadata *evgrpc_call_initial_metadata(const EvgrpcCall *call);
const EvgrpcMetadata *evgrpc_call_trailing_metadata(const EvgrpcCall *call);

EvgrpcCall *evgrpc_call_ref(EvgrpcCall *call);
EvgrpcCall *evgrpc_call_unref(EvgrpcCall *call); /* returns NULL; takes NULL; does not cancel */

/* ---- Server
 * ------------------------------------------------------------------------------------- */

typedef struct EvgrpcServer EvgrpcServer;
typedef struct EvgrpcServerCall EvgrpcServerCall;

typedef struct EvgrpcServerOptions {
        size_t max_message_bytes; /* of one received message; 0: 4 MiB */
        size_t window_bytes;      /* 0: 1 MiB */
        size_t max_connections;   /* further ones are closed at once; 0: 16384 */
        uint32_t max_streams;     /* concurrent calls of one connection; 0: 131072 */
        size_t max_header_bytes;  /* of one call's metadata; 0: 16 KiB */
        uint64_t idle_usec;       /* a connection without calls is closed after this; 0: never */
        uint64_t keepalive_usec;  /* a PING after so long without a byte; 0: none */
        uint64_t keepalive_timeout_usec; /* 0: 20 s */
        uint64_t header_timeout_usec;    /* of the opening, and of one call's headers; 0: 10 s */
        EvgrpcTls *tls;                  /* on every address; a reference is taken; NULL: plain */
        uint64_t handshake_timeout_usec; /* 0: 10 s */
        bool receive_timestamps;         /* for evgrpc_server_call_message_received_ns() */
        bool send_timestamps;            /* for evgrpc_server_call_note_reply() */
        /* A connection has failed: a handshake, a peer that speaks something else, one that
         * vanished. Those that end in order are not told of. @error is a sentence, @peer as
         * evgrpc_server_call_peer(). For a log: it must not free the server. May be NULL. */
        void (*on_error)(EvgrpcServer *server, const char *peer, const char *error, void *userdata);
        void *userdata;     /* of on_error */
        uint64_t spin_usec; /* after requests that follow each other closely; as
                               EvgrpcChannelOptions' */
} EvgrpcServerOptions;

/* Return: 0; -EINVAL for TLS without a certificate; -ENOMEM. */
int evgrpc_server_new(struct event_base *base, const EvgrpcServerOptions *options,
                      EvgrpcServer **ret);

/* Closes every connection; handlers of open calls get on_cancelled before this returns. Returns
 * NULL. */
EvgrpcServer *evgrpc_server_free(EvgrpcServer *server);

/* Ends in peace: stops listening, tells every client to make its next calls elsewhere (GOAWAY),
 * lets the calls there are come to their end, and closes each connection after its last one. */
void evgrpc_server_shutdown(EvgrpcServer *server);
/* 0 after a shutdown: all have left. */
size_t evgrpc_server_connection_count(const EvgrpcServer *server);

/* After evgrpc_tls_reload(): ends each connection whose peer would not be let in any more, because
 * its certificate is revoked, has expired or is of another CA. Its calls end as with any lost
 * connection, and on_error is told why. Not from inside a handler of this server. Return: how many
 * were ended. */
size_t evgrpc_server_recheck(EvgrpcServer *server);

/* As evgrpc_channel_renew(): every client there is is told to make its next calls over a new
 * connection (GOAWAY). */
void evgrpc_server_renew(EvgrpcServer *server);

/**
 * evgrpc_server_listen() - serve an address; may be called for several
 * @address:   "HOST:PORT" (port 0: any free one), "[V6]:PORT" or "unix:PATH" (mode 0600, a stale
 *             socket is replaced, a living one is -EADDRINUSE)
 * @ret_bound: the address with its real port, malloc()ed; may be NULL
 */
int evgrpc_server_listen(EvgrpcServer *server, const char *address, char **ret_bound);

/* Serves an inherited listening socket (socket activation). Takes @fd, unless it fails. */
int evgrpc_server_listen_fd(EvgrpcServer *server, int fd);

typedef struct EvgrpcMethod {
        const char *name; /* NULL ends the array */
        /* Unary and server-streaming: called once with the request. Client-streaming and
         * bidirectional: called at the start with request = NULL; set handlers for the messages. */
        void (*handler)(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata);
        bool client_streaming;
        bool server_streaming;
        bool at_most_once; /* unary: keeps replies to marked calls; see "At most once" */
        bool stored;       /* and the handler saves them: evgrpc_server_call_save() */
} EvgrpcMethod;

/* @methods is static; methods of the descriptor that are not in it are answered UNIMPLEMENTED. */
int evgrpc_server_add_service(EvgrpcServer *server, const ProtobufCServiceDescriptor *descriptor,
                              const EvgrpcMethod *methods, void *userdata);

/* Serves a service that protoc-c generated (unary methods): its closure sends the reply, NULL is
 * INTERNAL. */
int evgrpc_server_add_protobuf_service(EvgrpcServer *server, ProtobufCService *service);

typedef struct EvgrpcServerCallHandlers {
        void (*on_message)(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata);
        void (*on_half_close)(EvgrpcServerCall *call,
                              void *userdata);                       /* the client sends no more */
        void (*on_writable)(EvgrpcServerCall *call, void *userdata); /* after a send that said 0 */
        /* The client cancelled, its deadline passed or its connection is lost: nothing more can be
         * sent. Called at most once, never after evgrpc_server_call_finish(). The call must not be
         * used after it returns, unless it was ref'd. */
        void (*on_cancelled)(EvgrpcServerCall *call, void *userdata);
} EvgrpcServerCallHandlers;

void evgrpc_server_call_set_handlers(EvgrpcServerCall *call,
                                     const EvgrpcServerCallHandlers *handlers,
                                     void *userdata); /* copied */

/**
 * evgrpc_server_call_send() - one message of the reply stream
 * Return: 1: go on; 0: queued, but wait for on_writable (more than 1 MiB is queued; beyond 64 MiB a
 * send is refused with -ENOBUFS); -EPIPE: the call is over.
 */
int evgrpc_server_call_send(EvgrpcServerCall *call, const ProtobufCMessage *message);
/* The same with the range of a file; as evgrpc_call_send_file(). -EINVAL also for a marked call,
 * whose reply is kept. After an error the call goes on. */
int evgrpc_server_call_send_file(EvgrpcServerCall *call, const ProtobufCMessage *message,
                                 const EvgrpcFileRange *range);

/* Ends the call. After it the call must not be used. @format may be NULL for an empty message. */
void evgrpc_server_call_finish(EvgrpcServerCall *call, EvgrpcCode code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* send() and finish(OK): the whole answer of a unary method. */
void evgrpc_server_call_reply(EvgrpcServerCall *call, const ProtobufCMessage *message);

bool evgrpc_server_call_is_over(const EvgrpcServerCall *call);
/* Whether it was cancelled because the connection is lost, and not by the client or its
 * deadline. */
bool evgrpc_server_call_is_lost(const EvgrpcServerCall *call);
const EvgrpcMetadata *evgrpc_server_call_metadata(const EvgrpcServerCall *call);
int evgrpc_server_call_add_initial_metadata(EvgrpcServerCall *call, const char *key,
                                            const void *value, size_t size);
int evgrpc_server_call_add_trailing_metadata(EvgrpcServerCall *call, const char *key,
                                             const void *value, size_t size);
/* "127.0.0.1:41234" or "unix", empty once the connection is lost; and microseconds until the
 * deadline, TIMEOUT_NONE without one. */
const char *evgrpc_server_call_peer(const EvgrpcServerCall *call);
/* Who the client has proven to be: the first DNS name, URI or address in its certificate's SAN,
 * else its CN. Empty without TLS and once the connection is lost (a marked call keeps it). */
const char *evgrpc_server_call_peer_name(const EvgrpcServerCall *call);
/* Of the last message; as evgrpc_call_message_received_ns(). */
int64_t evgrpc_server_call_message_received_ns(const EvgrpcServerCall *call, bool *ret_from_kernel);

/**
 * evgrpc_server_call_note_reply() - remember when this call's reply leaves
 * @note: comes back with that time, from evgrpc_server_call_noted_reply() of a later call of the
 *        same connection
 *
 * A reply cannot say itself when it left, but the next one can say it of this: RFC 9769 calls it
 * interleaved. Call it before the reply is sent. A connection remembers one reply, the last that
 * was noted and has left.
 * Return: whether the kernel is expected to tell; false for local sockets, for servers without
 * send_timestamps, and where it did not tell for some time.
 */
bool evgrpc_server_call_note_reply(EvgrpcServerCall *call, const int64_t note[2]);
/* When that reply was handed to the network: CLOCK_REALTIME, nanoseconds since 1970; 0: not known,
 * and @ret_note is untouched. */
int64_t evgrpc_server_call_noted_reply(const EvgrpcServerCall *call, int64_t ret_note[2]);

uint64_t evgrpc_server_call_time_left_usec(const EvgrpcServerCall *call);

/* A call that is answered later, from somewhere that may outlive it, holds a reference. */
EvgrpcServerCall *evgrpc_server_call_ref(EvgrpcServerCall *call);
EvgrpcServerCall *evgrpc_server_call_unref(EvgrpcServerCall *call); /* returns NULL; takes NULL */

/* ---- At most once, across connections
 * -------------------------------------------------------------
 *
 * After a lost connection nobody knows whether a call was executed. A caller who wants to try again
 * marks the call; a server whose method says .at_most_once runs a marked call once, however many
 * tries arrive by whatever connections, and keeps its reply until the client has it. Unary methods
 * only. Each marked call ends with one status:
 *
 *   what the method said   the reply of its one execution, repeated as often as it is asked for
 *   ABORTED                "Outcome unknown: …": the server was restarted since the first try, or
 *                          the client was silent for longer than its lease. It was executed once or
 *                          never, and will not be now. Also a reply that there was no room to keep
 *   RESOURCE_EXHAUSTED     the server's table is full: not executed
 *   FAILED_PRECONDITION    a try of a call whose reply was acknowledged: not executed again
 *   INVALID_ARGUMENT       the mark belongs to another method or request: this one was not executed
 *   UNIMPLEMENTED          the method keeps no replies: not executed
 *   UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED   of this library: no reply is known; the call was
 *                          executed once or never
 *
 * On the wire these are metadata, for clients in any language: x-rpc-client (32 hex digits, random,
 * fresh for each process), x-rpc-seq (the same on every try), x-rpc-ack (all replies below it are
 * in hand; at most x-rpc-seq) and x-rpc-epoch: what the server told in the initial metadata of its
 * replies, or in SETTINGS, as it was known at the first try; left out on a first try that knows
 * none, "0" on a later one.
 */

/* The client's side. */
/* 128 random bits, and a count of calls. */
typedef struct EvgrpcClientIdentity EvgrpcClientIdentity;
/* One call, however often it is tried. */
typedef struct EvgrpcMark EvgrpcMark;

/* One for a process is enough, whatever the number of channels. Return: 0, -ENOMEM, or what
 * getrandom() says. */
int evgrpc_client_identity_new(EvgrpcClientIdentity **ret);
EvgrpcClientIdentity *evgrpc_client_identity_ref(EvgrpcClientIdentity *identity);
EvgrpcClientIdentity *evgrpc_client_identity_unref(EvgrpcClientIdentity *identity);

/**
 * evgrpc_mark_new() - a mark, for a caller who decides on each try
 *
 * Set it as EvgrpcCallOptions.mark of each evgrpc_call_start() of this call. Give it back when no
 * further try will follow, whatever the outcome: that acknowledges it. Until then the server keeps
 * its reply, and those of all later calls.
 *
 * A caller who does not decide sets EvgrpcCallOptions.once, which makes a mark for the one call,
 * and .retry: the library then tries again by itself, over a new connection, each time the
 * connection is lost or could not be made: after 10 ms, doubling up to 2 s, by ±20 % of chance,
 * until the deadline (without one: for ever). Such a call's on_message comes just before its
 * on_done. A server that told no epoch may not know what a mark is: the call then ends UNAVAILABLE,
 * as an unmarked one does.
 */
int evgrpc_mark_new(EvgrpcClientIdentity *identity, EvgrpcMark **ret);
EvgrpcMark *evgrpc_mark_ref(EvgrpcMark *mark);
EvgrpcMark *evgrpc_mark_unref(EvgrpcMark *mark); /* returns NULL; takes NULL */

/* The server's side. A marked call, once begun, is run to its end: its handler is not told of a try
 * that is cancelled or lost. (on_cancelled comes with evgrpc_server_free(), and when the client's
 * lease is over.) Its metadata and its deadline are those of the first try. */

typedef struct EvgrpcOnceKey {
        const char *principal; /* who the peer proved to be; "" for one that proved nothing */
        const char *client;    /* x-rpc-client */
        uint64_t seq;
        uint64_t acknowledged; /* records of this client below it may be deleted */
} EvgrpcOnceKey;

/* Where the replies of .stored methods are kept beside their effects: a table of the daemon's
 * database. */
typedef struct EvgrpcOnceStore {
        /* Writes the record in the transaction that the caller of evgrpc_server_call_save() has
         * open.
         * Return: 0 or negative errno. */
        int (*save)(const EvgrpcOnceKey *key, const void *record, size_t size, void *userdata);
        /* Return: 1 and a malloc()ed copy; 0: there is none, and none with this key was ever
         * deleted; -ESTALE: there may have been one (so a store that deletes remembers up to which
         * seq); another negative errno. */
        int (*load)(const EvgrpcOnceKey *key, void **ret_record, size_t *ret_size, void *userdata);
} EvgrpcOnceStore;

typedef struct EvgrpcOnceOptions {
        size_t max_bytes;             /* of kept replies with all that belongs to them; 0: 64 MiB */
        size_t max_client_bytes;      /* of one client's; 0: a quarter of it */
        uint64_t lease_usec;          /* a client is forgotten after so long a silence; 0: 10 min */
        const EvgrpcOnceStore *store; /* for .stored methods; static */
        void *userdata;               /* the store's */
} EvgrpcOnceOptions;

/* Before the first method that says .at_most_once is added; without it the defaults hold.
 * Return: 0; -EBUSY the second time; -ENOMEM, or what getrandom() says. */
int evgrpc_server_set_once(EvgrpcServer *server, const EvgrpcOnceOptions *options);

/**
 * evgrpc_server_call_save() - a .stored method keeps its reply where its effect is
 *
 *     BEGIN; the effect; evgrpc_server_call_save(call, reply); COMMIT;
 *     evgrpc_server_call_reply(call, reply);
 *
 * So after a restart a retry gets the reply of what was committed, and is run when nothing was. A
 * handler that answers without it says that the call had no effect. Metadata is not stored.
 * Return: 0, also for a call that is not marked; what EvgrpcOnceStore.save said; -EINVAL for a
 * method that is not .stored or a message of another type; -EPIPE when the call is over; -ENOMEM.
 */
int evgrpc_server_call_save(EvgrpcServerCall *call, const ProtobufCMessage *reply);

#ifdef __cplusplus
}
#endif

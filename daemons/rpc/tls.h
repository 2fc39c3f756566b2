/*
 * TLS — mutual TLS 1.3 between a socket and HTTP/2.
 *
 *      socket ──recv──▶ feed ──▶ OpenSSL ──read──▶ plain bytes ──▶ session
 *      socket ◀─sendmsg─ cipher ◀─ OpenSSL ◀─send── output      ◀── session
 *
 * OpenSSL never sees the socket: it takes records from the bytes of the last read, without a copy,
 * and puts its own into an output of blocks like the plain one. So reading, writing, waiting and
 * their limits are the transport's, the same as without TLS. Plain bytes are encrypted only while
 * less than 128 KiB of records wait for the socket: a slow peer costs that much more and no more.
 *
 * Both ends present a certificate and demand ALPN h2. No session is resumed: every connection
 * looks at the certificates again, so a renewed or expired one counts from the next connection on.
 */
#pragma once

#include <openssl/ssl.h>

#include "rpc/evgrpc.h"
#include "rpc/output.h"
#include "rpc/stamps.h"

#define RPC_TLS_CIPHER_BYTES                                                                       \
        ((size_t) 128 * 1024) /* of records: beyond it none is made of output */
#define RPC_TLS_CIPHER_BYTES_MAX ((size_t) 512 * 1024) /* with answers to the peer's key updates */
#define RPC_TLS_PEM_MAX ((size_t) 1 << 20)             /* of one PEM file */
#define RPC_TLS_NAME_MAX ((size_t) 255)                /* of a peer */

struct EvgrpcTls {
        unsigned refs;
        SSL_CTX *context; /* of new connections; each connection holds its own reference */
        bool has_certificate;
        bool anonymous_clients;
        char *ca_file, *certificate_file, *key_file, *crl_file; /* NULL: from memory, or none */
};

/* One connection's. */
typedef struct RpcTls {
        SSL *ssl;
        bool server;
        bool started, established, failed;
        bool no_alpn;         /* the client offers no h2 */
        bool not_tls;         /* what came is no record */
        const uint8_t *input; /* of the last read, not yet taken */
        size_t input_size;
        RpcOutput cipher;
        RpcStamps *stamps;                    /* the transport's; NULL: none */
        int verify_error, verify_depth;       /* X509_V_…, of the peer's chain */
        char verify_detail[160];              /* a date or a name */
        char expected[RPC_TLS_NAME_MAX + 1];  /* client: whom it wants to talk to */
        char peer_name[RPC_TLS_NAME_MAX + 1]; /* proven by its certificate, once established */
        char error[240];                      /* a sentence, once failed */
} RpcTls;

/**
 * rpc_tls_new() - one connection's TLS
 * @server_name: client: the DNS name or IP address that the server's certificate must be for
 * Return: 0 or -ENOMEM.
 */
int rpc_tls_new(EvgrpcTls *tls, bool server, const char *server_name, RpcBlockPool *pool,
                RpcTls **ret);
RpcTls *rpc_tls_free(RpcTls *t); /* returns NULL; takes NULL */

/* Bytes from the socket, which must stay until rpc_tls_read() has said 0 or less. */
void rpc_tls_feed(RpcTls *t, const uint8_t *data, size_t size);

/**
 * rpc_tls_read() - shakes hands, then decrypts
 * Return: plain bytes; 0: more must come from the socket; -ECONNRESET: the peer ended it in order;
 * -EPROTO: failed, and rpc_tls_error() says why; -ENOMEM.
 */
ssize_t rpc_tls_read(RpcTls *t, uint8_t *buffer, size_t room);

/* Encrypts and sends. Return: as rpc_output_send(); before the handshake is over only its records
 * go. */
int rpc_tls_send(RpcTls *t, RpcOutput *plain, int fd);

/* A last word to the peer (close_notify), if the socket takes it. */
void rpc_tls_say_goodbye(RpcTls *t, int fd);

/* Looks at the certificate of an established peer once more, with what @tls trusts now. Return:
 * true; false, and rpc_tls_error() says why. One without a certificate passes. */
bool rpc_tls_recheck(RpcTls *t, EvgrpcTls *tls);

/* tls-error.c: notes why @t failed, from OpenSSL's queue, which is empty then; and says it. */
void rpc_tls_explain(RpcTls *t);
void rpc_tls_set_error(RpcTls *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rpc_tls_explain_certificate(RpcTls *t);          /* after rpc_tls_note_verify() */
int rpc_tls_on_verify(int ok, X509_STORE_CTX *store); /* SSL_verify_cb: keeps the first error */
int rpc_tls_note_verify(RpcTls *t, int ok, X509_STORE_CTX *store);
/* The first DNS name, URI or IP address in the certificate's SAN, else its CN; what is no
 * printable ASCII becomes '?'. */
void rpc_tls_name_of(const X509 *certificate, char ret[static RPC_TLS_NAME_MAX + 1]);

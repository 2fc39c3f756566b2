/*
 * TLS: one connection's records.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "rpc/tls.h"

#define RECORD_BYTES ((size_t) 16 * 1024) /* of plain text in one record, RFC 8446 §5.1 */

/* ---- What OpenSSL takes for a socket
 * ------------------------------------------------------------ */

static int link_read(BIO *b, char *to, int size)
{
        RpcTls *t = BIO_get_data(b);
        size_t n = RPC_MIN((size_t) size, t->input_size);

        BIO_clear_retry_flags(b);
        if (n == 0) {
                BIO_set_retry_read(b);
                return -1;
        }
        memcpy(to, t->input, n);
        t->input += n;
        t->input_size -= n;
        return (int) n;
}

/* A peer that asks for key updates and does not read the answers is not worth their memory. */
static int link_write(BIO *b, const char *data, int size)
{
        RpcTls *t = BIO_get_data(b);

        BIO_clear_retry_flags(b);
        if (t->cipher.bytes + (size_t) size > RPC_TLS_CIPHER_BYTES_MAX ||
            rpc_output_copy(&t->cipher, (const uint8_t *) data, (size_t) size) < 0)
                return -1;
        return size;
}

static long link_control(BIO *b, int command, long number, void *pointer)
{
        return command == BIO_CTRL_FLUSH;
}

static int link_create(BIO *b)
{
        BIO_set_init(b, 1);
        return 1;
}

static BIO_METHOD *link_method;

static void make_link_method(void)
{
        BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "evgrpc");

        if (!m)
                return;
        (void) BIO_meth_set_read(m, link_read);
        (void) BIO_meth_set_write(m, link_write);
        (void) BIO_meth_set_ctrl(m, link_control);
        (void) BIO_meth_set_create(m, link_create);
        link_method = m;
}

/* ---- Birth and death
 * ---------------------------------------------------------------------------- */

static int expect_name(RpcTls *t, const char *name)
{
        uint8_t address[sizeof(struct in6_addr)];

        (void) snprintf(t->expected, sizeof(t->expected), "%s", name);
        if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
                return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), name);
        SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                          X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        return SSL_set1_host(t->ssl, name) && SSL_set_tlsext_host_name(t->ssl, name);
}

static int set_up(RpcTls *t, EvgrpcTls *tls, const char *server_name)
{
        BIO *bio;

        t->ssl = SSL_new(tls->context);
        if (!t->ssl || !SSL_set_app_data(t->ssl, t))
                return -ENOMEM;
        bio = BIO_new(link_method);
        if (!bio)
                return -ENOMEM;
        BIO_set_data(bio, t);
        SSL_set_bio(t->ssl, bio, bio);
        if (t->server) {
                SSL_set_accept_state(t->ssl);
                return 0;
        }
        SSL_set_connect_state(t->ssl);
        return expect_name(t, server_name) ? 0 : -ENOMEM;
}

int rpc_tls_new(EvgrpcTls *tls, bool server, const char *server_name, RpcBlockPool *pool,
                RpcTls **ret)
{
        static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
        RpcTls *t;
        int r;

        if (!CRYPTO_THREAD_run_once(&once, make_link_method) || !link_method)
                return -ENOMEM;
        t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->server = server;
        rpc_output_init(&t->cipher, pool);
        r = set_up(t, tls, server_name);
        if (r < 0) {
                ERR_clear_error();
                rpc_tls_free(t);
                return r;
        }
        *ret = t;
        return 0;
}

RpcTls *rpc_tls_free(RpcTls *t)
{
        if (!t)
                return NULL;
        SSL_free(t->ssl);
        rpc_output_done(&t->cipher);
        free(t);
        return NULL;
}

/* ---- Shaking hands
 * ------------------------------------------------------------------------------ */

static int failed(RpcTls *t)
{
        /* RFC 8446 §6: fatal, protocol_version. OpenSSL says nothing to who speaks something else,
         * who then knows no more than that we hung up. */
        static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, SSL_AD_PROTOCOL_VERSION};

        t->failed = true;
        rpc_tls_explain(t);
        if (t->not_tls && t->server && t->cipher.bytes == 0)
                (void) rpc_output_copy(&t->cipher, alert, sizeof(alert));
        return -EPROTO;
}

static bool chose_h2(const RpcTls *t)
{
        const unsigned char *name;
        unsigned size;

        SSL_get0_alpn_selected(t->ssl, &name, &size);
        return size == 2 && memcmp(name, "h2", 2) == 0;
}

/* Return: 1: established; 0: the peer's turn; -EPROTO. */
static int shake_hands(RpcTls *t)
{
        int r;

        t->started = true;
        ERR_clear_error();
        r = SSL_do_handshake(t->ssl);
        if (r != 1)
                return SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? 0 : failed(t);
        if (!chose_h2(t)) {
                t->no_alpn = true;
                return failed(t);
        }
        t->established = true;
        rpc_tls_name_of(SSL_get0_peer_certificate(t->ssl), t->peer_name);
        return 1;
}

/* ---- Later on
 * ----------------------------------------------------------------------------------- */

bool rpc_tls_recheck(RpcTls *t, EvgrpcTls *tls)
{
        X509 *peer = t->established ? SSL_get0_peer_certificate(t->ssl) : NULL;
        X509_STORE_CTX *c;
        bool ok;

        if (!peer || t->failed)
                return true;
        c = X509_STORE_CTX_new();
        ok = c &&
             X509_STORE_CTX_init(c, SSL_CTX_get_cert_store(tls->context), peer,
                                 SSL_get_peer_cert_chain(t->ssl)) &&
             X509_STORE_CTX_set_default(c, t->server ? "ssl_client" : "ssl_server") &&
             X509_verify_cert(c) == 1;
        if (!ok && c)
                (void) rpc_tls_note_verify(t, 0, c);
        X509_STORE_CTX_free(c);
        ERR_clear_error();
        if (!ok)
                rpc_tls_explain_certificate(t);
        return ok;
}

/* ---- Bytes
 * -------------------------------------------------------------------------------------- */

void rpc_tls_feed(RpcTls *t, const uint8_t *data, size_t size)
{
        t->input = data;
        t->input_size = size;
}

ssize_t rpc_tls_read(RpcTls *t, uint8_t *buffer, size_t room)
{
        size_t size = 0;

        if (t->failed)
                return -EPROTO;
        if (!t->established) {
                int r = shake_hands(t);

                if (r <= 0)
                        return r;
        }
        while (size < room) {
                size_t n;

                ERR_clear_error();
                if (SSL_read_ex(t->ssl, buffer + size, room - size, &n)) {
                        size += n;
                        continue;
                }
                if (size > 0)
                        break; /* the reason is still there at the next read */
                switch (SSL_get_error(t->ssl, 0)) {
                case SSL_ERROR_WANT_READ:
                        return 0;
                case SSL_ERROR_ZERO_RETURN:
                        return -ECONNRESET;
                default:
                        return failed(t);
                }
        }
        return (ssize_t) size;
}

/* One record of what is at the head of the output: copied together from pieces, unless one fills
 * it. */
static int encrypt_record(RpcTls *t, RpcOutput *plain)
{
        uint8_t space[RECORD_BYTES];
        const uint8_t *data;
        size_t size = rpc_output_peek(plain, space, sizeof(space), &data), n;

        ERR_clear_error();
        if (!SSL_write_ex(t->ssl, data, size, &n))
                return failed(t);
        rpc_output_forget(plain, n);
        if (t->stamps)
                rpc_stamps_encrypted(t->stamps, plain->left, t->cipher.left + t->cipher.bytes);
        return 0;
}

int rpc_tls_send(RpcTls *t, RpcOutput *plain, int fd)
{
        int r;

        if (!t->started && !t->server && shake_hands(t) < 0)
                return -EPROTO;
        for (;;) {
                r = rpc_output_send(&t->cipher, fd);
                if (r <= 0 || !t->established || t->failed || plain->count == 0)
                        return r;
                while (plain->count > 0 && t->cipher.bytes < RPC_TLS_CIPHER_BYTES) {
                        r = encrypt_record(t, plain);
                        if (r < 0)
                                return r;
                }
        }
}

void rpc_tls_say_goodbye(RpcTls *t, int fd)
{
        if (!t->established || t->failed)
                return;
        ERR_clear_error();
        (void) SSL_shutdown(t->ssl);
        ERR_clear_error();
        (void) rpc_output_send(&t->cipher, fd);
}

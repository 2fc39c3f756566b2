/*
 * TLS: the keys and rules of an end, made from PEM.
 */
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "rpc/tls.h"

#define CHAIN_MAX 16u /* certificates in one file */
#define VERIFY_DEPTH 8

/* A file's bytes, wiped when done: one of them is a private key. */
typedef struct Pem {
        char *data;
        size_t size;
} Pem;

static void pem_done(Pem *p)
{
        if (p->data)
                OPENSSL_cleanse(p->data, p->size);
        free(p->data);
}

static void ssl_ctx_freep(SSL_CTX **p)
{
        SSL_CTX_free(*p);
}

static void x509_freep(X509 **p)
{
        X509_free(*p);
}

static void bio_freep(BIO **p)
{
        BIO_free(*p);
}

__attribute__((format(printf, 3, 4))) static int fail(int error, char **ret_error,
                                                      const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        if (ret_error && vasprintf(ret_error, format, ap) < 0)
                *ret_error = NULL;
        va_end(ap);
        ERR_clear_error();
        return error;
}

static const char *reason(void)
{
        const char *text = ERR_reason_error_string(ERR_peek_last_error());

        return text ? text : "out of memory";
}

/* ---- Reading PEM
 * -------------------------------------------------------------------------------- */

static int read_all(int fd, Pem *p)
{
        p->data = malloc(RPC_TLS_PEM_MAX + 1);
        if (!p->data)
                return -ENOMEM;
        while (p->size <= RPC_TLS_PEM_MAX) {
                ssize_t n = read(fd, p->data + p->size, RPC_TLS_PEM_MAX + 1 - p->size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                p->size += (size_t) n;
        }
        return -EFBIG;
}

static int pem_load(const char *file, const char *text, Pem *p, char **ret_error)
{
        int fd, r;

        if (text) {
                p->size = strlen(text);
                p->data = strdup(text);
                return p->data ? 0 : -ENOMEM;
        }
        fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return fail(-errno, ret_error, "Failed to open %s: %s", file, strerror(errno));
        r = read_all(fd, p);
        (void) close(fd);
        if (r < 0)
                return fail(r, ret_error, "Failed to read %s: %s", file, strerror(-r));
        return 0;
}

/* An encrypted key must not ask on the terminal. */
static int no_password(char *buffer, int size, int writing, void *userdata)
{
        return -1;
}

/* Every certificate in it, in order. Return: how many, or -EBADMSG. */
static int each_certificate(const Pem *p, int (*add)(SSL_CTX *context, X509 *x, unsigned index),
                            SSL_CTX *context)
{
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(p->data, (int) p->size);
        unsigned count = 0;

        if (!bio)
                return -ENOMEM;
        for (;; count++) {
                _cleanup_(x509_freep) X509 *x = PEM_read_bio_X509(bio, NULL, no_password, NULL);

                if (!x)
                        break;
                if (count == CHAIN_MAX || !add(context, x, count))
                        return -EBADMSG;
        }
        if (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                return -EBADMSG;
        ERR_clear_error(); /* "no start line" is the end of it */
        return (int) count;
}

static int add_authority(SSL_CTX *context, X509 *x, unsigned index)
{
        return X509_STORE_add_cert(SSL_CTX_get_cert_store(context), x);
}

static int add_own(SSL_CTX *context, X509 *x, unsigned index)
{
        return index == 0 ? SSL_CTX_use_certificate(context, x)
                          : (int) SSL_CTX_add1_chain_cert(context, x);
}

static int use_authorities(SSL_CTX *context, const EvgrpcTlsSource *s, char **ret_error)
{
        _cleanup_(pem_done) Pem p = {};
        int r = pem_load(s->ca_file, s->ca_pem, &p, ret_error);

        if (r < 0)
                return r;
        r = each_certificate(&p, add_authority, context);
        if (r < 0)
                return fail(r, ret_error, "No CA certificate in %s: %s",
                            s->ca_pem ? "memory" : s->ca_file, reason());
        return 0;
}

static int use_certificate(SSL_CTX *context, const EvgrpcTlsSource *s, char **ret_error)
{
        _cleanup_(pem_done) Pem p = {};
        int r = pem_load(s->certificate_file, s->certificate_pem, &p, ret_error);

        if (r < 0)
                return r;
        r = each_certificate(&p, add_own, context);
        if (r < 0)
                return fail(r, ret_error, "No certificate in %s: %s",
                            s->certificate_pem ? "memory" : s->certificate_file, reason());
        return 0;
}

static int use_key(SSL_CTX *context, const EvgrpcTlsSource *s, char **ret_error)
{
        const char *where = s->key_pem ? "memory" : s->key_file;
        _cleanup_(pem_done) Pem p = {};
        _cleanup_(bio_freep) BIO *bio = NULL;
        EVP_PKEY *key = NULL;
        int ok, r;

        r = pem_load(s->key_file, s->key_pem, &p, ret_error);
        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(p.data, (int) p.size);
        if (bio)
                key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        if (!key)
                return fail(-EBADMSG, ret_error, "No unencrypted private key in %s: %s", where,
                            reason());
        ok = SSL_CTX_use_PrivateKey(context, key);
        EVP_PKEY_free(key);
        if (!ok || !SSL_CTX_check_private_key(context))
                return fail(-EKEYREJECTED, ret_error,
                            "The key in %s is not that of the certificate: %s", where, reason());
        return 0;
}

static int use_revocations(SSL_CTX *context, const EvgrpcTlsSource *s, char **ret_error)
{
        const char *where = s->crl_pem ? "memory" : s->crl_file;
        X509_STORE *store = SSL_CTX_get_cert_store(context);
        _cleanup_(pem_done) Pem p = {};
        _cleanup_(bio_freep) BIO *bio = NULL;
        unsigned count = 0;
        int r;

        r = pem_load(s->crl_file, s->crl_pem, &p, ret_error);
        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(p.data, (int) p.size);
        for (bool more = bio; more && count < CHAIN_MAX; count += more) {
                X509_CRL *list = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL);

                more = list && X509_STORE_add_crl(store, list);
                X509_CRL_free(list);
        }
        if (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                return fail(-EBADMSG, ret_error, "No list of revoked certificates in %s: %s", where,
                            reason());
        ERR_clear_error();
        return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) ? 0 : -ENOMEM;
}

/* ---- Rules
 * -------------------------------------------------------------------------------------- */

static const unsigned char alpn[] = {2, 'h', '2'};

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                   const unsigned char *offer, unsigned size, void *userdata)
{
        RpcTls *t = SSL_get_app_data(ssl);

        for (unsigned i = 0; i < size; i += offer[i] + 1u)
                if (size - i >= sizeof(alpn) && memcmp(offer + i, alpn, sizeof(alpn)) == 0) {
                        *out = alpn + 1;
                        *out_size = 2;
                        return SSL_TLSEXT_ERR_OK;
                }
        t->no_alpn = true;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* on_alpn() is not asked about a client that offers nothing. */
static int on_client_hello(SSL *ssl, int *alert, void *userdata)
{
        RpcTls *t = SSL_get_app_data(ssl);
        const unsigned char *data;
        size_t size;

        if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &size))
                return SSL_CLIENT_HELLO_SUCCESS; /* no TLS 1.3: OpenSSL says so */
        if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                                      &data, &size))
                return SSL_CLIENT_HELLO_SUCCESS;
        t->no_alpn = true;
        *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
        return SSL_CLIENT_HELLO_ERROR;
}

static SSL_CTX *make_context(void)
{
        SSL_CTX *c = SSL_CTX_new(TLS_method());

        if (!c)
                return NULL;
        if (!SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) ||
            !SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) ||
            SSL_CTX_set_alpn_protos(c, alpn, sizeof(alpn)) != 0 || !SSL_CTX_set_num_tickets(c, 0)) {
                SSL_CTX_free(c);
                return NULL;
        }
        (void) SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
        (void) SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS); /* idle ones need none */
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, rpc_tls_on_verify);
        SSL_CTX_set_verify_depth(c, VERIFY_DEPTH);
        SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
        SSL_CTX_set_client_hello_cb(c, on_client_hello, NULL);
        return c;
}

static int load(const EvgrpcTlsSource *s, SSL_CTX **ret, bool *ret_has_certificate,
                char **ret_error)
{
        bool has_certificate = s->certificate_file || s->certificate_pem;
        bool has_key = s->key_file || s->key_pem;
        _cleanup_(ssl_ctx_freep) SSL_CTX *c = NULL;
        int r;

        if (!s->ca_file && !s->ca_pem)
                return fail(-EINVAL, ret_error, "A CA certificate is needed");
        if (has_certificate != has_key)
                return fail(-EINVAL, ret_error,
                            "A certificate needs its key, and a key its certificate");
        ERR_clear_error();
        c = make_context();
        if (!c)
                return fail(-ENOMEM, ret_error, "Failed to set up TLS 1.3: %s", reason());
        r = use_authorities(c, s, ret_error);
        if (r >= 0 && has_certificate)
                r = use_certificate(c, s, ret_error);
        if (r >= 0 && has_key)
                r = use_key(c, s, ret_error);
        if (r >= 0 && (s->crl_file || s->crl_pem))
                r = use_revocations(c, s, ret_error);
        if (r < 0)
                return r;
        if (s->anonymous_clients) /* a client takes no notice: it verifies a server or fails */
                SSL_CTX_set_verify(c, SSL_VERIFY_PEER, rpc_tls_on_verify);
        *ret = c;
        c = NULL;
        *ret_has_certificate = has_certificate;
        return 0;
}

/* ---- The object
 * --------------------------------------------------------------------------------- */

static int keep_name(char **to, const char *file, const char *pem)
{
        if (!file || pem)
                return 0;
        *to = strdup(file);
        return *to ? 0 : -ENOMEM;
}

int evgrpc_tls_new(const EvgrpcTlsSource *source, EvgrpcTls **ret, char **ret_error)
{
        EvgrpcTls *tls;
        int r;

        assert(source);
        assert(ret);

        if (ret_error)
                *ret_error = NULL;
        tls = calloc(1, sizeof(*tls));
        if (!tls)
                return -ENOMEM;
        tls->refs = 1;
        r = load(source, &tls->context, &tls->has_certificate, ret_error);
        if (r >= 0)
                r = keep_name(&tls->ca_file, source->ca_file, source->ca_pem);
        if (r >= 0)
                r = keep_name(&tls->certificate_file, source->certificate_file,
                              source->certificate_pem);
        if (r >= 0)
                r = keep_name(&tls->key_file, source->key_file, source->key_pem);
        if (r >= 0)
                r = keep_name(&tls->crl_file, source->crl_file, source->crl_pem);
        tls->anonymous_clients = source->anonymous_clients;
        if (r < 0) {
                evgrpc_tls_unref(tls);
                return r;
        }
        *ret = tls;
        return 0;
}

int evgrpc_tls_reload(EvgrpcTls *tls, const EvgrpcTlsSource *source, char **ret_error)
{
        const EvgrpcTlsSource same = {.ca_file = tls->ca_file,
                                      .certificate_file = tls->certificate_file,
                                      .key_file = tls->key_file,
                                      .crl_file = tls->crl_file,
                                      .anonymous_clients = tls->anonymous_clients};
        bool has_certificate;
        SSL_CTX *context;
        int r;

        if (ret_error)
                *ret_error = NULL;
        r = load(source ? source : &same, &context, &has_certificate, ret_error);
        if (r < 0)
                return r;
        if (tls->has_certificate && !has_certificate) {
                SSL_CTX_free(context);
                return fail(-EINVAL, ret_error, "A server may use this: a certificate is needed");
        }
        SSL_CTX_free(tls->context);
        tls->context = context;
        tls->has_certificate = has_certificate;
        return 0;
}

EvgrpcTls *evgrpc_tls_ref(EvgrpcTls *tls)
{
        tls->refs++;
        return tls;
}

EvgrpcTls *evgrpc_tls_unref(EvgrpcTls *tls)
{
        if (!tls || --tls->refs > 0)
                return NULL;
        SSL_CTX_free(tls->context);
        free(tls->ca_file);
        free(tls->certificate_file);
        free(tls->key_file);
        free(tls->crl_file);
        free(tls);
        return NULL;
}

/*
 * Introduction — see introduction.h.
 */
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "pki/introduction.h"
#include "pki/pki-openssl.h"

DEFINE_OPENSSL_CLEANUP(SSL_CTX, SSL_CTX_free);
DEFINE_OPENSSL_CLEANUP(SSL, SSL_free);

static bool is_wanted(X509 *x, const uint8_t *fingerprint, char **ret_pem)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
        uint8_t digest[PKI_FINGERPRINT_SIZE];
        g_autofree char *pem = NULL;

        if (!bio || X509_check_ca(x) <= 0 || !PEM_write_bio_X509(bio, x))
                return false;
        pem = pki_text_of(bio);
        if (pki_fingerprint(pem, digest, NULL) < 0 ||
            memcmp(digest, fingerprint, sizeof(digest)) != 0)
                return false;
        *ret_pem = TAKE_PTR(pem);
        return true;
}

/* TLS 1.3 and ALPN h2, for the server takes nothing else. Nobody is verified: see
 * introduction.h. */
static SSL *connect_tls(SSL_CTX *context, int fd)
{
        SSL *ssl;

        if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
            SSL_CTX_set_alpn_protos(context, (const unsigned char *) "\2h2", 3) != 0)
                return NULL;
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        ssl = SSL_new(context);
        if (ssl && SSL_set_fd(ssl, fd) && SSL_connect(ssl) == 1)
                return ssl;
        SSL_free(ssl);
        return NULL;
}

/* In order, so that the server has no failure to tell of: it reads our end, and we all it has
 * sent. */
static void say_goodbye(SSL *ssl, int fd)
{
        char rest[4096];

        (void) SSL_shutdown(ssl);
        (void) shutdown(fd, SHUT_WR);
        for (unsigned i = 0; i < 16 && read(fd, rest, sizeof(rest)) > 0; i++)
                ;
        ERR_clear_error();
}

int introduction_fetch_authority(int fd, const uint8_t fingerprint[static PKI_FINGERPRINT_SIZE],
                                 char **ret_pem, Error *e)
{
        _cleanup_(SSL_CTX_freep) SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        _cleanup_(SSL_freep) SSL *ssl = NULL;
        STACK_OF(X509) * chain;
        bool found = false;

        ERR_clear_error();
        errno = 0;
        ssl = connect_tls(context, fd);
        if (!ssl && ERR_peek_error() == 0)
                return error_setf(e, EPROTO, "the TLS handshake failed: %s",
                                  errno ? error_text(errno) : "the connection was closed");
        if (!ssl)
                return pki_fail(e, EPROTO, "the TLS handshake failed");
        chain = SSL_get_peer_cert_chain(ssl);
        for (int i = 0; i < sk_X509_num(chain) && !found; i++)
                found = is_wanted(sk_X509_value(chain, i), fingerprint, ret_pem);
        say_goodbye(ssl, fd);
        if (found)
                return 0;
        return error_setf(
                e, EKEYREJECTED,
                "its CA is not the one that the token names: it is of another cluster, or "
                "somebody stands between");
}

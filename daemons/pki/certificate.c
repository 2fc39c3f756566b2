/*
 * Certificates — see certificate.h.
 */
#include <openssl/evp.h>
#include <time.h>

#include "base/text.h"
#include "pki/pki-openssl.h"

/* ---- Names
 * -------------------------------------------------------------------------------------- */

void pki_worker_name(const char *worker_id, char ret[static PKI_NAME_SIZE])
{
        g_snprintf(ret, PKI_NAME_SIZE, "%s%s", worker_id, PKI_WORKER_SUFFIX);
}

PkiRole pki_role_of(const char *name, char *ret_worker_id)
{
        char id[ID128_HEX_SIZE] = "";

        if (ret_worker_id)
                ret_worker_id[0] = '\0';
        if (g_str_equal(name, PKI_MASTER_NAME))
                return PKI_ROLE_MASTER;
        if (strlen(name) != sizeof(id) - 1 + strlen(PKI_WORKER_SUFFIX) ||
            !g_str_has_suffix(name, PKI_WORKER_SUFFIX))
                return PKI_ROLE_NONE;
        memcpy(id, name, sizeof(id) - 1);
        if (!id128_is_valid(id))
                return PKI_ROLE_NONE;
        if (ret_worker_id)
                memcpy(ret_worker_id, id, sizeof(id));
        return PKI_ROLE_WORKER;
}

/* ---- OpenSSL
 * ------------------------------------------------------------------------------------ */

int pki_fail(Error *e, int code, const char *what)
{
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        (void) error_setf(e, code, "%s: %s", what, reason ? reason : error_text(code));
        ERR_clear_error();
        return -abs(code);
}

/* An encrypted key must not ask on the terminal. */
static int no_password(char *buffer, int size, int writing, void *userdata)
{
        return -1;
}

X509 *pki_x509_from_pem(const char *pem)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);

        return bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
}

EVP_PKEY *pki_private_from_pem(const char *pem)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);

        return bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
}

char *pki_text_of(BIO *bio)
{
        char *data;
        long size = BIO_get_mem_data(bio, &data);

        return g_strndup(data, (gsize) size);
}

bool pki_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *extension;
        bool ok;

        X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        ok = extension && X509_add_ext(x, extension, -1);
        X509_EXTENSION_free(extension);
        return ok;
}

int64_t pki_seconds_of(const ASN1_TIME *at)
{
        struct tm tm;

        return ASN1_TIME_to_tm(at, &tm) ? (int64_t) timegm(&tm) : INT64_MIN;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------ */

static void serial_of(const X509 *x, char *ret, size_t size)
{
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
        const uint8_t *data = ASN1_STRING_get0_data(serial);
        size_t n = (size_t) ASN1_STRING_length(serial);

        text_hex(data, MIN(n, (size - 1) / 2), ret);
}

/* The name of ours in the SAN; a certificate of two roles has none. */
static PkiRole role_of(const X509 *x, char ret_worker_id[static ID128_HEX_SIZE])
{
        GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
        PkiRole role = PKI_ROLE_NONE;

        ret_worker_id[0] = '\0';
        /* The first DNS name, as evgrpc_server_call_peer_name() takes it. */
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
                int type;
                const ASN1_STRING *s =
                        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
                g_autofree char *name = NULL;

                if (type != GEN_DNS)
                        continue;
                name = g_strndup((const char *) ASN1_STRING_get0_data(s),
                                 (gsize) ASN1_STRING_length(s));
                if (strlen(name) == (size_t) ASN1_STRING_length(s))
                        role = pki_role_of(name, ret_worker_id);
                break;
        }
        GENERAL_NAMES_free(names);
        return role;
}

int pki_certificate_read(const char *pem, PkiCertificate *ret, Error *e)
{
        _cleanup_(X509_freep) X509 *x = pki_x509_from_pem(pem);
        PkiCertificate c = {};

        if (!x)
                return pki_fail(e, EBADMSG, "no certificate in PEM");
        c.is_authority = X509_check_ca(x) > 0;
        c.role = role_of(x, c.worker_id);
        serial_of(x, c.serial, sizeof(c.serial));
        c.not_before_sec = pki_seconds_of(X509_get0_notBefore(x));
        c.not_after_sec = pki_seconds_of(X509_get0_notAfter(x));
        *ret = c;
        return 0;
}

int pki_fingerprint(const char *certificate_pem, uint8_t ret[static PKI_FINGERPRINT_SIZE], Error *e)
{
        _cleanup_(X509_freep) X509 *x = pki_x509_from_pem(certificate_pem);
        unsigned char *der = NULL;
        int size, ok;

        if (!x)
                return pki_fail(e, EBADMSG, "no certificate in PEM");
        size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
        ok = size > 0 && EVP_Digest(der, (size_t) size, ret, NULL, EVP_sha256(), NULL);
        OPENSSL_free(der);
        return ok ? 0 : pki_fail(e, ENOMEM, "cannot digest a public key");
}

uint64_t pki_digest_head(const uint8_t digest[static PKI_FINGERPRINT_SIZE])
{
        uint64_t head = 0;

        for (size_t i = 0; i < sizeof(head); i++)
                head = head << 8 | digest[i];
        return head;
}

uint64_t pki_digest_text(const char *text)
{
        uint8_t digest[PKI_FINGERPRINT_SIZE] = {};

        (void) EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
        return pki_digest_head(digest);
}

/* ---- Keys
 * --------------------------------------------------------------------------------------- */

int pki_key_make(char **ret_pem)
{
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_secmem());

        if (!key || !bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
                ERR_clear_error();
                return -ENOMEM;
        }
        *ret_pem = pki_text_of(bio);
        return 0;
}

char *pki_key_free(char *pem)
{
        if (pem)
                OPENSSL_cleanse(pem, strlen(pem));
        g_free(pem);
        return NULL;
}

int pki_request_make(const char *key_pem, const char *name, char **ret_pem, Error *e)
{
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = pki_private_from_pem(key_pem);
        _cleanup_(X509_REQ_freep) X509_REQ *request = X509_REQ_new();
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
        X509_NAME *subject;

        if (!key)
                return pki_fail(e, EBADMSG, "no private key in PEM");
        if (!request || !bio)
                return pki_fail(e, ENOMEM, "cannot make a certificate request");
        subject = X509_REQ_get_subject_name(request);
        if (!X509_REQ_set_version(request, X509_REQ_VERSION_1) ||
            !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *) name,
                                        -1, -1, 0) ||
            !X509_REQ_set_pubkey(request, key) || !X509_REQ_sign(request, key, EVP_sha256()) ||
            !PEM_write_bio_X509_REQ(bio, request))
                return pki_fail(e, EINVAL, "cannot make a certificate request");
        *ret_pem = pki_text_of(bio);
        return 0;
}

int pki_key_check(const char *key_pem, const char *certificate_pem, Error *e)
{
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = pki_private_from_pem(key_pem);
        _cleanup_(X509_freep) X509 *x = pki_x509_from_pem(certificate_pem);

        if (!key)
                return pki_fail(e, EBADMSG, "no private key in PEM");
        if (!x)
                return pki_fail(e, EBADMSG, "no certificate in PEM");
        if (!X509_check_private_key(x, key))
                return pki_fail(e, EKEYREJECTED, "the key is not that of the certificate");
        return 0;
}

const char *pki_certificate_next(const char *pem)
{
        const char *end = strstr(pem, "-----END CERTIFICATE-----");

        return end ? strstr(end, "-----BEGIN CERTIFICATE-----") : NULL;
}

const char *pki_issuer_of(const char *certificate_pem, const char *authorities_pem)
{
        _cleanup_(X509_freep) X509 *x = pki_x509_from_pem(certificate_pem);
        const char *at = x ? authorities_pem : NULL;

        for (; at; at = pki_certificate_next(at)) {
                _cleanup_(X509_freep) X509 *ca = pki_x509_from_pem(at);

                if (ca && X509_verify(x, X509_get0_pubkey(ca)) == 1)
                        break;
        }
        ERR_clear_error();
        return at;
}

int64_t pki_renewal_sec(const PkiCertificate *c)
{
        int64_t lifetime_sec = c->not_after_sec - c->not_before_sec;

        if (lifetime_sec > PKI_BACKDATE_SEC)
                lifetime_sec -= PKI_BACKDATE_SEC;
        return c->not_after_sec - lifetime_sec / 3;
}

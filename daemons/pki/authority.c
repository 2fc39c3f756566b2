/*
 * Authority — see authority.h.
 */
#include <openssl/evp.h>

#include "pki/authority.h"
#include "pki/pki-openssl.h"

struct PkiAuthority {
        EVP_PKEY *key;
        X509 *certificate;
        char *certificate_pem;
        char *key_pem; /* NULL until somebody asks */
};

static bool set_time(ASN1_TIME *at, int64_t sec)
{
        return ASN1_TIME_set(at, (time_t) sec) != NULL;
}

static bool set_serial(X509 *x, const uint8_t serial[static PKI_SERIAL_SIZE])
{
        uint8_t positive[PKI_SERIAL_SIZE];
        _cleanup_(BIGNUM_freep) BIGNUM *n = NULL;

        memcpy(positive, serial, sizeof(positive));
        positive[0] = (uint8_t) ((positive[0] & 0x7F) | 0x40); /* never 0, always as long */
        n = BN_bin2bn(positive, sizeof(positive), NULL);
        return n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
}

static bool set_name(X509_NAME *name, const char *common_name)
{
        return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                          (const unsigned char *) "mapreduced", -1, -1, 0) &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                          (const unsigned char *) common_name, -1, -1, 0);
}

static int finish(PkiAuthority *a, Error *e)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());

        if (!bio || !secret || !PEM_write_bio_X509(bio, a->certificate) ||
            !PEM_write_bio_PrivateKey(secret, a->key, NULL, NULL, 0, NULL, NULL))
                return pki_fail(e, ENOMEM, "cannot write a CA as PEM");
        a->certificate_pem = pki_text_of(bio);
        a->key_pem = pki_text_of(secret);
        return 0;
}

/* The end of the name tells clusters apart, for whoever looks at two. */
static bool describe_authority(X509 *x, EVP_PKEY *key, const uint8_t *serial, int64_t now_sec,
                               const PkiAuthority *old)
{
        int64_t from_sec = now_sec - PKI_BACKDATE_SEC;
        char name[64];

        if (old)
                from_sec = MAX(from_sec, pki_authority_not_before_sec(old) + 1);
        g_snprintf(name, sizeof(name), "mapreduced cluster CA %02x%02x%02x%02x", serial[4],
                   serial[5], serial[6], serial[7]);
        return X509_set_version(x, X509_VERSION_3) && set_serial(x, serial) &&
               set_time(X509_getm_notBefore(x), from_sec) &&
               set_time(X509_getm_notAfter(x), now_sec + PKI_AUTHORITY_LIFETIME_SEC) &&
               X509_set_pubkey(x, key) && set_name(X509_get_subject_name(x), name) &&
               X509_set_issuer_name(x, X509_get_subject_name(x)) &&
               pki_extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               pki_extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               pki_extend(x, x, NID_name_constraints,
                          "critical,permitted;DNS:mapreduced.internal") &&
               pki_extend(x, x, NID_subject_key_identifier, "hash") &&
               X509_sign(x, key, EVP_sha256());
}

int pki_authority_make(int64_t now_sec, const uint8_t serial[static PKI_SERIAL_SIZE],
                       const PkiAuthority *old, PkiAuthority **ret, Error *e)
{
        _cleanup_(pki_authority_freep) PkiAuthority *a = g_new0(PkiAuthority, 1);
        int r;

        a->key = EVP_EC_gen("P-256");
        a->certificate = X509_new();
        if (!a->key || !a->certificate ||
            !describe_authority(a->certificate, a->key, serial, now_sec, old))
                return pki_fail(e, ENOMEM, "cannot make a CA");
        r = finish(a, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

/* Of several keys the one that is the certificate's. */
static int find_key(const char *keys_pem, X509 *certificate, EVP_PKEY **ret, Error *e)
{
        const char *at = strstr(keys_pem, "-----BEGIN");
        bool any = false;

        for (; at; at = strstr(at + 1, "-----BEGIN")) {
                _cleanup_(EVP_PKEY_freep) EVP_PKEY *key = pki_private_from_pem(at);

                any = any || key;
                if (key && X509_check_private_key(certificate, key)) {
                        *ret = TAKE_PTR(key);
                        return 0;
                }
        }
        if (!any)
                return pki_fail(e, EBADMSG, "no private key in PEM");
        return pki_fail(e, EKEYREJECTED, "the key is not that of the CA certificate");
}

int pki_authority_load(const char *certificate_pem, const char *keys_pem, PkiAuthority **ret,
                       Error *e)
{
        _cleanup_(pki_authority_freep) PkiAuthority *a = g_new0(PkiAuthority, 1);
        int r;

        a->certificate = pki_x509_from_pem(certificate_pem);
        if (!a->certificate)
                return pki_fail(e, EBADMSG, "no certificate in PEM");
        if (X509_check_ca(a->certificate) <= 0)
                return error_setf(e, EBADMSG, "the certificate is not a CA's");
        r = find_key(keys_pem, a->certificate, &a->key, e);
        if (r >= 0)
                r = finish(a, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

PkiAuthority *pki_authority_free(PkiAuthority *a)
{
        if (!a)
                return NULL;
        EVP_PKEY_free(a->key);
        X509_free(a->certificate);
        g_free(a->certificate_pem);
        pki_key_free(a->key_pem);
        g_free(a);
        return NULL;
}

const char *pki_authority_certificate(const PkiAuthority *a)
{
        return a->certificate_pem;
}

const char *pki_authority_key(const PkiAuthority *a)
{
        return a->key_pem;
}

int64_t pki_authority_not_before_sec(const PkiAuthority *a)
{
        return pki_seconds_of(X509_get0_notBefore(a->certificate));
}

int64_t pki_authority_not_after_sec(const PkiAuthority *a)
{
        return pki_seconds_of(X509_get0_notAfter(a->certificate));
}

/* ---- Issuing
 * ------------------------------------------------------------------------------------ */

static bool key_is_strong(EVP_PKEY *key)
{
        static const char *const kinds[] = {"EC", "ED25519", "RSA"};

        /* 112 bits of security are RSA with 2048 bits, NIST SP 800-57. */
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (EVP_PKEY_is_a(key, kinds[i]))
                        return EVP_PKEY_get_security_bits(key) >= 112;
        return false;
}

static int read_request(const char *pem, X509_REQ **ret, Error *e)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        EVP_PKEY *key;

        if (bio)
                request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
        if (!request)
                return pki_fail(e, EBADMSG, "no certificate request in PEM");
        key = X509_REQ_get0_pubkey(request);
        if (!key || !key_is_strong(key))
                return pki_fail(e, EKEYREJECTED, "the request's key is weak or of an unknown kind");
        if (X509_REQ_verify(request, key) != 1)
                return pki_fail(e, EKEYREJECTED, "the request is not signed by its key");
        *ret = TAKE_PTR(request);
        return 0;
}

static bool describe(X509 *x, const PkiAuthority *a, X509_REQ *request, const PkiGrant *g,
                     int64_t end_sec)
{
        char name[PKI_NAME_SIZE], alternative[PKI_NAME_SIZE + 4];

        if (g->role == PKI_ROLE_MASTER)
                g_snprintf(name, sizeof(name), "%s", PKI_MASTER_NAME);
        else
                pki_worker_name(g->worker_id, name);
        g_snprintf(alternative, sizeof(alternative), "DNS:%s", name);
        return X509_set_version(x, X509_VERSION_3) && set_serial(x, g->serial) &&
               set_time(X509_getm_notBefore(x), g->now_sec - PKI_BACKDATE_SEC) &&
               set_time(X509_getm_notAfter(x), end_sec) &&
               X509_set_pubkey(x, X509_REQ_get0_pubkey(request)) &&
               set_name(X509_get_subject_name(x), name) &&
               X509_set_issuer_name(x, X509_get_subject_name(a->certificate)) &&
               pki_extend(x, a->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
               pki_extend(x, a->certificate, NID_key_usage, "critical,digitalSignature") &&
               pki_extend(x, a->certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
               pki_extend(x, a->certificate, NID_subject_alt_name, alternative) &&
               pki_extend(x, a->certificate, NID_subject_key_identifier, "hash") &&
               pki_extend(x, a->certificate, NID_authority_key_identifier, "keyid") &&
               X509_sign(x, a->key, EVP_sha256());
}

int pki_authority_issue(const PkiAuthority *a, const char *request_pem, const PkiGrant *grant,
                        char **ret_pem, Error *e)
{
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        _cleanup_(X509_freep) X509 *x = X509_new();
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
        int64_t ca_end_sec = pki_authority_not_after_sec(a);
        int r;

        assert(grant->role == PKI_ROLE_MASTER ||
               (grant->role == PKI_ROLE_WORKER && id128_is_valid(grant->worker_id)));

        r = read_request(request_pem, &request, e);
        if (r < 0)
                return r;
        if (ca_end_sec <= grant->now_sec)
                return error_setf(e, EKEYEXPIRED, "the cluster's CA has expired");
        if (!x || !bio ||
            !describe(x, a, request, grant,
                      MIN(grant->now_sec + grant->lifetime_sec, ca_end_sec)) ||
            !PEM_write_bio_X509(bio, x))
                return pki_fail(e, ENOMEM, "cannot issue a certificate");
        *ret_pem = pki_text_of(bio);
        return 0;
}

/* ---- Revoking
 * ----------------------------------------------------------------------------------- */

static int add_revoked(X509_CRL *list, const PkiRevoked *what, Error *e)
{
        _cleanup_(BIGNUM_freep) BIGNUM *n = NULL;
        _cleanup_(ASN1_INTEGER_freep) ASN1_INTEGER *serial = NULL;
        _cleanup_(ASN1_TIME_freep) ASN1_TIME *at = ASN1_TIME_new();
        X509_REVOKED *entry;

        if (!*what->serial || strlen(what->serial) > 40 ||
            strspn(what->serial, "0123456789abcdef") != strlen(what->serial))
                return error_setf(e, EINVAL, "not a serial number: %.60s", what->serial);
        if (BN_hex2bn(&n, what->serial) > 0)
                serial = BN_to_ASN1_INTEGER(n, NULL);
        entry = X509_REVOKED_new();
        if (!entry || !serial || !at || !set_time(at, what->revoked_sec) ||
            !X509_REVOKED_set_serialNumber(entry, serial) ||
            !X509_REVOKED_set_revocationDate(entry, at) || !X509_CRL_add0_revoked(list, entry)) {
                X509_REVOKED_free(entry);
                return pki_fail(e, ENOMEM, "cannot list a revoked certificate");
        }
        return 0;
}

static bool describe_list(X509_CRL *list, const PkiAuthority *a, uint64_t number, int64_t now_sec)
{
        _cleanup_(ASN1_INTEGER_freep) ASN1_INTEGER *n = ASN1_INTEGER_new();
        _cleanup_(ASN1_TIME_freep) ASN1_TIME *at = ASN1_TIME_new();
        X509V3_CTX context;
        X509_EXTENSION *key_id;
        bool ok;

        if (!n || !at || !ASN1_INTEGER_set_uint64(n, number) ||
            !X509_CRL_set_version(list, X509_CRL_VERSION_2) ||
            !X509_CRL_set_issuer_name(list, X509_get_subject_name(a->certificate)) ||
            !set_time(at, now_sec - PKI_BACKDATE_SEC) || !X509_CRL_set1_lastUpdate(list, at) ||
            !X509_CRL_set1_nextUpdate(list, X509_get0_notAfter(a->certificate)) ||
            !X509_CRL_add1_ext_i2d(list, NID_crl_number, n, 0, 0))
                return false;
        X509V3_set_ctx(&context, a->certificate, NULL, NULL, list, 0);
        key_id = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid");
        ok = key_id && X509_CRL_add_ext(list, key_id, -1);
        X509_EXTENSION_free(key_id);
        return ok;
}

int pki_authority_list_revoked(const PkiAuthority *a, const PkiRevoked *revoked, size_t count,
                               uint64_t number, int64_t now_sec, char **ret_pem, Error *e)
{
        _cleanup_(X509_CRL_freep) X509_CRL *list = X509_CRL_new();
        _cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
        int r;

        if (count > PKI_REVOKED_MAX)
                return error_setf(e, E2BIG, "more than %u certificates are revoked",
                                  PKI_REVOKED_MAX);
        if (!list || !bio || !describe_list(list, a, number, now_sec))
                return pki_fail(e, ENOMEM, "cannot make a list of revoked certificates");
        for (size_t i = 0; i < count; i++) {
                r = add_revoked(list, &revoked[i], e);
                if (r < 0)
                        return r;
        }
        if (!X509_CRL_sort(list) || !X509_CRL_sign(list, a->key, EVP_sha256()) ||
            !PEM_write_bio_X509_CRL(bio, list))
                return pki_fail(e, ENOMEM, "cannot make a list of revoked certificates");
        *ret_pem = pki_text_of(bio);
        return 0;
}

static bool has_serial(X509_CRL *list, const char *text)
{
        _cleanup_(BIGNUM_freep) BIGNUM *n = NULL;
        _cleanup_(ASN1_INTEGER_freep) ASN1_INTEGER *serial = NULL;
        X509_REVOKED *entry;

        if (BN_hex2bn(&n, text) > 0)
                serial = BN_to_ASN1_INTEGER(n, NULL);
        return serial && X509_CRL_get0_by_serial(list, &entry, serial) == 1;
}

/* The list in a PEM text that this CA has signed. */
static int find_list(const char *lists_pem, const char *authority_pem, X509_CRL **ret, Error *e)
{
        _cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(lists_pem, -1);
        _cleanup_(X509_freep) X509 *ca = pki_x509_from_pem(authority_pem);
        bool any = false;

        while (bio && ca) {
                _cleanup_(X509_CRL_freep) X509_CRL *list =
                        PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);

                if (!list)
                        break;
                any = true;
                if (X509_CRL_verify(list, X509_get0_pubkey(ca)) == 1) {
                        *ret = TAKE_PTR(list);
                        return 0;
                }
        }
        if (!any)
                return pki_fail(e, EBADMSG, "no list of revoked certificates in PEM");
        return pki_fail(e, EKEYREJECTED,
                        "the list of revoked certificates is not signed by the CA");
}

int pki_list_check(const char *list_pem, const char *authorities_pem, const char *serial,
                   uint64_t *ret_number, bool *ret_revoked, Error *e)
{
        uint64_t least = UINT64_MAX;
        bool revoked = false;
        int r;

        for (const char *at = authorities_pem; at; at = pki_certificate_next(at)) {
                _cleanup_(X509_CRL_freep) X509_CRL *list = NULL;
                _cleanup_(ASN1_INTEGER_freep) ASN1_INTEGER *number = NULL;
                uint64_t n;

                r = find_list(list_pem, at, &list, e);
                if (r < 0)
                        return r;
                number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
                if (!number || !ASN1_INTEGER_get_uint64(&n, number))
                        return pki_fail(e, EBADMSG,
                                        "the list of revoked certificates has no number");
                least = MIN(least, n);
                revoked = revoked || (serial && has_serial(list, serial));
        }
        *ret_number = least;
        if (serial)
                *ret_revoked = revoked;
        return 0;
}

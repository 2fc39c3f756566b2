/*
 * Certificates for tests, made on the spot: an authority, and whom it vouches for, from when until
 * when.
 */
#pragma once

#include <glib.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "rpc/evgrpc.h"

#define TLS_DAY (24 * 3600L)

typedef struct Authority {
        EVP_PKEY *key;
        X509 *certificate;
        char *pem;
} Authority;

typedef struct Identity {
        char *certificate, *key; /* PEM */
} Identity;

static inline char *pem_of(int (*write)(BIO *bio, void *object), void *object)
{
        BIO *bio = BIO_new(BIO_s_mem());
        char *data, *text;
        long size;

        g_assert_cmpint(write(bio, object), ==, 1);
        size = BIO_get_mem_data(bio, &data);
        text = g_strndup(data, (gsize) size);
        BIO_free(bio);
        return text;
}

static inline int pem_write_certificate(BIO *bio, void *x)
{
        return PEM_write_bio_X509(bio, x);
}

static inline int pem_write_key(BIO *bio, void *key)
{
        return PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
}

static inline void certificate_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *e;

        X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
        e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        g_assert_nonnull(e);
        g_assert_cmpint(X509_add_ext(x, e, -1), ==, 1);
        X509_EXTENSION_free(e);
}

/* Valid from so many seconds after now until so many after it. */
static inline X509 *certificate_begin(EVP_PKEY *key, const char *common_name, long from, long to)
{
        static long serial = 1;
        X509 *x = X509_new();
        X509_NAME *name = X509_get_subject_name(x);

        X509_set_version(x, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
        X509_gmtime_adj(X509_getm_notBefore(x), from);
        X509_gmtime_adj(X509_getm_notAfter(x), to);
        X509_set_pubkey(x, key);
        if (common_name)
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                           (const unsigned char *) common_name, -1, -1, 0);
        return x;
}

static inline void authority_make(Authority *a, const char *name)
{
        a->key = EVP_EC_gen("P-256");
        a->certificate = certificate_begin(a->key, name, -TLS_DAY, 365 * TLS_DAY);
        X509_set_issuer_name(a->certificate, X509_get_subject_name(a->certificate));
        certificate_extend(a->certificate, a->certificate, NID_basic_constraints,
                           "critical,CA:TRUE");
        certificate_extend(a->certificate, a->certificate, NID_subject_key_identifier, "hash");
        g_assert_cmpint(X509_sign(a->certificate, a->key, EVP_sha256()), >, 0);
        a->pem = pem_of(pem_write_certificate, a->certificate);
}

static inline void authority_done(Authority *a)
{
        EVP_PKEY_free(a->key);
        X509_free(a->certificate);
        g_free(a->pem);
}

/* @names: "DNS:worker-1,IP:127.0.0.1"; NULL: no SAN. @usage: "serverAuth"; NULL: any. */
static inline void identity_make(Identity *i, const Authority *a, const char *common_name,
                                 const char *names, const char *usage, long from, long to)
{
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *x = certificate_begin(key, common_name, from, to);

        X509_set_issuer_name(x, X509_get_subject_name(a->certificate));
        certificate_extend(x, a->certificate, NID_authority_key_identifier, "keyid");
        if (names)
                certificate_extend(x, a->certificate, NID_subject_alt_name, names);
        if (usage)
                certificate_extend(x, a->certificate, NID_ext_key_usage, usage);
        g_assert_cmpint(X509_sign(x, a->key, EVP_sha256()), >, 0);
        i->certificate = pem_of(pem_write_certificate, x);
        i->key = pem_of(pem_write_key, key);
        X509_free(x);
        EVP_PKEY_free(key);
}

static inline void identity_done(Identity *i)
{
        g_free(i->certificate);
        g_free(i->key);
}

/* @own NULL: without a certificate. */
static inline EvgrpcTls *tls_make(const Authority *trusted, const Identity *own)
{
        const EvgrpcTlsSource source = {.ca_pem = trusted->pem,
                                        .certificate_pem = own ? own->certificate : NULL,
                                        .key_pem = own ? own->key : NULL};
        EvgrpcTls *tls;
        char *error;

        if (evgrpc_tls_new(&source, &tls, &error) < 0)
                g_error("%s", error);
        return tls;
}

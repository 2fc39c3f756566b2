/*
 * What the files of this room share of OpenSSL: owners, PEM in and out, its errors as sentences.
 */
#pragma once

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki/certificate.h"

#define DEFINE_OPENSSL_CLEANUP(type, func)                                                         \
        static inline void _unused_ type##_freep(type **p)                                         \
        {                                                                                          \
                func(*p);                                                                          \
        }                                                                                          \
        struct _swallow_semicolon_

DEFINE_OPENSSL_CLEANUP(X509, X509_free);
DEFINE_OPENSSL_CLEANUP(X509_REQ, X509_REQ_free);
DEFINE_OPENSSL_CLEANUP(X509_CRL, X509_CRL_free);
DEFINE_OPENSSL_CLEANUP(EVP_PKEY, EVP_PKEY_free);
DEFINE_OPENSSL_CLEANUP(BIO, BIO_free);
DEFINE_OPENSSL_CLEANUP(ASN1_TIME, ASN1_TIME_free);
DEFINE_OPENSSL_CLEANUP(ASN1_INTEGER, ASN1_INTEGER_free);
DEFINE_OPENSSL_CLEANUP(BIGNUM, BN_free);

/* Fills @e with "WHAT: OpenSSL's reason", empties its queue, and returns -|code|. */
int pki_fail(Error *e, int code, const char *what);

/* NULL, with OpenSSL's reason in its queue, for what is none. */
X509 *pki_x509_from_pem(const char *pem);
EVP_PKEY *pki_private_from_pem(const char *pem);

/* The text of a memory BIO; caller frees with g_free(). */
char *pki_text_of(BIO *bio);

/* Adds an extension in the syntax of x509v3_config(5). Return: whether that worked. */
bool pki_extend(X509 *x, X509 *issuer, int nid, const char *value);

int64_t pki_seconds_of(const ASN1_TIME *at); /* INT64_MIN for what is no time */

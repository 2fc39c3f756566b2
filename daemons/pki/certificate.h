/*
 * Certificates — who is who in a cluster, and the pieces of X.509 it takes to prove it.
 *
 * A name says what its holder may do, not where it is: hosts change their addresses, and roles are
 * what both ends must check. So the DNS name in a certificate's SAN is
 *
 *      master.mapreduced.internal              the master
 *      ID.worker.mapreduced.internal           the worker with this id (32 hex digits)
 *
 * below the top-level domain that is set aside for private use (ICANN, 2024), which no public CA
 * vouches for. As it is a DNS name, TLS itself checks it: a worker dials an address and demands the
 * master's name there.
 *
 * Keys are ECDSA on P-256 with SHA-256: RFC 8446 §9.1 makes every TLS 1.3 peer support it and FIPS
 * providers have it, while Ed25519 is optional in both; OpenSSL's P-256 signs as fast. Certificates
 * of an own PKI may also have P-384, P-521, Ed25519, or RSA from 2048 bits on.
 *
 * OpenSSL alone: no loop, no bus, no log. The caller passes the time, and the randomness of all but
 * keys. Everything goes by PEM text, so OpenSSL's types stay in here.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"

#define PKI_MASTER_NAME "master.mapreduced.internal"
#define PKI_WORKER_SUFFIX ".worker.mapreduced.internal"
#define PKI_NAME_SIZE (ID128_HEX_SIZE + sizeof(PKI_WORKER_SUFFIX))
#define PKI_SERIAL_SIZE 16u /* random, so no counter can be lost; CA/B Forum asks for 64 bits */
#define PKI_SERIAL_TEXT_SIZE (2 * PKI_SERIAL_SIZE + 1)
#define PKI_FINGERPRINT_SIZE 32u
#define PKI_PEM_MAX (UINT64_C(1) << 20) /* of anything read here; evgrpc's limit, too */

/* How far a certificate reaches back. A host whose hardware clock runs in local time but is read as
 * UTC is up to 14 hours off until its clock is synchronised, and must still be able to join. It
 * costs nothing: nobody had the key before. The other end of a lifetime is not stretched: that is
 * what renewal is for. */
#define PKI_BACKDATE_SEC (24 * 3600)

typedef enum PkiRole {
        PKI_ROLE_NONE,
        PKI_ROLE_MASTER,
        PKI_ROLE_WORKER,
} PkiRole;

void pki_worker_name(const char *worker_id, char ret[static PKI_NAME_SIZE]);

/* Whose a name is. @ret_worker_id may be NULL, and is "" for what is no worker. */
PkiRole pki_role_of(const char *name, char *ret_worker_id);

typedef struct PkiCertificate {
        PkiRole role;
        bool is_authority;
        char worker_id[ID128_HEX_SIZE];        /* "" for what is no worker's */
        char serial[64];                       /* lower-case hex digits */
        int64_t not_before_sec, not_after_sec; /* since 1970 */
} PkiCertificate;

/* The first certificate in a PEM text. Return: 0; -EBADMSG with a sentence. */
int pki_certificate_read(const char *pem, PkiCertificate *ret, Error *e);

/**
 * pki_fingerprint() - what a join token names a CA by
 *
 * SHA-256 of the SubjectPublicKeyInfo, as in RFC 7469 §2.4: a CA certificate that is renewed with
 * its key has the same.
 */
int pki_fingerprint(const char *certificate_pem, uint8_t ret[static PKI_FINGERPRINT_SIZE],
                    Error *e);

/* A short name for it, to tell it from another: the first 8 bytes of SHA-256. */
uint64_t pki_digest_text(const char *text);
uint64_t pki_digest_head(const uint8_t digest[static PKI_FINGERPRINT_SIZE]);

/* A fresh private key, PKCS #8, not encrypted. Free with pki_key_free(). */
int pki_key_make(char **ret_pem);
char *pki_key_free(char *pem); /* wiped first; returns NULL; takes NULL */
DEFINE_CLEANUP(char, pki_key_free);

/* PKCS #10: asks for a certificate for the key. @name is for people: the CA decides on names. */
int pki_request_make(const char *key_pem, const char *name, char **ret_pem, Error *e);

/* Whether the key is that of the certificate. Return: 0; -EKEYREJECTED; -EBADMSG. */
int pki_key_check(const char *key_pem, const char *certificate_pem, Error *e);

/* Where in a PEM text the certificate after the first one begins; NULL when there is no other. */
const char *pki_certificate_next(const char *pem);

/**
 * pki_issuer_of() - whose key has signed it; dates and names are not looked at
 * @authorities_pem: of one CA or several
 *
 * Return: where in @authorities_pem that CA's certificate begins, so the text itself for the first
 * of them; NULL when it was none of them.
 */
const char *pki_issuer_of(const char *certificate_pem, const char *authorities_pem);

/* After two thirds of the lifetime, so that a host which is switched off for a third of it still
 * finds its certificate good. Return: when, in seconds since 1970. */
int64_t pki_renewal_sec(const PkiCertificate *c);

/*
 * Authority — the cluster's own CA: who is in, from when until when, and who is out again.
 *
 * One level: the CA signs what the master and the workers hold, and may sign nothing else (pathlen
 * 0, and name constraints to mapreduced.internal, so that a CA certificate which ends up in a
 * system's trust store can vouch for nobody's web site). It never looks at the names in a request:
 * they are the caller's to grant.
 */
#pragma once

#include "pki/certificate.h"

#define PKI_AUTHORITY_LIFETIME_SEC ((int64_t) 3650 * 24 * 3600)
#define PKI_CERTIFICATE_LIFETIME_SEC ((int64_t) 90 * 24 * 3600)
#define PKI_REVOKED_MAX 10000u /* in one list: half of what fits PKI_PEM_MAX */

typedef struct PkiAuthority PkiAuthority;

/**
 * pki_authority_make() - a new CA with a new key
 * @serial: as for pki_authority_issue()
 * @old:    whose place it takes; NULL: nobody's. It begins after that, so that their dates tell
 *          which is which.
 */
int pki_authority_make(int64_t now_sec, const uint8_t serial[static PKI_SERIAL_SIZE],
                       const PkiAuthority *old, PkiAuthority **ret, Error *e);
/* @keys_pem: of which one is its key. Return: 0; -EBADMSG for what is no PEM or no CA;
 * -EKEYREJECTED when all are others'. */
int pki_authority_load(const char *certificate_pem, const char *keys_pem, PkiAuthority **ret,
                       Error *e);
PkiAuthority *pki_authority_free(PkiAuthority *a);
DEFINE_CLEANUP(PkiAuthority, pki_authority_free);

const char *pki_authority_certificate(const PkiAuthority *a); /* PEM */
const char *pki_authority_key(const PkiAuthority *a); /* PEM: for its file, and nothing else */
int64_t pki_authority_not_before_sec(const PkiAuthority *a);
int64_t pki_authority_not_after_sec(const PkiAuthority *a);

typedef struct PkiGrant {
        PkiRole role;
        const char *worker_id;           /* of a worker */
        uint8_t serial[PKI_SERIAL_SIZE]; /* random; its top bit is not used */
        int64_t now_sec, lifetime_sec;   /* cut off where the CA's own ends */
} PkiGrant;

/**
 * pki_authority_issue() - a certificate for the key in a request, and for the name in the grant
 * @request_pem: PKCS #10, signed by its key (which proves that the asker has it)
 *
 * Return: 0; -EBADMSG for what is no request; -EKEYREJECTED for a wrong signature or a weak or
 * unknown kind of key; -EKEYEXPIRED when the CA itself has expired.
 */
int pki_authority_issue(const PkiAuthority *a, const char *request_pem, const PkiGrant *grant,
                        char **ret_pem, Error *e);

typedef struct PkiRevoked {
        const char *serial; /* hex digits, as PkiCertificate has it */
        int64_t revoked_sec;
} PkiRevoked;

/**
 * pki_authority_list_revoked() - a CRL (RFC 5280 §5)
 * @number: goes up with each list, so that an old one is known for what it is
 *
 * It holds until the CA ends: news of a newer one is pushed, not waited for.
 * Return: 0; -E2BIG beyond PKI_REVOKED_MAX; -EINVAL for a serial that is none.
 */
int pki_authority_list_revoked(const PkiAuthority *a, const PkiRevoked *revoked, size_t count,
                               uint64_t number, int64_t now_sec, char **ret_pem, Error *e);

/**
 * pki_list_check() - is this list the CA's?
 * @list_pem:        several CAs have a list each, in any order; what others have signed is passed
 *                   over
 * @authorities_pem: each must have one
 * @serial:          may be NULL; then *ret_revoked is not touched
 * @ret_number:      the least of them
 *
 * Return: 0; -EBADMSG for what is no list or has no number; -EKEYREJECTED when a CA has signed
 * none.
 */
int pki_list_check(const char *list_pem, const char *authorities_pem, const char *serial,
                   uint64_t *ret_number, bool *ret_revoked, Error *e);

/*
 * Certificates in programs that have none — see rpc/tls-fallback.c.
 *
 * A daemon of one host has no keys, and nobody asks it for some: what would need them says that it
 * is not supported.
 */
#include "pki/authority.h"
#include "pki/certificate.h"
#include "pki/introduction.h"
#include "pki/token.h"

static int none(Error *e)
{
        return error_setf(e, EOPNOTSUPP, "this program is built without keys, for one host");
}

int pki_authority_make(int64_t now_sec, const uint8_t serial[static PKI_SERIAL_SIZE],
                       const PkiAuthority *before, PkiAuthority **ret, Error *e)
{
        return none(e);
}

int pki_authority_load(const char *certificate_pem, const char *keys_pem, PkiAuthority **ret,
                       Error *e)
{
        return none(e);
}

PkiAuthority *pki_authority_free(PkiAuthority *a)
{
        return NULL;
}

const char *pki_authority_certificate(const PkiAuthority *a)
{
        return "";
}

const char *pki_authority_key(const PkiAuthority *a)
{
        return "";
}

int64_t pki_authority_not_before_sec(const PkiAuthority *a)
{
        return 0;
}

int64_t pki_authority_not_after_sec(const PkiAuthority *a)
{
        return 0;
}

int pki_authority_issue(const PkiAuthority *a, const char *request_pem, const PkiGrant *grant,
                        char **ret_pem, Error *e)
{
        return none(e);
}

int pki_authority_list_revoked(const PkiAuthority *a, const PkiRevoked *revoked, size_t count,
                               uint64_t number, int64_t now_sec, char **ret_pem, Error *e)
{
        return none(e);
}

int pki_list_check(const char *list_pem, const char *authorities_pem, const char *serial,
                   uint64_t *ret_number, bool *ret_revoked, Error *e)
{
        return none(e);
}

void pki_worker_name(const char *worker_id, char ret[static PKI_NAME_SIZE])
{
        ret[0] = '\0';
}

PkiRole pki_role_of(const char *name, char *ret_worker_id)
{
        return PKI_ROLE_NONE;
}

int pki_certificate_read(const char *pem, PkiCertificate *ret, Error *e)
{
        return none(e);
}

int pki_fingerprint(const char *certificate_pem, uint8_t ret[static PKI_FINGERPRINT_SIZE], Error *e)
{
        return none(e);
}

uint64_t pki_digest_text(const char *text)
{
        return 0;
}

uint64_t pki_digest_head(const uint8_t digest[static PKI_FINGERPRINT_SIZE])
{
        return 0;
}

int pki_key_make(char **ret_pem)
{
        return -EOPNOTSUPP;
}

char *pki_key_free(char *pem)
{
        return NULL;
}

int pki_request_make(const char *key_pem, const char *name, char **ret_pem, Error *e)
{
        return none(e);
}

int pki_key_check(const char *key_pem, const char *certificate_pem, Error *e)
{
        return none(e);
}

const char *pki_certificate_next(const char *pem)
{
        return NULL;
}

const char *pki_issuer_of(const char *certificate_pem, const char *authorities_pem)
{
        return NULL;
}

int64_t pki_renewal_sec(const PkiCertificate *c)
{
        return 0;
}

int introduction_fetch_authority(int fd, const uint8_t fingerprint[static PKI_FINGERPRINT_SIZE],
                                 char **ret_pem, Error *e)
{
        return none(e);
}

char *join_token_format(const JoinToken *t)
{
        return NULL;
}

int join_token_parse(const char *text, JoinToken *ret, Error *e)
{
        return none(e);
}

void join_token_hash(const uint8_t secret[static JOIN_TOKEN_SECRET_SIZE],
                     uint8_t ret[static JOIN_TOKEN_HASH_SIZE])
{
        memset(ret, 0, JOIN_TOKEN_HASH_SIZE);
}

bool join_token_matches(const void *secret, size_t secret_size,
                        const uint8_t hash[static JOIN_TOKEN_HASH_SIZE])
{
        return false;
}

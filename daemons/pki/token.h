/*
 * Join tokens — one word that lets one host in, once, for a while.
 *
 *      mrjoin1_ base64url( fingerprint 32 | id 8 | secret 16 | address | checksum 4 )
 *
 * It carries what a new host cannot know: where to knock, whom to believe there (the CA, by the
 * digest of its public key, so that nobody in between can play the master), and a secret to be
 * believed oneself. The alphabet is base64url (RFC 4648 §5), so a shell takes it as it is and a
 * double click marks it whole; the checksum, the first bytes of SHA-256, tells a word that was cut
 * off or mistyped from one that is refused.
 *
 * The master keeps the id and a digest of the secret. A plain digest is enough: the secret is 128
 * random bits, which nobody finds by trying, so there is nothing for a slow password hash to slow
 * down.
 */
#pragma once

#include "pki/certificate.h"

#define JOIN_TOKEN_ID_SIZE 8u
#define JOIN_TOKEN_SECRET_SIZE 16u
#define JOIN_TOKEN_HASH_SIZE 32u
#define JOIN_TOKEN_ADDRESS_MAX 255u

typedef struct JoinToken {
        uint8_t fingerprint[PKI_FINGERPRINT_SIZE]; /* of the CA */
        uint8_t id[JOIN_TOKEN_ID_SIZE];
        uint8_t secret[JOIN_TOKEN_SECRET_SIZE];
        char address[JOIN_TOKEN_ADDRESS_MAX + 1]; /* HOST:PORT where Join is served */
} JoinToken;

char *join_token_format(const JoinToken *t); /* pki_key_free() wipes it, too */

/* Return: 0; -EBADMSG, with what is wrong with it. */
int join_token_parse(const char *text, JoinToken *ret, Error *e);

void join_token_hash(const uint8_t secret[static JOIN_TOKEN_SECRET_SIZE],
                     uint8_t ret[static JOIN_TOKEN_HASH_SIZE]);

/* In the same time wherever they differ. */
bool join_token_matches(const void *secret, size_t secret_size,
                        const uint8_t hash[static JOIN_TOKEN_HASH_SIZE]);

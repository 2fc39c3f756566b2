/*
 * The store's other half: who is in the cluster, who may come in, and replies that must not be
 * lost.
 *
 * All of it is written in the store's one transaction: a token is gone in the very moment in which
 * the certificate that it bought, and the reply that carries it, are there. These statements run a
 * few times a day, so they are made when they are needed.
 */
#pragma once

#include "mr-masterd/master-store.h"

#define STORE_TOKENS_MAX 100u        /* outstanding */
#define STORE_ONCE_CLIENTS_MAX 2000u /* whose replies are kept: the newest */

typedef struct StoreCertificate {
        const char *serial;
        int role;                     /* PkiRole */
        const char *worker_id, *name; /* the master's: "" */
        int64_t issued_sec, not_before_sec, not_after_sec;
        int64_t revoked_sec; /* 0: it is not */
        const char *issuer;  /* fingerprint of the CA, hex digits; "": not known */
} StoreCertificate;

typedef struct StoreToken {
        const char *id; /* hex digits */
        const void *hash;
        size_t hash_size;
        int64_t created_sec, expires_sec;
        uint32_t failed; /* tries with a wrong secret */
} StoreToken;

void store_put_certificate(Store *s, const StoreCertificate *c);
void store_revoke_certificate(Store *s, const char *serial, int64_t revoked_sec);
void store_trim_certificates(Store *s, int64_t before_sec); /* that ended before then */

typedef void (*StoreCertificateFn)(const StoreCertificate *c, void *userdata);
int store_each_certificate(Store *s, StoreCertificateFn fn, void *userdata); /* oldest first */

void store_put_token(Store *s, const StoreToken *t);
void store_remove_token(Store *s, const char *id);
void store_trim_tokens(Store *s, int64_t now_sec); /* that have expired */

typedef void (*StoreTokenFn)(const StoreToken *t, void *userdata);
int store_each_token(Store *s, StoreTokenFn fn, void *userdata);

/* A number with a name; 0 until it is put. */
void store_put_number(Store *s, const char *name, uint64_t value);
uint64_t store_get_number(Store *s, const char *name);

/* Replies of calls that are executed once: see EvgrpcOnceStore, whose arguments these are. A client
 * that is not among the newest STORE_ONCE_CLIENTS_MAX is forgotten: by then its call's deadline has
 * long passed. */
int store_save_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     uint64_t acknowledged, const void *record, size_t size);
int store_load_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     void **ret_record, size_t *ret_size);

/* What the maps of a job were made from: master-lineage.c has the format. */
void store_put_seen(Store *s, uint64_t job, const void *maps, size_t size);
void store_trim_seen(Store *s, uint64_t before_job);

typedef void (*StoreSeenFn)(uint64_t job, const void *maps, size_t size, void *userdata);
int store_each_seen(Store *s, StoreSeenFn fn, void *userdata); /* oldest first */

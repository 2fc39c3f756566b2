/*
 * Join — how a host gets in that has nothing but a token.
 *
 * Service Cluster is the one service that takes clients without a certificate. It has an address of
 * its own, where nothing else is served and which is open only as long as somebody may come: while
 * a token is valid, and a little longer, so that who lost the reply can ask for it again. Tries are
 * few a second, of all clients together, and five wrong secrets are the end of a token.
 */
#pragma once

#include "base/error.h"

typedef struct Manager Manager;
typedef struct Join Join;

#define JOIN_TTL_DEFAULT_USEC (3600 * USEC_PER_SEC)
#define JOIN_TTL_MAX_USEC (7 * 24 * 3600 * USEC_PER_SEC)

int join_open(Manager *m, Join **ret, Error *e);
Join *join_free(Join *j);

/**
 * join_make_token() - a token for one host
 * @ttl_usec: 0: an hour
 * @host:     by which new hosts reach this one; "": found out
 *
 * Durably in the store when this returns.
 * Return: 0; -EINVAL, -EBUSY (too many) or the errno of listening, with a sentence.
 */
int join_make_token(Join *j, uint64_t ttl_usec, const char *host, char **ret_token,
                    uint64_t *ret_expires_usec, Error *e);

/* How many are outstanding. */
unsigned join_count_tokens(Join *j);

/* All tokens that were not used yet are worth nothing any more. Return: how many, or negative
 * errno. */
int join_forget_tokens(Join *j, Error *e);

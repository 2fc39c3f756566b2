/*
 * The table of kept replies — clients, and of each the calls that are running or not acknowledged.
 *
 *                 first try            finished            acknowledged
 *      (absent) ─────────────▶ RUNNING ────────▶ KEPT ───────────────────▶ (absent, below ack)
 *                                 │ acknowledged meanwhile                     ▲
 *                                 └──────▶ orphan ──────── finished ───────────┘
 *
 * Nothing leaves it but by the client's word or with the whole client, when its lease is over; and
 * that moves the generation of the epoch, so that nobody can take "forgotten" for "never seen".
 *
 * The calls of a client are a treap (Seidel & Aragon, Algorithmica 16 (1996)) by seq: the smallest
 * is found to be forgotten, any of them to be repeated. Priorities are keyed hashes: a peer cannot
 * choose a deep tree. A client is looked up by its principal and its id together, so what one
 * principal stored does not exist for another.
 *
 * No clock here: callers pass now_usec (CLOCK_MONOTONIC).
 */
#pragma once

#include "rpc/metadata.h"
#include "rpc/once.h"

#define ONCE_BUCKETS 4096u
#define ONCE_RESERVE_BYTES                                                                         \
        ((size_t) 4096) /* set aside for the reply of a running call; a longer one needs room left \
                         */

typedef struct OnceClient OnceClient;

typedef struct OnceReply {
        EvgrpcCode code;
        const char *message; /* percent-encoded, or NULL */
        RpcMetadata initial, trailing;
        uint8_t *packed; /* the message, malloc()ed; NULL: there is none */
        size_t size;
} OnceReply;

typedef struct OnceEntry {
        struct OnceEntry *left, *right;
        uint64_t priority;
        OnceClient *client;
        RpcLink orphan_link;
        uint64_t seq;
        uint64_t digest;             /* of method and request */
        EvgrpcServerCall *execution; /* NULL: it has finished */
        RpcLink waiters;             /* tries that want the reply */
        size_t charged;
        OnceReply reply;
        RpcArena arena; /* of the reply's texts */
} OnceEntry;

struct OnceClient {
        OnceClient *next; /* of the same bucket */
        RpcLink link;     /* by the time of seen_usec */
        uint64_t seen_usec;
        uint64_t ack;
        uint32_t generation; /* of the table when it was made */
        OnceEntry *root;
        RpcLink orphans; /* running, but acknowledged */
        size_t bytes;
        size_t waiting; /* tries that wait: it is not silent */
        uint8_t id[RPC_CLIENT_ID_SIZE];
        size_t principal_size;
        char principal[];
};

typedef struct OnceTable {
        size_t limit, client_limit, bytes;
        uint64_t lease_usec;
        RpcEpoch epoch;
        uint64_t key[2];
        RpcLink clients; /* longest silent first */
        OnceClient *buckets[ONCE_BUCKETS];
} OnceTable;

/* Return: 0 or negative errno: no random numbers. */
int once_table_init(OnceTable *t, size_t limit, size_t client_limit, uint64_t lease_usec);

OnceClient *once_table_find(const OnceTable *t, const char *principal, const uint8_t *id);
/* Return: 0, -ENOSPC when the bound is reached, -ENOMEM. */
int once_table_add(OnceTable *t, const char *principal, const uint8_t *id, uint64_t now_usec,
                   OnceClient **ret);
void once_client_touch(OnceTable *t, OnceClient *c, uint64_t now_usec);
/* Forgets what is below @ack. */
void once_client_acknowledge(OnceTable *t, OnceClient *c, uint64_t ack);

/* The one that has been silent for longer than its lease, taken out of the table; NULL: none. */
OnceClient *once_table_take_expired(OnceTable *t, uint64_t now_usec);
OnceClient *once_table_take_any(OnceTable *t);
/* One call of a client that was taken out; NULL: none is left. Free both. */
OnceEntry *once_client_take_entry(OnceClient *c);
void once_client_free(OnceTable *t, OnceClient *c);

OnceEntry *once_client_find(const OnceClient *c, uint64_t seq);
/* Return: 0, -ENOSPC, -ENOMEM. There is none with this seq. */
int once_client_add(OnceTable *t, OnceClient *c, uint64_t seq, uint64_t digest, OnceEntry **ret);
/* Nobody waits for it and it does not run. It is in no tree. */
void once_entry_free(OnceTable *t, OnceEntry *e);

/* Its execution is over: charges what the reply takes. Return: true: it is kept; false: it was
 * acknowledged (free it). -ENOSPC is not an answer: a reply without room becomes ABORTED. */
bool once_entry_settle(OnceTable *t, OnceEntry *e);

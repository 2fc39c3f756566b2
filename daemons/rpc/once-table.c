/*
 * The table of kept replies.
 */
#include <stdio.h>

#include "rpc/once-table.h"

#define ARENA_LIMIT ((size_t) 512 * 1024)

int once_table_init(OnceTable *t, size_t limit, size_t client_limit, uint64_t lease_usec)
{
        int r;

        *t = (OnceTable){.limit = limit, .client_limit = client_limit, .lease_usec = lease_usec};
        rpc_link_init(&t->clients);
        r = rpc_random(t->key, sizeof(t->key));
        while (r >= 0 && t->epoch.process == 0)
                r = rpc_random(&t->epoch.process, sizeof(t->epoch.process));
        return r;
}

/* ---- Clients
 * ------------------------------------------------------------------------------------ */

static OnceClient **bucket_of(const OnceTable *t, const uint8_t *id)
{
        OnceTable *own = (OnceTable *) (uintptr_t) t;

        return &own->buckets[rpc_siphash(t->key, id, RPC_CLIENT_ID_SIZE) % ONCE_BUCKETS];
}

OnceClient *once_table_find(const OnceTable *t, const char *principal, const uint8_t *id)
{
        size_t size = strlen(principal);

        for (OnceClient *c = *bucket_of(t, id); c; c = c->next)
                if (memcmp(c->id, id, RPC_CLIENT_ID_SIZE) == 0 && c->principal_size == size &&
                    memcmp(c->principal, principal, size) == 0)
                        return c;
        return NULL;
}

static bool has_room(const OnceTable *t, const OnceClient *c, size_t size)
{
        return size <= t->limit - RPC_MIN(t->bytes, t->limit) &&
               (!c || size <= t->client_limit - RPC_MIN(c->bytes, t->client_limit));
}

static void charge(OnceTable *t, OnceClient *c, size_t size)
{
        t->bytes += size;
        c->bytes += size;
}

static void discharge(OnceTable *t, OnceClient *c, size_t size)
{
        t->bytes -= size;
        c->bytes -= size;
}

static size_t client_cost(size_t principal_size)
{
        return sizeof(OnceClient) + principal_size + 16;
}

int once_table_add(OnceTable *t, const char *principal, const uint8_t *id, uint64_t now_usec,
                   OnceClient **ret)
{
        size_t size = strlen(principal);
        OnceClient *c, **bucket = bucket_of(t, id);

        if (!has_room(t, NULL, client_cost(size)))
                return -ENOSPC;
        c = calloc(1, sizeof(*c) + size + 1);
        if (!c)
                return -ENOMEM;
        memcpy(c->id, id, RPC_CLIENT_ID_SIZE);
        memcpy(c->principal, principal, size);
        c->principal_size = size;
        c->generation = t->epoch.generation;
        c->seen_usec = now_usec;
        rpc_link_init(&c->orphans);
        rpc_link_append(&t->clients, &c->link);
        c->next = *bucket;
        *bucket = c;
        charge(t, c, client_cost(size));
        *ret = c;
        return 0;
}

void once_client_touch(OnceTable *t, OnceClient *c, uint64_t now_usec)
{
        c->seen_usec = now_usec;
        rpc_link_remove(&c->link);
        rpc_link_append(&t->clients, &c->link);
}

static OnceClient *take_out(OnceTable *t, OnceClient *c)
{
        OnceClient **at = bucket_of(t, c->id);

        while (*at != c)
                at = &(*at)->next;
        *at = c->next;
        rpc_link_remove(&c->link);
        t->epoch.generation++; /* what it knew can no longer be told from what never was */
        return c;
}

OnceClient *once_table_take_any(OnceTable *t)
{
        if (rpc_link_is_alone(&t->clients))
                return NULL;
        return take_out(t, CONTAINER_OF(t->clients.next, OnceClient, link));
}

OnceClient *once_table_take_expired(OnceTable *t, uint64_t now_usec)
{
        for (;;) {
                OnceClient *c = CONTAINER_OF(t->clients.next, OnceClient, link);

                if (rpc_link_is_alone(&t->clients) ||
                    now_usec - RPC_MIN(c->seen_usec, now_usec) <= t->lease_usec)
                        return NULL;
                if (c->waiting == 0)
                        return take_out(t, c);
                once_client_touch(t, c, now_usec);
        }
}

void once_client_free(OnceTable *t, OnceClient *c)
{
        assert(!c->root && rpc_link_is_alone(&c->orphans));

        discharge(t, c, client_cost(c->principal_size));
        assert(c->bytes == 0);
        free(c);
}

/* ---- Calls
 * -------------------------------------------------------------------------------------- */

OnceEntry *once_client_find(const OnceClient *c, uint64_t seq)
{
        OnceEntry *e = c->root;

        while (e && e->seq != seq)
                e = seq < e->seq ? e->left : e->right;
        return e;
}

static void split(OnceEntry *e, uint64_t seq, OnceEntry **ret_below, OnceEntry **ret_above)
{
        while (e) {
                if (e->seq < seq) {
                        *ret_below = e;
                        ret_below = &e->right;
                        e = e->right;
                } else {
                        *ret_above = e;
                        ret_above = &e->left;
                        e = e->left;
                }
        }
        *ret_below = *ret_above = NULL;
}

static OnceEntry *join(OnceEntry *below, OnceEntry *above)
{
        OnceEntry *root = NULL, **at = &root;

        while (below && above) {
                if (below->priority > above->priority) {
                        *at = below;
                        at = &below->right;
                        below = below->right;
                } else {
                        *at = above;
                        at = &above->left;
                        above = above->left;
                }
        }
        *at = below ? below : above;
        return root;
}

static void insert(OnceClient *c, OnceEntry *e)
{
        OnceEntry **at = &c->root;

        while (*at && (*at)->priority > e->priority)
                at = e->seq < (*at)->seq ? &(*at)->left : &(*at)->right;
        split(*at, e->seq, &e->left, &e->right);
        *at = e;
}

static void erase(OnceEntry *e)
{
        OnceEntry **at = &e->client->root;

        while (*at != e)
                at = e->seq < (*at)->seq ? &(*at)->left : &(*at)->right;
        *at = join(e->left, e->right);
        e->left = e->right = NULL;
}

int once_client_add(OnceTable *t, OnceClient *c, uint64_t seq, uint64_t digest, OnceEntry **ret)
{
        size_t cost = sizeof(OnceEntry) + ONCE_RESERVE_BYTES;
        OnceEntry *e;

        if (!has_room(t, c, cost))
                return -ENOSPC;
        e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        e->client = c;
        e->seq = seq;
        e->digest = digest;
        e->priority = rpc_siphash(t->key, &seq, sizeof(seq));
        e->charged = cost;
        charge(t, c, cost);
        rpc_link_init(&e->waiters);
        rpc_link_init(&e->orphan_link);
        rpc_arena_init(&e->arena, NULL, 0, ARENA_LIMIT);
        insert(c, e);
        *ret = e;
        return 0;
}

void once_entry_free(OnceTable *t, OnceEntry *e)
{
        assert(rpc_link_is_alone(&e->waiters) && !e->execution);

        rpc_link_remove(&e->orphan_link);
        discharge(t, e->client, e->charged);
        free(e->reply.packed);
        rpc_arena_done(&e->arena);
        free(e);
}

void once_client_acknowledge(OnceTable *t, OnceClient *c, uint64_t ack)
{
        OnceEntry *below, *above;

        if (ack <= c->ack)
                return;
        c->ack = ack;
        split(c->root, ack, &below, &above);
        c->root = above;
        while (below) {
                OnceEntry *e = below;

                below = join(e->left, e->right);
                e->left = e->right = NULL;
                if (e->execution)
                        rpc_link_append(&c->orphans, &e->orphan_link);
                else
                        once_entry_free(t, e);
        }
}

OnceEntry *once_client_take_entry(OnceClient *c)
{
        OnceEntry *e = c->root;

        if (e)
                erase(e);
        else if (!rpc_link_is_alone(&c->orphans)) {
                e = CONTAINER_OF(c->orphans.next, OnceEntry, orphan_link);
                rpc_link_remove(&e->orphan_link);
        }
        return e;
}

static void lose_reply(OnceEntry *e)
{
        static const char text[] = "The call was executed, but there was no room to keep its reply";

        free(e->reply.packed);
        rpc_arena_done(&e->arena);
        e->reply = (OnceReply){.code = EVGRPC_ABORTED, .message = text};
}

bool once_entry_settle(OnceTable *t, OnceEntry *e)
{
        size_t size = sizeof(*e) + e->reply.size + e->arena.taken;

        e->execution = NULL;
        if (e->seq < e->client->ack)
                return false;
        discharge(t, e->client, e->charged);
        if (size > e->charged && !has_room(t, e->client, size)) {
                lose_reply(e);
                size = sizeof(*e);
        }
        e->charged = size;
        charge(t, e->client, size);
        return true;
}

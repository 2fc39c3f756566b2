/*
 * Arena — chunks that double, the newest of which is the largest.
 */
#include "rpc/arena.h"

#define CHUNK_MIN ((size_t) 1024)

static void *arena_proto_alloc(void *data, size_t size)
{
        return rpc_arena_alloc(data, size);
}

static void arena_proto_free(void *data, void *pointer)
{
        (void) data;
        (void) pointer; /* goes with the reset */
}

void rpc_arena_init(RpcArena *a, void *first, size_t first_size, size_t limit)
{
        *a = (RpcArena){
                .at = first,
                .left = first_size,
                .first = first,
                .first_size = first_size,
                .limit = limit,
                .allocator = {.alloc = arena_proto_alloc,
                              .free = arena_proto_free,
                              .allocator_data = a},
        };
}

static void free_chunks(RpcArenaChunk *c)
{
        while (c) {
                RpcArenaChunk *older = c->older;

                free(c);
                c = older;
        }
}

void rpc_arena_done(RpcArena *a)
{
        free_chunks(a->newest);
        rpc_arena_init(a, a->first, a->first_size, a->limit);
}

void rpc_arena_reset(RpcArena *a, size_t keep)
{
        RpcArenaChunk *newest = a->newest;

        if (!newest || newest->size > keep) {
                rpc_arena_done(a);
                return;
        }
        free_chunks(newest->older);
        newest->older = NULL;
        a->taken = newest->size;
        a->at = newest->data;
        a->left = newest->size;
}

static bool arena_grow(RpcArena *a, size_t size)
{
        RpcArenaChunk *c;
        size_t want = RPC_MAX(RPC_MAX(size, CHUNK_MIN), a->newest ? a->newest->size * 2 : 0);

        if (a->taken > a->limit || want > a->limit - a->taken)
                want = size; /* near the limit: no more than is asked */
        if (a->taken > a->limit || want > a->limit - a->taken)
                return false;
        c = malloc(sizeof(*c) + want);
        if (!c)
                return false;
        c->older = a->newest;
        c->size = want;
        a->newest = c;
        a->taken += want;
        a->at = c->data;
        a->left = want;
        return true;
}

void *rpc_arena_alloc(RpcArena *a, size_t size)
{
        void *p;

        if (size > SIZE_MAX - 15)
                return NULL;
        size = size == 0 ? 16 : (size + 15) & ~(size_t) 15;
        if (size > a->left && !arena_grow(a, size))
                return NULL;
        p = a->at;
        a->at += size;
        a->left -= size;
        return p;
}

char *rpc_arena_dup(RpcArena *a, const void *data, size_t size)
{
        char *p = rpc_arena_alloc(a, size + 1);

        if (!p)
                return NULL;
        if (size > 0)
                memcpy(p, data, size);
        p[size] = 0;
        return p;
}

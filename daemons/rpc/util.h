/*
 * The few tools this library shares with itself: lists, cleanup, the clock.
 *
 * evgrpc is a library of its own, so it borrows nothing from the rest of the tree. Lists are
 * intrusive and circular: an element is put in and taken out without an allocation, and taking out
 * one that is in no list does nothing.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))
#define RPC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RPC_MAX(a, b) ((a) > (b) ? (a) : (b))
#define RPC_USEC_PER_SEC UINT64_C(1000000)
#define RPC_USEC_PER_MSEC UINT64_C(1000)

typedef struct RpcLink {
        struct RpcLink *prev, *next;
} RpcLink;

static inline void rpc_link_init(RpcLink *l)
{
        l->prev = l->next = l;
}

static inline bool rpc_link_is_alone(const RpcLink *l)
{
        return l->next == l;
}

static inline void rpc_link_remove(RpcLink *l)
{
        l->prev->next = l->next;
        l->next->prev = l->prev;
        rpc_link_init(l);
}

static inline void rpc_link_append(RpcLink *head, RpcLink *l)
{
        l->prev = head->prev;
        l->next = head;
        head->prev->next = l;
        head->prev = l;
}

/* Moves all elements of one list to the end of another. */
static inline void rpc_link_splice(RpcLink *to, RpcLink *from)
{
        if (rpc_link_is_alone(from))
                return;
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        rpc_link_init(from);
}

static inline uint64_t rpc_now_usec(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * RPC_USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

static inline struct timeval rpc_timeval(uint64_t usec)
{
        return (struct timeval){.tv_sec = (time_t) (usec / RPC_USEC_PER_SEC),
                                .tv_usec = (suseconds_t) (usec % RPC_USEC_PER_SEC)};
}

static inline void rpc_freep(void *p)
{
        free(*(void **) p);
}

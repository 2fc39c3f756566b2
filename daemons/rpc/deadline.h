/*
 * Deadlines — many points in time behind one timer.
 *
 * A binary heap of entries that live in their owners. Most calls end before their deadline and most
 * deadlines are later than those before them, so putting one in is usually one comparison and no
 * system call, and the timer is not moved when one is taken out: it may fire for nothing, once.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "rpc/util.h"

typedef struct RpcDeadline {
        uint64_t at_usec; /* CLOCK_MONOTONIC */
        size_t place;     /* in the heap, from 1; 0: in none */
} RpcDeadline;

typedef struct RpcDeadlines {
        RpcDeadline **heap; /* [1..count] */
        size_t count, room;
        struct event timer;
        uint64_t timer_usec;                             /* when it fires; UINT64_MAX: not set */
        void (*expired)(RpcDeadline *d, void *userdata); /* the entry is out of the heap by then */
        void *userdata;
        bool *gone; /* set when a handler ends it while the timer is at work */
} RpcDeadlines;

void rpc_deadlines_init(RpcDeadlines *ds, struct event_base *base,
                        void (*expired)(RpcDeadline *d, void *userdata), void *userdata);
void rpc_deadlines_done(RpcDeadlines *ds); /* takes none out: the owners are gone or do it before */

/* Return: 0 or -ENOMEM. @d->at_usec is set by the caller. */
int rpc_deadlines_add(RpcDeadlines *ds, RpcDeadline *d);
void rpc_deadlines_remove(RpcDeadlines *ds, RpcDeadline *d); /* no effect when it is in none */

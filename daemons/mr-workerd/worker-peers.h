/*
 * Peers — the other workers, as readers of their map outputs know them.
 *
 * One channel a peer; fetches wait in a queue of their peer, and few run at once, because more
 * connections do not make a disk or a network faster. Peers take turns, so one that is slow holds
 * up nobody's fetches but its own.
 */
#pragma once

#include "cluster.pb-c.h"
#include "mr-workerd/worker-manager.h"

#define PEERS_FETCHES_MAX 8u /* at once, in all */
#define PEER_FETCHES_MAX 3u  /* at once, from one peer */

typedef struct Fetch Fetch;

typedef enum FetchOutcome {
        FETCH_DONE,
        FETCH_GONE,    /* the peer answers and does not have it, or cannot read it */
        FETCH_FAILED,  /* the peer or the way to it is bad: may pass */
        FETCH_BUSY,    /* the peer asks to come again */
        FETCH_NO_ROOM, /* our own disk is full */
        FETCH_NO_DISK, /* it does not take what we write */
} FetchOutcome;

typedef struct FetchHandlers {
        /* The segment's size is known: where in the file does it go? */
        uint64_t (*allocate)(uint64_t size_bytes, void *userdata);
        /* Once, unless it is cancelled; the fetch is freed when it returns. */
        void (*done)(uint32_t map, FetchOutcome outcome, const char *sentence, uint64_t offset,
                     uint64_t size_bytes, void *userdata);
} FetchHandlers;

int peers_new(Manager *m, Peers **ret);
Peers *peers_free(Peers *p); /* no fetch may be left */

/* Ends connections to peers whose certificates are no good any more. Return: how many. */
size_t peers_recheck(Peers *p);
/* Our certificate is another: fetches to come go over new connections. */
void peers_renew(Peers *p);

/**
 * fetch_start() - read one segment into a file
 * @worker_id: whose certificate the peer must have, where TLS is spoken
 * @address: of the peer; one that may not be spoken to is FETCH_FAILED
 * @fd:      the caller's, open until the fetch is done or cancelled
 *
 * Handlers come from the loop.
 */
Fetch *fetch_start(Peers *p, const char *worker_id, const char *address,
                   const Mapreduced__V1__ReadMapOutputRequest *what, int fd,
                   const FetchHandlers *handlers, void *userdata);
Fetch *fetch_cancel(Fetch *f); /* takes NULL, returns NULL */

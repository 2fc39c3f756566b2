/*
 * At most once, the client's end: marks, and trying again.
 *
 *      PENDING ──▶ ACTIVE ──▶ ENDED           an ordinary call
 *         ▲          │ the connection is lost, the call has a mark and may be retried
 *         └─ retrying ◀┘  (after a pause that doubles, until the deadline)
 *
 * A mark is acknowledged when its last reference is gone: nobody can try it again, and each try's
 * done handler has run. The least mark of an identity that lives is thus x-rpc-ack.
 */
#pragma once

#include "rpc/deadline.h"
#include "rpc/metadata.h"
#include "rpc/once.h"

#define ONCE_FIELDS 4u
#define ONCE_FIELD_ROOM ((size_t) 24)
#define ONCE_ROOM (2 * ONCE_FIELD_ROOM + RPC_EPOCH_TEXT_SIZE)
#define RETRY_MIN_USEC (10 * RPC_USEC_PER_MSEC)
#define RETRY_MAX_USEC (2 * RPC_USEC_PER_SEC)

struct EvgrpcClientIdentity {
        unsigned refs;
        char text[RPC_CLIENT_TEXT_SIZE];
        uint64_t next_seq;
        RpcLink marks; /* that live, by seq */
};

struct EvgrpcMark {
        unsigned refs;
        EvgrpcClientIdentity *identity;
        RpcLink link;
        uint64_t seq;
        RpcEpoch epoch; /* of the first try that the server may have seen */
        unsigned tries; /* that it may have seen */
};

/* What a call that may be tried again needs for it. */
typedef struct OnceCall {
        EvgrpcMark *mark; /* NULL: an ordinary call */
        bool retry;
        bool sent;        /* this try counts in mark->tries */
        uint8_t *request; /* packed */
        size_t request_size;
        uint64_t pause_usec; /* before the last retry */
} OnceCall;

/* The metadata of the next try, on a connection to a server of this epoch; @room holds its text.
 * Returns how many fields there are. */
size_t rpc_mark_fields(OnceCall *once, RpcEpoch epoch, char room[static ONCE_ROOM],
                       nghttp2_nv ret[static ONCE_FIELDS]);
/* The last try has certainly not been seen. */
void rpc_mark_unseen(OnceCall *once);

/* Return: 0; -EINVAL for options that do not go together; -ENOMEM. */
int rpc_call_set_mark(EvgrpcCall *call, const EvgrpcCallOptions *options,
                      const ProtobufCMessage *request);
/* It is over, and its handler has run. */
void rpc_call_drop_mark(EvgrpcCall *call);
/* Its connection is lost (or refused it, @unseen). Return: true: it will be tried again. */
bool rpc_call_retry(EvgrpcCall *call, bool unseen);
/* The pause is over. */
void rpc_call_retry_due(RpcDeadline *d, void *userdata);

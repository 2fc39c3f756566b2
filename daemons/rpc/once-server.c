/*
 * At most once, the server's end — which try runs, which waits, which gets a kept reply.
 *
 * A marked call is run by an *execution*: a server call without a stream, which the handler answers
 * as any other. The tries that came over connections only wait for it, so losing one of them, or
 * all, ends nothing. Whatever ends a try (a reset, its deadline, the connection) takes it out of
 * its entry's list.
 */
#include <stdio.h>

#include "rpc/once-server.h"
#include "rpc/server.h"

#define BYTES_DEFAULT ((size_t) 64 << 20)
#define LEASE_DEFAULT_USEC (600 * RPC_USEC_PER_SEC)
#define SWEEP_MIN_USEC (50 * RPC_USEC_PER_MSEC)
#define SWEEP_MAX_USEC (30 * RPC_USEC_PER_SEC)
#define RECORD_VERSION 1u /* of what the store keeps: version, digest, packed reply */
#define RECORD_HEAD ((size_t) 9)

struct RpcOnce {
        EvgrpcServer *server;
        OnceTable table;
        EvgrpcOnceOptions o;
        struct event sweep;
        bool sweeping; /* the timer is set */
};

typedef struct Mark {
        uint8_t id[RPC_CLIENT_ID_SIZE];
        uint64_t seq, ack;
        RpcEpoch epoch;
        bool has_epoch;
        uint64_t digest;
} Mark;

/* ---- Life
 * --------------------------------------------------------------------------------------- */

static void tell_epoch(const RpcOnce *o)
{
        RpcLink *head = &o->server->connections;

        for (RpcLink *l = head->next; l != head; l = l->next)
                rpc_session_tell_epoch(CONTAINER_OF(l, Connection, link)->session, o->table.epoch);
}

static uint64_t sweep_usec(const RpcOnce *o)
{
        return RPC_MIN(RPC_MAX(o->table.lease_usec / 4, SWEEP_MIN_USEC), SWEEP_MAX_USEC);
}

/* A client that was taken out of the table; none of its tries waits. Its running calls hear that
 * nobody can ask for them. */
static void drop(RpcOnce *o, OnceClient *c)
{
        OnceEntry *e;

        while ((e = once_client_take_entry(c))) {
                EvgrpcServerCall *execution = e->execution;

                e->execution = NULL;
                once_entry_free(&o->table, e);
                if (execution) {
                        execution->once = NULL;
                        rpc_server_call_abandon(execution);
                        evgrpc_server_call_unref(execution);
                }
        }
        once_client_free(&o->table, c);
}

static void sweep(RpcOnce *o)
{
        EvgrpcServer *sv = o->server;
        uint64_t now = rpc_now_usec();
        bool dropped = false;
        OnceClient *c;

        sv->refs++; /* a handler that is told may free the server */
        while ((c = once_table_take_expired(&o->table, now))) {
                drop(o, c);
                dropped = true;
        }
        if (dropped && !sv->freed)
                tell_epoch(o);
        rpc_server_unref(sv);
}

static void set_sweep(RpcOnce *o)
{
        struct timeval tv = rpc_timeval(sweep_usec(o));

        if (o->sweeping)
                return;
        o->sweeping = true;
        (void) event_add(&o->sweep, &tv);
}

static void on_sweep(evutil_socket_t fd, short what, void *userdata)
{
        RpcOnce *o = userdata;
        EvgrpcServer *sv = o->server;

        sv->refs++;
        o->sweeping = false;
        sweep(o);
        if (!sv->freed && !rpc_link_is_alone(&o->table.clients))
                set_sweep(o);
        rpc_server_unref(sv);
}

int evgrpc_server_set_once(EvgrpcServer *server, const EvgrpcOnceOptions *options)
{
        static const EvgrpcOnceOptions defaults = {};
        RpcOnce *o;
        size_t limit, client_limit;
        int r;

        if (server->once)
                return -EBUSY;
        o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;
        o->o = options ? *options : defaults;
        limit = o->o.max_bytes > 0 ? o->o.max_bytes : BYTES_DEFAULT;
        client_limit = o->o.max_client_bytes > 0 ? o->o.max_client_bytes : limit / 4;
        r = once_table_init(&o->table, limit, client_limit,
                            o->o.lease_usec > 0 ? o->o.lease_usec : LEASE_DEFAULT_USEC);
        if (r < 0) {
                free(o);
                return r;
        }
        o->server = server;
        (void) event_assign(&o->sweep, server->base, -1, 0, on_sweep, o);
        server->once = o;
        return 0;
}

RpcEpoch rpc_once_epoch(const RpcOnce *o)
{
        return o ? o->table.epoch : (RpcEpoch){};
}

bool rpc_once_has_store(const RpcOnce *o)
{
        return o && o->o.store;
}

void rpc_once_stop(RpcOnce *o)
{
        OnceClient *c;

        if (!o)
                return;
        (void) event_del(&o->sweep);
        while ((c = once_table_take_any(&o->table)))
                drop(o, c);
}

void rpc_once_free(RpcOnce *o)
{
        assert(!o || rpc_link_is_alone(&o->table.clients));
        free(o);
}

/* ---- Kept replies
 * ------------------------------------------------------------------------------- */

static int copy_metadata(RpcMetadata *to, RpcArena *arena, const RpcMetadata *from)
{
        for (size_t i = 0; i < from->count; i++) {
                const EvgrpcMetadataEntry *e = &from->entries[i];
                int r = rpc_metadata_add_encoded(to, arena, e->key, e->value, e->value_size);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* The try is over: with this reply. */
static void deliver(EvgrpcServerCall *call, const OnceReply *reply)
{
        rpc_once_leave(call);
        if (call->over)
                return;
        if (copy_metadata(&call->initial, &call->arena, &reply->initial) < 0 ||
            copy_metadata(&call->trailing, &call->arena, &reply->trailing) < 0) {
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED,
                                          "No memory for the reply's metadata");
                return;
        }
        if (reply->message)
                call->message = rpc_arena_dup(&call->arena, reply->message, strlen(reply->message));
        rpc_server_call_answer(call, reply->code, reply->packed, reply->size);
}

int rpc_once_send(EvgrpcServerCall *execution, const ProtobufCMessage *message)
{
        OnceReply *reply = &execution->once->reply;
        size_t size;

        if (reply->packed)
                return -EPIPE; /* unary */
        size = protobuf_c_message_get_packed_size(message);
        reply->packed = malloc(size + 1);
        if (!reply->packed)
                return -ENOMEM;
        reply->size = protobuf_c_message_pack(message, reply->packed);
        return 1;
}

static void keep(OnceEntry *e, const EvgrpcServerCall *execution)
{
        OnceReply *reply = &e->reply;

        reply->code = execution->code;
        if (execution->message)
                reply->message =
                        rpc_arena_dup(&e->arena, execution->message, strlen(execution->message));
        if (copy_metadata(&reply->initial, &e->arena, &execution->initial) < 0 ||
            copy_metadata(&reply->trailing, &e->arena, &execution->trailing) < 0) {
                reply->initial = reply->trailing = (RpcMetadata){};
                reply->code = EVGRPC_ABORTED;
                reply->message = "The call was executed, but there was no memory for its reply";
        }
}

void rpc_once_finished(EvgrpcServerCall *execution)
{
        RpcOnce *o = execution->server->once;
        OnceEntry *e = execution->once;

        if (!e)
                return;
        execution->once = NULL;
        keep(e, execution);
        while (!rpc_link_is_alone(&e->waiters))
                deliver(CONTAINER_OF(e->waiters.next, EvgrpcServerCall, once_link), &e->reply);
        once_client_touch(&o->table, e->client, rpc_now_usec());
        if (!once_entry_settle(&o->table, e))
                once_entry_free(&o->table, e);
        evgrpc_server_call_unref(execution);
}

static void wait_for(EvgrpcServerCall *call, OnceEntry *e)
{
        call->once = e;
        rpc_link_append(&e->waiters, &call->once_link);
        e->client->waiting++;
}

void rpc_once_leave(EvgrpcServerCall *call)
{
        OnceEntry *e = call->once;

        if (!e || call->origin)
                return;
        call->once = NULL;
        rpc_link_remove(&call->once_link);
        if (--e->client->waiting == 0)
                once_client_touch(&call->server->once->table, e->client, rpc_now_usec());
}

/* ---- The store
 * ---------------------------------------------------------------------------------- */

static EvgrpcOnceKey key_of(const EvgrpcServerCall *call, const Mark *m,
                            char text[static RPC_CLIENT_TEXT_SIZE])
{
        rpc_client_id_format(m->id, text);
        return (EvgrpcOnceKey){.principal = evgrpc_server_call_peer_name(call),
                               .client = text,
                               .seq = m->seq,
                               .acknowledged = m->ack};
}

static void digest_write(uint8_t *at, uint64_t digest)
{
        for (unsigned i = 0; i < 8; i++)
                at[i] = (uint8_t) (digest >> (56 - 8 * i));
}

int evgrpc_server_call_save(EvgrpcServerCall *call, const ProtobufCMessage *reply)
{
        const EvgrpcOnceOptions *o;
        OnceEntry *e = call->once;
        char text[RPC_CLIENT_TEXT_SIZE];
        EvgrpcOnceKey key;
        uint8_t *record;
        size_t size;
        int r;

        if (call->over)
                return -EPIPE;
        if (!call->origin)
                return 0; /* not marked: nobody will ask */
        o = &call->server->once->o;
        if (!call->method->method->stored || reply->descriptor != call->method->descriptor->output)
                return -EINVAL;
        size = RECORD_HEAD + protobuf_c_message_get_packed_size(reply);
        record = malloc(size);
        if (!record)
                return -ENOMEM;
        record[0] = RECORD_VERSION;
        digest_write(record + 1, e->digest);
        (void) protobuf_c_message_pack(reply, record + RECORD_HEAD);
        rpc_client_id_format(e->client->id, text);
        key = (EvgrpcOnceKey){.principal = e->client->principal,
                              .client = text,
                              .seq = e->seq,
                              .acknowledged = e->client->ack};
        r = o->store->save(&key, record, size, o->userdata);
        free(record);
        return r < 0 ? r : 0;
}

static bool record_is_of(const uint8_t *record, size_t size, uint64_t digest)
{
        uint8_t want[8];

        digest_write(want, digest);
        return size >= RECORD_HEAD && record[0] == RECORD_VERSION &&
               memcmp(record + 1, want, sizeof(want)) == 0;
}

static void refuse_other(EvgrpcServerCall *call)
{
        evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT,
                                  "Another call was made with this x-rpc-seq");
}

static void refuse_unknown(EvgrpcServerCall *call, const char *why)
{
        evgrpc_server_call_finish(call, EVGRPC_ABORTED, "Outcome unknown: %s", why);
}

/* Return: true: the call is answered; false: it has never taken effect. */
static bool answer_from_store(RpcOnce *o, EvgrpcServerCall *call, const Mark *m)
{
        char text[RPC_CLIENT_TEXT_SIZE];
        EvgrpcOnceKey key = key_of(call, m, text);
        _cleanup_(rpc_freep) void *record = NULL;
        OnceReply reply = {};
        size_t size = 0;
        int r = o->o.store->load(&key, &record, &size, o->o.userdata);

        if (r == 0)
                return false;
        if (r == -ESTALE)
                refuse_unknown(call, "the stored reply is no longer kept");
        else if (r < 0)
                refuse_unknown(call, "the stored replies cannot be read");
        else if (!record_is_of(record, size, m->digest))
                refuse_other(call);
        else {
                reply.packed = (uint8_t *) record + RECORD_HEAD;
                reply.size = size - RECORD_HEAD;
                deliver(call, &reply);
        }
        return true;
}

/* ---- Taking a call
 * ------------------------------------------------------------------------------ */

static uint64_t digest_of(const EvgrpcServerCall *call, const uint8_t *data, size_t size)
{
        /* Not secret: it must be the same in the next process, and only its own client can be
         * fooled. */
        uint64_t key[2] = {
                0, rpc_siphash((uint64_t[2]){}, call->method->path, call->method->path_size)};

        return rpc_siphash(key, data, size);
}

static int parse_number(const EvgrpcMetadata *md, const char *key, uint64_t *ret)
{
        const EvgrpcMetadataEntry *e = evgrpc_metadata_find(md, key);

        return e ? rpc_seq_parse(e->value, e->value_size, ret) : -ENOENT;
}

static bool parse_mark(const EvgrpcMetadata *md, const EvgrpcMetadataEntry *client, Mark *ret)
{
        const EvgrpcMetadataEntry *epoch = evgrpc_metadata_find(md, "x-rpc-epoch");
        Mark m = {};
        int r;

        if (rpc_client_id_parse(client->value, client->value_size, m.id) < 0 ||
            parse_number(md, "x-rpc-seq", &m.seq) < 0)
                return false;
        r = parse_number(md, "x-rpc-ack", &m.ack);
        if ((r < 0 && r != -ENOENT) || m.ack > m.seq)
                return false;
        if (epoch) {
                m.has_epoch = true;
                if (rpc_epoch_parse(epoch->value, epoch->value_size, &m.epoch) < 0)
                        return false;
        }
        *ret = m;
        return true;
}

/* Whether a call that is not remembered can have been here before and been forgotten. */
static const char *why_unknown(const RpcOnce *o, const OnceClient *c, const Mark *m)
{
        const RpcEpoch *now = &o->table.epoch;
        uint32_t known_since = c ? c->generation : now->generation;

        if (!m->has_epoch)
                return NULL; /* its first try, by a client that knows no epoch yet */
        if (m->epoch.process == 0)
                return "an earlier try may have been made to another process of the server";
        if (m->epoch.process != now->process)
                return "the server was restarted since the first try";
        /* A client's generation cannot be ahead of ours; the numbers may wrap. */
        if ((int32_t) (m->epoch.generation - known_since) < 0)
                return "the client's lease is over";
        return NULL;
}

static int make_entry(RpcOnce *o, EvgrpcServerCall *call, OnceClient *c, const Mark *m,
                      OnceEntry **ret)
{
        OnceTable *t = &o->table;
        int r = 0;

        if (!c)
                r = once_table_add(t, evgrpc_server_call_peer_name(call), m->id, rpc_now_usec(),
                                   &c);
        if (r < 0)
                return r;
        set_sweep(o);
        once_client_acknowledge(t, c, m->ack);
        return once_client_add(t, c, m->seq, m->digest, ret);
}

static void take_new(RpcOnce *o, EvgrpcServerCall *call, OnceClient *c, const Mark *m,
                     const uint8_t *data, size_t size)
{
        const char *unknown = why_unknown(o, c, m);
        EvgrpcServerCall *x;
        OnceEntry *e;
        int r;

        if (unknown && !call->method->method->stored) {
                refuse_unknown(call, unknown);
                return;
        }
        if (unknown && answer_from_store(o, call, m))
                return;
        x = rpc_server_call_new_execution(call);
        r = x ? make_entry(o, call, c, m, &e) : -ENOMEM;
        if (r < 0) {
                evgrpc_server_call_unref(x);
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED, "%s",
                                          r == -ENOSPC ? "The table of kept replies is full"
                                                       : "Out of memory");
                return;
        }
        x->once = e;
        e->execution = x;
        wait_for(call, e);
        rpc_server_call_run(x, data, size);
}

static void take(RpcOnce *o, EvgrpcServerCall *call, const Mark *m, const uint8_t *data,
                 size_t size)
{
        OnceTable *t = &o->table;
        OnceClient *c = once_table_find(t, evgrpc_server_call_peer_name(call), m->id);
        OnceEntry *e = NULL;

        if (c) {
                once_client_touch(t, c, rpc_now_usec());
                once_client_acknowledge(t, c, m->ack);
                e = once_client_find(c, m->seq);
        }
        if (c && m->seq < c->ack)
                evgrpc_server_call_finish(call, EVGRPC_FAILED_PRECONDITION,
                                          "This call's reply was acknowledged");
        else if (!e)
                take_new(o, call, c, m, data, size);
        else if (e->digest != m->digest)
                refuse_other(call);
        else if (e->execution)
                wait_for(call, e);
        else
                deliver(call, &e->reply);
}

bool rpc_once_take(EvgrpcServerCall *call, const uint8_t *data, size_t size)
{
        const EvgrpcMetadata *md = evgrpc_server_call_metadata(call);
        const EvgrpcMetadataEntry *client = evgrpc_metadata_find(md, "x-rpc-client");
        RpcOnce *o = call->server->once;
        char epoch[RPC_EPOCH_TEXT_SIZE];
        Mark m;

        if (!client)
                return false;
        if (!call->method->method->at_most_once) {
                evgrpc_server_call_finish(call, EVGRPC_UNIMPLEMENTED,
                                          "This method keeps no replies (x-rpc-client)");
                return true;
        }
        (void) evgrpc_server_call_add_initial_metadata(call, "x-rpc-epoch", epoch,
                                                       rpc_epoch_format(o->table.epoch, epoch));
        if (!parse_mark(md, client, &m)) {
                evgrpc_server_call_finish(
                        call, EVGRPC_INVALID_ARGUMENT,
                        "The metadata x-rpc-client, -seq, -ack or -epoch is malformed");
                return true;
        }
        m.digest = digest_of(call, data, size);
        evgrpc_server_call_ref(call);
        take(o, call, &m, data, size);
        evgrpc_server_call_unref(call);
        return true;
}

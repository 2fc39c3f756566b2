/*
 * Channel — who waits for what: calls for a connection, for the peer's room, for their handlers.
 */
#include <stdio.h>

#include "rpc/client.h"

static size_t or_default(size_t value, size_t fallback)
{
        return value > 0 ? value : fallback;
}

static void on_deferred(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;
        RpcLink *last = ch->ended.prev; /* what handlers add is for the next round */
        bool more = !rpc_link_is_alone(&ch->ended);

        ch->refs++;
        while (more && !ch->freed) {
                RpcLink *l = ch->ended.next;

                more = l != last;
                rpc_call_done(CONTAINER_OF(l, EvgrpcCall, link));
        }
        while (!rpc_link_is_alone(&ch->resumed)) {
                EvgrpcCall *call = CONTAINER_OF(ch->resumed.next, EvgrpcCall, resume_link);

                rpc_link_remove(&call->resume_link);
                rpc_stream_resume(&call->stream);
        }
        rpc_channel_unref(ch);
}

static void set_options(EvgrpcChannel *ch, const EvgrpcChannelOptions *options)
{
        if (options)
                ch->o = *options;
        ch->o.max_message_bytes = or_default(ch->o.max_message_bytes, 4 << 20);
        ch->o.window_bytes = or_default(ch->o.window_bytes, 1 << 20);
        ch->o.max_outstanding_calls = or_default(ch->o.max_outstanding_calls, 131072);
        ch->o.connect_timeout_usec = or_default(ch->o.connect_timeout_usec, 10 * RPC_USEC_PER_SEC);
        ch->o.keepalive_timeout_usec =
                or_default(ch->o.keepalive_timeout_usec, 20 * RPC_USEC_PER_SEC);
        ch->o.backoff_max_usec = or_default(ch->o.backoff_max_usec, 30 * RPC_USEC_PER_SEC);
}

/* Whom the server has to be. */
static int set_tls(EvgrpcChannel *ch)
{
        const char *name = ch->o.tls_server_name ? ch->o.tls_server_name : ch->address.host;

        ch->o.tls_server_name = NULL; /* the caller's */
        if (!ch->o.tls)
                return 0;
        if (strlen(name) > RPC_HOST_MAX || name[0] == 0 || strcmp(name, "*") == 0)
                return -EINVAL;
        (void) snprintf(ch->tls_server_name, sizeof(ch->tls_server_name), "%s", name);
        return 0;
}

int evgrpc_channel_new(struct event_base *base, const char *target,
                       const EvgrpcChannelOptions *options, EvgrpcChannel **ret)
{
        EvgrpcChannel *ch;
        int r;

        assert(base);
        assert(target);
        assert(ret);

        if (strlen(target) >= RPC_ADDRESS_TEXT_MAX)
                return -EINVAL;
        ch = calloc(1, sizeof(*ch));
        if (!ch)
                return -ENOMEM;
        ch->read_buffer = malloc(RPC_READ_SIZE);
        if (!ch->read_buffer) {
                free(ch);
                return -ENOMEM;
        }
        r = rpc_address_parse(target, &ch->address);
        if (r >= 0) {
                set_options(ch, options);
                r = set_tls(ch);
        }
        if (r < 0) {
                free(ch->read_buffer);
                free(ch);
                return r;
        }
        ch->refs = 1;
        ch->base = base;
        ch->fd = -EBADF;
        ch->random = rpc_now_usec() ^ (uintptr_t) ch;
        (void) snprintf(ch->target, sizeof(ch->target), "%s", target);
        if (ch->o.tls)
                (void) evgrpc_tls_ref(ch->o.tls);
        ch->budget.limit = RPC_MAX(RPC_CONNECTION_GATHER_BYTES, 2 * ch->o.max_message_bytes);
        rpc_link_init(&ch->draining);
        rpc_link_init(&ch->pending);
        rpc_link_init(&ch->active);
        rpc_link_init(&ch->ended);
        rpc_link_init(&ch->resumed);
        rpc_link_init(&ch->retrying);
        rpc_deadlines_init(&ch->retries, base, rpc_call_retry_due, ch);
        rpc_deadlines_init(&ch->deadlines, base, rpc_call_expired, ch);
        rpc_spin_init(&ch->spin, base, ch->o.spin_usec);
        (void) event_assign(&ch->deferred_event, base, -1, 0, on_deferred, ch);
        (void) event_assign(&ch->timer, base, -1, 0, NULL, ch);
        (void) event_assign(&ch->connect_event, base, -1, 0, NULL, ch);
        *ret = ch;
        return 0;
}

static void free_services(EvgrpcChannel *ch)
{
        while (ch->services) {
                ServicePaths *sp = ch->services;

                ch->services = sp->next;
                for (unsigned i = 0; i < sp->service->n_methods; i++)
                        free(sp->paths[i]);
                free(sp);
        }
}

EvgrpcChannel *rpc_channel_unref(EvgrpcChannel *ch)
{
        if (--ch->refs > 0)
                return NULL;
        while (ch->call_pool) {
                EvgrpcCall *call = ch->call_pool;

                ch->call_pool = call->pool_next;
                free(call);
        }
        rpc_block_pool_done(&ch->blocks);
        free_services(ch);
        evgrpc_tls_unref(ch->o.tls);
        free(ch->read_buffer);
        free(ch);
        return NULL;
}

static void end_all(RpcLink *calls)
{
        while (!rpc_link_is_alone(calls))
                rpc_call_end(CONTAINER_OF(calls->next, EvgrpcCall, link), EVGRPC_CANCELLED,
                             "The channel was freed", false);
}

EvgrpcChannel *evgrpc_channel_free(EvgrpcChannel *channel)
{
        EvgrpcChannel *ch = channel;

        if (!ch)
                return NULL;
        assert(!ch->freed);
        ch->freed = true;
        end_all(&ch->pending);
        end_all(&ch->active);
        end_all(&ch->retrying);
        rpc_channel_hang_up(ch);
        while (!rpc_link_is_alone(&ch->draining))
                rpc_session_close(CONTAINER_OF(ch->draining.next, RpcSession, link),
                                  "The channel was freed");
        (void) event_del(&ch->deferred_event);
        while (!rpc_link_is_alone(&ch->ended))
                rpc_call_done(CONTAINER_OF(ch->ended.next, EvgrpcCall, link));
        rpc_deadlines_done(&ch->deadlines);
        rpc_deadlines_done(&ch->retries);
        rpc_spin_done(&ch->spin);
        return rpc_channel_unref(ch);
}

void evgrpc_channel_connect(EvgrpcChannel *channel)
{
        channel->wanted = true;
        if (channel->state == CHANNEL_IDLE)
                rpc_channel_dial(channel);
}

bool evgrpc_channel_is_connected(const EvgrpcChannel *channel)
{
        return channel->state == CHANNEL_READY;
}

static bool recheck(EvgrpcChannel *ch, RpcSession *s)
{
        RpcTls *t = s->transport.tls;

        if (!t || rpc_tls_recheck(t, ch->o.tls))
                return false;
        rpc_session_fail(s, t->error);
        return true;
}

bool evgrpc_channel_recheck(EvgrpcChannel *channel)
{
        RpcLink *l = channel->draining.next;
        bool ended = channel->session && recheck(channel, channel->session);

        while (l != &channel->draining) {
                RpcSession *s = CONTAINER_OF(l, RpcSession, link);

                l = l->next;
                ended |= recheck(channel, s);
        }
        return ended;
}

void rpc_channel_defer(EvgrpcChannel *ch)
{
        /* A timer of zero, not event_active(): that one would run again before any socket is looked
         * at, and a handler that starts a call which fails at once would keep the loop for
         * itself. */
        (void) event_add(&ch->deferred_event, &(struct timeval){});
}

bool rpc_channel_has_room(EvgrpcChannel *ch)
{
        return ch->state == CHANNEL_READY && !ch->session->dead &&
               ch->session->stream_count < rpc_session_peer_streams(ch->session);
}

void rpc_channel_enqueue(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;

        if (rpc_link_is_alone(&ch->pending) && rpc_channel_has_room(ch)) {
                rpc_call_submit(call);
                return;
        }
        rpc_link_append(&ch->pending, &call->link);
        if (ch->state == CHANNEL_IDLE)
                rpc_channel_dial(ch);
        else if (ch->state == CHANNEL_BACKOFF) {
                ch->wanted = true;
                if (!call->wait_for_ready)
                        rpc_call_end(call, EVGRPC_UNAVAILABLE, ch->error, false);
        }
}

void rpc_channel_submit_pending(EvgrpcChannel *ch)
{
        while (!rpc_link_is_alone(&ch->pending) && rpc_channel_has_room(ch)) {
                EvgrpcCall *call = CONTAINER_OF(ch->pending.next, EvgrpcCall, link);

                rpc_link_remove(&call->link);
                rpc_call_submit(call);
        }
}

/* No connection: those who do not wait for one end. */
void rpc_channel_fail_pending(EvgrpcChannel *ch)
{
        RpcLink *l = ch->pending.next;

        while (l != &ch->pending) {
                EvgrpcCall *call = CONTAINER_OF(l, EvgrpcCall, link);

                l = l->next;
                if (!call->wait_for_ready)
                        rpc_call_end(call, EVGRPC_UNAVAILABLE, ch->error, false);
        }
}

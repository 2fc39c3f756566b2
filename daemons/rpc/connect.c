/*
 * Connecting — from an address to a connection whose peer speaks HTTP/2, and again after a loss.
 *
 *               dial                                       settings came
 *      IDLE ──▶ RESOLVING ──▶ CONNECTING ──▶ SETTLING ──────────────▶ READY
 *       ▲           └──────────────┴─────────────┘ failed               │
 *       │                          ▼                                    │
 *       ├──────────────────── BACKOFF 100 ms, 200 ms, …                 │
 *       └─────────────────────────────────────────── lost, or GOAWAY ───┘
 *
 * A peer counts as connected when its SETTINGS arrived, its first word in HTTP/2: a port that
 * accepts and stays silent, or speaks something else, is a failed attempt and not a lost call.
 * Backoff after "gRPC Connection Backoff Protocol", from 100 ms by a factor of 2 with ±20 % of
 * chance, so that many clients of one dead server do not return at the same instant.
 */
#include <event2/dns.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#include "rpc/client.h"

#define BACKOFF_MIN_USEC (100 * RPC_USEC_PER_MSEC)

static void try_next_address(EvgrpcChannel *ch);

static void tell_state(EvgrpcChannel *ch, bool connected, const char *error)
{
        if (ch->o.on_state && !ch->freed)
                ch->o.on_state(ch, connected, error, ch->o.userdata);
}

static void set_timer(EvgrpcChannel *ch, event_callback_fn handler, uint64_t usec)
{
        struct timeval tv = rpc_timeval(usec);

        (void) event_del(&ch->timer);
        (void) event_assign(&ch->timer, ch->base, -1, 0, handler, ch);
        (void) event_add(&ch->timer, &tv);
}

static void drop_attempt(EvgrpcChannel *ch)
{
        (void) event_del(&ch->timer);
        (void) event_del(&ch->connect_event);
        if (ch->fd >= 0)
                (void) close(ch->fd);
        ch->fd = -EBADF;
        if (ch->dns_request)
                evdns_getaddrinfo_cancel(ch->dns_request);
        ch->dns_request = NULL;
}

static void on_backoff_over(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;

        ch->state = CHANNEL_IDLE;
        if (ch->wanted || !rpc_link_is_alone(&ch->pending))
                rpc_channel_dial(ch);
}

uint64_t rpc_channel_with_jitter(EvgrpcChannel *ch, uint64_t usec)
{
        /* Marsaglia's xorshift64 (2003): chance enough to spread clients. */
        ch->random ^= ch->random << 13;
        ch->random ^= ch->random >> 7;
        ch->random ^= ch->random << 17;
        return usec * 4 / 5 + (ch->random % 1024) * usec * 2 / 5 / 1024;
}

static void attempt_failed(EvgrpcChannel *ch, const char *reason)
{
        drop_attempt(ch);
        (void) snprintf(ch->error, sizeof(ch->error), "Failed to connect to %.120s: %.300s",
                        ch->target, reason);
        ch->state = CHANNEL_BACKOFF;
        ch->wanted = false;
        ch->backoff_usec = ch->backoff_usec == 0 ? BACKOFF_MIN_USEC : ch->backoff_usec * 2;
        ch->backoff_usec = RPC_MIN(ch->backoff_usec, ch->o.backoff_max_usec);
        set_timer(ch, on_backoff_over, rpc_channel_with_jitter(ch, ch->backoff_usec));
        rpc_channel_fail_pending(ch);
        tell_state(ch, false, ch->error);
}

static void on_attempt_timeout(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;
        const char *missing = "No connection";
        char reason[64];

        if (ch->state == CHANNEL_SETTLING)
                missing = rpc_transport_is_shaking_hands(&ch->session->transport)
                                  ? "No TLS handshake"
                                  : "No HTTP/2 settings";
        (void) snprintf(reason, sizeof(reason), "%s within %llu ms", missing,
                        (unsigned long long) (ch->o.connect_timeout_usec / 1000));
        if (ch->state == CHANNEL_SETTLING)
                rpc_session_close(ch->session, reason); /* comes back as attempt_failed() */
        else
                attempt_failed(ch, reason);
}

static void connected(EvgrpcChannel *ch)
{
        RpcSessionOptions o = {
                .ops = &rpc_client_ops,
                .owner = ch,
                .max_message_bytes = ch->o.max_message_bytes,
                .window_bytes = ch->o.window_bytes,
                .max_header_bytes = 64 * 1024,
                .keepalive_usec = ch->o.keepalive_usec,
                .keepalive_timeout_usec = ch->o.keepalive_timeout_usec,
                .tls = ch->o.tls,
                .tls_server_name = ch->tls_server_name,
                .receive_timestamps = ch->o.receive_timestamps,
                .send_timestamps = ch->o.send_timestamps,
                .pool = &ch->blocks,
                .budget = &ch->budget,
                .spin = &ch->spin,
                .read_buffer = ch->read_buffer,
        };
        int fd = ch->fd, r;

        (void) event_del(&ch->connect_event);
        ch->fd = -EBADF;
        r = rpc_session_new(ch->base, fd, &o, &ch->session);
        if (r < 0)
                attempt_failed(ch, strerror(-r));
        else
                ch->state = CHANNEL_SETTLING;
}

static void address_failed(EvgrpcChannel *ch, int error)
{
        if (ch->fd >= 0)
                (void) close(ch->fd);
        ch->fd = -EBADF;
        (void) snprintf(ch->error, sizeof(ch->error), "%s", strerror(error));
        try_next_address(ch);
}

static void on_connect(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;
        int error = 0;
        socklen_t size = sizeof(error);

        if (getsockopt((int) fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        if (error != 0)
                address_failed(ch, error);
        else
                connected(ch);
}

static void try_next_address(EvgrpcChannel *ch)
{
        const RpcSockaddr *a;

        if (ch->address_next >= ch->address_count) {
                char reason[128];

                (void) snprintf(reason, sizeof(reason), "%.120s", ch->error);
                attempt_failed(ch, reason);
                return;
        }
        a = &ch->addresses[ch->address_next];
        ch->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (ch->fd >= 0 && ch->o.receive_timestamps)
                rpc_timestamps_enable(ch->fd);
        if (ch->fd < 0 || (connect(ch->fd, &a->sa, ch->address_sizes[ch->address_next++]) < 0 &&
                           errno != EINPROGRESS)) {
                if (ch->fd < 0)
                        ch->address_next++;
                address_failed(ch, errno);
                return;
        }
        /* Even one that is made at once is reported by the loop, so that no handler runs in
         * here. */
        (void) event_assign(&ch->connect_event, ch->base, ch->fd, EV_WRITE, on_connect, ch);
        if (event_add(&ch->connect_event, NULL) < 0)
                address_failed(ch, ENOMEM);
}

static void on_resolved(int error, struct evutil_addrinfo *found, void *userdata)
{
        EvgrpcChannel *ch = userdata;

        if (error == EVUTIL_EAI_CANCEL)
                return; /* by drop_attempt(), and the channel may be gone */
        ch->dns_request = NULL;
        ch->address_count = ch->address_next = 0;
        for (struct evutil_addrinfo *ai = found; ai && ch->address_count < RPC_ADDRESSES_MAX;
             ai = ai->ai_next) {
                memcpy(&ch->addresses[ch->address_count], ai->ai_addr, ai->ai_addrlen);
                ch->address_sizes[ch->address_count++] = ai->ai_addrlen;
        }
        if (found)
                evutil_freeaddrinfo(found);
        if (ch->address_count == 0) {
                attempt_failed(ch, error ? evutil_gai_strerror(error) : "The name has no address");
                return;
        }
        ch->state = CHANNEL_CONNECTING;
        try_next_address(ch);
}

static void on_resolve_deferred(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;
        struct evutil_addrinfo hints = {
                .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};

        set_timer(ch, on_attempt_timeout, ch->o.connect_timeout_usec);
        if (!ch->dns)
                ch->dns = evdns_base_new(ch->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                           EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        if (!ch->dns) { /* no name server: /etc/hosts may do */
                ch->dns = evdns_base_new(ch->base, 0);
                if (ch->dns)
                        (void) evdns_base_load_hosts(ch->dns, "/etc/hosts");
        }
        if (!ch->dns) {
                attempt_failed(ch, "No resolver");
                return;
        }
        ch->dns_request = evdns_getaddrinfo(ch->dns, ch->address.host, ch->address.port, &hints,
                                            on_resolved, ch);
}

static void on_dial(evutil_socket_t fd, short what, void *userdata)
{
        EvgrpcChannel *ch = userdata;

        set_timer(ch, on_attempt_timeout, ch->o.connect_timeout_usec);
        try_next_address(ch);
}

void rpc_channel_dial(EvgrpcChannel *ch)
{
        assert(ch->state == CHANNEL_IDLE);

        ch->wanted = false;
        ch->error[0] = 0;
        /* From the loop: a failure that is known at once must not call a handler from in here. */
        if (ch->address.size == 0) {
                ch->state = CHANNEL_RESOLVING;
                set_timer(ch, on_resolve_deferred, 0);
                return;
        }
        ch->addresses[0] = ch->address.sockaddr;
        ch->address_sizes[0] = ch->address.size;
        ch->address_count = 1;
        ch->address_next = 0;
        ch->state = CHANNEL_CONNECTING;
        set_timer(ch, on_dial, 0);
}

void rpc_channel_hang_up(EvgrpcChannel *ch)
{
        RpcSession *s = ch->session;

        drop_attempt(ch);
        if (s)
                rpc_session_close(s, "Hung up");
        if (ch->dns)
                evdns_base_free(ch->dns, 0);
        ch->dns = NULL;
        ch->state = CHANNEL_IDLE;
}

void rpc_channel_settled(EvgrpcChannel *ch)
{
        ch->refs++;
        if (ch->state == CHANNEL_SETTLING) {
                (void) event_del(&ch->timer);
                ch->backoff_usec = 0;
                ch->state = CHANNEL_READY;
                tell_state(ch, true, NULL);
                if (ch->outdated && !ch->freed)
                        evgrpc_channel_renew(ch);
        }
        if (!ch->freed)
                rpc_channel_submit_pending(ch);
        rpc_channel_unref(ch);
}

static void went_idle(EvgrpcChannel *ch, const char *reason)
{
        ch->refs++;
        ch->state = CHANNEL_IDLE;
        tell_state(ch, false, reason);
        /* Calls that have never left may use the next connection. */
        if (!ch->freed && ch->state == CHANNEL_IDLE && !rpc_link_is_alone(&ch->pending))
                rpc_channel_dial(ch);
        rpc_channel_unref(ch);
}

/* The session is draining: who waits, and who comes, takes the next one. */
static void move_on(EvgrpcChannel *ch)
{
        ch->refs++;
        ch->state = CHANNEL_IDLE;
        rpc_channel_dial(ch);
        if (ch->o.on_left)
                ch->o.on_left(ch, ch->o.userdata);
        rpc_channel_unref(ch);
}

void evgrpc_channel_renew(EvgrpcChannel *channel)
{
        RpcSession *s = channel->session;

        /* A handshake that has begun has shown the old certificate. */
        channel->outdated = channel->state == CHANNEL_SETTLING;
        if (channel->state != CHANNEL_READY)
                return;
        channel->session = NULL;
        rpc_link_append(&channel->draining, &s->link);
        rpc_session_leave(s);
        if (channel->o.stay_connected)
                move_on(channel);
        else
                went_idle(channel, "The connection is made anew");
}

void rpc_channel_goaway(EvgrpcChannel *ch, RpcSession *s)
{
        if (s != ch->session)
                return;
        if (ch->state == CHANNEL_SETTLING) {
                rpc_session_close(s, "The peer said goodbye");
                return;
        }
        ch->session = NULL;
        rpc_link_append(&ch->draining, &s->link);
        if (ch->o.stay_connected)
                move_on(ch);
        else
                went_idle(ch, "The peer said goodbye");
}

void rpc_channel_session_closed(EvgrpcChannel *ch, RpcSession *s, const char *reason)
{
        if (s != ch->session)
                rpc_link_remove(&s->link); /* was draining */
        else {
                ch->session = NULL;
                if (ch->state == CHANNEL_SETTLING && !ch->freed)
                        attempt_failed(ch, reason);
                else if (ch->state == CHANNEL_READY)
                        went_idle(ch, reason);
        }
        rpc_session_unref(s);
}

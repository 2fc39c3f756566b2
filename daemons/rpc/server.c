/*
 * Server — listening sockets and the connections they bring.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/server.h"
#include "rpc/tls.h"

#define ACCEPTS_PER_ROUND 64u /* connections taken before others have their turn */

static size_t or_default(size_t value, size_t fallback)
{
        return value > 0 ? value : fallback;
}

int evgrpc_server_new(struct event_base *base, const EvgrpcServerOptions *options,
                      EvgrpcServer **ret)
{
        EvgrpcServer *sv;

        assert(base);
        assert(ret);

        if (options && options->tls && !options->tls->has_certificate)
                return -EINVAL;
        sv = calloc(1, sizeof(*sv));
        if (!sv)
                return -ENOMEM;
        sv->read_buffer = malloc(RPC_READ_SIZE);
        if (!sv->read_buffer) {
                free(sv);
                return -ENOMEM;
        }
        sv->refs = 1;
        sv->base = base;
        if (options)
                sv->o = *options;
        sv->o.max_message_bytes = or_default(sv->o.max_message_bytes, 4 << 20);
        sv->o.window_bytes = or_default(sv->o.window_bytes, 1 << 20);
        sv->o.max_connections = or_default(sv->o.max_connections, 16384);
        sv->o.max_streams = (uint32_t) or_default(sv->o.max_streams, 131072);
        sv->o.max_header_bytes = or_default(sv->o.max_header_bytes, 16 << 10);
        sv->o.keepalive_timeout_usec =
                or_default(sv->o.keepalive_timeout_usec, 20 * RPC_USEC_PER_SEC);
        sv->o.handshake_timeout_usec =
                or_default(sv->o.handshake_timeout_usec, 10 * RPC_USEC_PER_SEC);
        if (sv->o.tls)
                (void) evgrpc_tls_ref(sv->o.tls);
        sv->o.header_timeout_usec = or_default(sv->o.header_timeout_usec, 10 * RPC_USEC_PER_SEC);
        sv->budget.limit = RPC_MAX(RPC_SERVER_GATHER_BYTES, 8 * sv->o.max_message_bytes);
        rpc_link_init(&sv->connections);
        rpc_deadlines_init(&sv->deadlines, base, rpc_server_call_expired, sv);
        rpc_spin_init(&sv->spin, base, sv->o.spin_usec);
        rpc_arena_init(&sv->arena, NULL, 0, 64 * 1024 + 16 * sv->o.max_message_bytes);
        *ret = sv;
        return 0;
}

EvgrpcServer *rpc_server_unref(EvgrpcServer *sv)
{
        if (--sv->refs > 0)
                return NULL;
        while (sv->call_pool) {
                EvgrpcServerCall *call = sv->call_pool;

                sv->call_pool = call->pool_next;
                free(call);
        }
        rpc_server_free_methods(sv);
        rpc_block_pool_done(&sv->blocks);
        rpc_arena_done(&sv->arena);
        rpc_once_free(sv->once);
        evgrpc_tls_unref(sv->o.tls);
        free(sv->read_buffer);
        free(sv);
        return NULL;
}

/* Only the file we made: another server may have replaced it since. */
static void unlink_socket(const Listener *l)
{
        struct stat st;

        if (l->unlink_path[0] && lstat(l->unlink_path, &st) == 0 &&
            (uint64_t) st.st_ino == l->inode)
                (void) unlink(l->unlink_path);
}

static void close_listeners(EvgrpcServer *sv)
{
        while (sv->listeners) {
                Listener *l = sv->listeners;

                sv->listeners = l->next;
                (void) event_del(&l->event);
                (void) event_del(&l->pause);
                unlink_socket(l);
                (void) close(l->fd);
                free(l);
        }
}

EvgrpcServer *evgrpc_server_free(EvgrpcServer *server)
{
        if (!server)
                return NULL;
        assert(!server->freed);
        server->freed = true;
        close_listeners(server);
        while (!rpc_link_is_alone(&server->connections)) {
                Connection *c = CONTAINER_OF(server->connections.next, Connection, link);

                rpc_session_close(c->session, "The server was freed");
        }
        rpc_once_stop(server->once);
        rpc_deadlines_done(&server->deadlines);
        rpc_spin_done(&server->spin);
        return rpc_server_unref(server);
}

void evgrpc_server_shutdown(EvgrpcServer *server)
{
        server->closing = true;
        close_listeners(server);
        evgrpc_server_renew(server);
}

void evgrpc_server_renew(EvgrpcServer *server)
{
        RpcLink *l = server->connections.next;

        while (l != &server->connections) {
                Connection *c = CONTAINER_OF(l, Connection, link);

                l = l->next;
                rpc_session_shutdown(c->session);
        }
}

size_t evgrpc_server_connection_count(const EvgrpcServer *server)
{
        return server->connection_count;
}

size_t evgrpc_server_recheck(EvgrpcServer *server)
{
        RpcLink *head = &server->connections, *l = head->next, *next;
        size_t ended = 0;

        for (; server->o.tls && l != head; l = next) {
                Connection *c = CONTAINER_OF(l, Connection, link);
                RpcTls *t = c->session->transport.tls;

                next = l->next;
                if (rpc_tls_recheck(t, server->o.tls))
                        continue;
                rpc_session_fail(c->session, t->error);
                ended++;
        }
        return ended;
}

/* ---- Connections
 * -------------------------------------------------------------------------------- */

static void idle_start(Connection *c)
{
        struct timeval tv = rpc_timeval(c->server->o.idle_usec);

        if (c->server->o.idle_usec > 0 && c->calls == 0)
                (void) event_add(&c->idle, &tv);
}

static void on_idle(evutil_socket_t fd, short what, void *userdata)
{
        Connection *c = userdata;

        if (c->calls == 0)
                rpc_session_shutdown(c->session);
}

void rpc_connection_call_ended(Connection *c)
{
        c->calls--;
        idle_start(c);
}

void rpc_server_connection_closed(Connection *c, const char *error)
{
        EvgrpcServer *sv = c->server;

        if (error && sv->o.on_error && !sv->freed)
                sv->o.on_error(sv, c->peer, error, sv->o.userdata);
        (void) event_del(&c->idle);
        rpc_link_remove(&c->link);
        sv->connection_count--;
        rpc_session_unref(c->session);
        free(c);
        rpc_server_unref(sv);
}

static void connection_new(EvgrpcServer *sv, int fd, const RpcSockaddr *peer, socklen_t peer_size)
{
        RpcSessionOptions o = {
                .ops = &rpc_server_ops,
                .server = true,
                .max_message_bytes = sv->o.max_message_bytes,
                .window_bytes = sv->o.window_bytes,
                .max_streams = sv->o.max_streams,
                .max_header_bytes = sv->o.max_header_bytes,
                .keepalive_usec = sv->o.keepalive_usec,
                .keepalive_timeout_usec = sv->o.keepalive_timeout_usec,
                .header_timeout_usec = sv->o.header_timeout_usec,
                .tls = sv->o.tls,
                .handshake_timeout_usec = sv->o.handshake_timeout_usec,
                .receive_timestamps = sv->o.receive_timestamps,
                .send_timestamps = sv->o.send_timestamps,
                .pool = &sv->blocks,
                .read_buffer = sv->read_buffer,
                .spin = &sv->spin,
                .epoch = rpc_once_epoch(sv->once),
        };
        Connection *c = calloc(1, sizeof(*c));

        if (!c) {
                (void) close(fd);
                return;
        }
        o.owner = c;
        o.budget = &c->budget;
        c->budget.limit = RPC_MAX(RPC_CONNECTION_GATHER_BYTES, 2 * sv->o.max_message_bytes);
        c->budget.parent = &sv->budget;
        c->server = sv;
        rpc_address_format(peer, peer_size, c->peer);
        (void) event_assign(&c->idle, sv->base, -1, 0, on_idle, c);
        if (rpc_session_new(sv->base, fd, &o, &c->session) < 0) {
                free(c);
                return;
        }
        sv->refs++;
        sv->connection_count++;
        rpc_link_append(&sv->connections, &c->link);
        idle_start(c);
}

static bool is_out_of_something(int error)
{
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_accept(evutil_socket_t fd, short what, void *userdata)
{
        Listener *l = userdata;
        EvgrpcServer *sv = l->server;

        for (unsigned i = 0; i < ACCEPTS_PER_ROUND; i++) {
                RpcSockaddr peer = {};
                socklen_t size = sizeof(peer);
                int conn = accept4((int) fd, &peer.sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (conn < 0) {
                        if (errno == EINTR || errno == ECONNABORTED)
                                continue;
                        if (is_out_of_something(errno)) {
                                /* The socket stays readable: without a pause this would spin. */
                                struct timeval tv = rpc_timeval(RPC_ACCEPT_PAUSE_USEC);

                                (void) event_del(&l->event);
                                (void) event_add(&l->pause, &tv);
                        }
                        return;
                }
                if (sv->connection_count >= sv->o.max_connections)
                        (void) close(conn);
                else
                        connection_new(sv, conn, &peer, size);
        }
}

static void on_accept_again(evutil_socket_t fd, short what, void *userdata)
{
        Listener *l = userdata;

        (void) event_add(&l->event, NULL);
}

/* ---- Listening
 * ---------------------------------------------------------------------------------- */

static int add_listener(EvgrpcServer *sv, int fd, Listener **ret)
{
        Listener *l = calloc(1, sizeof(*l));

        if (!l)
                return -ENOMEM;
        *l = (Listener){.server = sv, .fd = fd, .next = sv->listeners};
        if (sv->o.receive_timestamps)
                rpc_timestamps_enable(fd);
        (void) event_assign(&l->event, sv->base, fd, EV_READ | EV_PERSIST, on_accept, l);
        (void) event_assign(&l->pause, sv->base, -1, 0, on_accept_again, l);
        if (event_add(&l->event, NULL) < 0) {
                free(l);
                return -ENOMEM;
        }
        sv->listeners = l;
        *ret = l;
        return 0;
}

static int bound_address(int fd, char **ret)
{
        RpcSockaddr a = {};
        socklen_t size = sizeof(a);
        char text[RPC_ADDRESS_TEXT_MAX];

        if (getsockname(fd, &a.sa, &size) < 0)
                return -errno;
        rpc_address_format(&a, size, text);
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int evgrpc_server_listen(EvgrpcServer *server, const char *address, char **ret_bound)
{
        char *bound = NULL;
        RpcAddress a;
        Listener *l;
        struct stat st;
        int fd, r;

        r = rpc_address_parse(address, &a);
        if (r < 0)
                return r;
        r = rpc_address_listen(&a, &fd);
        if (r < 0)
                return r;
        r = ret_bound ? bound_address(fd, &bound) : 0;
        if (r >= 0)
                r = add_listener(server, fd, &l);
        if (r < 0) {
                free(bound);
                (void) close(fd);
                return r;
        }
        if (a.is_unix && lstat(a.sockaddr.un.sun_path, &st) == 0) {
                memcpy(l->unlink_path, a.sockaddr.un.sun_path, sizeof(l->unlink_path));
                l->inode = (uint64_t) st.st_ino;
        }
        if (ret_bound)
                *ret_bound = bound;
        return 0;
}

int evgrpc_server_listen_fd(EvgrpcServer *server, int fd)
{
        int flags = fcntl(fd, F_GETFL);
        Listener *l;

        if (flags < 0)
                return -errno;
        if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        return add_listener(server, fd, &l);
}

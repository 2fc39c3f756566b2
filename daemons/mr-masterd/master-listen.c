/*
 * Where the master is reached.
 *
 * A unix socket is served plain: its mode is the guard. TCP is served by mutual TLS, and never
 * otherwise but for tests on the loopback. Both are the same service, on servers of their own.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/parse.h"
#include "mr-masterd/master-join.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rpc.h"
#include "mr-masterd/master-store-keys.h"
#include "platform/log.h"

#define ERRORS_PER_MINUTE 20u

/* ---- What is told and kept
 * ---------------------------------------------------------------------- */

void rpc_log_connection_error(EvgrpcServer *server, const char *peer, const char *error,
                              void *userdata)
{
        static uint64_t minute;
        static unsigned count;
        uint64_t now = manager_now(userdata) / (60 * USEC_PER_SEC);

        if (now != minute)
                count = 0;
        minute = now;
        if (++count > ERRORS_PER_MINUTE)
                return;
        log_notice("Connection from %s: %s%s", peer, error,
                   count == ERRORS_PER_MINUTE ? " (more in this minute are not logged)" : "");
}

static int once_save(const EvgrpcOnceKey *key, const void *record, size_t size, void *userdata)
{
        const Manager *m = userdata;

        return store_save_reply(m->store, key->principal, key->client, key->seq, key->acknowledged,
                                record, size);
}

static int once_load(const EvgrpcOnceKey *key, void **ret_record, size_t *ret_size, void *userdata)
{
        const Manager *m = userdata;

        return store_load_reply(m->store, key->principal, key->client, key->seq, ret_record,
                                ret_size);
}

const EvgrpcOnceStore master_once_store = {.save = once_save, .load = once_load};

/* ---- Servers
 * ------------------------------------------------------------------------------------ */

static int make_server(Manager *m, EvgrpcTls *tls, const EvgrpcMethod *methods, EvgrpcServer **ret,
                       Error *e)
{
        /* With keepalive: the calls and watches of a host that vanished must not be kept for
         * ever. */
        EvgrpcServerOptions options = {
                .max_message_bytes = MASTER_REQUEST_MAX_BYTES,
                .keepalive_usec = 2 * m->conf->lease_usec,
                .keepalive_timeout_usec = m->conf->lease_usec,
                .tls = tls,
                .on_error = rpc_log_connection_error,
                .userdata = m,
        };
        const EvgrpcOnceOptions once = {.store = &master_once_store, .userdata = m};
        int r;

        r = evgrpc_server_new(loop_base(m->loop), &options, ret);
        if (r >= 0)
                r = evgrpc_server_set_once(*ret, &once);
        if (r >= 0)
                r = evgrpc_server_add_service(*ret, &mapreduced__v1__master__descriptor, methods,
                                              m);
        return r < 0 ? error_setf(e, r, "cannot set up the RPC server: %s", error_text(r)) : 0;
}

/* The server for an address, made when it is first needed. */
static int get_server(Manager *m, bool tcp, EvgrpcServer **ret, Error *e)
{
        bool secure = tcp && !m->conf->insecure_plain_tcp;
        EvgrpcServer **server = secure ? &m->secure_server : &m->server;
        int r;

        if (secure && !m->keys) {
                r = keys_open(m, &m->keys, e);
                if (r < 0)
                        return r;
        }
        if (!*server) {
                r = make_server(m, secure ? m->keys->tls : NULL,
                                secure ? master_secure_methods : master_plain_methods, server, e);
                if (r < 0)
                        return r;
        }
        *ret = *server;
        return 0;
}

/* ---- Addresses
 * ---------------------------------------------------------------------------------- */

/* The address of an inherited socket, as workers must write it. */
static char *describe_socket(int fd)
{
        struct sockaddr_storage sa = {};
        socklen_t size = sizeof(sa);
        char text[INET6_ADDRSTRLEN];

        if (getsockname(fd, (struct sockaddr *) &sa, &size) < 0)
                return NULL;
        if (sa.ss_family == AF_UNIX) {
                const struct sockaddr_un *un = (const struct sockaddr_un *) &sa;

                return g_strconcat("unix:", un->sun_path, NULL);
        }
        if (sa.ss_family == AF_INET) {
                const struct sockaddr_in *in = (const struct sockaddr_in *) &sa;

                (void) inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
                return g_strdup_printf("%s:%u", text, ntohs(in->sin_port));
        }
        if (sa.ss_family == AF_INET6) {
                const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &sa;

                (void) inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
                return g_strdup_printf("[%s]:%u", text, ntohs(in6->sin6_port));
        }
        return NULL;
}

static int listen_fd(Manager *m, const char *address, char **ret_bound, Error *e)
{
        g_autofree char *bound = NULL;
        EvgrpcServer *server;
        uint32_t fd;
        int r;

        if (parse_u32_range(address + strlen("fd:"), 3, 1023, &fd) < 0 ||
            fcntl((int) fd, F_GETFD) < 0)
                return error_setf(e, EBADF, "not an inherited descriptor: --listen=%s", address);
        (void) fcntl((int) fd, F_SETFD, FD_CLOEXEC);
        bound = describe_socket((int) fd);
        if (!bound)
                return error_setf(e, ENOTSOCK, "not a listening socket: --listen=%s", address);
        if (m->conf->insecure_plain_tcp && address_is_tcp(bound) && !address_is_loopback(bound))
                return error_setf(e, EPERM,
                                  "not serving %s: --insecure-plain-tcp is for the loopback only",
                                  bound);
        r = get_server(m, address_is_tcp(bound), &server, e);
        if (r < 0)
                return r;
        r = evgrpc_server_listen_fd(server, (int) fd);
        if (r < 0)
                return error_setf(e, r, "cannot listen on %s: %s", address, error_text(r));
        *ret_bound = TAKE_PTR(bound);
        return 0;
}

static int listen_address(Manager *m, const char *address, char **ret_bound, Error *e)
{
        _cleanup_free_ char *bound = NULL;
        EvgrpcServer *server;
        int r;

        r = get_server(m, address_is_tcp(address), &server, e);
        if (r < 0)
                return r;
        r = evgrpc_server_listen(server, address, &bound);
        if (r == -EADDRINUSE)
                return error_setf(e, r, "cannot listen on %s: another program does", address);
        if (r < 0)
                return error_setf(e, r, "cannot listen on %s: %s", address, error_text(r));
        *ret_bound = g_strdup(bound ? bound : address);
        return 0;
}

int manager_serve_rpc(Manager *m, Error *e)
{
        int r;

        for (guint i = 0; i < m->conf->listen->len; i++) {
                const char *address = m->conf->listen->pdata[i];
                g_autofree char *bound = NULL;

                r = g_str_has_prefix(address, "fd:") ? listen_fd(m, address, &bound, e)
                                                     : listen_address(m, address, &bound, e);
                if (r < 0)
                        return r;
                if (!m->secure_address && address_is_tcp(bound) && m->secure_server)
                        m->secure_address = g_strdup(bound);
                if (!m->address)
                        m->address = TAKE_PTR(bound);
        }
        if (!m->keys || !m->keys->authority)
                return 0;
        r = manager_commit(m, true); /* certificates that were made on the way */
        return r < 0 ? r : join_open(m, &m->join, e);
}

void manager_renew_connections(Manager *m)
{
        GHashTableIter iter;
        gpointer w;

        if (m->secure_server)
                evgrpc_server_renew(m->secure_server);
        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                if (((MasterWorker *) w)->channel)
                        evgrpc_channel_renew(((MasterWorker *) w)->channel);
}

void manager_recheck_peers(Manager *m)
{
        size_t ended = m->secure_server ? evgrpc_server_recheck(m->secure_server) : 0;
        GHashTableIter iter;
        gpointer w;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                if (((MasterWorker *) w)->channel)
                        ended += evgrpc_channel_recheck(((MasterWorker *) w)->channel);
        if (ended > 0)
                log_notice("Ended %zu connections whose certificates are no good any more", ended);
}

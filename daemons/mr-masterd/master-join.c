/*
 * Join — see master-join.h.
 */
#include <arpa/inet.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/parse.h"
#include "base/text.h"
#include "mr-masterd/master-join.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rpc.h"
#include "mr-masterd/master-store-keys.h"
#include "pki/token.h"
#include "platform/log.h"

#define TRIES_MAX 5u     /* wrong secrets before a token dies */
#define CALLS_BURST 20.0 /* of all clients together */
#define CALLS_PER_SEC 5.0
#define CONNECTIONS_MAX 64u
#define REQUEST_MAX_BYTES KIB(64)
#define IDLE_USEC (10 * USEC_PER_SEC)
#define GRACE_SEC                                                                                  \
        60 /* for a retry by who did not get the reply: longer than a joining host tries */
#define LOOK_USEC (5 * USEC_PER_SEC)

struct Join {
        Manager *manager;
        EvgrpcServer *server; /* NULL: closed */
        char *bound;
        LoopTimer *timer;
        double calls; /* that may come now; grows with time */
        uint64_t calls_usec;
        int64_t last_joined_sec;
};

/* ---- Addresses
 * ---------------------------------------------------------------------------------- */

/* HOST and PORT of "HOST:PORT"; the host with its brackets. */
static char *host_of(const char *address, uint32_t *ret_port)
{
        const char *colon = strrchr(address, ':');

        if (!colon || parse_u32_range(colon + 1, 0, 65535, ret_port) < 0)
                return NULL;
        return g_strndup(address, (gsize) (colon - address));
}

static bool is_wildcard(const char *host)
{
        return !*host || g_str_equal(host, "*") || g_str_equal(host, "0.0.0.0") ||
               g_str_equal(host, "[::]");
}

/* By which of our addresses we would speak to the world: a UDP socket is asked, which sends
 * nothing. (192.0.2.1 is nobody's, RFC 5737.) */
static char *outgoing_address(void)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, own = {};
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(own);
        char text[INET_ADDRSTRLEN];

        (void) inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
        if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0 ||
            getsockname(fd, (struct sockaddr *) &own, &size) < 0 ||
            !inet_ntop(AF_INET, &own.sin_addr, text, sizeof(text)))
                return NULL;
        return g_strdup(text);
}

static char *reachable_host(const Join *j, const char *asked)
{
        const Manager *m = j->manager;
        g_autofree char *bound = NULL;
        uint32_t port;

        if (*asked)
                return g_strdup(asked);
        if (m->conf->advertise)
                return g_strdup(m->conf->advertise);
        bound = host_of(j->bound, &port);
        if (bound && !is_wildcard(bound))
                return TAKE_PTR(bound);
        return outgoing_address() ?: g_strdup(g_get_host_name());
}

static int check_host(const char *host, Error *e)
{
        size_t n = strlen(host);

        if (n >= 1 && n <= JOIN_TOKEN_ADDRESS_MAX - 6 &&
            strspn(host, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS ".-_[]:%") == n &&
            (host[0] == '[' || !strchr(host, ':')))
                return 0;
        return error_setf(e, EINVAL, "not a host's name or address (IPv6 goes in brackets): %.255s",
                          host);
}

/* Beside the first address of Master, unless it is configured. */
static char *join_address(const Manager *m)
{
        g_autofree char *host = NULL;
        uint32_t port = 0;

        if (m->conf->join_listen)
                return g_strdup(m->conf->join_listen);
        for (guint i = 0; i < m->conf->listen->len && !host; i++)
                if (address_is_tcp(m->conf->listen->pdata[i]))
                        host = host_of(m->conf->listen->pdata[i], &port);
        return g_strdup_printf("%s:%u", host ?: "*", port > 0 && port < 65535 ? port + 1 : 0);
}

/* ---- Tokens
 * ------------------------------------------------------------------------------------- */

typedef struct FoundToken {
        const char *id;
        bool found;
        uint8_t hash[JOIN_TOKEN_HASH_SIZE];
        int64_t created_sec, expires_sec;
        uint32_t failed;
} FoundToken;

static void on_token(const StoreToken *t, void *userdata)
{
        FoundToken *f = userdata;

        if (!g_str_equal(t->id, f->id) || t->hash_size != sizeof(f->hash))
                return;
        f->found = true;
        memcpy(f->hash, t->hash, sizeof(f->hash));
        f->created_sec = t->created_sec;
        f->expires_sec = t->expires_sec;
        f->failed = t->failed;
}

static void count_token(const StoreToken *t, void *userdata)
{
        (*(unsigned *) userdata)++;
}

unsigned join_count_tokens(Join *j)
{
        unsigned count = 0;

        store_trim_tokens(j->manager->store, keys_now_sec(j->manager));
        (void) store_each_token(j->manager->store, count_token, &count);
        return count;
}

/* One message for all: who guesses learns nothing from it. */
static int refuse_token(Error *e)
{
        return error_setf(e, EACCES,
                          "the token is not valid: it was used, has expired, or is of another "
                          "cluster; mrctl cluster token on the master makes a new one");
}

/* A wrong secret counts, also when nothing else comes of it. */
static int check_token(Join *j, const Mapreduced__V1__JoinRequest *request, const char *id,
                       Error *e)
{
        Store *store = j->manager->store;
        FoundToken f = {.id = id};
        int r;

        r = store_each_token(store, on_token, &f);
        if (r < 0)
                return error_setf(e, r, "cannot read the tokens: %s", store_error(store));
        if (!f.found || f.expires_sec <= keys_now_sec(j->manager))
                return refuse_token(e);
        if (join_token_matches(request->secret.data, request->secret.len, f.hash))
                return 0;
        if (++f.failed >= TRIES_MAX)
                store_remove_token(store, id);
        else
                store_put_token(store, &(StoreToken){.id = id,
                                                     .hash = f.hash,
                                                     .hash_size = sizeof(f.hash),
                                                     .created_sec = f.created_sec,
                                                     .expires_sec = f.expires_sec,
                                                     .failed = f.failed});
        (void) manager_commit(j->manager, true);
        return refuse_token(e);
}

/* ---- Join
 * --------------------------------------------------------------------------------------- */

/* A bucket of tokens (in the other sense): full at first, refilled with time. */
static bool may_call(Join *j)
{
        uint64_t now = manager_now(j->manager);

        j->calls += (double) (now - j->calls_usec) / USEC_PER_SEC * CALLS_PER_SEC;
        j->calls = MIN(j->calls, CALLS_BURST);
        j->calls_usec = now;
        if (j->calls < 1)
                return false;
        j->calls--;
        return true;
}

typedef struct Holder {
        const char *worker_id;
        int64_t now_sec;
        bool found;
} Holder;

static void on_certificate(const StoreCertificate *c, void *userdata)
{
        Holder *h = userdata;

        if (c->revoked_sec == 0 && c->not_after_sec > h->now_sec &&
            g_str_equal(c->worker_id, h->worker_id))
                h->found = true;
}

/* Who holds a token may not become a worker that is there already. */
static int check_is_new(Join *j, const char *worker_id, Error *e)
{
        Holder h = {.worker_id = worker_id, .now_sec = keys_now_sec(j->manager)};
        int r;

        r = store_each_certificate(j->manager->store, on_certificate, &h);
        if (r < 0)
                return error_setf(e, r, "cannot read the certificates: %s",
                                  store_error(j->manager->store));
        if (h.found)
                return error_setf(
                        e, EEXIST,
                        "worker %s has a valid certificate already; if this host lost it, type "
                        "mrctl cluster revoke %s on the master first; if its spool was copied "
                        "from another host, delete it",
                        worker_id, worker_id);
        return 0;
}

static int check_request(Join *j, const Mapreduced__V1__JoinRequest *r, Error *e)
{
        if (!may_call(j))
                return error_setf(e, EAGAIN, "too many hosts ask at once, come again in a second");
        if (r->token_id.len != JOIN_TOKEN_ID_SIZE || !id128_is_valid(r->worker_id) ||
            !text_is_name(r->name))
                return error_setf(e, EINVAL, "not a token, a worker's id and a name");
        return 0;
}

/* The certificate, the end of the token and the reply are one transaction. */
static int let_in(Join *j, EvgrpcServerCall *call, const Mapreduced__V1__JoinRequest *request,
                  Mapreduced__V1__JoinReply *reply, char **ret_pem, Error *e)
{
        char id[2 * JOIN_TOKEN_ID_SIZE + 1];
        Manager *m = j->manager;
        int r;

        r = check_request(j, request, e);
        if (r < 0)
                return r;
        text_hex(request->token_id.data, JOIN_TOKEN_ID_SIZE, id);
        r = check_token(j, request, id, e);
        if (r >= 0)
                r = check_is_new(j, request->worker_id, e);
        if (r >= 0)
                r = keys_grant(m->keys, request->request_pem, request->worker_id, request->name,
                               ret_pem, e);
        if (r < 0)
                return r;
        store_remove_token(m->store, id);
        reply->certificate_pem = *ret_pem;
        reply->authorities_pem = m->keys->authorities_pem;
        g_free(host_of(m->secure_address, &reply->port));
        r = evgrpc_server_call_save(call, &reply->base);
        if (r >= 0)
                r = manager_commit(m, true);
        return r < 0 ? error_setf(e, r, "cannot keep the certificate: %s", store_error(m->store))
                     : 0;
}

static void handle_join(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__JoinRequest *request = (const Mapreduced__V1__JoinRequest *) message;
        Mapreduced__V1__JoinReply reply = MAPREDUCED__V1__JOIN_REPLY__INIT;
        g_autofree char *pem = NULL;
        _cleanup_error_ Error e = {};
        Join *j = userdata;
        int r;

        r = let_in(j, call, request, &reply, &pem, &e);
        if (r < 0) {
                log_warning("Refused a host at %s that wants to join: %s",
                            evgrpc_server_call_peer(call), error_message(&e, r));
                evgrpc_server_call_finish(call,
                                          r == -EACCES ? EVGRPC_UNAUTHENTICATED : rpc_code_of(r),
                                          "%s", error_message(&e, r));
                return;
        }
        j->last_joined_sec = keys_now_sec(j->manager);
        log_notice("Host %s joined as worker %s, from %s", request->name, request->worker_id,
                   evgrpc_server_call_peer(call));
        evgrpc_server_call_reply(call, &reply.base);
}

/* ---- Open and closed
 * ---------------------------------------------------------------------------- */

static int serve(Join *j, Error *e)
{
        static const EvgrpcMethod methods[] = {
                {.name = "Join", .handler = handle_join, .at_most_once = true, .stored = true},
                {},
        };
        Manager *m = j->manager;
        const EvgrpcServerOptions options = {
                .tls = m->keys->join_tls,
                .max_message_bytes = REQUEST_MAX_BYTES,
                .max_connections = CONNECTIONS_MAX,
                .max_streams = 4,
                .idle_usec = IDLE_USEC,
                .on_error = rpc_log_connection_error,
                .userdata = m,
        };
        const EvgrpcOnceOptions once = {
                .store = &master_once_store, .userdata = m, .max_bytes = MIB(4)};
        g_autofree char *address = join_address(m);
        _cleanup_free_ char *bound = NULL;
        EvgrpcServer *server;
        int r;

        if (j->server)
                return 0;
        r = evgrpc_server_new(loop_base(m->loop), &options, &server);
        if (r < 0)
                return error_setf(e, r, "cannot serve new hosts: %s", error_text(r));
        r = evgrpc_server_set_once(server, &once);
        if (r >= 0)
                r = evgrpc_server_add_service(server, &mapreduced__v1__cluster__descriptor, methods,
                                              j);
        if (r >= 0)
                r = evgrpc_server_listen(server, address, &bound);
        if (r < 0) {
                evgrpc_server_free(server);
                return error_setf(e, r, "cannot listen on %s for new hosts: %s", address,
                                  r == -EADDRINUSE ? "another program does" : error_text(r));
        }
        j->server = server;
        g_free(j->bound);
        j->bound = g_strdup(bound);
        log_info("New hosts may join at %s", j->bound);
        loop_timer_start(j->timer, LOOK_USEC);
        return 0;
}

static bool somebody_may_come(Join *j)
{
        return keys_now_sec(j->manager) < j->last_joined_sec + GRACE_SEC ||
               join_count_tokens(j) > 0;
}

static void on_look(void *userdata)
{
        Join *j = userdata;

        manager_kick(j->manager); /* which commits what has expired */
        if (somebody_may_come(j)) {
                loop_timer_start(j->timer, LOOK_USEC);
                return;
        }
        j->server = evgrpc_server_free(j->server);
        log_info("No token is valid any more: closed %s", j->bound);
}

/* When the last came in: who did not hear of it, because we were killed, may ask again. */
static void on_issued(const StoreCertificate *c, void *userdata)
{
        Join *j = userdata;

        if (c->role == PKI_ROLE_WORKER)
                j->last_joined_sec = MAX(j->last_joined_sec, c->issued_sec);
}

int join_open(Manager *m, Join **ret, Error *e)
{
        Join *j = g_new0(Join, 1);
        int r;

        *j = (Join){.manager = m, .calls = CALLS_BURST, .calls_usec = manager_now(m)};
        r = loop_timer_new(m->loop, on_look, j, &j->timer);
        if (r >= 0)
                r = store_each_certificate(m->store, on_issued, j);
        if (r >= 0 && somebody_may_come(j))
                r = serve(j, e);
        if (r < 0) {
                join_free(j);
                return error_setf(e, r, "cannot prepare for new hosts: %s", error_text(r));
        }
        *ret = j;
        return 0;
}

Join *join_free(Join *j)
{
        if (!j)
                return NULL;
        evgrpc_server_free(j->server);
        loop_timer_free(j->timer);
        g_free(j->bound);
        g_free(j);
        return NULL;
}

/* ---- Making tokens
 * ------------------------------------------------------------------------------ */

static int fill_token(Join *j, const char *host, JoinToken *ret, Error *e)
{
        g_autofree char *reachable = reachable_host(j, host), *bound_host = NULL;
        uint32_t port;
        int r;

        r = check_host(reachable, e);
        if (r < 0)
                return r;
        bound_host = host_of(j->bound, &port);
        g_snprintf(ret->address, sizeof(ret->address), "%s:%u", reachable, port);
        memcpy(ret->fingerprint, j->manager->keys->fingerprint, sizeof(ret->fingerprint));
        if (getrandom(ret->id, sizeof(ret->id), 0) != (ssize_t) sizeof(ret->id) ||
            getrandom(ret->secret, sizeof(ret->secret), 0) != (ssize_t) sizeof(ret->secret))
                return error_setf(e, EIO, "the kernel has no randomness");
        return 0;
}

int join_make_token(Join *j, uint64_t ttl_usec, const char *host, char **ret_token,
                    uint64_t *ret_expires_usec, Error *e)
{
        char id[2 * JOIN_TOKEN_ID_SIZE + 1];
        uint8_t hash[JOIN_TOKEN_HASH_SIZE];
        Manager *m = j->manager;
        JoinToken t = {};
        StoreToken row;
        int r;

        if (ttl_usec == 0)
                ttl_usec = JOIN_TTL_DEFAULT_USEC;
        if (ttl_usec < USEC_PER_SEC || ttl_usec > JOIN_TTL_MAX_USEC)
                return error_setf(e, EINVAL, "a token is valid for 1 s to 7 days");
        if (join_count_tokens(j) >= STORE_TOKENS_MAX)
                return error_setf(e, EBUSY, "%u tokens are valid already", STORE_TOKENS_MAX);
        r = serve(j, e);
        if (r >= 0)
                r = fill_token(j, host, &t, e);
        if (r < 0)
                return r;
        text_hex(t.id, sizeof(t.id), id);
        join_token_hash(t.secret, hash);
        row = (StoreToken){.id = id,
                           .hash = hash,
                           .hash_size = sizeof(hash),
                           .created_sec = keys_now_sec(m),
                           .expires_sec = keys_now_sec(m) + (int64_t) (ttl_usec / USEC_PER_SEC)};
        store_put_token(m->store, &row);
        r = manager_commit(m, true);
        if (r < 0)
                return error_setf(e, r, "cannot keep the token: %s", store_error(m->store));
        *ret_token = join_token_format(&t);
        *ret_expires_usec = (uint64_t) row.expires_sec * USEC_PER_SEC;
        return 0;
}

static void add_token_id(const StoreToken *t, void *userdata)
{
        g_ptr_array_add(userdata, g_strdup(t->id));
}

int join_forget_tokens(Join *j, Error *e)
{
        g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
        Store *store = j->manager->store;
        int r;

        r = store_each_token(store, add_token_id, ids);
        for (guint i = 0; r >= 0 && i < ids->len; i++)
                store_remove_token(store, ids->pdata[i]);
        if (r >= 0)
                r = manager_commit(j->manager, true);
        return r < 0 ? error_setf(e, r, "cannot forget the tokens: %s", store_error(store))
                     : (int) ids->len;
}

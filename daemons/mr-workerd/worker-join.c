/*
 * Joining — see worker-join.h.
 *
 *      token ──▶ connect ──▶ the CA, by fingerprint ──▶ connect, verified ──▶ Join ──▶ SPOOL/tls
 *
 * The secret is sent only over the second connection, to a server whose certificate that CA has
 * signed. The identity is written last: with it the host is in, before it nothing has happened but
 * that a token may be used up. A host that was revoked joins again over what it had; one that is
 * still in is refused by the master, and keeps it.
 */
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "base/fs.h"
#include "cluster.pb-c.h"
#include "config.h"
#include "mr-workerd/worker-join.h"
#include "pki/authority.h"
#include "pki/introduction.h"
#include "pki/key-dir.h"
#include "pki/token.h"
#include "platform/loop.h"
#include "rpc/evgrpc.h"

#define CONNECT_SEC 10
#define JOIN_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define USER "mr-worker" /* as in the unit */
#define DROP_IN_DIR MR_SYSCONFDIR "/mapreduced/workerd.conf.d"
#define DROP_IN DROP_IN_DIR "/50-cluster.conf"

typedef struct Joining {
        const WorkerConf *conf;
        JoinToken token;
        char *host;   /* of the token's address, with its brackets */
        char *master; /* HOST:PORT where Master is */
        char *authority;
        char *key, *certificate;
        char *dir; /* SPOOL/tls */
        int dir_fd, spool_fd;
        uid_t owner; /* of what we write; -1: ours */
        gid_t group;
        char worker_id[ID128_HEX_SIZE];
} Joining;

static void joining_done(Joining *j)
{
        g_free(j->host);
        g_free(j->master);
        g_free(j->authority);
        pki_key_free(j->key);
        g_free(j->certificate);
        g_free(j->dir);
        safe_close(j->dir_fd);
        safe_close(j->spool_fd);
}

/* ---- The token
 * ---------------------------------------------------------------------------------- */

static int read_token(Joining *j, Error *e)
{
        char line[1024] = "";
        const char *text = j->conf->join, *colon;
        ssize_t n;

        if (g_str_equal(text, "-")) { /* so that it is in no process list */
                n = read_full(STDIN_FILENO, line, sizeof(line) - 1);
                if (n < 0)
                        return error_setf(e, (int) n, "cannot read a token from standard input: %s",
                                          error_text((int) n));
                text = g_strstrip(line);
        }
        if (join_token_parse(text, &j->token, e) < 0)
                return -EBADMSG;
        colon = strrchr(j->token.address, ':');
        j->host = g_strndup(j->token.address, (gsize) (colon - j->token.address));
        return 0;
}

/* ---- The directory
 * ------------------------------------------------------------------------------ */

/* Made by us as root, it is the worker's: the spool's owner, or the user of the packaged unit. */
static void find_owner(Joining *j)
{
        const struct passwd *user;
        struct stat st;

        if (geteuid() != 0 || fstat(j->spool_fd, &st) < 0)
                return;
        user = st.st_uid == 0 && !j->conf->spool_given ? getpwnam(USER) : NULL;
        j->owner = user ? user->pw_uid : st.st_uid;
        j->group = user ? user->pw_gid : st.st_gid;
}

/* (uid_t) -1: as it is. */
static int give(const Joining *j, int fd)
{
        return fchown(fd, j->owner, j->group) < 0 ? -errno : 0;
}

static int write_file(const Joining *j, int dir_fd, const char *name, mode_t mode, const char *text)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = key_dir_write(dir_fd, name, mode, text);
        if (r < 0)
                return r;
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : give(j, fd);
}

static int open_dirs(Joining *j, Error *e)
{
        const char *spool = j->conf->spool;
        g_autofree char *parent = g_path_get_dirname(spool);
        int r;

        r = mkdir_parents(parent, 0755);
        if (r >= 0)
                r = key_dir_open(spool, true, &j->spool_fd);
        if (r < 0)
                return error_setf(e, r, "cannot use the spool directory %s: %s", spool,
                                  error_text(r));
        j->dir = g_build_filename(spool, "tls", NULL);
        r = key_dir_open(j->dir, true, &j->dir_fd);
        if (r >= 0) {
                find_owner(j);
                r = give(j, j->spool_fd);
        }
        if (r >= 0)
                r = give(j, j->dir_fd);
        if (r < 0)
                return error_setf(e, r, "cannot make %s: %s", j->dir, error_text(r));
        return 0;
}

/* The one that the spool has, which may hold outputs; else a new one. */
static int settle_id(Joining *j, Error *e)
{
        _cleanup_(pki_key_freep) char *has = NULL;
        char line[ID128_HEX_SIZE + 1];
        int r;

        r = key_dir_read(j->spool_fd, "worker-id", &has);
        if (r >= 0 && id128_is_valid(g_strchomp(has))) {
                (void) g_strlcpy(j->worker_id, has, sizeof(j->worker_id));
                return 0;
        }
        id128_make(j->worker_id);
        g_snprintf(line, sizeof(line), "%s\n", j->worker_id);
        r = write_file(j, j->spool_fd, "worker-id", 0600, line);
        return r < 0 ? error_setf(e, r, "cannot write %s/worker-id: %s", j->conf->spool,
                                  error_text(r))
                     : 0;
}

/* ---- The network
 * -------------------------------------------------------------------------------- */

static int connect_to(const struct addrinfo *a, int *ret_fd)
{
        const struct timeval limit = {.tv_sec = CONNECT_SEC};
        _cleanup_close_ int fd =
                socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
            connect(fd, a->ai_addr, a->ai_addrlen) < 0)
                return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int dial(const Joining *j, int *ret_fd, Error *e)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
        g_autofree char *host = g_strdup(j->host);
        const char *port = strrchr(j->token.address, ':') + 1;
        struct addrinfo *found;
        int r = -EADDRNOTAVAIL, code;

        if (host[0] == '[' && g_str_has_suffix(host, "]")) {
                memmove(host, host + 1, strlen(host));
                host[strlen(host) - 1] = '\0';
        }
        code = getaddrinfo(host, port, &hints, &found);
        if (code != 0)
                return error_setf(e, EADDRNOTAVAIL, "cannot find the master's host %s: %s", host,
                                  gai_strerror(code));
        for (const struct addrinfo *a = found; a && r < 0; a = a->ai_next)
                r = connect_to(a, ret_fd);
        freeaddrinfo(found);
        if (r < 0)
                return error_setf(
                        e, r,
                        "cannot reach the master at %s: %s; has the token expired, or is a "
                        "firewall in between?",
                        j->token.address, error_text(r));
        return 0;
}

static int fetch_authority(Joining *j, Error *e)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error cause = {};
        int r;

        r = dial(j, &fd, e);
        if (r < 0)
                return r;
        r = introduction_fetch_authority(fd, j->token.fingerprint, &j->authority, &cause);
        return r < 0 ? error_setf(e, r, "not joining the master at %s: %s", j->token.address,
                                  error_message(&cause, r))
                     : 0;
}

static int make_channel(Joining *j, struct event_base *base, EvgrpcChannel **ret, Error *e)
{
        const EvgrpcTlsSource source = {.ca_pem = j->authority};
        EvgrpcChannelOptions options = {.tls_server_name = PKI_MASTER_NAME,
                                        .backoff_max_usec = USEC_PER_SEC};
        _cleanup_free_ char *words = NULL;
        int r;

        r = evgrpc_tls_new(&source, &options.tls, &words);
        if (r < 0)
                return error_setf(e, r, "%s", words ? words : error_text(r));
        r = evgrpc_channel_new(base, j->token.address, &options, ret);
        evgrpc_tls_unref(options.tls);
        return r < 0 ? error_setf(e, r, "cannot connect to %s: %s", j->token.address, error_text(r))
                     : 0;
}

static int take_reply(Joining *j, const Mapreduced__V1__JoinReply *reply, Error *e)
{
        PkiCertificate c;
        int r;

        r = pki_certificate_read(reply->certificate_pem, &c, e);
        if (r >= 0)
                r = pki_key_check(j->key, reply->certificate_pem, e);
        if (r < 0)
                return r;
        if (*reply->authorities_pem) {
                g_free(j->authority);
                j->authority = g_strdup(reply->authorities_pem);
        }
        if (c.role != PKI_ROLE_WORKER || !g_str_equal(c.worker_id, j->worker_id) ||
            !pki_issuer_of(reply->certificate_pem, j->authority) || reply->port == 0 ||
            reply->port > 65535)
                return error_setf(e, EBADMSG, "the master sent another's certificate");
        j->certificate = g_strdup(reply->certificate_pem);
        j->master = g_strdup_printf("%s:%u", j->host, reply->port);
        return 0;
}

/* At most once: over as many connections as it takes, and with one certificate at the end. */
static int call_join(Joining *j, EvgrpcChannel *channel, EvgrpcClientIdentity *identity, Error *e)
{
        const EvgrpcCallOptions options = {.timeout_usec = JOIN_TIMEOUT_USEC,
                                           .fail_fast_off = true,
                                           .once = identity,
                                           .retry = true};
        Mapreduced__V1__JoinRequest request = MAPREDUCED__V1__JOIN_REQUEST__INIT;
        g_autofree char *pem = NULL;
        const EvgrpcStatus *status;
        EvgrpcCall *call;
        int r;

        r = pki_key_make(&j->key);
        if (r >= 0)
                r = pki_request_make(j->key, "mr-workerd", &pem, e);
        if (r < 0)
                return r;
        request.token_id = (ProtobufCBinaryData){.data = j->token.id, .len = sizeof(j->token.id)};
        request.secret =
                (ProtobufCBinaryData){.data = j->token.secret, .len = sizeof(j->token.secret)};
        request.request_pem = pem;
        request.worker_id = j->worker_id;
        request.name = j->conf->name;
        r = evgrpc_call_start(channel, &mapreduced__v1__cluster__descriptor, "Join", &request.base,
                              &options, NULL, NULL, &call);
        if (r < 0)
                return r;
        status = evgrpc_call_wait(call);
        if (status->code == EVGRPC_OK)
                r = take_reply(j, (const Mapreduced__V1__JoinReply *) evgrpc_call_reply(call), e);
        else
                r = error_setf(e, EACCES, "the master at %s does not let this host in: %s",
                               j->token.address,
                               *status->message ? status->message
                                                : evgrpc_code_to_string(status->code));
        evgrpc_call_unref(call);
        return r;
}

static int ask(Joining *j, Error *e)
{
        _cleanup_(loop_freep) Loop *loop = NULL;
        EvgrpcClientIdentity *identity = NULL;
        EvgrpcChannel *channel = NULL;
        int r;

        r = loop_new(&loop);
        if (r >= 0)
                r = evgrpc_client_identity_new(&identity);
        if (r >= 0)
                r = make_channel(j, loop_base(loop), &channel, e);
        if (r >= 0)
                r = call_join(j, channel, identity, e);
        evgrpc_channel_free(channel);
        evgrpc_client_identity_unref(identity);
        return r < 0 ? error_setf(e, r, "cannot join: %s", error_text(r)) : 0;
}

/* ---- The result
 * --------------------------------------------------------------------------------- */

static int keep_identity(const Joining *j, Error *e)
{
        _cleanup_(pki_key_freep) char *both = g_strconcat(j->certificate, j->key, NULL);
        int r;

        (void) unlinkat(j->dir_fd, KEY_DIR_CRL, 0); /* another cluster's, perhaps */
        r = write_file(j, j->dir_fd, KEY_DIR_CA, 0644, j->authority);
        if (r >= 0)
                r = write_file(j, j->dir_fd, KEY_DIR_IDENTITY, 0600, both);
        if (r < 0)
                return error_setf(
                        e, r,
                        "the master let this host in, but its keys cannot be kept in %s: %s; "
                        "revoke worker %s, and join again with a new token",
                        j->dir, error_text(r), j->worker_id);
        return 0;
}

/* The packaged worker reads its master from a drop-in; one with a spool of its own is told on the
 * command line. */
static int write_drop_in(const Joining *j, Error *e)
{
        g_autofree char *text = g_strdup_printf("# Written when this host joined its cluster.\n"
                                                "[Worker]\nMaster=%s\n",
                                                j->master);
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = mkdir_parents(DROP_IN_DIR, 0755);
        if (r >= 0)
                r = key_dir_open(DROP_IN_DIR, false, &fd);
        if (r >= 0)
                r = key_dir_write(fd, "50-cluster.conf", 0644, text);
        if (r < 0)
                return error_setf(e, r,
                                  "this host is in, but %s cannot be written: %s; set Master=%s",
                                  DROP_IN, error_text(r), j->master);
        return 0;
}

static int join(Joining *j, Error *e)
{
        int r;

        r = read_token(j, e);
        if (r >= 0)
                r = open_dirs(j, e);
        if (r >= 0)
                r = settle_id(j, e);
        if (r >= 0)
                r = fetch_authority(j, e);
        if (r >= 0)
                r = ask(j, e);
        if (r >= 0)
                r = keep_identity(j, e);
        if (r >= 0 && !j->conf->spool_given)
                r = write_drop_in(j, e);
        return r;
}

int worker_join(const WorkerConf *conf, Error *e)
{
        _cleanup_(joining_done) Joining j = {.conf = conf,
                                             .dir_fd = -EBADF,
                                             .spool_fd = -EBADF,
                                             .owner = (uid_t) -1,
                                             .group = (gid_t) -1};
        int r;

        r = join(&j, e);
        if (r < 0)
                return r;
        printf("Joined the cluster of %s as worker %s.\n", j.master, j.worker_id);
        if (conf->spool_given)
                printf("Start it with: mr-workerd --master=%s --spool=%s\n", j.master, conf->spool);
        return 0;
}

/*
 * Keys — see worker-keys.h.
 */
#include <fcntl.h>

#include "cluster.pb-c.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-master.h"
#include "mr-workerd/worker-peers.h"
#include "pki/authority.h"
#include "pki/key-dir.h"

#define RENEW_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define LOOK_MAX_USEC (3600 * USEC_PER_SEC)
#define LOOK_OUTDATED_USEC (5 * USEC_PER_SEC)
#define LOOK_MIN_USEC (250 * USEC_PER_MSEC)

struct WorkerKeys {
        Manager *manager;
        bool own_pki;
        char *dir;
        int dir_fd; /* SPOOL/tls; -EBADF with an own PKI */
        EvgrpcTls *tls;
        PkiCertificate own;
        char *authorities_pem; /* whom it believes: one CA, or two while one takes the other's place
                                */
        uint64_t authorities, issuer; /* as the master is told of them */
        bool outdated;                /* our certificate is not of the first CA */
        uint64_t refused;             /* the last CAs that were sent and not taken: said once */
        uint64_t list_number;
        LoopTimer *timer;   /* the next look at our certificate */
        LoopTimer *recheck; /* from the loop, not from inside a call's handler */
        EvgrpcClientIdentity *identity;
        EvgrpcCall *renewal;
        char *next_key; /* of the certificate that was asked for */
};

static int64_t now_sec(const WorkerKeys *k)
{
        return (int64_t) (loop_realtime_usec(k->manager->loop) / USEC_PER_SEC);
}

EvgrpcTls *keys_tls(const WorkerKeys *k)
{
        return k ? k->tls : NULL;
}

void keys_fill(const WorkerKeys *k, Mapreduced__V1__HeartbeatRequest *request)
{
        if (!k)
                return;
        request->revocations = k->list_number;
        request->authorities = k->authorities;
        request->issuer = k->issuer;
}

bool keys_needed(const Manager *m, const char *address)
{
        return !m->conf.insecure_plain_tcp && !g_str_has_prefix(address, "unix:");
}

const char *keys_missing(const Manager *m)
{
        if (m->keys || (m->conf.master && !keys_needed(m, m->conf.master)))
                return NULL;
        return "this host is in no cluster: type mrctl cluster token on the master's host, and mrctl "
               "cluster join TOKEN here";
}

/* ---- The spool's id
 * ----------------------------------------------------------------------------- */

/* A spool that has no id yet gets the certificate's; another's stays away. */
static int settle_id(const WorkerKeys *k, Error *e)
{
        const char *spool = k->manager->conf.spool;
        g_autofree char *line = g_strconcat(k->own.worker_id, "\n", NULL);
        _cleanup_(pki_key_freep) char *has = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = key_dir_open(spool, true, &fd);
        if (r >= 0)
                r = key_dir_read(fd, "worker-id", &has);
        if (r == -ENOENT)
                r = key_dir_write(fd, "worker-id", 0600, line);
        if (r < 0)
                return error_setf(e, r, "cannot use the spool directory %s: %s", spool,
                                  error_text(r));
        if (!has || g_str_equal(g_strchomp(has), k->own.worker_id))
                return 0;
        return error_setf(
                e, EKEYREJECTED,
                "the certificate is that of worker %s, but the spool %s is worker %s's: was a spool "
                "or a key copied? Delete what does not belong here",
                k->own.worker_id, spool, has);
}

/* ---- Reading
 * ------------------------------------------------------------------------------------ */

static int use_source(WorkerKeys *k, const EvgrpcTlsSource *source, Error *e)
{
        _cleanup_free_ char *words = NULL;
        int r;

        r = k->tls ? evgrpc_tls_reload(k->tls, source, &words)
                   : evgrpc_tls_new(source, &k->tls, &words);
        return r < 0 ? error_setf(e, r, "%s", words ? words : error_text(r)) : 0;
}

static int check_role(const WorkerKeys *k, const char *where, Error *e)
{
        if (k->own.role == PKI_ROLE_WORKER)
                return 0;
        return error_setf(
                e, EKEYREJECTED,
                "the certificate in %s is not a worker's: the first DNS name in its SAN must be "
                "ID" PKI_WORKER_SUFFIX ", with an ID of 32 hexadecimal digits",
                where);
}

static int use_own_pki(WorkerKeys *k, Error *e)
{
        const KeyFiles *f = &k->manager->conf.keys;
        const EvgrpcTlsSource source = {.ca_file = f->ca,
                                        .certificate_file = f->certificate,
                                        .key_file = f->key,
                                        .crl_file = f->list};
        _cleanup_(pki_key_freep) char *certificate = NULL;
        int r;

        r = use_source(k, &source, e);
        if (r < 0)
                return r;
        r = key_dir_read(AT_FDCWD, f->certificate, &certificate);
        if (r >= 0)
                r = pki_certificate_read(certificate, &k->own, e);
        if (r < 0)
                return error_setf(e, r, "cannot use %s: %s", f->certificate, error_text(r));
        return check_role(k, f->certificate, e);
}

/* Without a list there is none yet; one that is damaged is as good as none, and the master sends
 * another. */
static void load_list(WorkerKeys *k, char **ret_pem)
{
        _cleanup_(pki_key_freep) char *pem = NULL;

        k->list_number = 0;
        if (key_dir_read(k->dir_fd, KEY_DIR_CRL, &pem) >= 0 &&
            pki_list_check(pem, k->authorities_pem, NULL, &k->list_number, NULL, NULL) >= 0)
                *ret_pem = TAKE_PTR(pem);
}

static void settle_authorities(WorkerKeys *k, const char *own, const char *authorities)
{
        const char *issuer = pki_issuer_of(own, authorities);
        uint8_t digest[PKI_FINGERPRINT_SIZE];

        k->outdated = issuer != authorities;
        k->issuer =
                issuer && pki_fingerprint(issuer, digest, NULL) >= 0 ? pki_digest_head(digest) : 0;
        k->authorities = pki_digest_text(authorities);
        g_free(k->authorities_pem);
        k->authorities_pem = g_strdup(authorities);
}

static int use_joined(WorkerKeys *k, Error *e)
{
        _cleanup_(pki_key_freep) char *both = NULL, *ca = NULL, *list = NULL;
        EvgrpcTlsSource source = {};
        int r;

        r = key_dir_read(k->dir_fd, KEY_DIR_CA, &ca);
        if (r >= 0)
                r = key_dir_read(k->dir_fd, KEY_DIR_IDENTITY, &both);
        if (r >= 0)
                r = pki_certificate_read(both, &k->own, e);
        if (r < 0)
                return error_setf(e, r, "cannot use the keys in %s: %s", k->dir, error_text(r));
        settle_authorities(k, both, ca);
        load_list(k, &list);
        source = (EvgrpcTlsSource){
                .ca_pem = ca, .certificate_pem = both, .key_pem = both, .crl_pem = list};
        r = use_source(k, &source, e);
        return r < 0 ? r : check_role(k, k->dir, e);
}

static int use_files(WorkerKeys *k, Error *e)
{
        return k->own_pki ? use_own_pki(k, e) : use_joined(k, e);
}

/* ---- Renewing
 * ----------------------------------------------------------------------------------- */

static void on_recheck(void *userdata)
{
        WorkerKeys *k = userdata;
        Manager *m = k->manager;
        size_t ended = m->server ? evgrpc_server_recheck(m->server) : 0;

        ended += peers_recheck(m->peers);
        if (master_link_channel(m->master))
                ended += evgrpc_channel_recheck(master_link_channel(m->master));
        if (ended > 0)
                log_notice("Ended %zu connections whose certificates are no good any more", ended);
}

/* Our certificate is another: who calls us, and whom we call, gets to see it over new connections.
 * What goes on over the old ones has until the old certificate ends, or its CA is dropped. */
static void renew_connections(const WorkerKeys *k)
{
        Manager *m = k->manager;

        if (m->server)
                evgrpc_server_renew(m->server);
        peers_renew(m->peers);
        if (master_link_channel(m->master))
                evgrpc_channel_renew(master_link_channel(m->master));
}

static uint64_t look_usec(const WorkerKeys *k)
{
        int64_t left_sec = pki_renewal_sec(&k->own) - now_sec(k);
        int64_t tries_sec = MAX(k->own.not_after_sec - pki_renewal_sec(&k->own), 0) / 20;

        if (k->outdated)
                return LOOK_OUTDATED_USEC;
        /* Before it is time, then; after that, often enough for twenty tries. */
        left_sec = MAX(left_sec > 0 ? left_sec : tries_sec, 0);
        return CLAMP((uint64_t) left_sec * USEC_PER_SEC, LOOK_MIN_USEC, LOOK_MAX_USEC);
}

static int take_renewed(WorkerKeys *k, const char *certificate, Error *e)
{
        _cleanup_(pki_key_freep) char *both = NULL;
        PkiCertificate c;
        int r;

        r = pki_certificate_read(certificate, &c, e);
        if (r >= 0)
                r = pki_key_check(k->next_key, certificate, e);
        if (r < 0)
                return r;
        if (c.role != PKI_ROLE_WORKER || !g_str_equal(c.worker_id, k->own.worker_id) ||
            !pki_issuer_of(certificate, k->authorities_pem))
                return error_setf(e, EBADMSG, "the master sent another's certificate");
        both = g_strconcat(certificate, k->next_key, NULL);
        r = key_dir_write(k->dir_fd, KEY_DIR_IDENTITY, 0600, both);
        if (r < 0)
                return error_setf(e, r, "cannot write %s/%s: %s", k->dir, KEY_DIR_IDENTITY,
                                  error_text(r));
        return use_joined(k, e);
}

static void on_renewed(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__V1__RenewReply *reply;
        _cleanup_error_ Error e = {};
        WorkerKeys *k = userdata;
        int r;

        k->renewal = evgrpc_call_unref(k->renewal);
        if (status->code == EVGRPC_OK) {
                reply = (const Mapreduced__V1__RenewReply *) evgrpc_call_reply(call);
                r = take_renewed(k, reply->certificate_pem, &e);
        } else
                r = error_setf(&e, EIO, "%s", status->message);
        k->next_key = pki_key_free(k->next_key);
        if (r >= 0) {
                log_info("Renewed this worker's certificate");
                renew_connections(k);
        } else if (status->code != EVGRPC_CANCELLED)
                log_warning("Cannot renew this worker's certificate, trying again: %s",
                            error_message(&e, r));
        loop_timer_start(k->timer, look_usec(k));
}

static int ask_for_renewal(WorkerKeys *k, Error *e)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_renewed};
        const EvgrpcCallOptions options = {
                .timeout_usec = RENEW_TIMEOUT_USEC, .once = k->identity, .retry = true};
        Mapreduced__V1__RenewRequest request = MAPREDUCED__V1__RENEW_REQUEST__INIT;
        g_autofree char *pem = NULL;
        int r;

        r = pki_key_make(&k->next_key);
        if (r >= 0)
                r = pki_request_make(k->next_key, "mr-workerd", &pem, e);
        if (r < 0)
                return r;
        request.request_pem = pem;
        return evgrpc_call_start(master_link_channel(k->manager->master),
                                 &mapreduced__v1__master__descriptor, "RenewCertificate",
                                 &request.base, &options, &handlers, k, &k->renewal);
}

static void on_look(void *userdata)
{
        WorkerKeys *k = userdata;
        _cleanup_error_ Error e = {};
        int r;

        on_recheck(k); /* certificates expire under living connections */
        if (k->renewal)
                return;
        if (k->outdated || pki_renewal_sec(&k->own) <= now_sec(k)) {
                if (k->own_pki)
                        log_warning(
                                "The certificate %s ends soon: renew it, and reload this worker",
                                k->manager->conf.keys.certificate);
                else if (master_link_is_registered(k->manager->master)) {
                        r = ask_for_renewal(k, &e);
                        if (r >= 0)
                                return; /* on_renewed() goes on */
                        k->next_key = pki_key_free(k->next_key);
                        log_warning("Cannot ask for a new certificate, trying again: %s",
                                    error_message(&e, r));
                }
        }
        loop_timer_start(k->timer, look_usec(k));
}

void keys_start(WorkerKeys *k)
{
        if (k)
                loop_timer_start(k->timer, look_usec(k));
}

/* ---- News from the master
 * ----------------------------------------------------------------------- */

/* CAs that would lock this worker out are no news but a mistake. */
static int check_authorities(const WorkerKeys *k, const char *pem, Error *e)
{
        _cleanup_(pki_key_freep) char *own = NULL;
        PkiCertificate c;
        int r;

        for (const char *at = pem; at; at = pki_certificate_next(at)) {
                r = pki_certificate_read(at, &c, e);
                if (r < 0)
                        return r;
                if (!c.is_authority)
                        return error_setf(e, EBADMSG, "one of them is no CA's");
        }
        r = key_dir_read(k->dir_fd, KEY_DIR_IDENTITY, &own);
        if (r < 0)
                return r;
        return pki_issuer_of(own, pem)
                       ? 0
                       : error_setf(e, EKEYREJECTED, "none of them has issued its certificate");
}

/* Return: whether they are used from now on. */
static bool take_authorities(WorkerKeys *k, const char *pem)
{
        uint64_t digest = pki_digest_text(pem);
        _cleanup_error_ Error e = {};
        int r;

        if (digest == k->authorities || digest == k->refused)
                return false;
        r = check_authorities(k, pem, &e);
        if (r >= 0)
                r = key_dir_write(k->dir_fd, KEY_DIR_CA, 0644, pem);
        if (r >= 0)
                r = use_joined(k, &e);
        if (r < 0) {
                k->refused = digest;
                log_warning("Cannot use the CA certificates that the master sent: %s",
                            error_message(&e, r));
                return false;
        }
        log_info("Took the certificates of %s from the master%s",
                 pki_certificate_next(pem) ? "two CAs" : "one CA",
                 k->outdated ? ", and ask for one of the new one" : "");
        if (k->outdated && !k->renewal)
                loop_timer_start(k->timer, 0);
        return true;
}

static bool take_list(WorkerKeys *k, const char *pem)
{
        _cleanup_error_ Error e = {};
        uint64_t number;
        int r;

        r = pki_list_check(pem, k->authorities_pem, NULL, &number, NULL, &e);
        if (r >= 0 && number <= k->list_number)
                return false;
        if (r >= 0)
                r = key_dir_write(k->dir_fd, KEY_DIR_CRL, 0644, pem);
        if (r >= 0)
                r = use_joined(k, &e);
        if (r < 0) {
                log_warning("Cannot use the list of revoked certificates that the master sent: %s",
                            error_message(&e, r));
                return false;
        }
        log_info("Took list %" PRIu64 " of revoked certificates", number);
        return true;
}

void keys_take_news(WorkerKeys *k, const char *authorities_pem, const char *list_pem)
{
        bool news = false;

        if (!k || k->own_pki)
                return;
        if (*authorities_pem)
                news = take_authorities(k, authorities_pem);
        if (*list_pem)
                news = take_list(k, list_pem) || news;
        if (news)
                loop_timer_start(k->recheck, 0);
}

/* ---- All of it
 * ---------------------------------------------------------------------------------- */

static int load(WorkerKeys *k, Error *e)
{
        Manager *m = k->manager;
        int r;

        k->own_pki = m->conf.keys.certificate;
        if (!k->own_pki) {
                k->dir = g_build_filename(m->conf.spool, "tls", NULL);
                r = key_dir_open(k->dir, false, &k->dir_fd);
                if (r >= 0 && faccessat(k->dir_fd, KEY_DIR_IDENTITY, F_OK, 0) < 0)
                        r = -errno;
                if (r < 0)
                        return r == -ENOENT ? 0
                                            : error_setf(e, r, "cannot use %s: %s", k->dir,
                                                         error_text(r));
        }
        r = use_files(k, e);
        if (r >= 0)
                r = settle_id(k, e);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_look, k, &k->timer);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_recheck, k, &k->recheck);
        if (r >= 0)
                r = evgrpc_client_identity_new(&k->identity);
        return r < 0 ? r : 1;
}

int keys_open(Manager *m, WorkerKeys **ret)
{
        WorkerKeys *k = g_new0(WorkerKeys, 1);
        _cleanup_error_ Error e = {};
        int r;

        *k = (WorkerKeys){.manager = m, .dir_fd = -EBADF};
        r = load(k, &e);
        if (r <= 0) {
                keys_free(k);
                return r < 0 ? log_error_errno(r, "%s", error_message(&e, r)) : 0;
        }
        if (k->own.not_after_sec <= now_sec(k))
                log_error("This worker's certificate has expired: type mrctl cluster token on the "
                          "master's host, and mrctl cluster join TOKEN here");
        *ret = k;
        return 0;
}

WorkerKeys *keys_free(WorkerKeys *k)
{
        if (!k)
                return NULL;
        assert(!k->renewal); /* the link to the master ends first, and its calls with it */
        loop_timer_free(k->timer);
        loop_timer_free(k->recheck);
        evgrpc_client_identity_unref(k->identity);
        evgrpc_tls_unref(k->tls);
        pki_key_free(k->next_key);
        g_free(k->authorities_pem);
        g_free(k->dir);
        safe_close(k->dir_fd);
        g_free(k);
        return NULL;
}

int keys_reload(WorkerKeys *k)
{
        _cleanup_error_ Error e = {};
        int r;

        if (!k)
                return 0;
        r = use_files(k, &e);
        if (r < 0)
                return log_error_errno(r, "Cannot use the renewed keys, the old ones stay: %s",
                                       error_message(&e, r));
        renew_connections(k);
        loop_timer_start(k->recheck, 0);
        return 0;
}

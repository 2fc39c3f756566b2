/*
 * Keys — see master-keys.h.
 */
#include <fcntl.h>
#include <sys/random.h>

#include "base/text.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rotation.h"
#include "mr-masterd/master-store-keys.h"
#include "pki/key-dir.h"
#include "platform/log.h"

#define LOOK_MAX_USEC (3600 * USEC_PER_SEC)
#define LOOK_ROTATING_USEC (5 * USEC_PER_SEC)
#define LOOK_MIN_USEC (100 * USEC_PER_MSEC)
#define KEEP_EXPIRED_SEC (30 * 24 * 3600) /* in the list that people see */
#define CA_WARN_SEC ((int64_t) 180 * 24 * 3600)
#define LIST_NUMBER "revocations"

int64_t keys_now_sec(const Manager *m)
{
        return (int64_t) (loop_realtime_usec(m->loop) / USEC_PER_SEC);
}

static void make_serial(uint8_t ret[static PKI_SERIAL_SIZE])
{
        if (getrandom(ret, PKI_SERIAL_SIZE, 0) != (ssize_t) PKI_SERIAL_SIZE)
                abort(); /* a kernel without randomness: no key is safe */
}

static int64_t lifetime_sec(const Manager *m)
{
        return (int64_t) (m->conf->certificate_lifetime_usec / USEC_PER_SEC);
}

static int read_failed(const MasterKeys *k, const char *name, int r, Error *e)
{
        return error_setf(e, r, "cannot use %s/%s: %s", k->dir, name, error_text(r));
}

/* ---- The CA
 * ------------------------------------------------------------------------------------- */

static char *certificates_of(const PkiAuthority *first, const PkiAuthority *second)
{
        return g_strconcat(pki_authority_certificate(first),
                           second ? pki_authority_certificate(second) : NULL, NULL);
}

/* A certificate that is there has its key, at every moment: the key comes before it, and goes after
 * it. */
int keys_write_authorities(MasterKeys *k, const PkiAuthority *first, const PkiAuthority *second,
                           Error *e)
{
        _cleanup_(pki_key_freep) char *keys = g_strconcat(
                pki_authority_key(first), second ? pki_authority_key(second) : NULL, NULL);
        g_autofree char *certificates = certificates_of(first, second);
        bool drops = k->other && !second;
        int r = 0;

        if (!drops)
                r = key_dir_write(k->dir_fd, KEY_DIR_CA_KEY, 0600, keys);
        if (r >= 0)
                r = key_dir_write(k->dir_fd, KEY_DIR_CA, 0644, certificates);
        if (r < 0)
                return error_setf(e, r, "cannot keep the cluster's CA in %s: %s", k->dir,
                                  error_text(r));
        if (drops && key_dir_write(k->dir_fd, KEY_DIR_CA_KEY, 0600, keys) < 0)
                log_warning("The old CA's key is still in %s/" KEY_DIR_CA_KEY
                            ", where nobody needs it any more",
                            k->dir);
        g_free(k->authorities_pem);
        k->authorities_pem = TAKE_PTR(certificates);
        return 0;
}

int keys_make_authority(const MasterKeys *k, const PkiAuthority *old, PkiAuthority **ret, Error *e)
{
        uint8_t serial[PKI_SERIAL_SIZE];

        make_serial(serial);
        return pki_authority_make(keys_now_sec(k->manager), serial, old, ret, e);
}

static int make_first_authority(MasterKeys *k, Error *e)
{
        int r;

        r = keys_make_authority(k, NULL, &k->authority, e);
        if (r >= 0)
                r = keys_write_authorities(k, k->authority, NULL, e);
        if (r < 0)
                return r;
        log_notice("Made the cluster's CA in %s: back it up, and let nobody else read it", k->dir);
        return 0;
}

static int use_authorities(MasterKeys *k, const char *certificates, const char *keys, Error *e)
{
        const char *second = pki_certificate_next(certificates);
        int r;

        r = pki_authority_load(certificates, keys, &k->authority, e);
        if (r >= 0 && second)
                r = pki_authority_load(second, keys, &k->other, e);
        if (r < 0)
                return r;
        if (second && pki_certificate_next(second))
                return error_setf(e, EBADMSG, "these are more than two CAs");
        k->authorities_pem = certificates_of(k->authority, k->other);
        return 0;
}

static int load_authorities(MasterKeys *k, Error *e)
{
        _cleanup_(pki_key_freep) char *certificates = NULL, *keys = NULL;
        _cleanup_error_ Error cause = {};
        int r;

        r = key_dir_read(k->dir_fd, KEY_DIR_CA, &certificates);
        if (r == -ENOENT)
                return make_first_authority(k, e);
        if (r < 0)
                return read_failed(k, KEY_DIR_CA, r, e);
        r = key_dir_read(k->dir_fd, KEY_DIR_CA_KEY, &keys);
        if (r < 0)
                return error_setf(
                        e, r,
                        "cannot use the CA's key %s/" KEY_DIR_CA_KEY
                        ": %s; restore it from the backup, or move "
                        "%s away to begin anew with a CA that every worker must join again",
                        k->dir, error_text(r), k->dir);
        r = use_authorities(k, certificates, keys, &cause);
        if (r < 0)
                return error_setf(e, r, "the cluster's CA in %s is damaged: %s", k->dir,
                                  error_message(&cause, r));
        return 0;
}

const PkiAuthority *keys_older(const MasterKeys *k)
{
        return k->other && pki_authority_not_before_sec(k->other) <
                                       pki_authority_not_before_sec(k->authority)
                       ? k->other
                       : k->authority;
}

/* ---- Our own certificate
 * ------------------------------------------------------------------------ */

void keys_name_authority(const PkiAuthority *a, char ret[static 2 * PKI_FINGERPRINT_SIZE + 1])
{
        uint8_t digest[PKI_FINGERPRINT_SIZE] = {};

        (void) pki_fingerprint(pki_authority_certificate(a), digest, NULL);
        text_hex(digest, sizeof(digest), ret);
}

static void note_certificate(MasterKeys *k, const PkiAuthority *by, const char *pem,
                             const char *name)
{
        char issuer[2 * PKI_FINGERPRINT_SIZE + 1];
        PkiCertificate c;

        if (pki_certificate_read(pem, &c, NULL) < 0)
                return;
        keys_name_authority(by, issuer);
        store_put_certificate(k->manager->store,
                              &(StoreCertificate){.serial = c.serial,
                                                  .role = c.role,
                                                  .worker_id = c.worker_id,
                                                  .name = name,
                                                  .issued_sec = keys_now_sec(k->manager),
                                                  .not_before_sec = c.not_before_sec,
                                                  .not_after_sec = c.not_after_sec,
                                                  .issuer = issuer});
}

/* While there are two CAs the master has a certificate of the older one: whoever has not heard of
 * the newer one believes it, too. Workers get theirs of the first one. */
static int issue(MasterKeys *k, const char *request, PkiRole role, const char *worker_id,
                 const char *name, char **ret_pem, Error *e)
{
        const PkiAuthority *by = role == PKI_ROLE_MASTER ? keys_older(k) : k->authority;
        PkiGrant grant = {
                .role = role,
                .worker_id = worker_id,
                .now_sec = keys_now_sec(k->manager),
                .lifetime_sec = lifetime_sec(k->manager),
        };
        int r;

        make_serial(grant.serial);
        r = pki_authority_issue(by, request, &grant, ret_pem, e);
        if (r < 0)
                return r;
        store_trim_certificates(k->manager->store, grant.now_sec - KEEP_EXPIRED_SEC);
        note_certificate(k, by, *ret_pem, name);
        return 0;
}

int keys_make_identity(MasterKeys *k, Error *e)
{
        _cleanup_(pki_key_freep) char *key = NULL, *both = NULL;
        g_autofree char *request = NULL, *certificate = NULL;
        int r;

        r = pki_key_make(&key);
        if (r < 0)
                return error_setf(e, r, "cannot make a key: %s", error_text(r));
        r = pki_request_make(key, PKI_MASTER_NAME, &request, e);
        if (r >= 0)
                r = issue(k, request, PKI_ROLE_MASTER, "", "", &certificate, e);
        if (r < 0)
                return r;
        both = g_strconcat(certificate, key, NULL);
        r = key_dir_write(k->dir_fd, KEY_DIR_IDENTITY, 0600, both);
        if (r < 0)
                return error_setf(e, r, "cannot keep the master's certificate in %s: %s", k->dir,
                                  error_text(r));
        return pki_certificate_read(certificate, &k->own, e);
}

/* Whether the one on disk is ours to use: of this CA's making, the master's, and not to be renewed
 * yet. */
static bool identity_is_good(MasterKeys *k)
{
        _cleanup_(pki_key_freep) char *both = NULL;

        return key_dir_read(k->dir_fd, KEY_DIR_IDENTITY, &both) >= 0 &&
               pki_certificate_read(both, &k->own, NULL) >= 0 && k->own.role == PKI_ROLE_MASTER &&
               pki_key_check(both, both, NULL) >= 0 &&
               pki_issuer_of(both, pki_authority_certificate(keys_older(k))) &&
               pki_renewal_sec(&k->own) > keys_now_sec(k->manager);
}

/* ---- The list of revoked certificates
 * ----------------------------------------------------------- */

typedef struct Listing {
        GArray *revoked;    /* PkiRevoked */
        GPtrArray *serials; /* that those point to */
        int64_t now_sec;
} Listing;

static void add_revoked(const StoreCertificate *c, void *userdata)
{
        Listing *l = userdata;
        PkiRevoked entry = {.revoked_sec = c->revoked_sec};

        /* What has expired by any clock needs no revoking. */
        if (c->revoked_sec == 0 || c->not_after_sec + PKI_BACKDATE_SEC < l->now_sec)
                return;
        entry.serial = g_strdup(c->serial);
        g_ptr_array_add(l->serials, (char *) entry.serial);
        g_array_append_val(l->revoked, entry);
}

/* One list of each CA: nobody believes another's. */
static int sign_lists(MasterKeys *k, const Listing *l, char **ret_pem, Error *e)
{
        g_autofree char *first = NULL, *second = NULL;
        int r;

        r = pki_authority_list_revoked(k->authority, (const PkiRevoked *) l->revoked->data,
                                       l->revoked->len, k->list_number, l->now_sec, &first, e);
        if (r >= 0 && k->other)
                r = pki_authority_list_revoked(k->other, (const PkiRevoked *) l->revoked->data,
                                               l->revoked->len, k->list_number, l->now_sec, &second,
                                               e);
        if (r >= 0)
                *ret_pem = g_strconcat(first, second, NULL);
        return r;
}

/* From the store, where it is true. */
static int make_list(MasterKeys *k, Error *e)
{
        g_autoptr(GArray) revoked = g_array_new(FALSE, FALSE, sizeof(PkiRevoked));
        g_autoptr(GPtrArray) serials = g_ptr_array_new_with_free_func(g_free);
        Listing l = {.revoked = revoked, .serials = serials, .now_sec = keys_now_sec(k->manager)};
        g_autofree char *pem = NULL;
        int r;

        r = store_each_certificate(k->manager->store, add_revoked, &l);
        if (r < 0)
                return error_setf(e, r, "cannot read the certificates: %s",
                                  store_error(k->manager->store));
        k->list_number = store_get_number(k->manager->store, LIST_NUMBER);
        r = sign_lists(k, &l, &pem, e);
        if (r < 0)
                return r;
        g_free(k->list_pem);
        k->list_pem = TAKE_PTR(pem);
        return 0;
}

/* ---- What TLS makes of it
 * ----------------------------------------------------------------------- */

static int take_tls_error(int r, char *words, Error *e)
{
        _cleanup_free_ char *owned = words;

        return r < 0 ? error_setf(e, r, "%s", owned ? owned : error_text(r)) : 0;
}

static int use_source(EvgrpcTls **tls, const EvgrpcTlsSource *source, Error *e)
{
        char *words = NULL;
        int r;

        r = *tls ? evgrpc_tls_reload(*tls, source, &words) : evgrpc_tls_new(source, tls, &words);
        return take_tls_error(r, words, e);
}

/* Strangers are shown the CA, too: they know its fingerprint and nothing else. */
static int use_join(MasterKeys *k, Error *e)
{
        _cleanup_(pki_key_freep) char *both = NULL, *chain = NULL;
        EvgrpcTlsSource source = {.ca_pem = k->authorities_pem, .anonymous_clients = true};
        int r;

        r = key_dir_read(k->dir_fd, KEY_DIR_IDENTITY, &both);
        if (r < 0)
                return read_failed(k, KEY_DIR_IDENTITY, r, e);
        chain = g_strconcat(both, k->authorities_pem, NULL);
        source.certificate_pem = chain;
        source.key_pem = both;
        source.crl_pem = k->list_pem;
        return use_source(&k->join_tls, &source, e);
}

static int use_cluster_keys(MasterKeys *k, Error *e)
{
        g_autofree char *ca = g_build_filename(k->dir, KEY_DIR_CA, NULL);
        g_autofree char *identity = g_build_filename(k->dir, KEY_DIR_IDENTITY, NULL);
        const EvgrpcTlsSource source = {.ca_file = ca,
                                        .certificate_file = identity,
                                        .key_file = identity,
                                        .crl_pem = k->list_pem};
        int r;

        r = use_source(&k->tls, &source, e);
        return r < 0 ? r : use_join(k, e);
}

static int use_own_pki(MasterKeys *k, Error *e)
{
        const KeyFiles *f = &k->manager->conf->keys;
        _cleanup_(pki_key_freep) char *certificate = NULL, *ca = NULL;
        const EvgrpcTlsSource source = {.ca_file = f->ca,
                                        .certificate_file = f->certificate,
                                        .key_file = f->key,
                                        .crl_file = f->list};
        int r;

        r = use_source(&k->tls, &source, e); /* says it when a file cannot be read */
        if (r >= 0)
                r = key_dir_read(AT_FDCWD, f->certificate, &certificate);
        if (r >= 0)
                r = key_dir_read(AT_FDCWD, f->ca, &ca);
        if (r >= 0)
                r = pki_certificate_read(certificate, &k->own, e);
        if (r >= 0)
                r = pki_fingerprint(ca, k->fingerprint, e);
        if (r < 0)
                return error_setf(e, r, "cannot use %s: %s", f->certificate, error_text(r));
        if (k->own.role != PKI_ROLE_MASTER)
                return error_setf(
                        e, EKEYREJECTED,
                        "the certificate in %s is not a master's: the first DNS name in its SAN "
                        "must be " PKI_MASTER_NAME,
                        f->certificate);
        return 0;
}

/* ---- As time goes by
 * ---------------------------------------------------------------------------- */

static void warn_of_the_end(const MasterKeys *k)
{
        int64_t left_sec, now_sec = keys_now_sec(k->manager);

        if (k->authority) {
                left_sec = pki_authority_not_after_sec(keys_older(k)) - now_sec;
                if (left_sec < CA_WARN_SEC)
                        log_warning("The cluster's CA ends in %" PRId64
                                    " days, and every certificate with it: mrctl cluster ca "
                                    "tells which workers have none of the new one yet",
                                    left_sec / (24 * 3600));
        } else if (pki_renewal_sec(&k->own) < now_sec)
                log_warning("The master's certificate %s ends in %" PRId64
                            " days: renew it, and reload the master",
                            k->manager->conf->keys.certificate,
                            (k->own.not_after_sec - now_sec) / (24 * 3600));
}

static uint64_t look_usec(const MasterKeys *k)
{
        return CLAMP(k->manager->conf->certificate_lifetime_usec / 20, LOOK_MIN_USEC,
                     k->other ? LOOK_ROTATING_USEC : LOOK_MAX_USEC);
}

static void renew(MasterKeys *k)
{
        _cleanup_error_ Error e = {};
        int r;

        r = keys_make_identity(k, &e);
        if (r >= 0)
                r = use_cluster_keys(k, &e);
        if (r < 0)
                log_error("Cannot renew the master's certificate, trying again: %s",
                          error_message(&e, r));
        else
                log_info("Renewed the master's certificate");
        if (r >= 0)
                manager_renew_connections(k->manager);
        manager_kick(k->manager); /* which commits */
}

static void on_look(void *userdata)
{
        MasterKeys *k = userdata;

        if (k->authority && pki_renewal_sec(&k->own) <= keys_now_sec(k->manager))
                renew(k);
        if (k->authority)
                rotation_look(k);
        warn_of_the_end(k);
        manager_recheck_peers(k->manager); /* certificates expire under living connections */
        loop_timer_start(k->timer, look_usec(k));
}

/* ---- All of it
 * ---------------------------------------------------------------------------------- */

int keys_use_authorities(MasterKeys *k, Error *e)
{
        int r;

        r = pki_fingerprint(pki_authority_certificate(keys_older(k)), k->fingerprint, e);
        if (r >= 0)
                r = make_list(k, e);
        return r < 0 ? r : use_cluster_keys(k, e);
}

static int open_cluster_keys(MasterKeys *k, Error *e)
{
        int r;

        k->dir = g_build_filename(k->manager->conf->state_dir, "tls", NULL);
        r = key_dir_open(k->dir, true, &k->dir_fd);
        if (r < 0)
                return error_setf(e, r, "cannot make %s: %s", k->dir, error_text(r));
        r = load_authorities(k, e);
        if (r >= 0 && !identity_is_good(k))
                r = keys_make_identity(k, e);
        return r < 0 ? r : keys_use_authorities(k, e);
}

int keys_open(Manager *m, MasterKeys **ret, Error *e)
{
        MasterKeys *k = g_new0(MasterKeys, 1);
        int r;

        *k = (MasterKeys){.manager = m, .dir_fd = -EBADF};
        r = m->conf->keys.certificate ? use_own_pki(k, e) : open_cluster_keys(k, e);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_look, k, &k->timer);
        if (r < 0) {
                keys_free(k);
                return error_setf(e, r, "cannot prepare the keys: %s", error_text(r));
        }
        warn_of_the_end(k);
        loop_timer_start(k->timer, look_usec(k));
        *ret = k;
        return 0;
}

MasterKeys *keys_free(MasterKeys *k)
{
        if (!k)
                return NULL;
        loop_timer_free(k->timer);
        evgrpc_tls_unref(k->tls);
        evgrpc_tls_unref(k->join_tls);
        pki_authority_free(k->authority);
        pki_authority_free(k->other);
        g_free(k->authorities_pem);
        g_free(k->list_pem);
        g_free(k->dir);
        safe_close(k->dir_fd);
        g_free(k);
        return NULL;
}

int keys_reload(MasterKeys *k, Error *e)
{
        int r;

        r = k->authority ? use_cluster_keys(k, e) : use_own_pki(k, e);
        if (r >= 0) {
                manager_renew_connections(k->manager);
                manager_recheck_peers(k->manager);
        }
        return r;
}

int keys_grant(MasterKeys *k, const char *request_pem, const char *worker_id, const char *name,
               char **ret_pem, Error *e)
{
        return issue(k, request_pem, PKI_ROLE_WORKER, worker_id, name, ret_pem, e);
}

/* ---- Revoking
 * ----------------------------------------------------------------------------------- */

int keys_new_list_number(MasterKeys *k, Error *e)
{
        Store *store = k->manager->store;
        int r;

        store_put_number(store, LIST_NUMBER, store_get_number(store, LIST_NUMBER) + 1);
        r = manager_commit(k->manager, true);
        return r < 0 ? error_setf(e, r, "cannot write the state: %s", store_error(store)) : 0;
}

void keys_look_soon(MasterKeys *k)
{
        loop_timer_start(k->timer, LOOK_MIN_USEC);
}

typedef struct Search {
        const char *worker_id;
        int64_t now_sec;
        GPtrArray *serials;
} Search;

static void add_valid(const StoreCertificate *c, void *userdata)
{
        Search *s = userdata;

        if (c->revoked_sec == 0 && c->not_after_sec + PKI_BACKDATE_SEC >= s->now_sec &&
            g_str_equal(c->worker_id, s->worker_id))
                g_ptr_array_add(s->serials, g_strdup(c->serial));
}

int keys_revoke(MasterKeys *k, const char *worker_id, Error *e)
{
        g_autoptr(GPtrArray) serials = g_ptr_array_new_with_free_func(g_free);
        Store *store = k->manager->store;
        Search s = {
                .worker_id = worker_id, .now_sec = keys_now_sec(k->manager), .serials = serials};
        int r;

        r = store_each_certificate(store, add_valid, &s);
        if (r < 0)
                return error_setf(e, r, "cannot read the certificates: %s", store_error(store));
        if (serials->len == 0)
                return 0;
        for (guint i = 0; i < serials->len; i++)
                store_revoke_certificate(store, serials->pdata[i], s.now_sec);
        r = keys_new_list_number(k, e);
        if (r < 0)
                return r;
        r = make_list(k, e);
        if (r >= 0)
                r = use_cluster_keys(k, e);
        /* First, so that its attempts are lost by this, and not by the end of its connection. */
        manager_expel_worker(k->manager, worker_id, "its certificate was revoked");
        manager_recheck_peers(k->manager);
        return r < 0 ? r : (int) serials->len;
}

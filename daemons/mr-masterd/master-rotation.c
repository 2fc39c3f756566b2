/*
 * Rotation — see master-rotation.h.
 */
#include "mr-masterd/master-join.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rotation.h"
#include "mr-masterd/master-store-keys.h"
#include "platform/log.h"

#define CA_RENEW_SEC ((int64_t) 365 * 24 * 3600)

RotationPhase rotation_phase(const MasterKeys *k)
{
        if (!k->other)
                return ROTATION_NONE;
        return keys_older(k) == k->authority ? ROTATION_SPREADING : ROTATION_RENEWING;
}

const char *rotation_phase_to_string(RotationPhase p)
{
        static const char *const names[] = {"none", "spreading", "renewing"};

        return names[p];
}

uint64_t rotation_bundle_digest(const MasterKeys *k)
{
        return pki_digest_text(k->authorities_pem);
}

/* ---- Whom it waits for
 * -------------------------------------------------------------------------- */

/* Over a unix socket it is of this host, and needs no certificate. */
static bool has_keys(const MasterWorker *w)
{
        return w->alive && address_is_tcp(w->address);
}

static const PkiAuthority *newer(const MasterKeys *k)
{
        return k->other && keys_older(k) == k->authority ? k->other : k->authority;
}

static bool holds_new(const MasterKeys *k, const MasterWorker *w)
{
        uint8_t digest[PKI_FINGERPRINT_SIZE];

        return has_keys(w) &&
               pki_fingerprint(pki_authority_certificate(newer(k)), digest, NULL) >= 0 &&
               w->issuer == pki_digest_head(digest);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static GPtrArray *list_who_must_hear(const MasterKeys *k)
{
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        uint64_t digest = rotation_bundle_digest(k);
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, k->manager->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                const MasterWorker *w = p;

                if (has_keys(w) && (w->authorities != digest || w->revocations < k->list_number))
                        g_ptr_array_add(names, g_strdup(w->name));
        }
        g_ptr_array_sort(names, compare_names);
        return names;
}

typedef struct Search {
        const MasterKeys *k;
        char issuer[2 * PKI_FINGERPRINT_SIZE + 1];
        int64_t now_sec;
        GHashTable *pending; /* id -> name: has a good certificate of the old CA */
} Search;

static void on_certificate(const StoreCertificate *c, void *userdata)
{
        Search *s = userdata;

        if (c->role == PKI_ROLE_WORKER && c->revoked_sec == 0 && c->not_after_sec > s->now_sec &&
            !g_str_equal(c->issuer, s->issuer))
                (void) g_hash_table_replace(s->pending, g_strdup(c->worker_id),
                                            g_strdup(*c->name ? c->name : c->worker_id));
}

GPtrArray *rotation_list_without_new(const MasterKeys *k)
{
        g_autoptr(GHashTable) pending =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        Search s = {.k = k, .now_sec = keys_now_sec(k->manager), .pending = pending};
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter iter;
        gpointer id, name;

        keys_name_authority(newer(k), s.issuer);
        if (store_each_certificate(k->manager->store, on_certificate, &s) < 0) {
                g_ptr_array_add(names, g_strdup("(the list of certificates cannot be read)"));
                return names;
        }
        g_hash_table_iter_init(&iter, pending);
        while (g_hash_table_iter_next(&iter, &id, &name)) {
                const MasterWorker *w = g_hash_table_lookup(k->manager->workers, id);

                if (!w || !holds_new(k, w))
                        g_ptr_array_add(names, g_strdup(name));
        }
        g_ptr_array_sort(names, compare_names);
        return names;
}

GPtrArray *rotation_list_pending(const MasterKeys *k)
{
        switch (rotation_phase(k)) {
        case ROTATION_NONE:
                return g_ptr_array_new();
        case ROTATION_SPREADING:
                return list_who_must_hear(k);
        case ROTATION_RENEWING:
                return rotation_list_without_new(k);
        }
        return g_ptr_array_new();
}

/* ---- From phase to phase
 * ------------------------------------------------------------------------ */

int rotation_start(MasterKeys *k, Error *e)
{
        PkiAuthority *fresh = NULL;
        int r;

        if (k->other)
                return error_setf(
                        e, EALREADY,
                        "another CA takes the place of the old one already: mrctl cluster "
                        "ca tells for whom it waits, mrctl cluster drop-ca ends it");
        r = keys_new_list_number(k, e);
        if (r >= 0)
                r = keys_make_authority(k, k->authority, &fresh, e);
        if (r < 0)
                return r;
        r = keys_write_authorities(k, k->authority, fresh, e);
        if (r < 0) {
                pki_authority_free(fresh);
                return r;
        }
        k->other = fresh;
        log_notice("Made a new CA, which takes the place of the old one: back up %s", k->dir);
        keys_look_soon(k);
        return keys_use_authorities(k, e);
}

static const MasterWorker *find_behind(const MasterKeys *k)
{
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, k->manager->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p))
                if (has_keys(p) && !holds_new(k, p))
                        return p;
        return NULL;
}

static int swap(MasterKeys *k, Error *e)
{
        PkiAuthority *old = k->authority;
        int r;

        r = keys_write_authorities(k, k->other, old, e);
        if (r < 0)
                return r;
        k->authority = k->other;
        k->other = old;
        log_notice("Every worker knows the new CA, which issues from now on");
        return keys_use_authorities(k, e);
}

int rotation_finish(MasterKeys *k, Error *e)
{
        const MasterWorker *behind;
        PkiAuthority *fresh, *old;
        int r;

        if (!k->other)
                return error_setf(e, ENOENT,
                                  "there is one CA only: mrctl cluster rotate-ca makes another");
        behind = find_behind(k);
        if (behind)
                return error_setf(e, EAGAIN,
                                  "worker %s has no certificate of the new CA yet: try again in a "
                                  "moment, or revoke it",
                                  behind->name);
        fresh = keys_older(k) == k->authority ? k->other : k->authority;
        old = fresh == k->authority ? k->other : k->authority;
        r = keys_new_list_number(k, e);
        if (r >= 0)
                r = keys_write_authorities(k, fresh, NULL, e);
        if (r < 0)
                return r;
        k->authority = fresh;
        k->other = NULL;
        pki_authority_free(old);
        log_notice("The old CA is gone: its certificates are worth nothing any more");
        r = keys_make_identity(k, e);
        if (r >= 0)
                r = keys_use_authorities(k, e);
        if (k->manager->join)
                (void) join_forget_tokens(k->manager->join, NULL); /* they name the old one */
        /* Workers believe both until they hear of this: attempts move in time. */
        manager_renew_connections(k->manager);
        manager_recheck_peers(k->manager);
        manager_kick(k->manager); /* which commits */
        return r;
}

static int go_on(MasterKeys *k, Error *e)
{
        g_autoptr(GPtrArray) pending = rotation_list_pending(k);

        switch (rotation_phase(k)) {
        case ROTATION_NONE:
                if (pki_authority_not_after_sec(k->authority) - keys_now_sec(k->manager) >
                    CA_RENEW_SEC)
                        return 0;
                return rotation_start(k, e);
        case ROTATION_SPREADING:
                return pending->len > 0 ? 0 : swap(k, e);
        case ROTATION_RENEWING:
                if (pending->len > 0 || (k->manager->join && join_count_tokens(k->manager->join)))
                        return 0;
                return rotation_finish(k, e);
        }
        return 0;
}

void rotation_look(MasterKeys *k)
{
        _cleanup_error_ Error e = {};
        int r;

        r = go_on(k, &e);
        if (r < 0)
                log_error("Cannot go on with the new CA, trying again: %s", error_message(&e, r));
}

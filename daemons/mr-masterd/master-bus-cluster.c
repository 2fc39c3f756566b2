/*
 * The bus side of who is in the cluster: tokens, certificates, revocation.
 */
#include "base/text.h"
#include "mr-masterd/master-join.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rotation.h"
#include "mr-masterd/master-store-keys.h"
#include "platform/bus.h"
#include "platform/log.h"

#define CLUSTER_INTERFACE "org.mapreduced.Master1.Cluster"

/* Return: whether this master is the one that decides; else the sentence why not is set. */
static bool decides(const Manager *m, sd_bus_error *ret_error)
{
        if (m->keys && m->keys->authority && m->join)
                return true;
        (void) bus_error_setf(
                ret_error, BUS_ERROR_WRONG_STATE,
                m->keys ? "The certificates of this cluster come from a PKI of its own: "
                          "issue and revoke them there"
                        : "This master serves no TCP by TLS, so no other host can join");
        return false;
}

/* Return: as bus_authorise(), and whether there is something to manage. */
static int may_manage(Manager *m, sd_bus_message *message, sd_bus_error *ret_error)
{
        int r;

        r = bus_authorise(m, message, ACTION_MANAGE_CLUSTER, NULL, ret_error);
        if (r <= 0)
                return r;
        return decides(m, ret_error) ? 1 : -sd_bus_error_get_errno(ret_error);
}

static int fail(sd_bus_error *ret_error, int r, const Error *e)
{
        const char *name = r == -EINVAL  ? SD_BUS_ERROR_INVALID_ARGS
                           : r == -EBUSY ? BUS_ERROR_LIMIT
                           : r == -EALREADY || r == -ENOENT || r == -EAGAIN ? BUS_ERROR_WRONG_STATE
                                                                            : BUS_ERROR_IO;

        return bus_error_setf(ret_error, name, "%s", error_message(e, r));
}

static int method_create_token(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(pki_key_freep) char *token = NULL;
        _cleanup_error_ Error e = {};
        uint64_t ttl_usec, expires_usec;
        Manager *m = userdata;
        const char *host;
        int r;

        r = sd_bus_message_read(message, "ts", &ttl_usec, &host);
        if (r < 0)
                return r;
        r = may_manage(m, message, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = join_make_token(m->join, ttl_usec, host, &token, &expires_usec, &e);
        if (r < 0)
                return fail(ret_error, r, &e);
        log_notice("Made a join token");
        return sd_bus_reply_method_return(message, "st", token, expires_usec);
}

static int method_forget_tokens(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        r = may_manage(m, message, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = join_forget_tokens(m->join, &e);
        if (r < 0)
                return fail(ret_error, r, &e);
        return sd_bus_reply_method_return(message, "u", (uint32_t) r);
}

/* ---- Revoking
 * ----------------------------------------------------------------------------------- */

typedef struct Search {
        const char *worker; /* an id or a name */
        int64_t now_sec;
        GHashTable *ids; /* of those who may be meant */
} Search;

static void on_candidate(const StoreCertificate *c, void *userdata)
{
        Search *s = userdata;

        if (!*c->worker_id || c->revoked_sec != 0 || c->not_after_sec <= s->now_sec)
                return;
        if (g_str_equal(c->worker_id, s->worker) || g_str_equal(c->name, s->worker))
                g_hash_table_add(s->ids, g_strdup(c->worker_id));
}

static int find_worker(Manager *m, const char *worker, char ret_id[static ID128_HEX_SIZE],
                       sd_bus_error *ret_error)
{
        g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        Search s = {.worker = worker, .now_sec = keys_now_sec(m), .ids = ids};
        gpointer id;
        GHashTableIter iter;

        if (store_each_certificate(m->store, on_candidate, &s) < 0)
                return bus_error_setf(ret_error, BUS_ERROR_IO, "Cannot read the certificates: %s",
                                      store_error(m->store));
        if (g_hash_table_size(ids) == 0)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_WORKER,
                                      "No worker %.255s has a valid certificate", worker);
        if (g_hash_table_size(ids) > 1)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_WORKER,
                                      "%u workers are called %.255s: give the id",
                                      g_hash_table_size(ids), worker);
        g_hash_table_iter_init(&iter, ids);
        (void) g_hash_table_iter_next(&iter, &id, NULL);
        (void) g_strlcpy(ret_id, id, ID128_HEX_SIZE);
        return 0;
}

static int method_revoke_worker(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        char id[ID128_HEX_SIZE];
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        const char *worker;
        int r;

        r = sd_bus_message_read(message, "s", &worker);
        if (r < 0)
                return r;
        r = may_manage(m, message, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = find_worker(m, worker, id, ret_error);
        if (r < 0)
                return r;
        r = keys_revoke(m->keys, id, &e);
        manager_expel_worker(m, id, "its certificate was revoked"); /* before, perhaps */
        if (r < 0)
                return fail(ret_error, r, &e);
        log_notice("Revoked the certificate of worker %s", id);
        return sd_bus_reply_method_return(message, "su", id, (uint32_t) r);
}

/* ---- Another CA
 * --------------------------------------------------------------------------------- */

static int method_rotate_ca(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        char fingerprint[2 * PKI_FINGERPRINT_SIZE + 1];
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        r = may_manage(m, message, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = rotation_start(m->keys, &e);
        if (r < 0)
                return fail(ret_error, r, &e);
        keys_name_authority(m->keys->other, fingerprint);
        return sd_bus_reply_method_return(message, "s", fingerprint);
}

static int reply_with_names(sd_bus_message *message, GPtrArray *names)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        g_ptr_array_add(names, NULL);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, (char **) names->pdata);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_drop_ca(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        g_autoptr(GPtrArray) out = NULL;
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        r = may_manage(m, message, ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        out = rotation_list_without_new(m->keys);
        r = rotation_finish(m->keys, &e);
        if (r < 0)
                return fail(ret_error, r, &e);
        return reply_with_names(message, out);
}

static int property_rotation(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *error)
{
        const Manager *m = userdata;
        RotationPhase phase =
                m->keys && m->keys->authority ? rotation_phase(m->keys) : ROTATION_NONE;

        return sd_bus_message_append(reply, "s", rotation_phase_to_string(phase));
}

static int property_pending(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error)
{
        const Manager *m = userdata;
        g_autoptr(GPtrArray) names =
                m->keys && m->keys->authority ? rotation_list_pending(m->keys) : g_ptr_array_new();

        g_ptr_array_add(names, NULL);
        return sd_bus_message_append_strv(reply, (char **) names->pdata);
}

/* ---- Showing
 * ------------------------------------------------------------------------------------ */

typedef struct Rows {
        sd_bus_message *reply;
        int64_t now_sec;
        int result;
} Rows;

static const char *state_of(const StoreCertificate *c, int64_t now_sec)
{
        if (c->revoked_sec != 0)
                return "revoked";
        return c->not_after_sec <= now_sec ? "expired" : "valid";
}

static void add_row(const StoreCertificate *c, void *userdata)
{
        Rows *rows = userdata;

        if (rows->result < 0)
                return;
        rows->result = sd_bus_message_append(rows->reply, "(sssssttt)", c->serial,
                                             c->role == PKI_ROLE_MASTER ? "master" : "worker",
                                             c->worker_id, c->name, state_of(c, rows->now_sec),
                                             (uint64_t) c->not_before_sec * USEC_PER_SEC,
                                             (uint64_t) c->not_after_sec * USEC_PER_SEC,
                                             (uint64_t) c->revoked_sec * USEC_PER_SEC);
}

static int method_list_certificates(sd_bus_message *message, void *userdata,
                                    sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *m = userdata;
        Rows rows = {.now_sec = keys_now_sec(m)};
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sssssttt)");
        if (r < 0)
                return r;
        rows.reply = reply;
        r = store_each_certificate(m->store, add_row, &rows);
        if (r >= 0)
                r = rows.result;
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int property_fingerprint(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *error)
{
        const Manager *m = userdata;
        char hex[2 * PKI_FINGERPRINT_SIZE + 1] = "";

        if (m->keys)
                text_hex(m->keys->fingerprint, PKI_FINGERPRINT_SIZE, hex);
        return sd_bus_message_append(reply, "s", hex);
}

static int property_expires(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error)
{
        const Manager *m = userdata;
        int64_t sec = 0;

        if (m->keys && g_str_equal(property, "CertificateExpiresUSec"))
                sec = m->keys->own.not_after_sec;
        else if (m->keys && m->keys->authority)
                sec = pki_authority_not_after_sec(keys_older(m->keys));
        return sd_bus_message_append(reply, "t", (uint64_t) sec * USEC_PER_SEC);
}

static const sd_bus_vtable cluster_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("CreateToken", SD_BUS_ARGS("t", lifetime_usec, "s", host),
                                SD_BUS_RESULT("s", token, "t", expires_usec), method_create_token,
                                SD_BUS_VTABLE_SENSITIVE),
        SD_BUS_METHOD_WITH_ARGS("ForgetTokens", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", count),
                                method_forget_tokens, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RevokeWorker", SD_BUS_ARGS("s", worker),
                                SD_BUS_RESULT("s", id, "u", certificates), method_revoke_worker,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListCertificates", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(sssssttt)", certificates),
                                method_list_certificates, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RotateCA", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", fingerprint),
                                method_rotate_ca, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("DropCA", SD_BUS_NO_ARGS, SD_BUS_RESULT("as", workers),
                                method_drop_ca, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("CARotation", "s", property_rotation, 0, 0),
        SD_BUS_PROPERTY("CAPending", "as", property_pending, 0, 0),
        SD_BUS_PROPERTY("CAFingerprint", "s", property_fingerprint, 0, 0),
        SD_BUS_PROPERTY("CAExpiresUSec", "t", property_expires, 0, 0),
        SD_BUS_PROPERTY("CertificateExpiresUSec", "t", property_expires, 0, 0),
        SD_BUS_VTABLE_END,
};

int bus_add_cluster_object(Manager *m)
{
        return sd_bus_add_object_vtable(m->bus, NULL, MASTER_PATH, CLUSTER_INTERFACE,
                                        cluster_vtable, m);
}

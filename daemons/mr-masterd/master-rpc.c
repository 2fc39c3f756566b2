/*
 * The RPC side — service Master of cluster.proto: checks what comes in, and calls what decides.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-rotation.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-rpc.h"
#include "mr-masterd/master-store-keys.h"
#include "platform/log.h"

#define FILE_CHUNK_BYTES KIB(256)

EvgrpcCode rpc_code_of(int error)
{
        switch (-error) {
        case EINVAL:
                return EVGRPC_INVALID_ARGUMENT;
        case EPERM:
                return EVGRPC_PERMISSION_DENIED;
        case EEXIST:
                return EVGRPC_ALREADY_EXISTS;
        case EUSERS:
        case EAGAIN:
                return EVGRPC_RESOURCE_EXHAUSTED;
        case EBADMSG:
        case EKEYREJECTED:
                return EVGRPC_INVALID_ARGUMENT;
        case EKEYEXPIRED:
                return EVGRPC_FAILED_PRECONDITION;
        case ENOENT:
                return EVGRPC_NOT_FOUND;
        default:
                return EVGRPC_INTERNAL;
        }
}

/* The address that others are told. One of the host "*" is that of the host the call comes from: by
 * it the worker has reached us, so by it others reach the worker. */
static int resolve_address(const char *address, const char *peer, char **ret, Error *e)
{
        static const char *const wildcards[] = {"*:", "0.0.0.0:", "[::]:"};
        const char *port = NULL, *end = strrchr(peer, ':');

        for (size_t i = 0; i < ELEMENTSOF(wildcards); i++)
                if (g_str_has_prefix(address, wildcards[i]))
                        port = strrchr(address, ':');
        if (!port) {
                *ret = g_strdup(address);
                return 0;
        }
        if (!end || g_str_has_prefix(peer, "unix"))
                return error_setf(e, EINVAL,
                                  "%.60s says no host, and the call came by a unix socket",
                                  address);
        /* An IPv4 host on a socket of both kinds. */
        if (g_str_has_prefix(peer, "[::ffff:") && memchr(peer, '.', (size_t) (end - peer)))
                *ret = g_strdup_printf("%.*s%s", (int) (end - peer - 9), peer + 8, port);
        else
                *ret = g_strdup_printf("%.*s%s", (int) (end - peer), peer, port);
        return 0;
}

static void handle_register(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        Mapreduced__V1__RegisterRequest request =
                *(const Mapreduced__V1__RegisterRequest *) message;
        Mapreduced__V1__RegisterReply reply = MAPREDUCED__V1__REGISTER_REPLY__INIT;
        g_autoptr(GHashTable) forget = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) keep = g_ptr_array_new();
        g_autofree gpointer *jobs = NULL;
        g_autofree char *address = NULL;
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        r = resolve_address(request.address, evgrpc_server_call_peer(call), &address, &e);
        if (r >= 0) {
                request.address = address;
                r = manager_register_worker(m, &request, forget, keep, &e);
        }
        if (r < 0) {
                log_warning("Refused a worker at %s: %s", evgrpc_server_call_peer(call),
                            error_message(&e, r));
                evgrpc_server_call_finish(call, rpc_code_of(r), "%s", error_message(&e, r));
                return;
        }
        if (m->keys && m->keys->other) { /* before it speaks to any other worker */
                reply.authorities_pem = m->keys->authorities_pem;
                reply.revocations_pem = m->keys->list_pem;
        }
        reply.master_epoch = m->epoch;
        reply.lease_usec = m->conf->lease_usec;
        reply.heartbeat_usec = m->conf->heartbeat_usec;
        reply.n_keep = keep->len;
        reply.keep = (Mapreduced__V1__RunningAttempt **) keep->pdata;
        jobs = g_hash_table_get_keys_as_array(forget, NULL);
        reply.n_forget_jobs = g_hash_table_size(forget);
        reply.forget_jobs = (char **) jobs;
        evgrpc_server_call_reply(call, &reply.base);
}

static void handle_heartbeat(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        const Mapreduced__V1__HeartbeatRequest *request =
                (const Mapreduced__V1__HeartbeatRequest *) message;
        Mapreduced__V1__HeartbeatReply reply = MAPREDUCED__V1__HEARTBEAT_REPLY__INIT;
        Manager *m = userdata;
        g_autoptr(GHashTable) forget = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) drop_cached = NULL, unheard = NULL;
        g_autofree gpointer *jobs = NULL;
        int64_t t2_ns = g_get_real_time() * NSEC_PER_USEC;
        int r;

        r = manager_heartbeat(m, request, forget, &drop_cached);
        if (r < 0) {
                evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND,
                                          "not a registered worker: register again");
                return;
        }
        jobs = g_hash_table_get_keys_as_array(forget, NULL);
        unheard = manager_list_unheard(m, request);
        if (!unheard) {
                evgrpc_server_call_finish(call, EVGRPC_UNAVAILABLE,
                                          "the master cannot save its state");
                return;
        }
        reply.n_unheard = unheard->len;
        reply.unheard = (Mapreduced__V1__RunningAttempt **) unheard->pdata;
        reply.n_forget_jobs = g_hash_table_size(forget);
        reply.forget_jobs = (char **) jobs;
        reply.n_drop_cached = drop_cached->len;
        reply.drop_cached = (char **) drop_cached->pdata;
        if (m->keys && m->keys->list_pem && request->revocations < m->keys->list_number)
                reply.revocations_pem = m->keys->list_pem;
        if (m->keys && m->keys->authority && request->authorities != 0 &&
            request->authorities != rotation_bundle_digest(m->keys))
                reply.authorities_pem = m->keys->authorities_pem;
        reply.t2_ns = t2_ns;
        reply.t3_ns = g_get_real_time() * NSEC_PER_USEC;
        evgrpc_server_call_reply(call, &reply.base);
}

/* A job that tasks may run for; else the call is answered, and NULL. */
static MasterJob *running_job(Manager *m, EvgrpcServerCall *call, const char *id)
{
        MasterJob *j = manager_find_job_by_wire_id(m, id);

        if (j && !job_is_over(j) && j->ending == 0 && j->table)
                return j;
        evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND, "no running job %.40s", id);
        return NULL;
}

static void handle_watch(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__WatchMapOutputsRequest *request =
                (const Mapreduced__V1__WatchMapOutputsRequest *) message;
        MasterJob *j = running_job(userdata, call, request->job_id);

        if (j)
                job_watch(j, call);
}

static void handle_lost_output(EvgrpcServerCall *call, const ProtobufCMessage *message,
                               void *userdata)
{
        const Mapreduced__V1__LostOutputReport *report =
                (const Mapreduced__V1__LostOutputReport *) message;
        Mapreduced__V1__LostOutputReply reply = MAPREDUCED__V1__LOST_OUTPUT_REPLY__INIT;
        MasterWorker *holder = NULL;
        const MasterWorker *reporter;
        Manager *m = userdata;
        MasterJob *j = running_job(m, call, report->job_id);
        uint32_t attempt, worker;
        bool certain;
        int r;

        if (!j)
                return;
        /* Who holds it is for us to know: a report that names another is no more certain for it. */
        if (task_table_output(j->table, report->map, &attempt, &worker) > 0)
                holder = manager_worker(m, worker);
        reporter = g_hash_table_lookup(m->workers, report->reporter_id);
        certain =
                report->corrupt || report->gone || !holder || !holder->alive || holder == reporter;
        r = task_table_report_lost(j->table, report->map, report->attempt,
                                   reporter ? reporter->number : 0, certain, manager_now(m));
        if (r > 0) {
                g_autofree char *why = NULL;

                why = g_strdup_printf(
                        "%s could not read it from %s: %s", reporter ? reporter->name : "a worker",
                        holder ? holder->name : "a worker that is gone", report->reason);
                if (holder)
                        job_drop_cached(j, report->map, holder);
                job_output_lost(j, report->map, why);
        }
        evgrpc_server_call_reply(call, &reply.base);
}

/* ---- ReadJobFile ---- */

typedef struct FileReader {
        int fd;
        uint64_t total_bytes;
        uint64_t sent_bytes;
} FileReader;

static void file_reader_free(FileReader *f)
{
        safe_close(f->fd);
        g_free(f);
}

/* Until the call's queue is full, or all is said. The files are on our own disk and small: no
 * thread. */
static void send_chunks(EvgrpcServerCall *call, FileReader *f)
{
        static uint8_t buffer[FILE_CHUNK_BYTES]; /* of all: a thousand workers may read at a time */
        int more = 1;

        while (more > 0) {
                Mapreduced__V1__Chunk chunk = MAPREDUCED__V1__CHUNK__INIT;
                ssize_t n = read_full(f->fd, buffer, sizeof(buffer));

                if (n < 0) {
                        evgrpc_server_call_finish(call, EVGRPC_DATA_LOSS, "%s",
                                                  error_text((int) n));
                        file_reader_free(f);
                        return;
                }
                if (n == 0 && f->sent_bytes > 0)
                        break;
                chunk.data = (ProtobufCBinaryData){.data = buffer, .len = (size_t) n};
                chunk.total_bytes = f->sent_bytes == 0 ? f->total_bytes : 0;
                f->sent_bytes += (uint64_t) n;
                more = evgrpc_server_call_send(call, &chunk.base);
                if (n == 0)
                        break;
        }
        if (more > 0) {
                evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
                file_reader_free(f);
        }
}

static void on_file_writable(EvgrpcServerCall *call, void *userdata)
{
        send_chunks(call, userdata);
}

static void on_file_cancelled(EvgrpcServerCall *call, void *userdata)
{
        file_reader_free(userdata);
}

static bool has_file(const MasterJob *j, const char *name)
{
        for (guint i = 0; i < j->desc->files->len; i++)
                if (g_str_equal(((const JobShippedFile *) j->desc->files->pdata[i])->name, name))
                        return true;
        return false;
}

static void handle_read_file(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_writable = on_file_writable,
                                                          .on_cancelled = on_file_cancelled};
        const Mapreduced__V1__ReadJobFileRequest *request =
                (const Mapreduced__V1__ReadJobFileRequest *) message;
        MasterJob *j = running_job(userdata, call, request->job_id);
        g_autofree char *dir = NULL, *path = NULL;
        struct stat st;
        FileReader *f;
        int fd;

        if (!j)
                return;
        if (!has_file(j, request->name)) {
                evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND, "job %s ships no file %.255s",
                                          j->id, request->name);
                return;
        }
        dir = manager_state_path(userdata, "jobs", j);
        path = g_build_filename(dir, "files", request->name, NULL);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0) {
                evgrpc_server_call_finish(call, EVGRPC_DATA_LOSS, "%s: %s", request->name,
                                          error_text(errno));
                safe_close(fd);
                return;
        }
        f = g_new0(FileReader, 1);
        f->fd = fd;
        f->total_bytes = (uint64_t) st.st_size;
        evgrpc_server_call_set_handlers(call, &handlers, f);
        send_chunks(call, f);
}

/* ---- RenewCertificate
 * --------------------------------------------------------------------------- */

typedef struct Newest {
        const char *worker_id;
        char issuer[2 * PKI_FINGERPRINT_SIZE + 1]; /* the CA that issues now */
        char *name;
        int64_t issued_sec; /* by that */
} Newest;

static void on_certificate(const StoreCertificate *c, void *userdata)
{
        Newest *n = userdata;

        if (!g_str_equal(c->worker_id, n->worker_id))
                return;
        g_free(n->name);
        n->name = g_strdup(c->name);
        if (g_str_equal(c->issuer, n->issuer))
                n->issued_sec = c->issued_sec;
}

/* A worker that asks all the time would fill the list of certificates. */
static int check_not_too_soon(Manager *m, const Newest *n, Error *e)
{
        int64_t pause_sec = (int64_t) (m->conf->certificate_lifetime_usec / USEC_PER_SEC / 20);

        if (n->issued_sec + pause_sec <= keys_now_sec(m))
                return 0;
        return error_setf(e, EAGAIN, "this worker's certificate was issued moments ago");
}

static int renew(Manager *m, EvgrpcServerCall *call, const char *worker_id,
                 const Mapreduced__V1__RenewRequest *request, char **ret_pem, Error *e)
{
        Mapreduced__V1__RenewReply reply = MAPREDUCED__V1__RENEW_REPLY__INIT;
        Newest newest = {.worker_id = worker_id};
        int r;

        if (!m->keys->authority)
                return error_setf(e, EPERM, "the certificates of this cluster come from elsewhere");
        keys_name_authority(m->keys->authority, newest.issuer);
        r = store_each_certificate(m->store, on_certificate, &newest);
        if (r >= 0)
                r = check_not_too_soon(m, &newest, e);
        if (r >= 0)
                r = keys_grant(m->keys, request->request_pem, worker_id, newest.name ?: "", ret_pem,
                               e);
        g_free(newest.name);
        if (r < 0)
                return r;
        reply.certificate_pem = *ret_pem;
        r = evgrpc_server_call_save(call, &reply.base);
        return r < 0 ? error_setf(e, r, "cannot keep the reply: %s", error_text(r)) : 0;
}

static void handle_renew(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        Mapreduced__V1__RenewReply reply = MAPREDUCED__V1__RENEW_REPLY__INIT;
        char worker_id[ID128_HEX_SIZE];
        g_autofree char *pem = NULL;
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        (void) pki_role_of(evgrpc_server_call_peer_name(call), worker_id);
        r = renew(m, call, worker_id, (const Mapreduced__V1__RenewRequest *) message, &pem, &e);
        if (r >= 0)
                r = manager_commit(m, true); /* the effect and its reply, or neither */
        if (r < 0) {
                log_warning("Refused worker %s a new certificate: %s", worker_id,
                            error_message(&e, r));
                evgrpc_server_call_finish(call, rpc_code_of(r), "%s", error_message(&e, r));
                return;
        }
        log_info("Renewed the certificate of worker %s", worker_id);
        reply.certificate_pem = pem;
        evgrpc_server_call_reply(call, &reply.base);
}

/* ---- Who may call
 * ------------------------------------------------------------------------------- */

/* Over TLS the certificate says who it is. Return: whether the call goes on; else it is
 * answered. */
static bool is_worker(EvgrpcServerCall *call, const char *claimed_id)
{
        const char *name = evgrpc_server_call_peer_name(call);
        char id[ID128_HEX_SIZE];

        if (pki_role_of(name, id) != PKI_ROLE_WORKER) {
                log_warning("Refused a call from %s: the certificate is that of %s, not a worker's",
                            evgrpc_server_call_peer(call), name);
                evgrpc_server_call_finish(
                        call, EVGRPC_PERMISSION_DENIED,
                        "only workers may call this, and your certificate is that of %s", name);
                return false;
        }
        if (claimed_id && !g_str_equal(claimed_id, id)) {
                log_warning("Refused a call from %s: it says that it is worker %.40s, but its "
                            "certificate is that of %s",
                            evgrpc_server_call_peer(call), claimed_id, id);
                evgrpc_server_call_finish(
                        call, EVGRPC_PERMISSION_DENIED,
                        "you say that you are worker %.40s, but your certificate is that of %s: "
                        "was a spool or a key copied?",
                        claimed_id, id);
                return false;
        }
        return true;
}

static void secure_register(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        const Mapreduced__V1__RegisterRequest *request =
                (const Mapreduced__V1__RegisterRequest *) m;

        if (!is_worker(call, request->worker_id))
                return;
        /* A path of another host means nothing here, or something else. */
        if (g_str_has_prefix(request->address, "unix:"))
                evgrpc_server_call_finish(
                        call, EVGRPC_INVALID_ARGUMENT,
                        "a worker on the network is reached at HOST:PORT, not %.60s",
                        request->address);
        else
                handle_register(call, m, userdata);
}

static void secure_heartbeat(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        if (is_worker(call, ((const Mapreduced__V1__HeartbeatRequest *) m)->worker_id))
                handle_heartbeat(call, m, userdata);
}

static void secure_watch(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        if (is_worker(call, NULL))
                handle_watch(call, m, userdata);
}

static void secure_lost_output(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        if (is_worker(call, ((const Mapreduced__V1__LostOutputReport *) m)->reporter_id))
                handle_lost_output(call, m, userdata);
}

static void secure_read_file(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        if (is_worker(call, NULL))
                handle_read_file(call, m, userdata);
}

static void secure_renew(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        if (is_worker(call, NULL))
                handle_renew(call, m, userdata);
}

/* On unix sockets, which only our own user can open. */
const EvgrpcMethod master_plain_methods[] = {
        {.name = "RegisterWorker", .handler = handle_register},
        {.name = "Heartbeat", .handler = handle_heartbeat},
        {.name = "WatchMapOutputs", .handler = handle_watch, .server_streaming = true},
        {.name = "ReportLostOutput", .handler = handle_lost_output, .at_most_once = true},
        {.name = "ReadJobFile", .handler = handle_read_file, .server_streaming = true},
        {},
};

const EvgrpcMethod master_secure_methods[] = {
        {.name = "RegisterWorker", .handler = secure_register},
        {.name = "Heartbeat", .handler = secure_heartbeat},
        {.name = "WatchMapOutputs", .handler = secure_watch, .server_streaming = true},
        {.name = "ReportLostOutput", .handler = secure_lost_output, .at_most_once = true},
        {.name = "ReadJobFile", .handler = secure_read_file, .server_streaming = true},
        {.name = "RenewCertificate", .handler = secure_renew, .at_most_once = true, .stored = true},
        {},
};

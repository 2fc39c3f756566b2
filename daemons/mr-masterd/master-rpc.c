/*
 * The RPC side — service Master of cluster.proto: checks what comes in, and calls what decides.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <arpa/inet.h>

#include "base/fs.h"
#include "base/parse.h"
#include "mr-masterd/master-manager.h"
#include "platform/log.h"

#define FILE_CHUNK_BYTES KIB(256)
#define REQUEST_MAX_BYTES MIB(64) /* a registration names every output that the worker holds */

static EvgrpcCode code_of(int error)
{
        switch (-error) {
        case EINVAL:
                return EVGRPC_INVALID_ARGUMENT;
        case EPERM:
                return EVGRPC_PERMISSION_DENIED;
        case EEXIST:
                return EVGRPC_ALREADY_EXISTS;
        case EUSERS:
                return EVGRPC_RESOURCE_EXHAUSTED;
        case ENOENT:
                return EVGRPC_NOT_FOUND;
        default:
                return EVGRPC_INTERNAL;
        }
}

static void handle_register(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__RegisterRequest *request =
                (const Mapreduced__V1__RegisterRequest *) message;
        Mapreduced__V1__RegisterReply reply = MAPREDUCED__V1__REGISTER_REPLY__INIT;
        g_autoptr(GHashTable) forget = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) keep = g_ptr_array_new();
        g_autofree gpointer *jobs = NULL;
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        int r;

        r = manager_register_worker(m, request, forget, keep, &e);
        if (r < 0) {
                log_warning("Refused a worker at %s: %s", evgrpc_server_call_peer(call),
                            error_message(&e, r));
                evgrpc_server_call_finish(call, code_of(r), "%s", error_message(&e, r));
                return;
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
        Mapreduced__V1__HeartbeatReply reply = MAPREDUCED__V1__HEARTBEAT_REPLY__INIT;
        g_autoptr(GHashTable) forget = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) drop_cached = NULL;
        g_autofree gpointer *jobs = NULL;
        int r;

        r = manager_heartbeat(userdata, (const Mapreduced__V1__HeartbeatRequest *) message, forget,
                              &drop_cached);
        if (r < 0) {
                evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND,
                                          "not a registered worker: register again");
                return;
        }
        jobs = g_hash_table_get_keys_as_array(forget, NULL);
        reply.n_forget_jobs = g_hash_table_size(forget);
        reply.forget_jobs = (char **) jobs;
        reply.n_drop_cached = drop_cached->len;
        reply.drop_cached = (char **) drop_cached->pdata;
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

/* Until the call's queue is full, or all is said. The files are on our own disk and small: no thread. */
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

static const EvgrpcMethod methods[] = {
        {.name = "RegisterWorker", .handler = handle_register},
        {.name = "Heartbeat", .handler = handle_heartbeat},
        {.name = "WatchMapOutputs", .handler = handle_watch, .server_streaming = true},
        {.name = "ReportLostOutput", .handler = handle_lost_output},
        {.name = "ReadJobFile", .handler = handle_read_file, .server_streaming = true},
        {},
};

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
        uint32_t fd;
        int r;

        if (parse_u32_range(address + strlen("fd:"), 3, 1023, &fd) < 0 ||
            fcntl((int) fd, F_GETFD) < 0)
                return error_setf(e, EBADF, "not an inherited descriptor: --listen=%s", address);
        (void) fcntl((int) fd, F_SETFD, FD_CLOEXEC);
        bound = describe_socket((int) fd);
        if (!bound)
                return error_setf(e, ENOTSOCK, "not a listening socket: --listen=%s", address);
        if (!m->conf->allow_plaintext && !address_is_local(bound))
                return error_setf(e, EPERM,
                                  "not serving %s without encryption: set AllowPlaintext=yes",
                                  bound);
        r = evgrpc_server_listen_fd(m->server, (int) fd);
        if (r < 0)
                return error_setf(e, r, "cannot listen on %s: %s", address, error_text(r));
        *ret_bound = TAKE_PTR(bound);
        return 0;
}

static int listen_address(Manager *m, const char *address, char **ret_bound, Error *e)
{
        _cleanup_free_ char *bound = NULL;
        int r;

        r = evgrpc_server_listen(m->server, address, &bound);
        if (r == -EADDRINUSE)
                return error_setf(e, r, "cannot listen on %s: another program does", address);
        if (r < 0)
                return error_setf(e, r, "cannot listen on %s: %s", address, error_text(r));
        *ret_bound = g_strdup(bound ? bound : address);
        return 0;
}

int manager_serve_rpc(Manager *m, Error *e)
{
        /* With keepalive: the calls and watches of a host that vanished must not be kept for ever. */
        EvgrpcServerOptions options = {
                .max_message_bytes = REQUEST_MAX_BYTES,
                .keepalive_usec = 2 * m->conf->lease_usec,
                .keepalive_timeout_usec = m->conf->lease_usec,
        };
        int r;

        r = evgrpc_server_new(loop_base(m->loop), &options, &m->server);
        if (r >= 0)
                r = evgrpc_server_add_service(m->server, &mapreduced__v1__master__descriptor,
                                              methods, m);
        if (r < 0)
                return error_setf(e, r, "cannot set up the RPC server: %s", error_text(r));
        for (guint i = 0; i < m->conf->listen->len; i++) {
                const char *address = m->conf->listen->pdata[i];
                g_autofree char *bound = NULL;

                r = g_str_has_prefix(address, "fd:") ? listen_fd(m, address, &bound, e)
                                                     : listen_address(m, address, &bound, e);
                if (r < 0)
                        return r;
                if (!m->address)
                        m->address = TAKE_PTR(bound);
        }
        return 0;
}

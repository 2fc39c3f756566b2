/*
 * What a worker serves — see worker-rpc.h.
 *
 * A map output is streamed in messages of 512 KiB, which go from the page cache where they can.
 * Each reader costs one descriptor and at most what the library reads ahead; a reader that is slow
 * waits for itself alone.
 */
#include "base/fs.h"
#include "cluster.pb-c.h"
#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-rpc.h"

#define CHUNK_BYTES KIB(512)
#define CHUNK_DATA_FIELD 1u /* Chunk.data in cluster.proto */
#define WINDOW_BYTES MIB(4)
/* A TaskSpec of 4096 pieces with long paths. */
#define MESSAGE_MAX_BYTES MIB(20)
/* Readers at a time: 256 of them read at most 256 × 512 KiB ahead. */
#define READERS_MAX 256u
#define KEEPALIVE_USEC (10 * USEC_PER_SEC)
#define DEFAULT_LISTEN "*:7079"
#define ERRORS_PER_MINUTE 20u

typedef struct Reader {
        Manager *manager;
        EvgrpcServerCall *call;
        EvgrpcFile *file;
        uint64_t offset, left_bytes, total_bytes;
        bool begun;
} Reader;

static void reader_free(Reader *r)
{
        r->manager->outputs_served--;
        evgrpc_server_call_unref(r->call);
        evgrpc_file_unref(r->file);
        g_free(r);
}

/* Sends until the library says stop, or all is sent. */
static void reader_go_on(Reader *reader)
{
        int r = 1;

        while (r > 0 && (reader->left_bytes > 0 || !reader->begun)) {
                Mapreduced__V1__Chunk c = MAPREDUCED__V1__CHUNK__INIT;
                EvgrpcFileRange range = {
                        .file = reader->file,
                        .offset = reader->offset,
                        .size = (size_t) MIN(CHUNK_BYTES, reader->left_bytes),
                        .field = CHUNK_DATA_FIELD,
                };

                c.total_bytes = reader->begun ? 0 : reader->total_bytes;
                r = evgrpc_server_call_send_file(reader->call, &c.base, &range);
                if (r < 0 && r != -EPIPE) {
                        evgrpc_server_call_finish(reader->call, EVGRPC_DATA_LOSS,
                                                  "cannot read the map output: %s",
                                                  r == -ENODATA ? "it is short" : g_strerror(-r));
                        reader_free(reader);
                        return;
                }
                reader->begun = true;
                reader->offset += range.size;
                reader->left_bytes -= range.size;
        }
        if (r < 0 || reader->left_bytes > 0)
                return; /* on_writable or on_cancelled comes */
        evgrpc_server_call_finish(reader->call, EVGRPC_OK, NULL);
        reader_free(reader);
}

static void on_writable(EvgrpcServerCall *call, void *userdata)
{
        reader_go_on(userdata);
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        reader_free(userdata);
}

static int open_segment(Manager *m, const Mapreduced__V1__ReadMapOutputRequest *what, int *ret_fd,
                        uint64_t *ret_offset, uint64_t *ret_length, Error *e)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = spool_output_open(m->spool, what->job_id, what->map, what->attempt, &fd);
        if (r < 0)
                return error_setf(e, r, "the output of map %u, attempt %u is not here: %s",
                                  what->map, what->attempt, error_text(r));
        r = index_cache_segment(m->indices, fd, what->partitions, what->partition, ret_offset,
                                ret_length, e);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static void method_read_map_output(EvgrpcServerCall *call, const ProtobufCMessage *request,
                                   void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {
                .on_writable = on_writable,
                .on_cancelled = on_cancelled,
        };
        const Mapreduced__V1__ReadMapOutputRequest *what =
                (const Mapreduced__V1__ReadMapOutputRequest *) request;
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        uint64_t offset, length;
        EvgrpcFile *file = NULL;
        Reader *reader;
        int fd = -EBADF, r;

        if (what->partition >= what->partitions) {
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT,
                                          "partition: %u is not below partitions, %u",
                                          what->partition, what->partitions);
                return;
        }
        if (m->outputs_served >= READERS_MAX) {
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED,
                                          "%u outputs are being read, come again", READERS_MAX);
                return;
        }
        r = open_segment(m, what, &fd, &offset, &length, &e);
        if (r < 0) {
                EvgrpcCode code = r == -ENOENT                   ? EVGRPC_NOT_FOUND
                                  : r == -EMFILE || r == -ENFILE ? EVGRPC_RESOURCE_EXHAUSTED
                                                                 : EVGRPC_DATA_LOSS;

                evgrpc_server_call_finish(call, code, "%s", error_message(&e, r));
                return;
        }
        r = evgrpc_file_new(fd, &file);
        if (r < 0) {
                safe_close(fd);
                evgrpc_server_call_finish(call, EVGRPC_DATA_LOSS, "cannot read the map output: %s",
                                          g_strerror(-r));
                return;
        }
        reader = g_new0(Reader, 1);
        *reader = (Reader){
                .manager = m,
                .call = evgrpc_server_call_ref(call),
                .file = file,
                .offset = offset,
                .left_bytes = length,
                .total_bytes = length,
        };
        m->outputs_served++;
        evgrpc_server_call_set_handlers(call, &handlers, reader);
        reader_go_on(reader);
}

static void method_run_task(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        attempt_start(userdata, call, (const Mapreduced__V1__TaskSpec *) request);
}

/* ---- Who may call
 * ------------------------------------------------------------------------------- */

/* Over TLS the certificate says who it is. Return: whether the call goes on; else it is
 * answered. */
static bool is_member(EvgrpcServerCall *call, bool only_master)
{
        const char *name = evgrpc_server_call_peer_name(call);
        PkiRole role = pki_role_of(name, NULL);

        if (role == PKI_ROLE_MASTER || (role == PKI_ROLE_WORKER && !only_master))
                return true;
        log_warning("Refused a call from %s: the certificate is that of %s",
                    evgrpc_server_call_peer(call), name);
        evgrpc_server_call_finish(call, EVGRPC_PERMISSION_DENIED,
                                  "only %s may call this, and your certificate is that of %s",
                                  only_master ? "the master" : "members of the cluster", name);
        return false;
}

static void secure_read_map_output(EvgrpcServerCall *call, const ProtobufCMessage *request,
                                   void *userdata)
{
        if (is_member(call, false))
                method_read_map_output(call, request, userdata);
}

static void secure_run_task(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        if (is_member(call, true))
                method_run_task(call, request, userdata);
}

/* ---- Where we are reached
 * ----------------------------------------------------------------------- */

/* As the master is: by TLS, or by a unix socket beside the spool's files. */
static char *default_address(const Manager *m)
{
        if (m->conf.master && g_str_has_prefix(m->conf.master, "unix:"))
                return g_strdup_printf("unix:%s/socket", m->conf.spool);
        return g_strdup(m->conf.insecure_plain_tcp ? "127.0.0.1:0" : DEFAULT_LISTEN);
}

/* What others connect to. For a wildcard the master puts the address that it sees us come from. */
static char *advertised(const Manager *m, const char *bound)
{
        const char *port = strrchr(bound, ':');

        if (!g_str_has_prefix(bound, "unix:") && m->conf.advertise)
                return g_strconcat(m->conf.advertise, port, NULL);
        if (g_str_has_prefix(bound, "0.0.0.0:") || g_str_has_prefix(bound, "[::]:"))
                return g_strconcat("*", port, NULL);
        return g_strdup(bound);
}

/* A failed handshake is news for the administrator; a port scan must not fill the log. */
static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        static uint64_t minute;
        static unsigned count;
        Manager *m = userdata;
        uint64_t now = loop_now_usec(m->loop) / (60 * USEC_PER_SEC);

        if (now != minute)
                count = 0;
        minute = now;
        if (++count <= ERRORS_PER_MINUTE)
                log_notice("Connection from %s: %s%s", peer, error,
                           count == ERRORS_PER_MINUTE ? " (more in this minute are not logged)"
                                                      : "");
}

static int serve(Manager *m, const char *address, const EvgrpcMethod *methods, EvgrpcTls *tls)
{
        const EvgrpcServerOptions options = {
                .max_message_bytes = MESSAGE_MAX_BYTES,
                .window_bytes = WINDOW_BYTES,
                .keepalive_usec = KEEPALIVE_USEC,
                .keepalive_timeout_usec = KEEPALIVE_USEC,
                .tls = tls,
                .on_error = on_error,
                .userdata = m,
        };
        _cleanup_free_ char *bound = NULL;
        int r;

        r = evgrpc_server_new(loop_base(m->loop), &options, &m->server);
        if (r >= 0)
                r = evgrpc_server_add_service(m->server, &mapreduced__v1__worker__descriptor,
                                              methods, m);
        if (r < 0)
                return log_error_errno(r, "Failed to make the RPC server: %m");
        r = evgrpc_server_listen(m->server, address, &bound);
        if (r < 0)
                return log_error_errno(r, "Failed to listen on %s: %m", address);
        g_free(m->address);
        m->address = advertised(m, bound);
        log_debug("Listening on %s, reached at %s", bound, m->address);
        return 0;
}

int worker_rpc_start(Manager *m)
{
        static const EvgrpcMethod plain[] = {
                {.name = "RunTask", .handler = method_run_task, .server_streaming = true},
                {.name = "ReadMapOutput",
                 .handler = method_read_map_output,
                 .server_streaming = true},
                {},
        };
        static const EvgrpcMethod secure[] = {
                {.name = "RunTask", .handler = secure_run_task, .server_streaming = true},
                {.name = "ReadMapOutput",
                 .handler = secure_read_map_output,
                 .server_streaming = true},
                {},
        };
        g_autofree char *fallback = default_address(m);
        const char *address = m->conf.listen ?: fallback;

        m->address = g_strdup("");
        if (!keys_needed(m, address))
                return serve(m, address, plain, NULL);
        return m->keys ? serve(m, address, secure, keys_tls(m->keys)) : 0;
}

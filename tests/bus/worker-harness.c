/*
 * A master for the tests of mr-workerd — see worker-harness.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/parse.h"
#include "worker-harness.h"

#define PATIENCE_USEC (60 * USEC_PER_SEC)

uint64_t harness_deadline(void)
{
        return (uint64_t) g_get_monotonic_time() + PATIENCE_USEC;
}

bool harness_late(uint64_t deadline)
{
        return (uint64_t) g_get_monotonic_time() > deadline;
}

/* ---- The master's methods ---- */

static void set(char **target, const char *value)
{
        g_free(*target);
        *target = g_strdup(value);
}

static Worker *worker_of(Harness *h, const char *name)
{
        for (size_t i = 0; i < h->worker_count; i++)
                if (h->workers[i].registration.name &&
                    g_str_equal(h->workers[i].registration.name, name))
                        return &h->workers[i];
        return NULL;
}

static void method_register(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__RegisterRequest *q =
                (const Mapreduced__V1__RegisterRequest *) message;
        Mapreduced__V1__RegisterReply reply = MAPREDUCED__V1__REGISTER_REPLY__INIT;
        Harness *h = userdata;
        Worker *w = worker_of(h, q->name);

        g_assert_nonnull(w);
        set(&w->registration.worker_id, q->worker_id);
        set(&w->registration.incarnation, q->incarnation);
        set(&w->registration.address, q->address);
        w->registration.slots = q->slots;
        w->registration.level = q->program_level;
        g_ptr_array_set_size(w->registration.held, 0);
        for (size_t i = 0; i < q->n_held; i++)
                g_ptr_array_add(w->registration.held,
                                g_strdup_printf("%s/%u.%u", q->held[i]->job_id, q->held[i]->map,
                                                q->held[i]->attempt));
        w->registrations++;
        if (h->refusal) {
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT, "%s", h->refusal);
                return;
        }

        reply.master_epoch = (char *) "00000000000000000000000000000001";
        reply.lease_usec = 10 * USEC_PER_SEC;
        reply.heartbeat_usec = 20 * USEC_PER_MSEC;
        evgrpc_server_call_reply(call, &reply.base);
}

static void method_heartbeat(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        const Mapreduced__V1__HeartbeatRequest *q =
                (const Mapreduced__V1__HeartbeatRequest *) message;
        Mapreduced__V1__HeartbeatReply reply = MAPREDUCED__V1__HEARTBEAT_REPLY__INIT;
        Harness *h = userdata;

        if (h->forget_workers) {
                h->forget_workers = false;
                evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND, "never heard of you");
                return;
        }
        for (size_t i = 0; i < h->worker_count; i++)
                if (g_strcmp0(h->workers[i].registration.incarnation, q->incarnation) == 0)
                        h->workers[i].heartbeats++;
        if (h->forget_job) {
                reply.n_forget_jobs = 1;
                reply.forget_jobs = &h->forget_job;
        }
        evgrpc_server_call_reply(call, &reply.base);
}

static void send_event(EvgrpcServerCall *call, const Mapreduced__V1__MapOutputEvent *e)
{
        (void) evgrpc_server_call_send(call, &e->base);
}

static void on_watch_cancelled(EvgrpcServerCall *call, void *userdata)
{
        Harness *h = userdata;

        if (g_ptr_array_remove_fast(h->watches, call))
                evgrpc_server_call_unref(call);
}

static void method_watch(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_cancelled = on_watch_cancelled};
        Harness *h = userdata;

        evgrpc_server_call_set_handlers(call, &handlers, h);
        g_ptr_array_add(h->watches, evgrpc_server_call_ref(call));
        for (guint i = 0; i < h->events->len; i++)
                send_event(call, &g_array_index(h->events, Mapreduced__V1__MapOutputEvent, i));
}

void announce(Harness *h, uint32_t map, uint32_t attempt, const char *worker_id,
              const char *address)
{
        Mapreduced__V1__MapOutputEvent e = MAPREDUCED__V1__MAP_OUTPUT_EVENT__INIT;

        e.map = map;
        e.attempt = attempt;
        e.worker_id = (char *) g_intern_string(worker_id);
        e.address = (char *) g_intern_string(address);
        g_array_append_val(h->events, e);
        for (guint i = 0; i < h->watches->len; i++)
                send_event(h->watches->pdata[i], &e);
}

void announce_worker(Harness *h, uint32_t map, uint32_t attempt, const Worker *w)
{
        announce(h, map, attempt, w->registration.worker_id, w->registration.address);
}

static void method_report(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__LostOutputReport *q =
                (const Mapreduced__V1__LostOutputReport *) message;
        Mapreduced__V1__LostOutputReply reply = MAPREDUCED__V1__LOST_OUTPUT_REPLY__INIT;
        Report *r = g_new0(Report, 1);
        Harness *h = userdata;

        *r = (Report){
                .worker_id = g_strdup(q->worker_id),
                .reason = g_strdup(q->reason),
                .map = q->map,
                .attempt = q->attempt,
                .corrupt = q->corrupt,
                .gone = q->gone,
        };
        g_ptr_array_add(h->reports, r);
        evgrpc_server_call_reply(call, &reply.base);
}

/* In two messages, so that a reader has something to put together. */
static void method_read_job_file(EvgrpcServerCall *call, const ProtobufCMessage *message,
                                 void *userdata)
{
        const Mapreduced__V1__ReadJobFileRequest *q =
                (const Mapreduced__V1__ReadJobFileRequest *) message;
        Mapreduced__V1__Chunk c = MAPREDUCED__V1__CHUNK__INIT;
        Harness *h = userdata;
        GBytes *file = g_hash_table_lookup(h->files, q->name);
        const uint8_t *data;
        gsize size, half;

        h->file_reads++;
        if (!file) {
                evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND, "no such file");
                return;
        }
        data = g_bytes_get_data(file, &size);
        half = size / 2;
        c.total_bytes = size + h->lie_bytes;
        c.data = (ProtobufCBinaryData){.len = half, .data = (uint8_t *) data};
        (void) evgrpc_server_call_send(call, &c.base);
        c.total_bytes = 0;
        c.data = (ProtobufCBinaryData){.len = size - half, .data = (uint8_t *) data + half};
        (void) evgrpc_server_call_send(call, &c.base);
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

/* ---- Life ---- */

static void report_free(gpointer p)
{
        Report *r = p;

        g_free(r->worker_id);
        g_free(r->reason);
        g_free(r);
}

static void on_tick(evutil_socket_t fd, short what, void *userdata)
{
}

void harness_listen(Harness *h)
{
        static const EvgrpcMethod methods[] = {
                {.name = "RegisterWorker", .handler = method_register},
                {.name = "Heartbeat", .handler = method_heartbeat},
                {.name = "WatchMapOutputs", .handler = method_watch, .server_streaming = true},
                {.name = "ReportLostOutput", .handler = method_report},
                {.name = "ReadJobFile", .handler = method_read_job_file, .server_streaming = true},
                {},
        };

        g_assert_cmpint(evgrpc_server_new(h->base, NULL, &h->server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(h->server, &mapreduced__v1__master__descriptor,
                                                  methods, h),
                        ==, 0);
        g_assert_cmpint(evgrpc_server_listen(h->server, h->address, NULL), ==, 0);
}

void harness_setup(Harness *h, gconstpointer data)
{
        struct timeval tick = {.tv_usec = 5000};

        (void) signal(SIGPIPE, SIG_IGN);
        *h = (Harness){};
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, h->life), ==, 0);
        h->base = event_base_new();
        h->tick = event_new(h->base, -1, EV_PERSIST, on_tick, NULL);
        event_add(h->tick, &tick);
        h->dir = g_dir_make_tmp("test-worker-XXXXXX", NULL);
        h->address = g_strdup_printf("unix:%s/master", h->dir);
        h->files = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                         (GDestroyNotify) g_bytes_unref);
        h->watches = g_ptr_array_new();
        h->events = g_array_new(false, false, sizeof(Mapreduced__V1__MapOutputEvent));
        h->reports = g_ptr_array_new_with_free_func(report_free);
        harness_listen(h);
}

/* What a sanitizer found in the worker or in an mr-task is in the log. */
static void assert_clean_log(const Worker *w)
{
        g_autofree char *text = file_text(w->log);

        if (text && (strstr(text, "Sanitizer") || strstr(text, "runtime error:")))
                g_error("%s", text);
}

static void worker_end(Harness *h, Worker *w)
{
        if (w->pid != 0) {
                worker_kill(h, w, SIGTERM);
                g_assert_true(WIFEXITED(w->status));
                g_assert_cmpint(WEXITSTATUS(w->status), ==, 0);
        }
        assert_clean_log(w);
}

static void worker_done(Worker *w)
{
        g_free(w->spool);
        g_free(w->log);
        g_free(w->registration.worker_id);
        g_free(w->registration.incarnation);
        g_free(w->registration.name);
        g_free(w->registration.address);
        g_ptr_array_unref(w->registration.held);
}

void harness_teardown(Harness *h, gconstpointer data)
{
        for (size_t i = 0; i < h->worker_count; i++)
                worker_end(h, &h->workers[i]);
        for (size_t i = 0; i < h->worker_count; i++) /* none is left that could still call us */
                worker_done(&h->workers[i]);
        evgrpc_server_free(h->server);
        for (guint i = 0; i < h->watches->len; i++)
                evgrpc_server_call_unref(h->watches->pdata[i]);
        g_ptr_array_unref(h->watches);
        g_array_unref(h->events);
        g_ptr_array_unref(h->reports);
        g_hash_table_unref(h->files);
        safe_close(h->life[0]);
        safe_close(h->life[1]);
        event_free(h->tick);
        event_base_free(h->base);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, h->dir), ==, 0);
        g_free(h->dir);
        g_free(h->address);
        g_free(h->forget_job);
}

static void spawn_worker(Harness *h, Worker *w, GPtrArray *options)
{
        g_autofree char *program = g_build_filename(g_getenv("BUILD_ROOT") ?: ".",
                                                    "daemons/mr-workerd/mr-workerd", NULL);
        g_autofree char *spool = g_strdup_printf("--spool=%s", w->spool);
        g_autofree char *listen = g_strdup_printf("--listen=unix:%s.socket", w->spool);
        g_autofree char *name = g_strdup_printf("--name=%s", w->registration.name);
        g_autofree char *master = g_strdup_printf("--master=%s", h->address);
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        g_autoptr(GError) error = NULL;
        const int life_target = 9;
        int log;

        g_ptr_array_add(argv, program);
        g_ptr_array_add(argv, spool);
        g_ptr_array_add(argv, listen);
        g_ptr_array_add(argv, name);
        g_ptr_array_add(argv, master);
        g_ptr_array_add(argv, (char *) "--bus=none");
        g_ptr_array_add(argv, (char *) "--exit-with-fd=9");
        for (guint i = 0; options && i < options->len; i++) /* the last one of a kind wins */
                g_ptr_array_add(argv, options->pdata[i]);
        g_ptr_array_add(argv, NULL);

        log = open(w->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        g_assert_cmpint(log, >=, 0);
        if (!g_spawn_async_with_pipes_and_fds(NULL, (const char *const *) argv->pdata, NULL,
                                              G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1, -1, log,
                                              &h->life[1], &life_target, 1, &w->pid, NULL, NULL,
                                              NULL, &error))
                g_error("%s: %s", program, error->message);
        safe_close(log);
}

void worker_connect(Harness *h, Worker *w, uint32_t registrations)
{
        WAIT(h, w->registrations > registrations);
        g_assert_cmpint(evgrpc_channel_new(h->base, w->registration.address, NULL, &w->channel), ==,
                        0);
}

static Worker *worker_new(Harness *h, const char *name, va_list ap)
{
        g_autoptr(GPtrArray) options = g_ptr_array_new();
        Worker *w = &h->workers[h->worker_count++];
        char *option;

        g_assert_cmpuint(h->worker_count, <=, WORKERS_MAX);
        while ((option = va_arg(ap, char *)))
                g_ptr_array_add(options, option);
        *w = (Worker){
                .spool = g_build_filename(h->dir, name, NULL),
                .log = g_strdup_printf("%s/%s.log", h->dir, name),
        };
        w->registration.name = g_strdup(name);
        w->registration.held = g_ptr_array_new_with_free_func(g_free);
        spawn_worker(h, w, options);
        return w;
}

Worker *worker_spawn(Harness *h, const char *name, ...)
{
        Worker *w;
        va_list ap;

        va_start(ap, name);
        w = worker_new(h, name, ap);
        va_end(ap);
        return w;
}

Worker *worker_start(Harness *h, const char *name, ...)
{
        Worker *w;
        va_list ap;

        va_start(ap, name);
        w = worker_new(h, name, ap);
        va_end(ap);
        worker_connect(h, w, 0);
        return w;
}

void worker_kill(Harness *h, Worker *w, int signal)
{
        if (w->pid == 0)
                return;
        g_assert_cmpint(kill(w->pid, signal), ==, 0);
        WAIT(h, waitpid(w->pid, &w->status, WNOHANG) == w->pid);
        w->pid = 0;
        w->channel = evgrpc_channel_free(w->channel);
}

void worker_restart(Harness *h, Worker *w, const char *name)
{
        uint32_t before = w->registrations;

        g_assert_cmpint(w->pid, ==, 0);
        spawn_worker(h, w, NULL);
        worker_connect(h, w, before);
}

/* ---- Tasks ---- */

char *put_file(Harness *h, const char *name, const char *text)
{
        char *path = g_build_filename(h->dir, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        return path;
}

void piece_of(Mapreduced__V1__Piece *p, const char *path)
{
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        mapreduced__v1__piece__init(p);
        p->path = (char *) path;
        p->length = p->file_size = (uint64_t) st.st_size;
        p->mtime_ns = st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
}

static void spec_init(Spec *s)
{
        mapreduced__v1__task_spec__init(&s->spec);
        mapreduced__v1__program__init(&s->program);
        mapreduced__v1__job_file__init(&s->file);
        for (size_t i = 0; i < ELEMENTSOF(s->pieces); i++)
                s->piece_list[i] = &s->pieces[i];
        s->files[0] = &s->file;
        s->spec.job_id = (char *) "job-1";
        s->spec.program = &s->program;
        s->spec.pieces = s->piece_list;
        s->program.files = s->files;
}

void spec_map(Spec *s, const char *path, const char *mapper, uint32_t map, uint32_t partitions)
{
        spec_init(s);
        piece_of(&s->pieces[0], path);
        s->spec.n_pieces = 1;
        s->spec.kind = MAPREDUCED__V1__TASK_KIND__MAP;
        s->spec.task = map;
        s->spec.partitions = partitions;
        if (mapper)
                s->program.mapper = (char *) mapper;
        else
                s->program.app = (char *) "wordcount";
}

void spec_reduce(Spec *s, const char *output_dir, uint32_t maps, uint32_t partitions)
{
        spec_init(s);
        s->spec.kind = MAPREDUCED__V1__TASK_KIND__REDUCE;
        s->spec.maps = maps;
        s->spec.partitions = partitions;
        s->spec.sort_output = true;
        s->program.app = (char *) "wordcount";
        if (output_dir) {
                s->spec.output_dir = (char *) output_dir;
                s->spec.part_name = (char *) "part-00000";
        }
}

static void on_update(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__TaskUpdate *u = (const Mapreduced__V1__TaskUpdate *) message;
        Task *t = userdata;

        g_assert_false(t->has_result);
        if (u->kind_case == MAPREDUCED__V1__TASK_UPDATE__KIND_PROGRESS)
                t->phases |= 1u << u->progress->phase;
        else if (u->kind_case == MAPREDUCED__V1__TASK_UPDATE__KIND_OUTPUT) {
                g_assert_cmpuint(u->output.len, <=, KIB(256));
                g_byte_array_append(t->output, u->output.data, (guint) u->output.len);
        } else {
                t->has_result = true;
                t->outcome = u->result->outcome;
                t->permanent = u->result->permanent;
                set(&t->error, u->result->error);
                set(&t->stderr_tail, u->result->stderr_tail);
        }
}

static void on_over(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Task *t = userdata;

        t->over = true;
        t->code = status->code;
        set(&t->message, status->message);
}

Task *task_start(Worker *w, const Mapreduced__V1__TaskSpec *spec)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_update, .on_done = on_over};
        Task *t = g_new0(Task, 1);

        t->output = g_byte_array_new();
        g_assert_cmpint(evgrpc_call_start(w->channel, &mapreduced__v1__worker__descriptor,
                                          "RunTask", &spec->base, NULL, &handlers, t, &t->call),
                        ==, 0);
        return t;
}

void task_free(Task *t)
{
        g_assert_true(t->over);
        evgrpc_call_unref(t->call);
        g_byte_array_unref(t->output);
        g_free(t->message);
        g_free(t->error);
        g_free(t->stderr_tail);
        g_free(t);
}

Task *task_run(Harness *h, Worker *w, const Mapreduced__V1__TaskSpec *spec)
{
        Task *t = task_start(w, spec);

        WAIT(h, t->over);
        if (t->code != EVGRPC_OK || t->outcome != MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED)
                g_error("%s %s, outcome %d: %s", evgrpc_code_to_string(t->code), t->message,
                        (int) t->outcome, t->error ?: "");
        return t;
}

char *task_output(const Task *t)
{
        return t->output->len == 0 ? g_strdup("")
                                   : g_strndup((const char *) t->output->data, t->output->len);
}

bool process_lives(pid_t pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid);
        g_autofree char *text = file_text(path);
        const char *state = text ? strrchr(text, ')') : NULL;

        return state && state[2] != 'Z' && state[2] != 'X';
}

char *file_text(const char *path)
{
        char *text = NULL;

        return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

bool read_pids(const char *path, pid_t *ret_a, pid_t *ret_b)
{
        g_autofree char *text = file_text(path);

        return text && strchr(text, '\n') && sscanf(text, "%d %d", ret_a, ret_b) == 2;
}

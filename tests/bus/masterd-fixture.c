/*
 * See masterd-fixture.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "masterd-fixture.h"

#define NAME "org.mapreduced.Master1"
#define ROOT "/org/mapreduced/Master1"
#define WAIT_MSEC 60000

extern char **environ;

static void on_tick(evutil_socket_t fd, short what, void *userdata)
{
}

/* @life: the child's end of a pipe, as its descriptor 3: it ends when we do, however we end. */
static pid_t start(char *const argv[], int stderr_fd, int life)
{
        posix_spawn_file_actions_t actions;
        pid_t pid;

        g_assert_cmpint(posix_spawn_file_actions_init(&actions), ==, 0);
        if (stderr_fd >= 0)
                g_assert_cmpint(posix_spawn_file_actions_adddup2(&actions, stderr_fd, 2), ==, 0);
        if (life >= 0)
                g_assert_cmpint(posix_spawn_file_actions_adddup2(&actions, life, 3), ==, 0);
        g_assert_cmpint(posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0), ==,
                        0);
        g_assert_cmpint(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), ==, 0);
        (void) posix_spawn_file_actions_destroy(&actions);
        return pid;
}

static GPtrArray *master_command(Fixture *f, const char *const options[])
{
        GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

        g_ptr_array_add(argv, g_strdup(g_getenv("MR_MASTERD")));
        g_ptr_array_add(argv, g_strdup("--config=/dev/null"));
        g_ptr_array_add(argv, g_strdup("--exit-with-fd=3"));
        g_ptr_array_add(argv, g_strconcat("--bus=", f->bus_address, NULL));
        g_ptr_array_add(argv, g_strconcat("--listen=", f->listen, NULL));
        g_ptr_array_add(argv, g_strconcat("--state=", f->state, NULL));
        for (size_t i = 0; options && options[i]; i++)
                g_ptr_array_add(argv, g_strdup(options[i]));
        g_ptr_array_add(argv, NULL);
        return argv;
}

static bool bus_has_name(void *userdata)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Fixture *f = userdata;
        int has = 0;

        if (sd_bus_call_method(f->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                               "org.freedesktop.DBus", "NameHasOwner", NULL, &reply, "s", NAME) < 0)
                return false;
        return sd_bus_message_read(reply, "b", &has) >= 0 && has;
}

void fixture_start_master(Fixture *f)
{
        g_autoptr(GPtrArray) argv = master_command(f, (const char *const *) f->options->pdata);

        f->master_pid = start((char **) argv->pdata, -1, f->life[1]);
        fixture_wait(f, bus_has_name, f, "the master on the bus");
}

void fixture_kill_master(Fixture *f, int signal)
{
        int status;

        if (f->master_pid <= 0)
                return;
        g_assert_cmpint(kill(f->master_pid, signal), ==, 0);
        g_assert_cmpint(waitpid(f->master_pid, &status, 0), ==, f->master_pid);
        f->master_pid = 0;
        if (signal == SIGTERM)
                g_assert_cmpint(status, ==, 0); /* a sanitizer's find is an exit status, too */
}

int fixture_run_master(Fixture *f, const char *const options[], char **ret_stderr)
{
        g_autoptr(GPtrArray) argv = master_command(f, options);
        g_autofree char *path = g_build_filename(f->dir, "stderr", NULL);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        int status;
        pid_t pid;

        pid = start((char **) argv->pdata, fd, f->life[1]);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(g_file_get_contents(path, ret_stderr, NULL, NULL));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool bus_answers(void *userdata)
{
        Fixture *f = userdata;
        int r;

        f->bus = sd_bus_unref(f->bus);
        r = sd_bus_new(&f->bus);
        if (r >= 0)
                r = sd_bus_set_address(f->bus, f->bus_address);
        if (r >= 0)
                r = sd_bus_set_bus_client(f->bus, true);
        if (r >= 0)
                r = sd_bus_start(f->bus);
        return r >= 0 && sd_bus_get_unique_name(f->bus, &(const char *){NULL}) >= 0;
}

static void write_bus_config(const char *path, const char *address)
{
        g_autofree char *text = NULL;

        text = g_strdup_printf(
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
                " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
                "<busconfig><type>custom</type><listen>%s</listen><policy context=\"default\">"
                "<allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>"
                "<allow own=\"*\"/></policy></busconfig>\n",
                address);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

void fixture_init(Fixture *f, const char *const options[])
{
        static const struct timeval tick = {.tv_usec = 2000};
        char *argv[] = {(char *) "sh", (char *) "-c", NULL, NULL};
        g_autofree char *config = NULL, *script = NULL;

        *f = (Fixture){.base = event_base_new()};
        f->tick = event_new(f->base, -1, EV_PERSIST, on_tick, NULL);
        g_assert_cmpint(event_add(f->tick, &tick), ==, 0);
        f->dir = g_dir_make_tmp("mr-masterd-XXXXXX", NULL);
        f->state = g_build_filename(f->dir, "state", NULL);
        f->listen = g_strconcat("unix:", f->dir, "/rpc", NULL);
        f->bus_address = g_strconcat("unix:path=", f->dir, "/bus", NULL);
        f->workers = g_ptr_array_new();
        f->options = g_ptr_array_new_with_free_func(g_free);
        for (size_t i = 0; options && options[i]; i++)
                g_ptr_array_add(f->options, g_strdup(options[i]));
        g_ptr_array_add(f->options, NULL);

        config = g_build_filename(f->dir, "bus.conf", NULL);
        write_bus_config(config, f->bus_address);
        script = g_strdup_printf(
                "dbus-daemon --nofork --config-file=%s 2>/dev/null 3<&- & read -r x <&3; kill $!",
                config);
        argv[2] = script;
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->life), ==, 0);
        f->dbus_pid = start(argv, -1, f->life[1]);
        fixture_wait(f, bus_answers, f, "the bus");
        fixture_start_master(f);
}

static void free_message(gpointer m)
{
        protobuf_c_message_free_unpacked(m, NULL);
}

static void run_destroy(FakeRun *r)
{
        mapreduced__v1__task_spec__free_unpacked(r->spec, NULL);
        g_hash_table_unref(r->outputs);
        g_free(r);
}

/* A watch may still speak to it until it is done: then that is its end. */
static void run_free(FakeRun *r)
{
        g_ptr_array_remove_fast(r->worker->runs, r);
        r->worker = NULL;
        r->call = evgrpc_server_call_unref(r->call);
        if (r->watch)
                evgrpc_call_cancel(r->watch);
        else
                run_destroy(r);
}

static void fake_free(FakeWorker *w)
{
        w->server =
                evgrpc_server_free(w->server); /* its calls are cancelled, and with them the runs */
        w->master = evgrpc_channel_free(w->master);
        if (w->heart)
                event_free(w->heart);
        g_ptr_array_unref(w->runs);
        g_ptr_array_unref(w->held);
        g_ptr_array_unref(w->forgotten);
        g_free(w->refusal);
        g_free(w->name);
        g_free(w->address);
        g_free(w);
}

void fixture_done(Fixture *f)
{
        int status;

        for (guint i = 0; i < f->workers->len; i++)
                fake_free(f->workers->pdata[i]);
        g_ptr_array_unref(f->workers);
        sd_bus_flush_close_unref(f->bus);
        fixture_kill_master(f, SIGTERM);
        safe_close(f->life[0]);
        safe_close(f->life[1]);
        g_assert_cmpint(waitpid(f->dbus_pid, &status, 0), ==, f->dbus_pid);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, f->dir), ==, 0);
        event_free(f->tick);
        event_base_free(f->base);
        g_ptr_array_unref(f->options);
        g_free(f->dir);
        g_free(f->state);
        g_free(f->listen);
        g_free(f->bus_address);
}

void fixture_wait(Fixture *f, DoneFn done, void *userdata, const char *what)
{
        gint64 until = g_get_monotonic_time() + WAIT_MSEC * 1000;

        while (!done(userdata)) {
                if (g_get_monotonic_time() > until)
                        g_error("waited in vain for %s", what);
                (void) event_base_loop(f->base, EVLOOP_ONCE);
        }
}

void fixture_run_for(Fixture *f, unsigned msec)
{
        gint64 until = g_get_monotonic_time() + (gint64) msec * 1000;

        while (g_get_monotonic_time() < until)
                (void) event_base_loop(f->base, EVLOOP_ONCE);
}

/* ---- Workers ---- */

static void send_result(FakeRun *run, Mapreduced__V1__TaskOutcome outcome, const char *error,
                        bool permanent, uint64_t output_bytes)
{
        Mapreduced__V1__TaskUpdate update = MAPREDUCED__V1__TASK_UPDATE__INIT;
        Mapreduced__V1__TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;
        Mapreduced__V1__Counter counter = MAPREDUCED__V1__COUNTER__INIT, *counters[] = {&counter};

        counter.name =
                (char *) (run->spec->kind == MAPREDUCED__V1__TASK_KIND__MAP ? "maps-counted"
                                                                            : "reduces-counted");
        counter.value = 1;
        result.outcome = outcome;
        result.error = (char *) error;
        result.stderr_tail = (char *) (*error ? "last words\n" : "");
        result.permanent = permanent;
        result.output_bytes = output_bytes;
        result.n_counters = 1;
        result.counters = counters;
        update.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_RESULT;
        update.result = &result;
        (void) evgrpc_server_call_send(run->call, &update.base);
        evgrpc_server_call_finish(run->call, EVGRPC_OK, NULL);
        run_free(run);
}

static void send_progress(FakeRun *run, Mapreduced__V1__TaskPhase phase)
{
        Mapreduced__V1__TaskUpdate update = MAPREDUCED__V1__TASK_UPDATE__INIT;
        Mapreduced__V1__TaskProgress progress = MAPREDUCED__V1__TASK_PROGRESS__INIT;

        progress.phase = phase;
        progress.fraction = 0.5;
        update.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_PROGRESS;
        update.progress = &progress;
        (void) evgrpc_server_call_send(run->call, &update.base);
}

static void send_output(FakeRun *run, const char *text)
{
        Mapreduced__V1__TaskUpdate update = MAPREDUCED__V1__TASK_UPDATE__INIT;

        update.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_OUTPUT;
        update.output = (ProtobufCBinaryData){.data = (uint8_t *) text, .len = strlen(text)};
        (void) evgrpc_server_call_send(run->call, &update.base);
}

/* A part says which attempt's output of each map it was made from. */
static char *part_text(const FakeRun *run)
{
        GString *s = g_string_new(NULL);

        for (uint32_t i = 0; i < run->spec->maps; i++)
                g_string_append_printf(
                        s, "map %u attempt %u\n", i,
                        GPOINTER_TO_UINT(g_hash_table_lookup(run->outputs, GUINT_TO_POINTER(i))) -
                                1);
        g_string_append_printf(s, "reduce %u\n", run->spec->task);
        return g_string_free(s, FALSE);
}

static void finish_reduce(FakeRun *run)
{
        g_autofree char *text = part_text(run);

        send_progress(run, MAPREDUCED__V1__TASK_PHASE__RUNNING);
        if (*run->spec->output_dir) {
                g_autofree char *path =
                        g_build_filename(run->spec->output_dir, run->spec->part_name, NULL);

                if (mkdir(run->spec->output_dir, 0755) < 0 ||
                    !g_file_set_contents(path, text, -1, NULL)) {
                        send_result(run, MAPREDUCED__V1__TASK_OUTCOME__FAILED,
                                    "cannot write the part", false, 0);
                        return;
                }
        } else {
                send_output(run, text);
        }
        send_result(run, MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED, "", false, strlen(text));
}

static void on_output_event(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__MapOutputEvent *event =
                (const Mapreduced__V1__MapOutputEvent *) message;
        FakeRun *run = userdata;

        if (!run->worker)
                return;
        if (event->lost) {
                run->worker->lost_seen++;
                g_hash_table_remove(run->outputs, GUINT_TO_POINTER(event->map));
                return;
        }
        g_hash_table_insert(run->outputs, GUINT_TO_POINTER(event->map),
                            GUINT_TO_POINTER(event->attempt + 1));
        if (g_hash_table_size(run->outputs) == run->spec->maps)
                finish_reduce(run);
}

static void on_watch_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        FakeRun *run = userdata;

        run->watch = evgrpc_call_unref(run->watch);
        if (!run->worker)
                run_destroy(run);
}

static void shuffle(FakeRun *run)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_output_event,
                                                    .on_done = on_watch_done};
        Mapreduced__V1__WatchMapOutputsRequest request =
                MAPREDUCED__V1__WATCH_MAP_OUTPUTS_REQUEST__INIT;

        send_progress(run, MAPREDUCED__V1__TASK_PHASE__SHUFFLE);
        if (run->spec->maps == 0) {
                finish_reduce(run);
                return;
        }
        request.job_id = run->spec->job_id;
        g_assert_cmpint(evgrpc_call_start(run->worker->master, &mapreduced__v1__master__descriptor,
                                          "WatchMapOutputs", &request.base, NULL, &handlers, run,
                                          &run->watch),
                        ==, 0);
}

static void succeed(FakeRun *run)
{
        Mapreduced__V1__MapOutput *held;

        if (run->spec->kind == MAPREDUCED__V1__TASK_KIND__REDUCE) {
                shuffle(run);
                return;
        }
        held = calloc(1, sizeof(*held));
        *held = (Mapreduced__V1__MapOutput) MAPREDUCED__V1__MAP_OUTPUT__INIT;
        held->job_id = strdup(run->spec->job_id);
        held->map = run->spec->task;
        held->attempt = run->spec->attempt;
        g_ptr_array_add(run->worker->held, held);
        send_result(run, MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED, "", false, 1);
}

static GHashTable *wire_ids; /* of all workers: the number before the '-' → the whole */

static void note_wire_id(const char *wire_id)
{
        if (!wire_ids)
                wire_ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_hash_table_insert(wire_ids, g_strndup(wire_id, strcspn(wire_id, "-")), g_strdup(wire_id));
}

const char *fake_wire_id(const char *job)
{
        const char *id = wire_ids ? g_hash_table_lookup(wire_ids, job) : NULL;

        return id ? id : job;
}

static void on_run_cancelled(EvgrpcServerCall *call, void *userdata)
{
        FakeRun *run = userdata;

        run->worker->cancelled++;
        run_free(run);
}

static void on_run_task(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_cancelled = on_run_cancelled};
        FakeWorker *w = userdata;
        size_t size = protobuf_c_message_get_packed_size(message);
        g_autofree uint8_t *bytes = g_malloc(size + 1);
        FakeRun *run = g_new0(FakeRun, 1);

        (void) protobuf_c_message_pack(message, bytes);
        run->worker = w;
        run->call = evgrpc_server_call_ref(call);
        run->spec = mapreduced__v1__task_spec__unpack(NULL, size, bytes);
        run->outputs = g_hash_table_new(NULL, NULL);
        note_wire_id(run->spec->job_id);
        g_ptr_array_add(w->runs, run);
        evgrpc_server_call_set_handlers(call, &handlers, run);
        if (run->spec->kind == MAPREDUCED__V1__TASK_KIND__MAP)
                w->maps_started++;
        else
                w->reduces_started++;

        switch (w->deed ? w->deed(w, run->spec, w->userdata) : SUCCEED) {
        case SUCCEED:
                succeed(run);
                break;
        case HOLD:
                send_progress(run, MAPREDUCED__V1__TASK_PHASE__RUNNING);
                break;
        case HOLD_UNTOLD:
                break;
        case FAIL:
                send_result(run, MAPREDUCED__V1__TASK_OUTCOME__FAILED,
                            "the mapper ended with status 3", false, 0);
                break;
        case FAIL_FOR_GOOD:
                send_result(run, MAPREDUCED__V1__TASK_OUTCOME__FAILED, "no such option: -x", true,
                            0);
                break;
        case REJECT:
                send_result(run, MAPREDUCED__V1__TASK_OUTCOME__REJECTED, "its disk is full", false,
                            0);
                break;
        case BREAK_OFF:
                evgrpc_server_call_finish(run->call, EVGRPC_UNAVAILABLE, "gone");
                run_free(run);
                break;
        case REFUSE:
                evgrpc_server_call_finish(run->call, EVGRPC_INVALID_ARGUMENT, "no such kind");
                run_free(run);
                break;
        }
}

static const EvgrpcMethod worker_methods[] = {
        {.name = "RunTask", .handler = on_run_task, .server_streaming = true},
        {},
};

static void note_forgotten(FakeWorker *w, size_t count, char **jobs)
{
        for (size_t i = 0; i < count; i++)
                g_ptr_array_add(w->forgotten, g_strdup(jobs[i]));
}

static void on_registered(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__V1__RegisterReply *reply =
                (const Mapreduced__V1__RegisterReply *) evgrpc_call_reply(call);
        FakeWorker *w = userdata;

        if (status->code == EVGRPC_OK) {
                w->registered++;
                note_forgotten(w, reply->n_forget_jobs, reply->forget_jobs);
                return;
        }
        w->refused++;
        g_free(w->refusal);
        w->refusal = g_strdup(status->message);
}

static void send_register(FakeWorker *w)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_registered};
        Mapreduced__V1__RegisterRequest request = MAPREDUCED__V1__REGISTER_REQUEST__INIT;

        request.worker_id = w->id;
        request.incarnation = w->incarnation;
        request.name = w->name;
        request.address = w->address;
        request.slots = w->slots;
        request.program_level = w->level;
        request.n_held = w->held->len;
        request.held = (Mapreduced__V1__MapOutput **) w->held->pdata;
        (void) evgrpc_call_start(w->master, &mapreduced__v1__master__descriptor, "RegisterWorker",
                                 &request.base, NULL, &handlers, w, NULL);
}

static void on_heartbeat_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__V1__HeartbeatReply *reply =
                (const Mapreduced__V1__HeartbeatReply *) evgrpc_call_reply(call);
        FakeWorker *w = userdata;

        if (status->code == EVGRPC_OK)
                note_forgotten(w, reply->n_forget_jobs, reply->forget_jobs);
        else if (status->code == EVGRPC_NOT_FOUND && !w->silent)
                send_register(w);
}

static void on_heart(evutil_socket_t fd, short what, void *userdata)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_heartbeat_done};
        Mapreduced__V1__HeartbeatRequest request = MAPREDUCED__V1__HEARTBEAT_REQUEST__INIT;
        g_autoptr(GPtrArray) jobs = g_ptr_array_new();
        FakeWorker *w = userdata;

        if (w->silent || !w->master)
                return;
        for (guint i = 0; i < w->held->len; i++)
                g_ptr_array_add(jobs, ((Mapreduced__V1__MapOutput *) w->held->pdata[i])->job_id);
        request.worker_id = w->id;
        request.incarnation = w->incarnation;
        request.slots = w->slots;
        request.free_bytes = 4711;
        request.n_jobs = jobs->len;
        request.jobs = (char **) jobs->pdata;
        (void) evgrpc_call_start(w->master, &mapreduced__v1__master__descriptor, "Heartbeat",
                                 &request.base, NULL, &handlers, w, NULL);
}

static bool was_answered(void *userdata)
{
        const FakeWorker *w = userdata;

        return w->registered > 0 || w->refused > 0;
}

static void connect_worker(FakeWorker *w)
{
        EvgrpcChannelOptions options = {.backoff_max_usec = 50000};

        g_assert_cmpint(evgrpc_server_new(w->fixture->base, NULL, &w->server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(w->server, &mapreduced__v1__worker__descriptor,
                                                  worker_methods, w),
                        ==, 0);
        if (!w->address)
                w->address = g_strdup_printf("unix:%s/worker-%s", w->fixture->dir, w->name);
        g_assert_cmpint(evgrpc_server_listen(w->server, w->address, NULL), ==, 0);
        g_assert_cmpint(
                evgrpc_channel_new(w->fixture->base, w->fixture->listen, &options, &w->master), ==,
                0);
        w->registered = w->refused = 0;
        send_register(w);
        fixture_wait(w->fixture, was_answered, w, "a registration");
}

FakeWorker *fake_worker_of_level(Fixture *f, const char *name, uint32_t slots, uint32_t level)
{
        static const struct timeval beat = {.tv_usec = 50000};
        FakeWorker *w = g_new0(FakeWorker, 1);

        w->fixture = f;
        w->name = g_strdup(name);
        w->slots = slots;
        w->level = level;
        id128_make(w->id);
        id128_make(w->incarnation);
        w->runs = g_ptr_array_new();
        w->held = g_ptr_array_new_with_free_func(free_message);
        w->forgotten = g_ptr_array_new_with_free_func(g_free);
        w->heart = event_new(f->base, -1, EV_PERSIST, on_heart, w);
        g_assert_cmpint(event_add(w->heart, &beat), ==, 0);
        g_ptr_array_add(f->workers, w);
        connect_worker(w);
        return w;
}

FakeWorker *fake_worker(Fixture *f, const char *name, uint32_t slots)
{
        return fake_worker_of_level(f, name, slots, 0);
}

void fake_kill(FakeWorker *w)
{
        w->silent = true;
        w->server =
                evgrpc_server_free(w->server); /* its calls are cancelled, and with them the runs */
        w->master = evgrpc_channel_free(w->master);
}

void fake_restart(FakeWorker *w, bool keeps_outputs)
{
        fake_kill(w);
        w->silent = false;
        id128_make(w->incarnation);
        if (!keeps_outputs)
                g_ptr_array_set_size(w->held, 0);
        connect_worker(w);
}

void fake_silence(FakeWorker *w)
{
        w->silent = true;
}

void fake_release(FakeWorker *w)
{
        g_autoptr(GPtrArray) runs = g_ptr_array_new();

        w->deed = NULL;
        for (guint i = 0; i < w->runs->len; i++)
                g_ptr_array_add(runs, w->runs->pdata[i]);
        for (guint i = 0; i < runs->len; i++)
                if (!((FakeRun *) runs->pdata[i])->watch) /* else it shuffles already */
                        succeed(runs->pdata[i]);
}

void fake_finish_reduce(FakeWorker *w)
{
        for (guint i = 0; i < w->runs->len; i++) {
                FakeRun *run = w->runs->pdata[i];

                if (run->spec->kind != MAPREDUCED__V1__TASK_KIND__REDUCE)
                        continue;
                for (uint32_t map = 0; map < run->spec->maps; map++)
                        g_hash_table_insert(run->outputs, GUINT_TO_POINTER(map),
                                            GUINT_TO_POINTER(1));
                finish_reduce(run);
                return;
        }
        g_assert_not_reached();
}

void fake_report_lost(FakeWorker *w, const char *job, uint32_t map, uint32_t attempt,
                      const FakeWorker *holder, bool corrupt)
{
        Mapreduced__V1__LostOutputReport report = MAPREDUCED__V1__LOST_OUTPUT_REPORT__INIT;
        EvgrpcCall *call = NULL;

        report.job_id = (char *) fake_wire_id(job);
        report.map = map;
        report.attempt = attempt;
        report.worker_id = (char *) holder->id;
        report.reporter_id = w->id;
        report.reason = (char *) "connection refused";
        report.corrupt = corrupt;
        g_assert_cmpint(evgrpc_call_start(w->master, &mapreduced__v1__master__descriptor,
                                          "ReportLostOutput", &report.base, NULL, NULL, NULL,
                                          &call),
                        ==, 0);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        evgrpc_call_unref(call);
}

/* ---- Jobs ---- */

static void append_list(sd_bus_message *m, const char *key, const char *const settings[],
                        size_t from)
{
        size_t n = strlen(key);

        g_assert_cmpint(sd_bus_message_open_container(m, 'v', "as"), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "s"), >=, 0);
        for (size_t i = from; settings[i]; i++)
                if (strncmp(settings[i], key, n) == 0 && settings[i][n] == '=')
                        g_assert_cmpint(sd_bus_message_append(m, "s", settings[i] + n + 1), >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
}

static bool seen_before(const char *const settings[], size_t index, size_t key_size)
{
        for (size_t i = 0; i < index; i++)
                if (strncmp(settings[i], settings[index], key_size + 1) == 0)
                        return true;
        return false;
}

/* "File=NAME:PATH" ships a file. */
static void append_files(sd_bus_message *m, const char *const settings[])
{
        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "{sh}"), >=, 0);
        for (size_t i = 0; settings[i]; i++) {
                g_autofree char *name = NULL;
                const char *colon;
                int fd;

                if (!g_str_has_prefix(settings[i], "File="))
                        continue;
                colon = strchr(settings[i], ':');
                name = g_strndup(settings[i] + 5, (gsize) (colon - settings[i] - 5));
                fd = open(colon + 1, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                g_assert_cmpint(fd, >=, 0);
                g_assert_cmpint(sd_bus_message_append(m, "{sh}", name, fd), >=, 0);
                safe_close(fd);
        }
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
}

static void append_setting(sd_bus_message *m, const char *const settings[], size_t i)
{
        static const char *const lists[] = {"Input", "Args", "Env", NULL};
        static const char *const numbers[] = {"Reduces", "MaxAttempts", NULL};
        const char *value = strchr(settings[i], '=') + 1;
        size_t n = (size_t) (value - settings[i]) - 1;
        g_autofree char *key = g_strndup(settings[i], n);

        if (g_str_equal(key, "File") || seen_before(settings, i, n))
                return;
        g_assert_cmpint(sd_bus_message_open_container(m, 'e', "sv"), >=, 0);
        g_assert_cmpint(sd_bus_message_append(m, "s", key), >=, 0);
        if (g_strv_contains(lists, key))
                append_list(m, key, settings, i);
        else if (g_strv_contains(numbers, key))
                g_assert_cmpint(sd_bus_message_append(m, "v", "u",
                                                      (uint32_t) g_ascii_strtoull(value, NULL, 10)),
                                >=, 0);
        else if (g_str_equal(key, "SplitSize"))
                g_assert_cmpint(
                        sd_bus_message_append(m, "v", "t", g_ascii_strtoull(value, NULL, 10)), >=,
                        0);
        else
                g_assert_cmpint(sd_bus_message_append(m, "v", "s", value), >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
}

int submit_job(Fixture *f, const char *const settings[], char id[static 16], sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *s = "";
        int r;

        g_assert_cmpint(sd_bus_message_new_method_call(f->bus, &m, NAME, ROOT, NAME ".Manager",
                                                       "SubmitJob"),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "{sv}"), >=, 0);
        for (size_t i = 0; settings[i]; i++)
                append_setting(m, settings, i);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        append_files(m, settings);
        r = sd_bus_call(f->bus, m, 10 * USEC_PER_SEC, error, &reply);
        if (r < 0)
                return r;
        g_assert_cmpint(sd_bus_message_read(reply, "so", &s, NULL), >=, 0);
        (void) g_strlcpy(id, s, 16);
        return 0;
}

void submit(Fixture *f, const char *const settings[], char id[static 16])
{
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (submit_job(f, settings, id, &error) < 0)
                g_error("not accepted: %s: %s", error.name, error.message);
}

void submit_input(Fixture *f, size_t size_bytes, const char *const settings[], char id[static 16])
{
        g_autofree char *path = write_input(f, "input", size_bytes),
                        *input = setting("Input", path);
        g_autoptr(GPtrArray) all = g_ptr_array_new();

        g_ptr_array_add(all, input);
        for (size_t i = 0; settings[i]; i++)
                g_ptr_array_add(all, (char *) settings[i]);
        g_ptr_array_add(all, NULL);
        submit(f, (const char *const *) all->pdata, id);
}

static void job_path(const char *id, char path[static 128])
{
        (void) g_snprintf(path, 128, ROOT "/job/%s", id);
}

char *job_text(Fixture *f, const char *id, const char *property)
{
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char path[128], *s = NULL, *copy;

        job_path(id, path);
        if (sd_bus_get_property_string(f->bus, NAME, path, NAME ".Job", property, &error, &s) < 0)
                g_error("job %s: %s: %s", id, property, error.message);
        copy = g_strdup(s);
        free(s);
        return copy;
}

uint64_t job_number(Fixture *f, const char *id, const char *property)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *contents = NULL;
        char path[128], type;
        uint64_t wide = 0;
        uint32_t narrow = 0;

        job_path(id, path);
        g_assert_cmpint(sd_bus_call_method(f->bus, NAME, path, "org.freedesktop.DBus.Properties",
                                           "Get", &error, &reply, "ss", NAME ".Job", property),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_peek_type(reply, &type, &contents), >, 0);
        if (g_str_equal(contents, "t"))
                g_assert_cmpint(sd_bus_message_read(reply, "v", "t", &wide), >=, 0);
        else
                g_assert_cmpint(sd_bus_message_read(reply, "v", "u", &narrow), >=, 0);
        return wide + narrow;
}

typedef struct StateWait {
        Fixture *f;
        const char *id, *state;
} StateWait;

static bool has_state(void *userdata)
{
        const StateWait *w = userdata;
        g_autofree char *state = job_text(w->f, w->id, "State");
        g_autofree char *reason = NULL;

        if (g_str_equal(state, w->state))
                return true;
        if (g_str_equal(state, "failed") || g_str_equal(state, "done") ||
            g_str_equal(state, "cancelled")) {
                reason = job_text(w->f, w->id, "StateReason");
                g_error("job %s is %s, not %s: %s", w->id, state, w->state, reason);
        }
        return false;
}

void wait_for_state(Fixture *f, const char *id, const char *state)
{
        StateWait w = {.f = f, .id = id, .state = state};

        fixture_wait(f, has_state, &w, state);
}

int call_job(Fixture *f, const char *id, const char *method, sd_bus_error *error,
             sd_bus_message **reply, const char *types, ...)
{
        char path[128];
        va_list ap;
        int r;

        job_path(id, path);
        va_start(ap, types);
        r = sd_bus_call_methodv(f->bus, NAME, path, NAME ".Job", method, error, reply, types, ap);
        va_end(ap);
        return r;
}

char *job_events(Fixture *f, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        GString *s = g_string_new(NULL);
        const char *kind, *text;
        uint64_t usec;

        g_assert_cmpint(call_job(f, id, "ListEvents", &error, &reply, ""), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(tss)"), >=, 0);
        while (sd_bus_message_read(reply, "(tss)", &usec, &kind, &text) > 0)
                g_string_append_printf(s, "%s: %s\n", kind, text);
        return g_string_free(s, FALSE);
}

char *write_input(Fixture *f, const char *name, size_t size_bytes)
{
        g_autofree char *text = g_malloc(size_bytes + 1);
        char *path = g_build_filename(f->dir, name, NULL);

        for (size_t i = 0; i < size_bytes; i++)
                text[i] = i % 8 == 7 ? '\n' : 'a';
        g_assert_true(g_file_set_contents(path, text, (gssize) size_bytes, NULL));
        return path;
}

/* ---- For tests ---- */

const char *const quick[] = {"--lease=2s", "--heartbeat=500ms", NULL};
const char *const patient[] = {"--lease=1min", "--heartbeat=50ms", NULL};

char *setting(const char *key, const char *value)
{
        return g_strconcat(key, "=", value, NULL);
}

bool exists(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);

        return access(path, F_OK) >= 0;
}

void assert_part(const char *dir, const char *name, const char *expected)
{
        g_autofree char *path = g_build_filename(dir, name, NULL), *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, expected);
}

void assert_contains(const char *text, const char *words)
{
        if (!strstr(text, words))
                g_error("\"%s\" is not in \"%s\"", words, text);
}

typedef struct Counted {
        const unsigned *value;
        unsigned least;
} Counted;

static bool reached(void *userdata)
{
        const Counted *c = userdata;

        return *c->value >= c->least;
}

void wait_count(Fixture *f, const unsigned *value, unsigned least, const char *what)
{
        Counted c = {.value = value, .least = least};

        fixture_wait(f, reached, &c, what);
}

Deed hold_maps(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return spec->kind == MAPREDUCED__V1__TASK_KIND__MAP ? HOLD : SUCCEED;
}

/*
 * A master for the tests of mrctl — speaks the bus contract, and does what the job's name says.
 *
 *      fake-master BUS DIR [RUNNING]
 *
 * Job called…    what becomes of it
 *      done      runs, its maps finish one after the other, is done
 *      fail      fails with a reason and lines of stderr
 *      hang      runs until it is cancelled, or until SIGUSR1 makes it done
 *      stubborn  the same, but does not care about Cancel
 * "refuse" is InvalidJob. What was submitted is written to DIR/submitted, the parts of every result
 * are DIR/part-NNNNN. With RUNNING there is a hanging job from the start, as after a restart.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/fs.h"
#include "base/macro.h"

#define MANAGER "org.mapreduced.Master1.Manager"
#define JOB "org.mapreduced.Master1.Job"
#define ROOT "/org/mapreduced/Master1"
#define JOBS_MAX 100

typedef struct Job {
        char *path, *id, *name, *state, *reason, *output, *program, *result_order, *error_output;
        char **input;
        uint32_t uid, maps, maps_running, maps_done, reduces, reduces_running, reduces_done;
        uint32_t failed, lost, outputs_lost;
        uint64_t input_bytes, submitted, started, finished;
} Job;

static sd_bus *bus;
static sd_event *event;
static const char *dir;
static Job *jobs[JOBS_MAX];
static size_t job_count;

static void changed(Job *j)
{
        g_assert_cmpint(sd_bus_emit_properties_changed(bus, j->path, JOB, "State", "MapsDone",
                                                       "MapsRunning", "StateReason", NULL),
                        >=, 0);
}

static void set(char **target, const char *value)
{
        g_free(*target);
        *target = g_strdup(value);
}

static void finish(Job *j, const char *state, const char *reason)
{
        set(&j->state, state);
        set(&j->reason, reason);
        if (g_str_equal(state, "done")) {
                j->maps_done = j->maps;
                j->reduces_done = j->reduces;
        }
        j->maps_running = 0;
        j->finished = j->submitted + 1204000;
        changed(j);
}

static int on_step(sd_event_source *s, uint64_t usec, void *userdata)
{
        Job *j = userdata;

        sd_event_source_unref(s);
        if (g_str_equal(j->name, "fail")) {
                set(&j->error_output, "Traceback:\n  bad \x1b[31mline\n");
                finish(j, "failed", "map-0 failed 4 times: exit status 3");
                return 0;
        }
        if (++j->maps_done == j->maps) {
                finish(j, "done", "");
                return 0;
        }
        changed(j);
        return sd_event_add_time_relative(event, &s, CLOCK_MONOTONIC, 5000, 0, on_step, j);
}

/* Parts that the test put there. */
static uint32_t count_parts(void)
{
        uint32_t n = 0;

        for (;; n++) {
                g_autofree char *path = g_strdup_printf("%s/part-%05u", dir, n);

                if (access(path, F_OK) < 0)
                        return MAX(n, 1);
        }
}

static Job *add_job(const char *name)
{
        Job *j = g_new0(Job, 1);

        g_assert_cmpuint(job_count, <, JOBS_MAX);
        jobs[job_count++] = j;
        j->id = g_strdup_printf("%zu", job_count);
        j->path = g_strdup_printf(ROOT "/job/%s", j->id);
        j->name = g_strdup(name);
        j->state = g_strdup("running");
        j->reason = g_strdup("");
        j->output = g_strdup("");
        j->program = g_strdup("wordcount");
        j->result_order = g_strdup("key");
        j->error_output = g_strdup("");
        j->input = g_strsplit("/in/a /in/b", " ", -1);
        j->maps = 3;
        j->maps_running = 2;
        j->reduces = count_parts();
        j->input_bytes = 1536;
        j->submitted = UINT64_C(1700000000000000);
        j->started = j->submitted + 1000;
        return j;
}

static void log_value(GString *log, sd_bus_message *m)
{
        const char *contents, *s;
        uint64_t t;
        uint32_t u;
        char type;
        int b;

        g_assert_cmpint(sd_bus_message_peek_type(m, &type, &contents), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'v', contents), >, 0);
        if (g_str_equal(contents, "s") && sd_bus_message_read(m, "s", &s) > 0)
                g_string_append_printf(log, "%s\n", s);
        else if (g_str_equal(contents, "b") && sd_bus_message_read(m, "b", &b) > 0)
                g_string_append_printf(log, "%s\n", b ? "yes" : "no");
        else if (g_str_equal(contents, "u") && sd_bus_message_read(m, "u", &u) > 0)
                g_string_append_printf(log, "%u\n", u);
        else if (g_str_equal(contents, "t") && sd_bus_message_read(m, "t", &t) > 0)
                g_string_append_printf(log, "%" PRIu64 "\n", t);
        else {
                g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "s"), >=, 0);
                while (sd_bus_message_read(m, "s", &s) > 0)
                        g_string_append_printf(log, "%s;", s);
                g_string_append_c(log, '\n');
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        }
        g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
}

/* "Key=value" lines, then "file NAME=content" lines; returns the name of the job. */
static char *log_submission(sd_bus_message *m)
{
        g_autoptr(GString) log = g_string_new(NULL);
        g_autofree char *path = g_build_filename(dir, "submitted", NULL);
        char *name = g_strdup("done");
        const char *key;
        int fd;

        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sv}"), >=, 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                gsize value;

                g_assert_cmpint(sd_bus_message_read(m, "s", &key), >, 0);
                g_string_append_printf(log, "%s=", key);
                value = log->len;
                log_value(log, m);
                if (g_str_equal(key, "Name")) {
                        g_free(name);
                        name = g_strndup(log->str + value, log->len - value - 1);
                }
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        }
        g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sh}"), >=, 0);
        while (sd_bus_message_read(m, "{sh}", &key, &fd) > 0) {
                char content[100] = {};

                g_assert_cmpint(read_full(fd, content, sizeof(content) - 1), >=, 0);
                g_string_append_printf(log, "file %s=%s\n", key, content);
        }
        g_assert_true(g_file_set_contents(path, log->str, (gssize) log->len, NULL));
        return name;
}

static int method_submit_job(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        g_autofree char *name = log_submission(m);
        sd_event_source *s;
        Job *j;

        if (g_str_equal(name, "refuse"))
                return sd_bus_error_set(e, "org.mapreduced.Error.InvalidJob",
                                        "no such file: /in/missing");
        j = add_job(name);
        if (g_str_equal(name, "done") || g_str_equal(name, "fail"))
                g_assert_cmpint(
                        sd_event_add_time_relative(event, &s, CLOCK_MONOTONIC, 5000, 0, on_step, j),
                        >=, 0);
        return sd_bus_reply_method_return(m, "so", j->id, j->path);
}

static int method_get_job(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        const char *id;

        g_assert_cmpint(sd_bus_message_read(m, "s", &id), >, 0);
        for (size_t i = 0; i < job_count; i++)
                if (g_str_equal(jobs[i]->id, id))
                        return sd_bus_reply_method_return(m, "o", jobs[i]->path);
        return sd_bus_error_setf(e, "org.mapreduced.Error.NoSuchJob", "there is no job %s", id);
}

static int method_list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        g_assert_cmpint(sd_bus_message_new_method_return(m, &reply), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(reply, 'a', "(sossuuuutt)"), >=, 0);
        for (size_t i = job_count; i-- > 0;) {
                const Job *j = jobs[i];

                g_assert_cmpint(sd_bus_message_append(reply, "(sossuuuutt)", j->id, j->path,
                                                      j->name, j->state, j->maps, j->maps_done,
                                                      j->reduces, j->reduces_done, j->submitted,
                                                      j->finished),
                                >=, 0);
        }
        g_assert_cmpint(sd_bus_message_close_container(reply), >=, 0);
        return sd_bus_send(bus, reply, NULL);
}

static int method_list_workers(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        return sd_bus_reply_method_return(
                m, "a(sosssuuttsbxt)", 2, "0123456789abcdef0123456789abcdef",
                ROOT "/worker/0123456789abcdef0123456789abcdef", "w1", "127.0.0.2:4000", "alive", 2,
                1, UINT64_C(3221225472), UINT64_C(1700000000000000), "", 1, INT64_C(-1500),
                UINT64_C(200), "fedcba9876543210fedcba9876543210",
                ROOT "/worker/fedcba9876543210fedcba9876543210", "w2", "127.0.0.3:4000", "lost", 2,
                0, UINT64_C(0), UINT64_C(0), "not heard of for 10 s", 0, INT64_C(0), UINT64_C(0));
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        Job *j = userdata;

        if (!g_str_equal(j->state, "running"))
                return sd_bus_error_setf(e, "org.mapreduced.Error.WrongState", "job %s is over",
                                         j->id);
        if (!g_str_equal(j->name, "stubborn"))
                finish(j, "cancelled", "");
        return sd_bus_reply_method_return(m, NULL);
}

static int method_open_part(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        g_autofree char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint32_t part;

        g_assert_cmpint(sd_bus_message_read(m, "u", &part), >, 0);
        path = g_strdup_printf("%s/part-%05u", dir, part);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return sd_bus_error_setf(e, "org.mapreduced.Error.NoSuchPart", "no part %u", part);
        return sd_bus_reply_method_return(m, "h", fd);
}

/* 1203 maps, so that a client must ask twice. */
static int method_list_tasks(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *kind;
        uint32_t first, max, count;

        g_assert_cmpint(sd_bus_message_read(m, "s", &kind), >, 0);
        g_assert_cmpint(sd_bus_message_skip(m, "as"), >=, 0);
        g_assert_cmpint(sd_bus_message_read(m, "uu", &first, &max), >, 0);
        count = g_str_equal(kind, "map") ? 1203 : 1;
        g_assert_cmpint(sd_bus_message_new_method_return(m, &reply), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(reply, 'a', "(usuuusds)"), >=, 0);
        max = MIN(count - first, max > 0 ? MIN(max, 1000) : 1000);
        for (uint32_t i = 0; i < max; i++)
                g_assert_cmpint(sd_bus_message_append(reply, "(usuuusds)", first + i, "running", 2,
                                                      1, 0, "w1", 0.5, "half way\tthere"),
                                >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(reply), >=, 0);
        g_assert_cmpint(sd_bus_message_append(reply, "u", first + max), >=, 0);
        return sd_bus_send(bus, reply, NULL);
}

static int method_list_events(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
        return sd_bus_reply_method_return(m, "a(ttss)", 1, UINT64_C(0), UINT64_C(1700000001000000),
                                          "worker-lost", "Worker w2 was lost with 1 attempt");
}

static int property_counters(sd_bus *b, const char *path, const char *interface, const char *name,
                             sd_bus_message *reply, void *userdata, sd_bus_error *e)
{
        return sd_bus_message_append(reply, "a{st}", 2, "map-input-records", UINT64_C(12), "my:own",
                                     UINT64_C(1) << 40);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("SubmitJob", "a{sv}a{sh}", "so", method_submit_job,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("GetJob", "s", "o", method_get_job, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListJobs", "u", "a(sossuuuutt)", method_list_jobs,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListWorkers", NULL, "a(sosssuuttsbxt)", method_list_workers,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

#define PROPERTY(name, type, field)                                                                \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Job, field), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

static const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Cancel", NULL, NULL, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("OpenPart", "u", "h", method_open_part, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListTasksInState", "sasuu", "a(usuuusds)u", method_list_tasks,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListEventsSince", "t", "a(ttss)", method_list_events,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        PROPERTY("Id", "s", id),
        PROPERTY("Name", "s", name),
        PROPERTY("State", "s", state),
        PROPERTY("StateReason", "s", reason),
        PROPERTY("UID", "u", uid),
        PROPERTY("Input", "as", input),
        PROPERTY("Output", "s", output),
        PROPERTY("Program", "s", program),
        PROPERTY("ResultOrder", "s", result_order),
        PROPERTY("Maps", "u", maps),
        PROPERTY("MapsRunning", "u", maps_running),
        PROPERTY("MapsDone", "u", maps_done),
        PROPERTY("Reduces", "u", reduces),
        PROPERTY("ReducesRunning", "u", reduces_running),
        PROPERTY("ReducesDone", "u", reduces_done),
        PROPERTY("AttemptsFailed", "u", failed),
        PROPERTY("AttemptsLost", "u", lost),
        PROPERTY("MapOutputsLost", "u", outputs_lost),
        PROPERTY("InputBytes", "t", input_bytes),
        SD_BUS_PROPERTY("Counters", "a{st}", property_counters, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        PROPERTY("ErrorOutput", "s", error_output),
        PROPERTY("SubmittedUSec", "t", submitted),
        PROPERTY("StartedUSec", "t", started),
        PROPERTY("FinishedUSec", "t", finished),
        SD_BUS_VTABLE_END,
};

static int find_job(sd_bus *b, const char *path, const char *interface, void *userdata, void **ret,
                    sd_bus_error *e)
{
        for (size_t i = 0; i < job_count; i++)
                if (g_str_equal(jobs[i]->path, path)) {
                        *ret = jobs[i];
                        return 1;
                }
        return 0;
}

static int on_usr1(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        for (size_t i = 0; i < job_count; i++)
                if (g_str_equal(jobs[i]->state, "running"))
                        finish(jobs[i], "done", "");
        return 0;
}

int main(int argc, char **argv)
{
        sigset_t set;

        g_assert_cmpint(argc, >=, 3);
        dir = argv[2];
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGUSR1);
        (void) sigaddset(&set, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        g_assert_cmpint(sd_event_default(&event), >=, 0);
        g_assert_cmpint(sd_event_add_signal(event, NULL, SIGUSR1, on_usr1, NULL), >=, 0);
        g_assert_cmpint(sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL), >=, 0);

        g_assert_cmpint(sd_bus_new(&bus), >=, 0);
        g_assert_cmpint(sd_bus_set_address(bus, argv[1]), >=, 0);
        g_assert_cmpint(sd_bus_set_bus_client(bus, true), >=, 0);
        g_assert_cmpint(sd_bus_start(bus), >=, 0);
        g_assert_cmpint(sd_bus_attach_event(bus, event, 0), >=, 0);
        g_assert_cmpint(sd_bus_add_object_vtable(bus, NULL, ROOT, MANAGER, manager_vtable, NULL),
                        >=, 0);
        g_assert_cmpint(
                sd_bus_add_fallback_vtable(bus, NULL, ROOT "/job", JOB, job_vtable, find_job, NULL),
                >=, 0);
        if (argc > 3)
                (void) add_job("hang");
        g_assert_cmpint(sd_bus_request_name(bus, "org.mapreduced.Master1", 0), >=, 0);
        return sd_event_loop(event);
}

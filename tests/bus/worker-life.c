/*
 * A worker's life: registration, restart, two on one spool, and how it ends.
 */
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/program-level.h"
#include "base/text.h"
#include "worker-harness.h"

#define OUTCOME(x) MAPREDUCED__V1__TASK_OUTCOME__##x

static void test_it_registers_and_keeps_its_lease(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", "--slots=3", NULL);

        g_assert_true(id128_is_valid(w->registration.worker_id));
        g_assert_true(id128_is_valid(w->registration.incarnation));
        g_assert_cmpuint(w->registration.slots, ==, 3);
        g_assert_cmpuint(w->registration.level, ==, PROGRAM_LEVEL);
        WAIT(h, w->heartbeats >= 3);
        g_assert_cmpuint(w->registrations, ==, 1);
}

static void test_it_registers_again_when_the_master_forgot_it(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *incarnation = g_strdup(w->registration.incarnation);

        WAIT(h, w->heartbeats >= 1);
        h->forget_workers = true;
        WAIT(h, w->registrations == 2);
        g_assert_cmpstr(w->registration.incarnation, ==, incarnation);
}

/* Is the text in the worker's log? */
static bool logged(const Worker *w, const char *part)
{
        g_autofree char *text = file_text(w->log);

        return text && strstr(text, part);
}

/* It says what is missing, and there is no end of trying: the master comes, and it registers. */
static void test_it_waits_for_a_master(Harness *h, gconstpointer data)
{
        Worker *w;

        h->server = evgrpc_server_free(h->server);
        w = worker_spawn(h, "w1", NULL);
        WAIT(h, logged(w, "Not registered") && logged(w, h->address));
        harness_listen(h);
        worker_connect(h, w, 0);
}

static void test_without_a_master_it_idles(Harness *h, gconstpointer data)
{
        Worker *w = worker_spawn(h, "w1", "--master=", NULL);

        WAIT(h, logged(w, "no master is configured"));
        g_assert_cmpint(waitpid(w->pid, NULL, WNOHANG), ==, 0);
}

/* A worker of a cluster goes on asking: somebody may mend it. That of one job has nobody. */
static void test_only_an_ephemeral_worker_takes_a_refusal_as_the_end(Harness *h, gconstpointer data)
{
        Worker *lasting, *w;

        h->refusal = "too green";
        lasting = worker_spawn(h, "w1", NULL);
        w = worker_spawn(h, "w2", "--ephemeral", NULL);
        WAIT(h, waitpid(w->pid, &w->status, WNOHANG) == w->pid);
        w->pid = 0;
        g_assert_true(WIFEXITED(w->status) && WEXITSTATUS(w->status) == 1);
        g_assert_true(logged(w, "refused this worker: too green"));
        g_assert_cmpuint(w->registrations, ==, 1);
        WAIT(h, lasting->registrations >= 2);
        h->refusal = NULL;
        worker_connect(h, lasting, lasting->registrations);
}

static void test_it_finds_a_master_that_was_restarted(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", NULL);

        h->server = evgrpc_server_free(h->server);
        WAIT(h, logged(w, "Not registered") && logged(w, h->address));
        harness_listen(h);
        WAIT(h, w->registrations == 2);
        WAIT(h, w->heartbeats >= 1);
}

static void test_a_restart_reports_what_is_held(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a b\n");
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *id = g_strdup(w->registration.worker_id);
        g_autofree char *incarnation = g_strdup(w->registration.incarnation);
        g_autofree char *dir = g_build_filename(w->spool, "jobs/job-1", NULL);
        Spec s;

        spec_map(&s, path, NULL, 5, 1);
        s.spec.attempt = 2;
        task_free(task_run(h, w, &s.spec));
        worker_kill(h, w, SIGKILL);
        worker_restart(h, w, "w1");
        g_assert_cmpstr(w->registration.worker_id, ==, id);
        g_assert_cmpstr(w->registration.incarnation, !=, incarnation);
        g_assert_cmpuint(w->registration.held->len, ==, 1);
        g_assert_cmpstr(w->registration.held->pdata[0], ==, "job-1/5.2");

        g_assert_true(g_file_test(dir, G_FILE_TEST_IS_DIR));
        h->forget_job = g_strdup("job-1");
        WAIT(h, !g_file_test(dir, G_FILE_TEST_EXISTS));
}

static void test_a_second_worker_on_the_spool_is_refused(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b;
        g_autofree char *option = g_strconcat("--spool=", a->spool, NULL), *text = NULL;
        int status;

        b = worker_spawn(h, "w2", option, NULL);
        WAIT(h, waitpid(b->pid, &status, WNOHANG) == b->pid);
        b->pid = 0;
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        text = file_text(b->log);
        g_assert_nonnull(strstr(text, a->spool));
        g_assert_nonnull(strstr(text, "in use"));
}

static void test_a_stopping_worker_gives_its_attempts_back(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *pids = g_build_filename(h->dir, "pids", NULL);
        g_autofree char *mapper = g_strdup_printf("sleep 1000 & echo $! $$ > %s; wait", pids);
        Worker *w = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *t = NULL, *next = NULL;
        pid_t child, shell;
        Spec s, late;

        spec_map(&s, path, mapper, 0, 1);
        spec_reduce(&late, NULL, 1, 1);
        t = task_start(w, &s.spec);
        WAIT(h, read_pids(pids, &child, &shell));
        g_assert_cmpint(kill(w->pid, SIGTERM), ==, 0);
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(REJECTED));
        next = task_start(w, &late.spec); /* a master that is quick to give it another */
        WAIT(h, waitpid(w->pid, &w->status, WNOHANG) == w->pid);
        w->pid = 0;
        g_assert_true(WIFEXITED(w->status));
        g_assert_cmpint(WEXITSTATUS(w->status), ==, 0);
        WAIT(h, next->over);
        g_assert_true(next->code != EVGRPC_OK || next->outcome == OUTCOME(REJECTED));
        WAIT(h, !process_lives(child) && !process_lives(shell)); /* they are killed by then */
        g_assert_true(g_file_test(w->spool, G_FILE_TEST_IS_DIR));
        w->channel = evgrpc_channel_free(w->channel);
}

static void test_a_killed_worker_leaves_no_process(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *pids = g_build_filename(h->dir, "pids", NULL);
        g_autofree char *mapper = g_strdup_printf("sleep 1000 & echo $! $PPID > %s; wait", pids);
        Worker *w = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *t = NULL;
        pid_t child, task;
        Spec s;

        spec_map(&s, path, mapper, 0, 1);
        t = task_start(w, &s.spec);
        WAIT(h, read_pids(pids, &child, &task));
        g_assert_cmpint(kill(w->pid, SIGKILL), ==, 0);
        WAIT(h, t->over);
        g_assert_cmpint(t->code, ==, EVGRPC_UNAVAILABLE);
        WAIT(h, !process_lives(child) && !process_lives(task));
        WAIT(h, waitpid(w->pid, NULL, WNOHANG) == w->pid);
        w->pid = 0;
        w->channel = evgrpc_channel_free(w->channel);
}

static void test_an_ephemeral_worker_ends_with_its_parent(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        Worker *w = worker_start(h, "w1", "--ephemeral", NULL);
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        g_assert_true(g_file_test(w->spool, G_FILE_TEST_IS_DIR));
        h->life[0] = safe_close(h->life[0]);
        WAIT(h, waitpid(w->pid, NULL, WNOHANG) == w->pid);
        w->pid = 0;
        w->channel = evgrpc_channel_free(w->channel);
        g_assert_false(g_file_test(w->spool, G_FILE_TEST_EXISTS));
}

int main(int argc, char *argv[])
{
        static const struct {
                const char *path;
                void (*fn)(Harness *, gconstpointer);
        } tests[] = {
                {"it-registers-and-keeps-its-lease", test_it_registers_and_keeps_its_lease},
                {"it-registers-again-when-the-master-forgot-it",
                 test_it_registers_again_when_the_master_forgot_it},
                {"it-waits-for-a-master", test_it_waits_for_a_master},
                {"without-a-master-it-idles", test_without_a_master_it_idles},
                {"only-an-ephemeral-worker-takes-a-refusal-as-the-end",
                 test_only_an_ephemeral_worker_takes_a_refusal_as_the_end},
                {"it-finds-a-master-that-was-restarted", test_it_finds_a_master_that_was_restarted},
                {"a-restart-reports-what-is-held", test_a_restart_reports_what_is_held},
                {"a-second-worker-on-the-spool-is-refused",
                 test_a_second_worker_on_the_spool_is_refused},
                {"a-stopping-worker-gives-its-attempts-back",
                 test_a_stopping_worker_gives_its_attempts_back},
                {"a-killed-worker-leaves-no-process", test_a_killed_worker_leaves_no_process},
                {"an-ephemeral-worker-ends-with-its-parent",
                 test_an_ephemeral_worker_ends_with_its_parent},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                g_autofree char *path = g_strconcat("/worker/life/", tests[i].path, NULL);

                g_test_add(path, Harness, NULL, harness_setup, tests[i].fn, harness_teardown);
        }
        return g_test_run();
}

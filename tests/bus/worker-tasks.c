/*
 * What a worker does with one task: a real mr-workerd and its mr-task, driven by the test as their
 * master.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "worker-harness.h"

#define OUTCOME(x) MAPREDUCED__V1__TASK_OUTCOME__##x

static bool contains(const char *s, const char *part)
{
        return s && strstr(s, part);
}

/* Nothing of an attempt is left in the spool but outputs. */
static bool is_tidy(const Worker *w)
{
        static const char *const dirs[] = {"tmp", "jobs/job-1/work"};

        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                g_autofree char *path = g_build_filename(w->spool, dirs[i], NULL);
                g_autoptr(GDir) d = g_dir_open(path, 0, NULL);

                if (d && g_dir_read_name(d))
                        return false;
        }
        return true;
}

static void test_a_word_count_comes_back(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "b a\nb c b\n");
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *text = NULL, *work = NULL;
        Task *t;
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        t = task_run(h, w, &s.spec);
        g_assert_true(t->phases & (1u << MAPREDUCED__V1__TASK_PHASE__RUNNING));
        task_free(t);
        work = g_build_filename(w->spool, "jobs/job-1/work", NULL);
        g_assert_false(g_file_test(work, G_FILE_TEST_EXISTS)); /* which a built-in has no use for */
        announce_worker(h, 0, 0, w);
        spec_reduce(&s, NULL, 1, 1);
        t = task_run(h, w, &s.spec);
        text = task_output(t);
        g_assert_cmpstr(text, ==, "a\t1\nb\t3\nc\t1\n");
        task_free(t);
        WAIT(h, is_tidy(w));
}

/* 2000 KiB of one word: the part goes back in many messages. The count of words is what was
 * written. */
static void test_a_large_result_is_streamed_whole(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", NULL);
        g_autoptr(GString) in = g_string_new(NULL), want = g_string_new(NULL);
        g_autofree char *path = NULL, *text = NULL;
        Task *t;
        Spec s;

        for (unsigned i = 0; i < 150000; i++) {
                g_string_append_printf(in, "word-%06u\n", i);
                g_string_append_printf(want, "word-%06u\t1\n", i);
        }
        path = put_file(h, "in", in->str);
        spec_map(&s, path, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        announce_worker(h, 0, 0, w);
        spec_reduce(&s, NULL, 1, 1);
        t = task_run(h, w, &s.spec);
        text = task_output(t);
        g_assert_true(g_str_equal(text, want->str));
        task_free(t);
}

static void test_a_part_is_left_for_the_master(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "x y x\n");
        g_autofree char *above = g_build_filename(h->dir, "out/_temporary", NULL);
        g_autofree char *dir = g_build_filename(above, "attempt-0", NULL);
        g_autofree char *part = g_build_filename(dir, "part-00000", NULL);
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *text = NULL;
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        announce_worker(h, 0, 0, w);
        spec_reduce(&s, dir, 1, 1);
        g_assert_cmpint(g_mkdir_with_parents(above, 0755), ==, 0); /* as the master does */
        task_free(task_run(h, w, &s.spec));
        text = file_text(part);
        g_assert_cmpstr(text, ==, "x\t2\ny\t1\n");
}

static void test_a_reduce_of_no_maps_is_empty(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", NULL);
        Task *t;
        Spec s;

        spec_reduce(&s, NULL, 0, 1);
        t = task_run(h, w, &s.spec);
        g_assert_cmpuint(t->output->len, ==, 0);
        task_free(t);
}

static void assert_fails(Harness *h, Worker *w, Spec *s, bool permanent, const char *word)
{
        _cleanup_(task_freep) Task *t = task_start(w, &s->spec);

        WAIT(h, t->over);
        g_assert_cmpint(t->code, ==, EVGRPC_OK);
        g_assert_cmpint(t->outcome, ==, OUTCOME(FAILED));
        g_assert_cmpint(t->permanent, ==, permanent);
        if (!contains(t->error, word))
                g_error("\"%s\" does not name %s", t->error, word);
}

static void test_a_file_that_is_not_as_planned_fails_for_good(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a b c\n");
        Worker *w = worker_start(h, "w1", NULL);
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        s.pieces[0].mtime_ns--;
        assert_fails(h, w, &s, true, path);
        spec_map(&s, path, NULL, 1, 1);
        s.pieces[0].file_size++;
        assert_fails(h, w, &s, true, "has changed");
        spec_map(&s, path, NULL, 2, 1);
        (void) g_unlink(path);
        assert_fails(h, w, &s, true, path);
        /* A FIFO that nobody writes to would hold an open() for ever. */
        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
        spec_map(&s, path, NULL, 3, 1);
        assert_fails(h, w, &s, true, "not a regular file");
}

/* What goes into messages is UTF-8 on one line, whatever a file is called. */
static void test_a_file_with_a_strange_name_is_named_safely(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in\xff\nside", "a b c\n");
        Worker *w = worker_start(h, "w1", NULL);
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        spec_map(&s, path, NULL, 1, 1);
        (void) g_unlink(path);
        assert_fails(h, w, &s, true, "in\\xff\\x0aside");
}

static void test_a_failing_command_says_so(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        Worker *w = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *t = NULL;
        Spec s;

        spec_map(&s, path, "echo woe >&2; exit 3", 0, 1);
        t = task_start(w, &s.spec);
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(FAILED));
        g_assert_true(contains(t->error, "3"));
        g_assert_true(contains(t->error, path));
        g_assert_true(contains(t->stderr_tail, "woe"));
}

static void test_cancelling_kills_the_command(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *pids = g_build_filename(h->dir, "pids", NULL);
        g_autofree char *mapper = g_strdup_printf("sleep 1000 & echo $! $$ > %s; wait", pids);
        Worker *w = worker_start(h, "w1", "--slots=1", NULL);
        _cleanup_(task_freep) Task *t = NULL;
        pid_t child, shell;
        Spec s;

        spec_map(&s, path, mapper, 0, 1);
        t = task_start(w, &s.spec);
        WAIT(h, read_pids(pids, &child, &shell));
        g_assert_true(process_lives(child) && process_lives(shell));
        evgrpc_call_cancel(t->call);
        WAIT(h, t->over && !process_lives(child) && !process_lives(shell));
        g_assert_cmpint(t->code, ==, EVGRPC_CANCELLED);
        WAIT(h, is_tidy(w));

        spec_map(&s, path, NULL, 1, 1); /* the one slot is free again */
        task_free(task_run(h, w, &s.spec));
}

static void test_a_killed_mr_task_fails_the_attempt_and_leaves_nobody(Harness *h,
                                                                      gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *pids = g_build_filename(h->dir, "pids", NULL);
        g_autofree char *mapper = g_strdup_printf("sleep 1000 & echo $! $PPID > %s; wait", pids);
        Worker *w = worker_start(h, "w1", "--slots=1", NULL);
        _cleanup_(task_freep) Task *t = NULL;
        pid_t child, task;
        Spec s;

        spec_map(&s, path, mapper, 7, 1);
        t = task_start(w, &s.spec);
        WAIT(h, read_pids(pids, &child, &task));
        g_assert_cmpint(kill(task, SIGKILL), ==, 0);
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(FAILED));
        g_assert_false(t->permanent);
        g_assert_true(contains(t->error, "map-7: "));
        g_assert_true(contains(t->error, "SIGKILL"));
        WAIT(h, !process_lives(child));

        spec_map(&s, path, NULL, 8, 1);
        task_free(task_run(h, w, &s.spec));
}

static void test_garbage_is_refused_by_its_field(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        Worker *w = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *a = NULL, *b = NULL;
        Spec s;

        spec_map(&s, path, NULL, 0, 65537); /* 0 is a job without reduces */
        a = task_start(w, &s.spec);
        spec_map(&s, path, NULL, 0, 1);
        s.spec.job_id = (char *) "../../tmp";
        b = task_start(w, &s.spec);
        WAIT(h, a->over && b->over);
        g_assert_cmpint(a->code, ==, EVGRPC_INVALID_ARGUMENT);
        g_assert_true(g_str_has_prefix(a->message, "partitions"));
        g_assert_cmpint(b->code, ==, EVGRPC_INVALID_ARGUMENT);
        g_assert_true(g_str_has_prefix(b->message, "job_id"));
}

static void test_an_attempt_is_run_once(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        Worker *w = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *t = NULL;
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        t = task_start(w, &s.spec);
        WAIT(h, t->over);
        g_assert_cmpint(t->code, ==, EVGRPC_ALREADY_EXISTS);
}

/* One slot: the second waits for the first, whatever order they could finish in. */
static void test_slots_are_given_in_order(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *log = g_build_filename(h->dir, "order", NULL);
        Worker *w = worker_start(h, "w1", "--slots=1", NULL);
        g_autofree char *text = NULL;
        g_autofree char *mappers[4];
        Task *tasks[4];
        Spec s;

        for (uint32_t i = 0; i < 4; i++) {
                mappers[i] = g_strdup_printf(
                        "echo %u- >> %s; cat > /dev/null; sleep 0.0%u; echo %u. >> %s", i, log,
                        4 - i, i, log);
                spec_map(&s, path, mappers[i], i, 1);
                tasks[i] = task_start(w, &s.spec);
        }
        for (uint32_t i = 0; i < 4; i++)
                WAIT(h, tasks[i]->over);
        text = file_text(log);
        g_assert_cmpstr(text, ==, "0-\n0.\n1-\n1.\n2-\n2.\n3-\n3.\n");
        for (uint32_t i = 0; i < 4; i++) {
                g_assert_cmpint(tasks[i]->outcome, ==, OUTCOME(SUCCEEDED));
                task_free(tasks[i]);
                g_free(g_steal_pointer(&mappers[i]));
        }
}

/* The process that ran map @map of @job, by what its command sees as its parent. */
static pid_t task_process(Harness *h, Worker *w, const char *path, const char *job, uint32_t map)
{
        g_autofree char *pids = g_strdup_printf("%s/pids-%s-%u", h->dir, job, map);
        g_autofree char *mapper = g_strdup_printf("cat > /dev/null; echo $PPID $$ > %s", pids);
        pid_t task, shell;
        Spec s;

        spec_map(&s, path, mapper, map, 1);
        s.spec.job_id = (char *) job;
        task_free(task_run(h, w, &s.spec));
        g_assert_true(read_pids(pids, &task, &shell));
        return task;
}

static void test_a_process_serves_one_job_and_stays_warm(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        Worker *w = worker_start(h, "w1", "--slots=1", NULL);
        pid_t first = task_process(h, w, path, "job-1", 0), other;

        g_assert_cmpint(task_process(h, w, path, "job-1", 1), ==, first);
        other = task_process(h, w, path, "job-2", 0);
        g_assert_cmpint(other, !=, first);
        WAIT(h, !process_lives(first));
        h->forget_job = g_strdup("job-2");
        WAIT(h, !process_lives(other));
}

/* Reduces that wait take no slot, but a place: 4 a slot and 64 more. */
static void test_attempts_in_hand_are_bounded(Harness *h, gconstpointer data)
{
        Worker *w = worker_start(h, "w1", "--slots=1", NULL);
        enum { BOUND = 4 * 1 + 64 };
        Task *tasks[BOUND + 1];
        Spec s;

        for (uint32_t i = 0; i <= BOUND; i++) {
                spec_reduce(&s, NULL, 1, BOUND + 1);
                s.spec.task = i;
                tasks[i] = task_start(w, &s.spec);
        }
        WAIT(h, tasks[BOUND]->over);
        g_assert_cmpint(tasks[BOUND]->outcome, ==, OUTCOME(REJECTED));
        for (uint32_t i = 0; i < BOUND; i++) {
                g_assert_false(tasks[i]->over);
                evgrpc_call_cancel(tasks[i]->call);
        }
        for (uint32_t i = 0; i <= BOUND; i++) {
                WAIT(h, tasks[i]->over);
                task_free(tasks[i]);
        }
}

static void ship(Harness *h, Spec *s, const char *name, const char *text)
{
        g_hash_table_insert(h->files, (gpointer) name, g_bytes_new(text, strlen(text)));
        s->file.name = (char *) name;
        s->file.size_bytes = strlen(text);
        s->file.executable = true;
        s->program.n_files = 1;
}

static void test_a_shipped_script_is_fetched_once_and_run(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "hello\n");
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *text = NULL;
        Task *tasks[3], *t;
        Spec s;

        for (uint32_t i = 0; i < 3; i++) {
                spec_map(&s, path, "'./my script.sh'", i, 1);
                ship(h, &s, "my script.sh", "#!/bin/sh\nexec sed 's/$/\\t1/'\n");
                tasks[i] = task_start(w, &s.spec);
        }
        for (uint32_t i = 0; i < 3; i++) {
                WAIT(h, tasks[i]->over);
                if (tasks[i]->outcome != OUTCOME(SUCCEEDED))
                        g_error("%s %s", tasks[i]->error, tasks[i]->stderr_tail);
                task_free(tasks[i]);
                announce_worker(h, i, 0, w);
        }
        g_assert_cmpuint(h->file_reads, ==, 1);
        spec_reduce(&s, NULL, 3, 1);
        s.program.app = (char *) "";
        s.program.mapper = (char *) "cat";
        t = task_run(h, w, &s.spec);
        text = task_output(t);
        g_assert_cmpstr(text, ==, "hello\t1\nhello\t1\nhello\t1\n");
        task_free(t);
        WAIT(h, is_tidy(w));
}

static void test_a_truncated_shipped_file_is_not_run(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "hello\n");
        Worker *w = worker_start(h, "w1", NULL);
        Spec s;

        spec_map(&s, path, "./m", 0, 1);
        ship(h, &s, "m", "#!/bin/sh\nexec cat\n");
        s.file.size_bytes += 5;
        h->lie_bytes = 5;
        assert_fails(h, w, &s, false, "shipped file m ended after");
        h->lie_bytes = 0;
        spec_map(&s, path, "./m", 1, 1);
        ship(h, &s, "m", "#!/bin/sh\nexec cat\n");
        task_free(task_run(h, w, &s.spec)); /* another try may have it */
        spec_map(&s, path, "./none", 2, 1);
        s.file.name = (char *) "none";
        s.program.n_files = 1;
        assert_fails(h, w, &s, true, "none");
}

/* Attempts have it by links, so one that wrote to it would change what others read. All may read
 * it, as the task process may be another user; who may come near it is for the spool's directory to
 * say. */
static void test_a_shipped_file_is_read_only(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "hello\n");
        Worker *w = worker_start(h, "w1", NULL);
        g_autofree char *text = NULL;
        Task *t;
        Spec s;

        spec_map(&s, path, "stat -c %a side", 0, 1);
        ship(h, &s, "side", "table\n");
        s.file.executable = false;
        task_free(task_run(h, w, &s.spec));
        announce_worker(h, 0, 0, w);
        spec_reduce(&s, NULL, 1, 1);
        s.program.app = (char *) "";
        s.program.mapper = (char *) "cat";
        t = task_run(h, w, &s.spec);
        text = task_output(t);
        g_assert_cmpstr(text, ==, "444\n");
        task_free(t);
}

static void test_an_attempt_without_its_files_leaves_nothing(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "hello\n"), *kept = NULL;
        Worker *w = worker_start(h, "w1", NULL);
        Spec s;

        spec_map(&s, path, "./m", 0, 1);
        ship(h, &s, "m", "#!/bin/sh\nexec cat\n");
        task_free(task_run(h, w, &s.spec));
        kept = g_build_filename(w->spool, "jobs/job-1/files/m", NULL);
        g_assert_cmpint(g_unlink(kept), ==, 0);
        spec_map(&s, path, "./m", 1, 1);
        ship(h, &s, "m", "#!/bin/sh\nexec cat\n");
        assert_fails(h, w, &s, false, "working directory");
        WAIT(h, is_tidy(w));
}

/* It may be the host's limit on processes, and fails no task: others have theirs. */
static void test_without_a_process_attempts_go_elsewhere(Harness *h, gconstpointer data)
{
        g_autofree char *in = put_file(h, "in", "a\n");
        g_autofree char *from =
                g_build_filename(g_getenv("BUILD_ROOT") ?: ".", "daemons/mr-task/mr-task", NULL);
        g_autofree char *to = g_build_filename(h->dir, "mr-task", NULL);
        g_autofree char *copy = g_strdup_printf("cp '%s' '%s'", from, to);
        _cleanup_(task_freep) Task *t = NULL;
        Worker *w;
        Spec s;

        g_assert_cmpint(system(copy), ==, 0);
        g_assert_true(g_setenv("MR_HELPER_DIR", h->dir, true));
        w = worker_start(h, "w1", "--slots=1", NULL);
        g_unsetenv("MR_HELPER_DIR");
        spec_map(&s, in, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec));
        g_assert_cmpint(g_unlink(to), ==, 0);
        s.spec.job_id = (char *) "job-2"; /* the process there is is job-1's */
        t = task_start(w, &s.spec);
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(REJECTED));
        g_assert_true(contains(t->error, "worker w1: cannot start mr-task: No such file"));
}

static void unmount(char **path)
{
        (void) umount2(*path, MNT_DETACH);
        g_free(*path);
}

/* Every place where bytes are written in turn, on a disk of 4 MiB: a shipped file, a run file, a
 * result. */
static void test_a_full_spool_is_said_and_given_back(Harness *h, gconstpointer data)
{
        g_autofree char *in = put_file(h, "in", "a\n"), *stuff = g_strnfill(MIB(6), 'x');
        _cleanup_(unmount) char *spool = g_build_filename(h->dir, "w1", NULL);
        _cleanup_(task_freep) Task *shipped = NULL, *run = NULL, *part = NULL;
        g_autofree char *conf = put_file(h, "conf", "[Worker]\nMinFree=0\n");
        g_autofree char *option = g_strconcat("--config=", conf, NULL);
        Worker *w;
        Spec s;

        g_assert_cmpint(g_mkdir(spool, 0700), ==, 0);
        if (mount("tmpfs", spool, "tmpfs", 0, "size=4m") < 0) {
                g_test_skip("may not mount a small disk");
                return;
        }
        w = worker_start(h, "w1", option, NULL);

        spec_map(&s, in, "cat", 1, 1);
        ship(h, &s, "big", stuff);
        shipped = task_start(w, &s.spec);
        WAIT(h, shipped->over);
        g_assert_cmpint(shipped->outcome, ==, OUTCOME(FAILED));
        g_assert_true(contains(shipped->error, "shipped file big: No space left"));

        spec_map(&s, in, "od -v -An -N2500000 -tx1 /dev/urandom | tr ' ' '\\n'", 2, 1);
        s.spec.memory_bytes = MIB(4);
        run = task_start(w, &s.spec);
        WAIT(h, run->over);
        g_assert_cmpint(run->outcome, ==, OUTCOME(FAILED));
        g_assert_true(contains(run->error, "disk full: cannot write"));

        spec_map(&s, in, NULL, 0, 1);
        task_free(task_run(h, w, &s.spec)); /* what was written before is gone again */
        announce_worker(h, 0, 0, w);
        spec_reduce(&s, NULL, 1, 1);
        s.program.app = (char *) "";
        s.program.mapper = (char *) "cat";
        s.program.reducer = (char *) "head -c 6000000 /dev/zero";
        part = task_start(w, &s.spec);
        WAIT(h, part->over);
        g_assert_cmpint(part->outcome, ==, OUTCOME(FAILED));
        g_assert_true(contains(part->error, "disk full: cannot write the part"));
        WAIT(h, is_tidy(w));
        worker_kill(h, w, SIGTERM);
}

static void test_without_room_attempts_go_elsewhere(Harness *h, gconstpointer data)
{
        g_autofree char *path = put_file(h, "in", "a\n");
        g_autofree char *conf = put_file(h, "conf", "[Worker]\nMinFree=100000T\n");
        g_autofree char *option = g_strconcat("--config=", conf, NULL);
        Worker *w = worker_start(h, "w1", option, NULL);
        _cleanup_(task_freep) Task *t = NULL;
        Spec s;

        spec_map(&s, path, NULL, 0, 1);
        t = task_start(w, &s.spec);
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(REJECTED));
        g_assert_true(contains(t->error, "MinFree="));
        g_assert_true(contains(t->error, w->spool));
}

int main(int argc, char *argv[])
{
        static const struct {
                const char *path;
                void (*fn)(Harness *, gconstpointer);
        } tests[] = {
                {"a-word-count-comes-back", test_a_word_count_comes_back},
                {"a-large-result-is-streamed-whole", test_a_large_result_is_streamed_whole},
                {"a-part-is-left-for-the-master", test_a_part_is_left_for_the_master},
                {"a-reduce-of-no-maps-is-empty", test_a_reduce_of_no_maps_is_empty},
                {"a-file-that-is-not-as-planned-fails-for-good",
                 test_a_file_that_is_not_as_planned_fails_for_good},
                {"a-file-with-a-strange-name-is-named-safely",
                 test_a_file_with_a_strange_name_is_named_safely},
                {"a-failing-command-says-so", test_a_failing_command_says_so},
                {"cancelling-kills-the-command", test_cancelling_kills_the_command},
                {"a-killed-mr-task-fails-the-attempt-and-leaves-nobody",
                 test_a_killed_mr_task_fails_the_attempt_and_leaves_nobody},
                {"garbage-is-refused-by-its-field", test_garbage_is_refused_by_its_field},
                {"an-attempt-is-run-once", test_an_attempt_is_run_once},
                {"slots-are-given-in-order", test_slots_are_given_in_order},
                {"a-process-serves-one-job-and-stays-warm",
                 test_a_process_serves_one_job_and_stays_warm},
                {"attempts-in-hand-are-bounded", test_attempts_in_hand_are_bounded},
                {"a-shipped-script-is-fetched-once-and-run",
                 test_a_shipped_script_is_fetched_once_and_run},
                {"a-truncated-shipped-file-is-not-run", test_a_truncated_shipped_file_is_not_run},
                {"a-shipped-file-is-read-only", test_a_shipped_file_is_read_only},
                {"an-attempt-without-its-files-leaves-nothing",
                 test_an_attempt_without_its_files_leaves_nothing},
                {"without-a-process-attempts-go-elsewhere",
                 test_without_a_process_attempts_go_elsewhere},
                {"a-full-spool-is-said-and-given-back", test_a_full_spool_is_said_and_given_back},
                {"without-room-attempts-go-elsewhere", test_without_room_attempts_go_elsewhere},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                g_autofree char *path = g_strconcat("/worker/tasks/", tests[i].path, NULL);

                g_test_add(path, Harness, NULL, harness_setup, tests[i].fn, harness_teardown);
        }
        return g_test_run();
}

/*
 * Map outputs between workers: fetched, lost, corrupt, replaced. The test is the master of real
 * workers.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "worker-harness.h"

#define OUTCOME(x) MAPREDUCED__V1__TASK_OUTCOME__##x
#define NOBODY "ffffffffffffffffffffffffffffffff"

/* Map @map of a file with @text on @w. */
static void run_map(Harness *h, Worker *w, uint32_t map, uint32_t attempt, const char *text)
{
        g_autofree char *name = g_strdup_printf("in-%u", map);
        g_autofree char *path = put_file(h, name, text);
        Spec s;

        spec_map(&s, path, NULL, map, 2);
        s.spec.attempt = attempt;
        task_free(task_run(h, w, &s.spec));
}

static Task *start_reduce(Worker *w, uint32_t partition, uint32_t maps)
{
        Spec s;

        spec_reduce(&s, NULL, maps, 2);
        s.spec.task = partition;
        return task_start(w, &s.spec);
}

static gint compare_lines(gconstpointer a, gconstpointer b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Ends both reduces; all their lines, sorted: which word is in which part is the hash's affair. */
static char *finish_reduces(Harness *h, Task *a, Task *b)
{
        g_autofree char *text_a = NULL, *text_b = NULL, *all = NULL;
        g_auto(GStrv) lines = NULL;
        Task *tasks[] = {a, b};

        for (size_t i = 0; i < 2; i++) {
                WAIT(h, tasks[i]->over);
                if (tasks[i]->outcome != OUTCOME(SUCCEEDED))
                        g_error("%s %s", evgrpc_code_to_string(tasks[i]->code),
                                tasks[i]->error ?: tasks[i]->message);
        }
        text_a = task_output(a);
        text_b = task_output(b);
        task_free(a);
        task_free(b);
        all = g_strconcat(text_a, text_b, NULL);
        lines = g_strsplit(g_strchomp(all), "\n", -1);
        qsort(lines, g_strv_length(lines), sizeof(char *), compare_lines);
        return g_strjoinv(" ", lines);
}

static char *reduce_all(Harness *h, Worker *a, Worker *b, uint32_t maps)
{
        return finish_reduces(h, start_reduce(a, 0, maps), start_reduce(b, 1, maps));
}

static void test_two_workers_share_their_outputs(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autofree char *got = NULL;

        run_map(h, a, 0, 0, "one two three\n");
        run_map(h, b, 1, 0, "two three\n");
        run_map(h, b, 2, 0, "three four\n");
        announce_worker(h, 0, 0, a);
        announce_worker(h, 1, 0, b);
        announce_worker(h, 2, 0, b);
        got = reduce_all(h, a, b, 3);
        g_assert_cmpstr(got, ==, "four\t1 one\t1 three\t3 two\t2");
        g_assert_cmpuint(h->reports->len, ==, 0);
}

/* 8 MiB in the segments: many messages, and back-pressure on the way. */
static void test_large_segments_arrive_whole(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autoptr(GString) text = g_string_new(NULL);
        Task *r[2];
        guint lines = 0;

        for (unsigned i = 0; i < 300000; i++)
                g_string_append_printf(text, "word-%u-abcdefghijklmnop\n", i);
        run_map(h, a, 0, 0, text->str);
        announce_worker(h, 0, 0, a);
        for (uint32_t i = 0; i < 2; i++)
                r[i] = start_reduce(b, i, 1);
        for (uint32_t i = 0; i < 2; i++) {
                WAIT(h, r[i]->over);
                g_assert_cmpint(r[i]->outcome, ==, OUTCOME(SUCCEEDED));
                for (guint n = 0; n < r[i]->output->len; n++)
                        lines += r[i]->output->data[n] == '\n';
                task_free(r[i]);
        }
        g_assert_cmpuint(lines, ==, 300000);
}

/* As LimitFSIZE= of a unit does it: the signal that comes with it must not be the end of the
 * worker. */
static void test_a_segment_above_the_file_size_limit_costs_one_attempt(Harness *h,
                                                                       gconstpointer data)
{
        static const struct rlimit small = {4096, RLIM_INFINITY};
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autoptr(GString) text = g_string_new(NULL);
        _cleanup_(task_freep) Task *t = NULL;

        for (unsigned i = 0; i < 20000; i++)
                g_string_append_printf(text, "word-%u\n", i);
        run_map(h, a, 0, 0, text->str);
        announce_worker(h, 0, 0, a);
        g_assert_cmpint(prlimit(b->pid, RLIMIT_FSIZE, &small, NULL), ==, 0);
        t = start_reduce(b, 0, 1);
        WAIT(h, t->over);
        g_assert_cmpint(t->code, ==, EVGRPC_OK);
        g_assert_cmpint(t->outcome, ==, OUTCOME(REJECTED));
        g_assert_nonnull(strstr(t->error, "cannot write to the spool: File too large"));
        g_assert_true(process_lives(b->pid));
}

/* One slot, taken by reduces that wait: the map they wait for must still run. */
static void test_waiting_reduces_hold_no_slot(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", "--slots=1", NULL);
        Task *r0 = start_reduce(a, 0, 1), *r1 = start_reduce(a, 1, 1);
        g_autofree char *got = NULL;

        WAIT(h, r0->phases & (1u << MAPREDUCED__V1__TASK_PHASE__SHUFFLE));
        run_map(h, a, 0, 0, "x\n");
        announce_worker(h, 0, 0, a);
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "x\t1");
}

static const Report *find_report(const Harness *h, uint32_t map, uint32_t attempt)
{
        for (guint i = 0; i < h->reports->len; i++) {
                const Report *r = h->reports->pdata[i];

                if (r->map == map && r->attempt == attempt)
                        return r;
        }
        return NULL;
}

static const Report *wait_report(Harness *h, uint32_t map, uint32_t attempt)
{
        WAIT(h, find_report(h, map, attempt));
        return find_report(h, map, attempt);
}

static void test_an_output_on_a_dead_worker_is_reported_and_replaced(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autofree char *got = NULL, *nowhere = g_strdup_printf("unix:%s/nowhere", h->dir);
        const Report *r;
        Task *r0, *r1;

        run_map(h, b, 0, 0, "p q\n");
        run_map(h, b, 1, 1, "q\n");
        r0 = start_reduce(a, 0, 2);
        r1 = start_reduce(a, 1, 2);
        announce(h, 1, 0, NOBODY, nowhere);
        announce_worker(h, 0, 0, b);
        r = wait_report(h, 1, 0);
        g_assert_cmpstr(r->worker_id, ==, NOBODY);
        g_assert_false(r->corrupt || r->gone);
        g_assert_nonnull(strstr(r->reason, "nowhere"));
        g_assert_false(r0->over || r1->over);
        announce_worker(h, 1, 1, b);
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "p\t1 q\t2");
}

static void test_an_output_that_is_not_there_is_reported_at_once(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autofree char *got = NULL;
        Task *r0, *r1;

        announce_worker(h, 0, 0, b);
        r0 = start_reduce(a, 0, 1);
        r1 = start_reduce(a, 1, 1);
        g_assert_true(wait_report(h, 0, 0)->gone); /* said by its holder: not tried for a while */
        run_map(h, a, 0, 1, "p\n");
        announce_worker(h, 0, 1, a);
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "p\t1");
}

/* Turns over one bit near the end of a run file: in a block, not in the index. */
static void damage(const Worker *w, const char *name)
{
        g_autofree char *path = g_build_filename(w->spool, "jobs/job-1", name, NULL);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        struct stat st;
        uint8_t byte;

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpint((int) pread(fd, &byte, 1, st.st_size - 1), ==, 1);
        byte ^= 1;
        g_assert_cmpint((int) pwrite(fd, &byte, 1, st.st_size - 1), ==, 1);
}

static void corrupt_output_is_replaced(Harness *h, Worker *holder, Worker *reducer)
{
        g_autofree char *got = NULL;
        Task *r0, *r1;

        /* A word in each partition, whichever the hash: "a" to "h" are not all in one. */
        run_map(h, holder, 0, 0, "a b c d e f g h\n");
        damage(holder, "map-00000.0.run");
        announce_worker(h, 0, 0, holder);
        r0 = start_reduce(reducer, 0, 1);
        r1 = start_reduce(reducer, 1, 1);
        g_assert_true(wait_report(h, 0, 0)->corrupt);
        g_assert_cmpstr(wait_report(h, 0, 0)->worker_id, ==, holder->registration.worker_id);
        run_map(h, holder, 0, 1, "a b c d e f g h\n");
        announce_worker(h, 0, 1, holder);
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "a\t1 b\t1 c\t1 d\t1 e\t1 f\t1 g\t1 h\t1");
}

static void test_a_corrupt_output_of_another_worker_is_replaced(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);

        corrupt_output_is_replaced(h, b, a);
}

static void test_a_corrupt_output_of_its_own_is_replaced(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL);

        corrupt_output_is_replaced(h, a, a);
}

/* The first report may be lost with the master that got it: then this one is all there is. */
static void test_a_corrupt_output_is_reported_until_it_is_replaced(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL);
        g_autofree char *got = NULL;
        Task *r0, *r1;

        run_map(h, a, 0, 0, "a b c d e f g h\n");
        damage(a, "map-00000.0.run");
        announce_worker(h, 0, 0, a);
        r0 = start_reduce(a, 0, 1);
        r1 = start_reduce(a, 1, 1);
        /* The last byte is bad, so only the last partition meets it. */
        WAIT(h, r0->over && h->reports->len > 1);
        g_assert_true(((Report *) h->reports->pdata[1])->corrupt);
        run_map(h, a, 0, 1, "a b c d e f g h\n");
        announce_worker(h, 0, 1, a);
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "a\t1 b\t1 c\t1 d\t1 e\t1 f\t1 g\t1 h\t1");
}

/* A worker that has every output corrupt is given up: three replacements, and no more. */
static void test_bad_outputs_end_the_attempt_in_the_end(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL);
        _cleanup_(task_freep) Task *t = NULL;

        run_map(h, a, 0, 0, "a\n");
        damage(a, "map-00000.0.run");
        announce_worker(h, 0, 0, a);
        for (uint32_t partition = 0; partition < 2; partition++) {
                Task *r = start_reduce(a, partition, 1);

                WAIT(h, r->over || h->reports->len > 0); /* the one without the word succeeds */
                if (r->over) {
                        task_free(r);
                        continue;
                }
                t = r;
                break;
        }
        g_assert_nonnull(t);
        for (uint32_t attempt = 1; attempt <= 3; attempt++) {
                g_autofree char *name = g_strdup_printf("map-00000.%u.run", attempt);

                run_map(h, a, 0, attempt, "a\n");
                damage(a, name);
                announce_worker(h, 0, attempt, a);
                WAIT(h, t->over || find_report(h, 0, attempt)); /* older ones may come again */
        }
        WAIT(h, t->over);
        g_assert_cmpint(t->outcome, ==, OUTCOME(FAILED));
        g_assert_nonnull(strstr(t->error, "bad map outputs"));
}

/* The holder is killed while it is read, and comes back with what it had. */
static void test_a_worker_that_comes_back_is_used_again(Harness *h, gconstpointer data)
{
        Worker *a = worker_start(h, "w1", NULL), *b = worker_start(h, "w2", NULL);
        g_autofree char *got = NULL;
        Task *r0, *r1;

        run_map(h, b, 0, 0, "p q\n");
        worker_kill(h, b, SIGKILL);
        announce_worker(h, 0, 0, b);
        r0 = start_reduce(a, 0, 1);
        r1 = start_reduce(a, 1, 1);
        (void) wait_report(h, 0, 0);
        worker_restart(h, b, "w2");
        g_assert_cmpuint(b->registration.held->len, ==, 1);
        announce_worker(h, 0, 0, b); /* the master heard that it is held */
        got = finish_reduces(h, r0, r1);
        g_assert_cmpstr(got, ==, "p\t1 q\t1");
}

int main(int argc, char *argv[])
{
        static const struct {
                const char *path;
                void (*fn)(Harness *, gconstpointer);
        } tests[] = {
                {"two-workers-share-their-outputs", test_two_workers_share_their_outputs},
                {"large-segments-arrive-whole", test_large_segments_arrive_whole},
                {"a-segment-above-the-file-size-limit-costs-one-attempt",
                 test_a_segment_above_the_file_size_limit_costs_one_attempt},
                {"waiting-reduces-hold-no-slot", test_waiting_reduces_hold_no_slot},
                {"an-output-on-a-dead-worker-is-reported-and-replaced",
                 test_an_output_on_a_dead_worker_is_reported_and_replaced},
                {"an-output-that-is-not-there-is-reported-at-once",
                 test_an_output_that_is_not_there_is_reported_at_once},
                {"a-corrupt-output-of-another-worker-is-replaced",
                 test_a_corrupt_output_of_another_worker_is_replaced},
                {"a-corrupt-output-of-its-own-is-replaced",
                 test_a_corrupt_output_of_its_own_is_replaced},
                {"a-corrupt-output-is-reported-until-it-is-replaced",
                 test_a_corrupt_output_is_reported_until_it_is_replaced},
                {"bad-outputs-end-the-attempt-in-the-end",
                 test_bad_outputs_end_the_attempt_in_the_end},
                {"a-worker-that-comes-back-is-used-again",
                 test_a_worker_that_comes_back_is_used_again},
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++) {
                g_autofree char *path = g_strconcat("/worker/shuffle/", tests[i].path, NULL);

                g_test_add(path, Harness, NULL, harness_setup, tests[i].fn, harness_teardown);
        }
        return g_test_run();
}

/*
 * The task table: attempts, commits, lost outputs, and counters.
 */
#include "jobs/counters.h"
#include "jobs/task-table.h"

enum { W1 = 1, W2 = 2, W3 = 3 };

static uint32_t start(TaskTable *t, TaskKind kind, uint32_t task, uint32_t worker)
{
        uint32_t attempt = TASK_NONE;

        g_assert_cmpint(task_table_start(t, kind, task, worker, 0, &attempt), ==, 0);
        return attempt;
}

static void finish(TaskTable *t, TaskKind kind, uint32_t task, uint32_t worker)
{
        g_assert_cmpint(task_table_commit(t, kind, task, start(t, kind, task, worker)), ==, 0);
}

static TaskState state(const TaskTable *t, TaskKind kind, uint32_t task)
{
        return task_table_get(t, kind, task)->state;
}

static void test_the_first_commit_wins(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);
        uint32_t a = start(t, TASK_MAP, 0, W1), b = start(t, TASK_MAP, 0, W2), c, attempt, worker;

        g_assert_cmpuint(a, !=, b);
        g_assert_cmpint(task_table_start(t, TASK_MAP, 0, W3, 0, &c), ==, -EBUSY);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 0, b), ==, 0);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 0, a), ==, -EALREADY);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 0, b), ==, -EALREADY);
        g_assert_cmpint(task_table_output(t, 0, &attempt, &worker), ==, 1);
        g_assert_cmpuint(attempt, ==, b);
        g_assert_cmpuint(worker, ==, W2);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 0, a, ATTEMPT_KILLED, 0), ==, 0);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
}

static void test_one_attempt_has_the_grant_and_an_end_gives_it_back(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(0, 1, 4, 0);
        uint32_t a = start(t, TASK_REDUCE, 0, W1), b = start(t, TASK_REDUCE, 0, W2);

        g_assert_cmpint(task_table_grant(t, 0, a), ==, 0);
        g_assert_cmpint(task_table_grant(t, 0, b), ==, -EALREADY);
        g_assert_cmpint(task_table_commit(t, TASK_REDUCE, 0, b), ==, -EALREADY);
        g_assert_cmpint(task_table_end(t, TASK_REDUCE, 0, a, ATTEMPT_FAILED, 0), ==, 0);
        g_assert_cmpint(task_table_grant(t, 0, b), ==, 0);
        g_assert_cmpint(task_table_commit(t, TASK_REDUCE, 0, b), ==, 0);
        g_assert_true(task_table_is_complete(t));
}

static void test_without_reduces_maps_are_the_parts_and_stay(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 0, 4, 0);
        uint32_t a = start(t, TASK_MAP, 0, W1), b = start(t, TASK_MAP, 0, W2), c, attempt, worker;

        g_assert_cmpint(task_table_part_kind(t), ==, TASK_MAP);
        g_assert_cmpint(task_table_grant(t, 0, a), ==, 0);
        g_assert_cmpint(task_table_grant(t, 0, b), ==, -EALREADY);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 0, a), ==, 0);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 0, b, ATTEMPT_KILLED, 0), ==, 0);
        g_assert_false(task_table_is_complete(t));
        /* Its part is in place: nobody fetches it, and its worker may go. */
        g_assert_cmpint(task_table_output(t, 0, &attempt, &worker), ==, 0);
        g_assert_cmpint(task_table_lose_output(t, 0, a, 0), ==, -ESTALE);
        g_assert_cmpint(task_table_report_lost(t, 0, a, W3, true, 0), ==, -ESTALE);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
        c = start(t, TASK_MAP, 1, W2);
        g_assert_cmpint(task_table_grant(t, 1, c), ==, 0);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 1, c), ==, 0);
        g_assert_true(task_table_is_complete(t));
}

static void test_only_failures_count_to_the_limit(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 2, 0);

        for (int i = 0; i < 10; i++) {
                g_assert_cmpint(
                        task_table_end(t, TASK_MAP, 0, start(t, TASK_MAP, 0, W1), ATTEMPT_LOST, 0),
                        ==, 0);
                g_assert_cmpint(task_table_end(t, TASK_MAP, 0, start(t, TASK_MAP, 0, W1),
                                               ATTEMPT_KILLED, 0),
                                ==, 0);
                g_assert_cmpint(task_table_end(t, TASK_MAP, 0, start(t, TASK_MAP, 0, W1),
                                               ATTEMPT_REJECTED, 0),
                                ==, 0);
        }
        g_assert_cmpint(
                task_table_end(t, TASK_MAP, 0, start(t, TASK_MAP, 0, W1), ATTEMPT_FAILED, 0), ==,
                0);
        g_assert_cmpint(
                task_table_end(t, TASK_MAP, 0, start(t, TASK_MAP, 0, W2), ATTEMPT_FAILED, 0), ==,
                1);
        g_assert_cmpuint(task_table_failed(t), ==, 2);
        g_assert_cmpuint(task_table_lost(t), ==, 10);
}

static void test_an_attempt_ends_once(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 1, 0);
        uint32_t a = start(t, TASK_MAP, 0, W1);

        g_assert_cmpint(task_table_end(t, TASK_MAP, 0, a, ATTEMPT_LOST, 0), ==, 0);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 0, a, ATTEMPT_FAILED, 0), ==, -ENOENT);
        g_assert_cmpint(task_table_commit(t, TASK_MAP, 0, a), ==, -ENOENT);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 7, 0, ATTEMPT_LOST, 0), ==, -ENOENT);
}

static void test_a_map_runs_again_only_while_a_reduce_needs_it(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);
        uint32_t r, attempt, worker;

        finish(t, TASK_MAP, 0, W1);
        finish(t, TASK_MAP, 1, W1);
        g_assert_cmpint(task_table_lose_output(t, 0, 0, 5), ==, 1);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_IDLE);
        finish(t, TASK_MAP, 0, W2);

        /* The only reduce has all its input: nobody needs map 0 … */
        r = start(t, TASK_REDUCE, 0, W1);
        g_assert_cmpint(task_table_progress(t, TASK_REDUCE, 0, r, ATTEMPT_WAITING, 0, 0), ==, 0);
        g_assert_cmpint(task_table_lose_output(t, 0, 1, 6), ==, 0);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
        g_assert_cmpint(task_table_output(t, 0, &attempt, &worker), ==, 0);
        g_assert_cmpuint(task_table_rerun_lost(t, 7), ==, 0);

        /* … until that attempt is lost. */
        g_assert_cmpint(task_table_end(t, TASK_REDUCE, 0, r, ATTEMPT_LOST, 8), ==, 0);
        g_assert_cmpuint(task_table_rerun_lost(t, 8), ==, 1);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_IDLE);
        g_assert_cmpint(state(t, TASK_MAP, 1), ==, TASK_DONE);
        g_assert_cmpuint(task_table_outputs_lost(t), ==, 2);
}

/* After a restart: lost before, needed by nobody or not, which is known when the reduce that was
 * running says how far it is. */
static void test_a_restored_map_without_output_runs_again_when_it_is_needed(void)
{
        for (int fed = 0; fed < 2; fed++) {
                _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);
                uint32_t attempt, worker;

                task_table_restore(t, TASK_MAP, 0, 1, 0, 0, true, 0, W1);
                task_table_restore(t, TASK_MAP, 1, 1, 0, 0, true, 0, W2);
                task_table_restore_lost(t, 0);
                task_table_restore(t, TASK_REDUCE, 0, 1, 0, 0, false, 0, 0);
                g_assert_cmpint(task_table_resume(t, TASK_REDUCE, 0, 0, W2, 0), ==, 0);
                g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
                g_assert_cmpint(task_table_output(t, 0, &attempt, &worker), ==, 0);
                (void) task_table_progress(t, TASK_REDUCE, 0, 0,
                                           fed ? ATTEMPT_RUNNING : ATTEMPT_STARTED, 0, 1);
                g_assert_cmpuint(task_table_rerun_lost(t, 1), ==, fed ? 0 : 1);
                g_assert_cmpint(state(t, TASK_MAP, 0), ==, fed ? TASK_DONE : TASK_IDLE);
                g_assert_cmpint(state(t, TASK_MAP, 1), ==, TASK_DONE);
        }
}

/* The worker is lost, its map is to run again; but the reduce had all its input, and its word of
 * that comes with its part. */
static void test_maps_are_done_when_all_reduces_are(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(3, 1, 4, 0);
        uint32_t r, attempt, worker;

        for (uint32_t i = 0; i < 3; i++)
                finish(t, TASK_MAP, i, W1);
        r = start(t, TASK_REDUCE, 0, W2);
        g_assert_cmpint(task_table_lose_output(t, 0, 0, 5), ==, 1);
        g_assert_cmpint(task_table_lose_output(t, 1, 0, 5), ==, 1);
        (void) start(t, TASK_MAP, 1, W2);
        g_assert_cmpint(task_table_commit(t, TASK_REDUCE, 0, r), ==, 0);
        task_table_settle(t);
        g_assert_cmpuint(task_table_count_in(t, TASK_MAP, TASK_DONE), ==, 3);
        g_assert_cmpuint(task_table_first_idle(t, TASK_MAP), ==, TASK_NONE);
        g_assert_cmpuint(task_table_first_running(t, TASK_MAP), ==, TASK_NONE);
        g_assert_cmpint(task_table_output(t, 0, &attempt, &worker), ==, 0);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 1, 1, ATTEMPT_KILLED, 9), ==, 0);
        g_assert_cmpint(state(t, TASK_MAP, 1), ==, TASK_DONE);
        g_assert_cmpuint(task_table_rerun_lost(t, 9), ==, 0);
}

/* The corrupt segment is found by the reduce that holds every input: its report comes before or
 * after the news that it shuffles again, and the map must run again either way. */
static void test_a_reduce_back_in_its_shuffle_needs_maps_again(void)
{
        for (int report_first = 0; report_first < 2; report_first++) {
                _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);
                uint32_t reduce;

                finish(t, TASK_MAP, 0, W1);
                reduce = start(t, TASK_REDUCE, 0, W2);
                (void) task_table_progress(t, TASK_REDUCE, 0, reduce, ATTEMPT_RUNNING, 0.5, 0);
                if (report_first) {
                        g_assert_cmpint(task_table_report_lost(t, 0, 0, W2, true, 0), ==, 1);
                        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
                        g_assert_cmpuint(task_table_rerun_lost(t, 0), ==, 0);
                }
                (void) task_table_progress(t, TASK_REDUCE, 0, reduce, ATTEMPT_STARTED, 0, 0);
                g_assert_cmpuint(task_table_rerun_lost(t, 0), ==, report_first);
                if (!report_first)
                        g_assert_cmpint(task_table_report_lost(t, 0, 0, W2, true, 0), ==, 1);
                g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_IDLE);
        }
}

static void test_a_finished_reduce_needs_nothing(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);

        finish(t, TASK_MAP, 0, W1);
        finish(t, TASK_REDUCE, 0, W1);
        g_assert_cmpint(task_table_lose_output(t, 0, 0, 0), ==, 0);
        g_assert_true(task_table_is_complete(t));
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
}

static void test_reports_need_two_voices_three_words_or_proof(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(4, 1, 4, 0);

        for (uint32_t i = 0; i < 4; i++)
                finish(t, TASK_MAP, i, W1);

        g_assert_cmpint(task_table_report_lost(t, 0, 0, W2, true, 0), ==, 1);

        g_assert_cmpint(task_table_report_lost(t, 1, 0, W2, false, 0), ==, 0);
        g_assert_cmpint(task_table_report_lost(t, 1, 0, W3, false, 0), ==, 1);

        g_assert_cmpint(task_table_report_lost(t, 2, 0, W2, false, 0), ==, 0);
        g_assert_cmpint(task_table_report_lost(t, 2, 0, W2, false, 0), ==, 0);
        g_assert_cmpint(task_table_report_lost(t, 2, 0, W2, false, 0), ==, 1);

        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_IDLE);
        g_assert_cmpint(state(t, TASK_MAP, 1), ==, TASK_IDLE);
        g_assert_cmpint(state(t, TASK_MAP, 2), ==, TASK_IDLE);
        g_assert_cmpint(state(t, TASK_MAP, 3), ==, TASK_DONE);
}

static void test_a_report_of_an_old_attempt_is_ignored(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);

        finish(t, TASK_MAP, 0, W1);
        g_assert_cmpint(task_table_report_lost(t, 0, 0, W2, true, 0), ==, 1);
        g_assert_cmpint(task_table_report_lost(t, 0, 0, W3, true, 0), ==, -ESTALE);
        finish(t, TASK_MAP, 0, W2);
        g_assert_cmpint(task_table_report_lost(t, 0, 0, W3, true, 0), ==, -ESTALE);
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
        g_assert_cmpint(task_table_report_lost(t, 99, 0, W3, true, 0), ==, -ESTALE);
        /* and its votes do not carry over to the new output */
        g_assert_cmpint(task_table_report_lost(t, 0, 1, W3, false, 0), ==, 0);
}

static void test_a_worker_that_comes_back_in_time_saves_its_maps(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);

        finish(t, TASK_MAP, 0, W1);
        finish(t, TASK_MAP, 1, W1);
        (void) task_table_lose_output(t, 0, 0, 0);
        (void) task_table_lose_output(t, 1, 0, 0);
        (void) start(t, TASK_MAP, 1, W2);
        g_assert_cmpint(task_table_recover_output(t, 0, 0, W2), ==, 0);
        g_assert_cmpint(task_table_recover_output(t, 0, 0, W1), ==, 1);
        g_assert_cmpint(task_table_recover_output(t, 1, 0, W1), ==, 0); /* runs elsewhere already */
        g_assert_cmpint(state(t, TASK_MAP, 0), ==, TASK_DONE);
        g_assert_cmpuint(task_table_count_in(t, TASK_MAP, TASK_IDLE), ==, 0);
        g_assert_cmpuint(task_table_first_idle(t, TASK_MAP), ==, TASK_NONE);
}

static void test_reduces_wait_for_five_percent_or_the_last_map(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(40, 1, 4, 0);
        _cleanup_(task_table_freep) TaskTable *none = task_table_new(0, 3, 4, 0);
        _cleanup_(task_table_freep) TaskTable *one = task_table_new(1, 1, 4, 0);

        g_assert_false(task_table_may_shuffle(t));
        finish(t, TASK_MAP, 0, W1);
        g_assert_false(task_table_may_shuffle(t)); /* 2.5 % */
        finish(t, TASK_MAP, 1, W1);
        g_assert_true(task_table_may_shuffle(t)); /* 5 % */
        g_assert_true(task_table_may_shuffle(none));
        g_assert_false(task_table_may_shuffle(one));
        (void) start(one, TASK_MAP, 0, W1);
        g_assert_true(task_table_may_shuffle(one));
}

static void test_a_task_that_comes_back_goes_first(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(5, 1, 4, 0);
        uint32_t a;

        g_assert_cmpuint(task_table_first_idle(t, TASK_MAP), ==, 0);
        (void) start(t, TASK_MAP, 0, W1);
        a = start(t, TASK_MAP, 1, W1);
        g_assert_cmpint(task_table_end(t, TASK_MAP, 1, a, ATTEMPT_LOST, 0), ==, 0);
        g_assert_cmpuint(task_table_first_idle(t, TASK_MAP), ==, 1);
        g_assert_cmpuint(task_table_next_idle(t, TASK_MAP, 1), ==, 2);
}

static void test_a_restored_task_never_reuses_a_number(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);
        uint32_t attempt, worker;

        task_table_restore(t, TASK_MAP, 0, 3, 1, 1, false, 0, 0);
        task_table_restore(t, TASK_MAP, 1, 2, 0, 0, true, 1, W3);
        g_assert_cmpuint(start(t, TASK_MAP, 0, W1), ==, 3);
        g_assert_cmpint(task_table_output(t, 1, &attempt, &worker), ==, 1);
        g_assert_cmpuint(attempt, ==, 1);
        g_assert_cmpuint(worker, ==, W3);
        g_assert_cmpuint(task_table_failed(t), ==, 1);
}

static void test_a_task_fits_in_a_kilobyte(void)
{
        g_assert_cmpuint(sizeof(Task) + TASK_STATUS_MAX_BYTES, <=, 1024);
}

static void test_a_status_is_cut_to_valid_text(void)
{
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);
        g_autofree char *text = g_strnfill(2000, 'x');

        task_table_set_status(t, TASK_MAP, 0, text);
        g_assert_cmpuint(strlen(task_table_get(t, TASK_MAP, 0)->status), ==, TASK_STATUS_MAX_BYTES);
        task_table_set_status(t, TASK_MAP, 0, "a\xff");
        g_assert_true(g_utf8_validate(task_table_get(t, TASK_MAP, 0)->status, -1, NULL));
        task_table_set_status(t, TASK_MAP, 9, "beyond the end");
}

static void test_a_counter_stops_at_its_limit_and_does_not_begin_anew(void)
{
        _cleanup_(counters_freep) Counters *c = counters_new();
        _cleanup_(counter_set_freep) CounterSet *huge = NULL;

        huge = counter_set_add(NULL, "records", UINT64_MAX - 1);
        counters_add(c, huge);
        counters_add(c, huge);
        g_assert_cmpuint(counters_get(c, "records"), ==, UINT64_MAX);
}

static void test_counters_count_each_record_once(void)
{
        _cleanup_(counters_freep) Counters *c = counters_new();
        _cleanup_(counter_set_freep) CounterSet *a = NULL, *b = NULL;
        g_autofree char *text = NULL;

        a = counter_set_add(counter_set_add(NULL, "records", 10), "my group:bad lines", 1);
        text = counter_set_to_text(a);
        b = counter_set_from_text(text);
        counters_add(c, a);
        counters_add(c, b);
        g_assert_cmpuint(counters_get(c, "records"), ==, 20);
        counters_subtract(c, a);
        g_assert_cmpuint(counters_get(c, "records"), ==, 10);
        g_assert_cmpuint(counters_get(c, "my group:bad lines"), ==, 1);
        g_assert_cmpuint(counters_get(c, "none"), ==, 0);
}

static void count_names(const char *name, uint64_t value, void *userdata)
{
        (*(unsigned *) userdata)++;
}

static void test_a_counter_for_each_word_does_not_grow_the_master(void)
{
        _cleanup_(counters_freep) Counters *c = counters_new();
        unsigned names = 0;

        for (unsigned task = 0; task < 20; task++) {
                _cleanup_(counter_set_freep) CounterSet *set = NULL;

                for (unsigned i = 0; i < 1000; i++) {
                        g_autofree char *name = g_strdup_printf("word-%u-%u", task, i);

                        set = counter_set_add(set, name, 1);
                }
                counters_add(c, set);
        }
        counters_foreach(c, count_names, &names);
        g_assert_cmpuint(names, ==, COUNTERS_MAX);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/jobs/table/the-first-commit-wins", test_the_first_commit_wins);
        g_test_add_func("/jobs/table/one-attempt-has-the-grant-and-an-end-gives-it-back",
                        test_one_attempt_has_the_grant_and_an_end_gives_it_back);
        g_test_add_func("/jobs/table/without-reduces-maps-are-the-parts-and-stay",
                        test_without_reduces_maps_are_the_parts_and_stay);
        g_test_add_func("/jobs/table/only-failures-count-to-the-limit",
                        test_only_failures_count_to_the_limit);
        g_test_add_func("/jobs/table/an-attempt-ends-once", test_an_attempt_ends_once);
        g_test_add_func("/jobs/table/a-map-runs-again-only-while-a-reduce-needs-it",
                        test_a_map_runs_again_only_while_a_reduce_needs_it);
        g_test_add_func("/jobs/table/a-restored-map-without-output-runs-again-when-it-is-needed",
                        test_a_restored_map_without_output_runs_again_when_it_is_needed);
        g_test_add_func("/jobs/table/maps-are-done-when-all-reduces-are",
                        test_maps_are_done_when_all_reduces_are);
        g_test_add_func("/jobs/table/a-reduce-back-in-its-shuffle-needs-maps-again",
                        test_a_reduce_back_in_its_shuffle_needs_maps_again);
        g_test_add_func("/jobs/table/a-finished-reduce-needs-nothing",
                        test_a_finished_reduce_needs_nothing);
        g_test_add_func("/jobs/table/reports-need-two-voices-three-words-or-proof",
                        test_reports_need_two_voices_three_words_or_proof);
        g_test_add_func("/jobs/table/a-report-of-an-old-attempt-is-ignored",
                        test_a_report_of_an_old_attempt_is_ignored);
        g_test_add_func("/jobs/table/a-worker-that-comes-back-in-time-saves-its-maps",
                        test_a_worker_that_comes_back_in_time_saves_its_maps);
        g_test_add_func("/jobs/table/reduces-wait-for-five-percent-or-the-last-map",
                        test_reduces_wait_for_five_percent_or_the_last_map);
        g_test_add_func("/jobs/table/a-task-that-comes-back-goes-first",
                        test_a_task_that_comes_back_goes_first);
        g_test_add_func("/jobs/table/a-restored-task-never-reuses-a-number",
                        test_a_restored_task_never_reuses_a_number);
        g_test_add_func("/jobs/table/a-task-fits-in-a-kilobyte", test_a_task_fits_in_a_kilobyte);
        g_test_add_func("/jobs/table/a-status-is-cut-to-valid-text",
                        test_a_status_is_cut_to_valid_text);
        g_test_add_func("/jobs/counters/stop-at-their-limit",
                        test_a_counter_stops_at_its_limit_and_does_not_begin_anew);
        g_test_add_func("/jobs/counters/count-each-record-once",
                        test_counters_count_each_record_once);
        g_test_add_func("/jobs/counters/a-counter-for-each-word-does-not-grow-the-master",
                        test_a_counter_for_each_word_does_not_grow_the_master);
        return g_test_run();
}

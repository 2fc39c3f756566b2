/*
 * LATE by numbers that were worked out by hand from the paper's formulae.
 *
 *      progress rate = score / time        time left = (1 - score) / rate
 */
#include <math.h>

#include "jobs/scheduler.h"

enum { W1 = 1, W2 = 2, W3 = 3, W4 = 4 };

#define MINUTE (60 * USEC_PER_SEC)

static void assert_near(double got, double want)
{
        g_assert_cmpfloat_with_epsilon(got, want, 1e-6);
}

/* Two thirds in two minutes: one minute is left. At 1.9 minutes a task, a tenth of a minute is
 * 1/19, and 1.8 are left. */
static void test_time_left_is_what_the_rate_says(void)
{
        assert_near(backup_rate(2.0 / 3, 2 * MINUTE), 1.0 / 180);
        assert_near(backup_time_left_sec(2.0 / 3, 2 * MINUTE), 60);
        assert_near(backup_time_left_sec(1.0 / 19, MINUTE / 10), 108);
        assert_near(backup_time_left_sec(1, MINUTE), 0);
        g_assert_true(isinf(backup_time_left_sec(0, MINUTE)));
        assert_near(backup_rate(0.5, 0), 0);
}

/* As numpy.percentile() and R's quantile() have it. */
static void test_percentiles_lie_between_ranks(void)
{
        double four[] = {4, 1, 3, 2}, three[] = {10, 1, 10}, one[] = {7};

        assert_near(backup_percentile(four, 4, 25), 1.75);
        assert_near(backup_percentile(four, 4, 50), 2.5);
        assert_near(backup_percentile(three, 3, 25), 5.5);
        assert_near(backup_percentile(one, 1, 25), 7);
        g_assert_true(isnan(backup_percentile(NULL, 0, 25)));
}

/* Of four tasks at 10 s, three half done and one at a twentieth: rates .05 .05 .05 .005, the median
 * is .05: a fresh attempt takes 20 s; the slow one has .95 / .005 = 190 s left. The threshold of
 * nodes is .03875. */
static void test_the_slow_one_deserves_a_backup(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a[] = {
                {.task = 0,
                 .worker = W1,
                 .score = 0.5,
                 .elapsed_usec = 10 * USEC_PER_SEC,
                 .single = true},
                {.task = 1,
                 .worker = W2,
                 .score = 0.5,
                 .elapsed_usec = 10 * USEC_PER_SEC,
                 .single = true},
                {.task = 2,
                 .worker = W3,
                 .score = 0.05,
                 .elapsed_usec = 10 * USEC_PER_SEC,
                 .single = true},
                {.task = 3,
                 .worker = W4,
                 .score = 0.5,
                 .elapsed_usec = 10 * USEC_PER_SEC,
                 .single = true},
        };
        BackupView v;

        backup_view_init(&v, p, a, ELEMENTSOF(a));
        assert_near(v.slow_task_rate, 0.03875);
        assert_near(v.slow_node_rate, 0.03875);
        assert_near(v.typical_sec, 20);
        assert_near(backup_deserved_sec(&v, &a[0]), 0);
        assert_near(backup_deserved_sec(&v, &a[2]), 190);
        g_assert_true(backup_is_slow_node(&v, W3));
        g_assert_false(backup_is_slow_node(&v, W1));
        g_assert_false(backup_is_slow_node(&v, 99)); /* no evidence */
        a[2].single = false;
        assert_near(backup_deserved_sec(&v, &a[2]), 0); /* one backup a task */
        backup_view_done(&v);
}

static void test_where_all_do_alike_nothing_is_run_twice(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a[8];
        BackupView v;

        for (uint32_t i = 0; i < 20; i++)
                backup_pace_committed(p, 1 + i % 4, 10 * USEC_PER_SEC, 1);
        for (uint64_t sec = 1; sec < 20; sec++) {
                for (uint32_t i = 0; i < ELEMENTSOF(a); i++)
                        a[i] = (BackupAttempt){.task = i,
                                               .worker = 1 + i % 4,
                                               .score = MIN(1, (double) sec * (9 + i % 3) / 100),
                                               .elapsed_usec = sec * USEC_PER_SEC,
                                               .single = true};
                backup_view_init(&v, p, a, ELEMENTSOF(a));
                for (uint32_t i = 0; i < ELEMENTSOF(a); i++)
                        assert_near(backup_deserved_sec(&v, &a[i]), 0);
                backup_view_done(&v);
        }
}

/* Peers took 2 s. All its input is read, so the paper's time left is 0; yet at 4.1 s it is 2.1 s
 * late. */
static void test_an_attempt_that_hangs_at_the_end_is_late(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a = {.worker = W1, .score = 1, .elapsed_usec = 4100000, .single = true};
        BackupView v;

        for (int i = 0; i < 9; i++)
                backup_pace_committed(p, W2, 2 * USEC_PER_SEC, 1);
        backup_view_init(&v, p, &a, 1);
        assert_near(v.typical_sec, 2);
        assert_near(backup_deserved_sec(&v, &a), 2.1);
        a.elapsed_usec = 3900000;
        assert_near(backup_deserved_sec(&v, &a), 0);
        backup_view_done(&v);
}

/* Peers took 2 s. A command that reads at its very end has a score of 0 all the time. */
static void test_a_score_of_zero_says_nothing(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a = {.worker = W1, .elapsed_usec = 3900000, .single = true};
        BackupView v;

        for (int i = 0; i < 9; i++)
                backup_pace_committed(p, W2, 2 * USEC_PER_SEC, 1);
        backup_view_init(&v, p, &a, 1);
        assert_near(backup_deserved_sec(&v, &a), 0);
        backup_view_done(&v);
        a.elapsed_usec = 4100000;
        backup_view_init(&v, p, &a, 1);
        assert_near(backup_deserved_sec(&v, &a), 2.1);
        backup_view_done(&v);
}

/* A sum of scores, as in the paper, would call the newcomer slow: 1 against 10. By time both do one
 * in 10 s. */
static void test_a_worker_that_came_late_is_not_slow(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupView v;

        for (int i = 0; i < 10; i++) {
                backup_pace_committed(p, W1, 10 * USEC_PER_SEC, 1);
                backup_pace_committed(p, W2, 10 * USEC_PER_SEC, 1);
        }
        backup_pace_committed(p, W3, 10 * USEC_PER_SEC, 1);
        backup_view_init(&v, p, NULL, 0);
        g_assert_false(backup_is_slow_node(&v, W3));
        backup_view_done(&v);
}

static void test_young_attempts_are_left_alone(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a = {
                .worker = W1, .score = 0.01, .elapsed_usec = BACKUP_MIN_USEC - 1, .single = true};
        BackupView v;

        backup_pace_committed(p, W2, USEC_PER_SEC / 10, 1);
        backup_view_init(&v, p, &a, 1);
        assert_near(backup_deserved_sec(&v, &a), 0);
        a.elapsed_usec = BACKUP_MIN_USEC;
        assert_near(backup_deserved_sec(&v, &a), 99); /* .99 / .01 */
        backup_view_done(&v);
        backup_pace_committed(p, W2, 100 * USEC_PER_SEC, 1);
        backup_pace_committed(p, W2, 100 * USEC_PER_SEC, 1);
        backup_pace_committed(p, W2, 100 * USEC_PER_SEC, 1);
        backup_view_init(&v, p, &a, 1); /* peers took 100 s: at 1 s nothing can be said */
        assert_near(backup_deserved_sec(&v, &a), 0);
        backup_view_done(&v);
}

/* Peers took 5 s. Whoever reads four times as much as they has 20 s; whoever reads less, no less
 * than they. */
static void test_a_large_task_may_take_longer(void)
{
        _cleanup_(backup_pace_freep) BackupPace *p = backup_pace_new();
        BackupAttempt a = {.worker = W1, .score = 0.5, .elapsed_usec = 10000000, .single = true};
        static const struct {
                double size;
                uint64_t elapsed_sec;
                double deserved_sec;
        } cases[] = {{1, 10, 10}, {0.25, 10, 10}, {4, 10, 0}, {4, 50, 50}, {1000, 50, 50}};

        for (int i = 0; i < 9; i++)
                backup_pace_committed(p, W2, 5 * USEC_PER_SEC, i % 2 ? 1 : 0.25);
        backup_pace_committed(p, W1, 20 * USEC_PER_SEC, 4);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                BackupView v;

                a.size = cases[i].size;
                a.elapsed_usec = cases[i].elapsed_sec * USEC_PER_SEC;
                backup_view_init(&v, p, &a, 1);
                assert_near(v.typical_sec, 5);
                assert_near(backup_deserved_sec(&v, &a), cases[i].deserved_sec);
                g_assert_cmpint(backup_is_slow_node(&v, W1), ==, cases[i].deserved_sec > 0);
                backup_view_done(&v);
        }
}

/* ---- In the scheduler ---- */

typedef struct Fixture {
        Scheduler *s;
        TaskTable *t;
        Assignment map[8];
} Fixture;

/* Two workers with two slots; of @maps maps all are started at 0, W1 has the even ones. */
static void fixture_init(Fixture *f, uint32_t maps, bool backups)
{
        *f = (Fixture){.s = scheduler_new(), .t = task_table_new(maps, 1, 4, 0)};
        scheduler_set_worker(f->s, W1, 2);
        scheduler_set_worker(f->s, W2, 2);
        scheduler_add_job(f->s, f->t, &(SchedJobOptions){.backups = backups});
        for (uint32_t i = 0; i < maps; i++) {
                g_assert_cmpint(scheduler_next(f->s, 0, &f->map[i]), ==, 1);
                g_assert_cmpuint(f->map[i].worker, ==, i % 2 ? W2 : W1);
                g_assert_false(f->map[i].backup);
        }
}

static void fixture_done(Fixture *f)
{
        scheduler_remove_job(f->s, f->t);
        task_table_free(f->t);
        scheduler_free(f->s);
}

static void progress(Fixture *f, uint32_t map, double fraction, uint64_t now_usec)
{
        const Assignment *a = &f->map[map];

        g_assert_cmpint(scheduler_progress(f->s, f->t, a->kind, a->task, a->attempt,
                                           ATTEMPT_RUNNING, fraction, now_usec),
                        ==, 0);
}

static void commit(Fixture *f, const Assignment *a, uint64_t now_usec)
{
        g_assert_cmpint(scheduler_commit(f->s, f->t, a->kind, a->task, a->attempt, now_usec), ==,
                        0);
}

/* The next assignment that is a map, or none. Reduces may begin their shuffle meanwhile. */
static bool next_map(Fixture *f, uint64_t now_usec, Assignment *ret)
{
        while (scheduler_next(f->s, now_usec, ret) > 0)
                if (ret->kind == TASK_MAP)
                        return true;
        return false;
}

static void test_a_straggler_is_backed_up_elsewhere_once_and_the_first_commit_wins(void)
{
        Fixture f;
        Assignment b, none;

        fixture_init(&f, 3, true);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        progress(&f, 0, 0.1, 2 * USEC_PER_SEC);
        progress(&f, 2, 0.9, 2 * USEC_PER_SEC);
        /* Rates .5 .05 .45: the median .45 is 2.2 s for a fresh one; map 0 has .9 / .05 = 18 s
         * left. */
        g_assert_true(next_map(&f, 2 * USEC_PER_SEC, &b));
        g_assert_true(b.backup);
        g_assert_cmpuint(b.task, ==, 0);
        g_assert_cmpuint(b.worker, ==, W2);
        g_assert_cmpuint(b.attempt, ==, 1);
        g_assert_false(next_map(&f, 3 * USEC_PER_SEC, &none));
        commit(&f, &b, 4 * USEC_PER_SEC);
        g_assert_cmpint(scheduler_commit(f.s, f.t, TASK_MAP, 0, 0, 4 * USEC_PER_SEC), ==,
                        -EALREADY);
        g_assert_cmpint(scheduler_end(f.s, f.t, TASK_MAP, 0, 0, ATTEMPT_KILLED, 4 * USEC_PER_SEC),
                        ==, 0);
        g_assert_cmpuint(task_table_get(f.t, TASK_MAP, 0)->started, ==, 2);
        fixture_done(&f);
}

/* Map 0 reads four times as much: rates of .5 each, and its 6 s left are less than the 8 of a fresh
 * one. At 30 s 90 are left. */
static void test_a_large_map_is_no_straggler(void)
{
        Fixture f;
        Assignment b;

        fixture_init(&f, 3, true);
        task_table_set_size(f.t, TASK_MAP, 0, 4);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        progress(&f, 0, 0.25, 2 * USEC_PER_SEC);
        commit(&f, &f.map[2], 2 * USEC_PER_SEC);
        g_assert_false(next_map(&f, 2 * USEC_PER_SEC, &b));
        progress(&f, 0, 0.8, 7 * USEC_PER_SEC);
        g_assert_false(next_map(&f, 7 * USEC_PER_SEC, &b));
        progress(&f, 0, 0.25, 30 * USEC_PER_SEC);
        g_assert_true(next_map(&f, 30 * USEC_PER_SEC, &b));
        g_assert_true(b.backup);
        g_assert_cmpuint(b.task, ==, 0);
        fixture_done(&f);
}

static void test_no_backup_when_the_job_wants_none(void)
{
        Fixture f;
        Assignment b;

        fixture_init(&f, 3, false);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        progress(&f, 0, 0.1, 2 * USEC_PER_SEC);
        progress(&f, 2, 0.9, 2 * USEC_PER_SEC);
        g_assert_false(next_map(&f, 2 * USEC_PER_SEC, &b));
        g_assert_false(next_map(&f, 200 * USEC_PER_SEC, &b));
        fixture_done(&f);
}

/* 20 % of four slots, rounded up, is one: of two stragglers the one with more time left has it. */
static void test_the_cap_holds_and_the_longest_time_left_is_first(void)
{
        Fixture f;
        Assignment b, none;

        fixture_init(&f, 4, true);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        commit(&f, &f.map[3], 2 * USEC_PER_SEC);
        progress(&f, 0, 0.10, 2 * USEC_PER_SEC);
        progress(&f, 2, 0.05, 2 * USEC_PER_SEC);
        g_assert_true(next_map(&f, 2 * USEC_PER_SEC, &b));
        g_assert_cmpuint(b.task, ==, 2);
        g_assert_false(next_map(&f, 3 * USEC_PER_SEC, &none));
        commit(&f, &b, 4 * USEC_PER_SEC);
        (void) scheduler_end(f.s, f.t, TASK_MAP, 2, 0, ATTEMPT_KILLED, 4 * USEC_PER_SEC);
        g_assert_true(next_map(&f, 4 * USEC_PER_SEC, &b));
        g_assert_cmpuint(b.task, ==, 0);
        fixture_done(&f);
}

static void test_regular_tasks_come_before_backups(void)
{
        Fixture f;
        Assignment a;

        fixture_init(&f, 4, true);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        progress(&f, 0, 0.01, 2 * USEC_PER_SEC);
        (void) scheduler_end(f.s, f.t, TASK_MAP, 3, 0, ATTEMPT_LOST, 2 * USEC_PER_SEC);
        g_assert_true(next_map(&f, 2 * USEC_PER_SEC, &a));
        g_assert_cmpuint(a.task, ==, 3);
        g_assert_false(a.backup);
        fixture_done(&f);
}

static void test_a_lone_worker_makes_no_backup(void)
{
        Fixture f;
        Assignment b;

        fixture_init(&f, 3, true);
        commit(&f, &f.map[1], 2 * USEC_PER_SEC);
        scheduler_set_drained(f.s, W2, true);
        progress(&f, 0, 0.01, 2 * USEC_PER_SEC);
        commit(&f, &f.map[2], 2 * USEC_PER_SEC);
        g_assert_false(next_map(&f, 200 * USEC_PER_SEC, &b));
        scheduler_set_drained(f.s, W2, false);
        g_assert_true(next_map(&f, 201 * USEC_PER_SEC, &b));
        fixture_done(&f);
}

static Assignment start_reduce(Fixture *f)
{
        Assignment a;

        g_assert_cmpint(scheduler_next(f->s, 0, &a), ==, 1);
        g_assert_cmpint(a.kind, ==, TASK_REDUCE);
        return a;
}

static void reduce_progress(Fixture *f, const Assignment *a, AttemptPhase phase, double fraction,
                            uint64_t now_usec)
{
        g_assert_cmpint(scheduler_progress(f->s, f->t, TASK_REDUCE, a->task, a->attempt, phase,
                                           fraction, now_usec),
                        ==, 0);
}

/* However long the shuffle was: from its end on, r0 does a tenth a second and r1 a hundredth. */
static void test_a_reduce_counts_from_the_end_of_its_shuffle(void)
{
        Fixture f = {.s = scheduler_new(), .t = task_table_new(0, 4, 4, 0)};
        Assignment r[4], b;

        scheduler_set_worker(f.s, W1, 2);
        scheduler_set_worker(f.s, W2, 2);
        scheduler_add_job(f.s, f.t, &(SchedJobOptions){.backups = true});
        for (int i = 0; i < 4; i++)
                r[i] = start_reduce(&f);
        g_assert_cmpint(scheduler_next(f.s, 1000 * USEC_PER_SEC, &b), ==, 0); /* in the shuffle */
        for (int i = 0; i < 4; i++)
                reduce_progress(&f, &r[i], ATTEMPT_RUNNING, 0, 1000 * USEC_PER_SEC);
        for (int i = 1; i < 4; i++)
                reduce_progress(&f, &r[i], ATTEMPT_RUNNING, 0.5, 1005 * USEC_PER_SEC);
        reduce_progress(&f, &r[0], ATTEMPT_RUNNING, 0.05, 1005 * USEC_PER_SEC);
        g_assert_cmpint(scheduler_next(f.s, 1005 * USEC_PER_SEC, &b), ==,
                        0); /* all slots are taken */
        for (int i = 1; i < 4; i++) {
                g_assert_cmpint(scheduler_grant(f.s, f.t, r[i].task, r[i].attempt), ==, 0);
                commit(&f, &r[i], 1010 * USEC_PER_SEC);
        }
        g_assert_cmpint(scheduler_next(f.s, 1010 * USEC_PER_SEC, &b), ==, 1);
        g_assert_true(b.backup);
        g_assert_cmpuint(b.task, ==, r[0].task);
        g_assert_cmpuint(b.worker, !=, r[0].worker);
        fixture_done(&f);
}

/* W1's map was overtaken after 4 s, where others took one: its reduce is backed up though it runs
 * for a moment only, and W2's, which is as old, is not. */
static void test_a_reduce_on_a_node_that_was_overtaken_is_not_waited_for(void)
{
        Fixture f = {.s = scheduler_new(), .t = task_table_new(3, 3, 4, 0)};
        Assignment map[3], backup, reduce[3], b, slow = {};
        uint64_t now = 4 * USEC_PER_SEC;

        for (uint32_t w = W1; w <= W3; w++)
                scheduler_set_worker(f.s, w, 1);
        scheduler_add_job(f.s, f.t, &(SchedJobOptions){.backups = true});
        for (int i = 0; i < 3; i++)
                g_assert_true(next_map(&f, 0, &map[i]));
        for (int i = 0; i < 3; i++)
                if (map[i].worker != W1)
                        commit(&f, &map[i], USEC_PER_SEC);
                else
                        slow = map[i];
        for (int i = 0; i < 3; i++) {
                g_assert_cmpint(scheduler_next(f.s, USEC_PER_SEC, &reduce[i]), ==, 1);
                g_assert_cmpint(reduce[i].kind, ==, TASK_REDUCE);
        }
        g_assert_true(next_map(&f, 3 * USEC_PER_SEC, &backup));
        g_assert_true(backup.backup);
        commit(&f, &backup, now);
        g_assert_cmpint(
                scheduler_end(f.s, f.t, TASK_MAP, slow.task, slow.attempt, ATTEMPT_KILLED, now), ==,
                0);
        for (int i = 0; i < 3; i++)
                reduce_progress(&f, &reduce[i], ATTEMPT_RUNNING, 0, now);
        g_assert_cmpint(scheduler_next(f.s, now, &b), ==, 0); /* no slot is free */
        for (int i = 0; i < 3; i++)
                if (reduce[i].worker == W3) {
                        g_assert_cmpint(
                                scheduler_grant(f.s, f.t, reduce[i].task, reduce[i].attempt), ==,
                                0);
                        commit(&f, &reduce[i], now + USEC_PER_SEC / 2);
                }
        g_assert_cmpint(scheduler_next(f.s, now + USEC_PER_SEC / 2, &b), ==, 1);
        g_assert_true(b.backup);
        g_assert_cmpint(b.kind, ==, TASK_REDUCE);
        g_assert_cmpuint(task_table_attempt(f.t, TASK_REDUCE, b.task, 0)->worker, ==, W1);
        g_assert_cmpuint(b.worker, ==, W3);
        fixture_done(&f);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/jobs/backup/time-left-is-what-the-rate-says",
                        test_time_left_is_what_the_rate_says);
        g_test_add_func("/jobs/backup/percentiles-lie-between-ranks",
                        test_percentiles_lie_between_ranks);
        g_test_add_func("/jobs/backup/the-slow-one-deserves-a-backup",
                        test_the_slow_one_deserves_a_backup);
        g_test_add_func("/jobs/backup/where-all-do-alike-nothing-is-run-twice",
                        test_where_all_do_alike_nothing_is_run_twice);
        g_test_add_func("/jobs/backup/an-attempt-that-hangs-at-the-end-is-late",
                        test_an_attempt_that_hangs_at_the_end_is_late);
        g_test_add_func("/jobs/backup/a-score-of-zero-says-nothing",
                        test_a_score_of_zero_says_nothing);
        g_test_add_func("/jobs/backup/a-worker-that-came-late-is-not-slow",
                        test_a_worker_that_came_late_is_not_slow);
        g_test_add_func("/jobs/backup/young-attempts-are-left-alone",
                        test_young_attempts_are_left_alone);
        g_test_add_func("/jobs/backup/a-large-task-may-take-longer",
                        test_a_large_task_may_take_longer);
        g_test_add_func("/jobs/backup/a-large-map-is-no-straggler",
                        test_a_large_map_is_no_straggler);
        g_test_add_func(
                "/jobs/backup/a-straggler-is-backed-up-elsewhere-once-and-the-first-commit-wins",
                test_a_straggler_is_backed_up_elsewhere_once_and_the_first_commit_wins);
        g_test_add_func("/jobs/backup/no-backup-when-the-job-wants-none",
                        test_no_backup_when_the_job_wants_none);
        g_test_add_func("/jobs/backup/the-cap-holds-and-the-longest-time-left-is-first",
                        test_the_cap_holds_and_the_longest_time_left_is_first);
        g_test_add_func("/jobs/backup/regular-tasks-come-before-backups",
                        test_regular_tasks_come_before_backups);
        g_test_add_func("/jobs/backup/a-lone-worker-makes-no-backup",
                        test_a_lone_worker_makes_no_backup);
        g_test_add_func("/jobs/backup/a-reduce-counts-from-the-end-of-its-shuffle",
                        test_a_reduce_counts_from_the_end_of_its_shuffle);
        g_test_add_func("/jobs/backup/a-reduce-on-a-node-that-was-overtaken-is-not-waited-for",
                        test_a_reduce_on_a_node_that_was_overtaken_is_not_waited_for);
        return g_test_run();
}

/*
 * The scheduler: single rules by example. All of them together: test-jobs-model.c.
 */
#include "jobs/scheduler.h"

enum { W1 = 1, W2 = 2, W3 = 3 };

static void add_job(Scheduler *s, TaskTable *t)
{
        scheduler_add_job(s, t, &(SchedJobOptions){});
}

static Assignment next(Scheduler *s, uint64_t now_usec)
{
        Assignment a = {};

        g_assert_cmpint(scheduler_next(s, now_usec, &a), ==, 1);
        return a;
}

static void assert_idle(Scheduler *s, uint64_t now_usec)
{
        Assignment a = {};

        g_assert_cmpint(scheduler_next(s, now_usec, &a), ==, 0);
}

static void fail(Scheduler *s, const Assignment *a, uint64_t now_usec)
{
        (void) scheduler_end(s, a->table, a->kind, a->task, a->attempt, ATTEMPT_FAILED, now_usec);
}

static void commit(Scheduler *s, const Assignment *a)
{
        g_assert_cmpint(scheduler_commit(s, a->table, a->kind, a->task, a->attempt, 0), ==, 0);
}

static void test_maps_spread_over_workers_and_fill_every_slot(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(10, 1, 4, 0);
        unsigned on[4] = {};

        add_job(s, t);
        assert_idle(s, 0);
        scheduler_set_worker(s, W1, 2);
        scheduler_set_worker(s, W2, 4);
        for (uint32_t i = 0; i < 6; i++) {
                Assignment a = next(s, 0);

                g_assert_cmpuint(a.task, ==, i);
                on[a.worker]++;
                if (i == 2)
                        g_assert_cmpuint(on[W1], >=, 1); /* not all to one */
        }
        g_assert_cmpuint(on[W1], ==, 2);
        g_assert_cmpuint(on[W2], ==, 4);
        assert_idle(s, 0);
        g_assert_cmpuint(scheduler_slots_used(s), ==, 6);
        scheduler_remove_job(s, t);
}

static void test_a_failed_task_goes_to_another_worker(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);
        Assignment a, b, c;

        scheduler_set_worker(s, W1, 1);
        scheduler_set_worker(s, W2, 1);
        add_job(s, t);
        a = next(s, 0);
        b = next(s, 0);
        fail(s, &a, 1000);
        assert_idle(s, 1000); /* only the worker it failed on is free */
        g_assert_cmpuint(scheduler_wakeup_usec(s), ==, 1000 + SCHED_ELSEWHERE_USEC);
        commit(s, &b);
        c = next(s, 2000);
        g_assert_cmpuint(c.task, ==, a.task);
        g_assert_cmpuint(c.worker, ==, b.worker);
}

static void test_a_failed_task_does_not_wait_for_ever(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(2, 1, 4, 0);
        Assignment a, c;

        scheduler_set_worker(s, W1, 1);
        scheduler_set_worker(s, W2, 1);
        add_job(s, t);
        a = next(s, 0);
        (void) next(s, 0);
        fail(s, &a, 0);
        assert_idle(s, SCHED_ELSEWHERE_USEC - 1);
        c = next(s, SCHED_ELSEWHERE_USEC);
        g_assert_cmpuint(c.worker, ==, a.worker);
}

static void test_the_only_worker_gets_a_failed_task_at_once(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);
        Assignment a;

        scheduler_set_worker(s, W1, 1);
        add_job(s, t);
        a = next(s, 0);
        fail(s, &a, 0);
        a = next(s, 0);
        g_assert_cmpuint(a.worker, ==, W1);
        g_assert_cmpuint(a.attempt, ==, 1);
}

static void test_a_worker_that_fails_everything_gets_one_task_at_a_time(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(100, 1, 50, 0);
        unsigned on_bad = 0;

        scheduler_set_worker(s, W1, 8);
        add_job(s, t);
        for (int i = 0; i < 3; i++) {
                Assignment a = next(s, 0);

                fail(s, &a, 0);
        }
        scheduler_set_worker(s, W2, 8);
        for (int i = 0; i < 9; i++)
                if (next(s, 0).worker == W1)
                        on_bad++;
        g_assert_cmpuint(on_bad, ==, 1);
        assert_idle(s, 0);
}

static void test_a_worker_that_rejects_is_left_alone_for_a_while(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1, 1, 4, 0);
        Assignment a;

        scheduler_set_worker(s, W1, 1);
        add_job(s, t);
        a = next(s, 0);
        (void) scheduler_end(s, t, a.kind, a.task, a.attempt, ATTEMPT_REJECTED, 0);
        scheduler_back_off(s, W1, 0);
        assert_idle(s, 0);
        g_assert_cmpuint(scheduler_wakeup_usec(s), ==, SCHED_BACKOFF_MIN_USEC);
        a = next(s, SCHED_BACKOFF_MIN_USEC);
        (void) scheduler_end(s, t, a.kind, a.task, a.attempt, ATTEMPT_REJECTED,
                             SCHED_BACKOFF_MIN_USEC);
        scheduler_back_off(s, W1, SCHED_BACKOFF_MIN_USEC);
        assert_idle(s, SCHED_BACKOFF_MIN_USEC);
        g_assert_cmpuint(scheduler_wakeup_usec(s), ==, 3 * SCHED_BACKOFF_MIN_USEC);
}

static void test_shuffling_reduces_take_no_slot_but_have_a_limit(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(3, 10, 4, 0);
        Assignment m[3], r[2];

        scheduler_set_worker(s, W1, 2);
        add_job(s, t);
        m[0] = next(s, 0);
        m[1] = next(s, 0);
        assert_idle(s, 0); /* a map is idle and none is done: no reduce yet */
        commit(s, &m[0]);
        m[2] = next(s, 0);
        g_assert_cmpint(m[2].kind, ==, TASK_MAP);
        r[0] = next(s, 0);
        r[1] = next(s, 0);
        g_assert_cmpint(r[0].kind, ==, TASK_REDUCE);
        g_assert_cmpint(r[1].kind, ==, TASK_REDUCE);
        assert_idle(s, 0);                                     /* two slots: two shuffles */
        g_assert_cmpuint(scheduler_worker_used(s, W1), ==, 2); /* the maps */

        commit(s, &m[1]);
        commit(s, &m[2]);
        g_assert_cmpuint(scheduler_worker_used(s, W1), ==, 0);
        (void) scheduler_progress(s, t, TASK_REDUCE, r[0].task, r[0].attempt, ATTEMPT_RUNNING, 0,
                                  0);
        g_assert_cmpuint(scheduler_worker_used(s, W1), ==, 1);
        (void) next(s, 0); /* its place in the shuffle is free */
        assert_idle(s, 0);
        g_assert_cmpint(scheduler_grant(s, t, r[0].task, r[0].attempt), ==, 0);
        g_assert_cmpuint(scheduler_worker_used(s, W1), ==, 0);
        commit(s, &r[0]);
}

static void test_older_jobs_first_but_no_slot_is_idle(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *a = task_table_new(2, 1, 4, 0);
        _cleanup_(task_table_freep) TaskTable *b = task_table_new(5, 1, 4, 0);

        scheduler_set_worker(s, W1, 4);
        add_job(s, a);
        add_job(s, b);
        g_assert_true(next(s, 0).table == a);
        g_assert_true(next(s, 0).table == a);
        g_assert_true(next(s, 0).kind == TASK_REDUCE); /* takes no slot */
        g_assert_true(next(s, 0).table == b);
        g_assert_true(next(s, 0).table == b);
        assert_idle(s, 0);
}

static void test_a_commit_outlives_its_worker(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(0, 1, 4, 0);
        Assignment a;

        scheduler_set_worker(s, W1, 1);
        add_job(s, t);
        a = next(s, 0);
        g_assert_cmpint(scheduler_grant(s, t, a.task, a.attempt), ==, 0);
        scheduler_remove_worker(s, W1);
        commit(s, &a);
        g_assert_true(task_table_is_complete(t));
}

/* ---- Sharing ---- */

enum { ANNA = 1000, BERT = 1001, CARL = 1002 };

typedef struct Share {
        Scheduler *s;
        TaskTable *t[4];
        unsigned jobs;
} Share;

static TaskTable *share_add(Share *x, uint32_t uid, int priority, uint32_t maps)
{
        TaskTable *t = task_table_new(maps, 1, 4, 0);

        scheduler_add_job(x->s, t, &(SchedJobOptions){.uid = uid, .priority = priority});
        return x->t[x->jobs++] = t;
}

static void share_done(Share *x)
{
        for (unsigned i = 0; i < x->jobs; i++) {
                scheduler_remove_job(x->s, x->t[i]);
                task_table_free(x->t[i]);
        }
        scheduler_free(x->s);
}

/* How many of the next @count maps are of @t. Reduces that begin their shuffle are passed over. */
static unsigned count_maps(Share *x, unsigned count, const TaskTable *t)
{
        unsigned found = 0;

        while (count > 0) {
                Assignment a = next(x->s, 0);

                if (a.kind != TASK_MAP)
                        continue;
                count--;
                found += a.table == t;
        }
        return found;
}

static void assert_no_map(Share *x)
{
        Assignment a;

        while (scheduler_next(x->s, 0, &a) > 0)
                g_assert_cmpint(a.kind, ==, TASK_REDUCE);
}

/* Max-min over 12 slots with demands of 2, 100 and 100: 2, 5 and 5. */
static void test_slots_are_shared_by_users_and_none_is_idle(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *b;

        scheduler_set_worker(x.s, W1, 12);
        (void) share_add(&x, ANNA, 0, 2);
        b = share_add(&x, BERT, 0, 100);
        (void) share_add(&x, CARL, 0, 100);
        g_assert_cmpuint(count_maps(&x, 12, b), ==, 5);
        g_assert_cmpuint(scheduler_user_used(x.s, ANNA), ==, 2);
        g_assert_cmpuint(scheduler_user_used(x.s, BERT), ==, 5);
        g_assert_cmpuint(scheduler_user_used(x.s, CARL), ==, 5);
        assert_no_map(&x);
        share_done(&x);
}

/* Three to one of 12 slots is 9 and 3. */
static void test_a_weight_is_a_share(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *a;

        scheduler_set_worker(x.s, W1, 12);
        a = share_add(&x, ANNA, 0, 100);
        (void) share_add(&x, BERT, 0, 100);
        scheduler_set_weight(x.s, ANNA, 3);
        g_assert_cmpuint(count_maps(&x, 12, a), ==, 9);
        share_done(&x);
}

static void test_many_jobs_are_no_larger_share(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *b;

        scheduler_set_worker(x.s, W1, 10);
        for (int i = 0; i < 3; i++)
                (void) share_add(&x, ANNA, 0, 100);
        b = share_add(&x, BERT, 0, 100);
        g_assert_cmpuint(count_maps(&x, 10, b), ==, 5);
        share_done(&x);
}

static void test_a_newcomer_gets_his_share_as_tasks_end(void)
{
        Share x = {.s = scheduler_new()};
        Assignment first[4];
        TaskTable *b;

        scheduler_set_worker(x.s, W1, 4);
        (void) share_add(&x, ANNA, 0, 100);
        for (int i = 0; i < 4; i++)
                first[i] = next(x.s, 0);
        b = share_add(&x, BERT, 0, 100);
        assert_no_map(&x); /* nothing that runs is taken away */
        for (int i = 0; i < 4; i++)
                commit(x.s, &first[i]);
        g_assert_cmpuint(count_maps(&x, 4, b), ==, 2);
        share_done(&x);
}

static void test_a_priority_is_between_a_user_and_himself(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *low, *high;

        scheduler_set_worker(x.s, W1, 4);
        low = share_add(&x, ANNA, -2, 100);
        high = share_add(&x, ANNA, 2, 1);
        (void) share_add(&x, BERT, 0, 100);
        g_assert_cmpuint(count_maps(&x, 2, high), ==, 1); /* Anna's first one, and Bert's */
        g_assert_cmpuint(count_maps(&x, 2, low), ==, 1);
        g_assert_cmpuint(scheduler_user_used(x.s, BERT), ==, 2);
        share_done(&x);
}

static void test_a_users_limits_hold(void)
{
        Share x = {.s = scheduler_new()};
        SchedLimits limits = SCHED_LIMITS_DEFAULT;
        TaskTable *a, *b;
        Assignment one;

        limits.user_running_jobs_max = 1;
        limits.user_maps_max = 3;
        scheduler_set_limits(x.s, &limits);
        scheduler_set_worker(x.s, W1, 10);
        a = share_add(&x, ANNA, 0, 2);
        b = share_add(&x, ANNA, 0, 100);
        one = next(x.s, 0);
        g_assert_true(one.table == a);
        g_assert_cmpint(scheduler_why_waiting(x.s, b), ==, SCHED_WAIT_USER_JOBS);
        g_assert_cmpuint(count_maps(&x, 1, a), ==, 1);
        assert_no_map(&x);
        scheduler_remove_job(x.s, a);
        g_assert_cmpuint(scheduler_user_used(x.s, ANNA), ==, 0); /* what is left is nobody's */
        g_assert_cmpuint(count_maps(&x, 3, b), ==, 3);
        assert_no_map(&x);
        g_assert_cmpint(scheduler_why_waiting(x.s, b), ==, SCHED_WAIT_USER_TASKS);
        share_done(&x);
}

/* After a restart of the master the jobs that had begun go on, and count. */
static void test_a_job_that_had_begun_is_running(void)
{
        Share x = {.s = scheduler_new()};
        SchedLimits limits = SCHED_LIMITS_DEFAULT;
        TaskTable *old = task_table_new(3, 1, 4, 0);

        limits.user_running_jobs_max = 1;
        scheduler_set_limits(x.s, &limits);
        scheduler_set_worker(x.s, W1, 10);
        task_table_restore(old, TASK_MAP, 0, 1, 0, 0, true, 0, W1);
        (void) share_add(&x, ANNA, 2, 5); /* it would be first, but for the limit */
        scheduler_add_job(x.s, old, &(SchedJobOptions){.uid = ANNA});
        x.t[x.jobs++] = old;
        g_assert_cmpuint(count_maps(&x, 2, old), ==, 2);
        assert_no_map(&x);
        share_done(&x);
}

static void test_a_drained_worker_gets_nothing(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *t;

        t = share_add(&x, ANNA, 0, 100);
        g_assert_cmpint(scheduler_why_waiting(x.s, t), ==, SCHED_WAIT_NO_WORKER);
        scheduler_set_worker(x.s, W1, 2);
        scheduler_set_drained(x.s, W1, true);
        assert_idle(x.s, 0);
        g_assert_cmpint(scheduler_why_waiting(x.s, t), ==, SCHED_WAIT_ALL_DRAINED);
        g_assert_cmpint(scheduler_worker_state(x.s, W1, 0, NULL), ==, SCHED_WORKER_DRAINED);
        scheduler_set_drained(x.s, W1, false);
        g_assert_cmpuint(count_maps(&x, 2, t), ==, 2);
        assert_no_map(&x);
        g_assert_cmpint(scheduler_why_waiting(x.s, t), ==, SCHED_WAIT_SLOTS);
        share_done(&x);
}

/* ---- What a worker understands ---- */

static TaskTable *share_add_new(Share *x, uint32_t maps)
{
        TaskTable *t = task_table_new(maps, 1, 4, 0);

        scheduler_add_job(x->s, t, &(SchedJobOptions){.uid = ANNA, .program_level = PROGRAM_LEVEL});
        return x->t[x->jobs++] = t;
}

static void test_a_program_goes_to_those_who_understand_it(void)
{
        Share x = {.s = scheduler_new()};
        TaskTable *new, *old;
        uint32_t attempt;

        scheduler_set_worker(x.s, W1, 3);
        new = share_add_new(&x, 3);
        old = share_add(&x, ANNA, 0, 2);
        g_assert_cmpint(scheduler_why_waiting(x.s, new), ==, SCHED_WAIT_LEVEL);
        g_assert_cmpuint(count_maps(&x, 2, old), ==, 2); /* though the other one is older */
        assert_no_map(&x);
        g_assert_cmpint(scheduler_start_on(x.s, new, TASK_MAP, 0, W1, 0, &attempt), ==, -ENOENT);

        scheduler_set_worker(x.s, W2, 1);
        scheduler_set_level(x.s, W2, PROGRAM_LEVEL + 5); /* newer than we are */
        g_assert_cmpuint(next(x.s, 0).worker, ==, W2);
        assert_no_map(&x);
        g_assert_cmpint(scheduler_why_waiting(x.s, new), ==, SCHED_WAIT_LEVEL); /* W1 has a slot */
        old = share_add(&x, ANNA, 0, 1);
        g_assert_cmpuint(count_maps(&x, 1, old), ==, 1);
        g_assert_cmpint(scheduler_why_waiting(x.s, new), ==, SCHED_WAIT_SLOTS);

        scheduler_set_drained(x.s, W2, true);
        g_assert_cmpint(scheduler_why_waiting(x.s, new), ==, SCHED_WAIT_LEVEL);
        scheduler_set_drained(x.s, W1, true);
        g_assert_cmpint(scheduler_why_waiting(x.s, new), ==, SCHED_WAIT_ALL_DRAINED);
        share_done(&x);
}

/* ---- The blacklist ---- */

/* The next map. A reduce that begins its shuffle is passed over. */
static Assignment next_map(Scheduler *s, uint64_t now_usec)
{
        Assignment a;

        do
                a = next(s, now_usec);
        while (a.kind != TASK_MAP);
        return a;
}

static void commit_at(Scheduler *s, const Assignment *a, uint64_t now_usec)
{
        g_assert_cmpint(scheduler_commit(s, a->table, a->kind, a->task, a->attempt, now_usec), ==,
                        0);
}

/* A map fails on W1 and is done on W2; both have one slot and are idle. */
static void fail_here_and_succeed_elsewhere(Scheduler *s, uint64_t now_usec)
{
        Assignment a = next_map(s, now_usec), b = next_map(s, now_usec), c;
        const Assignment *bad = a.worker == W1 ? &a : &b, *good = a.worker == W1 ? &b : &a;

        g_assert_cmpuint(bad->worker, ==, W1);
        fail(s, bad, now_usec);
        commit_at(s, good, now_usec);
        c = next_map(s, now_usec);
        g_assert_cmpuint(c.task, ==, bad->task);
        g_assert_cmpuint(c.worker, !=, W1);
        commit_at(s, &c, now_usec);
}

static void test_a_worker_is_blacklisted_for_what_succeeds_elsewhere(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1000, 1, 100, 0);
        uint64_t until, now = 1000;
        Assignment a, b;

        scheduler_set_worker(s, W1, 1);
        scheduler_set_worker(s, W2, 1);
        add_job(s, t);
        for (unsigned i = 0; i < SCHED_BLACKLIST_BLAMES; i++) {
                g_assert_cmpint(scheduler_worker_state(s, W1, now, NULL), ==, SCHED_WORKER_READY);
                g_assert_cmpuint(scheduler_take_news(s), ==, 0);
                fail_here_and_succeed_elsewhere(s, now);
        }
        g_assert_cmpuint(scheduler_take_news(s), ==, W1);
        g_assert_cmpint(scheduler_worker_state(s, W1, now, &until), ==, SCHED_WORKER_BLACKLISTED);
        g_assert_cmpuint(until, ==, now + SCHED_BLACKLIST_USEC);
        a = next_map(s, now);
        g_assert_cmpuint(a.worker, ==, W2);
        while (scheduler_next(s, now, &b) > 0)
                g_assert_cmpint(b.kind, ==, TASK_REDUCE);
        g_assert_cmpuint(scheduler_wakeup_usec(s), <=, until);
        commit_at(s, &a, now);

        /* It is over; on probation one more is enough, for twice as long. */
        now = until;
        fail_here_and_succeed_elsewhere(s, now);
        g_assert_cmpuint(scheduler_take_news(s), ==, W1);
        g_assert_cmpint(scheduler_worker_state(s, W1, now, &until), ==, SCHED_WORKER_BLACKLISTED);
        g_assert_cmpuint(until, ==, now + 2 * SCHED_BLACKLIST_USEC);
        scheduler_remove_job(s, t);
}

/* Two workers with a slot each, and a job; W1 is on the blacklist at time 0. */
static void blacklist_one_of_two(Scheduler *s, TaskTable *t)
{
        scheduler_set_worker(s, W1, 1);
        scheduler_set_worker(s, W2, 1);
        add_job(s, t);
        for (unsigned i = 0; i < SCHED_BLACKLIST_BLAMES; i++)
                fail_here_and_succeed_elsewhere(s, 0);
        g_assert_cmpint(scheduler_worker_state(s, W1, 0, NULL), ==, SCHED_WORKER_BLACKLISTED);
}

static void test_the_last_worker_is_used_though_blacklisted(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1000, 1, 100, 0);
        Assignment a;

        blacklist_one_of_two(s, t);
        scheduler_set_drained(s, W2, true);
        a = next_map(s, 0);
        g_assert_cmpuint(a.worker, ==, W1);
        scheduler_remove_job(s, t);
}

/* A worker that cannot run a task is no alternative to the one that failed it, nor to one that is
 * blacklisted. */
static void test_who_does_not_understand_is_no_elsewhere(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(1000, 1, 100, 0);
        _cleanup_(task_table_freep) TaskTable *new = task_table_new(2, 1, 4, 0);
        Assignment a;

        blacklist_one_of_two(s, t);
        scheduler_remove_job(s, t);
        g_assert_cmpint(scheduler_worker_state(s, W1, 0, NULL), ==, SCHED_WORKER_BLACKLISTED);
        scheduler_set_level(s, W1, PROGRAM_LEVEL);
        scheduler_add_job(s, new, &(SchedJobOptions){.program_level = PROGRAM_LEVEL});
        a = next(s, 0);
        g_assert_cmpuint(a.worker, ==, W1);
        fail(s, &a, 0);
        a = next(s, 0); /* at once */
        g_assert_cmpuint(a.worker, ==, W1);
        g_assert_cmpuint(a.attempt, ==, 1);
        scheduler_remove_job(s, new);
}

/* Every attempt fails, on all workers: the job is to blame, and the next one finds all workers as
 * they were. */
static void test_a_broken_job_blacklists_nobody(void)
{
        _cleanup_(scheduler_freep) Scheduler *s = scheduler_new();
        _cleanup_(task_table_freep) TaskTable *t = task_table_new(50, 1, 100, 0);

        scheduler_set_worker(s, W1, 2);
        scheduler_set_worker(s, W2, 2);
        add_job(s, t);
        for (unsigned i = 0; i < 40; i++) {
                Assignment a = next(s, i * SCHED_ELSEWHERE_USEC);

                fail(s, &a, i * SCHED_ELSEWHERE_USEC);
        }
        g_assert_cmpuint(task_table_failed(t), ==, 40);
        g_assert_cmpint(scheduler_worker_state(s, W1, 0, NULL), ==, SCHED_WORKER_READY);
        g_assert_cmpint(scheduler_worker_state(s, W2, 0, NULL), ==, SCHED_WORKER_READY);
        g_assert_cmpuint(scheduler_take_news(s), ==, 0);
        scheduler_remove_job(s, t);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/jobs/scheduler/maps-spread-over-workers-and-fill-every-slot",
                        test_maps_spread_over_workers_and_fill_every_slot);
        g_test_add_func("/jobs/scheduler/a-failed-task-goes-to-another-worker",
                        test_a_failed_task_goes_to_another_worker);
        g_test_add_func("/jobs/scheduler/a-failed-task-does-not-wait-for-ever",
                        test_a_failed_task_does_not_wait_for_ever);
        g_test_add_func("/jobs/scheduler/the-only-worker-gets-a-failed-task-at-once",
                        test_the_only_worker_gets_a_failed_task_at_once);
        g_test_add_func("/jobs/scheduler/a-worker-that-fails-everything-gets-one-task-at-a-time",
                        test_a_worker_that_fails_everything_gets_one_task_at_a_time);
        g_test_add_func("/jobs/scheduler/a-worker-that-rejects-is-left-alone-for-a-while",
                        test_a_worker_that_rejects_is_left_alone_for_a_while);
        g_test_add_func("/jobs/scheduler/shuffling-reduces-take-no-slot-but-have-a-limit",
                        test_shuffling_reduces_take_no_slot_but_have_a_limit);
        g_test_add_func("/jobs/scheduler/older-jobs-first-but-no-slot-is-idle",
                        test_older_jobs_first_but_no_slot_is_idle);
        g_test_add_func("/jobs/scheduler/a-commit-outlives-its-worker",
                        test_a_commit_outlives_its_worker);
        g_test_add_func("/jobs/scheduler/slots-are-shared-by-users-and-none-is-idle",
                        test_slots_are_shared_by_users_and_none_is_idle);
        g_test_add_func("/jobs/scheduler/a-weight-is-a-share", test_a_weight_is_a_share);
        g_test_add_func("/jobs/scheduler/many-jobs-are-no-larger-share",
                        test_many_jobs_are_no_larger_share);
        g_test_add_func("/jobs/scheduler/a-newcomer-gets-his-share-as-tasks-end",
                        test_a_newcomer_gets_his_share_as_tasks_end);
        g_test_add_func("/jobs/scheduler/a-priority-is-between-a-user-and-himself",
                        test_a_priority_is_between_a_user_and_himself);
        g_test_add_func("/jobs/scheduler/a-users-limits-hold", test_a_users_limits_hold);
        g_test_add_func("/jobs/scheduler/a-job-that-had-begun-is-running",
                        test_a_job_that_had_begun_is_running);
        g_test_add_func("/jobs/scheduler/a-drained-worker-gets-nothing",
                        test_a_drained_worker_gets_nothing);
        g_test_add_func("/jobs/scheduler/a-program-goes-to-those-who-understand-it",
                        test_a_program_goes_to_those_who_understand_it);
        g_test_add_func("/jobs/scheduler/who-does-not-understand-is-no-elsewhere",
                        test_who_does_not_understand_is_no_elsewhere);
        g_test_add_func("/jobs/scheduler/a-worker-is-blacklisted-for-what-succeeds-elsewhere",
                        test_a_worker_is_blacklisted_for_what_succeeds_elsewhere);
        g_test_add_func("/jobs/scheduler/the-last-worker-is-used-though-blacklisted",
                        test_the_last_worker_is_used_though_blacklisted);
        g_test_add_func("/jobs/scheduler/a-broken-job-blacklists-nobody",
                        test_a_broken_job_blacklists_nobody);
        return g_test_run();
}

/*
 * The scheduler: single rules by example, and all of them by a model with random histories in simulated time.
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

/* ---- The model ---------------------------------------------------------------------------------- */

#define MODEL_WORKERS 6U
#define MODEL_JOBS 3U
#define MODEL_STEPS_MAX 200000U

typedef struct Running {
        Assignment a;
        uint64_t ends_usec;
        AttemptPhase phase;
} Running;

typedef struct Model {
        GRand *rand;
        Scheduler *s;
        TaskTable *jobs[MODEL_JOBS];
        unsigned *committed[MODEL_JOBS]
                           [_TASK_KIND_MAX];  /* times each task was committed since it left DONE */
        GArray *running;                      /* Running */
        uint32_t slots[MODEL_WORKERS + 1];    /* 0: not there */
        uint32_t failures[MODEL_WORKERS + 1]; /* in a row */
        bool broken[MODEL_WORKERS + 1];       /* fails everything */
        uint64_t now_usec;
        bool calm; /* no more faults: everything must end now */
} Model;

static unsigned job_index(const Model *m, const TaskTable *t)
{
        for (unsigned i = 0; i < MODEL_JOBS; i++)
                if (m->jobs[i] == t)
                        return i;
        g_assert_not_reached();
}

static bool all_maps_readable(const TaskTable *t)
{
        uint32_t attempt, worker;

        for (uint32_t i = 0; i < task_table_count(t, TASK_MAP); i++)
                if (!task_table_output(t, i, &attempt, &worker))
                        return false;
        return true;
}

static void note_commit(Model *m, const Assignment *a)
{
        unsigned *count = &m->committed[job_index(m, a->table)][a->kind][a->task];

        (*count)++;
        g_assert_cmpuint(*count, ==, 1); /* exactly one committed attempt */
}

static void note_left_done(Model *m, TaskTable *t)
{
        unsigned j = job_index(m, t);

        for (uint32_t i = 0; i < task_table_count(t, TASK_MAP); i++)
                if (task_table_get(t, TASK_MAP, i)->state != TASK_DONE)
                        m->committed[j][TASK_MAP][i] = 0;
}

static void check_slots(Model *m)
{
        uint32_t used[MODEL_WORKERS + 1] = {};

        for (guint i = 0; i < m->running->len; i++) {
                const Running *r = &g_array_index(m->running, Running, i);

                if (r->a.kind == TASK_MAP || r->phase >= ATTEMPT_WAITING)
                        used[r->a.worker]++;
                if (r->a.kind == TASK_MAP)
                        g_assert_cmpuint(m->slots[r->a.worker], >, 0);
        }
        for (uint32_t w = 1; w <= MODEL_WORKERS; w++)
                if (m->slots[w] > 0)
                        g_assert_cmpuint(scheduler_worker_used(m->s, w), ==, used[w]);
}

/* After the scheduler said "nothing": a plain idle map and a plain free slot must not exist together. */
static void check_work_conserving(Model *m)
{
        bool any_free = false;

        if (scheduler_wakeup_usec(m->s) != USEC_INFINITY)
                return; /* a preference holds something back, and says until when */
        for (uint32_t w = 1; w <= MODEL_WORKERS; w++)
                if (m->slots[w] > scheduler_worker_used(m->s, w) &&
                    (m->failures[w] < SCHED_PROBATION_FAILURES ||
                     scheduler_worker_used(m->s, w) == 0))
                        any_free = true;
        if (!any_free)
                return;
        for (unsigned j = 0; j < MODEL_JOBS; j++) {
                uint32_t i = task_table_first_idle(m->jobs[j], TASK_MAP);

                for (; i != TASK_NONE; i = task_table_next_idle(m->jobs[j], TASK_MAP, i))
                        g_assert_cmpuint(task_table_get(m->jobs[j], TASK_MAP, i)->failed_on_count,
                                         >, 0);
        }
}

static void assign_all(Model *m)
{
        uint32_t before[MODEL_WORKERS + 1];
        Assignment a;

        for (uint32_t w = 1; w <= MODEL_WORKERS; w++)
                before[w] = scheduler_worker_used(m->s, w);
        while (scheduler_next(m->s, m->now_usec, &a) > 0) {
                Running r = {.a = a,
                             .ends_usec = m->now_usec +
                                          (uint64_t) g_rand_int_range(m->rand, 1, 2000000)};

                g_assert_cmpuint(m->slots[a.worker], >, 0);
                if (a.kind == TASK_MAP) {
                        g_assert_cmpuint(before[a.worker], <, m->slots[a.worker]);
                        before[a.worker]++;
                }
                g_array_append_val(m->running, r);
        }
        check_work_conserving(m);
}

static void kill_others(Model *m, const Assignment *a)
{
        for (guint i = m->running->len; i-- > 0;) {
                const Running *r = &g_array_index(m->running, Running, i);

                if (r->a.table != a->table || r->a.kind != a->kind || r->a.task != a->task)
                        continue;
                (void) scheduler_end(m->s, a->table, a->kind, a->task, r->a.attempt, ATTEMPT_KILLED,
                                     m->now_usec);
                g_array_remove_index_fast(m->running, i);
        }
}

static void lose_worker(Model *m, uint32_t w)
{
        for (guint i = m->running->len; i-- > 0;) {
                const Running r = g_array_index(m->running, Running, i);

                if (r.a.worker != w)
                        continue;
                g_array_remove_index_fast(m->running, i);
                (void) scheduler_end(m->s, r.a.table, r.a.kind, r.a.task, r.a.attempt, ATTEMPT_LOST,
                                     m->now_usec);
        }
        for (unsigned j = 0; j < MODEL_JOBS; j++) {
                for (uint32_t i = 0; i < task_table_count(m->jobs[j], TASK_MAP); i++) {
                        uint32_t attempt, worker;

                        if (task_table_output(m->jobs[j], i, &attempt, &worker) && worker == w)
                                (void) task_table_lose_output(m->jobs[j], i, attempt, m->now_usec);
                }
                (void) task_table_rerun_lost(m->jobs[j], m->now_usec);
                note_left_done(m, m->jobs[j]);
        }
        scheduler_remove_worker(m->s, w);
        m->slots[w] = 0;
        m->failures[w] = 0;
}

static void add_worker(Model *m, uint32_t w)
{
        m->slots[w] = (uint32_t) g_rand_int_range(m->rand, 1, 5);
        m->broken[w] = !m->calm && g_rand_int_range(m->rand, 0, 8) == 0;
        scheduler_set_worker(m->s, w, m->slots[w]);
}

/* A worker comes, goes, breaks, or an output is reported to be lost. */
static void random_fault(Model *m)
{
        uint32_t w = (uint32_t) g_rand_int_range(m->rand, 1, MODEL_WORKERS + 1);
        TaskTable *t = m->jobs[g_rand_int_range(m->rand, 0, MODEL_JOBS)];
        uint32_t map, attempt, worker;

        switch (g_rand_int_range(m->rand, 0, 4)) {
        case 0:
                if (m->slots[w] > 0)
                        lose_worker(m, w);
                break;
        case 1:
                if (m->slots[w] == 0)
                        add_worker(m, w);
                break;
        case 2:
                scheduler_back_off(m->s, w, m->now_usec);
                break;
        default:
                if (task_table_count(t, TASK_MAP) == 0)
                        break;
                map = (uint32_t) g_rand_int_range(m->rand, 0,
                                                  (gint32) task_table_count(t, TASK_MAP));
                if (task_table_output(t, map, &attempt, &worker) &&
                    task_table_report_lost(t, map, attempt, w, g_rand_boolean(m->rand),
                                           m->now_usec) > 0)
                        note_left_done(m, t);
        }
}

static bool fails(Model *m, const Running *r)
{
        return !m->calm && (m->broken[r->a.worker] || g_rand_int_range(m->rand, 0, 20) == 0);
}

/* The next thing that happens to an attempt whose time has come. Returns false when it stays as it is. */
static bool advance(Model *m, guint index)
{
        Running *r = &g_array_index(m->running, Running, index);
        Running gone = *r;

        if (fails(m, r)) {
                m->failures[gone.a.worker]++;
                g_array_remove_index_fast(m->running, index);
                (void) scheduler_end(m->s, gone.a.table, gone.a.kind, gone.a.task, gone.a.attempt,
                                     ATTEMPT_FAILED, m->now_usec);
                (void) task_table_rerun_lost(gone.a.table, m->now_usec);
                note_left_done(m, gone.a.table);
                return true;
        }
        if (r->a.kind == TASK_REDUCE && r->phase == ATTEMPT_STARTED) {
                if (!all_maps_readable(r->a.table)) /* the barrier */
                        return false;
                r->phase = ATTEMPT_RUNNING;
                r->ends_usec = m->now_usec + (uint64_t) g_rand_int_range(m->rand, 1, 500000);
                (void) scheduler_progress(m->s, r->a.table, r->a.kind, r->a.task, r->a.attempt,
                                          ATTEMPT_RUNNING, 0.5, m->now_usec);
                return true;
        }
        g_array_remove_index_fast(m->running, index);
        if (gone.a.kind == TASK_REDUCE)
                g_assert_cmpint(scheduler_grant(m->s, gone.a.table, gone.a.task, gone.a.attempt),
                                ==, 0);
        commit(m->s, &gone.a);
        m->failures[gone.a.worker] = 0;
        note_commit(m, &gone.a);
        kill_others(m, &gone.a);
        return true;
}

static bool all_complete(const Model *m)
{
        for (unsigned j = 0; j < MODEL_JOBS; j++)
                if (!task_table_is_complete(m->jobs[j]))
                        return false;
        return true;
}

/* Simulated time goes to the next thing that can happen. */
static void step(Model *m)
{
        uint64_t until = scheduler_wakeup_usec(m->s);

        for (guint i = 0; i < m->running->len; i++)
                until = MIN(until, g_array_index(m->running, Running, i).ends_usec);
        m->now_usec = until == USEC_INFINITY ? m->now_usec + 1000 : MAX(until, m->now_usec + 1);
        for (guint i = m->running->len; i-- > 0;)
                if (i < m->running->len &&
                    g_array_index(m->running, Running, i).ends_usec <= m->now_usec &&
                    !advance(m, i))
                        g_array_index(m->running, Running, i).ends_usec = m->now_usec + 100000;
}

static void model_init(Model *m, guint32 seed)
{
        *m = (Model){.rand = g_rand_new_with_seed(seed), .s = scheduler_new()};
        m->running = g_array_new(false, false, sizeof(Running));
        for (unsigned j = 0; j < MODEL_JOBS; j++) {
                uint32_t maps = (uint32_t) g_rand_int_range(m->rand, 0, 40);
                uint32_t reduces = (uint32_t) g_rand_int_range(m->rand, 1, 9);

                m->jobs[j] = task_table_new(maps, reduces, 1000000, 0);
                m->committed[j][TASK_MAP] = g_new0(unsigned, maps);
                m->committed[j][TASK_REDUCE] = g_new0(unsigned, reduces);
                add_job(m->s, m->jobs[j]);
        }
}

static void model_done(Model *m)
{
        for (unsigned j = 0; j < MODEL_JOBS; j++) {
                scheduler_remove_job(m->s, m->jobs[j]);
                task_table_free(m->jobs[j]);
                g_free(m->committed[j][TASK_MAP]);
                g_free(m->committed[j][TASK_REDUCE]);
        }
        g_array_unref(m->running);
        scheduler_free(m->s);
        g_rand_free(m->rand);
}

static void calm_down(Model *m)
{
        m->calm = true;
        for (uint32_t w = 1; w <= MODEL_WORKERS; w++)
                if (m->slots[w] == 0)
                        add_worker(m, w);
}

static void run_history(guint32 seed)
{
        unsigned steps, faulty_steps;
        Model m;

        model_init(&m, seed);
        faulty_steps = (unsigned) g_rand_int_range(m.rand, 0, 600);
        for (steps = 0; !all_complete(&m); steps++) {
                if (steps >= MODEL_STEPS_MAX)
                        g_error("history %u does not end", seed);
                if (steps == faulty_steps)
                        calm_down(&m);
                if (steps < faulty_steps && g_rand_int_range(m.rand, 0, 3) == 0)
                        random_fault(&m);
                assign_all(&m);
                check_slots(&m);
                step(&m);
                check_slots(&m);
        }
        for (unsigned j = 0; j < MODEL_JOBS; j++)
                for (uint32_t i = 0; i < task_table_count(m.jobs[j], TASK_REDUCE); i++)
                        g_assert_cmpuint(m.committed[j][TASK_REDUCE][i], ==, 1);
        model_done(&m);
}

static void test_random_histories_keep_every_promise_and_end(void)
{
        for (guint32 seed = 1; seed <= 400; seed++)
                run_history(seed);
        for (int i = 0; i < 100; i++) {
                guint32 seed = g_random_int();

                g_test_message("seed %u", seed);
                run_history(seed);
        }
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
        g_test_add_func("/jobs/scheduler/random-histories-keep-every-promise-and-end",
                        test_random_histories_keep_every_promise_and_end);
        return g_test_run();
}

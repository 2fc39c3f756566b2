/*
 * Work in threads: whose file system hangs holds up himself.
 */
#include "mr-masterd/master-offload.h"

typedef struct Gate {
        GMutex lock;
        GCond changed;
        bool open;
        unsigned inside, most_inside;
} Gate;

typedef struct Work {
        Gate *gate; /* NULL: nothing to wait for */
        unsigned *done, *abandoned;
} Work;

static void pass(void *data)
{
        Gate *gate = ((Work *) data)->gate;

        if (!gate)
                return;
        g_mutex_lock(&gate->lock);
        gate->inside++;
        gate->most_inside = MAX(gate->most_inside, gate->inside);
        g_cond_broadcast(&gate->changed);
        while (!gate->open)
                g_cond_wait(&gate->changed, &gate->lock);
        gate->inside--;
        g_mutex_unlock(&gate->lock);
}

static void passed(void *data, bool abandoned)
{
        Work *w = data;

        if (abandoned)
                (*w->abandoned)++;
        else
                (*w->done)++;
        g_free(w);
}

typedef struct Fixture {
        Loop *loop;
        Offload *o;
        Gate gate;
        unsigned hung_done, free_done, abandoned;
} Fixture;

static void fixture_init(Fixture *f)
{
        *f = (Fixture){};
        g_mutex_init(&f->gate.lock);
        g_cond_init(&f->gate.changed);
        g_assert_cmpint(loop_new(&f->loop), ==, 0);
        g_assert_cmpint(offload_new(f->loop, &f->o), ==, 0);
}

static void open_gate(Fixture *f)
{
        g_mutex_lock(&f->gate.lock);
        f->gate.open = true;
        g_cond_broadcast(&f->gate.changed);
        g_mutex_unlock(&f->gate.lock);
}

static void fixture_done(Fixture *f)
{
        open_gate(f);
        f->o = offload_free(f->o);
        loop_free(f->loop);
        g_mutex_clear(&f->gate.lock);
        g_cond_clear(&f->gate.changed);
}

static void run(Fixture *f, uint64_t job, uint32_t uid, Gate *gate, unsigned *done)
{
        Work *w = g_new(Work, 1);

        *w = (Work){.gate = gate, .done = done, .abandoned = &f->abandoned};
        offload_run(f->o, job, uid, pass, passed, w);
}

static void wait_until_inside(Fixture *f, unsigned count)
{
        g_mutex_lock(&f->gate.lock);
        while (f->gate.inside < count)
                g_cond_wait(&f->gate.changed, &f->gate.lock);
        g_mutex_unlock(&f->gate.lock);
}

static void turn_until(Fixture *f, const unsigned *count, unsigned wanted)
{
        while (*count < wanted)
                (void) event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
}

static void test_a_job_that_hangs_holds_up_no_other(void)
{
        Fixture f;

        fixture_init(&f);
        for (int i = 0; i < 1000; i++)
                run(&f, 1, 1000, &f.gate, &f.hung_done);
        wait_until_inside(&f, OFFLOAD_JOB_MAX);
        for (int i = 0; i < 100; i++)
                run(&f, 2, 1000, NULL, &f.free_done);
        turn_until(&f, &f.free_done, 100);
        g_assert_cmpuint(f.hung_done, ==, 0);
        open_gate(&f);
        turn_until(&f, &f.hung_done, 1000);
        g_assert_cmpuint(f.gate.most_inside, ==, OFFLOAD_JOB_MAX);
        g_assert_cmpuint(f.abandoned, ==, 0);
        fixture_done(&f);
}

static void test_a_user_whose_jobs_hang_holds_up_no_other(void)
{
        Fixture f;

        fixture_init(&f);
        for (uint64_t job = 1; job <= 100; job++)
                for (int i = 0; i < 10; i++)
                        run(&f, job, 1000, &f.gate, &f.hung_done);
        run(&f, 0, 1000, &f.gate, &f.hung_done); /* of no job */
        wait_until_inside(&f, OFFLOAD_USER_MAX);
        for (int i = 0; i < 100; i++)
                run(&f, 200, 1001, NULL, &f.free_done);
        turn_until(&f, &f.free_done, 100);
        g_assert_cmpuint(f.hung_done, ==, 0);
        open_gate(&f);
        turn_until(&f, &f.hung_done, 1001);
        g_assert_cmpuint(f.gate.most_inside, ==, OFFLOAD_USER_MAX);
        fixture_done(&f);
}

static void test_what_did_not_begin_is_abandoned_at_the_end(void)
{
        Fixture f;

        fixture_init(&f);
        for (int i = 0; i < 50; i++)
                run(&f, 1, 1000, &f.gate, &f.hung_done);
        wait_until_inside(&f, OFFLOAD_JOB_MAX);
        fixture_done(&f);
        g_assert_cmpuint(f.hung_done, ==, 0);
        g_assert_cmpuint(f.abandoned, ==, 50);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/masterd/offload/a-job-that-hangs-holds-up-no-other",
                        test_a_job_that_hangs_holds_up_no_other);
        g_test_add_func("/masterd/offload/a-user-whose-jobs-hang-holds-up-no-other",
                        test_a_user_whose_jobs_hang_holds_up_no_other);
        g_test_add_func("/masterd/offload/what-did-not-begin-is-abandoned-at-the-end",
                        test_what_did_not_begin_is_abandoned_at_the_end);
        return g_test_run();
}

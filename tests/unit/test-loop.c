/*
 * The one loop: both sides get their turn, work queued on one by the other is not slept upon.
 */
#include <signal.h>

#include "platform/loop.h"

typedef struct Both {
        Loop *loop;
        LoopTimer *outer;
        sd_event_source *inner;
        unsigned outer_count, inner_count;
} Both;

static int on_defer(sd_event_source *s, void *userdata)
{
        Both *b = userdata;

        b->inner_count++;
        loop_timer_start(b->outer, 0);
        return 0;
}

static void on_outer(void *userdata)
{
        Both *b = userdata;

        if (++b->outer_count == 100) {
                loop_exit(b->loop, 17);
                return;
        }
        g_assert_cmpint(sd_event_source_set_enabled(b->inner, SD_EVENT_ONESHOT), >=, 0);
}

/* A ping-pong of deferred sd-event work and libevent timers; it would hang if either were slept upon. */
static void test_each_side_wakes_the_other(void)
{
        Both b = {};

        g_assert_cmpint(loop_new(&b.loop), ==, 0);
        g_assert_cmpint(loop_timer_new(b.loop, on_outer, &b, &b.outer), ==, 0);
        g_assert_cmpint(sd_event_add_defer(loop_sd_event(b.loop), &b.inner, on_defer, &b), >=, 0);

        g_assert_cmpint(loop_run(b.loop), ==, 17);
        g_assert_cmpuint(b.outer_count, ==, 100);
        g_assert_cmpuint(b.inner_count, ==, 100);

        sd_event_source_unref(b.inner);
        loop_timer_free(b.outer);
        loop_free(b.loop);
}

static int on_endless(sd_event_source *s, void *userdata)
{
        return sd_event_source_set_enabled(s, SD_EVENT_ON); /* always pending */
}

/* A side that always has work must not starve the other. */
static void test_a_busy_side_does_not_starve_the_other(void)
{
        Both b = {};

        g_assert_cmpint(loop_new(&b.loop), ==, 0);
        g_assert_cmpint(loop_timer_new(b.loop, on_outer, &b, &b.outer), ==, 0);
        g_assert_cmpint(sd_event_add_defer(loop_sd_event(b.loop), &b.inner, on_endless, NULL), >=,
                        0);
        g_assert_cmpint(sd_event_source_set_enabled(b.inner, SD_EVENT_ON), >=, 0);
        b.outer_count = 99;
        loop_timer_start(b.outer, 1000);

        g_assert_cmpint(loop_run(b.loop), ==, 17);

        sd_event_source_unref(b.inner);
        loop_timer_free(b.outer);
        loop_free(b.loop);
}

static void on_raise(void *userdata)
{
        (void) raise(SIGTERM);
}

static void test_a_signal_ends_the_loop(void)
{
        LoopTimer *t;
        Loop *l;

        g_assert_cmpint(loop_new(&l), ==, 0);
        g_assert_cmpint(loop_exit_on_signals(l), ==, 0);
        g_assert_cmpint(loop_timer_new(l, on_raise, NULL, &t), ==, 0);
        loop_timer_start(t, 0);
        g_assert_cmpint(loop_run(l), ==, 0);
        loop_timer_free(t);
        loop_free(l);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/loop/each-side-wakes-the-other", test_each_side_wakes_the_other);
        g_test_add_func("/platform/loop/a-busy-side-does-not-starve-the-other",
                        test_a_busy_side_does_not_starve_the_other);
        g_test_add_func("/platform/loop/a-signal-ends-the-loop", test_a_signal_ends_the_loop);
        return g_test_run();
}

/*
 * The one loop: both sides get their turn, work queued on one by the other is not slept upon.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

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

/* A ping-pong of deferred sd-event work and libevent timers; it would hang if either were slept
 * upon. */
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

static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Both *b = userdata;

        if (++b->inner_count == 2)
                loop_exit(b->loop, 17);
        return sd_event_source_set_enabled(s, SD_EVENT_OFF);
}

/* The second source is pending, and its descriptor readable, when the loop comes round again. */
static void test_two_sources_that_are_ready_at_once_both_get_their_turn(void)
{
        sd_event_source *sources[2];
        int pipe_fds[2], copy;
        Both b = {};

        g_assert_cmpint(loop_new(&b.loop), ==, 0);
        g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
        g_assert_cmpint(write(pipe_fds[1], "x", 1), ==, 1);
        copy = fcntl(pipe_fds[0], F_DUPFD_CLOEXEC, 3);
        for (size_t i = 0; i < 2; i++)
                g_assert_cmpint(sd_event_add_io(loop_sd_event(b.loop), &sources[i],
                                                i == 0 ? pipe_fds[0] : copy, EPOLLIN, on_readable,
                                                &b),
                                >=, 0);
        (void) alarm(20); /* the failure is a hang */

        g_assert_cmpint(loop_run(b.loop), ==, 17);

        (void) alarm(0);
        for (size_t i = 0; i < 2; i++)
                sd_event_source_unref(sources[i]);
        (void) close(pipe_fds[0]);
        (void) close(pipe_fds[1]);
        (void) close(copy);
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
        g_test_add_func("/platform/loop/two-sources-that-are-ready-at-once-both-get-their-turn",
                        test_two_sources_that_are_ready_at_once_both_get_their_turn);
        g_test_add_func("/platform/loop/a-signal-ends-the-loop", test_a_signal_ends_the_loop);
        return g_test_run();
}

/*
 * A worker compares its clock with the master's, and believes the fastest of the last exchanges.
 */
#include <time.h>

#include "mr-workerd/worker-clock.h"

static int64_t now_ns(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (int64_t) ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* One heartbeat to a master whose clock is @ahead_ns ahead of ours, that takes @usec on its way. */
static Mapreduced__V1__HeartbeatRequest beat(WorkerClock *c, int64_t ahead_ns, uint64_t usec)
{
        Mapreduced__V1__HeartbeatRequest request = MAPREDUCED__V1__HEARTBEAT_REQUEST__INIT;
        Mapreduced__V1__HeartbeatReply reply = MAPREDUCED__V1__HEARTBEAT_REPLY__INIT;

        worker_clock_fill(c, &request);
        g_assert_cmpint(llabs(request.t1_ns - now_ns()), <, 10 * NSEC_PER_SEC);
        reply.t2_ns = reply.t3_ns = now_ns() + ahead_ns;
        g_usleep(usec);
        worker_clock_learn(c, &reply);
        return request;
}

static void test_the_offset_is_told_with_the_next_heartbeat(void)
{
        Mapreduced__V1__HeartbeatRequest request;
        WorkerClock c = {};

        request = beat(&c, 3 * NSEC_PER_SEC, 1000);
        g_assert_cmpuint(request.clock_offset_bound_usec, ==, 0); /* nothing is known yet */
        request = beat(&c, 3 * NSEC_PER_SEC, 1000);
        g_assert_cmpuint(request.clock_offset_bound_usec, >=, 500);
        g_assert_cmpint(llabs(request.clock_offset_usec - 3000000), <=,
                        (int64_t) request.clock_offset_bound_usec);
        g_assert_cmpint(request.clock_offset_usec, >, 0); /* ours is slow */
}

static void test_a_slow_exchange_does_not_count(void)
{
        WorkerClock c = {};
        uint64_t bound_usec;

        (void) beat(&c, 0, 0);
        bound_usec = beat(&c, 0, 30000).clock_offset_bound_usec;
        g_assert_cmpuint(beat(&c, 0, 0).clock_offset_bound_usec, <=, bound_usec);
}

/* A master of an older version, and one whose clock was stepped in between. */
static void test_what_is_no_answer_changes_nothing(void)
{
        Mapreduced__V1__HeartbeatRequest request = MAPREDUCED__V1__HEARTBEAT_REQUEST__INIT;
        Mapreduced__V1__HeartbeatReply reply = MAPREDUCED__V1__HEARTBEAT_REPLY__INIT;
        WorkerClock c = {};

        worker_clock_fill(&c, &request);
        worker_clock_learn(&c, &reply);
        reply.t2_ns = now_ns();
        reply.t3_ns = reply.t2_ns - 1;
        worker_clock_learn(&c, &reply);
        worker_clock_fill(&c, &request);
        g_assert_cmpuint(request.clock_offset_bound_usec, ==, 0);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/clock/the-offset-is-told-with-the-next-heartbeat",
                        test_the_offset_is_told_with_the_next_heartbeat);
        g_test_add_func("/worker/clock/a-slow-exchange-does-not-count",
                        test_a_slow_exchange_does_not_count);
        g_test_add_func("/worker/clock/what-is-no-answer-changes-nothing",
                        test_what_is_no_answer_changes_nothing);
        return g_test_run();
}

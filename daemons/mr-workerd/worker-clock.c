/*
 * This host's clock — see worker-clock.h.
 */
#include <sys/timex.h>
#include <time.h>

#include "mr-workerd/worker-clock.h"
#include "timekeeping/cristian.h"

#define MAXERROR_UNKNOWN_USEC 16000000 /* NTP_PHASE_LIMIT of the kernel: the clock is nobody's */

static int64_t now_ns(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (int64_t) ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void ask_kernel(Mapreduced__V1__HeartbeatRequest *ret)
{
        struct timex tx = {};
        int state = adjtimex(&tx); /* changes nothing */

        ret->clock_synchronised = state >= 0 && state != TIME_ERROR && !(tx.status & STA_UNSYNC) &&
                                  tx.maxerror < MAXERROR_UNKNOWN_USEC;
        ret->clock_error_usec = ret->clock_synchronised ? (uint64_t) MAX(tx.maxerror, 0) : 0;
}

static int64_t to_usec(int64_t ns)
{
        return ns / NSEC_PER_USEC;
}

void worker_clock_fill(WorkerClock *c, Mapreduced__V1__HeartbeatRequest *ret)
{
        size_t n = (size_t) MIN(c->count, (uint64_t) WORKER_CLOCK_EXCHANGES), best = 0;

        ask_kernel(ret);
        for (size_t i = 1; i < n; i++)
                if (c->bounds_ns[i] < c->bounds_ns[best])
                        best = i;
        if (n > 0) {
                ret->clock_offset_usec = to_usec(c->offsets_ns[best]);
                ret->clock_offset_bound_usec = (uint64_t) to_usec(c->bounds_ns[best]) + 1;
        }
        ret->t1_ns = c->t1_ns = now_ns();
}

void worker_clock_learn(WorkerClock *c, const Mapreduced__V1__HeartbeatReply *reply)
{
        const int64_t t[4] = {c->t1_ns, reply->t2_ns, reply->t3_ns, now_ns()};
        CristianSample s;
        size_t i = (size_t) (c->count % WORKER_CLOCK_EXCHANGES);

        if (reply->t2_ns == 0 || cristian_sample(t, &s) < 0)
                return;
        c->offsets_ns[i] = s.offset_ns;
        c->bounds_ns[i] = s.bound_ns;
        c->count++;
}

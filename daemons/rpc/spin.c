/*
 * Spinning.
 */
#include <sched.h>

#include "rpc/evgrpc.h"
#include "rpc/spin.h"

/* The peer may run on another. */
static bool has_processors(void)
{
        cpu_set_t set;

        return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

static void again(RpcSpin *s)
{
        (void) event_add(&s->timer, &(struct timeval){});
}

static void on_round(evutil_socket_t fd, short what, void *userdata)
{
        RpcSpin *s = userdata;
        uint64_t now = rpc_now_usec();

        if (s->until_usec == 0)
                s->until_usec = now + s->window_usec;
        if (now < s->until_usec) {
                again(s);
                return;
        }
        s->spinning = false;
        s->missed = true;
}

void rpc_spin_init(RpcSpin *s, struct event_base *base, uint64_t usec)
{
        *s = (RpcSpin){.window_usec = usec == 0 ? RPC_SPIN_USEC : usec};
        if (usec == EVGRPC_SPIN_NONE || !has_processors())
                s->window_usec = 0;
        s->window_usec = RPC_MIN(s->window_usec, RPC_SPIN_USEC_MAX);
        (void) event_assign(&s->timer, base, -1, 0, on_round, s);
}

void rpc_spin_done(RpcSpin *s)
{
        (void) event_del(&s->timer);
}

void rpc_spin_input(RpcSpin *s)
{
        uint64_t now;

        if (s->window_usec == 0)
                return;
        now = rpc_now_usec();
        s->soon = now - s->input_usec <= RPC_SPIN_SOON * s->window_usec;
        s->input_usec = now;
        if (s->rest > 0)
                s->rest--;
        s->misses = s->missed ? s->misses + 1 : s->spinning ? 0 : s->misses;
        s->missed = false;
        if (s->misses >= RPC_SPIN_MISSES) {
                s->misses = 0;
                s->rest = RPC_SPIN_REST;
        }
}

void rpc_spin_begin(RpcSpin *s)
{
        if (!s->soon || s->rest > 0)
                return;
        s->until_usec = 0;
        if (!s->spinning)
                again(s);
        s->spinning = true;
}

void rpc_spin_stop(RpcSpin *s)
{
        if (s->spinning)
                (void) event_del(&s->timer);
        s->spinning = false;
}

/*
 * The one loop — see loop.h.
 *
 * A round: prepare sd-event; if it has something pending, libevent only looks (NONBLOCK), else it
 * waits. Then sd-event takes one step if it has one. So each side gets a turn in every round and
 * neither can starve the other. ONCE in both cases: with NONBLOCK alone libevent stays in its loop
 * as long as anything is active, and sd-event's descriptor stays readable until sd-event had its
 * turn.
 */
#include <signal.h>
#include <time.h>

#include "platform/loop.h"

struct Loop {
        struct event_base *base;
        sd_event *inner;
        struct event *inner_readable;
        bool exiting;
        int exit_code;
};

struct LoopTimer {
        struct event *event;
        LoopTimerFn fn;
        void *userdata;
};

/* Only there to wake event_base_loop(): the round itself looks at sd-event. */
static void on_inner_readable(evutil_socket_t fd, short what, void *userdata)
{
        (void) fd;
        (void) what;
        (void) userdata;
}

static int on_exit_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        loop_exit(userdata, 0);
        return 0;
}

int loop_new(Loop **ret)
{
        _cleanup_(loop_freep) Loop *l = NULL;
        int r;

        (void) signal(SIGPIPE, SIG_IGN);

        l = g_new0(Loop, 1);
        l->base = event_base_new();
        if (!l->base)
                return -ENOMEM;

        r = sd_event_default(&l->inner);
        if (r < 0)
                return r;

        l->inner_readable = event_new(l->base, sd_event_get_fd(l->inner), EV_READ | EV_PERSIST,
                                      on_inner_readable, l);
        if (!l->inner_readable || event_add(l->inner_readable, NULL) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(l);
        return 0;
}

Loop *loop_free(Loop *l)
{
        if (!l)
                return NULL;
        if (l->inner_readable)
                event_free(l->inner_readable);
        sd_event_unref(l->inner);
        if (l->base)
                event_base_free(l->base);
        g_free(l);
        return NULL;
}

struct event_base *loop_base(Loop *l)
{
        return l->base;
}

sd_event *loop_sd_event(Loop *l)
{
        return l->inner;
}

static uint64_t clock_usec(clockid_t id)
{
        struct timespec ts;

        (void) clock_gettime(id, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

uint64_t loop_now_usec(Loop *l)
{
        return clock_usec(CLOCK_MONOTONIC);
}

uint64_t loop_realtime_usec(Loop *l)
{
        return clock_usec(CLOCK_REALTIME);
}

int loop_exit_on_signals(Loop *l)
{
        static const int signals[] = {SIGTERM, SIGINT};

        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                sigset_t set;
                int r;

                (void) sigemptyset(&set);
                (void) sigaddset(&set, signals[i]);
                if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                        return -errno;
                r = sd_event_add_signal(l->inner, NULL, signals[i], on_exit_signal, l);
                if (r < 0)
                        return r;
        }
        return 0;
}

int loop_run(Loop *l)
{
        while (!l->exiting) {
                int r;

                r = sd_event_prepare(l->inner);
                if (r < 0)
                        return r;
                if (event_base_loop(l->base, EVLOOP_ONCE | (r > 0 ? EVLOOP_NONBLOCK : 0)) < 0)
                        return -EIO;
                if (r == 0)
                        r = sd_event_wait(l->inner, 0);
                if (r > 0)
                        r = sd_event_dispatch(l->inner);
                if (r < 0)
                        return r;
                if (r == 0 && sd_event_get_state(l->inner) == SD_EVENT_FINISHED)
                        break;
        }
        return l->exit_code;
}

void loop_exit(Loop *l, int code)
{
        l->exiting = true;
        l->exit_code = code;
        (void) event_base_loopbreak(l->base);
}

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        LoopTimer *t = userdata;

        t->fn(t->userdata);
}

int loop_timer_new(Loop *l, LoopTimerFn fn, void *userdata, LoopTimer **ret)
{
        LoopTimer *t = g_new(LoopTimer, 1);

        *t = (LoopTimer){.fn = fn, .userdata = userdata};
        t->event = evtimer_new(l->base, on_timer, t);
        if (!t->event) {
                g_free(t);
                return -ENOMEM;
        }
        *ret = t;
        return 0;
}

LoopTimer *loop_timer_free(LoopTimer *t)
{
        if (!t)
                return NULL;
        event_free(t->event);
        g_free(t);
        return NULL;
}

void loop_timer_start(LoopTimer *t, uint64_t delay_usec)
{
        struct timeval tv = {
                .tv_sec = (time_t) (delay_usec / USEC_PER_SEC),
                .tv_usec = (suseconds_t) (delay_usec % USEC_PER_SEC),
        };

        (void) evtimer_add(t->event, &tv);
}

void loop_timer_stop(LoopTimer *t)
{
        (void) evtimer_del(t->event);
}

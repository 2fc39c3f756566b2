/*
 * Deadlines — Williams' heap (CACM 7 (1964), algorithm 232) with the place kept in each entry.
 */
#include "rpc/deadline.h"

static void place(RpcDeadlines *ds, size_t i, RpcDeadline *d)
{
        ds->heap[i] = d;
        d->place = i;
}

static void sift_up(RpcDeadlines *ds, size_t i, RpcDeadline *d)
{
        while (i > 1 && ds->heap[i / 2]->at_usec > d->at_usec) {
                place(ds, i, ds->heap[i / 2]);
                i /= 2;
        }
        place(ds, i, d);
}

static void sift_down(RpcDeadlines *ds, size_t i, RpcDeadline *d)
{
        for (;;) {
                size_t child = 2 * i;

                if (child > ds->count)
                        break;
                if (child < ds->count && ds->heap[child + 1]->at_usec < ds->heap[child]->at_usec)
                        child++;
                if (ds->heap[child]->at_usec >= d->at_usec)
                        break;
                place(ds, i, ds->heap[child]);
                i = child;
        }
        place(ds, i, d);
}

static void timer_set(RpcDeadlines *ds, uint64_t now)
{
        struct timeval tv;

        if (ds->count == 0 || ds->timer_usec <= ds->heap[1]->at_usec)
                return;
        ds->timer_usec = ds->heap[1]->at_usec;
        tv = rpc_timeval(ds->timer_usec > now ? ds->timer_usec - now : 0);
        (void) event_add(&ds->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *userdata)
{
        RpcDeadlines *ds = userdata;
        uint64_t now = rpc_now_usec();
        bool gone = false;

        ds->gone = &gone;
        ds->timer_usec = UINT64_MAX;
        while (ds->count > 0 && ds->heap[1]->at_usec <= now) {
                RpcDeadline *d = ds->heap[1];

                rpc_deadlines_remove(ds, d);
                ds->expired(d, ds->userdata);
                if (gone)
                        return;
        }
        ds->gone = NULL;
        timer_set(ds, now);
}

void rpc_deadlines_init(RpcDeadlines *ds, struct event_base *base,
                        void (*expired)(RpcDeadline *d, void *userdata), void *userdata)
{
        *ds = (RpcDeadlines){.timer_usec = UINT64_MAX, .expired = expired, .userdata = userdata};
        (void) event_assign(&ds->timer, base, -1, 0, on_timer, ds);
}

void rpc_deadlines_done(RpcDeadlines *ds)
{
        if (ds->gone)
                *ds->gone = true;
        (void) event_del(&ds->timer);
        free(ds->heap);
        ds->heap = NULL;
        ds->count = ds->room = 0;
}

int rpc_deadlines_add(RpcDeadlines *ds, RpcDeadline *d)
{
        assert(d->place == 0);

        if (ds->count + 1 >= ds->room) {
                size_t room = ds->room == 0 ? 64 : ds->room * 2;
                RpcDeadline **heap = realloc(ds->heap, room * sizeof(*heap));

                if (!heap)
                        return -ENOMEM;
                ds->heap = heap;
                ds->room = room;
        }
        sift_up(ds, ++ds->count, d);
        if (ds->heap[1] == d)
                timer_set(ds, rpc_now_usec());
        return 0;
}

void rpc_deadlines_remove(RpcDeadlines *ds, RpcDeadline *d)
{
        RpcDeadline *last;
        size_t i = d->place;

        if (i == 0)
                return;
        d->place = 0;
        last = ds->heap[ds->count--];
        if (last == d)
                return;
        if (i > 1 && ds->heap[i / 2]->at_usec > last->at_usec)
                sift_up(ds, i, last);
        else
                sift_down(ds, i, last);
}

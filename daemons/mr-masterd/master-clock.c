/*
 * The workers' clocks — how far each is off ours, and a word when that is too far.
 *
 * A worker compares its clock with ours by Cristian's exchange at each heartbeat, and tells the
 * outcome with the next; it also tells what its kernel says of its clock. Nothing here depends on
 * clocks that agree: leases are counted in our own monotonic time, and every event has our own
 * time. But people compare logs of several hosts, and `each:` reads logs whose times are the
 * hosts'.
 */
#include "base/parse.h"
#include "mr-masterd/master-manager.h"
#include "platform/log.h"

static uint64_t magnitude(int64_t v)
{
        return v < 0 ? -(uint64_t) v : (uint64_t) v;
}

/* What the clock is off by at least, however the exchange was delayed. */
static uint64_t certain_skew_usec(const WorkerClock *c)
{
        uint64_t off_usec = magnitude(c->offset_usec);

        if (c->offset_bound_usec == 0 || off_usec <= c->offset_bound_usec)
                return 0;
        return off_usec - c->offset_bound_usec;
}

char *worker_clock_trouble(const MasterWorker *w)
{
        g_autofree char *off = format_timespan(magnitude(w->clock.offset_usec));

        if (!w->clock.is_skewed)
                return NULL;
        return g_strdup_printf(
                "its clock is %s %s the master's%s", off,
                w->clock.offset_usec > 0 ? "behind" : "ahead of",
                w->clock.synchronised ? "" : ", and nothing keeps it (see timesyncd-lite(8))");
}

static void warn(MasterWorker *w)
{
        const LogFields fields = {.worker = w->id};
        g_autofree char *text = NULL;

        w->clock.is_skewed = true;
        text = worker_clock_trouble(w);
        log_full(LOG_WARNING, &fields, 0, "Worker %s: %s: times in its logs do not compare",
                 w->name, text);
        worker_changed(w, CHANGED_STATE);
}

static void say_right(MasterWorker *w)
{
        const LogFields fields = {.worker = w->id};

        w->clock.is_skewed = false;
        log_full(LOG_INFO, &fields, 0, "The clock of worker %s is right again", w->name);
        worker_changed(w, CHANGED_STATE);
}

bool worker_is_skewed(const MasterWorker *w)
{
        return w->alive && w->clock.is_skewed;
}

void worker_clock_update(MasterWorker *w, const Mapreduced__V1__HeartbeatRequest *request)
{
        WorkerClock *c = &w->clock;
        uint64_t limit_usec = w->manager->conf->clock_skew_max_usec, skew_usec;

        c->synchronised = request->clock_synchronised;
        c->error_usec = request->clock_error_usec;
        c->offset_usec = request->clock_offset_usec;
        c->offset_bound_usec = request->clock_offset_bound_usec;

        skew_usec = certain_skew_usec(c);
        if (skew_usec > limit_usec && !c->is_skewed)
                warn(w);
        else if (skew_usec <= limit_usec / 2 && c->is_skewed && c->offset_bound_usec > 0)
                say_right(w);
}

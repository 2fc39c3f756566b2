/*
 * Deciding — see decide.h.
 */
#include <inttypes.h>
#include <math.h>

#include "base/parse.h"
#include "platform/service.h"
#include "timesyncd-lite/bus.h"
#include "timesyncd-lite/decide.h"
#include "timesyncd-lite/files.h"

/* The kernel lets maxerror grow by 500 ppm: in this time by 2 ms. */
#define REFRESH_NS (4 * NSEC_PER_SEC)
#define FOREIGN_PPM 0.001 /* ADJ_FREQUENCY rounds to 0.000015 */

static char *format_ns(int64_t ns)
{
        double us = (double) ns / 1e3;

        if (ns == INT64_MAX)
                return g_strdup("unknown");
        if (fabs(us) < 1e3)
                return g_strdup_printf("%.1fus", us);
        if (fabs(us) < 1e6)
                return g_strdup_printf("%.3fms", us / 1e3);
        return g_strdup_printf("%.6fs", us / 1e6);
}

static void tell_status(Manager *m)
{
        g_autofree char *bound = format_ns(m->last.maxerror_ns);
        Remote *selected = manager_selected(m);

        if (selected)
                service_status("Synchronised with %s, within %s, frequency %+.3f ppm",
                               selected->address, bound, m->last.frequency_ppm);
        else if (m->last.state == KEEPER_HOLDOVER)
                service_status("No server to follow; the clock runs on, within %s", bound);
        else if (m->conf.servers->len == 0)
                service_status("Idle: no server is configured, set Server= in timesyncd-lite.conf");
        else
                service_status("Not synchronised: no server to follow");
}

static void log_events(Manager *m, const KeeperDecision *d)
{
        g_autofree char *by = format_ns(d->stepped_by_ns);
        Remote *selected = manager_selected(m);

        if (d->events & KEEPER_EVENT_SUSPENDED)
                log_notice("The machine slept: its clock is unknown until a server answers");
        if (d->events & KEEPER_EVENT_STEPPED)
                log_notice("Somebody stepped the clock by %s: it is slewed back", by);
        if (d->events & KEEPER_EVENT_LEAPT)
                log_notice("The leap second has passed");
        if (!(d->events & KEEPER_EVENT_SELECTED))
                return;
        if (selected)
                log_info("Following %s", selected->address);
        else
                log_notice("Following no server any more");
}

/* A reason is told when it is another one. */
static void log_reasons(Manager *m)
{
        for (unsigned i = 0; i < KEEPER_SERVERS_MAX; i++) {
                const TimeSource *s = keeper_server(m->keeper, i);
                Remote *r = m->remotes[i];

                if (!r || !s || s->status == r->told || s->status == TIME_REJECT_NO_SAMPLES)
                        continue;
                if (s->status != TIME_ACCEPTED)
                        log_notice("%s is not used (%s): %s", r->address,
                                   time_reject_to_string(s->status), remote_explain(r, s->status));
                else if (r->told != TIME_REJECT_NO_SAMPLES)
                        log_info("%s is used again", r->address);
                r->told = s->status;
        }
}

static void step(Manager *m, int64_t step_ns)
{
        g_autofree char *by = format_ns(step_ns);
        int r;

        r = clock_step(m->clock, step_ns);
        if (r < 0) {
                log_error_errno(r, "Failed to step the clock by %s: %m", by);
                return;
        }
        m->steps++;
        log_notice("Stepped the clock by %s", by);
}

/* Two programs that each correct the clock make it wrong together. */
static bool is_foreign(Manager *m)
{
        ClockStatus now;

        if (isnan(m->frequency_set_ppm) || clock_get_status(m->clock, &now) < 0 ||
            fabs(now.frequency_ppm - m->frequency_set_ppm) < FOREIGN_PPM)
                return false;
        if (!m->foreign_told)
                log_warning(
                        "Another program set the clock's frequency to %+.3f ppm, ours is %+.3f: "
                        "is a second time service running?",
                        now.frequency_ppm, m->frequency_set_ppm);
        m->foreign_told = true;
        return true;
}

static void set_frequency(Manager *m, double ppm)
{
        int r;

        r = clock_set_frequency(m->clock, ppm);
        if (r < 0)
                log_error_errno(r, "Failed to set the clock's frequency: %m");
        else
                m->frequency_set_ppm = ppm;
}

static bool is_known(const KeeperDecision *d)
{
        return d->state == KEEPER_SYNCHRONISED || d->state == KEEPER_HOLDOVER;
}

static void tell_kernel(Manager *m, const KeeperDecision *d)
{
        bool known = is_known(d);
        int r;

        r = clock_set_status(m->clock, &(ClockStatus){
                                               .synchronised = known,
                                               .maxerror_ns = known ? d->maxerror_ns : INT64_MAX,
                                               .esterror_ns = known ? d->esterror_ns : INT64_MAX,
                                               .leap = d->leap,
                                       });
        if (r < 0)
                log_warning_errno(r,
                                  "Failed to tell the kernel of the clock's error, ignoring: %m");
}

static void became_synchronised(Manager *m)
{
        int r;

        m->synchronised_real_ns = clock_real_ns(m->clock);
        if (!m->conf.run_dir)
                return;
        r = files_touch_synchronized(m->conf.run_dir);
        if (r < 0)
                log_warning_errno(r,
                                  "Failed to touch %s/systemd/timesync/synchronized, ignoring: %m",
                                  m->conf.run_dir);
}

static void carry_out(Manager *m, const KeeperDecision *d)
{
        bool was_synchronised = m->last.state == KEEPER_SYNCHRONISED;
        bool changed = d->events != 0 || d->step_ns != 0 || d->state != m->last.state;

        if (d->set_frequency || is_foreign(m))
                set_frequency(m, d->frequency_ppm);
        if (d->step_ns != 0)
                step(m, d->step_ns);
        m->last = *d;
        tell_kernel(m, d);
        log_events(m, d);
        log_reasons(m);
        if (d->state == KEEPER_SYNCHRONISED && (!was_synchronised || m->fresh))
                became_synchronised(m);
        if (d->state == KEEPER_SYNCHRONISED && !was_synchronised)
                decide_save(m);
        if (changed || m->fresh) {
                tell_status(m);
                time_bus_changed(m->bus);
        }
        m->fresh = false;
}

static void begin_exchanges(Manager *m)
{
        TimeReading now;
        unsigned server;

        clock_read(m->clock, &now);
        while (keeper_poll(m->keeper, &now, &server) > 0) {
                m->remotes[server]->exchanges++;
                exchange_begin(m->remotes[server]->exchange);
        }
}

void manager_tick(Manager *m)
{
        KeeperDecision d;
        TimeReading now;

        clock_read(m->clock, &now);
        keeper_tick(m->keeper, &now, &d);
        carry_out(m, &d);
        if (clock_is_virtual(m->clock))
                log_debug("The virtual clock is %+" PRId64 " ns ahead of this machine's",
                          clock_ahead_ns(m->clock));
        begin_exchanges(m);
        loop_timer_start(m->wakeup, clock_wait_usec(m->clock, MIN(keeper_wakeup_ns(m->keeper),
                                                                  now.mono_ns + REFRESH_NS)));
}

int manager_step(Manager *m, int64_t *ret_step_ns)
{
        KeeperDecision d;
        TimeReading now;

        if (!m->keeper)
                return -ENODATA;
        clock_read(m->clock, &now);
        if (keeper_bound_ns(m->keeper, &now) == INT64_MAX)
                return -ENODATA;
        keeper_step(m->keeper, &now, &d);
        *ret_step_ns = d.step_ns;
        carry_out(m, &d);
        manager_tick(m);
        return 0;
}

void decide_save(Manager *m)
{
        int64_t real_ns = clock_real_ns(m->clock);
        Drift drift;
        int r = 0;

        if (keeper_drift(m->keeper, &drift))
                r = files_save_drift(m->conf.state_dir, drift);
        /* A time nobody vouches for must not become the least time of the next start. */
        if (r >= 0 && is_known(&m->last))
                r = files_save_clock(m->conf.state_dir, real_ns);
        if (r < 0)
                log_warning_errno(r, "Failed to save drift and time in %s, ignoring: %m",
                                  m->conf.state_dir);
}

void decide_rest(Manager *m)
{
        Drift drift;

        if (keeper_drift(m->keeper, &drift))
                set_frequency(m, drift.frequency_ppm);
        decide_save(m);
}

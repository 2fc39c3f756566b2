/*
 * The manager — see manager.h.
 */
#include <math.h>
#include <signal.h>

#include "base/fs.h"
#include "base/parse.h"
#include "platform/service.h"
#include "timesyncd-lite/bus.h"
#include "timesyncd-lite/decide.h"
#include "timesyncd-lite/files.h"
#include "timesyncd-lite/manager.h"
#include "timesyncd-lite/tls.h"
#include "timesyncd-lite/watch.h"

/* No clock of a machine that runs this is honestly before it: 2025-01-01. */
#define EARLIEST_NS (INT64_C(1735689600) * NSEC_PER_SEC)
#define KERNEL_SD_PPM 10.0 /* of a frequency that somebody set before us */
/* A network that comes up does so in many messages. */
#define NETWORK_SETTLE_USEC USEC_PER_SEC

void manager_claim(void *userdata, TimeClaim *ret, ClockPath *ret_references)
{
        Manager *m = userdata;
        Remote *selected = manager_selected(m);
        ClockStatus status;
        TimeReading now;

        *ret = (TimeClaim){};
        if (m->keeper) {
                clock_read(m->clock, &now);
                keeper_claim(m->keeper, &now, ret);
                if (ret->synchronised && selected)
                        *ret_references = selected->path;
        } else if (clock_get_status(m->clock, &status) >= 0 && status.synchronised) {
                /* The kernel knows how far off it may be, but not what it was set by: that is
                 * configured. */
                *ret = (TimeClaim){
                        .synchronised = true,
                        .stratum = m->conf.kernel_stratum,
                        .root_dispersion_ns = status.maxerror_ns,
                        .leap = status.leap,
                };
        }
        if (!ret->synchronised && m->conf.local_stratum > 0) {
                ret->synchronised = true;
                ret->stratum = m->conf.local_stratum;
        }
}

static int on_clock_set(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Manager *m = userdata;

        watch_clock_rearm(fd);
        manager_tick(m);
        return 0;
}

static void on_network_settled(void *userdata)
{
        Manager *m = userdata;

        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++) {
                const TimeSource *s = keeper_server(m->keeper, (unsigned) i);

                if (!s || (s->last_sample != TIME_REJECT_TIMEOUT && s->has_line))
                        continue;
                log_debug("The network changed, asking the servers again");
                manager_sync_now(m);
                return;
        }
}

static int on_network(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Manager *m = userdata;

        watch_network_drain(fd);
        loop_timer_start(m->network, NETWORK_SETTLE_USEC);
        return 0;
}

static int on_hangup_signal(sd_event_source *source, const struct signalfd_siginfo *si,
                            void *userdata)
{
        (void) manager_reload(userdata);
        return 0;
}

static void on_save(void *userdata)
{
        Manager *m = userdata;

        decide_save(m);
        loop_timer_start(m->save, m->conf.save_usec);
}

static void on_wakeup(void *userdata)
{
        manager_tick(userdata);
}

static int prepare_loop(Manager *m)
{
        sigset_t set;
        int r;

        r = loop_new(&m->loop);
        if (r >= 0)
                r = loop_exit_on_signals(m->loop);
        if (r < 0)
                return log_error_errno(r, "Failed to make the event loop: %m");
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGHUP);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        r = sd_event_add_signal(loop_sd_event(m->loop), NULL, SIGHUP, on_hangup_signal, m);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_wakeup, m, &m->wakeup);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_save, m, &m->save);
        if (r >= 0)
                r = loop_timer_new(m->loop, on_network_settled, m, &m->network);
        return r < 0 ? log_error_errno(r, "Failed to make a timer: %m") : 0;
}

/* A machine without a battery for its clock starts in 1970, or when the image was made. */
static void start_from_saved_time(Manager *m)
{
        int64_t earliest_ns = EARLIEST_NS, saved_ns;
        TimeReading now;

        if (files_load_clock(m->conf.state_dir, &saved_ns) >= 0)
                earliest_ns = MAX(earliest_ns, saved_ns);
        clock_read(m->clock, &now);
        if (now.real_ns < earliest_ns) {
                log_notice(
                        "The clock is before the time of the last run, setting it forward to that");
                (void) clock_step(m->clock, earliest_ns - now.real_ns);
        } else
                earliest_ns =
                        EARLIEST_NS; /* a clock that ran on may have been ahead, and be set back */
        m->conf.keeper.earliest_real_ns = earliest_ns;
}

/* From the last run; else what the kernel has, that another program may have learnt. */
static bool find_drift(Manager *m, Drift *ret)
{
        ClockStatus status;
        int r;

        r = files_load_drift(m->conf.state_dir, ret);
        if (r >= 0) {
                log_info("The clock's frequency was %+.3f ± %.3f ppm", ret->frequency_ppm,
                         ret->sd_ppm);
                return true;
        }
        if (r != -ENOENT)
                log_warning_errno(r, "Failed to read %s/drift, starting without it: %m",
                                  m->conf.state_dir);
        r = clock_get_status(m->clock, &status);
        if (r < 0 || status.frequency_ppm == 0)
                return false;
        *ret = (Drift){status.frequency_ppm, KERNEL_SD_PPM};
        return true;
}

static int prepare_keeper(Manager *m)
{
        TimeReading now;
        Drift drift;
        bool known;

        start_from_saved_time(m);
        known = find_drift(m, &drift);
        clock_read(m->clock, &now);
        m->keeper = keeper_new(&m->conf.keeper, &now, known ? &drift : NULL);
        return 0;
}

static int prepare_clock(Manager *m)
{
        bool is_client = m->conf.role == TIME_ROLE_CLIENT;
        _cleanup_error_ Error e = {};
        int r = 0;

        m->own_id = m->conf.own_id;
        if (m->own_id == 0)
                r = wire_own_id(&m->own_id);
        if (r < 0)
                return log_error_errno(r, "Failed to read the kernel's boot id: %m");
        if (m->conf.dry_run && is_client)
                m->clock = clock_new_virtual(m->conf.dry_run_offset_ns, m->conf.dry_run_ppm);
        else
                r = clock_new_system(is_client, &m->clock, &e);
        if (r >= 0 && is_client && m->conf.run_dir)
                r = files_lock(m->conf.run_dir, &m->lock_fd, &e);
        if (r >= 0 && is_client) {
                r = mkdir_parents(m->conf.state_dir, 0755);
                if (r < 0)
                        log_warning_errno(r, "Failed to make %s, ignoring: %m", m->conf.state_dir);
                r = 0;
        }
        if (r >= 0)
                r = time_tls_load(&m->conf, &m->tls, &e);
        if (r < 0)
                return log_error_errno(r, "%s", error_message(&e, r));
        if (m->conf.dry_run && is_client)
                log_notice("Dry run: this machine's clock is not touched");
        return is_client ? prepare_keeper(m) : 0;
}

static int watch_machine(Manager *m)
{
        int r;

        r = watch_clock_open(&m->set_fd);
        if (r >= 0)
                r = sd_event_add_io(loop_sd_event(m->loop), NULL, m->set_fd, EPOLLIN, on_clock_set,
                                    m);
        if (r < 0)
                return log_error_errno(r, "Failed to watch the clock: %m");
        r = watch_network_open(&m->network_fd);
        if (r >= 0)
                r = sd_event_add_io(loop_sd_event(m->loop), NULL, m->network_fd, EPOLLIN,
                                    on_network, m);
        if (r < 0)
                log_warning_errno(r, "Failed to watch the network, ignoring: %m");
        return 0;
}

static int start_serving(Manager *m)
{
        _cleanup_error_ Error e = {};
        int r;

        if (m->conf.listen->len == 0)
                return 0;
        r = serve_new(m->loop, &m->conf, m->clock, m->own_id, m->tls, manager_claim, m, &m->serve,
                      &e);
        return r < 0 ? log_error_errno(r, "%s", error_message(&e, r)) : 0;
}

static int start(Manager *m)
{
        _cleanup_error_ Error e = {};
        int r;

        r = prepare_loop(m);
        if (r < 0)
                return r;
        r = prepare_clock(m);
        if (r < 0)
                return r;
        r = start_serving(m);
        if (r < 0)
                return r;
        r = time_bus_start(m, &m->bus);
        if (r < 0 || !m->keeper)
                return r;
        r = watch_machine(m);
        if (r < 0)
                return r;
        r = manager_set_servers(m, m->conf.servers, &e);
        if (r < 0)
                return log_error_errno(r, "%s", error_message(&e, r));
        loop_timer_start(m->save, m->conf.save_usec);
        return 0;
}

int manager_new(TimeConf *conf, Manager **ret)
{
        _cleanup_(manager_freep) Manager *m = g_new0(Manager, 1);
        int r;

        *m = (Manager){
                .conf = *conf,
                .lock_fd = -EBADF,
                .set_fd = -EBADF,
                .network_fd = -EBADF,
                .frequency_set_ppm = NAN,
                .last = {.maxerror_ns = INT64_MAX, .esterror_ns = INT64_MAX},
        };
        *conf = (TimeConf){};
        r = start(m);
        if (r < 0)
                return r;
        if (m->keeper)
                manager_tick(m);
        else
                service_status("Telling the time of this machine's clock");
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m)
{
        if (!m)
                return NULL;
        if (m->keeper)
                decide_rest(m);
        m->bus = time_bus_free(m->bus);
        serve_free(m->serve);
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                remote_free(m->remotes[i]);
        keeper_free(m->keeper);
        clock_free(m->clock);
        loop_timer_free(m->wakeup);
        loop_timer_free(m->save);
        loop_timer_free(m->network);
        evgrpc_tls_unref(m->tls);
        loop_free(m->loop);
        safe_close(m->set_fd);
        safe_close(m->network_fd);
        safe_close(m->lock_fd);
        time_conf_done(&m->conf);
        g_free(m);
        return NULL;
}

/* What may change while we run; the role and the bus may not. */
static void take_conf(Manager *m, TimeConf *fresh)
{
        fresh->keeper.earliest_real_ns = m->conf.keeper.earliest_real_ns;
        fresh->dry_run = m->conf.dry_run;
        time_conf_done(&m->conf);
        m->conf = *fresh;
        *fresh = (TimeConf){};
        if (m->keeper)
                keeper_set_config(m->keeper, &m->conf.keeper);
        m->serve = serve_free(m->serve);
        (void) start_serving(m); /* has said why not */
}

static int reload(Manager *m, Error *e)
{
        _cleanup_(time_conf_done) TimeConf fresh = {};
        EvgrpcTls *tls = NULL;
        int r;

        r = time_conf_load(m->conf.argc, m->conf.argv, &fresh, e);
        if (r >= 0)
                r = time_tls_load(&fresh, &tls, e);
        if (r < 0)
                return r;
        if (fresh.role != m->conf.role) {
                evgrpc_tls_unref(tls);
                return error_setf(e, EBUSY, "Role= has changed: that needs a restart");
        }
        evgrpc_tls_unref(m->tls);
        m->tls = tls;
        take_conf(m, &fresh);
        return m->keeper ? manager_set_servers(m, m->conf.servers, e) : 0;
}

int manager_reload(Manager *m)
{
        _cleanup_error_ Error e = {};
        int r;

        service_reloading();
        r = reload(m, &e);
        service_ready();
        if (r < 0)
                return log_error_errno(r, "Not reloaded: %s", error_message(&e, r));
        log_info("Read the configuration again");
        return 0;
}

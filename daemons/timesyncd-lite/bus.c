/*
 * The daemon on the bus — see bus.h.
 */
#include "config.h"
#include "platform/authorize.h"
#include "platform/bus.h"
#include "timesyncd-lite/bus-timesync1.h"
#include "timesyncd-lite/bus.h"

#define BUS_NAME "org.mapreduced.TimeSync1"
#define OBJECT_PATH "/org/mapreduced/TimeSync1"
#define INTERFACE "org.mapreduced.TimeSync1.Manager"
#define ACTION(name) "org.mapreduced.timesync1." name

struct TimeBus {
        Manager *manager;
        sd_bus *bus;
        Authorizer *authorizer;
        bool announced_timesync1;
};

/* ---- Methods ---- */

static uint64_t unsigned_ns(int64_t ns)
{
        return ns == INT64_MAX ? UINT64_MAX : (uint64_t) ns;
}

static const char *state_of(const Manager *m, const Remote *r, const TimeSource *s)
{
        if (r == manager_selected(m))
                return "selected";
        return s->status == TIME_ACCEPTED ? "candidate" : "rejected";
}

static int append_server(sd_bus_message *reply, const Manager *m, const Remote *r)
{
        const TimeSource *s = keeper_server(m->keeper, r->number);

        return sd_bus_message_append(
                reply, "(ssssxttttutyuttx)", r->address, state_of(m, r, s),
                time_reject_to_string(s->status), remote_explain(r, s->status), s->last.offset_ns,
                (uint64_t) s->last.bound_ns, (uint64_t) s->last.rtt_ns,
                unsigned_ns(time_claim_distance_ns(&s->claim)), (uint64_t) s->line.ahead_sd_ns,
                s->claim.stratum, (uint64_t) (poll_ns(s->poll) / NSEC_PER_USEC), s->reach,
                s->has_line ? s->line.count : 0, r->exchanges, r->answers, r->last_answer_real_ns);
}

static int method_list_servers(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *manager = userdata;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ssssxttttutyuttx)");
        for (size_t i = 0; i < KEEPER_SERVERS_MAX && r >= 0; i++)
                if (manager->remotes[i])
                        r = append_server(reply, manager, manager->remotes[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static Remote *find_server(const Manager *m, const char *address)
{
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                if (m->remotes[i] && g_str_equal(m->remotes[i]->address, address))
                        return m->remotes[i];
        return NULL;
}

static int append_sample(sd_bus_message *reply, const RemoteSample *s)
{
        return sd_bus_message_append(reply, "(sxxxxxttbbbb)", time_reject_to_string(s->outcome),
                                     s->t[0], s->t[1], s->t[2], s->t[3], s->cristian.offset_ns,
                                     (uint64_t) s->cristian.rtt_ns, (uint64_t) s->cristian.bound_ns,
                                     (int) s->from_kernel[0], (int) s->from_kernel[1],
                                     (int) s->from_kernel[2], (int) s->from_kernel[3]);
}

static int method_list_samples(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Remote *remote;
        const char *address;
        int r;

        r = sd_bus_message_read(m, "s", &address);
        if (r < 0)
                return r;
        remote = find_server(userdata, address);
        if (!remote)
                return bus_error_setf(ret_error, "org.mapreduced.Error.NoSuchServer",
                                      "no server %s is in use", address);
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sxxxxxttbbbb)");
        for (size_t i = 0; i < remote->sample_count && r >= 0; i++)
                r = append_sample(reply, remote_sample(remote, i));
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* Allowed, and a client: 1; 0: polkit is asked. */
static int may_change(sd_bus_message *m, const Manager *manager, const char *action,
                      sd_bus_error *ret_error)
{
        if (!manager->keeper)
                return bus_error_setf(ret_error, BUS_ERROR_WRONG_STATE,
                                      "this timesyncd-lite only tells the time: another program "
                                      "keeps the clock");
        return authorizer_check(manager->bus->authorizer, m, action, UID_NOBODY_OWNS, ret_error);
}

static int method_sync_now(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        int r = may_change(m, userdata, ACTION("sync-now"), ret_error);

        if (r <= 0)
                return r < 0 ? r : 1;
        manager_sync_now(userdata);
        return sd_bus_reply_method_return(m, NULL);
}

static int read_servers(sd_bus_message *m, const TimeConf *conf, GPtrArray *servers,
                        sd_bus_error *ret_error)
{
        const char *text;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read(m, "s", &text)) > 0) {
                _cleanup_error_ Error e = {};
                char *address;

                if (servers->len >= KEEPER_SERVERS_MAX)
                        return bus_error_setf(ret_error, BUS_ERROR_LIMIT, "more than %u servers",
                                              KEEPER_SERVERS_MAX);
                r = time_conf_address(conf, "SetServers", text, &address, &e);
                if (r < 0)
                        return bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS, "%s",
                                              error_message(&e, r));
                g_ptr_array_add(servers, address);
        }
        return r;
}

static int method_set_servers(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        g_autoptr(GPtrArray) servers = g_ptr_array_new_with_free_func(g_free);
        _cleanup_error_ Error e = {};
        Manager *manager = userdata;
        int r;

        r = may_change(m, manager, ACTION("set-servers"), ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = read_servers(m, &manager->conf, servers, ret_error);
        if (r < 0)
                return r;
        r = manager_set_servers(manager, servers, &e);
        if (r < 0)
                return bus_error_setf(ret_error, SD_BUS_ERROR_INVALID_ARGS, "%s",
                                      error_message(&e, r));
        log_info("Was given %u servers over the bus", servers->len);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_step(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        int64_t step_ns;
        int r;

        r = may_change(m, userdata, ACTION("step"), ret_error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = manager_step(userdata, &step_ns);
        if (r < 0)
                return bus_error_setf(ret_error, BUS_ERROR_WRONG_STATE,
                                      "the clock is not synchronised: by how much should it be "
                                      "stepped? ('mrctl time servers' says why not)");
        return sd_bus_reply_method_return(m, "x", step_ns);
}

/* ---- Properties ---- */

typedef struct View {
        KeeperState state;
        TimeClaim claim;
        int64_t offset_ns, bound_ns, esterror_ns;
        Drift drift;
} View;

/* In the role of a server, what the kernel says. */
static View look(Manager *m)
{
        ClockPath references = {};
        ClockStatus status = {};
        TimeReading now;
        View v = {.bound_ns = INT64_MAX, .esterror_ns = INT64_MAX};

        manager_claim(m, &v.claim, &references);
        if (m->keeper) {
                clock_read(m->clock, &now);
                v.state = m->last.state;
                v.offset_ns = keeper_offset_ns(m->keeper, &now);
                v.bound_ns = keeper_bound_ns(m->keeper, &now);
                v.esterror_ns = m->last.esterror_ns;
                if (!keeper_drift(m->keeper, &v.drift))
                        v.drift = (Drift){m->last.frequency_ppm, DRIFT_LIMIT_PPM};
                return v;
        }
        (void) clock_get_status(m->clock, &status);
        v.state = status.synchronised ? KEEPER_SYNCHRONISED : KEEPER_UNSYNCHRONISED;
        if (status.synchronised) {
                v.bound_ns = status.maxerror_ns;
                v.esterror_ns = status.esterror_ns;
        }
        v.drift.frequency_ppm = status.frequency_ppm;
        return v;
}

static const char *text_of(Manager *m, const char *property)
{
        const Remote *selected = manager_selected(m);
        View v;

        if (g_str_equal(property, "Version"))
                return MR_VERSION;
        if (g_str_equal(property, "Role"))
                return time_role_to_string(m->conf.role);
        if (g_str_equal(property, "SelectedServer"))
                return selected ? selected->address : "";
        v = look(m);
        if (g_str_equal(property, "Leap"))
                return time_leap_to_string(v.claim.leap);
        return keeper_state_to_string(v.state);
}

static int property_get_text(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *ret_error)
{
        return sd_bus_message_append(reply, "s", text_of(userdata, property));
}

static int property_get_dry_run(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *ret_error)
{
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "b", (int) clock_is_virtual(m->clock));
}

static int property_get_offset(sd_bus *bus, const char *path, const char *interface,
                               const char *property, sd_bus_message *reply, void *userdata,
                               sd_bus_error *ret_error)
{
        return sd_bus_message_append(reply, "x", look(userdata).offset_ns);
}

static int property_get_error(sd_bus *bus, const char *path, const char *interface,
                              const char *property, sd_bus_message *reply, void *userdata,
                              sd_bus_error *ret_error)
{
        View v = look(userdata);
        int64_t ns = g_str_equal(property, "BoundNSec") ? v.bound_ns : v.esterror_ns;

        return sd_bus_message_append(reply, "t", unsigned_ns(ns));
}

static int property_get_frequency(sd_bus *bus, const char *path, const char *interface,
                                  const char *property, sd_bus_message *reply, void *userdata,
                                  sd_bus_error *ret_error)
{
        Drift d = look(userdata).drift;

        return sd_bus_message_append(
                reply, "d", g_str_equal(property, "Frequency") ? d.frequency_ppm : d.sd_ppm);
}

static int property_get_stratum(sd_bus *bus, const char *path, const char *interface,
                                const char *property, sd_bus_message *reply, void *userdata,
                                sd_bus_error *ret_error)
{
        return sd_bus_message_append(reply, "u", look(userdata).claim.stratum);
}

static int property_get_count(sd_bus *bus, const char *path, const char *interface,
                              const char *property, sd_bus_message *reply, void *userdata,
                              sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        ServeCounters none = {};
        const ServeCounters *c = m->serve ? serve_counters(m->serve) : &none;
        uint64_t v;

        if (g_str_equal(property, "Steps"))
                v = m->steps;
        else if (g_str_equal(property, "SynchronisedUSec"))
                v = (uint64_t) (m->synchronised_real_ns / NSEC_PER_USEC);
        else if (g_str_equal(property, "RequestsAnswered"))
                v = c->answered;
        else if (g_str_equal(property, "RequestsLimited"))
                v = c->limited;
        else
                v = c->refused;
        return sd_bus_message_append(reply, "t", v);
}

static int property_get_kernel_stamps(sd_bus *bus, const char *path, const char *interface,
                                      const char *property, sd_bus_message *reply, void *userdata,
                                      sd_bus_error *ret_error)
{
        static const char *const names[] = {"T1", "T2", "T3", "T4"};
        const Remote *selected = manager_selected(userdata);
        const RemoteSample *s = selected && selected->sample_count > 0
                                        ? remote_sample(selected, selected->sample_count - 1)
                                        : NULL;
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (size_t i = 0; s && i < ELEMENTSOF(names) && r >= 0; i++)
                if (s->from_kernel[i])
                        r = sd_bus_message_append(reply, "s", names[i]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_get_listening(sd_bus *bus, const char *path, const char *interface,
                                  const char *property, sd_bus_message *reply, void *userdata,
                                  sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        const GPtrArray *a = m->serve ? serve_addresses(m->serve) : NULL;
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (guint i = 0; a && i < a->len && r >= 0; i++)
                r = sd_bus_message_append(reply, "s", a->pdata[i]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("ListServers", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(ssssxttttutyuttx)", servers), method_list_servers,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListSamples", SD_BUS_ARGS("s", server),
                                SD_BUS_RESULT("a(sxxxxxttbbbb)", samples), method_list_samples,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SyncNow", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_sync_now,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetServers", SD_BUS_ARGS("as", servers), SD_BUS_NO_RESULT,
                                method_set_servers, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Step", SD_BUS_NO_ARGS, SD_BUS_RESULT("x", stepped_by_nsec),
                                method_step, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", property_get_text, 0, CONST),
        SD_BUS_PROPERTY("Role", "s", property_get_text, 0, CONST),
        SD_BUS_PROPERTY("DryRun", "b", property_get_dry_run, 0, CONST),
        SD_BUS_PROPERTY("State", "s", property_get_text, 0, CHANGES),
        SD_BUS_PROPERTY("SelectedServer", "s", property_get_text, 0, CHANGES),
        SD_BUS_PROPERTY("OffsetNSec", "x", property_get_offset, 0, 0),
        SD_BUS_PROPERTY("BoundNSec", "t", property_get_error, 0, 0),
        SD_BUS_PROPERTY("EstimatedErrorNSec", "t", property_get_error, 0, 0),
        SD_BUS_PROPERTY("Frequency", "d", property_get_frequency, 0, 0),
        SD_BUS_PROPERTY("FrequencyError", "d", property_get_frequency, 0, 0),
        SD_BUS_PROPERTY("Leap", "s", property_get_text, 0, 0),
        SD_BUS_PROPERTY("Stratum", "u", property_get_stratum, 0, 0),
        SD_BUS_PROPERTY("Steps", "t", property_get_count, 0, 0),
        SD_BUS_PROPERTY("SynchronisedUSec", "t", property_get_count, 0, 0),
        SD_BUS_PROPERTY("KernelStamps", "as", property_get_kernel_stamps, 0, 0),
        SD_BUS_PROPERTY("Listening", "as", property_get_listening, 0, 0),
        SD_BUS_PROPERTY("RequestsAnswered", "t", property_get_count, 0, 0),
        SD_BUS_PROPERTY("RequestsLimited", "t", property_get_count, 0, 0),
        SD_BUS_PROPERTY("RequestsRefused", "t", property_get_count, 0, 0),
        SD_BUS_VTABLE_END,
};

/* ---- Life ---- */

void time_bus_changed(TimeBus *b)
{
        if (!b || !b->bus)
                return;
        (void) sd_bus_emit_properties_changed(b->bus, OBJECT_PATH, INTERFACE, "State",
                                              "SelectedServer", NULL);
        if (b->announced_timesync1)
                bus_timesync1_changed(b->bus);
}

/* timedatectl can do without; and systemd-timesyncd may run beside a dry run. */
static void claim_timesync1(TimeBus *b)
{
        _cleanup_error_ Error e = {};
        int r;

        r = bus_claim_name(b->bus, TIMESYNC1_NAME, &e);
        if (r < 0)
                log_notice("timedatectl will not see us: %s", error_message(&e, r));
        b->announced_timesync1 = r >= 0;
}

static int start(TimeBus *b, Error *e)
{
        Manager *m = b->manager;
        int named, r;

        named = bus_open(m->loop, m->conf.bus, &b->bus, e);
        if (named < 0 || !b->bus)
                return named;
        b->authorizer = authorizer_new(m->loop, b->bus, g_str_equal(m->conf.bus, "system"));
        r = sd_bus_add_object_vtable(b->bus, NULL, OBJECT_PATH, INTERFACE, vtable, m);
        if (r >= 0 && m->keeper)
                r = bus_timesync1_add(b->bus, m);
        if (r < 0)
                return error_setf(e, r, "cannot show the object on the bus: %s", error_text(r));
        if (named == 0)
                return 0;
        r = bus_claim_name(b->bus, BUS_NAME, e);
        if (r >= 0 && m->keeper)
                claim_timesync1(b);
        return r;
}

int time_bus_start(Manager *m, TimeBus **ret)
{
        _cleanup_error_ Error e = {};
        TimeBus *b = g_new0(TimeBus, 1);
        int r;

        b->manager = m;
        r = start(b, &e);
        if (r == -EEXIST && m->conf.role == TIME_ROLE_SERVER) {
                /* Beside a timesyncd-lite that disciplines: the name is that one's, and serving is
                 * what this one is for. */
                log_notice("%s; going on without the bus", error_message(&e, r));
                b->authorizer = authorizer_free(b->authorizer);
                b->bus = sd_bus_flush_close_unref(b->bus);
                r = 0;
        }
        if (r < 0) {
                time_bus_free(b);
                return log_error_errno(r, "%s", error_message(&e, r));
        }
        *ret = b;
        return 0;
}

TimeBus *time_bus_free(TimeBus *b)
{
        if (!b)
                return NULL;
        authorizer_free(b->authorizer);
        sd_bus_flush_close_unref(b->bus);
        g_free(b);
        return NULL;
}

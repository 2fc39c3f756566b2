/*
 * The bus side: the Manager interface, and when changes are told.
 *
 * dbus/org.mapreduced.Master1.xml is the contract. Jobs and workers are served by fallback vtables
 * and enumerators: an object costs the bus nothing until somebody asks. Numbers that change with
 * each task are announced at most every MASTER_ANNOUNCE_USEC for each object; a change of a state
 * goes out at once.
 */
#include "config.h"
#include "mr-masterd/master-manager.h"
#include "platform/bus.h"
#include "platform/log.h"
#include "platform/service.h"

#define MANAGER_INTERFACE "org.mapreduced.Master1.Manager"

static int property_version(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error)
{
        return sd_bus_message_append(reply, "s", MR_VERSION);
}

static int property_epoch(sd_bus *bus, const char *path, const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error)
{
        return sd_bus_message_append(reply, "s", ((Manager *) userdata)->epoch);
}

static int property_address(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error)
{
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", m->address ? m->address : "");
}

static int property_number(sd_bus *bus, const char *path, const char *interface,
                           const char *property, sd_bus_message *reply, void *userdata,
                           sd_bus_error *error)
{
        const Manager *m = userdata;
        uint32_t n;

        if (g_str_equal(property, "JobsActive"))
                n = manager_count_active(m);
        else if (g_str_equal(property, "WorkersAlive"))
                n = manager_count_workers(m, worker_is_alive);
        else if (g_str_equal(property, "Slots"))
                n = scheduler_slots(m->scheduler);
        else
                n = scheduler_slots_used(m->scheduler);
        return sd_bus_message_append(reply, "u", n);
}

static int method_get_job(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        const MasterJob *j;
        const char *id;
        int r;

        r = sd_bus_message_read(message, "s", &id);
        if (r < 0)
                return r;
        j = manager_find_job(userdata, id);
        if (!j)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_JOB, "There is no job %.40s",
                                      id);
        return sd_bus_reply_method_return(message, "o", j->path);
}

static int method_get_worker(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        const MasterWorker *w;
        const char *name;
        unsigned count;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;
        w = manager_find_worker(userdata, name, &count);
        if (!w && count > 1)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_WORKER,
                                      "%u workers are called %.255s: give the id", count, name);
        if (!w)
                return bus_error_setf(ret_error, BUS_ERROR_NO_SUCH_WORKER,
                                      "There is no worker %.255s", name);
        return sd_bus_reply_method_return(message, "o", w->path);
}

static gint compare_workers(gconstpointer a, gconstpointer b)
{
        const MasterWorker *x = *(const MasterWorker *const *) a,
                           *y = *(const MasterWorker *const *) b;

        return x->number < y->number ? -1 : x->number > y->number;
}

static int append_worker(sd_bus_message *reply, const MasterWorker *w)
{
        g_autofree char *reason = worker_state_reason(w);

        return sd_bus_message_append(
                reply, "(sosssuuttsbxt)", w->id, w->path, w->name, w->address, worker_state(w),
                w->slots, scheduler_worker_used(w->manager->scheduler, w->number), w->free_bytes,
                w->last_heard_usec, reason, (int) w->clock.synchronised, w->clock.offset_usec,
                w->clock.offset_bound_usec);
}

static int method_list_workers(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        g_autoptr(GPtrArray) workers = NULL;
        Manager *m = userdata;
        int r;

        workers = g_ptr_array_new();
        {
                GHashTableIter iter;
                gpointer w;

                g_hash_table_iter_init(&iter, m->workers);
                while (g_hash_table_iter_next(&iter, NULL, &w))
                        g_ptr_array_add(workers, w);
        }
        g_ptr_array_sort(workers, compare_workers);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sosssuuttsbxt)");
        for (guint i = 0; r >= 0 && i < workers->len; i++)
                r = append_worker(reply, workers->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("SubmitJob", SD_BUS_ARGS("a{sv}", description, "a{sh}", files),
                                SD_BUS_RESULT("s", id, "o", job), bus_method_submit_job,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SubmitJobWithContents",
                                SD_BUS_ARGS("a{sv}", description, "a(sbay)", files),
                                SD_BUS_RESULT("s", id, "o", job), bus_method_submit_job,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetJob", SD_BUS_ARGS("s", id), SD_BUS_RESULT("o", job),
                                method_get_job, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetWorker", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", worker),
                                method_get_worker, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_ARGS("u", max),
                                SD_BUS_RESULT("a(sossuuuutt)", jobs), bus_method_list_jobs,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListJobsFiltered", SD_BUS_ARGS("a{sv}", filter, "u", max),
                                SD_BUS_RESULT("a(sossuuuuttuuuts)", jobs),
                                bus_method_list_jobs_filtered, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListWorkers", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(sosssuuttsbxt)", workers), method_list_workers,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Epoch", "s", property_epoch, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Address", "s", property_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("JobsActive", "u", property_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WorkersAlive", "u", property_number, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Slots", "u", property_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("SlotsUsed", "u", property_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

/* Without its bus the daemon cannot be asked anything: it ends, and is started again where jobs go
 * on. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        Manager *m = userdata;
        bool peer = g_str_has_prefix(m->conf->bus, "fd:");

        if (!peer)
                log_error("The connection to the bus %s is lost, ending", m->conf->bus);
        loop_exit(m->loop, peer ? EXIT_SUCCESS : EXIT_FAILURE);
        return 0;
}

static int add_objects(Manager *m)
{
        int r;

        r = sd_bus_add_object_vtable(m->bus, NULL, MASTER_PATH, MANAGER_INTERFACE, manager_vtable,
                                     m);
        if (r >= 0)
                r = bus_add_cluster_object(m);
        if (r >= 0)
                r = sd_bus_add_object_manager(m->bus, NULL, MASTER_PATH);
        if (r >= 0)
                r = bus_add_job_objects(m);
        if (r >= 0)
                r = bus_add_worker_objects(m);
        if (r >= 0)
                r = sd_bus_match_signal(m->bus, NULL, "org.freedesktop.DBus.Local",
                                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                        "Disconnected", on_disconnected, m);
        return r;
}

int manager_open_bus(Manager *m, Error *e)
{
        int r;

        r = bus_open(m->loop, m->conf->bus, &m->bus, e);
        if (r < 0 || !m->bus)
                return r;
        m->bus_named = r > 0;
        m->authorizer = authorizer_new(m->loop, m->bus, g_str_equal(m->conf->bus, "system"));
        r = add_objects(m);
        return r < 0 ? error_setf(e, r, "cannot serve the bus: %s", error_text(r)) : 0;
}

/* Last of all: who finds the name finds a master that workers can reach, with its jobs. */
int manager_claim_name(Manager *m, Error *e)
{
        return m->bus_named ? bus_claim_name(m->bus, MASTER_BUS_NAME, e) : 0;
}

static void announce_manager(Manager *m)
{
        unsigned skewed = manager_count_workers(m, worker_is_skewed);
        g_autofree char *clocks = NULL;

        if (m->bus)
                (void) sd_bus_emit_properties_changed(m->bus, MASTER_PATH, MANAGER_INTERFACE,
                                                      "JobsActive", "WorkersAlive", "Slots",
                                                      "SlotsUsed", NULL);
        if (skewed > 0)
                clocks = g_strdup_printf(", clocks wrong: %u", skewed);
        service_status("%u jobs active, %u workers alive, %u of %u slots in use%s",
                       manager_count_active(m), manager_count_workers(m, worker_is_alive),
                       scheduler_slots_used(m->scheduler), scheduler_slots(m->scheduler),
                       clocks ? clocks : "");
}

/* Whether an object's changes go out now; else *next_usec is brought forward to when they may. */
static bool is_due(unsigned changed, uint64_t *announced_usec, uint64_t now, uint64_t *next_usec)
{
        if (changed == 0)
                return false;
        if (!(changed & CHANGED_STATE) && now < *announced_usec + MASTER_ANNOUNCE_USEC) {
                *next_usec = MIN(*next_usec, *announced_usec + MASTER_ANNOUNCE_USEC);
                return false;
        }
        *announced_usec = now;
        return true;
}

static void announce_workers(Manager *m, uint64_t now, uint64_t *next_usec)
{
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                MasterWorker *w = p;
                uint32_t used = scheduler_worker_used(m->scheduler, w->number);

                if (used != w->announced_used) {
                        w->changed |= CHANGED_NUMBERS;
                        m->changed |= CHANGED_NUMBERS;
                }
                if (!is_due(w->changed, &w->announced_usec, now, next_usec))
                        continue;
                w->announced_used = used;
                bus_announce_worker(w);
                w->changed = 0;
        }
}

void manager_announce(Manager *m)
{
        uint64_t now = manager_now(m), next = USEC_INFINITY;

        for (guint i = 0; i < m->by_age->len; i++) {
                MasterJob *j = m->by_age->pdata[i];

                if (!is_due(j->changed, &j->announced_usec, now, &next))
                        continue;
                bus_announce_job(j);
                j->changed = 0;
        }
        announce_workers(m, now, &next);
        if (is_due(m->changed, &m->announced_usec, now, &next)) {
                announce_manager(m);
                m->changed = 0;
        }
        if (next == USEC_INFINITY)
                loop_timer_stop(m->announce_timer);
        else
                loop_timer_start(m->announce_timer, next - now);
}

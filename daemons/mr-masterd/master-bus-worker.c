/*
 * Workers on the bus: /org/mapreduced/Master1/worker/ID.
 */
#include "mr-masterd/master-manager.h"

#define WORKER_INTERFACE "org.mapreduced.Master1.Worker"
#define WORKER_PREFIX MASTER_PATH "/worker"

static int property_text(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        const MasterWorker *w = userdata;
        const char *s;

        if (g_str_equal(property, "Id"))
                s = w->id;
        else if (g_str_equal(property, "Name"))
                s = w->name;
        else if (g_str_equal(property, "Address"))
                s = w->address;
        else
                s = worker_state(w);
        return sd_bus_message_append(reply, "s", s);
}

static int property_state_reason(sd_bus *bus, const char *path, const char *interface,
                                 const char *property, sd_bus_message *reply, void *userdata,
                                 sd_bus_error *error)
{
        g_autofree char *reason = worker_state_reason(userdata);

        return sd_bus_message_append(reply, "s", reason);
}

static int property_slots(sd_bus *bus, const char *path, const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error)
{
        const MasterWorker *w = userdata;
        bool used = g_str_equal(property, "SlotsUsed");

        return sd_bus_message_append(reply, "u",
                                     used ? scheduler_worker_used(w->manager->scheduler, w->number)
                                          : w->slots);
}

static int property_drained(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error)
{
        return sd_bus_message_append(reply, "b", (int) ((const MasterWorker *) userdata)->drained);
}

static int property_clock_synchronised(sd_bus *bus, const char *path, const char *interface,
                                       const char *property, sd_bus_message *reply, void *userdata,
                                       sd_bus_error *error)
{
        return sd_bus_message_append(reply, "b",
                                     (int) ((const MasterWorker *) userdata)->clock.synchronised);
}

static int set_drained(sd_bus_message *message, MasterWorker *w, bool drained,
                       sd_bus_error *ret_error)
{
        int r;

        r = bus_authorise(w->manager, message, ACTION_MANAGE_WORKERS, NULL, ret_error);
        if (r < 0)
                return r;
        if (r == 0)
                return 1;
        worker_set_drained(w, drained);
        r = manager_commit(w->manager, true); /* who was answered finds it so after a power cut */
        return r < 0 ? r : sd_bus_reply_method_return(message, "");
}

static int method_drain(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        return set_drained(message, userdata, true, ret_error);
}

static int method_resume(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
        return set_drained(message, userdata, false, ret_error);
}

static const sd_bus_vtable worker_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Drain", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_drain,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_resume,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Id", "s", property_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Name", "s", property_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Address", "s", property_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Drained", "b", property_drained, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", property_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("StateReason", "s", property_state_reason, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Slots", "u", property_slots, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("SlotsUsed", "u", property_slots, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("FreeBytes", "t", NULL, offsetof(MasterWorker, free_bytes), 0),
        SD_BUS_PROPERTY("ClockSynchronised", "b", property_clock_synchronised, 0, 0),
        SD_BUS_PROPERTY("ClockErrorUSec", "t", NULL, offsetof(MasterWorker, clock.error_usec), 0),
        SD_BUS_PROPERTY("ClockOffsetUSec", "x", NULL, offsetof(MasterWorker, clock.offset_usec), 0),
        SD_BUS_PROPERTY("ClockOffsetBoundUSec", "t", NULL,
                        offsetof(MasterWorker, clock.offset_bound_usec), 0),
        SD_BUS_PROPERTY("Load", "d", NULL, offsetof(MasterWorker, load), 0),
        SD_BUS_PROPERTY("LastHeardUSec", "t", NULL, offsetof(MasterWorker, last_heard_usec), 0),
        SD_BUS_VTABLE_END,
};

static int find_worker(sd_bus *bus, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        MasterWorker *w;

        if (!g_str_has_prefix(path, WORKER_PREFIX "/"))
                return 0;
        w = g_hash_table_lookup(m->workers, path + strlen(WORKER_PREFIX "/"));
        if (!w)
                return 0;
        *ret_found = w;
        return 1;
}

static int enumerate_workers(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes,
                             sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        char **nodes = calloc(g_hash_table_size(m->workers) + 1, sizeof(char *));
        GHashTableIter iter;
        gpointer w;
        size_t i = 0;

        if (!nodes)
                return -ENOMEM;
        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w)) {
                nodes[i] = strdup(((MasterWorker *) w)->path);
                if (nodes[i])
                        i++;
        }
        *ret_nodes = nodes;
        return 0;
}

int bus_add_worker_objects(Manager *m)
{
        int r;

        r = sd_bus_add_fallback_vtable(m->bus, NULL, WORKER_PREFIX, WORKER_INTERFACE, worker_vtable,
                                       find_worker, m);
        return r < 0 ? r
                     : sd_bus_add_node_enumerator(m->bus, NULL, WORKER_PREFIX, enumerate_workers,
                                                  m);
}

void bus_worker_added(MasterWorker *w)
{
        if (w->manager->bus)
                (void) sd_bus_emit_object_added(w->manager->bus, w->path);
}

void bus_worker_removed(MasterWorker *w)
{
        if (w->manager->bus)
                (void) sd_bus_emit_object_removed(w->manager->bus, w->path);
}

void bus_announce_worker(MasterWorker *w)
{
        if (w->manager->bus)
                (void) sd_bus_emit_properties_changed(w->manager->bus, w->path, WORKER_INTERFACE,
                                                      "Name", "Address", "State", "StateReason",
                                                      "Drained", "Slots", "SlotsUsed", NULL);
}

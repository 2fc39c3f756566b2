/*
 * The worker on the bus — see worker-bus.h.
 */
#include "config.h"
#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-bus.h"
#include "mr-workerd/worker-master.h"
#include "platform/bus.h"

#define BUS_NAME "org.mapreduced.Worker1"
#define OBJECT_PATH "/org/mapreduced/Worker1"
#define INTERFACE "org.mapreduced.Worker1.Manager"
/* Slots change with every task; those who watch need not see each of a thousand a second. */
#define ANNOUNCE_USEC (100 * USEC_PER_MSEC)

struct WorkerBus {
        Manager *manager;
        sd_bus *bus;
        LoopTimer *announce;
        bool announcing;
};

static int method_list_attempts(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *manager = userdata;
        GHashTableIter it;
        gpointer attempt;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ssuusd)");
        g_hash_table_iter_init(&it, manager->attempts);
        while (r >= 0 && g_hash_table_iter_next(&it, NULL, &attempt)) {
                AttemptInfo i = attempt_info(attempt);

                r = sd_bus_message_append(reply, "(ssuusd)", i.job_id, i.kind, i.task, i.attempt,
                                          i.phase, i.fraction);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static const char *text_of(const Manager *m, const char *property)
{
        if (g_str_equal(property, "Version"))
                return MR_VERSION;
        if (g_str_equal(property, "Id"))
                return spool_worker_id(m->spool);
        if (g_str_equal(property, "Name"))
                return m->conf.name;
        if (g_str_equal(property, "Address"))
                return m->address;
        if (g_str_equal(property, "MasterAddress"))
                return m->conf.master ? m->conf.master : "";
        if (g_str_equal(property, "State"))
                return master_link_is_registered(m->master) ? "registered" : "connecting";
        return master_link_reason(m->master); /* StateReason */
}

static int property_get_text(sd_bus *bus, const char *path, const char *interface,
                             const char *property, sd_bus_message *reply, void *userdata,
                             sd_bus_error *ret_error)
{
        return sd_bus_message_append(reply, "s", text_of(userdata, property));
}

static int property_get_u32(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        uint32_t v;

        if (g_str_equal(property, "Slots"))
                v = m->conf.slots;
        else if (g_str_equal(property, "SlotsUsed"))
                v = task_pool_busy(m->pool);
        else
                v = spool_outputs_held(m->spool);
        return sd_bus_message_append(reply, "u", v);
}

static int property_get_u64(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *ret_error)
{
        const Manager *m = userdata;
        uint64_t v;

        if (g_str_equal(property, "AttemptsFinished"))
                v = m->attempts_finished;
        else if (g_str_equal(property, "AttemptsFailed"))
                v = m->attempts_failed;
        else
                v = spool_output_bytes(m->spool);
        return sd_bus_message_append(reply, "t", v);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("ListAttempts", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(ssuusd)", attempts), method_list_attempts,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Id", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Name", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Address", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MasterAddress", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", property_get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("StateReason", "s", property_get_text, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Slots", "u", property_get_u32, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("SlotsUsed", "u", property_get_u32, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("AttemptsFinished", "t", property_get_u64, 0, 0),
        SD_BUS_PROPERTY("AttemptsFailed", "t", property_get_u64, 0, 0),
        SD_BUS_PROPERTY("OutputsHeld", "u", property_get_u32, 0, 0),
        SD_BUS_PROPERTY("OutputBytes", "t", property_get_u64, 0, 0),
        SD_BUS_VTABLE_END,
};

static void on_announce(void *userdata)
{
        WorkerBus *b = userdata;

        b->announcing = false;
        (void) sd_bus_emit_properties_changed(b->bus, OBJECT_PATH, INTERFACE, "State",
                                              "StateReason", "SlotsUsed", NULL);
}

void worker_bus_changed(WorkerBus *b)
{
        if (!b || !b->bus || b->announcing)
                return;
        b->announcing = true;
        loop_timer_start(b->announce, ANNOUNCE_USEC);
}

static int start(WorkerBus *b, Error *e)
{
        Manager *m = b->manager;
        g_autofree char *name = NULL;
        int named, r;

        named = bus_open(m->loop, m->conf.bus, &b->bus, e);
        if (named < 0 || !b->bus)
                return named;
        r = loop_timer_new(m->loop, on_announce, b, &b->announce);
        if (r < 0)
                return r;
        r = sd_bus_add_object_vtable(b->bus, NULL, OBJECT_PATH, INTERFACE, vtable, m);
        if (r < 0)
                return error_setf(e, r, "cannot show the object on the bus: %s", error_text(r));
        if (named == 0)
                return 0;
        name = m->conf.instance ? g_strdup_printf("%s.%s", BUS_NAME, m->conf.instance)
                                : g_strdup(BUS_NAME);
        return bus_claim_name(b->bus, name, e);
}

int worker_bus_start(Manager *m, WorkerBus **ret)
{
        _cleanup_error_ Error e = {};
        WorkerBus *b = g_new0(WorkerBus, 1);
        int r;

        *b = (WorkerBus){.manager = m};
        r = start(b, &e);
        if (r < 0) {
                worker_bus_free(b);
                return log_error_errno(r, "%s", error_message(&e, r));
        }
        *ret = b;
        return 0;
}

WorkerBus *worker_bus_free(WorkerBus *b)
{
        if (!b)
                return NULL;
        sd_bus_flush_close_unref(b->bus);
        loop_timer_free(b->announce);
        g_free(b);
        return NULL;
}

/*
 * mrctl workers — who is there to do the work.
 */
#include "base/parse.h"
#include "cli/master.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

enum {
        NAME,
        STATE,
        ADDRESS,
        SLOTS,
        SLOTS_USED,
        FREE,
        HEARD,
        CLOCK,
        SYNCHRONISED,
        CLOCK_BOUND,
        REASON,
        ID,
        COLUMNS
};

static const Column columns[COLUMNS] = {
        [NAME] = {"WORKER", "Name", .truncate = true},
        [STATE] = {"STATE", "State"},
        [ADDRESS] = {"ADDRESS", "Address", .truncate = true},
        [SLOTS] = {"SLOTS", "Slots", .right = true},
        [SLOTS_USED] = {"USED", "SlotsUsed", .right = true},
        [FREE] = {"FREE", "FreeBytes", .right = true},
        [HEARD] = {"HEARD", "LastHeardUSec", .truncate = true},
        [REASON] = {"REASON", "StateReason", .truncate = true},
        [CLOCK] = {"CLOCK", "ClockOffsetUSec", .truncate = true, .right = true},
        [SYNCHRONISED] = {NULL, "ClockSynchronised"},
        [CLOCK_BOUND] = {NULL, "ClockOffsetBoundUSec"},
        [ID] = {NULL, "Id"},
};

/*
 * How far the worker's clock is off the master's: "+1.500ms" is ahead. A star: its kernel says that
 * nothing keeps it.
 */
static char *format_clock(int64_t offset_usec, uint64_t bound_usec, bool synchronised)
{
        if (bound_usec == 0)
                return g_strdup(synchronised ? "-" : "-*");
        return g_strdup_printf("%+.3fms%s", (double) -offset_usec / 1e3, synchronised ? "" : "*");
}

static int add_worker(Table *t, sd_bus_message *m)
{
        const char *id, *path, *name, *address, *state, *reason;
        uint32_t slots, slots_used;
        uint64_t free_bytes, heard, bound;
        int64_t offset;
        int synchronised, r;

        r = sd_bus_message_read(m, "(sosssuuttsbxt)", &id, &path, &name, &address, &state, &slots,
                                &slots_used, &free_bytes, &heard, &reason, &synchronised, &offset,
                                &bound);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set_text(t, ID, id);
        table_set_text(t, NAME, name);
        table_set_state(t, STATE, state);
        table_set_text(t, ADDRESS, address);
        table_set_number(t, SLOTS, slots);
        table_set_number(t, SLOTS_USED, slots_used);
        table_set(t, FREE, format_size(free_bytes), json_integer((json_int_t) free_bytes));
        table_set(t, HEARD, format_ago(heard), json_integer((json_int_t) heard));
        table_set_text(t, REASON, reason);
        table_set(t, CLOCK, format_clock(offset, bound, synchronised),
                  bound > 0 ? json_integer((json_int_t) offset) : json_null());
        table_set(t, SYNCHRONISED, NULL, json_boolean(synchronised));
        table_set(t, CLOCK_BOUND, NULL, bound > 0 ? json_integer((json_int_t) bound) : json_null());
        return 1;
}

int verb_workers(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "workers", a);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = master_call(&m, MASTER_PATH, MASTER_INTERFACE, "ListWorkers", &reply, &e, NULL);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        r = sd_bus_message_enter_container(reply, 'a', "(sosssuuttsbxt)");
        while (r > 0)
                r = add_worker(t, reply);
        if (r < 0)
                return complain("%s", error_message(&e, master_bad_reply(r, &e)));
        return table_print(t);
}

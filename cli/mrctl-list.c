/*
 * mrctl list — the newest jobs, newest first.
 */
#include "cli/job.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

enum {
        ID,
        NAME,
        STATE,
        MAPS,
        MAPS_DONE,
        REDUCES,
        REDUCES_DONE,
        SUBMITTED,
        FINISHED,
        TIME,
        COLUMNS
};

static const Column columns[COLUMNS] = {
        [ID] = {"JOB", "Id", .right = true},
        [NAME] = {"NAME", "Name", .truncate = true},
        [STATE] = {"STATE", "State"},
        [MAPS] = {"MAPS", "Maps", .right = true},
        [MAPS_DONE] = {NULL, "MapsDone"},
        [REDUCES] = {"REDUCES", "Reduces", .right = true},
        [REDUCES_DONE] = {NULL, "ReducesDone"},
        [SUBMITTED] = {"SUBMITTED", "SubmittedUSec", .truncate = true},
        [FINISHED] = {NULL, "FinishedUSec"},
        [TIME] = {"TIME", NULL, .right = true},
};

static void set_done_of(Table *t, size_t column, uint32_t done, uint32_t all)
{
        table_set(t, column, g_strdup_printf("%u/%u", done, all), json_integer(all));
}

static int add_job(Table *t, sd_bus_message *m, const Arguments *a)
{
        uint32_t maps, maps_done, reduces, reduces_done;
        const char *id, *path, *name, *state;
        uint64_t submitted, finished;
        int r;

        r = sd_bus_message_read(m, "(sossuuuutt)", &id, &path, &name, &state, &maps, &maps_done,
                                &reduces, &reduces_done, &submitted, &finished);
        if (r <= 0)
                return r;
        if (!arguments_want_state(a, state))
                return 1;
        table_add_row(t);
        table_set_text(t, ID, id);
        table_set_text(t, NAME, name);
        table_set_state(t, STATE, state);
        set_done_of(t, MAPS, maps_done, maps);
        table_set_number(t, MAPS_DONE, maps_done);
        set_done_of(t, REDUCES, reduces_done, reduces);
        table_set_number(t, REDUCES_DONE, reduces_done);
        table_set(t, SUBMITTED, format_time(submitted), json_integer((json_int_t) submitted));
        table_set_number(t, FINISHED, finished);
        table_set(t, TIME, format_duration(submitted, finished), NULL);
        return 1;
}

int verb_list(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "jobs", a);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = master_call(&m, MASTER_PATH, MASTER_INTERFACE, "ListJobs", &reply, &e, "u",
                                (uint32_t) 0);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        r = sd_bus_message_enter_container(reply, 'a', "(sossuuuutt)");
        while (r > 0)
                r = add_job(t, reply, a);
        if (r < 0)
                return complain("%s", error_message(&e, master_bad_reply(r, &e)));
        return table_print(t);
}

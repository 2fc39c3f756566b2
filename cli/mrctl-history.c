/*
 * mrctl history — jobs that are over, the newest first, with what they cost.
 */
#include <pwd.h>

#include "base/parse.h"
#include "cli/master.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

#define PAGE 1000U /* jobs in one reply: the most that the master gives */
#define ROW "(sossuuuuttuuuts)"

enum {
        ID,
        NAME,
        USER,
        UID,
        STATE,
        MAPS,
        MAPS_DONE,
        REDUCES,
        REDUCES_DONE,
        INPUT,
        FAILED,
        LOST,
        SUBMITTED,
        FINISHED,
        TIME,
        PROGRAM,
        COLUMNS
};

static const Column columns[COLUMNS] = {
        [ID] = {"JOB", "Id", .right = true},
        [NAME] = {"NAME", "Name", .truncate = true},
        [USER] = {"USER", NULL, .truncate = true},
        [UID] = {NULL, "UID"},
        [STATE] = {"STATE", "State"},
        [MAPS] = {"MAPS", "Maps", .right = true},
        [MAPS_DONE] = {NULL, "MapsDone"},
        [REDUCES] = {"REDUCES", "Reduces", .right = true},
        [REDUCES_DONE] = {NULL, "ReducesDone"},
        [INPUT] = {"INPUT", "InputBytes", .right = true},
        [FAILED] = {"FAILED", "AttemptsFailed", .right = true},
        [LOST] = {"LOST", "AttemptsLost", .right = true},
        [SUBMITTED] = {"SUBMITTED", "SubmittedUSec", .truncate = true},
        [FINISHED] = {NULL, "FinishedUSec"},
        [TIME] = {"TIME", NULL, .right = true},
        [PROGRAM] = {NULL, "Program"},
};

static char *user_name(uint32_t uid)
{
        struct passwd *user = getpwuid(uid);

        return user ? g_strdup(user->pw_name) : g_strdup_printf("%u", uid);
}

/* @ret_id: of the row, for the next page; owned by the caller. */
static int add_job(Table *t, sd_bus_message *m, char **ret_id)
{
        uint32_t maps, maps_done, reduces, reduces_done, uid, failed, lost;
        const char *id, *path, *name, *state, *program;
        uint64_t submitted, finished, input_bytes;
        int r;

        r = sd_bus_message_read(m, ROW, &id, &path, &name, &state, &maps, &maps_done, &reduces,
                                &reduces_done, &submitted, &finished, &uid, &failed, &lost,
                                &input_bytes, &program);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set_text(t, ID, id);
        table_set_text(t, NAME, name);
        table_set(t, USER, user_name(uid), NULL);
        table_set_number(t, UID, uid);
        table_set_state(t, STATE, state);
        table_set_number(t, MAPS, maps);
        table_set_number(t, MAPS_DONE, maps_done);
        table_set_number(t, REDUCES, reduces);
        table_set_number(t, REDUCES_DONE, reduces_done);
        table_set(t, INPUT, format_size(input_bytes), json_integer((json_int_t) input_bytes));
        table_set_number(t, FAILED, failed);
        table_set_number(t, LOST, lost);
        table_set(t, SUBMITTED, format_time(submitted), json_integer((json_int_t) submitted));
        table_set_number(t, FINISHED, finished);
        table_set(t, TIME, format_duration(submitted, finished), NULL);
        table_set_text(t, PROGRAM, program);
        g_free(*ret_id);
        *ret_id = g_strdup(id);
        return 1;
}

static int append_states(sd_bus_message *m, const GPtrArray *states)
{
        static const char *const over[] = {"done", "failed", "cancelled"};
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "State");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (guint i = 0; i < states->len && r >= 0; i++)
                r = sd_bus_message_append(m, "s", (const char *) states->pdata[i]);
        for (size_t i = 0; i < ELEMENTSOF(over) && states->len == 0 && r >= 0; i++)
                r = sd_bus_message_append(m, "s", over[i]);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_filter(sd_bus_message *m, const Arguments *a, uint32_t uid, const char *before)
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_states(m, a->states);
        if (r >= 0 && a->job.name)
                r = sd_bus_message_append(m, "{sv}", "Name", "s", a->job.name);
        if (r >= 0 && a->user)
                r = sd_bus_message_append(m, "{sv}", "UID", "u", uid);
        if (r >= 0 && a->since_usec > 0)
                r = sd_bus_message_append(m, "{sv}", "Since", "t", a->since_usec);
        if (r >= 0 && a->until_usec > 0)
                r = sd_bus_message_append(m, "{sv}", "Until", "t", a->until_usec);
        if (r >= 0 && before)
                r = sd_bus_message_append(m, "{sv}", "Before", "s", before);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Return: how many rows the page had, or negative errno with a message. */
static int add_page(Table *t, Master *m, const Arguments *a, uint32_t uid, uint32_t max,
                    char **before, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        int r, n = 0;

        r = sd_bus_message_new_method_call(m->bus, &call, m->name, MASTER_PATH, MASTER_INTERFACE,
                                           "ListJobsFiltered");
        if (r >= 0)
                r = append_filter(call, a, uid, *before);
        if (r >= 0)
                r = sd_bus_message_append(call, "u", max);
        if (r < 0)
                return error_setf(e, r, "cannot send the filter: %s", error_text(r));
        r = master_send(m, call, &reply, e);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', ROW);
        while (r > 0 && (r = add_job(t, reply, before)) > 0)
                n++;
        return r < 0 ? master_bad_reply(r, e) : n;
}

static int find_user(const char *name, uint32_t *ret, Error *e)
{
        struct passwd *user;

        if (!name || parse_u32_range(name, 0, UINT32_MAX - 1, ret) >= 0)
                return 0;
        user = getpwnam(name);
        if (!user)
                return error_setf(e, ENOENT, "there is no user %s here", name);
        *ret = user->pw_uid;
        return 0;
}

int verb_history(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "jobs", a);
        uint32_t left = a->lines > 0 ? a->lines : UINT32_MAX, uid = 0;
        g_autofree char *before = NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int n, r;

        r = find_user(a->user, &uid, &e);
        if (r >= 0)
                r = master_connect(&m, a, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        do {
                uint32_t max = MIN(left, PAGE);

                n = add_page(t, &m, a, uid, max, &before, &e);
                if (n < 0)
                        return complain("%s", error_message(&e, n));
                left -= (uint32_t) n;
                if ((uint32_t) n < max)
                        break;
        } while (left > 0);
        return table_print(t);
}

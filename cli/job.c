/*
 * A job as its bus properties say — see job.h.
 */
#include "cli/job-properties.h"

static const char *const signatures[] = {"s", "as", "u", "t", "d", "a{st}"};

const JobProperty job_properties[] = {
        {"Id", TEXT, offsetof(Job, id)},
        {"Name", TEXT, offsetof(Job, name)},
        {"State", TEXT, offsetof(Job, state)},
        {"StateReason", TEXT, offsetof(Job, state_reason)},
        {"Cause", TEXT, offsetof(Job, cause)},
        {"CauseAttempt", TEXT, offsetof(Job, cause_attempt)},
        {"UID", NUMBER, offsetof(Job, uid)},
        {"Input", TEXTS, offsetof(Job, input)},
        {"Output", TEXT, offsetof(Job, output)},
        {"Program", TEXT, offsetof(Job, program)},
        {"ResultOrder", TEXT, offsetof(Job, result_order)},
        {"Maps", NUMBER, offsetof(Job, maps)},
        {"MapsRunning", NUMBER, offsetof(Job, maps_running)},
        {"MapsDone", NUMBER, offsetof(Job, maps_done)},
        {"Reduces", NUMBER, offsetof(Job, reduces)},
        {"ReducesRunning", NUMBER, offsetof(Job, reduces_running)},
        {"ReducesDone", NUMBER, offsetof(Job, reduces_done)},
        {"MapProgress", REAL, offsetof(Job, map_progress)},
        {"ShuffleProgress", REAL, offsetof(Job, shuffle_progress)},
        {"ReduceProgress", REAL, offsetof(Job, reduce_progress)},
        {"EventCount", BIG, offsetof(Job, event_count)},
        {"AttemptsFailed", NUMBER, offsetof(Job, attempts_failed)},
        {"AttemptsLost", NUMBER, offsetof(Job, attempts_lost)},
        {"MapOutputsLost", NUMBER, offsetof(Job, map_outputs_lost)},
        {"InputBytes", BIG, offsetof(Job, input_bytes)},
        {"Counters", COUNTERS, offsetof(Job, counters)},
        {"ErrorOutput", TEXT, offsetof(Job, error_output)},
        {"SubmittedUSec", BIG, offsetof(Job, submitted_usec)},
        {"StartedUSec", BIG, offsetof(Job, started_usec)},
        {"FinishedUSec", BIG, offsetof(Job, finished_usec)},
};
const size_t job_property_count = ELEMENTSOF(job_properties);

static void counter_clear(void *p)
{
        g_free(((JobCounter *) p)->name);
}

static int read_counters(sd_bus_message *m, GArray **target)
{
        g_autoptr(GArray) counters = g_array_new(FALSE, FALSE, sizeof(JobCounter));
        const char *name;
        uint64_t value;
        int r;

        g_array_set_clear_func(counters, counter_clear);
        r = sd_bus_message_enter_container(m, 'a', "{st}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "{st}", &name, &value)) > 0) {
                JobCounter c = {.name = g_strdup(name), .value = value};

                g_array_append_val(counters, c);
        }
        if (r < 0)
                return r;
        g_clear_pointer(target, g_array_unref);
        *target = TAKE_PTR(counters);
        return sd_bus_message_exit_container(m);
}

static int read_texts(sd_bus_message *m, char ***target)
{
        char **list = NULL;
        int r;

        r = sd_bus_message_read_strv(m, &list);
        if (r < 0)
                return r;
        g_strfreev(*target);
        *target = list ? list : g_new0(char *, 1);
        return 0;
}

static int read_value(sd_bus_message *m, PropertyType type, void *target)
{
        const char *s;
        int r;

        switch (type) {
        case TEXT:
                r = sd_bus_message_read(m, "s", &s);
                if (r < 0)
                        return r;
                g_free(*(char **) target);
                *(char **) target = g_strdup(s);
                return 0;
        case TEXTS:
                return read_texts(m, target);
        case NUMBER:
                return sd_bus_message_read(m, "u", target);
        case BIG:
                return sd_bus_message_read(m, "t", target);
        case REAL:
                return sd_bus_message_read(m, "d", target);
        case COUNTERS:
                return read_counters(m, target);
        default:
                g_assert_not_reached();
        }
}

/* A property that a newer master has, and we do not know, is skipped. */
static int read_property(sd_bus_message *m, Job *j)
{
        const char *name;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        for (size_t i = 0; i < job_property_count; i++) {
                PropertyType type = job_properties[i].type;

                if (!g_str_equal(name, job_properties[i].name))
                        continue;
                r = sd_bus_message_enter_container(m, 'v', signatures[type]);
                if (r >= 0)
                        r = read_value(m, type, field(j, i));
                return r < 0 ? r : sd_bus_message_exit_container(m);
        }
        return sd_bus_message_skip(m, "v");
}

static int read_properties(sd_bus_message *m, Job *j)
{
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_property(m, j);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* What a master did not send is empty, never NULL. */
static void fill_gaps(Job *j)
{
        for (size_t i = 0; i < job_property_count; i++) {
                void **target = field(j, i);

                if (job_properties[i].type == TEXT && !*target)
                        *target = g_strdup("");
                else if (job_properties[i].type == TEXTS && !*target)
                        *target = g_new0(char *, 1);
                else if (job_properties[i].type == COUNTERS && !*target)
                        *target = g_array_new(FALSE, FALSE, sizeof(JobCounter));
        }
}

int job_read(Master *m, const char *path, Job **ret, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(job_freep) Job *j = g_new0(Job, 1);
        int r;

        r = master_call(m, path, "org.freedesktop.DBus.Properties", "GetAll", &reply, e, "s",
                        JOB_INTERFACE);
        if (r < 0)
                return r;
        r = read_properties(reply, j);
        if (r < 0)
                return master_bad_reply(r, e);
        j->path = g_strdup(path);
        fill_gaps(j);
        *ret = TAKE_PTR(j);
        return 0;
}

int job_read_by_id(Master *m, const char *id, Job **ret, Error *e)
{
        _cleanup_free_ char *path = NULL;
        int r;

        r = master_find(m, "GetJob", id, &path, e);
        return r < 0 ? r : job_read(m, path, ret, e);
}

int job_reread(Master *m, Job *j, Error *e)
{
        Job *new = NULL;
        int r;

        r = job_read(m, j->path, &new, e);
        if (r < 0)
                return r;
        {
                Job old = *j;
                *j = *new;
                *new = old;
        }
        job_free(new);
        return 0;
}

int job_update(Job *j, sd_bus_message *m)
{
        const char *interface;
        int r;

        r = sd_bus_message_read(m, "s", &interface);
        if (r < 0)
                return r;
        if (!g_str_equal(interface, JOB_INTERFACE))
                return 0;
        r = read_properties(m, j);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        return sd_bus_message_at_end(m, false) == 0;
}

Job *job_free(Job *j)
{
        if (!j)
                return NULL;
        for (size_t i = 0; i < job_property_count; i++) {
                void **target = field(j, i);

                if (job_properties[i].type == TEXT)
                        g_free(*target);
                else if (job_properties[i].type == TEXTS)
                        g_strfreev(*target);
                else if (job_properties[i].type == COUNTERS && *target)
                        g_array_unref(*target);
        }
        g_free(j->path);
        g_free(j);
        return NULL;
}

bool job_is_done(const Job *j)
{
        return g_str_equal(j->state, "done");
}

bool job_is_over(const Job *j)
{
        return job_is_done(j) || g_str_equal(j->state, "failed") ||
               g_str_equal(j->state, "cancelled");
}

/*
 * mrctl time status, servers, samples, sync, step, set-servers — over the bus, from this host's
 * timesyncd-lite.
 */
#include <inttypes.h>

#include "base/parse.h"
#include "cli/master.h"
#include "cli/mrctl-time.h"
#include "cli/print.h"
#include "cli/table.h"

#define NAME "org.mapreduced.TimeSync1"
#define PATH "/org/mapreduced/TimeSync1"
#define INTERFACE "org.mapreduced.TimeSync1.Manager"

static int explain(const sd_bus_error *error, int r, Error *e)
{
        if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN,
                                   SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return error_setf(e, r,
                                  "no timesyncd-lite on this bus (systemctl start timesyncd-lite; "
                                  "'mrctl time query SERVER' needs none)");
        return master_explain(NULL, error, r, e);
}

static int call(Master *m, const char *interface, const char *method, sd_bus_message **ret,
                Error *e, const char *types, const char *argument)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = types ? sd_bus_call_method(m->bus, NAME, PATH, interface, method, &error, ret, types,
                                       argument)
                  : sd_bus_call_method(m->bus, NAME, PATH, interface, method, &error, ret, NULL);
        return r < 0 ? explain(&error, r, e) : 0;
}

/* Connects and calls; the reply is the caller's. */
static int ask(const Arguments *a, Master *m, const char *method, const char *argument,
               sd_bus_message **ret)
{
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(m, a, &e);
        if (r >= 0)
                r = call(m, INTERFACE, method, ret, &e, argument ? "s" : NULL, argument);
        return r < 0 ? complain("%s", error_message(&e, r)) : 0;
}

static int bad_reply(int r)
{
        return complain(
                "the reply of timesyncd-lite cannot be understood: is it of another version? (%s)",
                error_text(r));
}

/* 18446744073709551615 is "unknown". */
static json_t *unsigned_json(uint64_t v)
{
        return v > INT64_MAX ? json_null() : json_integer((json_int_t) v);
}

static char *span_of(uint64_t ns)
{
        return format_span_ns(ns > INT64_MAX ? INT64_MAX : (int64_t) ns);
}

/* ---- status ---- */

static int read_value(sd_bus_message *m, json_t **ret)
{
        const char *text, *contents;
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        double d;
        char type;
        int b, r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        switch (type) {
        case 's':
                r = sd_bus_message_read(m, "s", &text);
                *ret = r < 0 ? NULL : json_string(text);
                return r;
        case 'b':
                r = sd_bus_message_read(m, "b", &b);
                *ret = r < 0 ? NULL : json_boolean(b);
                return r;
        case 't':
                r = sd_bus_message_read(m, "t", &u64);
                *ret = r < 0 ? NULL : unsigned_json(u64);
                return r;
        case 'x':
                r = sd_bus_message_read(m, "x", &i64);
                *ret = r < 0 ? NULL : json_integer((json_int_t) i64);
                return r;
        case 'u':
                r = sd_bus_message_read(m, "u", &u32);
                *ret = r < 0 ? NULL : json_integer(u32);
                return r;
        case 'd':
                r = sd_bus_message_read(m, "d", &d);
                *ret = r < 0 ? NULL : json_real(d);
                return r;
        case 'a':
                *ret = json_array();
                r = sd_bus_message_enter_container(m, 'a', "s");
                while (r > 0 && (r = sd_bus_message_read(m, "s", &text)) > 0)
                        (void) json_array_append_new(*ret, json_string(text));
                return r < 0 ? r : sd_bus_message_exit_container(m);
        default:
                return -EBADMSG;
        }
}

/* a{sv}, of the types that our properties have. */
static int read_properties(sd_bus_message *m, json_t *ret)
{
        const char *name, *contents;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                json_t *v = NULL;

                r = sd_bus_message_read(m, "s", &name);
                if (r >= 0)
                        r = sd_bus_message_peek_type(m, NULL, &contents);
                if (r >= 0)
                        r = sd_bus_message_enter_container(m, 'v', contents);
                if (r >= 0)
                        r = read_value(m, &v);
                if (r >= 0)
                        (void) json_object_set_new(ret, name, v);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r >= 0)
                        r = 1;
        }
        return r;
}

static const char *text(const json_t *o, const char *name)
{
        const char *s = json_string_value(json_object_get(o, name));

        return s && *s ? s : "-";
}

static int64_t integer(const json_t *o, const char *name)
{
        const json_t *v = json_object_get(o, name);

        return json_is_integer(v) ? json_integer_value(v) : INT64_MAX;
}

static void print_span(const char *label, int64_t ns, const char *behind)
{
        g_autofree char *s = format_span_ns(ns);

        printf("%16s %s%s\n", label, s, behind);
}

static void print_kernel_stamps(const json_t *o)
{
        const json_t *stamps = json_object_get(o, "KernelStamps");
        size_t count = json_array_size(stamps);

        if (*text(o, "SelectedServer") == '-')
                return;
        printf("%16s", "Kernel stamps:");
        for (size_t i = 0; i < count; i++)
                printf(" %s", json_string_value(json_array_get(stamps, i)));
        printf("%s\n", count == 0  ? " none, the times are the programs'"
                       : count < 4 ? ", the other times are the programs'"
                                   : "");
}

static void print_serving(const json_t *o)
{
        const json_t *listening = json_object_get(o, "Listening");

        for (size_t i = 0; i < json_array_size(listening); i++)
                printf("%16s %s\n", i == 0 ? "Telling it on:" : "",
                       json_string_value(json_array_get(listening, i)));
        if (json_array_size(listening) > 0)
                printf("%16s %" PRId64 " answered, %" PRId64 " asked too often, %" PRId64
                       " refused\n",
                       "", integer(o, "RequestsAnswered"), integer(o, "RequestsLimited"),
                       integer(o, "RequestsRefused"));
}

static void print_status(const json_t *o)
{
        const char *state = text(o, "State");
        int64_t offset_ns = integer(o, "OffsetNSec"), last = integer(o, "SynchronisedUSec");
        g_autofree char *ago = format_ago((uint64_t) last);
        bool colour = wants_colour(fileno(stdout));

        printf("%16s %s%s%s%s\n", "State:", colour ? state_colour(state) : "", state,
               colour ? COLOUR_OFF : "",
               json_is_true(json_object_get(o, "DryRun")) ? " (dry run: a virtual clock)" : "");
        printf("%16s %s\n", "Server:", text(o, "SelectedServer"));
        print_span("Offset:", offset_ns,
                   offset_ns > 0   ? ", our clock is slow"
                   : offset_ns < 0 ? ", our clock is fast"
                                   : "");
        print_span("Bound:", integer(o, "BoundNSec"), "");
        print_span("Expected error:", integer(o, "EstimatedErrorNSec"), "");
        printf("%16s %+.3f ppm, give or take %.3f\n",
               "Frequency:", json_real_value(json_object_get(o, "Frequency")),
               json_real_value(json_object_get(o, "FrequencyError")));
        printf("%16s %" PRId64 "\n", "Stratum:", integer(o, "Stratum"));
        printf("%16s %s\n", "Leap second:", text(o, "Leap"));
        printf("%16s %" PRId64 "\n", "Steps:", integer(o, "Steps"));
        printf("%16s %s\n", "Last answer:", ago);
        print_kernel_stamps(o);
        print_serving(o);
}

int time_status(const Arguments *a)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        json_t *o = json_object();
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = call(&m, "org.freedesktop.DBus.Properties", "GetAll", &reply, &e, "s",
                         INTERFACE);
        if (r < 0) {
                json_decref(o);
                return complain("%s", error_message(&e, r));
        }
        r = read_properties(reply, o);
        if (r < 0) {
                json_decref(o);
                return bad_reply(r);
        }
        if (a->json != JSON_OFF)
                return print_json(o, a->json);
        print_status(o);
        json_decref(o);
        return print_finish();
}

/* ---- servers ---- */

enum {
        ADDRESS,
        STATE,
        OFFSET,
        BOUND,
        RTT,
        JITTER,
        STRATUM,
        DISTANCE,
        POLL,
        REACH,
        SAMPLES,
        HEARD,
        REASON,
        EXPLANATION,
        EXCHANGES,
        ANSWERS,
        SERVER_COLUMNS,
};

static const Column server_columns[SERVER_COLUMNS] = {
        [ADDRESS] = {"SERVER", "Address", .truncate = true},
        [STATE] = {"STATE", "State"},
        [OFFSET] = {"OFFSET", "OffsetNSec", .right = true},
        [BOUND] = {"BOUND", "BoundNSec", .right = true},
        [RTT] = {"ROUND TRIP", "RTTNSec", .right = true},
        [JITTER] = {"JITTER", "JitterNSec", .right = true},
        [STRATUM] = {"STRATUM", "Stratum", .right = true},
        [DISTANCE] = {NULL, "RootDistanceNSec"},
        [POLL] = {"POLL", "PollIntervalUSec", .right = true},
        [REACH] = {"REACH", "Reach", .right = true},
        [SAMPLES] = {"SAMPLES", "Samples", .right = true},
        [HEARD] = {"LAST HEARD", "LastHeardNSec"},
        [REASON] = {NULL, "Reason"},
        [EXPLANATION] = {"WHY NOT", "Explanation", .truncate = true},
        [EXCHANGES] = {NULL, "Exchanges"},
        [ANSWERS] = {NULL, "Answers"},
};

static void set_span(Table *t, size_t column, uint64_t ns)
{
        table_set(t, column, span_of(ns), unsigned_json(ns));
}

static void set_offset(Table *t, size_t column, int64_t ns)
{
        table_set(t, column, format_span_ns(ns), json_integer((json_int_t) ns));
}

static int add_server(Table *t, sd_bus_message *m)
{
        const char *address, *state, *reason, *why;
        uint64_t bound, rtt, distance, jitter, poll, exchanges, answers;
        int64_t offset, heard;
        uint32_t stratum, samples;
        uint8_t reach;
        int r;

        r = sd_bus_message_read(m, "(ssssxttttutyuttx)", &address, &state, &reason, &why, &offset,
                                &bound, &rtt, &distance, &jitter, &stratum, &poll, &reach, &samples,
                                &exchanges, &answers, &heard);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set_text(t, ADDRESS, address);
        table_set_state(t, STATE, state);
        set_offset(t, OFFSET, offset);
        set_span(t, BOUND, bound);
        set_span(t, RTT, rtt);
        set_span(t, JITTER, jitter);
        table_set_number(t, STRATUM, stratum);
        set_span(t, DISTANCE, distance);
        table_set(t, POLL, format_timespan(poll), unsigned_json(poll));
        table_set(t, REACH, g_strdup_printf("%03o", reach), json_integer(reach));
        table_set_number(t, SAMPLES, samples);
        table_set(t, HEARD, format_ago((uint64_t) heard / (uint64_t) NSEC_PER_USEC),
                  json_integer((json_int_t) heard));
        table_set_text(t, REASON, reason);
        table_set(t, EXPLANATION, g_strdup(g_str_equal(reason, "accepted") ? "-" : why),
                  json_string(why));
        table_set_number(t, EXCHANGES, exchanges);
        table_set_number(t, ANSWERS, answers);
        return 1;
}

int time_servers(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(server_columns, SERVER_COLUMNS, "servers", a);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(master_done) Master m = {};
        int r;

        r = ask(a, &m, "ListServers", NULL, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(ssssxttttutyuttx)");
        while (r > 0)
                r = add_server(t, reply);
        return r < 0 ? bad_reply(r) : table_print(t);
}

/* ---- samples ---- */

enum { T4, OUTCOME, SAMPLE_OFFSET, SAMPLE_RTT, SAMPLE_BOUND, KERNEL, T1, T2, T3, SAMPLE_COLUMNS };

static const Column sample_columns[SAMPLE_COLUMNS] = {
        [T4] = {"T4", "T4NSec"},
        [OUTCOME] = {"OUTCOME", "Outcome"},
        [SAMPLE_OFFSET] = {"OFFSET", "OffsetNSec", .right = true},
        [SAMPLE_RTT] = {"ROUND TRIP", "RTTNSec", .right = true},
        [SAMPLE_BOUND] = {"BOUND", "BoundNSec", .right = true},
        [KERNEL] = {"BY KERNEL", "KernelStamps"},
        [T1] = {NULL, "T1NSec"},
        [T2] = {NULL, "T2NSec"},
        [T3] = {NULL, "T3NSec"},
};

/* Which of the four times are the kernel's. */
static void set_kernel_stamps(Table *t, const int kernel[static 4])
{
        GString *text = g_string_new(NULL);
        json_t *list = json_array();

        for (int i = 0; i < 4; i++) {
                char name[8];

                if (!kernel[i])
                        continue;
                g_snprintf(name, sizeof(name), "T%d", i + 1);
                g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "", name);
                (void) json_array_append_new(list, json_string(name));
        }
        table_set(t, KERNEL, g_string_free(text, text->len == 0) ?: g_strdup("-"), list);
}

static int add_sample(Table *t, sd_bus_message *m)
{
        static const size_t columns[] = {T1, T2, T3};
        const char *outcome;
        int64_t at[4], offset;
        uint64_t rtt, bound;
        int kernel[4], r;

        r = sd_bus_message_read(m, "(sxxxxxttbbbb)", &outcome, &at[0], &at[1], &at[2], &at[3],
                                &offset, &rtt, &bound, &kernel[0], &kernel[1], &kernel[2],
                                &kernel[3]);
        if (r <= 0)
                return r;
        table_add_row(t);
        table_set(t, T4, format_clock_ns(at[3]), json_integer((json_int_t) at[3]));
        for (size_t i = 0; i < ELEMENTSOF(columns); i++)
                table_set(t, columns[i], NULL, json_integer((json_int_t) at[i]));
        table_set_state(t, OUTCOME, outcome);
        set_offset(t, SAMPLE_OFFSET, offset);
        set_span(t, SAMPLE_RTT, rtt);
        set_span(t, SAMPLE_BOUND, bound);
        set_kernel_stamps(t, kernel);
        return 1;
}

/* Without a server: of the one that is followed. */
static int find_server(const Arguments *a, char **ret)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int r;

        if (a->operands->len > 1) {
                *ret = strdup(a->operands->pdata[1]);
                return 0;
        }
        r = master_connect(&m, a, &e);
        if (r >= 0) {
                r = sd_bus_get_property_string(m.bus, NAME, PATH, INTERFACE, "SelectedServer",
                                               &error, ret);
                if (r < 0)
                        (void) explain(&error, r, &e);
        }
        if (r < 0)
                return complain("%s", error_message(&e, r));
        return **ret ? 0
                     : complain("no server is followed: name one, 'mrctl time servers' lists them");
}

int time_samples(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(sample_columns, SAMPLE_COLUMNS, "samples", a);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *server = NULL;
        _cleanup_(master_done) Master m = {};
        int r;

        r = find_server(a, &server);
        if (r == 0)
                r = ask(a, &m, "ListSamples", server, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(sxxxxxttbbbb)");
        while (r > 0)
                r = add_sample(t, reply);
        return r < 0 ? bad_reply(r) : table_print(t);
}

/* ---- What changes something ---- */

int time_sync(const Arguments *a)
{
        _cleanup_(master_done) Master m = {};
        int r = ask(a, &m, "SyncNow", NULL, NULL);

        if (r == 0 && !a->quiet)
                printf("All servers are being asked; 'mrctl time status' shows what came of it.\n");
        return r == 0 ? print_finish() : r;
}

int time_step(const Arguments *a)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        g_autofree char *by = NULL;
        _cleanup_(master_done) Master m = {};
        int64_t step_ns;
        int r;

        r = ask(a, &m, "Step", NULL, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "x", &step_ns);
        if (r < 0)
                return bad_reply(r);
        by = format_span_ns(step_ns);
        if (!a->quiet)
                printf("The clock was stepped by %s.\n", by);
        return print_finish();
}

int time_set_servers(const Arguments *a)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, a, &e);
        if (r >= 0)
                r = sd_bus_message_new_method_call(m.bus, &message, NAME, PATH, INTERFACE,
                                                   "SetServers");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "s");
        for (guint i = 1; r >= 0 && i < a->operands->len; i++)
                r = sd_bus_message_append(message, "s", a->operands->pdata[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0) {
                r = sd_bus_call(m.bus, message, 0, &error, NULL);
                if (r < 0)
                        (void) explain(&error, r, &e);
        }
        return r < 0 ? complain("%s", error_message(&e, r)) : 0;
}

/*
 * The command line — see arguments.h.
 */
#include <getopt.h>
#include <time.h>

#include "base/parse.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/verbs.h"

enum {
        OPT_BUS = 256,
        OPT_JSON,
        OPT_NO_LEGEND,
        OPT_NO_PAGER,
        OPT_LOCAL,
        OPT_SLOTS,
        OPT_VERSION,
        OPT_INPUT,
        OPT_OUTPUT,
        OPT_APP,
        OPT_MAPPER,
        OPT_COMBINER,
        OPT_REDUCER,
        OPT_REDUCER_APP,
        OPT_REDUCES,
        OPT_INTERMEDIATE_COMPRESSION,
        OPT_OUTPUT_COMPRESSION,
        OPT_INPUT_FORMAT,
        OPT_MAP_FIELD_SEPARATOR,
        OPT_MAP_KEY_FIELDS,
        OPT_PARTITION_KEY_FIELDS,
        OPT_SORT_KEY_FIELDS,
        OPT_REDUCE_FIELD_SEPARATOR,
        OPT_SPLIT_SIZE,
        OPT_FILE,
        OPT_ENV,
        OPT_ARCHIVE,
        OPT_NAME,
        OPT_MAX_ATTEMPTS,
        OPT_SKIP_BAD_RECORDS,
        OPT_TASK_TIMEOUT,
        OPT_MEMORY_LIMIT,
        OPT_REUSE,
        OPT_INTERMEDIATE,
        OPT_PRINT_JOB,
        OPT_STATE,
        OPT_USER,
        OPT_SINCE,
        OPT_UNTIL,
        OPT_TTL,
        OPT_ADVERTISE,
        OPT_SPOOL,
        OPT_BACKUPS,
        OPT_IGNORE_EXIT_STATUS,
        OPT_PRIORITY,
};

typedef struct OptionInfo {
        const char *name;
        int has_arg;
        int value;
        unsigned verbs; /* that take it, a mask of VERB_… */
} OptionInfo;

#define JOB (VERB_RUN | VERB_SUBMIT)
#define TABLES                                                                                     \
        (VERB_LIST | VERB_STATUS | VERB_WORKERS | VERB_TASKS | VERB_HISTORY | VERB_COUNTERS |      \
         VERB_EXPLAIN | VERB_TIMELINE | VERB_APPS | VERB_CLUSTER)

static const OptionInfo options[] = {
        {"help", no_argument, 'h', VERB_ANY},
        {"version", no_argument, OPT_VERSION, VERB_ANY},
        {"bus", required_argument, OPT_BUS, VERB_ANY},
        {"host", required_argument, 'H', VERB_ANY & ~VERB_APPS},
        {"json", required_argument, OPT_JSON, VERB_ANY & ~VERB_CAT},
        {"quiet", no_argument, 'q', VERB_ANY},
        {"no-legend", no_argument, OPT_NO_LEGEND, TABLES},
        {"no-pager", no_argument, OPT_NO_PAGER, VERB_ANY},
        {"local", no_argument, OPT_LOCAL, VERB_RUN},
        {"slots", required_argument, OPT_SLOTS, VERB_RUN},
        {"input", required_argument, OPT_INPUT, JOB},
        {"output", required_argument, OPT_OUTPUT, JOB},
        {"app", required_argument, OPT_APP, JOB},
        {"mapper", required_argument, OPT_MAPPER, JOB},
        {"combiner", required_argument, OPT_COMBINER, JOB},
        {"reducer", required_argument, OPT_REDUCER, JOB},
        {"reducer-app", required_argument, OPT_REDUCER_APP, JOB},
        {"reduces", required_argument, OPT_REDUCES, JOB},
        {"intermediate-compression", required_argument, OPT_INTERMEDIATE_COMPRESSION, JOB},
        {"output-compression", required_argument, OPT_OUTPUT_COMPRESSION, JOB},
        {"input-format", required_argument, OPT_INPUT_FORMAT, JOB},
        {"map-field-separator", required_argument, OPT_MAP_FIELD_SEPARATOR, JOB},
        {"map-key-fields", required_argument, OPT_MAP_KEY_FIELDS, JOB},
        {"partition-key-fields", required_argument, OPT_PARTITION_KEY_FIELDS, JOB},
        {"sort-key-fields", required_argument, OPT_SORT_KEY_FIELDS, JOB},
        {"reduce-field-separator", required_argument, OPT_REDUCE_FIELD_SEPARATOR, JOB},
        {"split-size", required_argument, OPT_SPLIT_SIZE, JOB},
        {"file", required_argument, OPT_FILE, JOB},
        {"archive", required_argument, OPT_ARCHIVE, JOB},
        {"env", required_argument, OPT_ENV, JOB},
        {"name", required_argument, OPT_NAME, JOB | VERB_HISTORY | VERB_CLUSTER},
        {"max-attempts", required_argument, OPT_MAX_ATTEMPTS, JOB},
        {"skip-bad-records", required_argument, OPT_SKIP_BAD_RECORDS, JOB},
        {"task-timeout", required_argument, OPT_TASK_TIMEOUT, JOB},
        {"memory-limit", required_argument, OPT_MEMORY_LIMIT, JOB},
        {"reuse", required_argument, OPT_REUSE, JOB},
        {"intermediate", required_argument, OPT_INTERMEDIATE, JOB},
        {"print-job", no_argument, OPT_PRINT_JOB, JOB},
        {"state", required_argument, OPT_STATE, VERB_HISTORY | VERB_TASKS | VERB_LIST},
        {"user", required_argument, OPT_USER, VERB_HISTORY},
        {"since", required_argument, OPT_SINCE, VERB_HISTORY | VERB_LOGS},
        {"until", required_argument, OPT_UNTIL, VERB_HISTORY | VERB_LOGS},
        {"lines", required_argument, 'n', VERB_HISTORY | VERB_LOGS | VERB_TASKS},
        {"follow", no_argument, 'f', VERB_LOGS},
        {"directory", required_argument, 'D', VERB_LOGS},
        {"ttl", required_argument, OPT_TTL, VERB_CLUSTER},
        {"advertise", required_argument, OPT_ADVERTISE, VERB_CLUSTER},
        {"spool", required_argument, OPT_SPOOL, VERB_CLUSTER},
        {"ignore-exit-status", required_argument, OPT_IGNORE_EXIT_STATUS, JOB},
        {"backups", required_argument, OPT_BACKUPS, JOB},
        {"priority", required_argument, OPT_PRIORITY, JOB},
};

static const OptionInfo *option_find(int value)
{
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (options[i].value == value)
                        return &options[i];
        return NULL;
}

static int unknown_long_option(const char *word, Error *e)
{
        g_autofree char *name = g_strndup(word + 2, strcspn(word + 2, "="));
        const char *names[ELEMENTSOF(options) + 1] = {};
        g_autoptr(GString) matches = g_string_new(NULL);
        const char *near;

        for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                names[i] = options[i].name;
                if (g_str_has_prefix(options[i].name, name))
                        g_string_append_printf(matches, "%s--%s", matches->len > 0 ? ", " : "",
                                               options[i].name);
        }
        if (matches->len > 0)
                return error_setf(e, EINVAL, "option --%s is ambiguous: %s", name, matches->str);
        near = text_nearest_word(name, names);
        if (near)
                return error_setf(e, EINVAL, "unknown option --%s (did you mean --%s?)", name,
                                  near);
        return error_setf(e, EINVAL, "unknown option --%s", name);
}

/* "-mapper", as Hadoop has it: of its letters the first that is no option was refused, before or
 * behind the step to the next word. */
static const OptionInfo *option_with_one_dash(char **argv)
{
        for (int i = optind; i >= optind - 1; i--) {
                const char *word = argv[i];

                if (!word || word[0] != '-' || !strchr(word, optopt))
                        continue;
                for (size_t k = 0; k < ELEMENTSOF(options); k++)
                        if (g_str_equal(options[k].name, word + 1))
                                return &options[k];
        }
        return NULL;
}

/* getopt_long() answered '?' or ':': say which word it was. */
static int explain_refusal(int answer, char **argv, Error *e)
{
        const OptionInfo *known = optopt != 0 ? option_find(optopt) : NULL;
        const char *word = argv[optind - 1];

        if (answer == ':' && known)
                return error_setf(e, EINVAL, "option --%s needs an argument", known->name);
        if (known)
                return error_setf(e, EINVAL, "option --%s takes no argument", known->name);
        if (optopt != 0) {
                const OptionInfo *meant = option_with_one_dash(argv);

                return meant ? error_setf(e, EINVAL, "unknown option -%s (did you mean --%s?)",
                                          meant->name, meant->name)
                             : error_setf(e, EINVAL, "unknown option -%c", optopt);
        }
        return unknown_long_option(word, e);
}

static int parse_number(const char *option, const char *s, uint32_t min, uint32_t max,
                        uint32_t *ret, Error *e)
{
        if (parse_u32_range(s, min, max, ret) < 0)
                return error_setf(e, EINVAL, "--%s must be a number from %u to %u, not '%s'",
                                  option, min, max, s);
        return 0;
}

static int parse_size_range(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
        uint64_t v;

        if (parse_size(s, &v) < 0 || v < min || v > max)
                return -EINVAL;
        *ret = v;
        return 0;
}

int job_parse_split_size(const char *s, uint64_t *ret_bytes)
{
        return parse_size_range(s, SPLIT_SIZE_MIN, SPLIT_SIZE_MAX, ret_bytes);
}

int job_parse_memory_limit(const char *s, uint64_t *ret_bytes)
{
        return parse_size_range(s, MEMORY_LIMIT_MIN, MEMORY_LIMIT_MAX, ret_bytes);
}

int job_parse_task_timeout(const char *s, uint32_t *ret_sec)
{
        uint64_t usec;

        if (parse_sec(s, &usec) < 0 || usec > TASK_TIMEOUT_MAX_SEC * USEC_PER_SEC)
                return -EINVAL;
        *ret_sec = (uint32_t) ((usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
        return 0;
}

static int parse_split_size(const char *s, uint64_t *ret, Error *e)
{
        if (job_parse_split_size(s, ret) < 0)
                return error_setf(
                        e, EINVAL,
                        "--split-size must be a size from 4K to 1T, such as 32M, not '%s'", s);
        return 0;
}

static int parse_task_timeout(const char *s, JobArguments *j, Error *e)
{
        if (job_parse_task_timeout(s, &j->task_timeout_sec) < 0)
                return error_setf(e, EINVAL,
                                  "--task-timeout must be a time span such as 10min, at most 30 "
                                  "days, or 0 for none, not '%s'",
                                  s);
        j->has_task_timeout = true;
        return 0;
}

static int parse_memory_limit(const char *s, uint64_t *ret, Error *e)
{
        if (job_parse_memory_limit(s, ret) < 0)
                return error_setf(e, EINVAL,
                                  "--memory-limit must be a size from 1M to 1T, such as 512M, not "
                                  "'%s'",
                                  s);
        return 0;
}

static int parse_json_mode(const char *s, JsonMode *ret, Error *e)
{
        if (g_str_equal(s, "short"))
                *ret = JSON_SHORT;
        else if (g_str_equal(s, "pretty"))
                *ret = JSON_PRETTY;
        else if (g_str_equal(s, "off"))
                *ret = JSON_OFF;
        else
                return error_setf(e, EINVAL, "--json must be short, pretty or off, not '%s'", s);
        return 0;
}

static int parse_yes_or_no(const char *option, const char *s, const char **ret, Error *e)
{
        if (parse_boolean(s) < 0)
                return error_setf(e, EINVAL, "--%s takes yes or no, not '%s'", option, s);
        *ret = s;
        return 0;
}

static int parse_env(const char *s, GPtrArray *env, Error *e)
{
        const char *equals = strchr(s, '=');

        if (!equals || equals == s)
                return error_setf(e, EINVAL, "--env must be NAME=VALUE, not '%s'", s);
        g_ptr_array_add(env, (char *) s);
        return 0;
}

static int parse_separator(const char *option, const char *s, const char **ret, Error *e)
{
        if (!*s)
                return error_setf(e, EINVAL,
                                  "--%s must not be empty: is a variable not set? (TAB is \\t)",
                                  option);
        *ret = s;
        return 0;
}

static int parse_field_option(int value, const char *s, JobArguments *j, Error *e)
{
        switch (value) {
        case OPT_INTERMEDIATE_COMPRESSION:
                j->intermediate_compression = s;
                return 0;
        case OPT_OUTPUT_COMPRESSION:
                j->output_compression = s;
                return 0;
        case OPT_INPUT_FORMAT:
                j->input_format = s;
                return 0;
        case OPT_MAP_FIELD_SEPARATOR:
                return parse_separator("map-field-separator", s, &j->map_separator, e);
        case OPT_REDUCE_FIELD_SEPARATOR:
                return parse_separator("reduce-field-separator", s, &j->reduce_separator, e);
        case OPT_SORT_KEY_FIELDS:
                j->sort_key_fields = s;
                return 0;
        case OPT_MAP_KEY_FIELDS:
                return parse_number("map-key-fields", s, 1, KEY_FIELDS_MAX, &j->map_key_fields, e);
        case OPT_PARTITION_KEY_FIELDS:
                return parse_number("partition-key-fields", s, 1, KEY_FIELDS_MAX,
                                    &j->partition_key_fields, e);
        default:
                g_assert_not_reached();
        }
}

static int parse_job_option(int value, const char *s, JobArguments *j, Error *e)
{
        switch (value) {
        case OPT_INPUT:
                g_ptr_array_add(j->inputs, (char *) s);
                return 0;
        case OPT_OUTPUT:
                j->output = s;
                return 0;
        case OPT_APP:
                j->app = s;
                return 0;
        case OPT_MAPPER:
                j->mapper = s;
                return 0;
        case OPT_COMBINER:
                j->combiner = s;
                return 0;
        case OPT_REDUCER:
                j->reducer = s;
                return 0;
        case OPT_REDUCER_APP:
                j->reducer_app = s;
                return 0;
        case OPT_REUSE:
                j->reuse = s;
                return 0;
        case OPT_INTERMEDIATE:
                j->intermediate = s;
                return 0;
        case OPT_NAME:
                j->name = s;
                return 0;
        case OPT_FILE:
                g_ptr_array_add(j->files, (char *) s);
                return 0;
        case OPT_ARCHIVE:
                g_ptr_array_add(j->archives, (char *) s);
                return 0;
        case OPT_ENV:
                return parse_env(s, j->env, e);
        case OPT_REDUCES:
                j->has_reduces = true;
                return parse_number("reduces", s, REDUCES_MIN, REDUCES_MAX, &j->reduces, e);
        case OPT_MAX_ATTEMPTS:
                return parse_number("max-attempts", s, ATTEMPTS_MIN, ATTEMPTS_MAX, &j->max_attempts,
                                    e);
        case OPT_SKIP_BAD_RECORDS:
                j->has_skip_bad_records = true;
                return parse_number("skip-bad-records", s, 0, SKIP_RECORDS_MAX,
                                    &j->skip_bad_records, e);
        case OPT_TASK_TIMEOUT:
                return parse_task_timeout(s, j, e);
        case OPT_MEMORY_LIMIT:
                return parse_memory_limit(s, &j->memory_limit_bytes, e);
        case OPT_BACKUPS:
                return parse_yes_or_no("backups", s, &j->backups, e);
        case OPT_IGNORE_EXIT_STATUS:
                return parse_yes_or_no("ignore-exit-status", s, &j->ignore_exit_status, e);
        case OPT_PRIORITY:
                j->priority = s;
                return 0;
        case OPT_SPLIT_SIZE:
                return parse_split_size(s, &j->split_size_bytes, e);
        default:
                return parse_field_option(value, s, j, e);
        }
}

/* A list with commas, as in systemctl. */
static int parse_states(const char *s, GPtrArray *states, Error *e)
{
        static const char *const known[] = {"planning", "running",   "committing", "done",
                                            "failed",   "cancelled", "idle",       NULL};
        g_auto(GStrv) words = g_strsplit(s, ",", -1);

        for (char **word = words; *word; word++) {
                const char *near = text_nearest_word(*word, known);
                size_t i = 0;

                while (known[i] && !g_str_equal(known[i], *word))
                        i++;
                if (!known[i])
                        return error_setf(e, EINVAL, "--state: there is no state '%s'%s%s%s", *word,
                                          near ? " (did you mean '" : "", near ? near : "",
                                          near ? "'?)" : "");
                g_ptr_array_add(states, (char *) known[i]);
        }
        return 0;
}

static int parse_time(const char *option, const char *s, uint64_t *ret, Error *e)
{
        if (time_parse(s, (uint64_t) g_get_real_time(), ret) < 0)
                return error_setf(e, EINVAL,
                                  "--%s must be a time such as '2026-11-22 20:15', 'yesterday' or "
                                  "'2h ago', not '%s'",
                                  option, s);
        return 0;
}

static int parse_filter_option(int value, const char *s, Arguments *a, Error *e)
{
        switch (value) {
        case OPT_PRINT_JOB:
                a->print_job = true;
                return 0;
        case OPT_STATE:
                return parse_states(s, a->states, e);
        case OPT_USER:
                a->user = s;
                return 0;
        case OPT_SINCE:
                return parse_time("since", s, &a->since_usec, e);
        case OPT_UNTIL:
                return parse_time("until", s, &a->until_usec, e);
        case 'n':
                return parse_number("lines", s, 1, LINES_MAX, &a->lines, e);
        case 'f':
                a->follow = true;
                return 0;
        case 'D':
                a->directory = s;
                return 0;
        default:
                return parse_job_option(value, s, &a->job, e);
        }
}

static int parse_option(int value, const char *s, Arguments *a, Error *e)
{
        switch (value) {
        case 'h':
                a->help = true;
                return 0;
        case 'q':
                a->quiet = true;
                return 0;
        case OPT_VERSION:
                a->version = true;
                return 0;
        case OPT_BUS:
                a->bus = s;
                return 0;
        case 'H':
                a->host = s;
                return 0;
        case OPT_JSON:
                return parse_json_mode(s, &a->json, e);
        case OPT_NO_LEGEND:
                a->no_legend = true;
                return 0;
        case OPT_NO_PAGER:
                a->no_pager = true;
                return 0;
        case OPT_TTL:
                if (parse_sec(optarg, &a->ttl_usec) < 0)
                        return error_setf(e, EINVAL,
                                          "not a time span such as 30min or 1d: --ttl=%s", optarg);
                return 0;
        case OPT_ADVERTISE:
                a->advertise = optarg;
                return 0;
        case OPT_SPOOL:
                a->spool = optarg;
                return 0;
        case OPT_LOCAL:
                a->local = true;
                return 0;
        case OPT_SLOTS:
                return parse_number("slots", s, SLOTS_MIN, SLOTS_MAX, &a->slots, e);
        default:
                return parse_filter_option(value, s, a, e);
        }
}

/* Every option that was used must belong to the verb. */
static int check_options(const Arguments *a, const Verb *verb, const bool *used, Error *e)
{
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (used[i] && !(options[i].verbs & verb->bit))
                        return error_setf(e, EINVAL, "'%s' takes no option --%s", verb->name,
                                          options[i].name);
        if (a->slots > 0 && !a->local)
                return error_setf(e, EINVAL,
                                  "--slots is for --local: a running worker has its own");
        if (a->host && (a->bus || a->local))
                return error_setf(e, EINVAL,
                                  "--host means the system bus there: %s cannot be given with it",
                                  a->bus ? "--bus" : "--local");
        if (a->local && a->bus)
                return error_setf(e, EINVAL, "--local uses no bus: --bus cannot be given with it");
        return 0;
}

static int check_operands(const Arguments *a, const Verb *verb, Error *e)
{
        guint n = a->operands->len;

        if (n < verb->min_operands)
                return error_setf(e, EINVAL, "'%s' needs %s", verb->name, verb->operands);
        if (n > verb->max_operands)
                return error_setf(e, EINVAL, "'%s' takes %s, not '%s'", verb->name,
                                  verb->max_operands == 0   ? "no operands"
                                  : verb->max_operands == 1 ? "one job"
                                                            : "one job and one task",
                                  (const char *) a->operands->pdata[verb->max_operands]);
        if (a->job.app_args && a->job.app_args[0] && !(verb->bit & JOB))
                return error_setf(e, EINVAL, "'%s' takes nothing behind --", verb->name);
        return 0;
}

static int check_verb(Arguments *a, const bool *used, Error *e)
{
        const Verb *verb;
        int r;

        if (!a->verb)
                return error_setf(e, EINVAL, "what shall it do? 'mrctl --help' lists the verbs");
        verb = verb_find(a->verb);
        if (!verb) {
                const char *near = text_nearest_word(a->verb, verb_names());

                return near ? error_setf(e, EINVAL, "unknown verb '%s' (did you mean '%s'?)",
                                         a->verb, near)
                            : error_setf(e, EINVAL, "unknown verb '%s'; 'mrctl --help' lists them",
                                         a->verb);
        }
        a->job.input_options = a->job.inputs->len;
        if (verb->bit & JOB) { /* operands are inputs, in the order they were given */
                g_ptr_array_extend(a->job.inputs, a->operands, NULL, NULL);
                g_ptr_array_set_size(a->operands, 0);
        }
        r = check_operands(a, verb, e);
        return r < 0 ? r : check_options(a, verb, used, e);
}

static void fill_long_options(struct option ret[static ELEMENTSOF(options) + 1])
{
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                ret[i] = (struct option){.name = options[i].name,
                                         .has_arg = options[i].has_arg,
                                         .val = options[i].value};
        ret[ELEMENTSOF(options)] = (struct option){};
}

/* "2h", "-2h", "2h ago": so long before @now_usec. */
static int parse_span_back(const char *s, uint64_t now_usec, uint64_t *ret)
{
        g_autofree char *span = g_strdup(*s == '-' ? s + 1 : s);
        uint64_t usec;
        int r;

        if (g_str_has_suffix(span, " ago"))
                span[strlen(span) - strlen(" ago")] = '\0';
        else if (*s != '-' && strspn(s, "0123456789") == strlen(s))
                return -EINVAL; /* a number of what? */
        r = parse_sec(span, &usec);
        if (r < 0 || usec > now_usec)
                return -EINVAL;
        *ret = now_usec - usec;
        return 0;
}

int time_parse(const char *s, uint64_t now_usec, uint64_t *ret)
{
        static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d",
                                              "%H:%M:%S", "%H:%M"};
        time_t now = (time_t) (now_usec / USEC_PER_SEC), t;
        bool today = g_str_equal(s, "today"), yesterday = g_str_equal(s, "yesterday");
        uint64_t seconds;
        struct tm tm;

        if (!*s || !localtime_r(&now, &tm))
                return -EINVAL;
        if (g_str_equal(s, "now")) {
                *ret = now_usec;
                return 0;
        }
        if (*s == '@' && parse_u64(s + 1, &seconds) >= 0 && seconds < INT32_MAX * UINT64_C(100)) {
                *ret = seconds * USEC_PER_SEC;
                return 0;
        }
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        tm.tm_mday -= yesterday;
        for (size_t i = 0; i < ELEMENTSOF(formats) && !today && !yesterday; i++) {
                struct tm attempt = tm;
                const char *end = strptime(s, formats[i], &attempt);

                if (!end || *end)
                        continue;
                tm = attempt;
                today = true;
        }
        if (!today && !yesterday)
                return parse_span_back(s, now_usec, ret);
        tm.tm_isdst = -1;
        t = mktime(&tm);
        if (t < 0)
                return -EINVAL;
        *ret = (uint64_t) t * USEC_PER_SEC;
        return 0;
}

int arguments_parse(int argc, char **argv, Arguments *a, Error *e)
{
        struct option long_options[ELEMENTSOF(options) + 1];
        bool used[ELEMENTSOF(options)] = {};
        int c, r;

        *a = (Arguments){
                .operands = g_ptr_array_new(),
                .states = g_ptr_array_new(),
                .job = {.inputs = g_ptr_array_new(),
                        .files = g_ptr_array_new(),
                        .env = g_ptr_array_new(),
                        .archives = g_ptr_array_new()},
        };
        fill_long_options(long_options);

        optind = 0; /* so that a test can parse twice */
        opterr = 0;
        /* "-": operands come in their order, as 1; ":": a missing argument is ':', not '?'. */
        while ((c = getopt_long(argc, argv, "-:hqfn:D:H:", long_options, NULL)) >= 0) {
                if (c == '?' || c == ':')
                        return explain_refusal(c, argv, e);
                if (c == 1) {
                        if (!a->verb)
                                a->verb = optarg;
                        else
                                g_ptr_array_add(a->operands, optarg);
                        continue;
                }
                used[option_find(c) - options] = true;
                r = parse_option(c, optarg, a, e);
                if (r < 0)
                        return r;
        }
        a->job.app_args = argv + optind;
        if (a->help || a->version)
                return 0;
        return check_verb(a, used, e);
}

bool arguments_want_state(const Arguments *a, const char *state)
{
        for (guint i = 0; i < a->states->len; i++)
                if (g_str_equal(a->states->pdata[i], state))
                        return true;
        return a->states->len == 0;
}

void arguments_print_options(unsigned verbs)
{
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (options[i].verbs & verbs)
                        (void) printf("--%s%s\n", options[i].name,
                                      options[i].has_arg == required_argument ? "=" : "");
}

void arguments_done(Arguments *a)
{
        g_clear_pointer(&a->operands, g_ptr_array_unref);
        g_clear_pointer(&a->states, g_ptr_array_unref);
        g_clear_pointer(&a->job.inputs, g_ptr_array_unref);
        g_clear_pointer(&a->job.files, g_ptr_array_unref);
        g_clear_pointer(&a->job.env, g_ptr_array_unref);
        g_clear_pointer(&a->job.archives, g_ptr_array_unref);
}

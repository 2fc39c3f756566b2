/*
 * Configuration of timesyncd-lite — see conf.h.
 */
#include <getopt.h>

#include "base/parse.h"
#include "base/text.h"
#include "config.h"
#include "platform/conf.h"
#include "timesyncd-lite/conf.h"

#define NSEC_PER_MSEC (1000 * NSEC_PER_USEC)
#define RATE_MAX 100000U

static void print_help(void)
{
        printf("timesyncd-lite [OPTIONS…]\n\n"
               "Keep this machine's clock right by Cristian's algorithm, and tell others the time.\n\n"
               "  -h --help                Show this help\n"
               "     --version             Show the version\n"
               "     --config=FILE         Read this file instead of timesyncd-lite.conf and its drop-ins\n"
               "     --role=ROLE           client: discipline the clock, serve it where told to listen\n"
               "                           server: serve the clock that another program disciplines\n"
               "     --server=ADDRESS      A server to ask: HOST, HOST:PORT, [V6]:PORT; may be repeated\n"
               "     --listen=ADDRESS      Where to tell others the time; may be repeated\n"
               "  -x --dry-run[=SEC[,PPM]] Never touch the clock: discipline one of our own, which starts\n"
               "                           ahead by SEC and is fast by PPM\n"
               "     --state-dir=DIR       Directory for the drift file and the saved time\n"
               "     --run-dir=DIR         Instead of /run, for the lock and systemd's flag\n"
               "     --bus=BUS             system, session, none, fd:N or a D-Bus address\n"
               "     --query=ADDRESS       Ask this server once, print KEY=VALUE, change nothing\n"
               "                           ('mrctl time query' shows it for people)\n"
               "     --clock-id=HEX        Another number for this clock than the kernel's (loops are\n"
               "                           found by it)\n");
}

/* What the command line said; NULL is nothing. Points into argv. */
typedef struct Options {
        const char *config, *role, *state_dir, *bus, *query, *clock_id, *run_dir, *dry_run;
        GPtrArray *servers, *listen;
        bool is_dry_run;
} Options;

const char *time_role_to_string(TimeRole role)
{
        static const char *const names[_TIME_ROLE_MAX] = {"client", "server"};

        assert(role >= 0 && role < _TIME_ROLE_MAX);
        return names[role];
}

static int parse_options(int argc, char *argv[], Options *o, Error *e)
{
        enum {
                ARG_VERSION = 0x100,
                ARG_SERVER,
                ARG_LISTEN,
                ARG_VALUE, /* and one more for each entry of values[] */
        };
        const char **values[] = {&o->config, &o->role,     &o->state_dir, &o->bus,
                                 &o->query,  &o->clock_id, &o->run_dir};
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, ARG_VERSION},
                {"dry-run", optional_argument, NULL, 'x'},
                {"server", required_argument, NULL, ARG_SERVER},
                {"listen", required_argument, NULL, ARG_LISTEN},
                {"config", required_argument, NULL, ARG_VALUE + 0},
                {"role", required_argument, NULL, ARG_VALUE + 1},
                {"state-dir", required_argument, NULL, ARG_VALUE + 2},
                {"bus", required_argument, NULL, ARG_VALUE + 3},
                {"query", required_argument, NULL, ARG_VALUE + 4},
                {"clock-id", required_argument, NULL, ARG_VALUE + 5},
                {"run-dir", required_argument, NULL, ARG_VALUE + 6},
                {},
        };
        int c;

        optind = 0; /* a reload parses once more */
        while ((c = getopt_long(argc, argv, "hx", options, NULL)) >= 0) {
                if (c == 'h') {
                        print_help();
                        return 0;
                }
                if (c == ARG_VERSION) {
                        printf("timesyncd-lite (mapreduced) %s\n", MR_VERSION);
                        return 0;
                }
                if (c == 'x') {
                        o->is_dry_run = true;
                        o->dry_run = optarg;
                } else if (c == ARG_SERVER)
                        g_ptr_array_add(o->servers, optarg);
                else if (c == ARG_LISTEN)
                        g_ptr_array_add(o->listen, optarg);
                else if (c >= ARG_VALUE && c < ARG_VALUE + (int) ELEMENTSOF(values))
                        *values[c - ARG_VALUE] = optarg;
                else
                        return error_setf(e, EINVAL, "bad usage, see --help");
        }
        if (optind < argc)
                return error_setf(e, EINVAL, "unexpected argument: %s", argv[optind]);
        return 1;
}

static int parse_role(const char *value, void *target, Error *e)
{
        for (int i = 0; i < _TIME_ROLE_MAX; i++)
                if (g_str_equal(value, time_role_to_string((TimeRole) i))) {
                        *(TimeRole *) target = (TimeRole) i;
                        return 0;
                }
        return error_setf(e, EINVAL, "not client or server: %s", value);
}

/* Polls are powers of two, as in NTP: what was asked for, or the next shorter one. */
static int parse_poll(const char *value, void *target, Error *e)
{
        uint64_t usec;
        int poll = SOURCE_POLL_LEAST;

        if (parse_sec(value, &usec) < 0 || usec < USEC_PER_SEC << SOURCE_POLL_LEAST ||
            usec > USEC_PER_SEC << SOURCE_POLL_MOST)
                return error_setf(e, EINVAL, "not a time span from 2s to 36h: %s", value);
        while (USEC_PER_SEC << (poll + 1) <= usec)
                poll++;
        *(int *) target = poll;
        return 0;
}

/* A time span in nanoseconds, up to a year; "0" is off. */
static int parse_ns(const char *value, void *target, Error *e)
{
        uint64_t usec;

        if (parse_sec(value, &usec) < 0 || usec > UINT64_C(31536000) * USEC_PER_SEC)
                return error_setf(e, EINVAL, "not a time span such as 20ms or 1s: %s", value);
        *(int64_t *) target = (int64_t) usec * NSEC_PER_USEC;
        return 0;
}

static int parse_burst(const char *value, void *target, Error *e)
{
        if (parse_u32_range(value, 1, 32, target) < 0)
                return error_setf(e, EINVAL, "not a number from 1 to 32: %s", value);
        return 0;
}

static int parse_stratum(const char *value, void *target, Error *e)
{
        if (parse_u32_range(value, 0, 15, target) < 0)
                return error_setf(e, EINVAL, "not a stratum from 1 to 15, or 0 for off: %s", value);
        return 0;
}

static int parse_kernel_stratum(const char *value, void *target, Error *e)
{
        if (parse_u32_range(value, 1, 15, target) < 0)
                return error_setf(e, EINVAL, "not a stratum from 1 to 15: %s", value);
        return 0;
}

static int parse_rate(const char *value, void *target, Error *e)
{
        if (parse_u32_range(value, 1, RATE_MAX, target) < 0)
                return error_setf(e, EINVAL, "not a number from 1 to %u: %s", RATE_MAX, value);
        return 0;
}

static int read_files(const char *override, TimeConf *c, Error *e)
{
        KeeperConfig *k = &c->keeper;
        const ConfItem items[] = {
                {"Time", "Role", parse_role, &c->role},
                {"Time", "Server", conf_parse_strv, &c->servers},
                {"Time", "PollIntervalMin", parse_poll, &k->source.min_poll},
                {"Time", "PollIntervalMax", parse_poll, &k->source.max_poll},
                {"Time", "Burst", parse_burst, &k->source.burst},
                {"Time", "LeastOneWayDelay", parse_ns, &k->source.least_one_way_ns},
                {"Time", "RootDistanceMax", parse_ns, &k->source.distance_limit_ns},
                {"Time", "StepAtStart", parse_ns, &k->limits.step_at_start_ns},
                {"Time", "StepLimit", parse_ns, &k->limits.step_ns},
                {"Time", "SaveInterval", conf_parse_sec, &c->save_usec},
                {"Time", "AllowPlaintext", conf_parse_boolean, &c->allow_plaintext},
                {"Server", "Listen", conf_parse_strv, &c->listen},
                {"Server", "LocalStratum", parse_stratum, &c->local_stratum},
                {"Server", "Stratum", parse_kernel_stratum, &c->kernel_stratum},
                {"Server", "RateLimit", parse_rate, &c->rate_per_second},
                {"TLS", "CA", conf_parse_path, &c->ca},
                {"TLS", "Certificate", conf_parse_path, &c->certificate},
                {"TLS", "Key", conf_parse_path, &c->key},
                {"TLS", "ServerName", conf_parse_string, &c->server_name},
                {},
        };
        g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
        int r;

        r = conf_read("timesyncd-lite.conf", override, items, warnings, e);
        for (guint i = 0; i < warnings->len; i++)
                fprintf(stderr, "timesyncd-lite: %s\n", (const char *) warnings->pdata[i]);
        return r;
}

static void replace_list(GPtrArray *list, const GPtrArray *values)
{
        if (values->len > 0)
                g_ptr_array_set_size(list, 0);
        for (guint i = 0; i < values->len; i++)
                g_ptr_array_add(list, g_strdup(values->pdata[i]));
}

/* "SECONDS" or "SECONDS,PPM". */
static int parse_dry_run(const char *text, TimeConf *c, Error *e)
{
        double offset_s;
        char *end;

        offset_s = g_ascii_strtod(text, &end);
        if (end != text && *end == ',') {
                text = end + 1;
                c->dry_run_ppm = g_ascii_strtod(text, &end);
        }
        if (end == text || *end || !(offset_s > -1e8 && offset_s < 1e8) ||
            !(c->dry_run_ppm >= -1000 && c->dry_run_ppm <= 1000))
                return error_setf(e, EINVAL,
                                  "--dry-run= is not SECONDS or SECONDS,PPM (ahead, fast): %s",
                                  text);
        c->dry_run_offset_ns = (int64_t) (offset_s * 1e9);
        return 0;
}

static int apply_options(const Options *o, TimeConf *c, Error *e)
{
        text_replace(&c->bus, o->bus);
        text_replace(&c->query, o->query);
        replace_list(c->servers, o->servers);
        replace_list(c->listen, o->listen);
        c->dry_run = o->is_dry_run;

        if (o->role && parse_role(o->role, &c->role, NULL) < 0)
                return error_setf(e, EINVAL, "--role= is not client or server: %s", o->role);
        if (o->state_dir) {
                g_free(c->state_dir);
                c->state_dir = g_canonicalize_filename(o->state_dir, NULL);
        }
        if (o->run_dir || !c->dry_run)
                c->run_dir = g_canonicalize_filename(o->run_dir ? o->run_dir : "/run", NULL);
        if (o->clock_id) {
                char *end;

                c->own_id = g_ascii_strtoull(o->clock_id, &end, 16);
                if (*end || c->own_id == 0)
                        return error_setf(e, EINVAL, "--clock-id= is not a hexadecimal number: %s",
                                          o->clock_id);
        }
        return o->dry_run ? parse_dry_run(o->dry_run, c, e) : 0;
}

/* Of loopback: "localhost", [::1], and 127.0.0.0/8 written as four numbers (a host may be *named*
 * 127.x). */
static bool is_loopback(const char *address)
{
        if (g_str_has_prefix(address, "localhost:") || g_str_has_prefix(address, "[::1]:"))
                return true;
        return g_str_has_prefix(address, "127.") &&
               strspn(address, "0123456789.") == (size_t) (strrchr(address, ':') - address);
}

/* A bare name or address, IPv6 included, gets the default port. */
static char *with_port(const char *text)
{
        const char *colon = strchr(text, ':');

        if (!colon || (text[0] == '[' && g_str_has_suffix(text, "]")))
                return g_strdup_printf("%s:%s", text, CONF_PORT);
        if (strchr(colon + 1, ':') && text[0] != '[')
                return g_strdup_printf("[%s]:%s", text, CONF_PORT);
        return g_strdup(text);
}

int time_conf_address(const TimeConf *c, const char *what, const char *text, char **ret, Error *e)
{
        g_autofree char *address = NULL;
        const char *colon;
        uint32_t port;

        if (g_str_has_prefix(text, "unix:")) {
                if (!text[5] || strlen(text + 5) > 107) /* sun_path of unix(7) */
                        return error_setf(e, EINVAL,
                                          "%s: not the path of a socket (1 to 107 bytes): %s", what,
                                          text);
                *ret = g_strdup(text);
                return 0;
        }
        address = with_port(text);
        colon = strrchr(address, ':');
        if (!*text || colon == address || strlen(address) > 280 ||
            parse_u32_range(colon + 1, 0, 65535, &port) < 0)
                return error_setf(e, EINVAL, "%s: not HOST, HOST:PORT or [V6]:PORT: %s", what,
                                  text);
        if (!c->ca && !c->allow_plaintext && !is_loopback(address))
                return error_setf(
                        e, EPERM,
                        "%s: %s is not on this host, and nothing would prove who answers; set "
                        "CA=, Certificate= and Key= in [TLS] of timesyncd-lite.conf, or "
                        "AllowPlaintext=yes in [Time] on a trusted network",
                        what, address);
        *ret = TAKE_PTR(address);
        return 0;
}

static int check_addresses(const TimeConf *c, const char *what, GPtrArray *list, guint most,
                           Error *e)
{
        if (list->len > most)
                return error_setf(e, E2BIG, "%s is given %u times, at most %u are possible", what,
                                  list->len, most);
        for (guint i = 0; i < list->len; i++) {
                char *address;
                int r;

                r = time_conf_address(c, what, list->pdata[i], &address, e);
                if (r < 0)
                        return r;
                g_free(list->pdata[i]);
                list->pdata[i] = address;
                for (guint j = 0; j < i; j++)
                        if (g_str_equal(list->pdata[j], address))
                                return error_setf(e, EINVAL, "%s%s is given twice", what, address);
        }
        return 0;
}

static int check(TimeConf *c, Error *e)
{
        const KeeperConfig *k = &c->keeper;
        int r;

        if (!c->ca != !c->certificate || !c->ca != !c->key)
                return error_setf(e, EINVAL,
                                  "CA=, Certificate= and Key= belong together: set all "
                                  "of them in [TLS], or none");
        if (k->source.min_poll > k->source.max_poll)
                return error_setf(e, EINVAL, "PollIntervalMin= is longer than PollIntervalMax=");
        if (k->source.distance_limit_ns < NSEC_PER_MSEC)
                return error_setf(e, EINVAL, "RootDistanceMax= is below 1ms");
        if (c->save_usec < 10 * USEC_PER_SEC)
                return error_setf(e, EINVAL, "SaveInterval= is below 10s");
        if (c->query)
                return 0;
        r = check_addresses(c, "Server=", c->servers, KEEPER_SERVERS_MAX, e);
        if (r >= 0)
                r = check_addresses(c, "Listen=", c->listen, CONF_LISTEN_MAX, e);
        if (r < 0)
                return r;
        if (c->role == TIME_ROLE_SERVER && c->listen->len == 0)
                return error_setf(e, EINVAL,
                                  "the role is server, but nothing says where to listen: set "
                                  "Listen= in [Server] of timesyncd-lite.conf");
        if (c->role == TIME_ROLE_SERVER && c->servers->len > 0)
                g_ptr_array_set_size(c->servers, 0); /* they are for the other unit */
        return 0;
}

/* What LoadCredential= of the unit gave us, if nothing else was configured: a copy of the cluster's
 * keys, which we could not read where they are. */
static void use_credentials(TimeConf *c)
{
        const char *dir = getenv("CREDENTIALS_DIRECTORY");
        g_autofree char *ca = NULL;

        if (!dir || c->ca || c->certificate || c->key)
                return;
        ca = g_build_filename(dir, "ca.pem", NULL);
        if (access(ca, R_OK) < 0)
                return;
        c->ca = TAKE_PTR(ca);
        c->certificate = g_build_filename(dir, "certificate.pem", NULL);
        c->key = g_build_filename(dir, "key.pem", NULL);
}

static int load(TimeConf *c, Error *e)
{
        g_autoptr(GPtrArray) servers = g_ptr_array_new(), listen = g_ptr_array_new();
        Options o = {.servers = servers, .listen = listen};
        int r;

        r = parse_options(c->argc, c->argv, &o, e);
        if (r <= 0)
                return r;
        r = read_files(o.config, c, e);
        if (r >= 0) {
                use_credentials(c);
                r = apply_options(&o, c, e);
        }
        if (r >= 0)
                r = check(c, e);
        return r < 0 ? r : 1;
}

int time_conf_load(int argc, char *argv[], TimeConf *ret, Error *e)
{
        const char *state = getenv("STATE_DIRECTORY");
        TimeConf c = {
                .keeper = keeper_defaults,
                .servers = g_ptr_array_new_with_free_func(g_free),
                .listen = g_ptr_array_new_with_free_func(g_free),
                .rate_per_second = 8,
                .kernel_stratum = CONF_KERNEL_STRATUM,
                .save_usec = 3600 * USEC_PER_SEC,
                .state_dir = g_strdup(state ? state : "/var/lib/timesyncd-lite"),
                .bus = g_strdup("system"),
                .argc = argc,
                .argv = argv,
        };
        int r;

        r = load(&c, e);
        if (r <= 0) {
                time_conf_done(&c);
                return r;
        }
        *ret = c;
        return 1;
}

void time_conf_done(TimeConf *c)
{
        g_clear_pointer(&c->servers, g_ptr_array_unref);
        g_clear_pointer(&c->listen, g_ptr_array_unref);
        g_free(c->ca);
        g_free(c->certificate);
        g_free(c->key);
        g_free(c->server_name);
        g_free(c->state_dir);
        g_free(c->run_dir);
        g_free(c->bus);
        g_free(c->query);
        *c = (TimeConf){};
}

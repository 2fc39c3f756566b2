/*
 * Configuration of mr-workerd — see worker-conf.h.
 */
#include <getopt.h>
#include <limits.h>
#include <sched.h>

#include "base/parse.h"
#include "base/text.h"
#include "config.h"
#include "mr-workerd/worker-conf.h"
#include "platform/conf.h"

/* Under a service manager, which waits longer than that; who ends a worker by hand has no such
 * patience. */
#define DRAIN_USEC (10 * USEC_PER_SEC)

static void print_help(void)
{
        printf("mr-workerd [OPTIONS…]\n\n"
               "Run the map and reduce tasks that a mr-masterd gives to this host.\n\n"
               "  -h --help               Show this help\n"
               "     --version            Show the version\n"
               "     --config=FILE        Read this file instead of workerd.conf and its drop-ins\n"
               "     --master=ADDRESS     The master: HOST:PORT, [V6]:PORT or unix:PATH\n"
               "     --listen=ADDRESS     Where the master and other workers reach this one\n"
               "     --advertise=HOST     By which name or address they do, if that is another\n"
               "     --join=TOKEN         Let this host into a cluster, and end; - reads the token\n"
               "     --insecure-plain-tcp TCP on the loopback without TLS: for tests only\n"
               "     --spool=DIR          Directory for map outputs and working directories\n"
               "     --slots=N            Tasks at a time (default: processors)\n"
               "     --name=NAME          This worker's name for people (default: host name)\n"
               "     --instance=NAME      Claim org.mapreduced.Worker1.NAME on the bus\n"
               "     --task-socket=PATH   Have task processes by connecting to this socket\n"
               "     --bus=BUS            system, session, none, fd:N or a D-Bus address\n"
               "     --exit-with-fd=N     End when the other end of this descriptor is closed\n"
               "     --ephemeral          Do not sync to disk, and remove the spool at the end\n");
}

/* What the command line said; NULL is nothing. Points into argv. */
typedef struct Options {
        const char *config, *master, *listen, *spool, *slots, *name, *instance, *bus, *exit_fd,
                *task_socket, *advertise, *join;
        bool ephemeral, insecure_plain_tcp;
} Options;

static int parse_options(int argc, char *argv[], Options *o, Error *e)
{
        enum {
                ARG_VERSION = 0x100,
                ARG_EPHEMERAL,
                ARG_INSECURE_PLAIN_TCP,
                ARG_VALUE, /* and one more for each entry of values[] */
        };
        const char **values[] = {&o->config,  &o->master,      &o->listen,    &o->spool,
                                 &o->slots,   &o->name,        &o->instance,  &o->bus,
                                 &o->exit_fd, &o->task_socket, &o->advertise, &o->join};
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, ARG_VERSION},
                {"ephemeral", no_argument, NULL, ARG_EPHEMERAL},
                {"config", required_argument, NULL, ARG_VALUE + 0},
                {"master", required_argument, NULL, ARG_VALUE + 1},
                {"listen", required_argument, NULL, ARG_VALUE + 2},
                {"spool", required_argument, NULL, ARG_VALUE + 3},
                {"slots", required_argument, NULL, ARG_VALUE + 4},
                {"name", required_argument, NULL, ARG_VALUE + 5},
                {"instance", required_argument, NULL, ARG_VALUE + 6},
                {"bus", required_argument, NULL, ARG_VALUE + 7},
                {"exit-with-fd", required_argument, NULL, ARG_VALUE + 8},
                {"task-socket", required_argument, NULL, ARG_VALUE + 9},
                {"advertise", required_argument, NULL, ARG_VALUE + 10},
                {"join", required_argument, NULL, ARG_VALUE + 11},
                {"insecure-plain-tcp", no_argument, NULL, ARG_INSECURE_PLAIN_TCP},
                {},
        };
        int c;

        optind = 0; /* tests parse more than once */
        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                if (c == 'h') {
                        print_help();
                        return 0;
                }
                if (c == ARG_VERSION) {
                        printf("mr-workerd (mapreduced) %s\n", MR_VERSION);
                        return 0;
                }
                if (c == ARG_EPHEMERAL)
                        o->ephemeral = true;
                else if (c == ARG_INSECURE_PLAIN_TCP)
                        o->insecure_plain_tcp = true;
                else if (c >= ARG_VALUE && c < ARG_VALUE + (int) ELEMENTSOF(values))
                        *values[c - ARG_VALUE] = optarg;
                else
                        return error_setf(e, EINVAL, "bad usage, see --help");
        }
        if (optind < argc)
                return error_setf(e, EINVAL, "unexpected argument: %s", argv[optind]);
        return 1;
}

static int read_files(const char *override, WorkerConf *c, Error *e)
{
        const ConfItem items[] = {
                {"Worker", "Master", conf_parse_string, &c->master},
                {"Worker", "Listen", conf_parse_string, &c->listen},
                {"Worker", "SpoolDirectory", conf_parse_path, &c->spool},
                {"Worker", "Slots", conf_parse_count, &c->slots},
                {"Worker", "Name", conf_parse_string, &c->name},
                {"Worker", "TaskMemory", conf_parse_size, &c->task_memory_bytes},
                {"Worker", "MinFree", conf_parse_size, &c->min_free_bytes},
                {"Worker", "ReuseCache", conf_parse_size, &c->reuse_cache_bytes},
                {"Worker", "RejoinGrace", conf_parse_sec, &c->rejoin_grace_usec},
                {"Worker", "Advertise", conf_parse_string, &c->advertise},
                {"Worker", "CACertificate", conf_parse_path, &c->keys.ca},
                {"Worker", "Certificate", conf_parse_path, &c->keys.certificate},
                {"Worker", "PrivateKey", conf_parse_path, &c->keys.key},
                {"Worker", "RevocationList", conf_parse_path, &c->keys.list},
                {"Worker", "InsecurePlainTCP", conf_parse_boolean, &c->insecure_plain_tcp},
                {"Worker", "DrainSec", conf_parse_sec, &c->drain_usec},
                {},
        };
        g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
        int r;

        r = conf_read("workerd.conf", override, items, warnings, e);
        for (guint i = 0; i < warnings->len; i++)
                fprintf(stderr, "mr-workerd: %s\n", (const char *) warnings->pdata[i]);
        return r;
}

static int apply_options(const Options *o, WorkerConf *c, Error *e)
{
        uint32_t fd;

        text_replace(&c->master, o->master);
        text_replace(&c->listen, o->listen);
        text_replace(&c->name, o->name);
        text_replace(&c->instance, o->instance);
        text_replace(&c->bus, o->bus);
        text_replace(&c->task_socket, o->task_socket);
        text_replace(&c->advertise, o->advertise);
        text_replace(&c->join, o->join);
        c->ephemeral = o->ephemeral;
        c->insecure_plain_tcp |= o->insecure_plain_tcp;

        if (o->spool) {
                g_free(c->spool);
                c->spool = g_canonicalize_filename(o->spool, NULL);
                c->spool_given = true;
        }
        if (o->slots && parse_u32_range(o->slots, 1, WORKER_SLOTS_MAX, &c->slots) < 0)
                return error_setf(e, EINVAL, "--slots= is not a number from 1 to %d: %s",
                                  WORKER_SLOTS_MAX, o->slots);
        if (o->exit_fd) {
                if (parse_u32_range(o->exit_fd, 3, 1023, &fd) < 0)
                        return error_setf(e, EINVAL, "--exit-with-fd= is not a descriptor: %s",
                                          o->exit_fd);
                c->exit_fd = (int) fd;
        }
        return 0;
}

/* One element of a bus name: letters, digits, '_' and '-', and no digit first. */
static bool instance_is_valid(const char *s)
{
        if (!*s || strlen(s) > 64 || g_ascii_isdigit(*s))
                return false;
        return strspn(s, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-") == strlen(s);
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

int worker_conf_check_address(const char *what, const char *address, bool plain, Error *e)
{
        const char *colon = strrchr(address, ':');
        uint32_t port;

        if (g_str_has_prefix(address, "unix:")) {
                g_autofree char *shown = text_escape(address, strlen(address), 300);

                if (strlen(address + 5) > 107 || !text_is_name(address + 5)) /* unix(7) */
                        return error_setf(e, EINVAL,
                                          "%s: not the path of a socket (1 to 107 bytes of UTF-8 "
                                          "that can be printed): %s",
                                          what, shown);
                return 0;
        }
        if (!colon || colon == address || strlen(address) > 280 ||
            parse_u32_range(colon + 1, 0, 65535, &port) < 0)
                return error_setf(e, EINVAL, "%s: not HOST:PORT, [V6]:PORT or unix:PATH: %s", what,
                                  address);
        if (!plain || is_loopback(address))
                return 0;
        return error_setf(
                e, EPERM,
                "%s: %s is not on the loopback, and --insecure-plain-tcp is for nothing else; "
                "without it the network speaks TLS",
                what, address);
}

static int check(WorkerConf *c, Error *e)
{
        int r;

        if (c->listen) {
                r = worker_conf_check_address("the listening address", c->listen,
                                              c->insecure_plain_tcp, e);
                if (r < 0)
                        return r;
        }
        if (c->master) {
                r = worker_conf_check_address("the master's address", c->master,
                                              c->insecure_plain_tcp, e);
                if (r < 0)
                        return r;
        }
        if (c->slots > WORKER_SLOTS_MAX)
                return error_setf(e, EINVAL, "Slots=%u is more than %d", c->slots,
                                  WORKER_SLOTS_MAX);
        if (c->task_socket && (*c->task_socket != '/' || strlen(c->task_socket) > 107))
                return error_setf(
                        e, EINVAL,
                        "--task-socket= is not the absolute path of a socket (at most 107 "
                        "bytes): %s",
                        c->task_socket);
        if (c->instance && !instance_is_valid(c->instance))
                return error_setf(e, EINVAL,
                                  "--instance= is not letters, digits, _ and -, no digit first: %s",
                                  c->instance);
        if (!text_is_name(c->name))
                return error_setf(e, EINVAL, "the worker's name is empty, too long or not text");
        if (c->task_memory_bytes < MIB(1) || c->task_memory_bytes > GIB(1024))
                return error_setf(e, EINVAL, "TaskMemory= is not from 1M to 1024G");
        return key_files_complete(&c->keys, getenv("CREDENTIALS_DIRECTORY"), e);
}

static uint32_t processor_count(void)
{
        cpu_set_t set;
        int n;

        n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);
        return (uint32_t) CLAMP(n, 1, WORKER_SLOTS_MAX);
}

static int load(int argc, char *argv[], WorkerConf *c, Error *e)
{
        Options o = {};
        int r;

        r = parse_options(argc, argv, &o, e);
        if (r <= 0)
                return r;
        if (o.ephemeral) /* nobody else frees room for its one job: a full disk must fail it */
                c->min_free_bytes = 0;
        r = read_files(o.config, c, e);
        if (r < 0)
                return r;
        r = apply_options(&o, c, e);
        if (r < 0)
                return r;
        if (c->master && !*c->master)
                g_clear_pointer(&c->master, g_free);
        r = check(c, e);
        return r < 0 ? r : 1;
}

int worker_conf_load(int argc, char *argv[], WorkerConf *ret, Error *e)
{
        char host[HOST_NAME_MAX + 1] = "localhost";
        WorkerConf c;
        int r;

        (void) gethostname(host, sizeof(host) - 1);
        c = (WorkerConf){
                .spool = g_strdup("/var/lib/mapreduced/worker"),
                .name = g_strdup(host),
                .bus = g_strdup("system"),
                .slots = processor_count(),
                .task_memory_bytes = MIB(64),
                .min_free_bytes = MIB(64),
                .reuse_cache_bytes = GIB(2),
                .rejoin_grace_usec = 300 * USEC_PER_SEC,
                .drain_usec = getenv("NOTIFY_SOCKET") ? DRAIN_USEC : 0,
                .exit_fd = -EBADF,
        };
        r = load(argc, argv, &c, e);
        if (r <= 0) {
                worker_conf_done(&c);
                return r;
        }
        *ret = c;
        return 1;
}

void worker_conf_done(WorkerConf *c)
{
        g_free(c->master);
        g_free(c->listen);
        g_free(c->spool);
        g_free(c->name);
        g_free(c->instance);
        g_free(c->bus);
        g_free(c->task_socket);
        g_free(c->advertise);
        g_free(c->join);
        key_files_done(&c->keys);
        *c = (WorkerConf){.exit_fd = -EBADF};
}

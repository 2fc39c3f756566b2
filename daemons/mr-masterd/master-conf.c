/*
 * Settings of mr-masterd — see master-conf.h.
 */
#include <getopt.h>
#include <pwd.h>

#include "base/parse.h"
#include "config.h"
#include "jobs/scheduler.h"
#include "mr-masterd/master-conf.h"
#include "pki/authority.h"
#include "platform/conf.h"
#include "platform/log.h"

#define DEFAULT_LISTEN "*:7077"
#define USER_WEIGHT_MAX 1000U
#define DEFAULT_STATE "/var/lib/mapreduced/master"

void master_conf_init(MasterConf *c)
{
        *c = (MasterConf){
                .listen = g_ptr_array_new_with_free_func(g_free),
                .state_dir = g_strdup(DEFAULT_STATE),
                .bus = g_strdup("system"),
                .lease_usec = 10 * USEC_PER_SEC,
                .clock_skew_max_usec = 500 * USEC_PER_MSEC,
                .heartbeat_usec = USEC_PER_SEC,
                .jobs_max = 1000,
                .keep_jobs = 100,
                .certificate_lifetime_usec = PKI_CERTIFICATE_LIFETIME_SEC * USEC_PER_SEC,
                .user_jobs_max = UINT32_MAX,
                .user_running_jobs_max = UINT32_MAX,
                .user_maps_max = UINT32_MAX,
                .user_reduces_max = UINT32_MAX,
                .user_weights = g_ptr_array_new_with_free_func(g_free),
                .backup_percent = BACKUP_CAP_PERCENT,
                .blacklist_usec = SCHED_BLACKLIST_USEC,
                .exit_with_fd = -EBADF,
        };
}

void master_conf_done(MasterConf *c)
{
        g_ptr_array_unref(c->listen);
        g_ptr_array_unref(c->user_weights);
        g_free(c->state_dir);
        g_free(c->bus);
        g_free(c->join_listen);
        g_free(c->advertise);
        key_files_done(&c->keys);
}

int master_conf_read(MasterConf *c, const char *path, Error *e)
{
        const ConfItem items[] = {
                {"Master", "Listen", conf_parse_strv, &c->listen},
                {"Master", "StateDirectory", conf_parse_path, &c->state_dir},
                {"Master", "LeaseSec", conf_parse_sec, &c->lease_usec},
                {"Master", "ClockSkewMax", conf_parse_sec, &c->clock_skew_max_usec},
                {"Master", "HeartbeatSec", conf_parse_sec, &c->heartbeat_usec},
                {"Master", "JoinListen", conf_parse_string, &c->join_listen},
                {"Master", "Advertise", conf_parse_string, &c->advertise},
                {"Master", "CACertificate", conf_parse_path, &c->keys.ca},
                {"Master", "Certificate", conf_parse_path, &c->keys.certificate},
                {"Master", "PrivateKey", conf_parse_path, &c->keys.key},
                {"Master", "RevocationList", conf_parse_path, &c->keys.list},
                {"Master", "CertificateLifetimeSec", conf_parse_sec, &c->certificate_lifetime_usec},
                {"Master", "InsecurePlainTCP", conf_parse_boolean, &c->insecure_plain_tcp},
                {"Master", "SharedResults", conf_parse_boolean, &c->shared_results},
                {"Master", "JobsMax", conf_parse_count, &c->jobs_max},
                {"Master", "KeepJobs", conf_parse_count, &c->keep_jobs},
                {"Master", "UserJobsMax", conf_parse_count, &c->user_jobs_max},
                {"Master", "UserRunningJobsMax", conf_parse_count, &c->user_running_jobs_max},
                {"Master", "UserMapsMax", conf_parse_count, &c->user_maps_max},
                {"Master", "UserReducesMax", conf_parse_count, &c->user_reduces_max},
                {"Master", "UserWeight", conf_parse_strv, &c->user_weights},
                {"Master", "BackupPercent", conf_parse_count, &c->backup_percent},
                {"Master", "BlacklistSec", conf_parse_sec, &c->blacklist_usec},
                {},
        };
        g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
        int r;

        r = conf_read("masterd.conf", path, items, warnings, e);
        for (guint i = 0; i < warnings->len; i++)
                log_warning("%s", (const char *) warnings->pdata[i]);
        return r;
}

static void help(void)
{
        printf("mr-masterd [OPTIONS...]\n\n"
               "Plans MapReduce jobs, gives their tasks to workers and puts their results in place.\n\n"
               "  -h --help               Show this help\n"
               "     --version            Show the version\n"
               "     --config=FILE        Read FILE instead of %s/mapreduced/masterd.conf\n"
               "     --bus=BUS            system (default), session, none, fd:N, or a D-Bus address\n"
               "     --listen=ADDRESS     HOST:PORT, unix:PATH or fd:N where workers register; repeatable\n"
               "                          (default: " DEFAULT_LISTEN ")\n"
               "     --join-listen=ADDRESS  Where new hosts ask to be let in, while a token is valid\n"
               "                          (default: the port after the first --listen)\n"
               "     --advertise=HOST     By which name or address other hosts reach this one\n"
               "     --insecure-plain-tcp Serve TCP on the loopback without TLS: for tests only\n"
               "     --state=DIR          Where jobs are kept (default: " DEFAULT_STATE ")\n"
               "     --lease=SEC          A worker silent for so long is lost (default: 10)\n"
               "     --heartbeat=SEC      How often workers say that they live (default: 1)\n"
               "     --shared-results     Workers see the state directory and write results there\n"
               "     --ephemeral          Sync nothing to disk, delete the state directory at the end\n"
               "     --expect-slots=N     Plan for N slots before a worker has registered\n"
               "     --exit-with-fd=N     End when the peer of this inherited socket is gone\n",
               MR_SYSCONFDIR);
}

enum {
        ARG_VERSION = 0x100,
        ARG_CONFIG,
        ARG_BUS,
        ARG_LISTEN,
        ARG_JOIN_LISTEN,
        ARG_ADVERTISE,
        ARG_INSECURE_PLAIN_TCP,
        ARG_STATE,
        ARG_LEASE,
        ARG_HEARTBEAT,
        ARG_SHARED_RESULTS,
        ARG_EPHEMERAL,
        ARG_EXPECT_SLOTS,
        ARG_EXIT_WITH_FD,
};

static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, ARG_VERSION},
        {"config", required_argument, NULL, ARG_CONFIG},
        {"bus", required_argument, NULL, ARG_BUS},
        {"listen", required_argument, NULL, ARG_LISTEN},
        {"join-listen", required_argument, NULL, ARG_JOIN_LISTEN},
        {"advertise", required_argument, NULL, ARG_ADVERTISE},
        {"insecure-plain-tcp", no_argument, NULL, ARG_INSECURE_PLAIN_TCP},
        {"state", required_argument, NULL, ARG_STATE},
        {"lease", required_argument, NULL, ARG_LEASE},
        {"heartbeat", required_argument, NULL, ARG_HEARTBEAT},
        {"shared-results", no_argument, NULL, ARG_SHARED_RESULTS},
        {"ephemeral", no_argument, NULL, ARG_EPHEMERAL},
        {"expect-slots", required_argument, NULL, ARG_EXPECT_SLOTS},
        {"exit-with-fd", required_argument, NULL, ARG_EXIT_WITH_FD},
        {},
};

static int set_fd(const char *value, int *ret, Error *e)
{
        uint32_t fd;

        if (parse_u32_range(value, 3, 1023, &fd) < 0)
                return error_setf(e, EINVAL, "not a descriptor number: --exit-with-fd=%s", value);
        *ret = (int) fd;
        return 0;
}

static int set_slots(const char *value, uint32_t *ret, Error *e)
{
        return parse_u32_range(value, 1, MASTER_SLOTS_MAX, ret) < 0
                       ? error_setf(e, EINVAL, "not a number of slots, 1 to %u: --expect-slots=%s",
                                    MASTER_SLOTS_MAX, value)
                       : 0;
}

static int set_sec(const char *name, const char *value, uint64_t *ret_usec, Error *e)
{
        return parse_sec(value, ret_usec) < 0
                       ? error_setf(e, EINVAL, "not a time span such as 10 or 500ms: --%s=%s", name,
                                    value)
                       : 0;
}

static int set_path(const char *value, char **ret)
{
        g_free(*ret);
        *ret = g_canonicalize_filename(value, NULL);
        return 0;
}

static int set_string(const char *value, char **ret)
{
        g_free(*ret);
        *ret = g_strdup(value);
        return 0;
}

/* One option, but for those that end the program. @first_listen: the command line replaces the
 * file's list. */
static int set_option(MasterConf *c, int option, bool *first_listen, Error *e)
{
        switch (option) {
        case ARG_BUS:
                return set_string(optarg, &c->bus);
        case ARG_LISTEN:
                if (*first_listen)
                        g_ptr_array_set_size(c->listen, 0);
                *first_listen = false;
                g_ptr_array_add(c->listen, g_strdup(optarg));
                return 0;
        case ARG_JOIN_LISTEN:
                return set_string(optarg, &c->join_listen);
        case ARG_ADVERTISE:
                return set_string(optarg, &c->advertise);
        case ARG_INSECURE_PLAIN_TCP:
                c->insecure_plain_tcp = true;
                return 0;
        case ARG_STATE:
                return set_path(optarg, &c->state_dir);
        case ARG_LEASE:
                return set_sec("lease", optarg, &c->lease_usec, e);
        case ARG_HEARTBEAT:
                return set_sec("heartbeat", optarg, &c->heartbeat_usec, e);
        case ARG_SHARED_RESULTS:
                c->shared_results = true;
                return 0;
        case ARG_EPHEMERAL:
                c->ephemeral = true;
                return 0;
        case ARG_EXPECT_SLOTS:
                return set_slots(optarg, &c->expected_slots, e);
        case ARG_EXIT_WITH_FD:
                return set_fd(optarg, &c->exit_with_fd, e);
        default:
                return 0;
        }
}

int master_conf_parse_weight(const char *value, uint32_t *ret_uid, uint32_t *ret_weight, Error *e)
{
        const char *colon = strrchr(value, ':');
        g_autofree char *name = colon ? g_strndup(value, (gsize) (colon - value)) : NULL;
        const struct passwd *pw;

        if (!name || !*name)
                return error_setf(e, EINVAL, "not USER:WEIGHT: UserWeight=%s", value);
        if (parse_u32_range(colon + 1, 1, USER_WEIGHT_MAX, ret_weight) < 0)
                return error_setf(e, ERANGE, "the weight must be 1 to %u: UserWeight=%s",
                                  USER_WEIGHT_MAX, value);
        if (parse_u32_range(name, 0, UINT32_MAX - 1, ret_uid) >= 0)
                return 0;
        pw = getpwnam(name);
        if (!pw)
                return error_setf(e, ESRCH, "there is no user %s: UserWeight=%s", name, value);
        *ret_uid = pw->pw_uid;
        return 0;
}

static int check_sharing(const MasterConf *c, Error *e)
{
        if (c->backup_percent > 100)
                return error_setf(e, ERANGE, "backups can take at most all slots: BackupPercent=%u",
                                  c->backup_percent);
        if (c->blacklist_usec < USEC_PER_SEC || c->blacklist_usec > 3600 * USEC_PER_SEC)
                return error_setf(e, ERANGE, "BlacklistSec= must be 1s to 1h");
        for (guint i = 0; i < c->user_weights->len; i++) {
                uint32_t uid, weight;
                int r;

                r = master_conf_parse_weight(c->user_weights->pdata[i], &uid, &weight, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check(MasterConf *c, Error *e)
{
        int r;

        if (c->listen->len == 0)
                g_ptr_array_add(c->listen, g_strdup(DEFAULT_LISTEN));
        if (c->heartbeat_usec < 10 * USEC_PER_MSEC || c->lease_usec / 2 < c->heartbeat_usec ||
            c->lease_usec > 3600 * USEC_PER_SEC)
                return error_setf(
                        e, EINVAL,
                        "the lease must last at least two heartbeats and at most an hour, and a "
                        "heartbeat at least 10ms");
        if (c->certificate_lifetime_usec < USEC_PER_SEC ||
            c->certificate_lifetime_usec > PKI_AUTHORITY_LIFETIME_SEC * USEC_PER_SEC)
                return error_setf(e, EINVAL, "CertificateLifetimeSec= is from 1s to 10 years");
        for (guint i = 0; c->insecure_plain_tcp && i < c->listen->len; i++) {
                const char *address = c->listen->pdata[i];

                if (address_is_tcp(address) && !address_is_loopback(address))
                        return error_setf(
                                e, EPERM,
                                "not listening on %s: --insecure-plain-tcp is for the loopback only, "
                                "where every local user can reach it; without it the network speaks TLS",
                                address);
        }
        r = check_sharing(c, e);
        if (r < 0)
                return r;
        return key_files_complete(&c->keys, getenv("CREDENTIALS_DIRECTORY"), e);
}

int master_conf_parse(MasterConf *c, int argc, char *argv[], Error *e)
{
        const char *config = NULL;
        bool first_listen = true;
        int option, r;

        /* The file first, whatever its place among the options. */
        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                if (option == '?')
                        return error_setf(e, EINVAL, "see mr-masterd --help");
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == ARG_VERSION) {
                        printf("mr-masterd %s\n", MR_VERSION);
                        return 0;
                }
                if (option == ARG_CONFIG)
                        config = optarg;
        }
        if (optind < argc)
                return error_setf(e, EINVAL, "takes no arguments: %s", argv[optind]);
        r = master_conf_read(c, config, e);
        if (r < 0)
                return r;
        optind = 1;
        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                r = set_option(c, option, &first_listen, e);
                if (r < 0)
                        return r;
        }
        r = check(c, e);
        return r < 0 ? r : 1;
}

/* 127.0.0.0/8 as digits, not as the beginning of somebody's host name. */
static bool is_loopback_v4(const char *address)
{
        size_t n = strspn(address, "0123456789.");

        return g_str_has_prefix(address, "127.") && address[n] == ':';
}

bool address_is_loopback(const char *address)
{
        return g_str_has_prefix(address, "localhost:") || g_str_has_prefix(address, "[::1]:") ||
               is_loopback_v4(address);
}

bool address_is_tcp(const char *address)
{
        return !g_str_has_prefix(address, "unix:") && !g_str_has_prefix(address, "fd:");
}

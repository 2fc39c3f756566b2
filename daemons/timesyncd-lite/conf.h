/*
 * Configuration of timesyncd-lite — the file first, then the command line, which wins.
 */
#pragma once

#include "base/error.h"
#include "timekeeping/keeper.h"

#define CONF_PORT "7076"
#define CONF_LISTEN_MAX 16U
/* Of a clock that the kernel says is kept, when nobody says how far from a reference: pool servers
 * are of stratum 2 mostly, so who follows one is of 3. */
#define CONF_KERNEL_STRATUM 3U

typedef enum TimeRole {
        TIME_ROLE_CLIENT, /* disciplines the clock, and serves it where Listen= says */
        TIME_ROLE_SERVER, /* serves the clock that another program disciplines, or nobody */
        _TIME_ROLE_MAX,
        _TIME_ROLE_INVALID = -EINVAL,
} TimeRole;

const char *time_role_to_string(TimeRole role);

typedef struct TimeConf {
        TimeRole role;
        GPtrArray *servers; /* of char *, "HOST:PORT" or as evgrpc_channel_new() takes it */
        GPtrArray *listen;
        KeeperConfig keeper;
        char *ca, *certificate, *key; /* all of them or none */
        char *server_name; /* that servers' certificates must have; NULL: that of their address */
        bool allow_plaintext;
        uint32_t local_stratum;   /* 0: the clock is no reference by itself */
        uint32_t kernel_stratum;  /* of a clock that another program keeps */
        uint32_t rate_per_second; /* exchanges of one client */
        uint64_t save_usec;       /* of drift and time */
        char *state_dir;          /* absolute */
        char *run_dir;            /* of lock and flag; NULL: neither, as in a dry run */
        char *bus;                /* as bus_open() takes it */
        char *query;              /* ask this server once, and end */
        bool dry_run;
        int64_t dry_run_offset_ns; /* of the virtual clock at its start */
        double dry_run_ppm;
        uint64_t own_id; /* 0: the kernel's */
        int argc;        /* to read it all again */
        char **argv;
} TimeConf;

/**
 * time_conf_load() - read the command line and the configuration it leads to
 *
 * --help and --version print to standard output and are the whole run.
 *
 * Return: 1 to go on, 0 when all was said, negative errno with the sentence in @e.
 */
int time_conf_load(int argc, char *argv[], TimeConf *ret, Error *e);

/* "HOST" gets the default port. Return: 0 and an address that may be used, or -EINVAL, -EPERM where
 * it needs TLS. */
int time_conf_address(const TimeConf *c, const char *what, const char *text, char **ret, Error *e);

void time_conf_done(TimeConf *c);

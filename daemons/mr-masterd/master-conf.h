/*
 * Settings of mr-masterd — from masterd.conf, then from the command line, which wins.
 */
#pragma once

#include "base/error.h"
#include "pki/key-dir.h"

#define MASTER_SLOTS_MAX 4096U /* of a worker, as RegisterRequest.slots says */

typedef struct MasterConf {
        GPtrArray *listen; /* char *: "HOST:PORT", "unix:PATH", "fd:N" */
        char *state_dir;
        char *bus;
        uint64_t clock_skew_max_usec; /* of a worker: beyond it a warning */
        uint64_t lease_usec;
        uint64_t heartbeat_usec;
        uint32_t jobs_max;  /* that are not over */
        uint32_t keep_jobs; /* that are over */
        /* Of one user; UINT32_MAX: no limit. */
        uint32_t user_jobs_max, user_running_jobs_max, user_maps_max, user_reduces_max;
        GPtrArray *user_weights; /* char *: "NAME:WEIGHT"; checked */
        uint32_t backup_percent;
        uint64_t blacklist_usec;
        KeyFiles keys;     /* of an own PKI */
        char *join_listen; /* where new hosts ask to be let in; NULL: the port after the first of
                              listen */
        char *advertise;   /* the host by which others reach us; NULL: found out */
        uint64_t certificate_lifetime_usec;
        bool insecure_plain_tcp; /* on loopback, for tests */
        bool shared_results;
        bool ephemeral;
        uint32_t expected_slots; /* where no worker has registered yet; 0: unknown */
        int exit_with_fd;        /* -EBADF: none */
} MasterConf;

void master_conf_init(MasterConf *c);
void master_conf_done(MasterConf *c);

/* @path: as --config= gives it, or NULL. Warnings are logged. */
int master_conf_read(MasterConf *c, const char *path, Error *e);

/**
 * master_conf_parse() - the command line, over the configuration it names
 * Return: 1: go on; 0: it asked for --help or --version, which were printed; negative errno with a
 * sentence.
 */
int master_conf_parse(MasterConf *c, int argc, char *argv[], Error *e);

/* "NAME:WEIGHT" or "UID:WEIGHT". -EINVAL, -ESRCH (no such user) or -ERANGE with a sentence. */
int master_conf_parse_weight(const char *value, uint32_t *ret_uid, uint32_t *ret_weight, Error *e);

/* Whether it is an address of the loopback interface, with a port. */
bool address_is_loopback(const char *address);
bool address_is_tcp(const char *address); /* neither unix:PATH nor fd:N */

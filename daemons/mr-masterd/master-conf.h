/*
 * Settings of mr-masterd — from masterd.conf, then from the command line, which wins.
 */
#pragma once

#include "base/error.h"

typedef struct MasterConf {
        GPtrArray *listen; /* char *: "HOST:PORT", "unix:PATH", "fd:N" */
        char *state_dir;
        char *bus;
        uint64_t lease_usec;
        uint64_t heartbeat_usec;
        uint32_t jobs_max;  /* that are not over */
        uint32_t keep_jobs; /* that are over */
        bool allow_plaintext;
        bool shared_results;
        bool ephemeral;
        int exit_with_fd; /* -EBADF: none */
} MasterConf;

void master_conf_init(MasterConf *c);
void master_conf_done(MasterConf *c);

/* @path: as --config= gives it, or NULL. Warnings are logged. */
int master_conf_read(MasterConf *c, const char *path, Error *e);

/**
 * master_conf_parse() - the command line, over the configuration it names
 * Return: 1: go on; 0: it asked for --help or --version, which were printed; negative errno with a sentence.
 */
int master_conf_parse(MasterConf *c, int argc, char *argv[], Error *e);

/* Whether an address stays on this host: a unix socket, loopback, or an inherited descriptor. */
bool address_is_local(const char *address);

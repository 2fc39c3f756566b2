/*
 * Configuration of mr-workerd — the file first, then the command line, which wins.
 */
#pragma once

#include "base/error.h"
#include "pki/key-dir.h"

typedef struct WorkerConf {
        char *master;      /* the master's address; NULL: none, the worker idles */
        char *listen;      /* where Worker is served; NULL: as the master is reached */
        char *advertise;   /* by which host others reach us; NULL: found out */
        char *spool;       /* absolute path */
        char *name;        /* for people */
        char *instance;    /* suffix of the bus name; NULL: none */
        char *bus;         /* as bus_open() takes it */
        char *task_socket; /* where task processes are had; NULL: they are children */
        uint32_t slots;    /* task processes at a time */
        uint64_t task_memory_bytes;
        uint64_t drain_usec;        /* at stop, for what runs to end */
        uint64_t rejoin_grace_usec; /* attempts outlive their master for so long */
        uint64_t reuse_cache_bytes; /* map outputs kept for later jobs */
        uint64_t min_free_bytes;    /* on the spool's file system; below it attempts are rejected */
        KeyFiles keys;              /* of an own PKI */
        char *join;                 /* a token, or "-": standard input; NULL: run */
        bool spool_given;           /* on the command line */
        bool insecure_plain_tcp;    /* on loopback, for tests */
        bool ephemeral;
        int exit_fd; /* a parent's descriptor, or -EBADF */
} WorkerConf;

#define WORKER_SLOTS_MAX 4096 /* as RegisterRequest.slots says */

/**
 * worker_conf_load() - read the command line and the configuration it leads to
 *
 * --help and --version print to standard output and are the whole run.
 *
 * Return: 1 to go on, 0 when all was said, negative errno with the sentence in @e.
 */
int worker_conf_load(int argc, char *argv[], WorkerConf *ret, Error *e);

/**
 * worker_conf_check_address() - is it an address, and may it be spoken to?
 * @what:  "Listen=" and the like, for the message
 * @plain: --insecure-plain-tcp was given: TCP is for the loopback only
 *
 * Return: 0; -EINVAL for no address at all; -EPERM for one that plain bytes may not be sent to.
 */
int worker_conf_check_address(const char *what, const char *address, bool plain, Error *e);

void worker_conf_done(WorkerConf *c);

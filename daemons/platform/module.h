/*
 * Programs as modules — one of our own daemons as a thread of this process.
 *
 * What a program of a few milliseconds costs is its start: an address space is made or copied, a
 * dozen libraries are found, mapped and relocated, and all of it is taken apart again at the end. A
 * process that has those libraries already runs the daemon in a thread instead: its program, linked
 * a second time as a shared object of which `program` is the only symbol to be seen, has its own
 * copy of all that is static. `mrctl --local` starts its daemons so.
 *
 *              mrctl ── thread ── mr-masterd-local.so: program.run()
 *                └───── thread ── mr-workerd-local.so: program.run() ── spawn ── mr-task
 *
 * Such a program is a guest: signals, the service manager and standard output are its host's, and
 * it ends when a descriptor that it was given says so. If it crashes, its host does.
 */
#pragma once

#include "base/error.h"
#include "platform/task-process.h"

#define HOST_STARTS_CHILD ((pid_t) -1)

typedef struct ModuleHost {
        /* That the host started: it is nobody's orphan. 0: none, HOST_STARTS_CHILD: it is about to
         * be known. */
        const _Atomic pid_t *child;
        TaskProcess task; /* a worker's first task process, or none; the worker takes it */
} ModuleHost;

/* What a module has to export, as `program`. */
typedef struct Program {
        /**
         * prepare() - read the options
         * @host: whose process this is, or NULL: its own
         * @argv: to be kept until run() has returned
         *
         * Called alone, for getopt() has one state in a process.
         *
         * Return: 1 when there is something to run; 0 when all is done; negative errno after it was
         * logged.
         */
        int (*prepare)(int argc, char *argv[], const ModuleHost *host, void **ret_state);

        /* Takes @state. Returns an exit status. */
        int (*run)(void *state);
} Program;

/* A program's main(). */
int program_main(const Program *program, int argc, char *argv[]);

typedef struct Module Module;

/**
 * module_new() - load a program, and read its options
 * @path: of the module
 * @argv: NULL-terminated; the first names the thread. It belongs to the caller, until
 *        module_free().
 *
 * To be done for all modules before any is started: while a process has one thread only, no other
 * processor has to be told of the mappings that this changes.
 *
 * Return: 0, or negative errno with a message; options that were wrong are on standard error
 * (-EINVAL).
 */
int module_new(const char *path, char *argv[], const ModuleHost *host, Module **ret, Error *e);

/**
 * module_start() - run it in a thread
 *
 * The thread has the C locale and the caller's blocked signals. Those that event loops take from a
 * descriptor are of the process: the caller must have them blocked.
 *
 * Return: 0, or negative errno with a message.
 */
int module_start(Module *m, Error *e);

/* Readable once the program has ended; the module's. */
int module_end_fd(const Module *m);

/* Waits until @until_usec of CLOCK_MONOTONIC for the end. Return: true, with the exit status, or
 * false. One that was not started has ended well. */
bool module_wait(Module *m, uint64_t until_usec, int *ret_status);

/* Only after module_wait() said true. What the module loaded stays: nothing of it is worth being
 * unmapped. */
Module *module_free(Module *m);

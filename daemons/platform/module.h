/*
 * Programs as modules — a child that runs one of our own programs without an execve().
 *
 * What a program of a few milliseconds costs is its start: a dozen libraries are found, mapped and relocated, and
 * every page of them that the linker writes to is the process's own. A child that is forked has all that
 * already, shared with its parent until it writes; what is missing, the program itself, is linked a second time as a
 * shared object, whose main() is the only symbol to be seen. `mrctl --local` starts its daemons so.
 *
 *              mrctl ── fork ── mr-masterd-local.so: main()
 *                └───── fork ── mr-workerd-local.so: main() ── fork ── mr-task-local.so: main()
 *
 * Only for a process with one thread, and small: after fork() in one with more, a lock that another thread held stays
 * held, and page tables are copied. spawn() is for all others.
 */
#pragma once

#include "platform/spawn.h"

/**
 * spawn_module() - start a program that is linked as a module
 * @path:  of the module
 * @argv:  of its main(); the first is also what ps shows of the process
 * @ret:   the child's pid, to be waited for by the caller
 *
 * The child starts as one by spawn() does: no blocked signals, default dispositions, the C locale, and of our
 * descriptors standard error and those in @options. A module that cannot be loaded is a sentence on standard
 * error and the exit status 127.
 *
 * Return: 0, or the errno of fork().
 */
int spawn_module(const char *path, char *const argv[], const SpawnOptions *options, pid_t *ret);

/* Ends this process without the destructors of libraries, each of which would touch pages of its own to free what the
 * kernel frees anyhow. What was printed is flushed; functions given to atexit() are not called. */
_Noreturn void end_process(int status);

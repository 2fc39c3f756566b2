/*
 * Child processes — by posix_spawn, because fork() from a large process copies its page tables.
 */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

typedef struct SpawnFd {
        int ours;   /* our descriptor, or -EBADF for /dev/null */
        int theirs; /* its number in the child, 0 to 63; a descriptor may be given twice */
} SpawnFd;

typedef struct SpawnOptions {
        const SpawnFd *fds; /* everything else with close-on-exec stays here */
        size_t fd_count;
        char *const *env; /* NULL: ours */
        int cwd_fd;       /* -1: ours */
        bool new_group; /* a process group of its own, so that ^C and kill(-pid) are ours to give */
} SpawnOptions;

/**
 * spawn() - start a program
 * @path:  absolute or relative path; searched in $PATH when it has no slash
 * @ret:   the child's pid, to be waited for by the caller
 *
 * The child starts with no blocked signals and default dispositions.
 *
 * Return: 0, or the errno of the failed start (-ENOENT, -EACCES, …).
 */
int spawn(const char *path, char *const argv[], const SpawnOptions *options, pid_t *ret);

/**
 * find_helper() - where one of our own programs is
 *
 * Beside this program's binary (a build folder keeps every program in a folder of its name next to
 * the others), else in the libexec directory. $MR_HELPER_DIR overrides. Caller frees.
 *
 * Return: 0, or -ENOENT.
 */
int find_helper(const char *name, char **ret);

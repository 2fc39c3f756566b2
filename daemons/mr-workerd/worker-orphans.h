/*
 * Orphans — processes of user code whose mr-task was killed before it could end them.
 *
 * An mr-task ends what it started. One that the kernel kills (out of memory) cannot; since the
 * worker is the reaper of its whole tree (PR_SET_CHILD_SUBREAPER), what is left becomes its own
 * children, and is known by being nobody the worker started. (In a process that the worker is but a
 * guest of, one child is the host's: platform/service.h.)
 */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

/* From here on orphans come to this process. Once, before any child is started. */
int orphans_adopt(void);

/**
 * orphans_kill() - one sweep: kill every stranger among the children, reap those that are dead
 * @is_ours: a child that was started on purpose
 *
 * The killed ones' own children come to us in turn: sweep again while there are any.
 *
 * Return: how many were found, or negative errno (-ENOENT where the kernel does not list children).
 */
int orphans_kill(bool (*is_ours)(pid_t pid, void *userdata), void *userdata);

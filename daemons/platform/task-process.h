/*
 * mr-task as a child — the descriptors that it is started with.
 */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

typedef struct TaskProcess {
        pid_t pid; /* 0: none */
        int fd;    /* our end of its packet socket (platform/packet.h), not blocking */
} TaskProcess;

#define TASK_PROCESS_NONE ((TaskProcess){.fd = -EBADF})

/**
 * task_process_spawn() - start one, in a process group of its own
 * @helper: as find_helper() found it
 *
 * It ends, with all it started, when our end of the socket is closed.
 *
 * Return: 0, or the errno of the failed start.
 */
int task_process_spawn(const char *helper, TaskProcess *ret);

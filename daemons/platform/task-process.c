/*
 * mr-task as a child — see task-process.h.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "platform/spawn.h"
#include "platform/task-process.h"

int task_process_spawn(const char *helper, TaskProcess *ret)
{
        char *argv[] = {(char *) "mr-task", NULL};
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        int pair[2], r;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        SpawnOptions o = {
                .fds =
                        (SpawnFd[]){
                                {.ours = -EBADF, .theirs = 0},
                                {.ours = -EBADF, .theirs = 1},
                                {.ours = theirs, .theirs = 3},
                        },
                .fd_count = 3,
                .cwd_fd = -1,
                .new_group = true,
        };
        r = spawn(helper, argv, &o, &pid);
        if (r >= 0)
                *ret = (TaskProcess){.pid = pid, .fd = TAKE_FD(ours)};
        return r;
}

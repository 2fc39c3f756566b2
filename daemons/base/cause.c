/*
 * Causes — see cause.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/cause.h"

const char *cause_of_errno(int code)
{
        switch (abs(code)) {
        case ENOSPC:
        case EDQUOT:
                return CAUSE_DISK_FULL;
        case EACCES:
        case EPERM:
        case EROFS:
                return CAUSE_NOT_PERMITTED;
        case ENOENT:
        case ENOTDIR:
                return CAUSE_FILE_MISSING;
        case ESTALE:
                return CAUSE_INPUT_CHANGED;
        case EEXIST:
        case ENOTEMPTY:
                return CAUSE_OUTPUT_EXISTS;
        case ENOMEM:
                return CAUSE_MEMORY;
        case ETIMEDOUT:
                return CAUSE_TIME_LIMIT;
        default:
                return "";
        }
}

const char *cause_of_status(int status)
{
        if (WIFSIGNALED(status))
                return WTERMSIG(status) == SIGKILL ? CAUSE_COMMAND_KILLED : CAUSE_COMMAND_CRASHED;
        switch (WEXITSTATUS(status)) {
        case 0:
                return "";
        case 127:
                return CAUSE_COMMAND_NOT_FOUND;
        case 126:
                return CAUSE_COMMAND_NOT_EXECUTABLE;
        default:
                return CAUSE_COMMAND_FAILED;
        }
}

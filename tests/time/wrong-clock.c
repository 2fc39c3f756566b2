/*
 * Wrong clock — loaded before a program (LD_PRELOAD), its CLOCK_REALTIME is WRONG_CLOCK_SEC seconds
 * ahead.
 *
 * All else, the monotonic clock and timers on it above all, stays as it is: a host whose clock is
 * wrong, on a machine where nobody may set one.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ret)
{
        int r = (int) syscall(SYS_clock_gettime, id, ret);
        const char *ahead = getenv("WRONG_CLOCK_SEC");

        if (r == 0 && id == CLOCK_REALTIME && ahead)
                ret->tv_sec += strtol(ahead, NULL, 10);
        return r;
}

/*
 * mr-sweep — removes the directory of a job of `mrctl --local` whose mrctl was killed.
 *
 *      mr-sweep DIR
 *
 * Its standard input is a pipe that nobody writes to: it ends with mrctl. Who ends in order has removed the directory
 * and killed this program before. Tasks of a killed mrctl take a second to end, and may write until then. It needs
 * nothing but libc and base/fs-remove.c: it is started with every such job, and most live for milliseconds.
 */
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "base/fs.h"

#define ATTEMPTS 100
#define PAUSE_NSEC 100000000 /* so for 10 s */

static void wait_for_the_end(void)
{
        char byte;

        while (read(STDIN_FILENO, &byte, 1) != 0)
                if (errno != EINTR)
                        break;
}

int main(int argc, char *argv[])
{
        const struct timespec pause = {.tv_nsec = PAUSE_NSEC};
        sigset_t all;
        int r = 0;

        if (argc != 2) {
                (void) fprintf(stderr, "Usage: mr-sweep DIR <PIPE\n");
                return EXIT_FAILURE;
        }
        (void) sigfillset(&all); /* what ends mrctl is not to end this */
        (void) sigprocmask(SIG_BLOCK, &all, NULL);
        wait_for_the_end();
        for (int i = 0; i < ATTEMPTS; i++) {
                r = rm_rf_at(AT_FDCWD, argv[1]);
                if (r >= 0)
                        return EXIT_SUCCESS;
                (void) nanosleep(&pause, NULL);
        }
        (void) fprintf(stderr, "mr-sweep: cannot remove %s: %s\n", argv[1], strerror(-r));
        return EXIT_FAILURE;
}

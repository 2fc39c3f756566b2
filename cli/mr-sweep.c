/*
 * mr-sweep — removes what a job of `mrctl --local` leaves whose mrctl was killed.
 *
 *      mr-sweep DIR <PIPE
 *
 * DIR is the private directory of that mrctl. From the pipe comes "TAG OUTPUT" once the job has an output directory, and
 * then nothing: it ends with mrctl. Who ends in order has removed DIR and killed this program before. Tasks of a
 * killed mrctl take a second to end, and may write until then. Of OUTPUT what the job wrote is removed if it is marked
 * as this job's and not done (base/output-names.h).
 *
 * It needs nothing but libc and base/fs-remove.c: it is started with every such job, and most live for milliseconds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#include "base/fs.h"
#include "base/output-names.h"

#define ATTEMPTS 100
#define PAUSE_NSEC 100000000 /* so for 10 s */

/* Until mrctl is gone. @text: what it said, NUL-terminated. */
static void wait_for_the_end(char *text, size_t size)
{
        size_t length = 0;

        while (length < size - 1) {
                ssize_t n = read(STDIN_FILENO, text + length, size - 1 - length);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                length += (size_t) n;
        }
        text[length] = '\0';
}

static bool is_marked(int output_fd, const char *tag)
{
        char path[sizeof(OUTPUT_TEMPORARY) + NAME_MAX + 2];

        if (snprintf(path, sizeof(path), OUTPUT_TEMPORARY "/%s", tag) >= (int) sizeof(path))
                return false;
        return faccessat(output_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

static bool starts_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The mark goes last: a second attempt still sees it. */
static int empty(DIR *d)
{
        int fd = dirfd(d), r = 0;
        struct dirent *de;

        rewinddir(d);
        while ((de = readdir(d))) {
                int n = 0;

                if (starts_with(de->d_name, OUTPUT_PART_PREFIX) ||
                    strcmp(de->d_name, OUTPUT_SKIPPED) == 0)
                        n = rm_rf_at(fd, de->d_name);
                r = r < 0 ? r : n;
        }
        return r < 0 ? r : rm_rf_at(fd, OUTPUT_TEMPORARY);
}

static int sweep_output(const char *output, const char *tag)
{
        DIR *d = opendir(output);
        int r;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        r = is_marked(dirfd(d), tag) ? empty(d) : 0;
        (void) closedir(d);
        return r;
}

/* @text: "TAG OUTPUT", or less. */
static int sweep(const char *dir, char *text)
{
        char *space = strchr(text, ' ');
        int r = 0, n;

        if (space) {
                *space = '\0';
                r = sweep_output(space + 1, text);
                *space = ' ';
        }
        n = rm_rf_at(AT_FDCWD, dir);
        return r < 0 ? r : n;
}

int main(int argc, char *argv[])
{
        const struct timespec pause = {.tv_nsec = PAUSE_NSEC};
        char text[PATH_MAX + NAME_MAX + 2];
        sigset_t all;
        int r = 0;

        if (argc != 2) {
                (void) fprintf(stderr, "Usage: mr-sweep DIR <PIPE\n");
                return EXIT_FAILURE;
        }
        (void) sigfillset(&all); /* what ends mrctl is not to end this */
        (void) sigprocmask(SIG_BLOCK, &all, NULL);
        wait_for_the_end(text, sizeof(text));
        for (int i = 0; i < ATTEMPTS; i++) {
                r = sweep(argv[1], text);
                if (r >= 0)
                        return EXIT_SUCCESS;
                (void) nanosleep(&pause, NULL);
        }
        (void) fprintf(stderr, "mr-sweep: cannot remove what is in %s: %s\n", argv[1],
                       strerror(-r));
        return EXIT_FAILURE;
}

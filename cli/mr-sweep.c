/*
 * mr-sweep — removes what a job of `mrctl --local` leaves whose mrctl was killed.
 *
 *      mr-sweep DIR <PIPE
 *
 * DIR is the private directory of that mrctl. From the pipe comes "TAG OUTPUT" once the job has an
 * output directory, and then nothing: it ends with mrctl. Who ends in order has removed DIR and
 * killed this program before. Tasks of a killed mrctl take a second to end, and may write until
 * then. Of OUTPUT what the job wrote is removed if it is marked as this job's and not done
 * (base/output-names.h).
 *
 * It needs nothing but libc and base/fs-dir.c: it is started beside jobs that may live for
 * milliseconds more.
 */
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

/* Is what is in @output this job's, and not done? */
static bool is_marked(const char *output, const char *tag)
{
        char path[PATH_MAX + sizeof(OUTPUT_TEMPORARY) + NAME_MAX + 3];

        if (snprintf(path, sizeof(path), "%s/" OUTPUT_TEMPORARY "/%s", output, tag) >=
            (int) sizeof(path))
                return false;
        return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

static int remove_ours(int fd, const char *name, void *userdata)
{
        bool ours = strcmp(name, OUTPUT_TEMPORARY) == 0 || strcmp(name, OUTPUT_SKIPPED) == 0 ||
                    strncmp(name, OUTPUT_PART_PREFIX, strlen(OUTPUT_PART_PREFIX)) == 0;
        int *first = userdata;
        int r = ours ? rm_rf_at(fd, name) : 0;

        if (r < 0 && *first == 0)
                *first = r;
        return 0;
}

static int sweep_output(const char *output)
{
        int fd = open(output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int first = 0, r;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        r = dir_each(fd, remove_ours, &first);
        return first < 0 ? first : r;
}

/* @output: NULL once there is nothing more to do with it: when it is clean, the next job may take
 * it. */
static int sweep(const char *dir, const char **output)
{
        int r = *output ? sweep_output(*output) : 0;
        int n = rm_rf_at(AT_FDCWD, dir);

        if (r >= 0)
                *output = NULL;
        return r < 0 ? r : n;
}

int main(int argc, char *argv[])
{
        const struct timespec pause = {.tv_nsec = PAUSE_NSEC};
        char text[PATH_MAX + NAME_MAX + 2], *space;
        const char *output = NULL;
        sigset_t all;
        int r = 0;

        if (argc != 2) {
                (void) fprintf(stderr, "Usage: mr-sweep DIR <PIPE\n");
                return EXIT_FAILURE;
        }
        (void) sigfillset(&all); /* what ends mrctl is not to end this */
        (void) sigprocmask(SIG_BLOCK, &all, NULL);
        wait_for_the_end(text, sizeof(text));
        space = strchr(text, ' ');
        if (space)
                *space = '\0';
        if (space && is_marked(space + 1, text)) /* asked once: the mark is removed with the rest */
                output = space + 1;
        for (int i = 0; i < ATTEMPTS; i++) {
                r = sweep(argv[1], &output);
                if (r >= 0)
                        return EXIT_SUCCESS;
                (void) nanosleep(&pause, NULL);
        }
        (void) fprintf(stderr, "mr-sweep: cannot remove what is in %s: %s\n", argv[1],
                       strerror(-r));
        return EXIT_FAILURE;
}

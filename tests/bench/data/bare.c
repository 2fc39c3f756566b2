/*
 * A command bare on pipes: what a streaming job's mapper costs with no engine around it.
 *
 *      bare COMMAND FILE DIRECTORY
 *
 * The file is cut in two after a newline near its middle. Each half is read and written to a
 * COMMAND of its own, both at once, through pipes of the size that mr-task gives; what they write
 * comes back through such pipes and goes to DIRECTORY/0 and /1. No line is looked at, nothing is
 * counted, sorted or kept safe.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (1024 * 1024)
#define BLOCK_BYTES (256 * 1024)

static void copy(int from, off_t at, off_t end, int to)
{
        static char block[BLOCK_BYTES];

        while (at < end) {
                size_t want = end - at < BLOCK_BYTES ? (size_t) (end - at) : BLOCK_BYTES;
                ssize_t n = from == STDIN_FILENO ? read(from, block, want)
                                                 : pread(from, block, want, at);

                if (n < 0)
                        err(EXIT_FAILURE, "read");
                if (n == 0)
                        return;
                for (ssize_t done = 0; done < n;) {
                        ssize_t w = write(to, block + done, (size_t) (n - done));

                        if (w < 0)
                                err(EXIT_FAILURE, "write");
                        done += w;
                }
                at += n;
        }
}

static void make_pipe(int fds[2])
{
        if (pipe2(fds, O_CLOEXEC) < 0)
                err(EXIT_FAILURE, "pipe");
        (void) fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES);
}

static pid_t start(void)
{
        pid_t pid = fork();

        if (pid < 0)
                err(EXIT_FAILURE, "fork");
        return pid;
}

/* Feeder, command and collector of one half. */
static void run_half(const char *command, int file, off_t at, off_t end, const char *to)
{
        int in[2], out[2];

        make_pipe(in);
        make_pipe(out);
        if (start() == 0) {
                close(in[0]);
                close(out[0]);
                close(out[1]);
                copy(file, at, end, in[1]);
                _exit(EXIT_SUCCESS);
        }
        if (start() == 0) {
                if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0)
                        err(EXIT_FAILURE, "dup2");
                (void) execl("/bin/sh", "sh", "-c", command, (char *) NULL);
                err(EXIT_FAILURE, "/bin/sh");
        }
        if (start() == 0) {
                int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

                if (fd < 0 || dup2(out[0], STDIN_FILENO) < 0)
                        err(EXIT_FAILURE, "%s", to);
                close(in[0]);
                close(in[1]);
                close(out[1]);
                copy(STDIN_FILENO, 0, (off_t) 1 << 62, fd);
                _exit(EXIT_SUCCESS);
        }
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
}

static off_t middle_of(int file, off_t size)
{
        char block[64 * 1024];
        off_t at = size / 2;
        ssize_t n = pread(file, block, sizeof(block), at);
        char *newline = n > 0 ? memchr(block, '\n', (size_t) n) : NULL;

        return newline ? at + (newline + 1 - block) : size;
}

int main(int argc, char *argv[])
{
        char to[4096];
        struct stat st;
        int file, status, failed = 0;
        off_t middle;

        if (argc != 4)
                errx(EXIT_FAILURE, "bare COMMAND FILE DIRECTORY");
        file = open(argv[2], O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &st) < 0)
                err(EXIT_FAILURE, "%s", argv[2]);
        middle = middle_of(file, st.st_size);
        for (int i = 0; i < 2; i++) {
                (void) snprintf(to, sizeof(to), "%s/%d", argv[3], i);
                run_half(argv[1], file, i == 0 ? 0 : middle, i == 0 ? middle : st.st_size, to);
        }
        while (wait(&status) > 0)
                failed |= status;
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

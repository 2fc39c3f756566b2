/*
 * Programs as modules: what a program started by fork() has is what one started by execve() would have.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "platform/module.h"

static char *beside(const char *name)
{
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *dir = g_path_get_dirname(self);

        return g_build_filename(dir, name, NULL);
}

/* Runs @module with @given as descriptor 9 and standard output in a pipe; returns what it wrote. */
static char *run(const char *module, int given, int *ret_status)
{
        char *argv[] = {(char *) "mr-module", (char *) "-x", NULL};
        char *env[] = {(char *) "TEST_MODULE=here", NULL};
        g_autofree char *path = beside(module);
        char *out = g_malloc0(4096);
        int pipe_fds[2];
        SpawnFd fds[3];
        pid_t pid;

        g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
        fds[0] = (SpawnFd){.ours = pipe_fds[1], .theirs = 1};
        fds[1] = (SpawnFd){.ours = pipe_fds[1], .theirs = 2};
        fds[2] = (SpawnFd){.ours = given, .theirs = 9};
        SpawnOptions o = {.fds = fds, .fd_count = 3, .env = env, .cwd_fd = -1, .new_group = true};
        g_assert_cmpint(spawn_module(path, argv, &o, &pid), ==, 0);
        g_assert_cmpint(getpgid(pid), ==, pid);
        (void) close(pipe_fds[1]);
        g_assert_cmpint(read_full(pipe_fds[0], out, 4095), >=, 0);
        (void) close(pipe_fds[0]);
        g_assert_cmpint(waitpid(pid, ret_status, 0), ==, pid);
        return out;
}

static void test_a_module_gets_what_a_program_would(void)
{
        _cleanup_close_ int given = memfd_create("given", MFD_CLOEXEC);
        _cleanup_close_ int kept = fcntl(given, F_DUPFD, 200); /* not even close-on-exec */
        g_autofree char *out = NULL;
        sigset_t set, old;
        int status;

        g_assert_cmpint(kept, ==, 200);
        g_assert_cmpint(write(given, "given", 5), ==, 5);
        g_assert_cmpint(lseek(given, 0, SEEK_SET), ==, 0);
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        g_assert_cmpint(sigprocmask(SIG_BLOCK, &set, &old), ==, 0);
        (void) signal(SIGPIPE, SIG_IGN);
        optind = 7; /* as if we had read options of our own */

        out = run("module-child.so", given, &status);
        g_assert_cmpstr(out, ==,
                        "mr-module -x 2 given 0000000000000000 0000000000000000 here -1\n");
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 3);

        (void) signal(SIGPIPE, SIG_DFL);
        g_assert_cmpint(sigprocmask(SIG_SETMASK, &old, NULL), ==, 0);
}

static void test_a_module_that_is_not_there_is_named(void)
{
        _cleanup_close_ int given = memfd_create("given", MFD_CLOEXEC);
        g_autofree char *out = NULL;
        int status;

        out = run("no-such-module.so", given, &status);
        g_assert_nonnull(strstr(out, "mr-module: cannot be loaded: "));
        g_assert_nonnull(strstr(out, "no-such-module.so"));
        g_assert_cmpint(WEXITSTATUS(status), ==, 127);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/module/a-module-gets-what-a-program-would",
                        test_a_module_gets_what_a_program_would);
        g_test_add_func("/platform/module/a-module-that-is-not-there-is-named",
                        test_a_module_that_is_not_there_is_named);
        return g_test_run();
}

/*
 * Child processes: the descriptors they get and no others, clean signals, a group of their own.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "platform/spawn.h"

/* Runs @script by sh with stdout in a pipe; returns what it wrote. */
static char *run(const char *script, SpawnOptions *o, int extra_fd, int extra_number,
                 int *ret_status)
{
        char *argv[] = {(char *) "sh", (char *) "-c", (char *) script, NULL};
        char *out = g_malloc0(4096);
        SpawnFd fds[2];
        int pipe_fds[2];
        pid_t pid;

        g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
        fds[0] = (SpawnFd){.ours = pipe_fds[1], .theirs = 1};
        fds[1] = (SpawnFd){.ours = extra_fd, .theirs = extra_number};
        o->fds = fds;
        o->fd_count = extra_number >= 0 ? 2 : 1;
        g_assert_cmpint(spawn("sh", argv, o, &pid), ==, 0);
        (void) close(pipe_fds[1]);
        g_assert_cmpint(read_full(pipe_fds[0], out, 4095), >=, 0);
        (void) close(pipe_fds[0]);
        g_assert_cmpint(waitpid(pid, ret_status, 0), ==, pid);
        return out;
}

static void test_a_child_gets_what_it_was_given_and_no_more(void)
{
        _cleanup_close_ int given = memfd_create("given", MFD_CLOEXEC);
        _cleanup_close_ int kept = fcntl(given, F_DUPFD_CLOEXEC, 200);
        g_autofree char *script =
                g_strdup_printf("cat <&9; test -e /proc/self/fd/%d || echo ' and no more'", kept);
        SpawnOptions o = {.cwd_fd = -1};
        g_autofree char *out = NULL;
        int status;

        g_assert_cmpint(write(given, "given", 5), ==, 5);
        g_assert_cmpint(lseek(given, 0, SEEK_SET), ==, 0);
        out = run(script, &o, given, 9, &status);
        g_assert_cmpstr(out, ==, "given and no more\n");
}

static void test_signals_are_not_inherited(void)
{
        SpawnOptions o = {.cwd_fd = -1};
        sigset_t set, old;
        int status;
        g_autofree char *out = NULL;
        g_auto(GStrv) lines = NULL;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) signal(SIGPIPE, SIG_IGN);
        g_assert_cmpint(sigprocmask(SIG_BLOCK, &set, &old), ==, 0);
        out = run("grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2", &o, -1, -1, &status);
        g_assert_cmpint(sigprocmask(SIG_SETMASK, &old, NULL), ==, 0);
        lines = g_strsplit(out, "\n", 0);
        for (size_t i = 0; i < 2; i++) /* 32 and above are libc's own */
                g_assert_cmpuint(g_ascii_strtoull(lines[i], NULL, 16) & 0x7fffffff, ==, 0);
        g_assert_cmpstr(lines[2], ==, "");
}

static void test_a_group_and_a_directory_of_its_own(void)
{
        _cleanup_close_ int dir = open("/usr/share", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        SpawnOptions o = {.cwd_fd = dir, .new_group = true};
        int status;
        g_autofree char *out = run("pwd; test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leader",
                                   &o, -1, -1, &status);

        g_assert_cmpstr(out, ==, "/usr/share\nleader\n");
}

static void test_a_missing_program_is_an_error_of_the_start(void)
{
        char *argv[] = {(char *) "nothing", NULL};
        SpawnOptions o = {.cwd_fd = -1};
        pid_t pid = 0;

        g_assert_cmpint(spawn("/nonexistent/nothing", argv, &o, &pid), ==, -ENOENT);
        g_assert_cmpint(spawn("/etc/passwd", argv, &o, &pid), ==, -EACCES);
        g_assert_cmpint(pid, ==, 0);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/spawn/a-child-gets-what-it-was-given-and-no-more",
                        test_a_child_gets_what_it_was_given_and_no_more);
        g_test_add_func("/platform/spawn/signals-are-not-inherited",
                        test_signals_are_not_inherited);
        g_test_add_func("/platform/spawn/a-group-and-a-directory-of-its-own",
                        test_a_group_and_a_directory_of_its_own);
        g_test_add_func("/platform/spawn/a-missing-program-is-an-error-of-the-start",
                        test_a_missing_program_is_an_error_of_the_start);
        return g_test_run();
}

/*
 * Programs as modules: prepared where they are started, run in a thread of their own, ended and
 * waited for.
 */
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "platform/module.h"

#define LONG_USEC (60 * USEC_PER_SEC)

static char *beside(const char *name)
{
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *dir = g_path_get_dirname(self);

        return g_build_filename(dir, name, NULL);
}

static uint64_t in(uint64_t usec)
{
        return (uint64_t) g_get_monotonic_time() + usec;
}

static void test_a_module_runs_in_a_thread(void)
{
        char *argv[] = {(char *) "mr-module", (char *) "-x", NULL};
        g_autofree char *path = beside("module-child.so");
        _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
        const _Atomic pid_t child = 17;
        const ModuleHost host = {.child = &child, .task = TASK_PROCESS_NONE};
        char text[128] = "";
        Module *m = NULL;
        Error e = {};
        sigset_t set, old;
        int status = -1;

        g_assert_cmpint(dup2(out, 9), ==, 9);
        optind = 7; /* as if we had read options of our own */
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        g_assert_cmpint(sigprocmask(SIG_BLOCK, &set, &old), ==, 0);
        g_assert_cmpint(module_new(path, argv, &host, &m, &e), ==, 0);
        g_assert_cmpint(module_start(m, &e), ==, 0);
        g_assert_cmpint(sigprocmask(SIG_SETMASK, &old, NULL), ==, 0);

        g_assert_true(module_wait(m, in(LONG_USEC), &status));
        g_assert_cmpint(status, ==, 3);
        g_assert_cmpint(poll(&(struct pollfd){.fd = module_end_fd(m), .events = POLLIN}, 1, 0), ==,
                        1);
        m = module_free(m);
        g_assert_null(m);

        g_assert_cmpint(pread_full(out, text, sizeof(text) - 1, 0), >, 0);
        g_assert_cmpstr(text, ==, "mr-module x 1 17 1 0");
        (void) close(9);
}

static void assert_refused(char *argv[], const char *name, const char *wanted)
{
        g_autofree char *path = beside(name);
        const _Atomic pid_t child = 0;
        const ModuleHost host = {.child = &child, .task = TASK_PROCESS_NONE};
        _cleanup_error_ Error e = {};
        Module *m = NULL;
        int r = module_new(path, argv, &host, &m, &e);

        g_assert_cmpint(r, <, 0);
        g_assert_nonnull(strstr(error_message(&e, r), wanted));
        g_assert_null(m);
}

static void test_a_module_that_is_not_there_is_named(void)
{
        char *argv[] = {(char *) "mr-module", NULL};

        assert_refused(argv, "no-such-module.so", "no-such-module.so");
}

static void test_wrong_options_start_nothing(void)
{
        char *argv[] = {(char *) "mr-module", (char *) "--wrong", NULL};

        assert_refused(argv, "module-child.so", "mr-module does not start");
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/module/a-module-runs-in-a-thread",
                        test_a_module_runs_in_a_thread);
        g_test_add_func("/platform/module/a-module-that-is-not-there-is-named",
                        test_a_module_that_is_not_there_is_named);
        g_test_add_func("/platform/module/wrong-options-start-nothing",
                        test_wrong_options_start_nothing);
        return g_test_run();
}

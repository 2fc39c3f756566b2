/*
 * Programs as modules — see module.h.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>

#include "platform/module.h"

#define EXIT_NO_PROGRAM 127 /* as a shell says it */
/* Above all that SpawnFd.theirs may name: what dup2() could overwrite is moved there first. */
#define FIRST_SAFE_FD 64

extern char **environ;

typedef int (*MainFn)(int argc, char **argv);

/* Of the leak sanitizer, where it is linked: it looks at the end of main(), which a child does not reach. */
extern void __lsan_do_leak_check(void) __attribute__((weak));

static void reset_signals(void)
{
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void) signal(i, SIG_DFL);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_theirs(const SpawnOptions *o, int fd)
{
        for (size_t i = 0; i < o->fd_count; i++)
                if (o->fds[i].theirs == fd)
                        return true;
        return fd <= STDERR_FILENO;
}

static int place_fds(const SpawnOptions *o)
{
        int moved[FIRST_SAFE_FD];

        for (size_t i = 0; i < o->fd_count; i++) {
                int ours = o->fds[i].ours;

                moved[i] = ours < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
                                    : fcntl(ours, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
                if (moved[i] < 0)
                        return -errno;
        }
        for (size_t i = 0; i < o->fd_count; i++)
                if (moved[i] == o->fds[i].theirs)
                        (void) fcntl(moved[i], F_SETFD, 0);
                else if (dup2(moved[i], o->fds[i].theirs) < 0)
                        return -errno;
        for (int first = 0; first < FIRST_SAFE_FD; first++) {
                int last = first;

                if (is_theirs(o, first))
                        continue;
                while (last + 1 < FIRST_SAFE_FD && !is_theirs(o, last + 1))
                        last++;
                (void) close_range((unsigned) first, (unsigned) last, 0);
                first = last;
        }
        (void) close_range(FIRST_SAFE_FD, ~0U, 0);
        return 0;
}

static int prepare(char *const argv[], const SpawnOptions *o)
{
        int r;

        if (o->new_group)
                (void) setpgid(0, 0);
        reset_signals();
        r = place_fds(o);
        if (r < 0)
                return r;
        if (o->cwd_fd >= 0 && fchdir(o->cwd_fd) < 0)
                return -errno;
        if (o->env)
                environ = (char **) o->env;
        optind = 0;
        (void) mallopt(M_ARENA_MAX, 1); /* few threads, and little that they do */
        (void) setlocale(LC_ALL, "C");
        (void) prctl(PR_SET_NAME, argv[0]);
        return 0;
}

/* Of a child. */
static int run(const char *path, char *const argv[], const SpawnOptions *o)
{
        void *module;
        MainFn fn;
        int r;

        r = prepare(argv, o);
        if (r < 0) {
                (void) fprintf(stderr, "%s: cannot start: %s\n", argv[0], g_strerror(-r));
                return EXIT_NO_PROGRAM;
        }
        module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        fn = module ? (MainFn) dlsym(module, "main") : NULL;
        if (!fn) {
                (void) fprintf(stderr, "%s: cannot be loaded: %s\n", argv[0], dlerror());
                return EXIT_NO_PROGRAM;
        }
        return fn((int) g_strv_length((char **) argv), (char **) argv);
}

void end_process(int status)
{
        (void) fflush(NULL);
        if (__lsan_do_leak_check)
                __lsan_do_leak_check();
        _exit(status);
}

int spawn_module(const char *path, char *const argv[], const SpawnOptions *o, pid_t *ret)
{
        pid_t pid;

        assert(o->fd_count <= FIRST_SAFE_FD);

        (void) fflush(NULL); /* nothing may be written twice */
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                end_process(run(path, argv, o));
        if (o->new_group)
                (void) setpgid(pid, pid); /* whoever of us comes first, it is done for both */
        *ret = pid;
        return 0;
}

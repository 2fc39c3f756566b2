/*
 * A private master and worker — see local.h.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fs.h"
#include "base/parse.h"
#include "cli/local.h"
#include "platform/module.h"

#define SPACE_MIN_BYTES MIB(64) /* the default of MinFree= in workerd.conf */
/* For tasks to be killed and a spool to be deleted: 16 GiB of run files on their way to the disk took ten seconds. */
#define STOP_TIMEOUT_USEC (60 * USEC_PER_SEC)

/* The descriptors that the daemons are given; the directory only where a path is too long. */
#define FD_LIFELINE 3
#define FD_BUS 4
#define FD_LISTEN 5
#define FD_DIRECTORY 6

static const char *const daemon_names[LOCAL_DAEMONS] = {"mr-masterd", "mr-workerd"};
/* Without TLS, which they have no use for. */
static const char *const daemon_modules[LOCAL_DAEMONS] = {"mr-masterd-local.so",
                                                          "mr-workerd-local.so"};

static int block_signals(void)
{
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGCHLD);
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

/* Below this a worker takes no task (MinFree=), and the job would wait for space that nobody frees. */
static int check_space(const Local *l, Error *e)
{
        g_autofree char *text = NULL;
        struct statvfs st;
        uint64_t free_bytes;

        if (statvfs(l->dir, &st) < 0)
                return 0; /* the worker will say it */
        free_bytes = (uint64_t) st.f_bavail * st.f_frsize;
        if (free_bytes >= SPACE_MIN_BYTES)
                return 0;
        text = format_size(free_bytes);
        return error_setf(e, ENOSPC,
                          "%s has only %s free, and a job needs 64M: make room, or set $TMPDIR",
                          l->dir, text);
}

static int make_directory(Local *l, Error *e)
{
        const char *tmp = getenv("TMPDIR");
        g_autofree char *dir = NULL;

        if (tmp && tmp[0] != '/')
                return error_setf(e, EINVAL, "$TMPDIR must be an absolute path, not '%s'", tmp);
        dir = g_build_filename(tmp ? tmp : "/var/tmp", "mrctl-XXXXXX", NULL);
        if (!mkdtemp(dir))
                return error_setf(e, errno, "cannot make a directory in %s: %s",
                                  tmp ? tmp : "/var/tmp", error_text(errno));
        l->dir = TAKE_PTR(dir);
        l->dir_fd = open(l->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (l->dir_fd < 0 || mkdirat(l->dir_fd, "master", 0700) < 0)
                return error_setf(e, errno, "cannot use %s: %s", l->dir, error_text(errno));
        return check_space(l, e);
}

/* Do the sockets' paths fit into an address? */
static bool paths_fit(const Local *l)
{
        return strlen(l->dir) + strlen("/master/socket") <
               sizeof(((struct sockaddr_un *) 0)->sun_path);
}

/* The address of "master" or "worker", as a process knows it that has the directory as @fd. */
static char *socket_path(const Local *l, const char *who, int fd)
{
        return paths_fit(l) ? g_strdup_printf("%s/%s/socket", l->dir, who)
                            : g_strdup_printf("/proc/self/fd/%d/%s/socket", fd, who);
}

static int listen_for_master(const Local *l, int *ret, Error *e)
{
        g_autofree char *path = socket_path(l, "master", l->dir_fd);
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;

        (void) g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(fd, SOMAXCONN) < 0)
                return error_setf(e, errno, "cannot listen on %s: %s", path, error_text(errno));
        *ret = TAKE_FD(fd);
        return 0;
}

static int start(Local *l, LocalDaemon which, GPtrArray *argv, const SpawnFd *fds, size_t fd_count,
                 Error *e)
{
        const char *name = daemon_names[which];
        _cleanup_free_ char *path = NULL;
        g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "MR_LOG_LEVEL", "warning", FALSE);
        SpawnOptions o = {
                .fds = fds, .fd_count = fd_count, .env = env, .cwd_fd = -1, .new_group = true};
        int r;

        r = find_helper(daemon_modules[which], &path);
        if (r < 0)
                return error_setf(e, r, "cannot find %s: is it installed?", daemon_modules[which]);
        argv->pdata[0] = (void *) name;
        g_ptr_array_add(argv, NULL);
        r = spawn_module(path, (char **) argv->pdata, &o, &l->pids[which]);
        if (r < 0) {
                l->pids[which] = 0;
                return error_setf(e, r, "cannot start %s: %s", path, error_text(r));
        }
        return 0;
}

/* An argument vector whose strings it owns, but for the program's name. */
static GPtrArray *arguments_new(void)
{
        GPtrArray *argv = g_ptr_array_new();

        g_ptr_array_add(argv, NULL);
        return argv;
}

static void arguments_free(GPtrArray **argv)
{
        for (guint i = 1; i < (*argv)->len; i++)
                g_free((*argv)->pdata[i]);
        g_ptr_array_unref(*argv);
}

static void add(GPtrArray *argv, const char *format, ...) _printf_(2, 3);

static void add(GPtrArray *argv, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        g_ptr_array_add(argv, g_strdup_vprintf(format, ap));
        va_end(ap);
}

static int start_master(Local *l, int lifeline, int listener, int bus, Error *e)
{
        _cleanup_(arguments_free) GPtrArray *argv = arguments_new();
        const SpawnFd fds[] = {
                {-EBADF, STDIN_FILENO}, {STDERR_FILENO, STDOUT_FILENO}, {lifeline, FD_LIFELINE},
                {bus, FD_BUS},          {listener, FD_LISTEN},          {l->dir_fd, FD_DIRECTORY},
        };

        add(argv, "--bus=fd:%d", FD_BUS);
        add(argv, "--listen=fd:%d", FD_LISTEN);
        add(argv, "--exit-with-fd=%d", FD_LIFELINE);
        add(argv, "--state=%s/master", l->dir);
        add(argv, "--config=/dev/null");
        add(argv, "--shared-results");
        add(argv, "--ephemeral");
        return start(l, LOCAL_MASTER, argv, fds, ELEMENTSOF(fds) - (paths_fit(l) ? 1 : 0), e);
}

static int start_worker(Local *l, int lifeline, uint32_t slots, Error *e)
{
        g_autofree char *master = socket_path(l, "master", FD_DIRECTORY);
        g_autofree char *worker = socket_path(l, "worker", FD_DIRECTORY);
        _cleanup_(arguments_free) GPtrArray *argv = arguments_new();
        const SpawnFd fds[] = {
                {-EBADF, STDIN_FILENO},
                {STDERR_FILENO, STDOUT_FILENO},
                {lifeline, FD_LIFELINE},
                {l->dir_fd, FD_DIRECTORY},
        };

        add(argv, "--bus=none");
        add(argv, "--master=unix:%s", master);
        add(argv, "--listen=unix:%s", worker);
        add(argv, "--exit-with-fd=%d", FD_LIFELINE);
        add(argv, "--spool=%s/worker", l->dir);
        add(argv, "--config=/dev/null");
        add(argv, "--slots=%u", slots);
        add(argv, "--name=local");
        add(argv, "--ephemeral");
        return start(l, LOCAL_WORKER, argv, fds, ELEMENTSOF(fds) - (paths_fit(l) ? 1 : 0), e);
}

static int make_pair(int *ret_ours, int *ret_theirs, Error *e)
{
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_setf(e, errno, "cannot make a socket pair: %s", error_text(errno));
        *ret_ours = pair[0];
        *ret_theirs = pair[1];
        return 0;
}

static int start_both(Local *l, uint32_t slots, int *ret_bus_fd, Error *e)
{
        _cleanup_close_ int masters = -EBADF, workers = -EBADF;
        _cleanup_close_ int bus_theirs = -EBADF, bus_ours = -EBADF, listener = -EBADF;
        int r;

        r = make_directory(l, e);
        if (r < 0)
                return r;
        r = listen_for_master(l, &listener, e);
        if (r < 0)
                return r;
        r = make_pair(&l->lifelines[LOCAL_MASTER], &masters, e);
        if (r >= 0)
                r = make_pair(&l->lifelines[LOCAL_WORKER], &workers, e);
        if (r >= 0)
                r = make_pair(&bus_ours, &bus_theirs, e);
        if (r >= 0)
                r = start_master(l, masters, listener, bus_theirs, e);
        if (r >= 0)
                r = start_worker(l, workers, slots, e);
        if (r < 0)
                return r;
        *ret_bus_fd = TAKE_FD(bus_ours);
        return 0;
}

int local_start(Local *l, uint32_t slots, int *ret_bus_fd, Error *e)
{
        int r;

        *l = LOCAL_NONE;
        r = block_signals();
        if (r < 0)
                return error_setf(e, r, "cannot block signals: %s", error_text(r));
        r = start_both(l, slots > 0 ? slots : g_get_num_processors(), ret_bus_fd, e);
        if (r < 0)
                local_stop(l);
        return r;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
        Local *l = userdata;

        for (size_t i = 0; i < LOCAL_DAEMONS; i++) {
                int status = si->si_code == CLD_EXITED ? si->si_status << 8 : si->si_status;

                if (l->pids[i] != si->si_pid)
                        continue;
                l->pids[i] = 0;
                l->ended(daemon_names[i], status, l->userdata);
        }
        return 0;
}

int local_watch(Local *l, sd_event *event, LocalEnded ended, void *userdata)
{
        l->ended = ended;
        l->userdata = userdata;
        for (size_t i = 0; i < LOCAL_DAEMONS; i++) {
                int r = sd_event_add_child(event, &l->sources[i], l->pids[i], WEXITED, on_child, l);

                if (r < 0)
                        return r;
        }
        return 0;
}

void local_release(Local *l, LocalDaemon which)
{
        l->sources[which] = sd_event_source_disable_unref(l->sources[which]);
        l->lifelines[which] = safe_close(l->lifelines[which]);
}

/* Sleeps until a child ends, or @until_usec of CLOCK_MONOTONIC. SIGCHLD is blocked. */
static void wait_for_sigchld(gint64 until_usec)
{
        gint64 left = MAX(until_usec - g_get_monotonic_time(), 0);
        struct timespec ts = {.tv_sec = left / (gint64) USEC_PER_SEC,
                              .tv_nsec = left % (gint64) USEC_PER_SEC * 1000};
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigtimedwait(&set, NULL, &ts);
}

/* True once none of them runs any more. */
static bool reap(Local *l)
{
        bool all = true;

        for (size_t i = 0; i < LOCAL_DAEMONS; i++) {
                int status;

                if (l->pids[i] <= 0)
                        continue;
                if (waitpid(l->pids[i], &status, WNOHANG) == 0) {
                        all = false;
                        continue;
                }
                l->pids[i] = 0;
                if (status != 0) {
                        g_autofree char *end = local_describe_end(status);

                        (void) fprintf(stderr, "mrctl: %s %s\n", daemon_names[i], end);
                }
        }
        return all;
}

static void kill_all(const Local *l)
{
        for (size_t i = 0; i < LOCAL_DAEMONS; i++)
                if (l->pids[i] > 0)
                        (void) kill(-l->pids[i], SIGKILL);
}

void local_stop(Local *l)
{
        gint64 until = g_get_monotonic_time() + (gint64) STOP_TIMEOUT_USEC;
        bool killed = false;

        local_release(l, LOCAL_WORKER);
        local_release(l, LOCAL_MASTER);
        while (!reap(l)) {
                if (!killed && g_get_monotonic_time() >= until) {
                        (void) fprintf(stderr, "mrctl: the daemons do not end, killing them\n");
                        kill_all(l);
                        killed = true;
                }
                wait_for_sigchld(killed ? g_get_monotonic_time() + (gint64) USEC_PER_SEC : until);
        }
        l->dir_fd = safe_close(l->dir_fd);
        if (l->dir)
                (void) rm_rf_at(AT_FDCWD, l->dir);
        g_clear_pointer(&l->dir, g_free);
}

char *local_describe_end(int status)
{
        if (WIFSIGNALED(status))
                return g_strdup_printf("was killed by signal %d (%s)", WTERMSIG(status),
                                       strsignal(WTERMSIG(status)));
        return g_strdup_printf("ended with status %d", WEXITSTATUS(status));
}

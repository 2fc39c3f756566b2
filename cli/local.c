/*
 * A private master and worker — see local.h.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/parse.h"
#include "base/text.h"
#include "cli/local.h"
#include "platform/quick.h"
#include "platform/service.h"
#include "platform/spawn.h"

#define SPACE_MIN_BYTES MIB(64) /* with less a job is not begun */
/* Most jobs of a few lines are over by then, and never have a sweeper. */
#define SWEEPER_DELAY_USEC (50 * USEC_PER_MSEC)
#define SWEEPER_ACCURACY_USEC (1 * USEC_PER_MSEC)
/* For tasks to be killed and a spool to be deleted: 16 GiB of run files on their way to the disk
 * took ten seconds. */
#define STOP_TIMEOUT_USEC (60 * USEC_PER_SEC)
/* A child's are moved to 64 and above (platform/spawn.c), and there are a few of them. */
#define FDS_MIN 128
#define HEAP_BYTES (256 * 1024) /* what a small job needs of it */
#define HEAP_KEPT_BYTES (4 * 1024 * 1024)

/* mr-sweep's, or 0: of the process, for the worker may look at it until the process ends. */
static _Atomic pid_t sweeper;

static const char *const daemon_names[LOCAL_DAEMONS] = {"mr-masterd", "mr-workerd"};
/* Without TLS, which they have no use for. */
static const char *const daemon_modules[LOCAL_DAEMONS] = {"mr-masterd-local.so",
                                                          "mr-workerd-local.so"};

static int block_signals(void)
{
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGHUP);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGCHLD);
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int check_fd_limit(Error *e)
{
        struct rlimit rl;

        if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur >= FDS_MIN)
                return 0;
        return error_setf(e, EMFILE,
                          "only %" PRIu64 " files may be open, and a job needs %d: raise the limit "
                          "(ulimit -n)",
                          (uint64_t) rl.rlim_cur, FDS_MIN);
}

/* With so little most jobs fail for want of room: better before they have begun. */
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

        if (!tmp || !*tmp) /* empty is as unset, as to mktemp(1) */
                tmp = "/var/tmp";
        if (tmp[0] != '/')
                return error_setf(e, EINVAL, "$TMPDIR must be an absolute path, not '%s'", tmp);
        dir = g_build_filename(tmp, "mrctl-XXXXXX", NULL);
        if (!mkdtemp(dir))
                return error_setf(e, errno, "cannot make a directory in %s: %s", tmp,
                                  error_text(errno));
        l->dir = TAKE_PTR(dir);
        l->dir_fd = open(l->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (l->dir_fd < 0 || mkdirat(l->dir_fd, "master", 0700) < 0)
                return error_setf(e, errno, "cannot use %s: %s", l->dir, error_text(errno));
        return check_space(l, e);
}

/* Do the sockets' paths fit into an address, and may they be told as text? */
static bool paths_fit(const Local *l)
{
        return text_is_name(l->dir) && strlen(l->dir) + strlen("/master/socket") <
                                               sizeof(((struct sockaddr_un *) 0)->sun_path);
}

/* The address of "master" or "worker". */
static char *socket_path(const Local *l, const char *who)
{
        return paths_fit(l) ? g_strdup_printf("%s/%s/socket", l->dir, who)
                            : g_strdup_printf("/proc/self/fd/%d/%s/socket", l->dir_fd, who);
}

static int listen_for_master(const Local *l, int *ret, Error *e)
{
        g_autofree char *path = socket_path(l, "master");
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

/* The first task process, before all else: it links its libraries while the daemons are linked
 * here. */
static int start_task(Local *l, Error *e)
{
        _cleanup_free_ char *path = NULL;
        int r;

        r = find_helper("mr-task", &path);
        if (r < 0)
                return error_setf(e, r, "cannot find mr-task: is it installed?");
        r = task_process_spawn(path, &l->task);
        return r < 0 ? error_setf(e, r, "cannot start %s: %s", path, error_text(r)) : 0;
}

static int load(Local *l, LocalDaemon which, GPtrArray *argv, const ModuleHost *host, Error *e)
{
        const char *name = daemon_names[which];
        _cleanup_free_ char *path = NULL;
        int r;

        r = find_helper(daemon_modules[which], &path);
        if (r < 0)
                return error_setf(e, r, "cannot find %s: is it installed?", daemon_modules[which]);
        argv->pdata[0] = g_strdup(name);
        g_ptr_array_add(argv, NULL);
        l->argvs[which] = argv;
        return module_new(path, (char **) argv->pdata, host, &l->modules[which], e);
}

/* An argument vector, but for the program's name. */
static GPtrArray *arguments_new(void)
{
        GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

        g_ptr_array_add(argv, NULL);
        return argv;
}

static void add(GPtrArray *argv, const char *format, ...) _printf_(2, 3);

static void add(GPtrArray *argv, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        g_ptr_array_add(argv, g_strdup_vprintf(format, ap));
        va_end(ap);
}

/* Takes the descriptors. */
static int load_master(Local *l, uint32_t slots, int listener, int bus, Error *e)
{
        const ModuleHost host = {.child = &sweeper, .task = TASK_PROCESS_NONE};
        GPtrArray *argv = arguments_new();

        add(argv, "--bus=fd:%d", bus);
        add(argv, "--listen=fd:%d", listener);
        add(argv, "--exit-with-fd=%d", l->ends[LOCAL_MASTER]);
        add(argv, "--state=%s/master", l->dir);
        add(argv, "--config=/dev/null");
        add(argv, "--shared-results");
        add(argv, "--expect-slots=%u", slots);
        add(argv, "--ephemeral");
        return load(l, LOCAL_MASTER, argv, &host, e);
}

static int load_worker(Local *l, uint32_t slots, Error *e)
{
        g_autofree char *master = socket_path(l, "master");
        g_autofree char *worker = socket_path(l, "worker");
        const ModuleHost host = {.child = &sweeper, .task = l->task};
        GPtrArray *argv = arguments_new();
        int r;

        add(argv, "--bus=none");
        add(argv, "--master=unix:%s", master);
        add(argv, "--listen=unix:%s", worker);
        add(argv, "--exit-with-fd=%d", l->ends[LOCAL_WORKER]);
        add(argv, "--spool=%s/worker", l->dir);
        add(argv, "--config=/dev/null");
        add(argv, "--slots=%u", slots);
        add(argv, "--name=local");
        add(argv, "--ephemeral");
        r = load(l, LOCAL_WORKER, argv, &host, e);
        if (r >= 0)
                l->task = TASK_PROCESS_NONE;
        return r;
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

/* A descriptor of the daemons may have none of these numbers, and what they log must not go to a
 * socket. What is printed must not vanish: standard output is none to write to. */
static int open_standard_fds(void)
{
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
                int mode = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR;

                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode) < 0)
                        return -errno;
        }
        return 0;
}

static int start_both(Local *l, uint32_t slots, int *ret_bus_fd, Error *e)
{
        _cleanup_close_ int bus_theirs = -EBADF, bus_ours = -EBADF, listener = -EBADF;
        int r;

        r = check_fd_limit(e);
        if (r >= 0)
                r = make_directory(l, e);
        if (r >= 0)
                r = start_task(l, e);
        if (r >= 0)
                r = listen_for_master(l, &listener, e);
        for (size_t i = 0; r >= 0 && i < LOCAL_DAEMONS; i++)
                r = make_pair(&l->lifelines[i], &l->ends[i], e);
        if (r >= 0)
                r = make_pair(&bus_ours, &bus_theirs, e);
        if (r >= 0)
                r = load_master(l, slots, TAKE_FD(listener), TAKE_FD(bus_theirs), e);
        if (r >= 0)
                r = load_worker(l, slots, e);
        for (LocalDaemon i = LOCAL_MASTER; r >= 0 && i < LOCAL_DAEMONS; i++)
                r = module_start(l->modules[i], e);
        if (r < 0)
                return r;
        *ret_bus_fd = TAKE_FD(bus_ours);
        return 0;
}

int local_start(Local *l, uint32_t slots, int *ret_bus_fd, Error *e)
{
        int r;

        *l = LOCAL_NONE;
        service_raise_fd_limit();
        r = block_signals();
        if (r >= 0)
                r = open_standard_fds();
        if (r < 0)
                return error_setf(e, r, "cannot set up: %s", error_text(r));
        (void) mallopt(M_ARENA_MAX, 1); /* a few threads, which do little */
        heap_keep(HEAP_BYTES, HEAP_KEPT_BYTES);
        (void) g_setenv("MR_LOG_LEVEL", "warning", FALSE);
        r = start_both(l, slots > 0 ? slots : g_get_num_processors(), ret_bus_fd, e);
        if (r < 0)
                local_stop(l);
        return r;
}

static void tell_sweeper(const Local *l)
{
        if (l->sweeper_fd >= 0 && l->written)
                (void) write_full(l->sweeper_fd, l->written, strlen(l->written));
}

static int start_sweeper(Local *l)
{
        char *argv[] = {(char *) "mr-sweep", l->dir, NULL};
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int theirs = -EBADF;
        int ends[2], r;
        pid_t pid;

        r = find_helper("mr-sweep", &path);
        if (r < 0)
                return r;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        theirs = ends[0];
        l->sweeper_fd = ends[1];
        tell_sweeper(l); /* it lies in the pipe, whenever we are killed */
        SpawnOptions o = {
                .fds = (SpawnFd[]){{theirs, STDIN_FILENO}, {STDERR_FILENO, STDOUT_FILENO}},
                .fd_count = 2,
                .cwd_fd = -1,
                .new_group = true,
        };
        sweeper = HOST_STARTS_CHILD; /* the worker may look at our children at any time */
        r = spawn(path, argv, &o, &pid);
        sweeper = r >= 0 ? pid : 0;
        return r;
}

void local_guard(Local *l)
{
        int r;

        if (!l->sweeper_source || l->sweeper_fd >= 0)
                return;
        r = start_sweeper(l);
        if (r < 0)
                (void) fprintf(stderr, "mrctl: cannot start mr-sweep, going on without: %s\n",
                               error_text(r));
}

static int on_sweeper_due(sd_event_source *s, uint64_t usec, void *userdata)
{
        local_guard(userdata);
        return 0;
}

static int on_end(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Local *l = userdata;

        for (size_t i = 0; i < LOCAL_DAEMONS; i++) {
                int status;

                if (s != l->sources[i])
                        continue;
                l->sources[i] = sd_event_source_disable_unref(s);
                (void) module_wait(l->modules[i], 0, &status);
                l->ended(daemon_names[i], status, l->userdata);
                break;
        }
        return 0;
}

int local_watch(Local *l, sd_event *event, LocalEnded ended, void *userdata)
{
        int r;

        l->ended = ended;
        l->userdata = userdata;
        for (size_t i = 0; i < LOCAL_DAEMONS; i++) {
                r = sd_event_add_io(event, &l->sources[i], module_end_fd(l->modules[i]), EPOLLIN,
                                    on_end, l);
                if (r < 0)
                        return r;
        }
        return sd_event_add_time_relative(event, &l->sweeper_source, CLOCK_MONOTONIC,
                                          SWEEPER_DELAY_USEC, SWEEPER_ACCURACY_USEC, on_sweeper_due,
                                          l);
}

void local_tell_output(Local *l, const char *output, const char *tag)
{
        if (!*output)
                return;
        l->written = g_strdup_printf("%s %s", tag, output);
        tell_sweeper(l);
}

void local_release(Local *l, LocalDaemon which)
{
        l->sources[which] = sd_event_source_disable_unref(l->sources[which]);
        l->lifelines[which] = safe_close(l->lifelines[which]);
}

static bool wait_for_end(Local *l, LocalDaemon which, uint64_t until_usec)
{
        int status;

        if (l->modules[which] && !module_wait(l->modules[which], until_usec, &status)) {
                (void) fprintf(stderr, "mrctl: %s does not end, leaving it behind\n",
                               daemon_names[which]);
                return false;
        }
        if (l->modules[which] && status != EXIT_SUCCESS)
                (void) fprintf(stderr, "mrctl: %s ended with status %d\n", daemon_names[which],
                               status);
        l->modules[which] = module_free(l->modules[which]);
        l->ends[which] = safe_close(l->ends[which]);
        g_clear_pointer(&l->argvs[which], g_ptr_array_unref);
        return true;
}

/* Of a start that failed; a worker has taken it otherwise. */
static void end_task(Local *l)
{
        l->task.fd = safe_close(l->task.fd);
        if (l->task.pid > 0)
                (void) waitpid(l->task.pid, NULL, 0);
        l->task.pid = 0;
}

/* What is left to it is nothing, or a directory that is about to go. */
static void kill_sweeper(void)
{
        if (sweeper > 0)
                (void) kill(sweeper, SIGKILL);
}

static void reap_sweeper(void)
{
        if (sweeper > 0)
                (void) waitpid(sweeper, NULL, 0);
        sweeper = 0;
}

void local_stop(Local *l)
{
        uint64_t until = (uint64_t) g_get_monotonic_time() + STOP_TIMEOUT_USEC;
        bool clean = true;

        l->sweeper_source = sd_event_source_disable_unref(l->sweeper_source);
        for (LocalDaemon i = LOCAL_MASTER; i < LOCAL_DAEMONS; i++)
                local_release(l, i);
        for (LocalDaemon i = LOCAL_MASTER; i < LOCAL_DAEMONS; i++)
                clean = wait_for_end(l, i, until) && clean;
        end_task(l);
        l->dir_fd = safe_close(l->dir_fd);
        if (clean) { /* nobody writes to the directory any more */
                kill_sweeper();
                if (l->dir)
                        (void) rm_rf_at(AT_FDCWD, l->dir);
                reap_sweeper();
                l->sweeper_fd = safe_close(l->sweeper_fd);
        } else if (sweeper == 0) /* the directory is its, once this process is gone */
                (void) start_sweeper(l);
        g_clear_pointer(&l->dir, g_free);
        g_clear_pointer(&l->written, g_free);
}

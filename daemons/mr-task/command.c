/*
 * Commands — see command.h.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cause.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/text.h"
#include "mr-task/command-line.h"
#include "mr-task/command.h"
#include "mr-task/memory.h"
#include "platform/spawn.h"
#include "records/reporter.h"

#define PIPE_BYTES                                                                                 \
        (1024 * 1024) /* fewer wake-ups on both sides; the default limit for a user's pipes */
#define READ_BYTES (256 * 1024)
#define COMMAND_SHOWN_BYTES 200
#define MEMORY_LOOK_USEC (50 * USEC_PER_MSEC)
#define POLL_USEC (250 * USEC_PER_MSEC) /* progress goes out even when nothing moves */
/* See wait_while_moving(): as short as a timer is worth, as long as a command of 500 MB/s needs for
 * a whole pipe. */
#define NAP_MIN_USEC 60
#define NAP_MAX_USEC 2000
#define NAP_FIRST_USEC 250
/* A turn that moves less was not worth being woken for, and the next ones are not asked. */
#define WAKE_WORTH_BYTES (64 * 1024)
#define NAPS 32u
/* Longer than a child that still works is silent after its parent; shorter than anybody's
 * patience. */
#define LEFT_BEHIND_USEC (10 * USEC_PER_SEC)

typedef struct Command {
        Attempt *attempt;
        const CommandIo *io;
        pid_t pid; /* 0 when reaped */
        int pidfd;
        int in, out, err;
        const uint8_t *pending; /* for stdin */
        size_t pending_size;
        int file; /* where they are, too, or -EBADF */
        off_t file_at;
        bool no_splice;    /* the file system of the input has none */
        size_t fed, taken; /* bytes in this turn */
        size_t pipe_bytes; /* of the smaller one */
        uint64_t nap_usec;
        unsigned naps; /* until a pipe may wake us again */
        uint8_t *buffer;
        Reporter reporter; /* of stderr */
        int status;
        uint64_t looked_usec; /* when its memory was looked at last */
        uint64_t heard_usec;  /* when it ended, or was last heard of after that */
} Command;

/* ---- starting ---- */

static int make_pipe(Command *c, int *ret_read, int *ret_write, bool ours_is_read)
{
        int fds[2], size;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        (void) fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* a smaller pipe works, too */
        size = fcntl(fds[0], F_GETPIPE_SZ);
        if (size > 0)
                c->pipe_bytes = MIN(c->pipe_bytes, (size_t) size);
        (void) fcntl(fds[ours_is_read ? 0 : 1], F_SETFL, O_NONBLOCK);
        *ret_read = fds[0];
        *ret_write = fds[1];
        return 0;
}

static int spawn_command(const char *line, const SpawnOptions *o, pid_t *ret)
{
        char *shell[] = {(char *) "sh", (char *) "-c", (char *) line, NULL};
        g_autofree char *path = NULL;
        g_auto(GStrv) words = command_line_split(line, o->env, &path);

        /* What cannot be started so, a script without "#!" or a name that is not there, is the
         * shell's to run or to name. */
        if (words && spawn(path, words, o, ret) >= 0)
                return 0;
        return spawn("/bin/sh", shell, o, ret);
}

static int command_start(Command *c, const char *line, char **env)
{
        _cleanup_close_ int child_in = -EBADF, child_out = -EBADF, child_err = -EBADF;
        int r;

        r = make_pipe(c, &child_in, &c->in, false);
        if (r >= 0)
                r = make_pipe(c, &c->out, &child_out, true);
        if (r >= 0)
                r = make_pipe(c, &c->err, &child_err, true);
        if (r < 0)
                return r;

        SpawnFd fds[] = {{child_in, 0}, {child_out, 1}, {child_err, 2}};
        SpawnOptions options = {
                .fds = fds,
                .fd_count = ELEMENTSOF(fds),
                .env = env,
                .cwd_fd = c->attempt->cwd_fd,
                .new_group = true,
        };

        r = spawn_command(line, &options, &c->pid);
        if (r < 0)
                return r;
        c->pidfd = pidfd_open(c->pid, 0);
        return c->pidfd < 0 ? -errno : 0;
}

/* ---- ending ---- */

/* The children of this process, orphans of its commands included: killing them brings up theirs. */
static bool kill_children(void)
{
        g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", (int) getpid());
        _cleanup_free_ char *text = NULL;
        bool any = false;

        if (read_file(path, MIB(1), &text, NULL) < 0)
                return false;
        for (char *p = text; *p;) {
                char *end;
                unsigned long pid = strtoul(p, &end, 10);

                if (end == p)
                        break;
                (void) kill((pid_t) pid, SIGKILL);
                any = true;
                p = end + strspn(end, " \n");
        }
        return any;
}

void command_kill_all(void)
{
        while (kill_children())
                if (waitpid(-1, NULL, 0) < 0 && errno != EINTR)
                        break;
}

static void command_reap(Command *c)
{
        if (c->pid <= 0)
                return;
        while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
                ;
        c->pid = 0;
        c->pidfd = safe_close(c->pidfd);
        c->heard_usec = attempt_now_usec();
}

static void command_done(Command *c)
{
        if (c->pid > 0) {
                (void) kill(-c->pid, SIGKILL);
                command_reap(c);
        }
        command_kill_all();
        safe_close(c->pidfd);
        safe_close(c->in);
        safe_close(c->out);
        safe_close(c->err);
        free(c->buffer);
        reporter_done(&c->reporter);
}

char *command_shown(const char *line)
{
        return text_escape(line, strlen(line), COMMAND_SHOWN_BYTES);
}

static char *describe_end(int status)
{
        if (WIFSIGNALED(status)) {
                const char *name = sigabbrev_np(WTERMSIG(status));

                return name ? g_strdup_printf("was killed by SIG%s", name)
                            : g_strdup_printf("was killed by signal %d", WTERMSIG(status));
        }
        if (WEXITSTATUS(status) == 0)
                return NULL;
        return g_strdup_printf("exited with status %d", WEXITSTATUS(status));
}

/* ---- stderr ---- */

static void on_counter(void *userdata, const char *group, const char *name, uint64_t n)
{
        attempt_count_named(userdata, group, name, n);
}

static void on_status(void *userdata, const char *text, size_t size)
{
        attempt_set_status(userdata, text, size);
}

static void on_text(void *userdata, const char *text, size_t size)
{
        Attempt *a = userdata;

        text_keep_tail(a->stderr_tail, text, size, STDERR_TAIL_BYTES);
}

static const ReporterHandlers reporter_handlers = {
        .counter = on_counter, .status = on_status, .text = on_text};

/* ---- the loop ---- */

static int next_pending(Command *c)
{
        uint64_t at;
        int r;

        r = c->io->give(c->io->userdata, &c->pending, &c->pending_size);
        c->file = -EBADF;
        if (r > 0 && c->io->where && !c->no_splice && c->io->where(c->io->userdata, &c->file, &at))
                c->file_at = (off_t) at;
        return r;
}

/* A third of the work of a write(): no page is made, and nothing is copied into it. */
static ssize_t send_pending(Command *c)
{
        ssize_t n;

        if (c->file < 0)
                return write(c->in, c->pending, c->pending_size);
        n = splice(c->file, &c->file_at, c->in, NULL, c->pending_size, SPLICE_F_NONBLOCK);
        if (n > 0 || (n < 0 && errno != EINVAL && errno != ENOSYS))
                return n;
        c->no_splice = n < 0;
        c->file = -EBADF; /* or it has become shorter, which will be noticed */
        return write(c->in, c->pending, c->pending_size);
}

/* Return: 1 when there may be room for more, 0 when there is none now or ever. */
static int feed(Command *c)
{
        ssize_t n;
        int r;

        if (c->pending_size == 0) {
                r = next_pending(c);
                if (r < 0)
                        return r;
                if (r == 0) {
                        c->in = safe_close(c->in);
                        return 0;
                }
        }
        n = send_pending(c);
        if (n < 0) {
                if (errno == EAGAIN || errno == EINTR)
                        return 0;
                if (errno != EPIPE)
                        return -errno;
                c->in = safe_close(c->in); /* it has read enough; its exit status will tell */
                return 0;
        }
        c->fed += (size_t) n;
        c->pending += n;
        c->pending_size -= (size_t) n;
        return 1;
}

/* Return: 1 when there may be more, 0 when there is none now or ever. */
static int listen_to(Command *c, int *fd)
{
        ssize_t n;
        int r;

        n = read(*fd, c->buffer, READ_BYTES);
        if (n < 0)
                return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
        if (n == 0) {
                *fd = safe_close(*fd);
                return 0;
        }
        c->taken += (size_t) n;
        if (fd == &c->err) {
                reporter_take(&c->reporter, c->buffer, (size_t) n);
                return 1;
        }
        c->heard_usec = attempt_now_usec();
        c->attempt->activity++;
        r = c->io->take(c->io->userdata, c->buffer, (size_t) n);
        return r < 0 ? r : 1;
}

/* Until there is nothing now, or @most bytes have been taken in this turn. */
static int drain(Command *c, int *fd, size_t most)
{
        int r = 1;

        while (*fd >= 0 && r > 0 && c->taken < most)
                r = listen_to(c, fd);
        return r;
}

/* A look at a few files in /proc, not more often than it is worth: what grows faster is the
 * kernel's to stop. */
static int check_memory(Command *c)
{
        uint64_t limit = c->attempt->start->memory_limit_bytes, now, used;
        g_autofree char *has = NULL, *may = NULL;

        if (limit == 0)
                return 0;
        now = attempt_now_usec();
        if (now < c->looked_usec + MEMORY_LOOK_USEC)
                return 0;
        c->looked_usec = now;
        used = memory_of_children();
        if (used <= limit)
                return 0;
        has = format_size(used);
        may = format_size(limit);
        return attempt_failf(c->attempt, ENOMEM,
                             "memory limit: its commands use %s, more than MemoryLimit=%s", has,
                             may);
}

/*
 * What goes without waiting, and about a pipe of it at most each way, so that a command that writes
 * without end is looked after in other ways, too.
 */
static int move_bytes(Command *c)
{
        int r = 1;

        c->fed = c->taken = 0;
        while (r > 0 && c->in >= 0 && c->fed < c->pipe_bytes)
                r = feed(c);
        if (r >= 0)
                r = drain(c, &c->out, c->pipe_bytes);
        if (r >= 0)
                r = drain(c, &c->err, c->taken + c->pipe_bytes);
        return MIN(r, 0);
}

static int command_poll(Command *c, bool pipes, uint64_t timeout_usec)
{
        struct pollfd p[] = {
                {.fd = pipes ? c->in : -EBADF, .events = POLLOUT},
                {.fd = pipes ? c->out : -EBADF, .events = POLLIN},
                {.fd = pipes ? c->err : -EBADF, .events = POLLIN},
                {.fd = c->pidfd, .events = POLLIN},
                {.fd = c->attempt->link, .events = POLLRDHUP},
        };
        struct timespec timeout = {.tv_sec = (time_t) (timeout_usec / USEC_PER_SEC),
                                   .tv_nsec = (long) (timeout_usec % USEC_PER_SEC * NSEC_PER_USEC)};
        int n, r = 0;

        n = ppoll(p, ELEMENTSOF(p), &timeout, NULL);
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        if ((n == 0 && pipes) || p[4].revents)
                r = attempt_idle(c->attempt);
        if (r >= 0 && p[3].revents)
                command_reap(c);
        return r;
}

static uint64_t patience_usec(const Command *c)
{
        return c->attempt->start->memory_limit_bytes > 0 ? MEMORY_LOOK_USEC : POLL_USEC;
}

/*
 * A command that has some of its input, and room for its output, works without us. Were we woken
 * whenever it has read or written a block of 4 or 32 KiB, most of our time and some of its own
 * would go into changing from one to the other; so while bytes move in such blocks we look at the
 * pipes from time to time instead: when an eighth to a half of a pipe should have moved, for an
 * empty one stops the command. One that moves large blocks, as cat does, may wake us: it would be
 * through with a pipe before a nap is over.
 */
static int wait_while_moving(Command *c)
{
        size_t moved = MAX(c->fed, c->taken);

        if (c->naps > 0)
                c->naps--;
        else if (moved < WAKE_WORTH_BYTES)
                c->naps = NAPS;
        else
                return command_poll(c, true, patience_usec(c));
        if (moved > c->pipe_bytes / 2)
                c->nap_usec = MAX(c->nap_usec / 2, NAP_MIN_USEC);
        else if (moved < c->pipe_bytes / 8)
                c->nap_usec = MIN(c->nap_usec * 2, NAP_MAX_USEC);
        return command_poll(c, false, c->nap_usec);
}

static int command_turn(Command *c)
{
        int r;

        r = move_bytes(c);
        /* What always has something to say is never waited for in vain, as others are. */
        if (r >= 0 && c->taken > 0)
                r = attempt_tell(c->attempt);
        if (r >= 0)
                r = check_memory(c);
        if (r < 0 || (c->pid == 0 && c->out < 0)) /* there is nothing left to wait for */
                return r;
        if (c->fed > 0 || c->taken > 0)
                return wait_while_moving(c);
        return command_poll(c, true, patience_usec(c));
}

/*
 * It has ended well, but a process it started may have more to say on its stdout, as in "tee
 * >(sort)". One that says nothing and does not go may be a daemon, or still at work: nobody can
 * know.
 */
static int wait_for_the_rest(Command *c, const char *line)
{
        int r = 0;

        while (r >= 0 && c->out >= 0 && attempt_now_usec() < c->heard_usec + LEFT_BEHIND_USEC)
                r = command_turn(c);
        if (r >= 0 && c->out >= 0) {
                g_autofree char *shown = command_shown(line);

                return attempt_failf(
                        c->attempt, EBUSY,
                        "the command (%s) has ended, but a process that it left behind "
                        "still holds its output open, and has been silent for %d s: let "
                        "the command wait for it, or redirect the output of a daemon",
                        shown, (int) (LEFT_BEHIND_USEC / USEC_PER_SEC));
        }
        return r;
}

/* 126 and 127 are a shell's words for what it could not start, and those above for what a signal
 * ended (POSIX.1-2017, XCU 2.8.2): a command itself has said none of them. */
#define OWN_STATUS_MAX 125

static bool is_ignored(const Attempt *a, int status)
{
        return a->start->program->ignore_exit_status && WIFEXITED(status) &&
               WEXITSTATUS(status) <= OWN_STATUS_MAX;
}

int command_run(Attempt *a, const char *line, char **env, const CommandIo *io, char **ret)
{
        _cleanup_(command_done) Command c = {
                .attempt = a,
                .io = io,
                .pidfd = -EBADF,
                .in = -EBADF,
                .out = -EBADF,
                .err = -EBADF,
                .file = -EBADF,
                .buffer = malloc(READ_BYTES),
                .pipe_bytes = PIPE_BYTES,
                .nap_usec = NAP_FIRST_USEC,
        };
        int r;

        reporter_init(&c.reporter, &reporter_handlers, a);
        if (!c.buffer)
                return -ENOMEM;
        r = command_start(&c, line, env);
        if (r < 0)
                return attempt_failf(a, r, "cannot start /bin/sh: %s", error_text(r));
        while (c.pid > 0) {
                r = command_turn(&c);
                if (r < 0)
                        return r;
        }
        if (is_ignored(a, c.status))
                c.status = 0;
        if (c.status == 0) {
                r = wait_for_the_rest(&c, line);
                if (r < 0)
                        return r;
        }
        command_kill_all();
        /* It is gone, and so are its children: what the pipes hold now is all. */
        r = drain(&c, &c.out, SIZE_MAX);
        if (r >= 0)
                r = drain(&c, &c.err, SIZE_MAX);
        if (r < 0)
                return r;
        reporter_finish(&c.reporter);
        a->cause = cause_of_status(c.status);
        *ret = describe_end(c.status);
        return 0;
}

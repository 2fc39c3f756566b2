/*
 * mr-task — runs the attempts of one job on one slot, one after another, and ends with it.
 *
 * It serves a socket it was started with (fd 3), opens no path that was not handed to it, and
 * leaves no process behind: whatever user code started is adopted and killed. It watches its end of
 * the socket itself, for the worker may not be there to kill it: it died, or is not the parent,
 * having had us from the service manager by connecting to mr-task.socket.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "config.h"
#include "mr-task/attempt.h"
#include "mr-task/command.h"
#include "platform/quick.h"

#define LINK_FD 3
#define HEAP_BYTES (128 * 1024)             /* what a small attempt needs of it */
#define HEAP_KEPT_BYTES (128 * 1024 * 1024) /* attempts are not that large */
#define FILES_WANTED 4096 /* a merge of MERGE_FAN_IN_MAX runs, and a packet of 64 beside it */

static void raise_file_limit(void)
{
        struct rlimit l;

        if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= FILES_WANTED)
                return;
        l.rlim_cur = MIN(l.rlim_max, FILES_WANTED);
        (void) setrlimit(RLIMIT_NOFILE, &l);
}

/*
 * Whoever is woken by a byte in a pipe takes the processor of whoever wrote it, who would go on to
 * fill the pipe. With the policy of batch jobs it waits: the command goes on until it must wait,
 * and so do we. A policy that somebody chose is left alone. See sched(7).
 */
static void be_a_batch_job(void)
{
        struct sched_param none = {};

        if (sched_getscheduler(0) == SCHED_OTHER)
                (void) sched_setscheduler(0, SCHED_BATCH, &none);
}

/* A second after the worker closed its end: by then whoever looks at the socket has ended well. */
static void *watch_link(void *userdata)
{
        struct pollfd p = {.fd = LINK_FD, .events = POLLRDHUP};
        struct timespec grace = {.tv_sec = 1};

        while (poll(&p, 1, -1) < 0 && errno == EINTR)
                ;
        (void) nanosleep(&grace, NULL);
        command_kill_all();
        _exit(EXIT_FAILURE); /* a unit ends, and with it its control group */
}

/* What the service manager told us is not for the user's commands. */
static void clean_environment(void)
{
        static const char *const ours[] = {"LISTEN_FDS",     "LISTEN_PID",    "LISTEN_FDNAMES",
                                           "JOURNAL_STREAM", "INVOCATION_ID", "SYSTEMD_EXEC_PID"};

        for (size_t i = 0; i < ELEMENTSOF(ours); i++)
                (void) unsetenv(ours[i]);
}

static int prepare(void)
{
        socklen_t size = sizeof(int);
        pthread_t thread;
        int type;

        if (getsockopt(LINK_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET) {
                (void) fprintf(stderr,
                               "mr-task serves mr-workerd on descriptor %d; "
                               "it is not for starting by hand.\n",
                               LINK_FD);
                return -ENOTSOCK;
        }
        if (fcntl(LINK_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl(LINK_FD, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGXFSZ,
                      SIG_IGN); /* a write says EFBIG, and the attempt can say why it failed */
        raise_file_limit();
        clean_environment();
        return -pthread_create(&thread, NULL, watch_link, NULL);
}

/* Return: LINK_ENDED when the worker is done with us, or what went wrong. */
static int serve(void)
{
        int r;

        do {
                _cleanup_(message_done) Message m = {};

                r = link_receive(LINK_FD, &m);
                if (r < 0)
                        return r;
                if (m.body->kind_case != MAPREDUCED__TASK__V1__TO_TASK__KIND_START)
                        return -EPROTO;
                r = attempt_run(LINK_FD, &m);
                command_kill_all();
        } while (r >= 0);
        return r;
}

int main(int argc, char *argv[])
{
        int r;

        if (argc == 2 && g_str_equal(argv[1], "--version")) {
                (void) printf("mr-task %s\n", MR_VERSION);
                return EXIT_SUCCESS;
        }
        be_a_batch_job();
        heap_keep(HEAP_BYTES, HEAP_KEPT_BYTES);
        r = prepare();
        if (r < 0)
                return EXIT_FAILURE;
        r = serve();
        command_kill_all();
        if (r == LINK_ENDED)
                end_process(EXIT_SUCCESS);
        (void) fprintf(stderr, "mr-task: the worker's messages made no sense: %s\n", error_text(r));
        return EXIT_FAILURE;
}

/*
 * The program that test-module.c runs as a module: says what it was given.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>

#include "platform/module.h"

typedef struct State {
        int fd, option;
        pid_t child;
} State;

static int calls; /* a copy for each module, not one for the process */

static int prepare(int argc, char *argv[], const ModuleHost *host, void **ret)
{
        State *s;

        if (argc == 2 && g_str_equal(argv[1], "--wrong"))
                return -EINVAL;
        s = g_new0(State, 1);
        s->fd = 9;
        s->child = host ? *host->child : -1;
        s->option = getopt(argc, argv, "x");
        calls++;
        *ret = s;
        return 1;
}

static int run(void *userdata)
{
        g_autofree State *s = userdata;
        char name[16] = "";
        sigset_t mask;

        (void) prctl(PR_GET_NAME, name);
        (void) sigprocmask(SIG_BLOCK, NULL, &mask);
        (void) dprintf(s->fd, "%s %c %d %d %d %d", name, s->option, calls, (int) s->child,
                       sigismember(&mask, SIGTERM), getpid() == gettid());
        return 3;
}

extern const Program program;
const Program program = {prepare, run};

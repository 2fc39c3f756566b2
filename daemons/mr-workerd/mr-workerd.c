/*
 * mr-workerd — runs the tasks that a master gives to this host, and keeps what maps made for
 * reduces.
 *
 * main() reads the configuration, the manager has everything, the loop does the rest.
 */
#include "mr-workerd/worker-join.h"
#include "mr-workerd/worker-manager.h"
#include "platform/log.h"
#include "platform/module.h"
#include "platform/service.h"

typedef struct State {
        WorkerConf conf;
        int argc;
        char **argv;
} State;

static int prepare(int argc, char *argv[], const ModuleHost *host, void **ret)
{
        g_autofree State *s = g_new0(State, 1);
        _cleanup_error_ Error e = {};
        int r;

        log_open("mr-workerd");
        if (host)
                service_be_guest(host);
        s->argc = argc;
        s->argv = argv;
        r = worker_conf_load(argc, argv, &s->conf, &e);
        if (r < 0) {
                service_failed(r, error_message(&e, r));
                return log_error_errno(r, "%s", error_message(&e, r));
        }
        if (r > 0)
                *ret = g_steal_pointer(&s);
        return r;
}

static int join(WorkerConf *conf)
{
        _cleanup_error_ Error e = {};
        int r;

        r = worker_join(conf, &e);
        worker_conf_done(conf);
        return r < 0 ? log_error_errno(r, "%s", error_message(&e, r)) : 0;
}

static int serve(State *s)
{
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        r = manager_new(&s->conf, &m);
        if (r < 0)
                return r;
        (void) service_start_watchdog(m->loop);
        m->argc = s->argc; /* for reading the configuration again */
        m->argv = s->argv;
        service_ready();
        r = loop_run(m->loop);
        service_stopping();
        return r < 0 ? log_error_errno(r, "The event loop failed: %m") : r;
}

static int run(void *userdata)
{
        g_autofree State *s = userdata;

        return (s->conf.join ? join(&s->conf) : serve(s)) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

extern const Program program;
const Program program = {prepare, run};

int main(int argc, char *argv[])
{
        return program_main(&program, argc, argv);
}

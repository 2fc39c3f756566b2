/*
 * mr-workerd — runs the tasks that a master gives to this host, and keeps what maps made for reduces.
 *
 * main() reads the configuration, the manager has everything, the loop does the rest.
 */
#include "mr-workerd/worker-join.h"
#include "mr-workerd/worker-manager.h"
#include "platform/service.h"

static int run(int argc, char *argv[])
{
        _cleanup_(manager_freep) Manager *m = NULL;
        _cleanup_error_ Error e = {};
        WorkerConf conf = {};
        int r;

        log_open("mr-workerd");
        r = worker_conf_load(argc, argv, &conf, &e);
        if (r < 0)
                service_failed(r, error_message(&e, r));
        if (r < 0)
                return log_error_errno(r, "%s", error_message(&e, r));
        if (r == 0)
                return 0;

        if (conf.join) {
                r = worker_join(&conf, &e);
                worker_conf_done(&conf);
                return r < 0 ? log_error_errno(r, "%s", error_message(&e, r)) : 0;
        }

        r = manager_new(&conf, &m);
        if (r < 0)
                return r;
        (void) service_start_watchdog(m->loop);
        m->argc = argc; /* for reading the configuration again */
        m->argv = argv;
        service_ready();
        r = loop_run(m->loop);
        service_stopping();
        return r < 0 ? log_error_errno(r, "The event loop failed: %m") : 0;
}

int main(int argc, char *argv[])
{
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

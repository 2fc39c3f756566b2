/*
 * mr-masterd — plans jobs, gives their tasks to workers, puts their results in place.
 *
 * main → manager → loop: options and signals here, everything that is held in master-manager.h.
 */
#include "mr-masterd/master-manager.h"
#include "platform/log.h"
#include "platform/service.h"

static int run(MasterConf *conf, Error *e)
{
        _cleanup_(loop_freep) Loop *l = NULL;
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        service_raise_fd_limit();
        r = loop_new(&l);
        if (r >= 0)
                r = loop_exit_on_signals(l);
        if (r >= 0)
                r = service_start_watchdog(l);
        if (r >= 0 && conf->exit_with_fd >= 0)
                r = service_exit_with_fd(l, conf->exit_with_fd);
        if (r < 0)
                return error_setf(e, r, "cannot set up the loop: %s", error_text(r));

        r = manager_new(l, conf, &m, e);
        if (r >= 0)
                r = manager_start(m, e);
        if (r < 0)
                return r;

        log_info("Ready; workers register at %s", m->address);
        service_ready();
        service_status("Workers register at %s", m->address);
        r = loop_run(l);
        service_stopping();
        return r;
}

int main(int argc, char *argv[])
{
        _cleanup_error_ Error e = {};
        MasterConf conf;
        int r;

        log_open("mr-masterd");
        master_conf_init(&conf);
        r = master_conf_parse(&conf, argc, argv, &e);
        if (r > 0)
                r = run(&conf, &e);
        if (r < 0)
                log_error("%s", error_message(&e, r));
        master_conf_done(&conf);
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * timesyncd-lite — keeps this machine's clock right by Cristian's algorithm, and tells others the
 * time.
 *
 * main() reads the configuration, the manager has everything, the loop does the rest.
 */
#include "platform/service.h"
#include "timesyncd-lite/manager.h"
#include "timesyncd-lite/query.h"

static int run_query(const TimeConf *conf)
{
        _cleanup_error_ Error e = {};
        int r;

        r = query_run(conf, &e);
        if (fflush(stdout) != 0 && r >= 0)
                r = error_setf(&e, EIO, "cannot write the answer");
        return r < 0 ? log_error_errno(r, "%s: %s", conf->query, error_message(&e, r)) : 0;
}

static int run(int argc, char *argv[])
{
        _cleanup_(manager_freep) Manager *m = NULL;
        _cleanup_(time_conf_done) TimeConf conf = {};
        _cleanup_error_ Error e = {};
        int r;

        log_open("timesyncd-lite");
        r = time_conf_load(argc, argv, &conf, &e);
        if (r < 0)
                return log_error_errno(r, "%s", error_message(&e, r));
        if (r == 0)
                return 0;
        if (conf.query)
                return run_query(&conf);

        r = manager_new(&conf, &m);
        if (r < 0)
                return r;
        (void) service_start_watchdog(m->loop);
        service_ready();
        r = loop_run(m->loop);
        service_stopping();
        return r < 0 ? log_error_errno(r, "The event loop failed: %m") : 0;
}

int main(int argc, char *argv[])
{
        return run(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

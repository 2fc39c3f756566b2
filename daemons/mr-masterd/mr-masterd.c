/*
 * mr-masterd — plans jobs, gives their tasks to workers, puts their results in place.
 *
 * main → manager → loop: options and signals here, everything that is held in master-manager.h.
 */
#include <getopt.h>

#include "mr-masterd/master-manager.h"
#include "platform/log.h"
#include "platform/message-ids.h"
#include "platform/module.h"
#include "platform/service.h"

typedef struct State {
        Manager *manager; /* while it runs */
        MasterConf conf;
        int argc;
        char **argv;
} State;

static State *state_free(State *s)
{
        if (!s)
                return NULL;
        master_conf_done(&s->conf);
        g_free(s);
        return NULL;
}
DEFINE_CLEANUP(State, state_free);

/* Jobs are untouched; what is in use for them from the start on is not changed under their feet. */
static void on_reload(void *userdata)
{
        LogFields failed = {.message_id = MESSAGE_RELOAD_FAILED};
        _cleanup_error_ Error e = {};
        State *s = userdata;
        MasterConf fresh;
        int r;

        master_conf_init(&fresh);
        optind = 0;
        r = master_conf_parse(&fresh, s->argc, s->argv, &e);
        if (r < 0)
                log_full(LOG_WARNING, &failed, r, "The configuration stays as it was: %s",
                         error_message(&e, r));
        else
                manager_reload(s->manager, &fresh);
        master_conf_done(&fresh);
}

static int serve(State *s, Error *e)
{
        _cleanup_(loop_freep) Loop *l = NULL;
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        service_raise_fd_limit();
        r = loop_new(&l);
        if (r >= 0 && !service_host())
                r = loop_exit_on_signals(l);
        if (r >= 0)
                r = service_start_watchdog(l);
        if (r >= 0)
                r = s->conf.exit_with_fd >= 0 ? service_exit_with_fd(l, s->conf.exit_with_fd)
                                              : service_reload_on_hangup(l, on_reload, s);
        if (r < 0)
                return error_setf(e, r, "cannot set up the loop: %s", error_text(r));

        r = manager_new(l, &s->conf, &m, e);
        if (r >= 0)
                r = manager_start(m, e);
        s->manager = m;
        if (r < 0)
                return r;

        log_info("Ready; workers register at %s", m->address);
        service_ready();
        service_status("Workers register at %s", m->address);
        r = loop_run(l);
        service_stopping();
        service_status("Stopping: %u jobs go on at the next start", manager_count_active(m));
        return r;
}

static int prepare(int argc, char *argv[], const ModuleHost *host, void **ret)
{
        _cleanup_(state_freep) State *s = g_new0(State, 1);
        _cleanup_error_ Error e = {};
        int r;

        log_open("mr-masterd");
        if (host)
                service_be_guest(host);
        s->argc = argc;
        s->argv = argv;
        master_conf_init(&s->conf);
        r = master_conf_parse(&s->conf, argc, argv, &e);
        if (r < 0) {
                log_error("%s", error_message(&e, r));
                service_failed(r, error_message(&e, r));
        }
        if (r > 0)
                *ret = TAKE_PTR(s);
        return r;
}

static int run(void *userdata)
{
        _cleanup_(state_freep) State *s = userdata;
        _cleanup_error_ Error e = {};
        int r;

        r = serve(s, &e);
        if (r < 0) {
                log_error("%s", error_message(&e, r));
                service_failed(r, error_message(&e, r));
        }
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

extern const Program program;
const Program program = {prepare, run};

int main(int argc, char *argv[])
{
        return program_main(&program, argc, argv);
}

/*
 * Stopping and reloading — see worker-stop.h.
 */
#include <signal.h>

#include "base/text.h"
#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-stop.h"
#include "platform/message-ids.h"
#include "platform/service.h"

/* Between two looks at what still runs. */
#define LOOK_USEC (50 * USEC_PER_MSEC)

/* Attempts that have no task process yet would not end in time; the master gives them to others
 * now. */
static void give_back_waiting(Manager *m)
{
        g_autoptr(GPtrArray) waiting = g_ptr_array_new();
        GHashTableIter it;
        gpointer attempt;

        g_hash_table_iter_init(&it, m->attempts);
        while (g_hash_table_iter_next(&it, NULL, &attempt)) {
                const char *phase = attempt_info(attempt).phase;

                if (g_str_equal(phase, "waiting") || g_str_equal(phase, "shuffle"))
                        g_ptr_array_add(waiting, attempt);
        }
        for (guint i = 0; i < waiting->len; i++)
                attempt_end(waiting->pdata[i], MAPREDUCED__V1__TASK_OUTCOME__REJECTED,
                            "the worker is stopping");
}

static void on_look(void *userdata)
{
        Manager *m = userdata;
        guint running = g_hash_table_size(m->attempts);

        if (running == 0 || loop_now_usec(m->loop) >= m->stop_usec) {
                loop_exit(m->loop, 0);
                return;
        }
        service_status("Stopping: %u attempts are given time to end", running);
        loop_timer_start(m->stop_timer, LOOK_USEC);
}

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        Manager *m = userdata;

        if (m->stopping || m->conf.drain_usec == 0) {
                loop_exit(m->loop, 0);
                return 0;
        }
        m->stopping = true;
        m->stop_usec = loop_now_usec(m->loop) + m->conf.drain_usec;
        service_stopping();
        service_extend_timeout(m->conf.drain_usec + 10 * USEC_PER_SEC);
        give_back_waiting(m);
        on_look(m);
        return 0;
}

static void take_over(Manager *m, const WorkerConf *fresh)
{
        WorkerConf *c = &m->conf;

        if (g_strcmp0(c->master, fresh->master) != 0 || g_strcmp0(c->listen, fresh->listen) != 0 ||
            !g_str_equal(c->spool, fresh->spool) || !g_str_equal(c->name, fresh->name) ||
            c->insecure_plain_tcp != fresh->insecure_plain_tcp)
                log_notice("Addresses, spool or name have changed in the configuration: they count "
                           "from the next start on");
        if (c->slots != fresh->slots) { /* the master hears of it with the next heartbeat */
                c->slots = fresh->slots;
                task_pool_set_slots(m->pool, c->slots);
                manager_state_changed(m);
        }
        c->task_memory_bytes = fresh->task_memory_bytes;
        c->min_free_bytes = fresh->min_free_bytes;
        c->drain_usec = fresh->drain_usec;
        if (m->keys)
                (void) keys_reload(m->keys);
        log_info("The configuration was read again");
}

static void on_reload(void *userdata)
{
        LogFields failed = {.message_id = MESSAGE_RELOAD_FAILED};
        _cleanup_error_ Error e = {};
        Manager *m = userdata;
        WorkerConf fresh;
        int r;

        r = worker_conf_load(m->argc, m->argv, &fresh, &e);
        if (r <= 0) {
                log_full(LOG_WARNING, &failed, r, "The configuration stays as it was: %s",
                         error_message(&e, r));
                return;
        }
        take_over(m, &fresh);
        worker_conf_done(&fresh);
}

int worker_stop_on_signals(Manager *m)
{
        static const int signals[] = {SIGTERM, SIGINT};
        int r;

        r = loop_timer_new(m->loop, on_look, m, &m->stop_timer);
        if (r < 0 || service_host())
                return r;
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(signals); i++) {
                sigset_t set;

                (void) sigemptyset(&set);
                (void) sigaddset(&set, signals[i]);
                if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                        return -errno;
                r = sd_event_add_signal(loop_sd_event(m->loop), NULL, signals[i], on_stop_signal,
                                        m);
        }
        /* Who has a parent to end with, has one to be started anew by. */
        if (r >= 0 && m->conf.exit_fd < 0)
                r = service_reload_on_hangup(m->loop, on_reload, m);
        return r;
}

/*
 * The manager — see worker-manager.h.
 */
#include <fcntl.h>
#include <signal.h>

#include "base/text.h"
#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-bus.h"
#include "mr-workerd/worker-job.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-manager.h"
#include "mr-workerd/worker-master.h"
#include "mr-workerd/worker-peers.h"
#include "mr-workerd/worker-rpc.h"
#include "mr-workerd/worker-stop.h"
#include "mr-workerd/worker-told.h"
#include "platform/service.h"

/* Of the loop, for the last words to leave. */
#define LAST_ROUNDS 16

void manager_state_changed(Manager *m)
{
        if (!m->master || m->stopping)
                return;
        if (master_link_is_registered(m->master))
                service_status("Registered with %s, %u of %u slots in use", m->conf.master,
                               task_pool_busy(m->pool), m->conf.slots);
        else
                service_status("Idle: %s", master_link_reason(m->master));
        worker_bus_changed(m->bus);
}

static void on_slots_changed(void *userdata)
{
        Manager *m = userdata;

        worker_bus_changed(m->bus);
}

static void end_attempts(Manager *m, const char *job_id, Mapreduced__V1__TaskOutcome outcome,
                         const char *sentence)
{
        g_autoptr(GPtrArray) all = g_ptr_array_new();
        GHashTableIter it;
        gpointer attempt;

        g_hash_table_iter_init(&it, m->attempts);
        while (g_hash_table_iter_next(&it, NULL, &attempt))
                if (!job_id || attempt_is_of_job(attempt, job_id))
                        g_ptr_array_add(all, attempt);
        for (guint i = 0; i < all->len; i++)
                attempt_end(all->pdata[i], outcome, sentence);
}

void manager_forget_job(Manager *m, const char *job_id)
{
        g_autofree char *trash = NULL;
        int r;

        end_attempts(m, job_id, MAPREDUCED__V1__TASK_OUTCOME__KILLED, "the job is over");
        task_pool_forget_job(m->pool, job_id);
        told_forget_job(m->told, job_id);
        (void) g_hash_table_remove(m->jobs, job_id);
        r = spool_job_forget(m->spool, job_id, &trash);
        if (r >= 0)
                disk_remove(m->disk, spool_trash_fd(m->spool), trash);
        else if (r != -ENOENT)
                log_warning_errno(r, "Failed to remove the files of job %s, ignoring: %m", job_id);
}

static int prepare_loop(Manager *m)
{
        sigset_t set;
        int r;

        r = loop_new(&m->loop);
        if (r >= 0)
                r = worker_stop_on_signals(m);
        if (r < 0)
                return log_error_errno(r, "Failed to make the event loop: %m");
        /* A segment or a shipped file above RLIMIT_FSIZE fails its attempt (EFBIG), not the
         * worker. */
        (void) signal(SIGXFSZ, SIG_IGN);
        (void) sigemptyset(&set); /* children are watched by sd-event, which asks for this */
        (void) sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        if (m->conf.exit_fd < 0)
                return 0;
        (void) fcntl(m->conf.exit_fd, F_SETFD, FD_CLOEXEC);
        r = service_exit_with_fd(m->loop, m->conf.exit_fd);
        return r < 0 ? log_error_errno(r, "Failed to watch descriptor %d: %m", m->conf.exit_fd) : 0;
}

static int prepare_spool(Manager *m)
{
        _cleanup_error_ Error e = {};
        int r;

        r = spool_open(m->conf.spool, m->conf.ephemeral, &m->spool, &e);
        if (r < 0)
                return log_error_errno(r, "%s", error_message(&e, r));
        if (!m->conf.ephemeral) {
                r = cache_open(m->spool, m->conf.reuse_cache_bytes, &m->cache, &e);
                if (r < 0)
                        return log_error_errno(r, "%s", error_message(&e, r));
        }
        m->indices = index_cache_new(INDEX_CACHE_BYTES);
        r = threads_new(m->loop, &m->threads);
        if (r < 0)
                return log_error_errno(r, "Failed to prepare threads for jobs' files: %m");
        r = disk_new(&m->disk);
        return r < 0 ? log_error_errno(r, "Failed to start the disk thread: %m") : 0;
}

static int start(Manager *m)
{
        int r;

        r = prepare_loop(m);
        if (r < 0)
                return r;
        r = task_pool_new(m->loop, m->conf.slots, m->conf.task_socket, m->conf.ephemeral,
                          on_slots_changed, m, &m->pool);
        if (r < 0)
                return log_error_errno(r, "Failed to find mr-task: %m");
        r = keys_open(m, &m->keys);
        if (r < 0)
                return r;
        r = prepare_spool(m);
        if (r < 0)
                return r;
        r = peers_new(m, &m->peers);
        if (r < 0)
                return log_error_errno(r, "Failed to prepare for other workers: %m");
        r = worker_rpc_start(m);
        if (r < 0)
                return r;
        r = master_link_new(m, &m->master);
        if (r < 0)
                return log_error_errno(r, "Failed to prepare for the master at %s: %m",
                                       m->conf.master);
        keys_start(m->keys);
        return worker_bus_start(m, &m->bus);
}

int manager_new(WorkerConf *conf, Manager **ret)
{
        _cleanup_(manager_freep) Manager *m = g_new0(Manager, 1);
        int r;

        m->conf = *conf;
        *conf = (WorkerConf){.exit_fd = -EBADF};
        m->jobs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, job_free);
        m->attempts = g_hash_table_new(g_str_hash, g_str_equal);
        m->told = told_new();
        id128_make(m->incarnation);

        service_raise_fd_limit();
        r = start(m);
        if (r < 0)
                return r;
        manager_state_changed(m);
        *ret = TAKE_PTR(m);
        return 0;
}

/*
 * The master hears of it at once, and need not wait for the connections to end. What it gives us
 * meanwhile, for others may end with us, is rejected.
 */
static void give_back_attempts(Manager *m)
{
        m->stopping = true;
        end_attempts(m, NULL, MAPREDUCED__V1__TASK_OUTCOME__REJECTED, "the worker is stopping");
        /* ONCE: a child's end that nobody takes any more keeps the inner loop readable for ever. */
        for (size_t i = 0; i < LAST_ROUNDS; i++)
                (void) event_base_loop(loop_base(m->loop), EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

Manager *manager_free(Manager *m)
{
        if (!m)
                return NULL;
        task_pool_end_idle(m->pool);
        m->bus = worker_bus_free(m->bus);
        if (g_hash_table_size(m->attempts) > 0)
                give_back_attempts(m);
        evgrpc_server_free(m->server);
        g_hash_table_unref(m->jobs);
        m->master = master_link_free(m->master);
        peers_free(m->peers);
        keys_free(m->keys);
        task_pool_end(m->pool);
        threads_free(m->threads);
        index_cache_free(m->indices);
        disk_free(m->disk);
        cache_free(m->cache);
        spool_free(m->spool);
        task_pool_free(m->pool);
        g_hash_table_unref(m->attempts);
        told_free(m->told);
        loop_timer_free(m->stop_timer);
        loop_free(m->loop);
        g_free(m->address);
        worker_conf_done(&m->conf);
        g_free(m);
        return NULL;
}

/*
 * Manager — see master-manager.h.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-masterd/master-join.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"
#include "platform/bus.h"
#include "platform/log.h"
#include "platform/service.h"

static void on_round(void *userdata);

static void on_wakeup(void *userdata)
{
        manager_kick(userdata);
}

static void on_announce(void *userdata)
{
        manager_announce(userdata);
}

static void free_worker(gpointer w)
{
        worker_free(w);
}

static void free_job(gpointer j)
{
        job_free(j);
}

static void set_sharing(Manager *m)
{
        const MasterConf *c = m->conf;
        SchedLimits limits = {
                .user_running_jobs_max = c->user_running_jobs_max,
                .user_maps_max = c->user_maps_max,
                .user_reduces_max = c->user_reduces_max,
                .backup_cap_percent = c->backup_percent,
                .blacklist_usec = c->blacklist_usec,
        };

        scheduler_set_limits(m->scheduler, &limits);
        for (guint i = 0; i < c->user_weights->len; i++) {
                uint32_t uid, weight;

                if (master_conf_parse_weight(c->user_weights->pdata[i], &uid, &weight, NULL) >= 0)
                        scheduler_set_weight(m->scheduler, uid, weight);
        }
}

int manager_new(Loop *l, MasterConf *conf, Manager **ret, Error *e)
{
        _cleanup_(manager_freep) Manager *m = g_new0(Manager, 1);
        int r;

        m->loop = l;
        m->conf = conf;
        m->lock_fd = -EBADF;
        m->next_job = 1;
        m->next_worker = 1;
        id128_make(m->epoch);
        m->scheduler = scheduler_new();
        m->lineage = lineage_new();
        set_sharing(m);
        m->jobs = g_hash_table_new(g_str_hash, g_str_equal);
        m->by_age = g_ptr_array_new_with_free_func(free_job);
        m->requests = g_hash_table_new(g_str_hash, g_str_equal);
        m->workers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_worker);
        m->numbers = g_hash_table_new(NULL, NULL);

        r = offload_new(l, &m->offload);
        if (r >= 0)
                r = loop_timer_new(l, on_round, m, &m->round_timer);
        if (r >= 0)
                r = loop_timer_new(l, on_wakeup, m, &m->wakeup_timer);
        if (r >= 0)
                r = loop_timer_new(l, on_announce, m, &m->announce_timer);
        if (r < 0)
                return error_setf(e, r, "cannot set up: %s", error_text(r));
        *ret = TAKE_PTR(m);
        return 0;
}

/* Nobody will go on with these jobs: what they wrote so far goes with us. */
static void discard_unfinished(Manager *m)
{
        for (guint i = 0; i < m->by_age->len; i++) {
                const MasterJob *j = m->by_age->pdata[i];

                if (j->output_prepared && *j->desc->output && !job_is_over(j))
                        (void) output_discard(j->output_dir, job_part_count(j), job_part_ending(j),
                                              j->output_created, NULL);
        }
}

/* The directory around it is left by the last daemon in it (mrctl --local): rmdir() fails for all
 * others. */
static void delete_state(const char *dir)
{
        g_autofree char *parent = g_path_get_dirname(dir);

        (void) rm_rf_at(AT_FDCWD, dir);
        (void) rmdir(parent);
}

/* The order: no more news from outside, then attempts and jobs, then what they stand on. */
Manager *manager_free(Manager *m)
{
        if (!m)
                return NULL;
        m->stopping = true;
        m->offload = offload_free(m->offload);
        for (guint i = 0; i < m->by_age->len; i++)
                if (m->conf->ephemeral)
                        job_kill_attempts(m->by_age->pdata[i]);
                else
                        job_leave_attempts(m->by_age->pdata[i]);
        if (m->conf->ephemeral)
                discard_unfinished(m);
        if (m->store && store_commit(m->store, true) < 0)
                log_warning("Cannot save the last changes: %s", store_error(m->store));
        m->join = join_free(m->join);
        m->server = evgrpc_server_free(m->server);
        m->secure_server = evgrpc_server_free(m->secure_server);
        g_hash_table_unref(m->workers); /* their channels; calls end here */
        g_ptr_array_unref(m->by_age);
        g_hash_table_unref(m->jobs);
        g_hash_table_unref(m->requests);
        g_hash_table_unref(m->numbers);
        scheduler_free(m->scheduler);
        lineage_free(m->lineage);
        manager_forget_plan(m);
        store_free(m->store);
        authorizer_free(m->authorizer);
        sd_bus_flush_close_unref(m->bus);
        loop_timer_free(m->round_timer);
        loop_timer_free(m->wakeup_timer);
        loop_timer_free(m->lease_timer);
        loop_timer_free(m->tick_timer);
        loop_timer_free(m->announce_timer);
        if (m->conf->ephemeral && m->lock_fd >= 0)
                delete_state(m->conf->state_dir);
        safe_close(m->lock_fd);
        keys_free(m->keys);
        g_free(m->secure_address);
        g_free(m->address);
        g_free(m);
        return NULL;
}

uint64_t manager_now(Manager *m)
{
        return loop_now_usec(m->loop);
}

uint64_t manager_realtime(Manager *m)
{
        return loop_realtime_usec(m->loop);
}

char *manager_state_path(const Manager *m, const char *kind, const MasterJob *job)
{
        return g_build_filename(m->conf->state_dir, kind, job ? job->id : NULL, NULL);
}

unsigned manager_count_active(const Manager *m)
{
        unsigned count = m->submitting;

        for (guint i = 0; i < m->by_age->len; i++)
                count += !job_is_over(m->by_age->pdata[i]);
        return count;
}

static bool same_addresses(const GPtrArray *a, const GPtrArray *b)
{
        if (a->len != b->len)
                return false;
        for (guint i = 0; i < a->len; i++)
                if (!g_str_equal(a->pdata[i], b->pdata[i]))
                        return false;
        return true;
}

void manager_reload(Manager *m, const MasterConf *fresh)
{
        _cleanup_error_ Error e = {};
        MasterConf *c = m->conf;

        if (!same_addresses(c->listen, fresh->listen) ||
            !g_str_equal(c->state_dir, fresh->state_dir) || c->lease_usec != fresh->lease_usec ||
            c->heartbeat_usec != fresh->heartbeat_usec ||
            c->insecure_plain_tcp != fresh->insecure_plain_tcp ||
            c->shared_results != fresh->shared_results)
                log_notice("Addresses, directories, lease and heartbeat have changed in the "
                           "configuration: they count from the next start on");
        if (m->keys && keys_reload(m->keys, &e) < 0)
                log_warning("The keys stay as they were: %s", error_message(&e, -EIO));
        c->jobs_max = fresh->jobs_max;
        c->keep_jobs = fresh->keep_jobs;
        m->prune = true;
        log_info("The configuration was read again: at most %u jobs at a time, %u kept",
                 c->jobs_max, c->keep_jobs);
        manager_kick(m);
}

void manager_kick(Manager *m)
{
        if (m->kicked || m->stopping)
                return;
        m->kicked = true;
        loop_timer_start(m->round_timer, 0);
}

int manager_commit(Manager *m, bool durable)
{
        int r = store_commit(m->store, durable && !m->conf->ephemeral);

        if (r < 0 && !m->stopping) {
                log_error("Cannot save the state in %s, ending; what is on disk is whole: %s",
                          m->conf->state_dir, store_error(m->store));
                m->stopping = true;
                loop_exit(m->loop, EXIT_FAILURE);
        }
        return r;
}

static void arm_wakeup(Manager *m)
{
        uint64_t at = scheduler_wakeup_usec(m->scheduler), now = manager_now(m);

        if (at == USEC_INFINITY)
                loop_timer_stop(m->wakeup_timer);
        else
                loop_timer_start(m->wakeup_timer, at > now ? at - now : 0);
}

static void on_round(void *userdata)
{
        g_autoptr(GArray) assignments = g_array_new(FALSE, FALSE, sizeof(Assignment));
        Manager *m = userdata;

        m->kicked = false;
        if (m->prune)
                manager_prune_jobs(m);
        manager_schedule(m, assignments);
        manager_tell_blacklist(m);
        if (manager_commit(m, false) < 0)
                return;
        manager_start_attempts(m, assignments);
        arm_wakeup(m);
        manager_update_waiting(m);
        manager_announce(m);
}

/* One master for one state: the lock lasts as long as the process. */
static int open_state(Manager *m, Error *e)
{
        const char *dir = m->conf->state_dir;
        g_autofree char *lock = g_build_filename(dir, "lock", NULL);
        int r;

        r = mkdir_parents(dir, 0700);
        if (r < 0)
                return error_setf(e, r, "cannot make the state directory %s: %s", dir,
                                  error_text(r));
        m->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (m->lock_fd < 0)
                return error_setf(e, errno, "cannot use the state directory %s: %s", dir,
                                  error_text(errno));
        if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                r = -errno;
                m->lock_fd = safe_close(m->lock_fd);
                if (r == -EWOULDBLOCK)
                        return error_setf(
                                e, EBUSY,
                                "another mr-masterd uses the state directory %s: stop it, or give "
                                "this one another with --state=",
                                dir);
                return error_setf(e, r, "cannot lock %s: %s", lock, error_text(r));
        }
        r = store_open(m->conf->ephemeral ? NULL : dir, &m->store, e);
        if (r < 0)
                return r;
        r = store_get_tag(m->store, m->tag);
        return r < 0 ? error_setf(e, r, "cannot use the state in %s: %s", dir,
                                  store_error(m->store))
                     : 0;
}

int manager_start(Manager *m, Error *e)
{
        int r;

        r = open_state(m, e);
        if (r >= 0)
                r = manager_open_bus(m, e);
        if (r >= 0)
                r = manager_restore(m, e);
        if (r >= 0)
                r = manager_serve_rpc(m, e);
        if (r >= 0)
                r = manager_claim_name(m, e);
        if (r < 0)
                return r;
        r = manager_start_ticking(m);
        if (r < 0)
                return error_setf(e, r, "cannot set up: %s", error_text(r));
        manager_arm_leases(m);
        m->changed |= CHANGED_STATE;
        manager_kick(m);
        return 0;
}

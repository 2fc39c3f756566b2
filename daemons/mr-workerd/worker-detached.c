/*
 * Attempt — while the master is away.
 *
 *      attached ── connection lost ──▶ detached ── RunTask with resume ──▶ attached
 *                                          │
 *                                          ├── RejoinGrace= over, or unwanted ──▶ killed
 *                                          └── comes to its end: its result waits likewise
 *
 * One that came to its end while the master was there is gone; its result is kept until the master
 * surely has it (worker-told.h), and is told again if it asks.
 *
 * A master that is started again within the grace so finds everything as it was: work of hours is
 * not thrown away because one process was replaced. Dean & Ghemawat let the whole computation end
 * with the master (OSDI 2004, §3.3).
 */
#include "mr-workerd/worker-attempt-impl.h"
#include "mr-workerd/worker-master.h"
#include "mr-workerd/worker-spec.h"
#include "mr-workerd/worker-told.h"

static void on_grace_over(void *userdata)
{
        Attempt *a = userdata;

        a->grace = loop_timer_free(a->grace);
        attempt_end(a, OUTCOME(KILLED), "the master did not come back within RejoinGrace=");
}

static bool outlives_master(const WorkerConf *conf)
{
        return !conf->ephemeral && conf->rejoin_grace_usec > 0;
}

/* One that still fetches files from the master has lost nothing yet. */
static bool can_go_on_alone(const Attempt *a)
{
        return outlives_master(&a->manager->conf) && a->phase != PHASE_FILES;
}

/* A streamed part goes as it is sent: its attempt has nothing to show for a result any more. */
void attempt_tell(Attempt *a, TaskResult *result)
{
        bool succeeded = result->outcome == OUTCOME(SUCCEEDED);

        if (outlives_master(&a->manager->conf) &&
            (result->outcome == OUTCOME(FAILED) ||
             (succeeded && (!attempt_makes_part(a) || *a->spec->output_dir))))
                told_add(a->manager->told, a->spec, result);
        attempt_send_result(a->call, result);
}

bool attempt_tell_again(Manager *m, const TaskSpec *spec, EvgrpcServerCall *call)
{
        TaskResult *result = told_find(m->told, spec);

        if (!result)
                return false;
        attempt_send_result(call, result);
        mapreduced__v1__task_result__free_unpacked(result, NULL);
        return true;
}

bool attempt_detach(Attempt *a)
{
        Manager *m = a->manager;

        if (!can_go_on_alone(a))
                return false;
        if (loop_timer_new(m->loop, on_grace_over, a, &a->grace) < 0)
                return false;
        loop_timer_start(a->grace, m->conf.rejoin_grace_usec);
        a->asked = false;
        log_debug("Job %s: %s goes on without the master", a->spec->job_id, a->work_name);
        master_link_rejoin(m->master);
        return true;
}

void attempt_keep(Attempt *a, const TaskResult *result)
{
        size_t size = mapreduced__v1__task_result__get_packed_size(result);
        g_autofree uint8_t *data = g_malloc(MAX(size, 1));

        mapreduced__v1__task_result__pack(result, data);
        a->kept = mapreduced__v1__task_result__unpack(NULL, size, data);
        if (!a->kept)
                g_error("Out of memory"); /* as GLib itself would */
}

void attempt_attach(Attempt *a, EvgrpcServerCall *call)
{
        /* A master that is here again before we have seen the end of its last call. */
        if (a->call)
                evgrpc_server_call_finish(a->call, EVGRPC_UNAVAILABLE,
                                          "another call goes on with it");
        a->call = evgrpc_server_call_unref(a->call);
        a->congested = false;
        a->grace = loop_timer_free(a->grace);
        attempt_listen(a, call);
        if (a->kept) {
                attempt_finish(a, a->kept);
                return;
        }
        attempt_tell_progress(a, true);
        if (a->phase == PHASE_STREAMING) { /* the master has a new, empty file */
                a->streamed_bytes = 0;
                attempt_stream_on(a);
        }
}

GPtrArray *attempts_list_detached(Manager *m)
{
        GPtrArray *list = running_attempts_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->attempts);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Attempt *a = p;

                /* Also those whose call seems to live: it may be that of a master that is gone. A
                 * master that made the call itself does not mind. */
                if (!a->grace && !can_go_on_alone(a))
                        continue;
                a->asked = a->grace != NULL;
                g_ptr_array_add(list, running_attempt_new(a->spec->job_id, a->spec->kind,
                                                          a->spec->task, a->spec->attempt));
        }
        told_ask(m->told, list);
        return list;
}

static bool is_kept(const Attempt *a, Mapreduced__V1__RunningAttempt *const *keep, size_t count)
{
        Mapreduced__V1__RunningAttempt name = running_attempt_of(a->spec);

        for (size_t i = 0; i < count; i++)
                if (running_attempt_equal(keep[i], &name))
                        return true;
        return false;
}

bool attempts_answer(Manager *m, Mapreduced__V1__RunningAttempt *const *keep, size_t count)
{
        g_autoptr(GPtrArray) unwanted = g_ptr_array_new();
        bool others = false;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->attempts);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Attempt *a = p;

                if (!a->grace)
                        continue;
                others |= !a->asked;
                if (a->asked && !is_kept(a, keep, count))
                        g_ptr_array_add(unwanted, p);
        }
        for (guint i = 0; i < unwanted->len; i++)
                attempt_end(unwanted->pdata[i], OUTCOME(KILLED), "the master does not want it");
        told_answer(m->told, keep, count);
        return others;
}

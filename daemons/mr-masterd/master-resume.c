/*
 * Resumption — an attempt goes on although its call does not.
 *
 * The work is the worker's: neither a connection that ends nor a master that does is a reason to do
 * it again. So RunTask with `resume` asks for the rest of an attempt that the worker runs already.
 *
 * Where a connection is left in peace (certificates were renewed), the attempt is called with
 * `resume` over the new one while its first call goes on: two calls, of which the worker answers
 * one. The first word on the second ends the first; a result on the first ends the second.
 *
 * After our own restart an attempt has no call until its worker registers again and says that it
 * still runs it: then it is called with `resume`, and goes on as if nothing had been. Else it is
 * lost, at the latest with the lease.
 *
 * A result may have been sent and not have arrived. The worker asks at its heartbeat which of those
 * attempts we still take for running; of the others our word is saved before it is given, for the
 * worker then forgets them.
 */
#include "mr-masterd/master-attempt.h"

/* ---- Over a new connection ---- */

void attempt_move(AttemptCall *c)
{
        AttemptCall *next = attempt_call_new(c->job, c->kind, c->task, c->attempt, c->worker);

        next->resumed = next->newer = true;
        next->other = c;
        c->other = next;
        c->left = false;
        attempt_call(next, true);
}

static void move_call(AttemptCall *c, void *userdata)
{
        if (c->call && c->newer)
                c->left = true;
        else if (c->call && !c->other)
                attempt_move(c);
}

void worker_move_attempts(MasterWorker *w)
{
        worker_each_call(w, move_call, NULL);
}

/* ---- After a restart ---- */

int job_expect_attempt(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                       uint32_t worker)
{
        int r;

        r = scheduler_resume(j->manager->scheduler, j->table, kind, task, attempt, worker,
                             manager_now(j->manager));
        if (r >= 0)
                (void) attempt_call_new(j, kind, task, attempt, worker);
        return r;
}

static Mapreduced__V1__RunningAttempt *find_running(const Mapreduced__V1__RegisterRequest *request,
                                                    const AttemptCall *c)
{
        for (size_t i = 0; i < request->n_running; i++) {
                Mapreduced__V1__RunningAttempt *a = request->running[i];
                bool map = a->kind == MAPREDUCED__V1__TASK_KIND__MAP;

                if (a->task == c->task && a->attempt == c->attempt &&
                    map == (c->kind == TASK_MAP) && g_str_equal(a->job_id, c->job->wire_id))
                        return a;
        }
        return NULL;
}

typedef struct Resumption {
        const Mapreduced__V1__RegisterRequest *request;
        GPtrArray *keep;
} Resumption;

static void resume_or_lose(AttemptCall *c, void *userdata)
{
        Mapreduced__V1__RunningAttempt *a;
        Resumption *x = userdata;

        if (c->call && !c->resumed)
                return;
        a = find_running(x->request, c);
        if (!a && c->resumed)
                return;
        if (!a) {
                attempt_lose(c, "its worker does not run it any more", CAUSE_WORKER_RESTARTED);
                return;
        }
        g_ptr_array_add(x->keep, a);
        if (c->resumed)
                return; /* it asks again before our call has arrived */
        c->resumed = true;
        job_event(c->job, "attempt-resumed", "%s goes on with attempt %u of %s %u",
                  manager_worker_name(c->job->manager, c->worker), c->attempt,
                  attempt_kind_name(c->kind), c->task);
        attempt_call(c, true);
}

void worker_resume_attempts(MasterWorker *w, const Mapreduced__V1__RegisterRequest *request,
                            GPtrArray *keep)
{
        worker_each_call(w, resume_or_lose, &(Resumption){.request = request, .keep = keep});
}

static bool is_running(Manager *m, const Mapreduced__V1__RunningAttempt *a)
{
        TaskKind kind = a->kind == MAPREDUCED__V1__TASK_KIND__MAP ? TASK_MAP : TASK_REDUCE;
        const MasterJob *j = manager_find_job_by_wire_id(m, a->job_id);
        const Task *task;

        if (!j || job_is_over(j) || !j->table)
                return false;
        task = task_table_get(j->table, kind, a->task);
        for (uint32_t i = 0; task && i < task->running_count; i++)
                if (task->running[i].number == a->attempt)
                        return true;
        return false;
}

GPtrArray *manager_list_unheard(Manager *m, const Mapreduced__V1__HeartbeatRequest *request)
{
        GPtrArray *unheard = g_ptr_array_new();

        for (size_t i = 0; i < request->n_told; i++)
                if (is_running(m, request->told[i]))
                        g_ptr_array_add(unheard, request->told[i]);
        if (unheard->len < request->n_told && manager_commit(m, false) < 0) {
                g_ptr_array_unref(unheard);
                return NULL;
        }
        return unheard;
}

/*
 * Commit — a part gets its final name, for one attempt of each reduce; of a job without reduces, of each map.
 *
 * The task table grants the commit to one attempt; the rename is done in a thread; when it is done the
 * table learns it, and the other attempt, if there is one, is killed.
 */
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"

/* The worker in it keeps apart what two may write: a power cut can cost us the row of an attempt, and its number is
 * then given twice. A worker itself runs no number twice at a time. */
char *job_attempt_dir(const MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                      uint32_t worker)
{
        const MasterWorker *w = manager_worker(j->manager, worker);

        return g_strdup_printf("%s/" OUTPUT_TEMPORARY "/attempt-%.8s-%c-%05u-%u", j->output_dir,
                               w ? w->id : "gone", kind == TASK_MAP ? 'm' : 'r', task, attempt);
}

typedef struct PartWork {
        MasterJob *job;
        FinishedAttempt f;
        char *output_dir, *attempt_dir;
        const char *ending;
        bool sync;
        int result;
        Error error;
} PartWork;

static void part_work(void *data)
{
        PartWork *w = data;

        w->result = output_commit_part(w->output_dir, w->attempt_dir, w->f.task, w->ending, w->sync,
                                       &w->error);
}

static void part_work_free(PartWork *w)
{
        counter_set_free(w->f.counters);
        g_free(w->output_dir);
        g_free(w->attempt_dir);
        error_done(&w->error);
        g_free(w);
}

static void part_committed(MasterJob *j, FinishedAttempt *f)
{
        if (scheduler_commit(j->manager->scheduler, j->table, f->kind, f->task, f->attempt,
                             manager_now(j->manager)) < 0)
                return;
        job_attempt_committed(j, f->kind, f->task, f->attempt);
        job_set_task_counters(j, f->kind, f->task, TAKE_PTR(f->counters));
        job_save_task(j, f->kind, f->task);
        job_kill_losers(j, f->kind, f->task);
        job_changed(j, CHANGED_NUMBERS);
        job_check_complete(j);
}

static void part_failed(MasterJob *j, const FinishedAttempt *f, const char *why)
{
        Manager *m = j->manager;
        int r;

        job_event(j, "commit-failed", "attempt %u of %s %u: %s", f->attempt,
                  f->kind == TASK_MAP ? "map" : "reduce", f->task, why);
        r = scheduler_end(m->scheduler, j->table, f->kind, f->task, f->attempt, ATTEMPT_FAILED,
                          manager_now(m));
        if (r < 0)
                return;
        job_attempt_ended(j, f->kind, f->task, f->attempt, ATTEMPT_FAILED, why);
        task_table_set_status(j->table, f->kind, f->task, why);
        job_rerun_lost(j);
        job_save_task(j, f->kind, f->task);
        job_changed(j, CHANGED_NUMBERS);
        if (r > 0)
                job_end(j, JOB_FAILED, why, NULL);
}

static void part_done(void *data, bool abandoned)
{
        PartWork *w = data;
        MasterJob *j = w->job;

        if (!abandoned) {
                j->working--;
                if (j->ending == 0 && w->result >= 0)
                        part_committed(j, &w->f);
                else if (j->ending == 0)
                        part_failed(j, &w->f, error_message(&w->error, w->result));
                job_try_end(j);
        }
        part_work_free(w);
}

void job_commit_part(MasterJob *j, FinishedAttempt *f, const Mapreduced__V1__TaskResult *result)
{
        PartWork *w;

        if (scheduler_grant(j->manager->scheduler, j->table, f->task, f->attempt) < 0)
                return;
        if (f->kind == TASK_MAP) /* an attempt that takes its place would say the same again */
                job_save_skipped(j, f->task, result);
        w = g_new0(PartWork, 1);
        w->job = j;
        w->f = *f;
        f->counters = NULL;
        w->output_dir = g_strdup(j->output_dir);
        w->attempt_dir = job_attempt_dir(j, f->kind, f->task, f->attempt, f->worker);
        w->ending = job_part_ending(j);
        w->sync = !j->manager->conf->ephemeral;
        j->working++;
        job_changed(j, CHANGED_NUMBERS);
        offload_run(j->manager->offload, j->number, j->uid, part_work, part_done, w);
}

/*
 * Commit — a part gets its final name, for one attempt of each reduce; of a job without reduces, of
 * each map.
 *
 * The task table grants the commit to one attempt; the rename is done in a thread; when it is done
 * the table learns it, and the other attempt, if there is one, is killed.
 *
 * A rename that survives a power cut costs a write to disk, 5 to 10 ms on ext4. So parts that are
 * granted while others of the job are on their way go together after them, with one such write for
 * all: group commit (DeWitt et al., SIGMOD 1984). One after another, 2,000 reduces of a millisecond
 * took 20 ms each.
 *
 *      granted ──▶ (streamed: synced) ──▶ renames ──▶ a batch: renamed, directory synced ──▶ done
 */
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"

/* The worker in it keeps apart what two may write: a power cut can cost us the row of an attempt,
 * and its number is then given twice. A worker itself runs no number twice at a time. */
char *job_attempt_dir(const MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                      uint32_t worker)
{
        const MasterWorker *w = manager_worker(j->manager, worker);

        return g_strdup_printf("%s/" OUTPUT_TEMPORARY "/attempt-%.8s-%c-%05u-%u", j->output_dir,
                               w ? w->id : "gone", kind == TASK_MAP ? 'm' : 'r', task, attempt);
}

OutputCare job_output_care(const MasterJob *j)
{
        if (!j->manager->conf->ephemeral)
                return OUTPUT_SYNCED;
        return *j->desc->output ? OUTPUT_UNSYNCED : OUTPUT_SHORT_LIVED;
}

typedef struct PartWork {
        MasterJob *job;
        FinishedAttempt f;
        OutputPart part;
        const char *ending;
} PartWork;

typedef struct Batch {
        MasterJob *job;
        GPtrArray *works; /* PartWork * */
        char *output_dir;
        const char *ending;
        OutputCare care;
} Batch;

static void part_work_free(gpointer p)
{
        PartWork *w = p;

        counter_set_free(w->f.counters);
        g_free(w->part.attempt_dir);
        error_done(&w->part.error);
        g_free(w);
}

GPtrArray *job_renames_new(void)
{
        return g_ptr_array_new_with_free_func(part_work_free);
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

static void part_failed(MasterJob *j, const FinishedAttempt *f, const char *why, const char *cause)
{
        Manager *m = j->manager;
        int r;

        job_event(j, "commit-failed", "attempt %u of %s %u: %s", f->attempt,
                  f->kind == TASK_MAP ? "map" : "reduce", f->task, why);
        r = scheduler_end(m->scheduler, j->table, f->kind, f->task, f->attempt, ATTEMPT_FAILED,
                          manager_now(m));
        if (r < 0)
                return;
        job_attempt_ended(j, f->kind, f->task, f->attempt, ATTEMPT_FAILED, why, cause);
        task_table_set_status(j->table, f->kind, f->task, why);
        job_rerun_lost(j);
        job_save_task(j, f->kind, f->task);
        job_changed(j, CHANGED_NUMBERS);
        if (r > 0)
                job_end(j, JOB_FAILED, why, cause, f, NULL);
}

static void part_done(PartWork *w)
{
        MasterJob *j = w->job;

        j->working--;
        if (j->ending == 0 && w->part.result >= 0)
                part_committed(j, &w->f);
        else if (j->ending == 0)
                part_failed(j, &w->f, error_message(&w->part.error, w->part.result),
                            cause_of_errno(w->part.result));
        job_try_end(j);
}

/* ---- Renames, many at a time ---- */

static void rename_batch(MasterJob *j);

static void batch_work(void *data)
{
        Batch *b = data;
        g_autofree OutputPart **parts = g_new(OutputPart *, b->works->len);

        for (guint i = 0; i < b->works->len; i++)
                parts[i] = &((PartWork *) b->works->pdata[i])->part;
        output_commit_parts(b->output_dir, parts, b->works->len, b->ending, b->care);
}

static void batch_done(void *data, bool abandoned)
{
        Batch *b = data;
        MasterJob *j = b->job;

        for (guint i = 0; i < b->works->len && !abandoned; i++)
                part_done(b->works->pdata[i]);
        if (!abandoned) {
                j->renaming = false;
                rename_batch(j);
        }
        g_ptr_array_unref(b->works);
        g_free(b->output_dir);
        g_free(b);
}

/* All that wait, unless others are on their way. */
static void rename_batch(MasterJob *j)
{
        Batch *b;

        if (j->renaming || j->renames->len == 0)
                return;
        b = g_new(Batch, 1);
        *b = (Batch){
                .job = j,
                .works = j->renames,
                .output_dir = g_strdup(j->output_dir),
                .ending = job_part_ending(j),
                .care = job_output_care(j),
        };
        j->renames = job_renames_new();
        j->renaming = true;
        offload_run(j->manager->offload, j->number, j->uid, batch_work, batch_done, b);
}

static void rename_part(PartWork *w)
{
        g_ptr_array_add(w->job->renames, w);
        rename_batch(w->job);
}

/* ---- What came to us over the network was synced by nobody ---- */

static void sync_work(void *data)
{
        PartWork *w = data;

        (void) output_sync_part(&w->part, w->ending);
}

static void sync_done(void *data, bool abandoned)
{
        PartWork *w = data;

        if (!abandoned && w->part.result >= 0) {
                rename_part(w);
                return;
        }
        if (!abandoned)
                part_done(w);
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
        w->part.number = f->task;
        w->part.attempt_dir = job_attempt_dir(j, f->kind, f->task, f->attempt, f->worker);
        w->ending = job_part_ending(j);
        j->working++;
        job_changed(j, CHANGED_NUMBERS);
        if (j->streamed && !j->manager->conf->ephemeral)
                offload_run(j->manager->offload, j->number, j->uid, sync_work, sync_done, w);
        else
                rename_part(w);
}

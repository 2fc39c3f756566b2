/*
 * History — what became of each attempt, and from what each task was made.
 *
 * Every attempt has a row from its start on, and its end is added to it; what its commands last
 * wrote to stderr is kept beside it. So a job can be asked why it failed, and where its time went,
 * for as long as the job itself is remembered. All of it is bounded: the newest attempts of a task,
 * the newest tails of a job.
 *
 * The plan of a job that is over is made again from its input files, as after a restart, when
 * somebody asks for it; the last one asked for is kept, because questions come page by page.
 */
#include "mr-masterd/master-manager.h"

static const char *const end_names[] = {
        [ATTEMPT_FAILED] = "failed",
        [ATTEMPT_LOST] = "lost",
        [ATTEMPT_KILLED] = "killed",
        [ATTEMPT_REJECTED] = "rejected",
};

void job_attempt_started(MasterJob *j, const Assignment *a)
{
        StoreAttempt row = {
                .job = j->number,
                .kind = (int) a->kind,
                .task = a->task,
                .attempt = a->attempt,
                .worker = a->worker,
                .started_usec = manager_realtime(j->manager),
        };

        store_start_attempt(j->manager->store, &row, MASTER_TASK_ATTEMPTS_MAX);
}

static void save_end(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt, const char *end,
                     const char *reason, const char *cause)
{
        g_autofree char *valid = NULL;
        StoreAttempt row = {
                .job = j->number,
                .kind = (int) kind,
                .task = task,
                .attempt = attempt,
                .finished_usec = manager_realtime(j->manager),
                .end = end,
                .cause = cause,
        };

        if (reason)
                valid = g_utf8_make_valid(reason,
                                          (gssize) MIN(strlen(reason), MASTER_EVENT_MAX_BYTES));
        row.reason = valid;
        store_end_attempt(j->manager->store, &row);
}

void job_attempt_ended(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt, AttemptEnd end,
                       const char *reason, const char *cause)
{
        save_end(j, kind, task, attempt, end_names[end], reason, cause);
}

void job_attempt_committed(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt)
{
        save_end(j, kind, task, attempt, "succeeded", NULL, NULL);
}

void job_keep_tail(MasterJob *j, const FinishedAttempt *f, const char *text)
{
        size_t size = strlen(text), cut = size - MIN(size, STDERR_TAIL_BYTES);
        g_autofree char *valid = NULL;
        StoreTail tail = {
                .usec = manager_realtime(j->manager),
                .kind = (int) f->kind,
                .task = f->task,
                .attempt = f->attempt,
                .worker_name = manager_worker_name(j->manager, f->worker),
        };

        if (size == 0)
                return;
        valid = g_utf8_make_valid(text + cut, -1);
        tail.text = valid;
        store_add_tail(j->manager->store, j->number, j->next_tail++, &tail, MASTER_TAILS_MAX);
}

static void on_tail(uint64_t seq, const StoreTail *tail, void *userdata)
{
        ((MasterJob *) userdata)->next_tail = seq + 1;
}

/* After a restart: attempts that ran go on or are lost one by one, if their job goes on; else all
 * are. */
int job_restore_history(MasterJob *j)
{
        if (j->state != JOB_RUNNING || j->ending != 0)
                store_end_attempts(j->manager->store, j->number, manager_realtime(j->manager),
                                   end_names[ATTEMPT_LOST], "the master was restarted",
                                   CAUSE_MASTER_RESTARTED);
        return store_each_tail(j->manager->store, j->number, on_tail, j);
}

/* ---- Plans of jobs that are over ---- */

typedef struct Rows {
        PlanFiles *files;
        int result;
} Rows;

static void on_input(const StoreInput *input, void *userdata)
{
        PlanFile file = {
                .path = g_strdup(input->path),
                .size_bytes = input->size_bytes,
                .mtime_ns = input->mtime_ns,
        };
        Rows *x = userdata;

        if (x->result >= 0)
                x->result = plan_files_add(x->files, &file, NULL);
        else
                g_free(file.path);
}

void manager_forget_plan(Manager *m)
{
        m->plan_job = 0;
        m->plan_files = plan_files_free(m->plan_files);
        m->plan_splits = split_plan_free(m->plan_splits);
}

static int load_plan(MasterJob *j)
{
        Rows x = {.files = plan_files_new()};
        Manager *m = j->manager;
        int r;

        manager_forget_plan(m);
        m->plan_files = x.files;
        r = store_each_input(m->store, j->number, on_input, &x);
        if (r >= 0)
                r = x.result;
        if (r >= 0)
                r = job_make_splits(j, m->plan_files, &m->plan_splits, NULL);
        if (r >= 0 && (m->plan_splits->split_count != j->maps || !job_has_cuts(j, m->plan_splits)))
                r = -ENODATA; /* too many files to keep, it never came so far, or others cut */
        if (r < 0) {
                manager_forget_plan(m);
                return r;
        }
        m->plan_job = j->number;
        return 0;
}

int job_get_plan(MasterJob *j, const PlanFiles **ret_files, const SplitPlan **ret_splits)
{
        Manager *m = j->manager;

        if (j->splits) {
                *ret_files = j->files;
                *ret_splits = j->splits;
                return 0;
        }
        if (m->plan_job != j->number) {
                int r = load_plan(j);

                if (r < 0)
                        return r;
        }
        *ret_files = m->plan_files;
        *ret_splits = m->plan_splits;
        return 0;
}

/* What is not kept cannot be explained, but a million paths of a job that is long over serve
 * nobody. */
void job_trim_inputs(MasterJob *j)
{
        if (j->files && j->files->files->len > MASTER_KEPT_INPUTS_MAX)
                store_remove_inputs(j->manager->store, j->number);
}

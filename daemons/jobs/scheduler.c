/*
 * Scheduler — see scheduler.h.
 *
 * The choice is made for one task at a time: the first in the order of jobs and queues that any worker can
 * take, and of these workers the one with the fewest failures in a row, then the lowest load. Only tasks with failures
 * of their own are ever stepped over, so the search ends at the first ordinary task.
 */
#include "jobs/scheduler.h"

typedef struct SchedWorker {
        uint32_t number;
        uint32_t slots;
        uint32_t used;     /* attempts that hold a slot, or stand in the worker's queue for one */
        uint32_t reduces;  /* attempts of reduces in any phase, to spread them */
        uint32_t failures; /* in a row */
        uint64_t backoff_usec; /* the last wait; 0 after a success */
        uint64_t not_before_usec;
} SchedWorker;

typedef struct SchedJob {
        TaskTable *table;
        GHashTable *shuffling; /* worker number → reduce attempts that do not run yet */
} SchedJob;

struct Scheduler {
        GHashTable *workers; /* number → SchedWorker * */
        GPtrArray *jobs;     /* SchedJob *, oldest first */
        uint32_t slots, used;
        uint64_t wakeup_usec;
};

static void sched_job_free(gpointer p)
{
        SchedJob *job = p;

        g_hash_table_unref(job->shuffling);
        g_free(job);
}

Scheduler *scheduler_new(void)
{
        Scheduler *s = g_new0(Scheduler, 1);

        s->workers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        s->jobs = g_ptr_array_new_with_free_func(sched_job_free);
        s->wakeup_usec = USEC_INFINITY;
        return s;
}

Scheduler *scheduler_free(Scheduler *s)
{
        if (!s)
                return NULL;
        g_hash_table_unref(s->workers);
        g_ptr_array_unref(s->jobs);
        g_free(s);
        return NULL;
}

static SchedWorker *find_worker(const Scheduler *s, uint32_t worker)
{
        return g_hash_table_lookup(s->workers, GUINT_TO_POINTER(worker));
}

void scheduler_set_worker(Scheduler *s, uint32_t worker, uint32_t slots)
{
        SchedWorker *w = find_worker(s, worker);

        assert(worker > 0);

        if (!w) {
                w = g_new0(SchedWorker, 1);
                w->number = worker;
                g_hash_table_insert(s->workers, GUINT_TO_POINTER(worker), w);
        }
        s->slots += slots - w->slots;
        w->slots = slots;
}

bool scheduler_has_worker(const Scheduler *s, uint32_t worker)
{
        return find_worker(s, worker);
}

void scheduler_remove_worker(Scheduler *s, uint32_t worker)
{
        SchedWorker *w = find_worker(s, worker);

        if (!w)
                return;
        assert(w->used == 0 && w->reduces == 0);
        s->slots -= w->slots;
        g_hash_table_remove(s->workers, GUINT_TO_POINTER(worker));
}

void scheduler_back_off(Scheduler *s, uint32_t worker, uint64_t now_usec)
{
        SchedWorker *w = find_worker(s, worker);

        if (!w)
                return;
        if (w->not_before_usec > now_usec)
                return; /* several calls to it broke at once: one reason, one wait */
        w->backoff_usec =
                CLAMP(w->backoff_usec * 2, SCHED_BACKOFF_MIN_USEC, SCHED_BACKOFF_MAX_USEC);
        w->not_before_usec = now_usec + w->backoff_usec;
}

uint32_t scheduler_slots(const Scheduler *s)
{
        return s->slots;
}

uint32_t scheduler_slots_used(const Scheduler *s)
{
        return s->used;
}

uint32_t scheduler_worker_used(const Scheduler *s, uint32_t worker)
{
        const SchedWorker *w = find_worker(s, worker);

        return w ? w->used : 0;
}

void scheduler_add_job(Scheduler *s, TaskTable *t)
{
        SchedJob *job = g_new(SchedJob, 1);

        *job = (SchedJob){.table = t, .shuffling = g_hash_table_new(NULL, NULL)};
        g_ptr_array_add(s->jobs, job);
}

static SchedJob *find_job(const Scheduler *s, const TaskTable *t)
{
        for (guint i = 0; i < s->jobs->len; i++) {
                SchedJob *job = s->jobs->pdata[i];

                if (job->table == t)
                        return job;
        }
        return NULL;
}

void scheduler_remove_job(Scheduler *s, TaskTable *t)
{
        SchedJob *job = find_job(s, t);

        if (job)
                g_ptr_array_remove(s->jobs, job);
}

static bool takes_slot(TaskKind kind, AttemptPhase phase)
{
        if (kind == TASK_MAP)
                return phase <= ATTEMPT_RUNNING;
        return phase == ATTEMPT_WAITING || phase == ATTEMPT_RUNNING;
}

static bool is_shuffling(TaskKind kind, AttemptPhase phase)
{
        return kind == TASK_REDUCE && phase <= ATTEMPT_WAITING;
}

static uint32_t shuffling_on(const SchedJob *job, uint32_t worker)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(job->shuffling, GUINT_TO_POINTER(worker)));
}

static void add_shuffling(SchedJob *job, uint32_t worker, int difference)
{
        uint32_t count = shuffling_on(job, worker) + (uint32_t) difference;

        if (count == 0)
                g_hash_table_remove(job->shuffling, GUINT_TO_POINTER(worker));
        else
                g_hash_table_insert(job->shuffling, GUINT_TO_POINTER(worker),
                                    GUINT_TO_POINTER(count));
}

/* What an attempt holds of its worker, before (sign -1) and after (sign 1) a change of its phase. */
static void account(Scheduler *s, SchedJob *job, TaskKind kind, const Attempt *a, int sign)
{
        SchedWorker *w = find_worker(s, a->worker);

        if (a->phase == ATTEMPT_COMMITTING)
                return; /* nothing: its worker has done its part, and may even be gone */
        assert(w);
        if (takes_slot(kind, a->phase)) {
                w->used += (uint32_t) sign;
                s->used += (uint32_t) sign;
        }
        if (kind == TASK_REDUCE)
                w->reduces += (uint32_t) sign;
        if (job && is_shuffling(kind, a->phase))
                add_shuffling(job, a->worker, sign);
}

static bool failed_on(const Task *task, uint32_t worker)
{
        for (uint32_t i = 0; i < task->failed_on_count; i++)
                if (task->failed_on[i] == worker)
                        return true;
        return false;
}

static bool is_healthy(const SchedWorker *w)
{
        return w->failures < SCHED_PROBATION_FAILURES;
}

static bool any_healthy(const Scheduler *s)
{
        GHashTableIter iter;
        gpointer w;

        g_hash_table_iter_init(&iter, s->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                if (is_healthy(w))
                        return true;
        return false;
}

/* Whether there is a worker that this task has not failed on; full or not. */
static bool has_elsewhere(const Scheduler *s, const Task *task)
{
        GHashTableIter iter;
        gpointer w;

        g_hash_table_iter_init(&iter, s->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                if (!failed_on(task, ((SchedWorker *) w)->number))
                        return true;
        return false;
}

static bool has_room(const SchedWorker *w, const SchedJob *job, TaskKind kind, bool on_probation)
{
        uint32_t slots = on_probation ? 1 : w->slots;

        return kind == TASK_MAP ? w->used < slots : shuffling_on(job, w->number) < slots;
}

/* Fewer failures in a row, then lower load, then the lower number so that the order is total. */
static bool is_better(const SchedWorker *a, const SchedWorker *b, TaskKind kind)
{
        uint64_t load_a = (uint64_t) (kind == TASK_MAP ? a->used : a->reduces) * b->slots;
        uint64_t load_b = (uint64_t) (kind == TASK_MAP ? b->used : b->reduces) * a->slots;

        if (is_healthy(a) != is_healthy(b))
                return is_healthy(a);
        if (load_a != load_b)
                return load_a < load_b;
        if (a->failures != b->failures)
                return a->failures < b->failures;
        return a->number < b->number;
}

static void wake_at(Scheduler *s, uint64_t usec)
{
        s->wakeup_usec = MIN(s->wakeup_usec, usec);
}

/* The best worker for @task, or NULL. @avoid: not those it failed on. */
static SchedWorker *choose_worker(Scheduler *s, const SchedJob *job, TaskKind kind,
                                  const Task *task, bool avoid, uint64_t now_usec)
{
        bool healthy = any_healthy(s);
        SchedWorker *best = NULL;
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, s->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                SchedWorker *w = p;

                if (!has_room(w, job, kind, healthy && !is_healthy(w)))
                        continue;
                if (avoid && failed_on(task, w->number))
                        continue;
                if (w->not_before_usec > now_usec) {
                        wake_at(s, w->not_before_usec);
                        continue;
                }
                if (!best || is_better(w, best, kind))
                        best = w;
        }
        return best;
}

static bool try_task(Scheduler *s, SchedJob *job, TaskKind kind, uint32_t index, uint64_t now_usec,
                     Assignment *ret)
{
        const Task *task = task_table_get(job->table, kind, index);
        bool avoid = task->failed_on_count > 0 && has_elsewhere(s, task);
        SchedWorker *w;
        uint32_t attempt;

        if (avoid && now_usec >= task->idle_since_usec + SCHED_ELSEWHERE_USEC)
                avoid = false;
        if (avoid)
                wake_at(s, task->idle_since_usec + SCHED_ELSEWHERE_USEC);
        w = choose_worker(s, job, kind, task, avoid, now_usec);
        if (!w || task_table_start(job->table, kind, index, w->number, &attempt) < 0)
                return false;
        account(s, job, kind, task_table_attempt(job->table, kind, index, attempt), 1);
        *ret = (Assignment){
                .table = job->table,
                .kind = kind,
                .task = index,
                .attempt = attempt,
                .worker = w->number,
        };
        return true;
}

static bool try_kind(Scheduler *s, SchedJob *job, TaskKind kind, uint64_t now_usec, Assignment *ret)
{
        uint32_t index = task_table_first_idle(job->table, kind);

        while (index != TASK_NONE) {
                if (try_task(s, job, kind, index, now_usec, ret))
                        return true;
                /* Where a task without failures finds no worker, no later one does without preferences of its own. */
                if (task_table_get(job->table, kind, index)->failed_on_count == 0)
                        return false;
                index = task_table_next_idle(job->table, kind, index);
        }
        return false;
}

int scheduler_next(Scheduler *s, uint64_t now_usec, Assignment *ret)
{
        s->wakeup_usec = USEC_INFINITY;
        if (s->slots == 0)
                return 0;
        for (guint i = 0; i < s->jobs->len; i++) {
                SchedJob *job = s->jobs->pdata[i];

                if (try_kind(s, job, TASK_MAP, now_usec, ret))
                        return 1;
                if (task_table_may_shuffle(job->table) &&
                    try_kind(s, job, TASK_REDUCE, now_usec, ret))
                        return 1;
        }
        return 0;
}

uint64_t scheduler_wakeup_usec(const Scheduler *s)
{
        return s->wakeup_usec;
}

int scheduler_progress(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                       AttemptPhase phase, double fraction)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedJob *job = find_job(s, t);

        if (!a)
                return -ENOENT;
        account(s, job, kind, a, -1);
        (void) task_table_progress(t, kind, task, attempt, phase, fraction);
        account(s, job, kind, a, 1);
        return 0;
}

int scheduler_end(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                  AttemptEnd end, uint64_t now_usec)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedWorker *w;

        if (!a)
                return -ENOENT;
        w = find_worker(s, a->worker);
        if (w && end == ATTEMPT_FAILED && w->failures < UINT32_MAX)
                w->failures++;
        account(s, find_job(s, t), kind, a, -1);
        return task_table_end(t, kind, task, attempt, end, now_usec);
}

int scheduler_grant(Scheduler *s, TaskTable *t, uint32_t reduce, uint32_t attempt)
{
        const Attempt *a = task_table_attempt(t, TASK_REDUCE, reduce, attempt);
        Attempt before;
        int r;

        if (!a)
                return task_table_grant(t, reduce, attempt);
        before = *a;
        r = task_table_grant(t, reduce, attempt);
        if (r < 0)
                return r;
        account(s, find_job(s, t), TASK_REDUCE, &before, -1);
        account(s, find_job(s, t), TASK_REDUCE, a, 1);
        return 0;
}

int scheduler_commit(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedWorker *w;
        Attempt before;
        int r;

        if (!a)
                return task_table_commit(t, kind, task, attempt);
        before = *a;
        r = task_table_commit(t, kind, task, attempt);
        if (r < 0)
                return r;
        account(s, find_job(s, t), kind, &before, -1);
        w = find_worker(s, before.worker);
        if (w) {
                w->failures = 0;
                w->backoff_usec = 0;
        }
        return 0;
}

/*
 * Scheduler — see scheduler.h.
 *
 * The choice is made for one task at a time: the first in the order of users, jobs and queues that
 * any worker can take, and of these workers the one with the fewest failures in a row, then the
 * lowest load. Only tasks with failures of their own are ever stepped over, so the search ends at
 * the first ordinary task.
 */
#include "jobs/scheduler.h"

typedef struct SchedUser {
        uint32_t uid;
        uint32_t weight;
        uint32_t used;          /* slots */
        uint32_t maps, reduces; /* attempts in hand */
        uint32_t running_jobs;  /* that were given a task */
        uint64_t served;  /* the count of assignments at his last one: of equals, who waits longest
                             is first */
        uint64_t visited; /* the last search that has looked at him */
        GPtrArray *jobs;  /* SchedJob *: higher priority first, then older */
} SchedUser;

typedef struct SchedJob {
        TaskTable *table;
        SchedUser *user;
        SchedJobOptions options;
        bool running;           /* it was given a task */
        GHashTable *shuffling;  /* worker number → reduce attempts that do not run yet */
        uint32_t shuffling_all; /* the same on all workers */
        BackupPace *pace[_TASK_KIND_MAX];
        uint64_t next_backup_usec; /* the next look for stragglers */
} SchedJob;

struct Scheduler {
        WorkerPool pool;
        SchedLimits limits;
        GHashTable *weights; /* uid → weight */
        GHashTable *users;   /* uid → SchedUser *, of those with jobs */
        GHashTable *jobs;    /* TaskTable * → SchedJob *, owned */
        GPtrArray *order;    /* the users again, to walk over */
        uint64_t served, visit;
        uint32_t backups; /* running */
        GArray *attempts; /* BackupAttempt; scratch */
        uint64_t wakeup_usec;
};

static void sched_job_free(gpointer p)
{
        SchedJob *job = p;

        for (int kind = 0; kind < _TASK_KIND_MAX; kind++)
                backup_pace_free(job->pace[kind]);
        g_hash_table_unref(job->shuffling);
        g_free(job);
}

static void sched_user_free(gpointer p)
{
        SchedUser *user = p;

        g_ptr_array_unref(user->jobs);
        g_free(user);
}

Scheduler *scheduler_new(void)
{
        Scheduler *s = g_new0(Scheduler, 1);

        worker_pool_init(&s->pool);
        s->limits = SCHED_LIMITS_DEFAULT;
        s->weights = g_hash_table_new(NULL, NULL);
        s->users = g_hash_table_new_full(NULL, NULL, NULL, sched_user_free);
        s->jobs = g_hash_table_new_full(NULL, NULL, NULL, sched_job_free);
        s->order = g_ptr_array_new();
        s->attempts = g_array_new(FALSE, FALSE, sizeof(BackupAttempt));
        s->wakeup_usec = USEC_INFINITY;
        return s;
}

Scheduler *scheduler_free(Scheduler *s)
{
        if (!s)
                return NULL;
        worker_pool_done(&s->pool);
        g_ptr_array_unref(s->order);
        g_hash_table_unref(s->jobs);
        g_hash_table_unref(s->users);
        g_hash_table_unref(s->weights);
        g_array_unref(s->attempts);
        g_free(s);
        return NULL;
}

void scheduler_set_limits(Scheduler *s, const SchedLimits *limits)
{
        s->limits = *limits;
        s->pool.blacklist_usec = limits->blacklist_usec;
}

static SchedUser *find_user(const Scheduler *s, uint32_t uid)
{
        return g_hash_table_lookup(s->users, GUINT_TO_POINTER(uid));
}

void scheduler_set_weight(Scheduler *s, uint32_t uid, uint32_t weight)
{
        SchedUser *user = find_user(s, uid);

        assert(weight > 0);

        g_hash_table_insert(s->weights, GUINT_TO_POINTER(uid), GUINT_TO_POINTER(weight));
        if (user)
                user->weight = weight;
}

/* ---- Workers ---- */

void scheduler_set_worker(Scheduler *s, uint32_t worker, uint32_t slots)
{
        (void) worker_pool_set(&s->pool, worker, slots);
}

bool scheduler_has_worker(const Scheduler *s, uint32_t worker)
{
        return worker_pool_find(&s->pool, worker);
}

void scheduler_set_drained(Scheduler *s, uint32_t worker, bool drained)
{
        PoolWorker *w = worker_pool_find(&s->pool, worker);

        if (w)
                worker_pool_set_drained(&s->pool, w, drained);
}

void scheduler_set_level(Scheduler *s, uint32_t worker, uint32_t level)
{
        PoolWorker *w = worker_pool_find(&s->pool, worker);

        if (w)
                worker_pool_set_level(&s->pool, w, level);
}

void scheduler_remove_worker(Scheduler *s, uint32_t worker)
{
        PoolWorker *w = worker_pool_find(&s->pool, worker);

        if (w)
                worker_pool_remove(&s->pool, w);
}

void scheduler_back_off(Scheduler *s, uint32_t worker, uint64_t now_usec)
{
        PoolWorker *w = worker_pool_find(&s->pool, worker);

        if (w)
                worker_pool_back_off(&s->pool, w, now_usec);
}

SchedWorkerState scheduler_worker_state(const Scheduler *s, uint32_t worker, uint64_t now_usec,
                                        uint64_t *ret_until_usec)
{
        const PoolWorker *w = worker_pool_find(&s->pool, worker);
        SchedWorkerState state = SCHED_WORKER_READY;
        uint64_t until = USEC_INFINITY;

        if (!w) {
                state = SCHED_WORKER_NONE;
        } else if (w->drained) {
                state = SCHED_WORKER_DRAINED;
        } else if (w->blacklisted_until_usec > now_usec) {
                state = SCHED_WORKER_BLACKLISTED;
                until = w->blacklisted_until_usec;
        } else if (w->not_before_usec > now_usec) {
                state = SCHED_WORKER_BACKED_OFF;
                until = w->not_before_usec;
        }
        if (ret_until_usec)
                *ret_until_usec = until;
        return state;
}

uint32_t scheduler_take_news(Scheduler *s)
{
        return worker_pool_take_news(&s->pool);
}

uint32_t scheduler_slots(const Scheduler *s)
{
        return s->pool.slots;
}

uint32_t scheduler_slots_used(const Scheduler *s)
{
        return s->pool.used;
}

uint32_t scheduler_backups(const Scheduler *s)
{
        return s->backups;
}

uint32_t scheduler_worker_used(const Scheduler *s, uint32_t worker)
{
        const PoolWorker *w = worker_pool_find(&s->pool, worker);

        return w ? w->used : 0;
}

uint32_t scheduler_worker_attempts(const Scheduler *s, uint32_t worker)
{
        const PoolWorker *w = worker_pool_find(&s->pool, worker);

        return w ? w->used + w->shuffling : 0;
}

uint32_t scheduler_user_used(const Scheduler *s, uint32_t uid)
{
        const SchedUser *user = find_user(s, uid);

        return user ? user->used : 0;
}

/* ---- Jobs and users ---- */

static SchedJob *find_job(const Scheduler *s, const TaskTable *t)
{
        return g_hash_table_lookup(s->jobs, t);
}

static SchedUser *make_user(Scheduler *s, uint32_t uid)
{
        SchedUser *user = find_user(s, uid);
        uint32_t weight = GPOINTER_TO_UINT(g_hash_table_lookup(s->weights, GUINT_TO_POINTER(uid)));

        if (user)
                return user;
        user = g_new0(SchedUser, 1);
        user->uid = uid;
        user->weight = MAX(weight, 1);
        user->jobs = g_ptr_array_new();
        g_hash_table_insert(s->users, GUINT_TO_POINTER(uid), user);
        g_ptr_array_add(s->order, user);
        return user;
}

static void mark_running(SchedJob *job)
{
        job->user->running_jobs += !job->running;
        job->running = true;
}

/* It was there before our restart. */
static bool has_begun(const TaskTable *t)
{
        for (int kind = 0; kind < _TASK_KIND_MAX; kind++)
                if (task_table_count_in(t, (TaskKind) kind, TASK_IDLE) <
                    task_table_count(t, (TaskKind) kind))
                        return true;
        return false;
}

void scheduler_add_job(Scheduler *s, TaskTable *t, const SchedJobOptions *o)
{
        SchedJob *job = g_new0(SchedJob, 1);
        guint place;

        *job = (SchedJob){
                .table = t,
                .user = make_user(s, o->uid),
                .options = *o,
                .shuffling = g_hash_table_new(NULL, NULL),
        };
        assert(o->program_level <= PROGRAM_LEVEL);
        for (int kind = 0; kind < _TASK_KIND_MAX; kind++)
                job->pace[kind] = backup_pace_new();
        for (place = job->user->jobs->len; place > 0; place--)
                if (((SchedJob *) job->user->jobs->pdata[place - 1])->options.priority >=
                    o->priority)
                        break;
        g_ptr_array_insert(job->user->jobs, (gint) place, job);
        g_hash_table_insert(s->jobs, t, job);
        if (has_begun(t))
                mark_running(job);
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

        job->shuffling_all += (uint32_t) difference;
        if (count == 0)
                g_hash_table_remove(job->shuffling, GUINT_TO_POINTER(worker));
        else
                g_hash_table_insert(job->shuffling, GUINT_TO_POINTER(worker),
                                    GUINT_TO_POINTER(count));
}

static void account_user(SchedUser *user, TaskKind kind, bool slot, int sign)
{
        if (slot)
                user->used += (uint32_t) sign;
        if (kind == TASK_MAP)
                user->maps += (uint32_t) sign;
        else
                user->reduces += (uint32_t) sign;
}

/* What an attempt holds, before (sign -1) and after (sign 1) a change of its phase. */
static void account(Scheduler *s, SchedJob *job, TaskKind kind, const Attempt *a, int sign)
{
        PoolWorker *w = worker_pool_find(&s->pool, a->worker);
        bool slot = takes_slot(kind, a->phase);

        if (a->phase == ATTEMPT_COMMITTING)
                return; /* nothing: its worker has done its part, and may even be gone */
        assert(w);
        worker_pool_hold(&s->pool, w, slot ? sign : 0, kind == TASK_REDUCE ? sign : 0);
        w->shuffling += slot ? 0 : (uint32_t) sign;
        if (a->backup)
                s->backups += (uint32_t) sign;
        if (!job)
                return;
        account_user(job->user, kind, slot, sign);
        if (is_shuffling(kind, a->phase))
                add_shuffling(job, a->worker, sign);
}

/* The attempts that a removed job still has stay with their workers, but are nobody's any more. */
static void leave_user(Scheduler *s, SchedJob *job)
{
        for (int kind = 0; kind < _TASK_KIND_MAX; kind++) {
                uint32_t i = task_table_first_running(job->table, (TaskKind) kind);

                for (; i != TASK_NONE;
                     i = task_table_next_running(job->table, (TaskKind) kind, i)) {
                        const Task *task = task_table_get(job->table, (TaskKind) kind, i);

                        for (uint32_t j = 0; j < task->running_count; j++)
                                if (task->running[j].phase != ATTEMPT_COMMITTING)
                                        account_user(
                                                job->user, (TaskKind) kind,
                                                takes_slot((TaskKind) kind, task->running[j].phase),
                                                -1);
                }
        }
}

void scheduler_remove_job(Scheduler *s, TaskTable *t)
{
        SchedJob *job = find_job(s, t);
        SchedUser *user;

        if (!job)
                return;
        user = job->user;
        leave_user(s, job);
        user->running_jobs -= job->running;
        g_ptr_array_remove(user->jobs, job);
        g_hash_table_remove(s->jobs, t);
        if (user->jobs->len > 0)
                return;
        g_ptr_array_remove(s->order, user);
        g_hash_table_remove(s->users, GUINT_TO_POINTER(user->uid));
}

/* ---- The choice of a worker ---- */

static bool failed_on(const Task *task, uint32_t worker)
{
        for (uint32_t i = 0; i < task->failed_on_count; i++)
                if (task->failed_on[i] == worker)
                        return true;
        return false;
}

static bool runs_on(const Task *task, uint32_t worker)
{
        for (uint32_t i = 0; i < task->running_count; i++)
                if (task->running[i].worker == worker)
                        return true;
        return false;
}

/* Whether there is a usable worker that this task has not failed on; full or not. */
static bool has_elsewhere(const Scheduler *s, const SchedJob *job, const Task *task,
                          uint64_t now_usec)
{
        uint32_t level = job->options.program_level;
        uint32_t usable = 0;

        for (uint32_t i = 0; i < task->failed_on_count; i++) {
                const PoolWorker *w = worker_pool_find(&s->pool, task->failed_on[i]);

                usable += w && w->level >= level && !w->drained &&
                          w->blacklisted_until_usec <= now_usec;
        }
        return s->pool.usable[level] > usable;
}

static bool has_room(const Scheduler *s, const PoolWorker *w, const SchedJob *job, TaskKind kind)
{
        uint32_t trust = worker_pool_trust(&s->pool, w, job->options.program_level);

        return kind == TASK_MAP ? w->used < trust : shuffling_on(job, w->number) < trust;
}

static void wake_at(Scheduler *s, uint64_t usec)
{
        s->wakeup_usec = MIN(s->wakeup_usec, usec);
}

/* The best worker for @task, or NULL. @avoid: not those it failed on. @view: for a backup. */
static PoolWorker *choose_worker(Scheduler *s, const SchedJob *job, TaskKind kind, const Task *task,
                                 bool avoid, const BackupView *view, uint64_t now_usec)
{
        PoolWorker *best = NULL;

        for (guint i = 0; i < s->pool.all->len; i++) {
                PoolWorker *w = s->pool.all->pdata[i];

                if (!has_room(s, w, job, kind) ||
                    !worker_pool_is_open(&s->pool, w, job->options.program_level, now_usec))
                        continue;
                if (avoid && failed_on(task, w->number))
                        continue;
                if (view && (runs_on(task, w->number) || backup_is_slow_node(view, w->number)))
                        continue;
                if (!best || worker_pool_is_better(w, best, kind == TASK_REDUCE))
                        best = w;
        }
        return best;
}

static bool start(Scheduler *s, SchedJob *job, TaskKind kind, uint32_t index, PoolWorker *w,
                  uint64_t now_usec, Assignment *ret)
{
        const Attempt *a;
        uint32_t attempt;

        if (task_table_start(job->table, kind, index, w->number, now_usec, &attempt) < 0)
                return false;
        a = task_table_attempt(job->table, kind, index, attempt);
        account(s, job, kind, a, 1);
        mark_running(job);
        job->user->served = ++s->served;
        *ret = (Assignment){
                .userdata = job->options.userdata,
                .table = job->table,
                .kind = kind,
                .task = index,
                .attempt = attempt,
                .worker = w->number,
                .backup = a->backup,
        };
        return true;
}

/* ---- Regular attempts ---- */

static bool try_task(Scheduler *s, SchedJob *job, TaskKind kind, uint32_t index, uint64_t now_usec,
                     Assignment *ret)
{
        const Task *task = task_table_get(job->table, kind, index);
        bool avoid = task->failed_on_count > 0 && has_elsewhere(s, job, task, now_usec);
        PoolWorker *w;

        if (avoid && now_usec >= task->idle_since_usec + SCHED_ELSEWHERE_USEC)
                avoid = false;
        if (avoid)
                wake_at(s, task->idle_since_usec + SCHED_ELSEWHERE_USEC);
        w = choose_worker(s, job, kind, task, avoid, NULL, now_usec);
        return w && start(s, job, kind, index, w, now_usec, ret);
}

/* Whether any worker and the user's limit have room for one more attempt; cheap, and may say yes in
 * vain. */
static bool may_start(const Scheduler *s, const SchedJob *job, TaskKind kind)
{
        if (kind == TASK_MAP)
                return s->pool.open > 0 && job->user->maps < s->limits.user_maps_max;
        return job->shuffling_all < s->pool.slots &&
               job->user->reduces < s->limits.user_reduces_max;
}

static bool try_kind(Scheduler *s, SchedJob *job, TaskKind kind, uint64_t now_usec, Assignment *ret)
{
        uint32_t index = task_table_first_idle(job->table, kind);

        if (index == TASK_NONE || !may_start(s, job, kind))
                return false;
        for (unsigned n = 0; index != TASK_NONE && n < SCHED_STEP_OVER_MAX; n++) {
                if (try_task(s, job, kind, index, now_usec, ret))
                        return true;
                /* Where a task without failures finds no worker, no later one does without
                 * preferences of its own. */
                if (task_table_get(job->table, kind, index)->failed_on_count == 0)
                        return false;
                index = task_table_next_idle(job->table, kind, index);
        }
        return false;
}

static bool try_job(Scheduler *s, SchedJob *job, uint64_t now_usec, Assignment *ret)
{
        if (!job->running && job->user->running_jobs >= s->limits.user_running_jobs_max)
                return false;
        return try_kind(s, job, TASK_MAP, now_usec, ret) ||
               (task_table_may_shuffle(job->table) && try_kind(s, job, TASK_REDUCE, now_usec, ret));
}

/* ---- Backup attempts ---- */

static uint64_t elapsed_usec(const Attempt *a, uint64_t now_usec)
{
        return now_usec > a->since_usec ? now_usec - a->since_usec : 0;
}

/* Its running attempts that can be compared: of reduces, those past their shuffle. */
static void look_at_attempts(Scheduler *s, const SchedJob *job, TaskKind kind, uint64_t now_usec)
{
        uint32_t i = task_table_first_running(job->table, kind);

        g_array_set_size(s->attempts, 0);
        for (; i != TASK_NONE; i = task_table_next_running(job->table, kind, i)) {
                const Task *task = task_table_get(job->table, kind, i);

                for (uint32_t j = 0; j < task->running_count; j++) {
                        const Attempt *a = &task->running[j];
                        BackupAttempt b = {
                                .task = i,
                                .worker = a->worker,
                                .score = a->phase == ATTEMPT_RUNNING ? (double) a->fraction : 0,
                                .size = (double) task->size,
                                .elapsed_usec = elapsed_usec(a, now_usec),
                                .single = task->running_count == 1,
                        };

                        if (a->phase != ATTEMPT_COMMITTING &&
                            (kind == TASK_MAP || a->phase >= ATTEMPT_WAITING))
                                g_array_append_val(s->attempts, b);
                }
        }
}

/* The attempt with the most time left that deserves a backup and has a worker for it gets one. */
static bool try_stragglers(Scheduler *s, SchedJob *job, TaskKind kind, const BackupView *view,
                           uint64_t now_usec, Assignment *ret)
{
        for (;;) {
                BackupAttempt *worst = NULL;
                double most_sec = 0;
                PoolWorker *w;

                for (guint i = 0; i < s->attempts->len; i++) {
                        BackupAttempt *a = &g_array_index(s->attempts, BackupAttempt, i);
                        double sec = backup_deserved_sec(view, a);

                        if (sec > most_sec) {
                                most_sec = sec;
                                worst = a;
                        }
                }
                if (!worst)
                        return false;
                w = choose_worker(s, job, kind, task_table_get(job->table, kind, worst->task), true,
                                  view, now_usec);
                if (w && start(s, job, kind, worst->task, w, now_usec, ret))
                        return true;
                worst->single = false; /* not this one */
        }
}

static bool try_backups_of(Scheduler *s, SchedJob *job, TaskKind kind, uint64_t now_usec,
                           Assignment *ret)
{
        BackupView view;
        bool found;

        if (task_table_first_idle(job->table, kind) != TASK_NONE ||
            task_table_first_running(job->table, kind) == TASK_NONE || !may_start(s, job, kind))
                return false;
        look_at_attempts(s, job, kind, now_usec);
        backup_view_init(&view, job->pace[kind], (const BackupAttempt *) (void *) s->attempts->data,
                         s->attempts->len);
        found = try_stragglers(s, job, kind, &view, now_usec, ret);
        backup_view_done(&view);
        return found;
}

/* A reduce on a node whose maps were overtaken: it is not waited for until it is seen to be
 * late. */
static bool try_proven_slow(Scheduler *s, SchedJob *job, uint64_t now_usec, Assignment *ret)
{
        uint32_t i = task_table_first_running(job->table, TASK_REDUCE);
        BackupView view;
        bool found = false;

        if (i == TASK_NONE || task_table_first_idle(job->table, TASK_REDUCE) != TASK_NONE ||
            task_table_count_in(job->table, TASK_MAP, TASK_DONE) <
                    task_table_count(job->table, TASK_MAP) ||
            !may_start(s, job, TASK_REDUCE))
                return false;
        backup_view_init(&view, job->pace[TASK_MAP], NULL, 0);
        for (; !found && i != TASK_NONE; i = task_table_next_running(job->table, TASK_REDUCE, i)) {
                const Task *task = task_table_get(job->table, TASK_REDUCE, i);
                PoolWorker *w;

                if (task->running_count > 1 || task->running[0].phase == ATTEMPT_COMMITTING ||
                    !backup_is_proven_slow(&view, task->running[0].worker))
                        continue;
                w = choose_worker(s, job, TASK_REDUCE, task, true, &view, now_usec);
                found = w && w->used < w->slots && start(s, job, TASK_REDUCE, i, w, now_usec, ret);
        }
        backup_view_done(&view);
        return found;
}

static bool try_backups(Scheduler *s, SchedJob *job, uint64_t now_usec, Assignment *ret)
{
        if (!job->options.backups || !job->running)
                return false;
        if (now_usec < job->next_backup_usec) {
                wake_at(s, job->next_backup_usec);
                return false;
        }
        if (try_backups_of(s, job, TASK_MAP, now_usec, ret) ||
            try_proven_slow(s, job, now_usec, ret) ||
            try_backups_of(s, job, TASK_REDUCE, now_usec, ret))
                return true;
        job->next_backup_usec = now_usec + SCHED_BACKUP_CHECK_USEC;
        wake_at(s, job->next_backup_usec);
        return false;
}

static bool may_back_up(const Scheduler *s)
{
        uint64_t cap = ((uint64_t) s->pool.slots * s->limits.backup_cap_percent + 99) / 100;

        return s->pool.open > 0 && s->backups < cap && s->pool.all->len > 1;
}

/* ---- The next one ---- */

typedef bool (*TryJob)(Scheduler *s, SchedJob *job, uint64_t now_usec, Assignment *ret);

/* Fewer slots for his weight; of equals, who was served longest ago. */
static bool goes_before(const SchedUser *a, const SchedUser *b)
{
        uint64_t share_a = (uint64_t) a->used * b->weight;
        uint64_t share_b = (uint64_t) b->used * a->weight;

        if (share_a != share_b)
                return share_a < share_b;
        return a->served < b->served || (a->served == b->served && a->uid < b->uid);
}

static SchedUser *next_user(Scheduler *s)
{
        SchedUser *first = NULL;

        for (guint i = 0; i < s->order->len; i++) {
                SchedUser *user = s->order->pdata[i];

                if (user->visited != s->visit && (!first || goes_before(user, first)))
                        first = user;
        }
        if (first)
                first->visited = s->visit;
        return first;
}

static bool try_users(Scheduler *s, TryJob try, uint64_t now_usec, Assignment *ret)
{
        SchedUser *user;

        s->visit++;
        while ((user = next_user(s)))
                for (guint i = 0; i < user->jobs->len; i++)
                        if (try(s, user->jobs->pdata[i], now_usec, ret))
                                return true;
        return false;
}

int scheduler_next(Scheduler *s, uint64_t now_usec, Assignment *ret)
{
        worker_pool_update(&s->pool, now_usec);
        s->wakeup_usec = s->pool.next_change_usec;
        if (s->pool.slots == 0)
                return 0;
        if (try_users(s, try_job, now_usec, ret))
                return 1;
        if (may_back_up(s) && try_users(s, try_backups, now_usec, ret))
                return 1;
        return 0;
}

int scheduler_start_on(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t worker,
                       uint64_t now_usec, uint32_t *ret_attempt)
{
        const PoolWorker *w = worker_pool_find(&s->pool, worker);
        SchedJob *job = find_job(s, t);
        int r;

        if (!w || (job && w->level < job->options.program_level))
                return -ENOENT;
        r = task_table_start(t, kind, task, worker, now_usec, ret_attempt);
        if (r >= 0)
                account(s, job, kind, task_table_attempt(t, kind, task, *ret_attempt), 1);
        return r;
}

int scheduler_resume(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                     uint32_t worker, uint64_t now_usec)
{
        SchedJob *job = find_job(s, t);
        int r;

        r = task_table_resume(t, kind, task, attempt, worker, now_usec);
        if (r < 0)
                return r;
        if (job)
                mark_running(job);
        if (!worker_pool_find(&s->pool, worker))
                scheduler_set_worker(s, worker, 0);
        account(s, job, kind, task_table_attempt(t, kind, task, attempt), 1);
        return 0;
}

uint64_t scheduler_wakeup_usec(const Scheduler *s)
{
        return s->wakeup_usec;
}

/* Of that level or above, and not drained. @with_room: with a free slot. */
static bool any_worker(const Scheduler *s, uint32_t level, bool with_room)
{
        for (guint i = 0; i < s->pool.all->len; i++) {
                const PoolWorker *w = s->pool.all->pdata[i];

                if (w->level >= level && !w->drained && (!with_room || w->used < w->slots))
                        return true;
        }
        return false;
}

SchedWait scheduler_why_waiting(const Scheduler *s, const TaskTable *t)
{
        const SchedJob *job = find_job(s, t);
        uint32_t level = job ? job->options.program_level : 0;

        if (s->pool.slots == 0)
                return SCHED_WAIT_NO_WORKER;
        if (!any_worker(s, 0, false))
                return SCHED_WAIT_ALL_DRAINED;
        if (!any_worker(s, level, false))
                return SCHED_WAIT_LEVEL;
        if (job && !job->running && job->user->running_jobs >= s->limits.user_running_jobs_max)
                return SCHED_WAIT_USER_JOBS;
        if (job && (job->user->maps >= s->limits.user_maps_max ||
                    job->user->reduces >= s->limits.user_reduces_max))
                return SCHED_WAIT_USER_TASKS;
        if (any_worker(s, level, true))
                return SCHED_WAIT_WORKERS;
        return any_worker(s, 0, true) ? SCHED_WAIT_LEVEL : SCHED_WAIT_SLOTS;
}

/* ---- Changes of attempts ---- */

int scheduler_progress(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                       AttemptPhase phase, double fraction, uint64_t now_usec)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedJob *job = find_job(s, t);

        if (!a)
                return -ENOENT;
        account(s, job, kind, a, -1);
        (void) task_table_progress(t, kind, task, attempt, phase, fraction, now_usec);
        account(s, job, kind, a, 1);
        return 0;
}

int scheduler_end(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                  AttemptEnd end, uint64_t now_usec)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedJob *job = find_job(s, t);
        PoolWorker *w;

        if (!a)
                return -ENOENT;
        w = worker_pool_find(&s->pool, a->worker);
        if (w && end == ATTEMPT_FAILED)
                worker_pool_failed(&s->pool, w);
        if (job && end == ATTEMPT_KILLED && !a->backup &&
            task_table_get(t, kind, task)->state == TASK_DONE)
                backup_pace_overtaken(job->pace[kind], a->worker, elapsed_usec(a, now_usec),
                                      (double) task_table_get(t, kind, task)->size);
        account(s, job, kind, a, -1);
        return task_table_end(t, kind, task, attempt, end, now_usec);
}

int scheduler_grant(Scheduler *s, TaskTable *t, uint32_t index, uint32_t attempt)
{
        TaskKind kind = task_table_part_kind(t);
        const Attempt *a = task_table_attempt(t, kind, index, attempt);
        Attempt before;
        int r;

        if (!a)
                return task_table_grant(t, index, attempt);
        before = *a;
        r = task_table_grant(t, index, attempt);
        if (r < 0)
                return r;
        account(s, find_job(s, t), kind, &before, -1);
        account(s, find_job(s, t), kind, a, 1);
        return 0;
}

/* What the task's success says of the worker where it was made, and of those where it failed. */
static void judge_workers(Scheduler *s, const Task *task, uint32_t worker, uint64_t now_usec)
{
        PoolWorker *w;

        for (uint32_t i = 0; i < task->failed_on_count; i++) {
                w = worker_pool_find(&s->pool, task->failed_on[i]);
                if (w && w->number != worker)
                        worker_pool_blame(&s->pool, w, now_usec);
        }
        w = worker_pool_find(&s->pool, worker);
        if (w)
                worker_pool_succeeded(&s->pool, w);
}

int scheduler_commit(Scheduler *s, TaskTable *t, TaskKind kind, uint32_t task, uint32_t attempt,
                     uint64_t now_usec)
{
        const Attempt *a = task_table_attempt(t, kind, task, attempt);
        SchedJob *job = find_job(s, t);
        Task seen;
        Attempt before;
        int r;

        if (!a)
                return task_table_commit(t, kind, task, attempt);
        seen = *task_table_get(t, kind, task);
        before = *a;
        r = task_table_commit(t, kind, task, attempt);
        if (r < 0)
                return r;
        account(s, job, kind, &before, -1);
        judge_workers(s, &seen, before.worker, now_usec);
        if (job)
                backup_pace_committed(job->pace[kind], before.worker,
                                      elapsed_usec(&before, now_usec), (double) seen.size);
        return 0;
}

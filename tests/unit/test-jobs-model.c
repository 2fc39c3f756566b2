/*
 * The scheduler in simulated time: random histories of a small cluster, each step held against what
 * must always be true. The model keeps its own books of who runs what; of the scheduler it believes
 * nothing but its answers.
 *
 * A history is made by its seed alone. MODEL_SEED=N runs that one; MODEL_HISTORIES=N runs N fresh
 * ones.
 */
#include <stdio.h>

#include "jobs/scheduler.h"

#define WORKERS 6U
#define JOBS 6U
#define USERS 3U
#define STEPS_MAX 100000U
#define NEVER USEC_INFINITY

typedef struct Running {
        Assignment a;
        unsigned job;
        AttemptPhase phase;
        uint64_t began_usec, ends_usec; /* NEVER: it hangs */
        bool hopeless;                  /* it will fail */
        uint32_t *read; /* of a reduce: which attempt of each map it has in hand; TASK_NONE */
} Running;

typedef struct Job {
        TaskTable *t;
        SchedJobOptions options;
        bool there, started;
        unsigned *commits[_TASK_KIND_MAX]; /* since the task last left DONE */
        GHashTable *good;                  /* set of map << 32 | attempt: committed outputs, ever */
        GHashTable *readable;              /* of these, which are not lost */
} Job;

typedef struct Worker {
        uint32_t slots; /* 0: not there */
        uint32_t slowness;
        bool broken, drained, unreachable;
        uint32_t level;    /* what it understands */
        uint32_t failures; /* in a row */
        uint64_t backoff_until_usec;
} Worker;

typedef struct Model {
        guint32 seed;
        GRand *rand;
        Scheduler *s;
        SchedLimits limits;
        uint32_t weights[USERS];
        Job jobs[JOBS];
        Worker workers[WORKERS + 1];
        GArray *running; /* Running */
        uint64_t now_usec;
        bool calm; /* no more faults: everything must end now */
        unsigned backups, blacklisted;
} Model;

#define CHECK(m, x)                                                                                \
        do {                                                                                       \
                if (!(x))                                                                          \
                        g_error("MODEL_SEED=%u at %" G_GUINT64_FORMAT " us: not true: %s",         \
                                (m)->seed, (m)->now_usec, #x);                                     \
        } while (0)

static uint32_t dice(Model *m, uint32_t sides)
{
        return (uint32_t) g_rand_int_range(m->rand, 0, (gint32) sides);
}

static bool takes_slot(const Running *r)
{
        return r->a.kind == TASK_MAP || r->phase >= ATTEMPT_WAITING;
}

/* ---- The books ---- */

typedef struct Books {
        uint32_t worker_used[WORKERS + 1];
        uint32_t user_used[USERS], user_maps[USERS], user_reduces[USERS], user_jobs[USERS];
        uint32_t shuffling[JOBS][WORKERS + 1], shuffling_all[JOBS]; /* reduces that hold no slot */
        uint32_t backups;
} Books;

static Books add_up(const Model *m)
{
        Books b = {};

        for (guint i = 0; i < m->running->len; i++) {
                const Running *r = &g_array_index(m->running, Running, i);
                uint32_t uid = m->jobs[r->job].options.uid;

                b.worker_used[r->a.worker] += takes_slot(r);
                b.backups += r->a.backup;
                if (!m->jobs[r->job].there)
                        continue; /* it holds its worker's slot, and is nobody's */
                b.user_used[uid] += takes_slot(r);
                if (r->a.kind == TASK_MAP)
                        b.user_maps[uid]++;
                else
                        b.user_reduces[uid]++;
                b.shuffling[r->job][r->a.worker] += !takes_slot(r);
                b.shuffling_all[r->job] += !takes_slot(r);
        }
        for (unsigned j = 0; j < JOBS; j++)
                if (m->jobs[j].there && m->jobs[j].started)
                        b.user_jobs[m->jobs[j].options.uid]++;
        return b;
}

static void check_books(Model *m)
{
        Books b = add_up(m);

        for (uint32_t w = 1; w <= WORKERS; w++)
                CHECK(m, scheduler_worker_used(m->s, w) == b.worker_used[w]);
        CHECK(m, scheduler_backups(m->s) == b.backups);
        for (uint32_t u = 0; u < USERS; u++) {
                CHECK(m, scheduler_user_used(m->s, u) == b.user_used[u]);
                CHECK(m, b.user_maps[u] <= m->limits.user_maps_max);
                CHECK(m, b.user_reduces[u] <= m->limits.user_reduces_max);
                CHECK(m, b.user_jobs[u] <= m->limits.user_running_jobs_max);
        }
}

/* Idle, and any worker may take it at once: it never failed, or has waited long enough for another
 * worker. */
static bool is_plain(const Model *m, const Task *task)
{
        return task->failed_on_count == 0 ||
               m->now_usec >= task->idle_since_usec + SCHED_ELSEWHERE_USEC;
}

/* Whether there is one of these, be it behind others that wait for a certain worker. */
static bool has_plain(const Model *m, const Job *j, TaskKind kind)
{
        uint32_t i = task_table_first_idle(j->t, kind);

        for (unsigned n = 0; i != TASK_NONE && n < SCHED_STEP_OVER_MAX; n++) {
                if (is_plain(m, task_table_get(j->t, kind, i)))
                        return true;
                i = task_table_next_idle(j->t, kind, i);
        }
        return false;
}

static bool may_begin(const Model *m, const Books *b, const Job *j)
{
        return j->there &&
               (j->started || b->user_jobs[j->options.uid] < m->limits.user_running_jobs_max);
}

static bool may_run_a_map(const Model *m, const Books *b, const Job *j)
{
        return may_begin(m, b, j) && has_plain(m, j, TASK_MAP) &&
               b->user_maps[j->options.uid] < m->limits.user_maps_max;
}

static bool may_shuffle_on(const Model *m, const Books *b, unsigned job, uint32_t w)
{
        const Job *j = &m->jobs[job];

        return may_begin(m, b, j) && has_plain(m, j, TASK_REDUCE) && task_table_may_shuffle(j->t) &&
               b->user_reduces[j->options.uid] < m->limits.user_reduces_max &&
               b->shuffling_all[job] < scheduler_slots(m->s) &&
               b->shuffling[job][w] < m->workers[w].slots;
}

static bool understands(const Model *m, uint32_t w, const Job *j)
{
        return m->workers[w].level >= j->options.program_level;
}

/* To whom this job could go. */
static bool any_is_usable(const Model *m, const Job *j)
{
        for (uint32_t w = 1; w <= WORKERS; w++) {
                SchedWorkerState state = scheduler_worker_state(m->s, w, m->now_usec, NULL);

                if (understands(m, w, j) &&
                    (state == SCHED_WORKER_READY || state == SCHED_WORKER_BACKED_OFF))
                        return true;
        }
        return false;
}

/* A worker that nothing speaks against. */
static bool is_sound(const Model *m, uint32_t w)
{
        const Worker *x = &m->workers[w];

        return x->slots > 0 && !x->drained && x->backoff_until_usec <= m->now_usec &&
               x->failures < SCHED_PROBATION_FAILURES;
}

/* No slot is idle, and no shuffle not begun, while a task could be given to it. */
static void check_work_conserving(Model *m)
{
        Books b = add_up(m);

        for (uint32_t w = 1; w <= WORKERS; w++) {
                if (!is_sound(m, w))
                        continue;
                for (unsigned j = 0; j < JOBS; j++) {
                        if (!understands(m, w, &m->jobs[j]))
                                continue;
                        CHECK(m, m->workers[w].slots <= b.worker_used[w] ||
                                         !may_run_a_map(m, &b, &m->jobs[j]));
                        CHECK(m, !may_shuffle_on(m, &b, j, w));
                }
        }
}

/* ---- Assignments ---- */

/* Whether the worker, which was given to @mine, was as good for @other. Who is not trusted is used
 * where there are no others, and for two levels these are not the same. */
static bool would_take(const Model *m, uint32_t w, const Job *mine, const Job *other)
{
        return understands(m, w, other) &&
               (is_sound(m, w) || mine->options.program_level == other->options.program_level);
}

static void check_fair(Model *m, const Books *before, const Assignment *a, unsigned job)
{
        const Job *mine = &m->jobs[job];
        uint32_t u = mine->options.uid;

        for (unsigned j = 0; j < JOBS; j++) {
                const Job *other = &m->jobs[j];
                uint32_t v = other->options.uid;

                if (j == job || !may_run_a_map(m, before, other) ||
                    !would_take(m, a->worker, mine, other))
                        continue;
                if (v == u)
                        CHECK(m, other->options.priority <= mine->options.priority);
                else
                        CHECK(m, before->user_used[v] * m->weights[u] >=
                                         before->user_used[u] * m->weights[v]);
        }
        CHECK(m, before->worker_used[a->worker] < m->workers[a->worker].slots);
}

static void check_backup(Model *m, const Books *before, const Assignment *a, unsigned job)
{
        const Task *task = task_table_get(a->table, a->kind, a->task);

        CHECK(m, m->jobs[job].options.backups);
        CHECK(m, task->running_count == 2);
        CHECK(m, task->running[0].worker != task->running[1].worker);
        CHECK(m, before->backups * 100 < scheduler_slots(m->s) * m->limits.backup_cap_percent);
        CHECK(m, task_table_first_idle(a->table, a->kind) == TASK_NONE);
        m->backups++;
}

static void check_assignment(Model *m, const Books *before, const Assignment *a, unsigned job)
{
        const Worker *w = &m->workers[a->worker];
        SchedWorkerState state = scheduler_worker_state(m->s, a->worker, m->now_usec, NULL);

        CHECK(m, w->slots > 0);
        CHECK(m, !w->drained);
        CHECK(m, w->backoff_until_usec <= m->now_usec);
        CHECK(m, state != SCHED_WORKER_BLACKLISTED || !any_is_usable(m, &m->jobs[job]));
        CHECK(m, understands(m, a->worker, &m->jobs[job]));
        CHECK(m, m->jobs[job].there);
        if (a->backup)
                check_backup(m, before, a, job);
        else if (a->kind == TASK_MAP)
                check_fair(m, before, a, job);
}

static uint64_t duration(Model *m, const Assignment *a)
{
        uint64_t usec = 1 + dice(m, 2000000);

        if (!m->calm && dice(m, 25) == 0)
                return NEVER;
        return usec * m->workers[a->worker].slowness;
}

static void begin(Model *m, const Assignment *a, unsigned job)
{
        Running r = {.a = *a, .job = job, .began_usec = m->now_usec};
        uint64_t usec = duration(m, a);
        uint32_t maps = task_table_count(a->table, TASK_MAP);

        r.ends_usec = usec == NEVER ? NEVER : m->now_usec + usec;
        r.hopeless = !m->calm && (m->workers[a->worker].broken || dice(m, 20) == 0);
        if (a->kind == TASK_REDUCE) {
                r.read = g_new(uint32_t, maps + 1);
                for (uint32_t i = 0; i < maps; i++)
                        r.read[i] = TASK_NONE;
        }
        m->jobs[job].started = true;
        g_array_append_val(m->running, r);
}

static void take_news(Model *m)
{
        uint32_t w;

        while ((w = scheduler_take_news(m->s)) > 0)
                m->blacklisted += scheduler_worker_state(m->s, w, m->now_usec, NULL) ==
                                  SCHED_WORKER_BLACKLISTED;
}

static void assign_all(Model *m)
{
        for (;;) {
                Books before = add_up(m);
                Assignment a;
                unsigned job;

                if (scheduler_next(m->s, m->now_usec, &a) == 0)
                        break;
                job = GPOINTER_TO_UINT(a.userdata);
                /* The task was idle a moment ago: what is asked of the others is asked of how it
                 * was then. */
                check_assignment(m, &before, &a, job);
                begin(m, &a, job);
                check_books(m);
        }
        check_work_conserving(m);
        take_news(m);
}

/* ---- Ends ---- */

static void forget(Model *m, guint index)
{
        g_free(g_array_index(m->running, Running, index).read);
        g_array_remove_index_fast(m->running, index);
}

static void end_one(Model *m, guint index, AttemptEnd end)
{
        Running r = g_array_index(m->running, Running, index);

        if (end == ATTEMPT_FAILED)
                m->workers[r.a.worker].failures++;
        CHECK(m, scheduler_end(m->s, r.a.table, r.a.kind, r.a.task, r.a.attempt, end,
                               m->now_usec) >= 0);
        forget(m, index);
}

static gpointer output_key(uint32_t map, uint32_t attempt)
{
        return (gpointer) (((uintptr_t) map << 32) | attempt);
}

static void note_left_done(Job *j)
{
        for (uint32_t i = 0; i < task_table_count(j->t, TASK_MAP); i++)
                if (task_table_get(j->t, TASK_MAP, i)->state != TASK_DONE)
                        j->commits[TASK_MAP][i] = 0;
}

static void rerun_lost(Model *m)
{
        for (unsigned j = 0; j < JOBS; j++) {
                (void) task_table_rerun_lost(m->jobs[j].t, m->now_usec);
                note_left_done(&m->jobs[j]);
        }
}

static void kill_losers(Model *m, const Assignment *a)
{
        for (guint i = m->running->len; i-- > 0;) {
                const Running *r = &g_array_index(m->running, Running, i);

                if (r->a.table == a->table && r->a.kind == a->kind && r->a.task == a->task)
                        end_one(m, i, ATTEMPT_KILLED);
        }
}

/* All that a reduce has read are outputs that were committed, one of each map. */
static void check_read(Model *m, const Running *r)
{
        for (uint32_t i = 0; i < task_table_count(r->a.table, TASK_MAP); i++) {
                CHECK(m, r->read[i] != TASK_NONE);
                CHECK(m, g_hash_table_contains(m->jobs[r->job].good, output_key(i, r->read[i])));
        }
}

/* The other attempt of a reduce, while this one puts its part in place. */
static void refuse_grants(Model *m, const Assignment *a)
{
        for (guint i = 0; i < m->running->len; i++) {
                const Running *r = &g_array_index(m->running, Running, i);

                if (r->a.table == a->table && r->a.kind == a->kind && r->a.task == a->task &&
                    r->a.attempt != a->attempt)
                        CHECK(m, scheduler_grant(m->s, r->a.table, r->a.task, r->a.attempt) ==
                                         -EALREADY);
        }
}

static void commit_one(Model *m, guint index)
{
        Running r = g_array_index(m->running, Running, index);
        Job *j = &m->jobs[r.job];

        if (r.a.kind == TASK_REDUCE) {
                check_read(m, &r);
                CHECK(m, scheduler_grant(m->s, r.a.table, r.a.task, r.a.attempt) == 0);
                refuse_grants(m, &r.a);
        }
        CHECK(m,
              scheduler_commit(m->s, r.a.table, r.a.kind, r.a.task, r.a.attempt, m->now_usec) == 0);
        if (r.a.kind == TASK_MAP) {
                g_hash_table_add(j->good, output_key(r.a.task, r.a.attempt));
                g_hash_table_add(j->readable, output_key(r.a.task, r.a.attempt));
        }
        j->commits[r.a.kind][r.a.task]++;
        CHECK(m, j->commits[r.a.kind][r.a.task] == 1);
        m->workers[r.a.worker].failures = 0;
        forget(m, index);
        kill_losers(m, &r.a);
        /* What comes late is refused. */
        CHECK(m, scheduler_commit(m->s, r.a.table, r.a.kind, r.a.task, r.a.attempt, m->now_usec) ==
                         -EALREADY);
}

/* Reads what is there of what it has not; whether it has all. An output once in hand is kept,
 * whatever becomes of it. */
static bool read_outputs(Model *m, Running *r)
{
        bool all = true;

        for (uint32_t i = 0; i < task_table_count(r->a.table, TASK_MAP); i++) {
                uint32_t attempt, worker;

                if (r->read[i] != TASK_NONE)
                        continue;
                if (!task_table_output(r->a.table, i, &attempt, &worker)) {
                        all = false;
                        continue;
                }
                CHECK(m, g_hash_table_contains(m->jobs[r->job].readable, output_key(i, attempt)));
                r->read[i] = attempt;
        }
        return all;
}

/* The time of an attempt has come. */
static void advance(Model *m, guint index)
{
        Running *r = &g_array_index(m->running, Running, index);

        if (r->hopeless && !m->calm) {
                end_one(m, index, ATTEMPT_FAILED);
                rerun_lost(m);
        } else if (r->a.kind == TASK_REDUCE && r->phase == ATTEMPT_STARTED) {
                r->ends_usec = m->now_usec + 100000;
                if (!read_outputs(m, r)) /* the barrier */
                        return;
                r->phase = ATTEMPT_RUNNING;
                r->began_usec = m->now_usec;
                r->ends_usec = m->now_usec + 1 + dice(m, 500000) * m->workers[r->a.worker].slowness;
                (void) scheduler_progress(m->s, r->a.table, r->a.kind, r->a.task, r->a.attempt,
                                          ATTEMPT_RUNNING, 0, m->now_usec);
        } else {
                commit_one(m, index);
        }
}

static void tell_progress(Model *m)
{
        for (guint i = 0; i < m->running->len; i++) {
                Running *r = &g_array_index(m->running, Running, i);
                double all = (double) (r->ends_usec - r->began_usec);

                if (r->a.kind == TASK_REDUCE && r->phase == ATTEMPT_STARTED)
                        continue;
                r->phase = ATTEMPT_RUNNING;
                (void) scheduler_progress(
                        m->s, r->a.table, r->a.kind, r->a.task, r->a.attempt, ATTEMPT_RUNNING,
                        r->ends_usec == NEVER ? 0.01 : (double) (m->now_usec - r->began_usec) / all,
                        m->now_usec);
        }
}

/* ---- Faults and orders ---- */

static void lose_worker(Model *m, uint32_t w)
{
        for (guint i = m->running->len; i-- > 0;)
                if (g_array_index(m->running, Running, i).a.worker == w)
                        end_one(m, i, ATTEMPT_LOST);
        for (unsigned j = 0; j < JOBS; j++)
                for (uint32_t i = 0; i < task_table_count(m->jobs[j].t, TASK_MAP); i++) {
                        uint32_t attempt, worker;

                        if (!task_table_output(m->jobs[j].t, i, &attempt, &worker) || worker != w)
                                continue;
                        (void) task_table_lose_output(m->jobs[j].t, i, attempt, m->now_usec);
                        (void) g_hash_table_remove(m->jobs[j].readable, output_key(i, attempt));
                }
        rerun_lost(m);
        scheduler_remove_worker(m->s, w);
        m->workers[w] = (Worker){};
}

static void set_level(Model *m, uint32_t w, uint32_t level)
{
        m->workers[w].level = level;
        scheduler_set_level(m->s, w, level);
}

static void add_worker(Model *m, uint32_t w)
{
        m->workers[w] = (Worker){
                .slots = 1 + dice(m, 4),
                .slowness = dice(m, 6) == 0 ? 10 : 1,
                .broken = !m->calm && dice(m, 8) == 0,
                .unreachable = !m->calm && dice(m, 12) == 0,
        };
        scheduler_set_worker(m->s, w, m->workers[w].slots);
        set_level(m, w, dice(m, 3) > 0 ? PROGRAM_LEVEL : 0);
}

static void back_off(Model *m, uint32_t w)
{
        SchedWorkerState before = scheduler_worker_state(m->s, w, m->now_usec, NULL);
        uint64_t until;

        if (before != SCHED_WORKER_READY)
                return;
        scheduler_back_off(m->s, w, m->now_usec);
        CHECK(m, scheduler_worker_state(m->s, w, m->now_usec, &until) == SCHED_WORKER_BACKED_OFF);
        CHECK(m, until >= m->now_usec + SCHED_BACKOFF_MIN_USEC);
        CHECK(m, until <= m->now_usec + SCHED_BACKOFF_MAX_USEC);
        m->workers[w].backoff_until_usec = until;
}

/* Each time one of these is asked, it does not answer. */
static void ask_the_unreachable(Model *m)
{
        for (uint32_t w = 1; w <= WORKERS; w++)
                if (m->workers[w].unreachable)
                        back_off(m, w);
}

static void report_lost(Model *m, uint32_t w)
{
        Job *j = &m->jobs[dice(m, JOBS)];
        uint32_t maps = task_table_count(j->t, TASK_MAP), map, attempt, worker;

        if (maps == 0)
                return;
        map = dice(m, maps);
        if (task_table_output(j->t, map, &attempt, &worker) &&
            task_table_report_lost(j->t, map, attempt, w, dice(m, 2), m->now_usec) == 1)
                (void) g_hash_table_remove(j->readable, output_key(map, attempt));
        note_left_done(j);
}

/* Its attempts end before it is forgotten, or after. */
static void cancel(Model *m, unsigned job)
{
        Job *j = &m->jobs[job];
        bool first = dice(m, 2);

        if (!j->there)
                return;
        if (first) {
                scheduler_remove_job(m->s, j->t);
                j->there = false;
                check_books(m);
        }
        for (guint i = m->running->len; i-- > 0;)
                if (g_array_index(m->running, Running, i).job == job)
                        end_one(m, i, ATTEMPT_KILLED);
        scheduler_remove_job(m->s, j->t);
        j->there = false;
}

static void something_happens(Model *m)
{
        uint32_t w = 1 + dice(m, WORKERS);
        Worker *x = &m->workers[w];

        switch (dice(m, 9)) {
        case 0:
                if (x->slots > 0)
                        lose_worker(m, w);
                break;
        case 1:
        case 2:
                if (x->slots == 0)
                        add_worker(m, w);
                break;
        case 3:
                if (x->slots > 0)
                        back_off(m, w);
                break;
        case 4:
                x->drained = x->slots > 0 && !x->drained;
                scheduler_set_drained(m->s, w, x->drained);
                break;
        case 5:
                if (dice(m, 20) == 0)
                        cancel(m, dice(m, JOBS));
                break;
        case 6:
                if (x->slots > 0) {
                        x->slots = 1 + dice(m, 4);
                        scheduler_set_worker(m->s, w, x->slots);
                }
                break;
        default:
                report_lost(m, w);
        }
}

static void calm_down(Model *m)
{
        m->calm = true;
        for (uint32_t w = 1; w <= WORKERS; w++) {
                if (m->workers[w].slots == 0)
                        add_worker(m, w);
                m->workers[w].drained = m->workers[w].broken = false;
                m->workers[w].unreachable = false;
                scheduler_set_drained(m->s, w, false);
        }
        set_level(m, 1, PROGRAM_LEVEL);
        for (guint i = 0; i < m->running->len; i++)
                if (g_array_index(m->running, Running, i).ends_usec == NEVER)
                        g_array_index(m->running, Running, i).ends_usec = m->now_usec + 60000000;
}

/* ---- A history ---- */

static bool is_over(const Model *m)
{
        for (unsigned j = 0; j < JOBS; j++)
                if (m->jobs[j].there)
                        return false;
        return true;
}

/* Simulated time goes to the next thing that can happen. */
static void step(Model *m)
{
        uint64_t until = MIN(scheduler_wakeup_usec(m->s), m->now_usec + 400000);

        for (guint i = 0; i < m->running->len; i++)
                until = MIN(until, g_array_index(m->running, Running, i).ends_usec);
        m->now_usec = MAX(until, m->now_usec + 1);
        tell_progress(m);
        for (guint i = m->running->len; i-- > 0;)
                if (i < m->running->len &&
                    g_array_index(m->running, Running, i).ends_usec <= m->now_usec)
                        advance(m, i);
        for (unsigned j = 0; j < JOBS; j++)
                if (m->jobs[j].there && task_table_is_complete(m->jobs[j].t))
                        cancel(m, j); /* what still runs of it is for nobody */
}

static void model_init(Model *m, guint32 seed)
{
        *m = (Model){.seed = seed,
                     .rand = g_rand_new_with_seed(seed),
                     .s = scheduler_new(),
                     .limits = SCHED_LIMITS_DEFAULT};
        m->running = g_array_new(false, false, sizeof(Running));
        if (dice(m, 2) == 0)
                m->limits.user_maps_max = 1 + dice(m, 6);
        if (dice(m, 2) == 0)
                m->limits.user_reduces_max = 1 + dice(m, 4);
        if (dice(m, 2) == 0)
                m->limits.user_running_jobs_max = 1 + dice(m, 3);
        m->limits.backup_cap_percent = 10 + dice(m, 40);
        scheduler_set_limits(m->s, &m->limits);
        for (uint32_t u = 0; u < USERS; u++) {
                m->weights[u] = 1 + dice(m, 3);
                scheduler_set_weight(m->s, u, m->weights[u]);
        }
        for (unsigned i = 0; i < JOBS; i++) {
                Job *j = &m->jobs[i];
                uint32_t maps = dice(m, 40), reduces = 1 + dice(m, 8);

                *j = (Job){.t = task_table_new(maps, reduces, 1000000, 0), .there = true};
                j->options = (SchedJobOptions){.uid = dice(m, USERS),
                                               .priority = (int) dice(m, 5) - 2,
                                               .backups = dice(m, 4) > 0,
                                               .program_level = dice(m, 3) == 0 ? PROGRAM_LEVEL : 0,
                                               .userdata = GUINT_TO_POINTER(i)};
                j->commits[TASK_MAP] = g_new0(unsigned, maps + 1);
                j->commits[TASK_REDUCE] = g_new0(unsigned, reduces);
                j->good = g_hash_table_new(NULL, NULL);
                j->readable = g_hash_table_new(NULL, NULL);
                scheduler_add_job(m->s, j->t, &j->options);
        }
}

static void model_done(Model *m)
{
        while (m->running->len > 0)
                end_one(m, m->running->len - 1, ATTEMPT_KILLED);
        for (unsigned i = 0; i < JOBS; i++) {
                Job *j = &m->jobs[i];

                scheduler_remove_job(m->s, j->t);
                task_table_free(j->t);
                g_free(j->commits[TASK_MAP]);
                g_free(j->commits[TASK_REDUCE]);
                g_hash_table_unref(j->good);
                g_hash_table_unref(j->readable);
        }
        g_array_unref(m->running);
        scheduler_free(m->s);
        g_rand_free(m->rand);
}

typedef struct Seen {
        unsigned backups, blacklisted;
        uint64_t steps;
} Seen;

static void run_history(guint32 seed, Seen *seen)
{
        unsigned steps, faulty_steps;
        Model m;

        model_init(&m, seed);
        faulty_steps = dice(&m, 600);
        for (steps = 0; !is_over(&m); steps++) {
                CHECK(&m, steps < STEPS_MAX); /* no job starves */
                if (steps == faulty_steps)
                        calm_down(&m);
                if (steps < faulty_steps && dice(&m, 3) == 0)
                        something_happens(&m);
                ask_the_unreachable(&m);
                assign_all(&m);
                step(&m);
                check_books(&m);
        }
        seen->steps += steps;
        seen->backups += m.backups;
        seen->blacklisted += m.blacklisted;
        model_done(&m);
}

static void test_random_histories_keep_every_promise_and_end(void)
{
        const char *seed = g_getenv("MODEL_SEED"), *histories = g_getenv("MODEL_HISTORIES");
        unsigned fresh = histories ? (unsigned) g_ascii_strtoull(histories, NULL, 10) : 500;
        Seen seen = {};

        if (seed) {
                run_history((guint32) g_ascii_strtoull(seed, NULL, 10), &seen);
                return;
        }
        for (guint32 i = 1; i <= 1500; i++)
                run_history(i, &seen);
        for (unsigned i = 0; i < fresh; i++)
                run_history(g_random_int(), &seen); /* a failure prints its seed */
        g_test_message("%" G_GUINT64_FORMAT " steps, %u backups, a worker blacklisted %u times",
                       seen.steps, seen.backups, seen.blacklisted);
        g_assert_cmpuint(seen.backups, >, 100); /* the histories do reach what they test */
        g_assert_cmpuint(seen.blacklisted, >, 100);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/jobs/model/random-histories-keep-every-promise-and-end",
                        test_random_histories_keep_every_promise_and_end);
        return g_test_run();
}

/*
 * Task table — see task-table.h.
 */
#include "jobs/task-table.h"

typedef struct TaskSet {
        Task *tasks;
        uint32_t count;
        uint32_t in[TASK_DONE + 1]; /* how many are in each state */
        uint32_t first[TASK_DONE],
                last[TASK_DONE]; /* by state; linked by Task.prev and Task.next */
} TaskSet;

struct TaskTable {
        TaskSet sets[_TASK_KIND_MAX];
        uint32_t max_attempts;
        uint32_t failed, lost, outputs_lost;
        uint32_t fed; /* reduces that need no map any more: DONE, or an attempt has all its input */
        uint32_t done_without_output;
};

/* Into the list of its state. */
static void list_insert(TaskSet *s, uint32_t index, bool at_front)
{
        Task *task = &s->tasks[index];
        uint32_t *first = &s->first[task->state], *last = &s->last[task->state];

        task->prev = at_front ? TASK_NONE : *last;
        task->next = at_front ? *first : TASK_NONE;
        if (task->prev != TASK_NONE)
                s->tasks[task->prev].next = index;
        else
                *first = index;
        if (task->next != TASK_NONE)
                s->tasks[task->next].prev = index;
        else
                *last = index;
}

static void list_remove(TaskSet *s, uint32_t index)
{
        Task *task = &s->tasks[index];

        if (task->prev != TASK_NONE)
                s->tasks[task->prev].next = task->next;
        else
                s->first[task->state] = task->next;
        if (task->next != TASK_NONE)
                s->tasks[task->next].prev = task->prev;
        else
                s->last[task->state] = task->prev;
        task->prev = task->next = TASK_NONE;
}

/* The one place where a task changes its state. A task that had its chance goes to the front:
 * others wait for it. */
static void set_state(TaskSet *s, uint32_t index, TaskState state)
{
        Task *task = &s->tasks[index];

        if (task->state == state)
                return;
        if (task->state != TASK_DONE)
                list_remove(s, index);
        s->in[task->state]--;
        s->in[state]++;
        task->state = state;
        if (state != TASK_DONE)
                list_insert(s, index, true);
}

static void task_set_init(TaskSet *s, uint32_t count, uint64_t now_usec)
{
        *s = (TaskSet){
                .tasks = g_new0(Task, count),
                .count = count,
                .first = {TASK_NONE, TASK_NONE},
                .last = {TASK_NONE, TASK_NONE},
        };
        s->in[TASK_IDLE] = count;
        for (uint32_t i = 0; i < count; i++) {
                s->tasks[i].idle_since_usec = now_usec;
                list_insert(s, i, false);
        }
}

static void task_set_done(TaskSet *s)
{
        for (uint32_t i = 0; i < s->count; i++)
                g_free(s->tasks[i].status);
        g_free(s->tasks);
}

TaskTable *task_table_new(uint32_t maps, uint32_t reduces, uint32_t max_attempts, uint64_t now_usec)
{
        TaskTable *t = g_new0(TaskTable, 1);

        assert(max_attempts > 0);

        t->max_attempts = max_attempts;
        task_set_init(&t->sets[TASK_MAP], maps, now_usec);
        task_set_init(&t->sets[TASK_REDUCE], reduces, now_usec);
        return t;
}

TaskTable *task_table_free(TaskTable *t)
{
        if (!t)
                return NULL;
        for (size_t i = 0; i < _TASK_KIND_MAX; i++)
                task_set_done(&t->sets[i]);
        g_free(t);
        return NULL;
}

void task_table_set_size(TaskTable *t, TaskKind kind, uint32_t task, double size)
{
        t->sets[kind].tasks[task].size = (float) size;
}

uint32_t task_table_count(const TaskTable *t, TaskKind kind)
{
        return t->sets[kind].count;
}

uint32_t task_table_count_in(const TaskTable *t, TaskKind kind, TaskState state)
{
        return t->sets[kind].in[state];
}

uint32_t task_table_failed(const TaskTable *t)
{
        return t->failed;
}

uint32_t task_table_lost(const TaskTable *t)
{
        return t->lost;
}

uint32_t task_table_outputs_lost(const TaskTable *t)
{
        return t->outputs_lost;
}

static Task *get(const TaskTable *t, TaskKind kind, uint32_t index)
{
        const TaskSet *s = &t->sets[kind];

        return index < s->count ? &s->tasks[index] : NULL;
}

const Task *task_table_get(const TaskTable *t, TaskKind kind, uint32_t index)
{
        return get(t, kind, index);
}

static Attempt *find_attempt(Task *task, uint32_t attempt)
{
        if (task)
                for (uint32_t i = 0; i < task->running_count; i++)
                        if (task->running[i].number == attempt)
                                return &task->running[i];
        return NULL;
}

const Attempt *task_table_attempt(const TaskTable *t, TaskKind kind, uint32_t index,
                                  uint32_t attempt)
{
        return find_attempt(get(t, kind, index), attempt);
}

uint32_t task_table_first_idle(const TaskTable *t, TaskKind kind)
{
        return t->sets[kind].first[TASK_IDLE];
}

uint32_t task_table_next_idle(const TaskTable *t, TaskKind kind, uint32_t index)
{
        return t->sets[kind].tasks[index].next;
}

uint32_t task_table_first_running(const TaskTable *t, TaskKind kind)
{
        return t->sets[kind].first[TASK_RUNNING];
}

uint32_t task_table_next_running(const TaskTable *t, TaskKind kind, uint32_t index)
{
        return t->sets[kind].tasks[index].next;
}

bool task_table_may_shuffle(const TaskTable *t)
{
        const TaskSet *maps = &t->sets[TASK_MAP];

        return maps->in[TASK_IDLE] == 0 || (uint64_t) maps->in[TASK_DONE] * 20 >= maps->count;
}

TaskKind task_table_part_kind(const TaskTable *t)
{
        return t->sets[TASK_REDUCE].count > 0 ? TASK_REDUCE : TASK_MAP;
}

bool task_table_is_complete(const TaskTable *t)
{
        const TaskSet *s = &t->sets[task_table_part_kind(t)];

        return s->in[TASK_DONE] == s->count;
}

static bool is_past_shuffle(const Attempt *a)
{
        return a->phase >= ATTEMPT_WAITING;
}

static bool is_fed(const Task *task)
{
        if (task->state == TASK_DONE)
                return true;
        for (uint32_t i = 0; i < task->running_count; i++)
                if (is_past_shuffle(&task->running[i]))
                        return true;
        return false;
}

/* Call is_fed() before and after a change of a reduce, and this with the difference. */
static void count_fed(TaskTable *t, TaskKind kind, bool before, bool after)
{
        if (kind == TASK_REDUCE)
                t->fed += (uint32_t) after - (uint32_t) before;
}

int task_table_start(TaskTable *t, TaskKind kind, uint32_t index, uint32_t worker,
                     uint64_t now_usec, uint32_t *ret_attempt)
{
        Task *task = get(t, kind, index);

        assert(task);
        assert(worker > 0);

        if (task->state == TASK_DONE || task->running_count == TASK_ATTEMPTS_AT_ONCE)
                return -EBUSY;
        for (uint32_t i = 0; i < task->running_count; i++)
                if (task->running[i].phase == ATTEMPT_COMMITTING)
                        return -EBUSY;

        task->running[task->running_count] = (Attempt){
                .number = task->started,
                .worker = worker,
                .since_usec = now_usec,
                .backup = task->running_count > 0,
        };
        task->running_count++;
        task->newest_worker = worker;
        set_state(&t->sets[kind], index, TASK_RUNNING);
        *ret_attempt = task->started++;
        return 0;
}

int task_table_progress(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt,
                        AttemptPhase phase, double fraction, uint64_t now_usec)
{
        Task *task = get(t, kind, index);
        Attempt *a = find_attempt(task, attempt);
        bool before, shuffled;

        if (!a)
                return -ENOENT;
        before = is_fed(task);
        shuffled = is_past_shuffle(a);
        if (phase < ATTEMPT_COMMITTING && a->phase < ATTEMPT_COMMITTING &&
            (phase > a->phase || (kind == TASK_REDUCE && phase == ATTEMPT_STARTED)))
                a->phase = phase;
        if (kind == TASK_REDUCE && is_past_shuffle(a) != shuffled)
                a->since_usec = now_usec;
        if (fraction >= 0 && fraction <= 1) /* false for NaN */
                a->fraction = (float) fraction;
        count_fed(t, kind, before, is_fed(task));
        return 0;
}

void task_table_set_status(TaskTable *t, TaskKind kind, uint32_t index, const char *text)
{
        Task *task = get(t, kind, index);

        if (!task)
                return;
        g_free(task->status);
        task->status = g_utf8_make_valid(text, (gssize) strnlen(text, TASK_STATUS_MAX_BYTES));
}

static void remember_failure(Task *task, uint32_t worker)
{
        for (uint32_t i = 0; i < task->failed_on_count; i++)
                if (task->failed_on[i] == worker)
                        return;
        if (task->failed_on_count == TASK_FAILED_ON_MAX) {
                memmove(task->failed_on, task->failed_on + 1,
                        (TASK_FAILED_ON_MAX - 1) * sizeof(task->failed_on[0]));
                task->failed_on_count--;
        }
        task->failed_on[task->failed_on_count++] = worker;
}

static void drop_attempt(Task *task, Attempt *a)
{
        *a = task->running[--task->running_count];
}

int task_table_end(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt, AttemptEnd end,
                   uint64_t now_usec)
{
        Task *task = get(t, kind, index);
        Attempt *a = find_attempt(task, attempt);
        bool before;

        if (!a)
                return -ENOENT;
        before = is_fed(task);
        if (end == ATTEMPT_FAILED) {
                task->failed++;
                t->failed++;
                remember_failure(task, a->worker);
        } else if (end == ATTEMPT_LOST) {
                task->lost++;
                t->lost++;
        }
        drop_attempt(task, a);
        if (task->state == TASK_RUNNING && task->running_count == 0) {
                task->idle_since_usec = now_usec;
                set_state(&t->sets[kind], index, TASK_IDLE);
        }
        count_fed(t, kind, before, is_fed(task));
        return end == ATTEMPT_FAILED && task->failed >= t->max_attempts;
}

/* 0 when @attempt may commit. */
static int check_commit(Task *task, const Attempt *a)
{
        if (task && task->state == TASK_DONE)
                return -EALREADY;
        if (!a)
                return -ENOENT;
        for (uint32_t i = 0; i < task->running_count; i++)
                if (&task->running[i] != a && task->running[i].phase == ATTEMPT_COMMITTING)
                        return -EALREADY;
        return 0;
}

int task_table_grant(TaskTable *t, uint32_t index, uint32_t attempt)
{
        TaskKind kind = task_table_part_kind(t);
        Task *task = get(t, kind, index);
        Attempt *a = find_attempt(task, attempt);
        bool before;
        int r;

        r = check_commit(task, a);
        if (r < 0)
                return r;
        before = is_fed(task);
        a->phase = ATTEMPT_COMMITTING;
        a->fraction = 1;
        count_fed(t, kind, before, is_fed(task));
        return 0;
}

int task_table_commit(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt)
{
        Task *task = get(t, kind, index);
        Attempt *a = find_attempt(task, attempt);
        bool before;
        int r;

        r = check_commit(task, a);
        if (r < 0)
                return r;
        before = is_fed(task);
        task->committed = true;
        task->output_lost = false;
        task->done_attempt = attempt;
        task->done_worker = a->worker;
        task->reports = 0;
        task->failed_on_count = 0;
        drop_attempt(task, a);
        set_state(&t->sets[kind], index, TASK_DONE);
        count_fed(t, kind, before, is_fed(task));
        return 0;
}

int task_table_output(const TaskTable *t, uint32_t map, uint32_t *ret_attempt, uint32_t *ret_worker)
{
        const Task *task = get(t, TASK_MAP, map);

        if (!task || task->state != TASK_DONE || task->output_lost ||
            task_table_part_kind(t) == TASK_MAP)
                return 0;
        *ret_attempt = task->done_attempt;
        *ret_worker = task->done_worker;
        return 1;
}

static bool reduces_need_maps(const TaskTable *t)
{
        return t->fed < t->sets[TASK_REDUCE].count;
}

/* A map that is DONE in name only runs again. Its backup attempt, if one still runs, goes on. */
static void leave_done(TaskTable *t, uint32_t map, uint64_t now_usec)
{
        Task *task = &t->sets[TASK_MAP].tasks[map];

        task->output_lost = false;
        task->idle_since_usec = now_usec;
        t->done_without_output--;
        set_state(&t->sets[TASK_MAP], map, task->running_count > 0 ? TASK_RUNNING : TASK_IDLE);
}

int task_table_lose_output(TaskTable *t, uint32_t map, uint32_t attempt, uint64_t now_usec)
{
        Task *task = get(t, TASK_MAP, map);

        if (!task || task->state != TASK_DONE || task->output_lost ||
            task->done_attempt != attempt || task_table_part_kind(t) == TASK_MAP)
                return -ESTALE;
        task->output_lost = true;
        t->outputs_lost++;
        t->done_without_output++;
        if (!reduces_need_maps(t))
                return 0;
        leave_done(t, map, now_usec);
        return 1;
}

int task_table_report_lost(TaskTable *t, uint32_t map, uint32_t attempt, uint32_t reporter,
                           bool certain, uint64_t now_usec)
{
        Task *task = get(t, TASK_MAP, map);
        int r;

        if (!task || task->state != TASK_DONE || task->output_lost || task->done_attempt != attempt)
                return -ESTALE;
        if (task->reports++ == 0)
                task->first_reporter = reporter;
        if (!certain && task->reports < LOST_OUTPUT_REPORTS_MAX && reporter == task->first_reporter)
                return 0;
        r = task_table_lose_output(t, map, attempt, now_usec);
        return r < 0 ? r : 1;
}

int task_table_recover_output(TaskTable *t, uint32_t map, uint32_t attempt, uint32_t worker)
{
        Task *task = get(t, TASK_MAP, map);

        if (!task || !task->committed || task->done_attempt != attempt ||
            task->done_worker != worker || task->state == TASK_RUNNING)
                return 0;
        if (task->state == TASK_DONE) {
                if (!task->output_lost)
                        return 0;
                t->done_without_output--;
        }
        task->output_lost = false;
        task->reports = 0;
        set_state(&t->sets[TASK_MAP], map, TASK_DONE);
        return 1;
}

uint32_t task_table_rerun_lost(TaskTable *t, uint64_t now_usec)
{
        uint32_t count = 0;

        if (t->done_without_output == 0 || !reduces_need_maps(t))
                return 0;
        for (uint32_t i = 0; i < t->sets[TASK_MAP].count; i++)
                if (t->sets[TASK_MAP].tasks[i].output_lost) {
                        leave_done(t, i, now_usec);
                        count++;
                }
        return count;
}

void task_table_settle(TaskTable *t)
{
        assert(task_table_is_complete(t));

        for (uint32_t i = 0; i < t->sets[TASK_MAP].count; i++) {
                Task *task = &t->sets[TASK_MAP].tasks[i];

                if (task->state == TASK_DONE)
                        continue;
                task->output_lost = true;
                t->done_without_output++;
                set_state(&t->sets[TASK_MAP], i, TASK_DONE);
        }
}

void task_table_restore(TaskTable *t, TaskKind kind, uint32_t index, uint32_t started,
                        uint32_t failed, uint32_t lost, bool done, uint32_t attempt,
                        uint32_t worker)
{
        Task *task = get(t, kind, index);

        if (!task || task->started > 0)
                return;
        task->started = started;
        task->failed = failed;
        task->lost = lost;
        t->failed += failed;
        t->lost += lost;
        if (!done)
                return;
        task->committed = true;
        task->done_attempt = attempt;
        task->done_worker = worker;
        task->newest_worker = worker;
        set_state(&t->sets[kind], index, TASK_DONE);
        count_fed(t, kind, false, true);
}

void task_table_restore_lost(TaskTable *t, uint32_t map)
{
        Task *task = get(t, TASK_MAP, map);

        if (!task || task->state != TASK_DONE || task->output_lost)
                return;
        task->output_lost = true;
        t->done_without_output++;
}

int task_table_resume(TaskTable *t, TaskKind kind, uint32_t index, uint32_t attempt,
                      uint32_t worker, uint64_t now_usec)
{
        Task *task = get(t, kind, index);

        if (!task || attempt >= task->started || worker == 0 || find_attempt(task, attempt))
                return -EINVAL;
        if (task->state == TASK_DONE || task->running_count == TASK_ATTEMPTS_AT_ONCE)
                return -EBUSY;
        task->running[task->running_count] = (Attempt){
                .number = attempt,
                .worker = worker,
                .since_usec = now_usec,
                .backup = task->running_count > 0,
        };
        task->running_count++;
        task->newest_worker = worker;
        set_state(&t->sets[kind], index, TASK_RUNNING);
        return 0;
}

void task_table_restore_outputs_lost(TaskTable *t, uint32_t count)
{
        t->outputs_lost = count;
}

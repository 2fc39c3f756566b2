/*
 * Worker pool — see worker-pool.h.
 *
 * The choice of a worker looks at all of them: a thousand take about two microseconds, and whoever
 * wants none (no slot is open) does not look.
 */
#include "jobs/worker-pool.h"

void worker_pool_init(WorkerPool *p)
{
        *p = (WorkerPool){
                .by_number = g_hash_table_new_full(NULL, NULL, NULL, g_free),
                .all = g_ptr_array_new(),
                .blacklist_usec = SCHED_BLACKLIST_USEC,
                .next_change_usec = USEC_INFINITY,
        };
        g_queue_init(&p->news);
}

void worker_pool_done(WorkerPool *p)
{
        g_ptr_array_unref(p->all);
        g_hash_table_unref(p->by_number);
        g_queue_clear(&p->news);
}

PoolWorker *worker_pool_find(const WorkerPool *p, uint32_t number)
{
        return g_hash_table_lookup(p->by_number, GUINT_TO_POINTER(number));
}

static uint32_t open_slots(const PoolWorker *w)
{
        return w->slots > w->used ? w->slots - w->used : 0;
}

PoolWorker *worker_pool_set(WorkerPool *p, uint32_t number, uint32_t slots)
{
        PoolWorker *w = worker_pool_find(p, number);

        assert(number > 0);

        if (!w) {
                w = g_new0(PoolWorker, 1);
                w->number = number;
                g_hash_table_insert(p->by_number, GUINT_TO_POINTER(number), w);
                g_ptr_array_add(p->all, w);
        }
        p->slots += slots - w->slots;
        p->open -= open_slots(w);
        w->slots = slots;
        p->open += open_slots(w);
        p->dirty = true;
        return w;
}

void worker_pool_remove(WorkerPool *p, PoolWorker *w)
{
        assert(w->used == 0 && w->reduces == 0);

        p->slots -= w->slots;
        p->open -= open_slots(w);
        p->dirty = true;
        (void) g_queue_remove(&p->news, GUINT_TO_POINTER(w->number));
        (void) g_ptr_array_remove_fast(p->all, w);
        (void) g_hash_table_remove(p->by_number, GUINT_TO_POINTER(w->number));
}

void worker_pool_set_drained(WorkerPool *p, PoolWorker *w, bool drained)
{
        w->drained = drained;
        p->dirty = true;
}

void worker_pool_set_level(WorkerPool *p, PoolWorker *w, uint32_t level)
{
        w->level = MIN(level, PROGRAM_LEVEL);
        p->dirty = true;
}

void worker_pool_hold(WorkerPool *p, PoolWorker *w, int slots, int reduces)
{
        p->open -= open_slots(w);
        w->used += (uint32_t) slots;
        p->used += (uint32_t) slots;
        w->reduces += (uint32_t) reduces;
        p->open += open_slots(w);
}

void worker_pool_back_off(WorkerPool *p, PoolWorker *w, uint64_t now_usec)
{
        if (w->not_before_usec > now_usec)
                return; /* several calls to it broke at once: one reason, one wait */
        w->backoff_usec =
                CLAMP(w->backoff_usec * 2, SCHED_BACKOFF_MIN_USEC, SCHED_BACKOFF_MAX_USEC);
        w->not_before_usec = now_usec + w->backoff_usec;
        p->dirty = true;
}

void worker_pool_failed(WorkerPool *p, PoolWorker *w)
{
        if (w->failures < UINT32_MAX)
                w->failures++;
        p->dirty = true;
}

static void tell(WorkerPool *p, PoolWorker *w, bool on_blacklist)
{
        if (w->on_blacklist == on_blacklist)
                return;
        w->on_blacklist = on_blacklist;
        g_queue_push_tail(&p->news, GUINT_TO_POINTER(w->number));
}

void worker_pool_succeeded(WorkerPool *p, PoolWorker *w)
{
        if (w->failures == 0 && w->backoff_usec == 0 && !w->on_blacklist)
                return;
        w->failures = w->blames = w->blacklisted = 0;
        w->backoff_usec = w->blacklisted_until_usec = 0;
        tell(p, w, false);
        p->dirty = true;
}

void worker_pool_blame(WorkerPool *p, PoolWorker *w, uint64_t now_usec)
{
        if (w->failures == 0 || w->blacklisted_until_usec > now_usec)
                return; /* it has done well since; or what comes late is of the same story */
        w->blames++;
        if (w->failures < SCHED_PROBATION_FAILURES || w->blames < SCHED_BLACKLIST_BLAMES)
                return;
        w->blacklisted_until_usec =
                now_usec + (p->blacklist_usec << MIN(w->blacklisted, SCHED_BLACKLIST_DOUBLINGS));
        w->blacklisted++;
        w->blames = SCHED_BLACKLIST_BLAMES - 1; /* the next one, on probation, is enough */
        tell(p, w, true);
        p->dirty = true;
}

void worker_pool_update(WorkerPool *p, uint64_t now_usec)
{
        if (!p->dirty && now_usec < p->next_change_usec)
                return;
        p->dirty = false;
        memset(p->usable, 0, sizeof(p->usable));
        memset(p->healthy, 0, sizeof(p->healthy));
        p->next_change_usec = USEC_INFINITY;
        for (guint i = 0; i < p->all->len; i++) {
                PoolWorker *w = p->all->pdata[i];

                if (w->not_before_usec > now_usec)
                        p->next_change_usec = MIN(p->next_change_usec, w->not_before_usec);
                if (w->blacklisted_until_usec > now_usec) {
                        p->next_change_usec = MIN(p->next_change_usec, w->blacklisted_until_usec);
                        continue;
                }
                tell(p, w, false);
                if (w->drained)
                        continue;
                for (uint32_t level = 0; level <= w->level; level++) {
                        p->usable[level]++;
                        p->healthy[level] += w->failures < SCHED_PROBATION_FAILURES;
                }
        }
}

bool worker_pool_is_open(const WorkerPool *p, const PoolWorker *w, uint32_t level,
                         uint64_t now_usec)
{
        if (w->level < level)
                return false;
        if (w->drained || w->not_before_usec > now_usec)
                return false;
        return w->blacklisted_until_usec <= now_usec || p->usable[level] == 0;
}

uint32_t worker_pool_trust(const WorkerPool *p, const PoolWorker *w, uint32_t level)
{
        return p->healthy[level] > 0 && w->failures >= SCHED_PROBATION_FAILURES ? 1 : w->slots;
}

bool worker_pool_is_better(const PoolWorker *a, const PoolWorker *b, bool for_reduce)
{
        uint64_t load_a = (uint64_t) (for_reduce ? a->reduces : a->used) * b->slots;
        uint64_t load_b = (uint64_t) (for_reduce ? b->reduces : b->used) * a->slots;
        bool sound_a = a->failures < SCHED_PROBATION_FAILURES;
        bool sound_b = b->failures < SCHED_PROBATION_FAILURES;

        if (sound_a != sound_b)
                return sound_a;
        if (load_a != load_b)
                return load_a < load_b;
        if (a->failures != b->failures)
                return a->failures < b->failures;
        return a->number < b->number;
}

uint32_t worker_pool_take_news(WorkerPool *p)
{
        return GPOINTER_TO_UINT(g_queue_pop_head(&p->news));
}

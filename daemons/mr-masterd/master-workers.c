/*
 * Workers — who they are, and how long they are believed to live.
 *
 * A worker registers, is given a lease, and renews it with each heartbeat. When the lease ends it
 * is lost: its attempts are lost, and those of its finished maps that a reduce still needs run
 * again. A worker that registers with a new incarnation has been restarted: its attempts are lost,
 * but the outputs that it still holds are as good as before.
 *
 * After our own restart the workers of before are expected: their outputs are believed, though told
 * to nobody, until they register or a lease has passed.
 */
#include "base/parse.h"
#include "base/text.h"
#include "mr-masterd/master-keys.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "platform/log.h"
#include "platform/message-ids.h"

/* Told with one heartbeat; more are forgotten, and cost a map that is run again. */
#define DROP_CACHED_MAX 1000U

MasterWorker *worker_free(MasterWorker *w)
{
        if (!w)
                return NULL;
        evgrpc_channel_free(w->channel);
        g_ptr_array_unref(w->drop_cached);
        g_free(w->name);
        g_free(w->address);
        g_free(w->path);
        g_free(w->trouble);
        g_free(w);
        return NULL;
}

MasterWorker *manager_worker(const Manager *m, uint32_t number)
{
        return number > 0 ? g_hash_table_lookup(m->numbers, GUINT_TO_POINTER(number)) : NULL;
}

const char *manager_worker_name(const Manager *m, uint32_t number)
{
        const MasterWorker *w = manager_worker(m, number);

        return w ? w->name : "";
}

bool worker_is_alive(const MasterWorker *w)
{
        return w->alive;
}

unsigned manager_count_workers(const Manager *m, bool (*is)(const MasterWorker *w))
{
        GHashTableIter iter;
        unsigned count = 0;
        gpointer w;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                count += is(w);
        return count;
}

void worker_changed(MasterWorker *w, unsigned flags)
{
        w->changed |= flags;
        w->manager->changed |= CHANGED_NUMBERS;
        manager_kick(w->manager);
}

MasterWorker *manager_remember_worker(Manager *m, uint32_t number, const char *id, const char *name,
                                      const char *address, uint32_t slots)
{
        MasterWorker *w = g_new0(MasterWorker, 1);

        w->manager = m;
        w->number = number;
        (void) g_strlcpy(w->id, id, sizeof(w->id));
        w->name = g_strdup(name);
        w->address = g_strdup(address);
        w->path = g_strconcat(MASTER_PATH "/worker/", id, NULL);
        w->slots = slots;
        w->drop_cached = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(m->workers, w->id, w);
        g_hash_table_insert(m->numbers, GUINT_TO_POINTER(number), w);
        m->next_worker = MAX(m->next_worker, number + 1);
        return w;
}

static void save_worker(const MasterWorker *w)
{
        StoreWorker row = {
                .number = w->number,
                .id = w->id,
                .name = w->name,
                .address = w->address,
                .slots = w->slots,
                .drained = w->drained,
        };

        store_put_worker(w->manager->store, &row);
}

/* ---- Draining ---- */

const char *worker_state(const MasterWorker *w)
{
        if (!w->alive)
                return "lost";
        if (!w->drained)
                return worker_is_blacklisted(w) ? "blacklisted" : "alive";
        return scheduler_worker_attempts(w->manager->scheduler, w->number) > 0 ? "draining"
                                                                               : "drained";
}

/* It finishes what it runs, gets nothing new, and goes on serving its map outputs: it is alive,
 * after all. */
void worker_set_drained(MasterWorker *w, bool drained)
{
        LogFields fields = {.worker = w->name};
        Manager *m = w->manager;

        if (w->drained == drained)
                return;
        w->drained = drained;
        scheduler_set_drained(m->scheduler, w->number, drained);
        save_worker(w);
        log_full(LOG_NOTICE, &fields, 0, "Worker %s is %s", w->name,
                 drained ? "drained: it gets no new task" : "resumed");
        worker_changed(w, CHANGED_STATE | CHANGED_NUMBERS);
}

MasterWorker *manager_find_worker(const Manager *m, const char *name, unsigned *ret_count)
{
        MasterWorker *found = g_hash_table_lookup(m->workers, name);
        unsigned counts[2] = {}; /* lost ones, and those that are there: they go first */
        GHashTableIter iter;
        gpointer p;

        *ret_count = found ? 1 : 0;
        if (found)
                return found;
        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                MasterWorker *w = p;

                if (!g_str_equal(w->name, name))
                        continue;
                counts[w->alive]++;
                if (!found || w->alive)
                        found = w;
        }
        *ret_count = counts[1] > 0 ? counts[1] : counts[0];
        return *ret_count == 1 ? found : NULL;
}

/* ---- Outputs ---- */

typedef struct HeldKey {
        uint64_t job;
        uint32_t map, attempt;
} HeldKey;

static guint held_hash(gconstpointer p)
{
        const HeldKey *k = p;

        return (guint) k->job * 40503U ^ k->map * 2654435761U ^ k->attempt;
}

static gboolean held_equal(gconstpointer a, gconstpointer b)
{
        return memcmp(a, b, sizeof(HeldKey)) == 0;
}

/* The outputs of our jobs that a worker says it holds, looked at once: there may be a million; NULL
 * for none. */
static GHashTable *held_outputs(const Manager *m, const Mapreduced__V1__RegisterRequest *request)
{
        GHashTable *set = g_hash_table_new_full(held_hash, held_equal, g_free, NULL);

        for (size_t i = 0; request && i < request->n_held; i++) {
                const Mapreduced__V1__MapOutput *o = request->held[i];
                const MasterJob *j = manager_find_job_by_wire_id(m, o->job_id);
                HeldKey *k;

                if (!j)
                        continue;
                k = g_new(HeldKey, 1);
                *k = (HeldKey){.job = j->number, .map = o->map, .attempt = o->attempt};
                g_hash_table_add(set, k);
        }
        return set;
}

/* Settles one map whose last committed attempt ran on @w: it is there, or lost, or back. */
static unsigned settle_output(MasterJob *j, uint32_t map, const MasterWorker *w, GHashTable *held)
{
        const Task *task = task_table_get(j->table, TASK_MAP, map);
        HeldKey key = {.job = j->number, .map = map, .attempt = task->done_attempt};
        uint64_t now = manager_now(j->manager);

        if (j->stable_dir || !task->committed || task->done_worker != w->number)
                return 0;
        if (g_hash_table_contains(held, &key)) {
                if (task_table_recover_output(j->table, map, task->done_attempt, w->number) > 0) {
                        job_count_map(j, map);
                        job_save_task(j, TASK_MAP, map);
                }
                job_tell_watchers(j, map);
                return 0;
        }
        if (task->state != TASK_DONE || task->output_lost)
                return 0;
        (void) task_table_lose_output(j->table, map, task->done_attempt, now);
        job_count_map(j, map);
        job_save_task(j, TASK_MAP, map);
        job_tell_watchers(j, map);
        return 1;
}

/* One event for all: a worker may have held a thousand. */
static void settle_outputs(MasterWorker *w, const Mapreduced__V1__RegisterRequest *request,
                           const char *why)
{
        Manager *m = w->manager;
        g_autoptr(GHashTable) held = held_outputs(m, request);

        for (guint i = 0; i < m->by_age->len; i++) {
                MasterJob *j = m->by_age->pdata[i];
                unsigned lost = 0;
                uint32_t idle;

                if (!j->table || j->ending != 0)
                        continue;
                for (uint32_t map = 0; map < j->maps; map++)
                        lost += settle_output(j, map, w, held);
                if (lost == 0)
                        continue;
                idle = task_table_count_in(j->table, TASK_MAP, TASK_IDLE);
                job_event(j, "map-output-lost", "the outputs of %u maps were on %s: %s", lost,
                          w->name, why);
                if (idle > 0)
                        job_event(j, "task-rerun",
                                  "%u maps run again: reduces still need their output", idle);
                job_changed(j, CHANGED_NUMBERS);
        }
}

/* ---- Loss ---- */

void manager_tell_jobs(Manager *m, const char *kind, const char *text)
{
        for (guint i = 0; i < m->by_age->len; i++) {
                MasterJob *j = m->by_age->pdata[i];

                if (j->table && j->ending == 0)
                        job_event(j, kind, "%s", text);
        }
}

/* So that workers with a new id at each start do not fill the memory: those lost longest go
 * first. */
static void forget_lost_workers(Manager *m)
{
        for (;;) {
                MasterWorker *oldest = NULL;
                GHashTableIter iter;
                unsigned lost = 0;
                gpointer p;

                g_hash_table_iter_init(&iter, m->workers);
                while (g_hash_table_iter_next(&iter, NULL, &p)) {
                        MasterWorker *w = p;

                        if (w->alive || w->expected)
                                continue;
                        lost++;
                        if (!oldest || w->last_heard_usec < oldest->last_heard_usec)
                                oldest = w;
                }
                if (lost <= MASTER_LOST_WORKERS_MAX)
                        return;
                store_remove_worker(m->store, oldest->number);
                lineage_forget_worker(m->lineage, oldest->number);
                bus_worker_removed(oldest);
                g_hash_table_remove(m->numbers, GUINT_TO_POINTER(oldest->number));
                g_hash_table_remove(m->workers, oldest->id);
        }
}

static void lose_worker(MasterWorker *w, const char *why, const char *cause)
{
        g_autofree char *text = g_strdup_printf("%s is lost: %s", w->name, why);
        LogFields fields = {.worker = w->name, .message_id = MESSAGE_WORKER_LOST};
        Manager *m = w->manager;
        EvgrpcChannel *channel;

        log_full(LOG_NOTICE, &fields, 0, "Worker %s", text);
        manager_tell_jobs(m, "worker-lost", text);
        worker_lose_attempts(w, why, cause);
        scheduler_remove_worker(m->scheduler, w->number);
        worker_set_trouble(w, why);
        w->alive = w->expected = false;
        w->incarnation[0] = w->replaced[0] = '\0';
        channel = TAKE_PTR(w->channel);
        (void) evgrpc_channel_free(channel);
        settle_outputs(w, NULL, why);
        worker_changed(w, CHANGED_STATE | CHANGED_NUMBERS);
        forget_lost_workers(m);
}

/* ---- Leases ---- */

/* While we did not run ourselves (stopped, starved, without memory) nobody could renew a lease:
 * what was said meanwhile is still to be read. So each lease lasts longer by that time. */
static void forgive_stall(Manager *m)
{
        uint64_t now = manager_now(m), gap = now - m->ticked_usec;
        g_autofree char *text = NULL;
        GHashTableIter iter;
        gpointer w;

        m->ticked_usec = now;
        if (gap < m->conf->heartbeat_usec + m->conf->heartbeat_usec / 2)
                return;
        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &w))
                ((MasterWorker *) w)->lease_until_usec += gap;
        text = format_timespan(gap);
        if (gap >= m->conf->lease_usec / 2)
                log_warning("The master did not run for %s: workers have so much longer to be "
                            "heard of",
                            text);
}

static void on_tick(void *userdata)
{
        Manager *m = userdata;

        forgive_stall(m);
        loop_timer_start(m->tick_timer, m->conf->heartbeat_usec);
}

int manager_start_ticking(Manager *m)
{
        int r;

        r = loop_timer_new(m->loop, on_tick, m, &m->tick_timer);
        if (r < 0)
                return r;
        m->ticked_usec = manager_now(m);
        loop_timer_start(m->tick_timer, m->conf->heartbeat_usec);
        return 0;
}

static void on_lease(void *userdata)
{
        Manager *m = userdata;
        guint count;
        /* By number: to lose one may be to forget another, with its id. */
        g_autofree gpointer *numbers = g_hash_table_get_keys_as_array(m->numbers, &count);
        uint64_t now = manager_now(m);

        forgive_stall(m);
        for (guint i = 0; i < count; i++) {
                MasterWorker *w = manager_worker(m, GPOINTER_TO_UINT(numbers[i]));
                g_autofree char *why = NULL;
                uint64_t silent_usec;

                if (!w || (!w->alive && !w->expected) || now < w->lease_until_usec)
                        continue;
                silent_usec = m->conf->lease_usec + now - w->lease_until_usec;
                why = g_strdup_printf("not heard of for %.1f s, its lease was %.3g s",
                                      (double) silent_usec / USEC_PER_SEC,
                                      (double) m->conf->lease_usec / USEC_PER_SEC);
                lose_worker(w, why, CAUSE_WORKER_SILENT);
        }
        manager_arm_leases(m);
}

/* One timer for all: it goes off when the first lease would end, and looks again. */
void manager_arm_leases(Manager *m)
{
        uint64_t first = USEC_INFINITY, now = manager_now(m);
        GHashTableIter iter;
        gpointer p;

        if (!m->lease_timer && loop_timer_new(m->loop, on_lease, m, &m->lease_timer) < 0)
                return;
        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                const MasterWorker *w = p;

                if (w->alive || w->expected)
                        first = MIN(first, w->lease_until_usec);
        }
        if (first == USEC_INFINITY)
                first = now + m->conf->lease_usec;
        loop_timer_start(m->lease_timer, first > now ? first - now : 0);
}

void manager_expel_worker(Manager *m, const char *id, const char *why)
{
        MasterWorker *w = g_hash_table_lookup(m->workers, id);

        if (w && (w->alive || w->expected))
                lose_worker(w, why, CAUSE_WORKER_REVOKED);
}

/* ---- Registration ---- */

/* A socket's path may be any that can be shown: it has blanks where a directory's name has. */
static bool is_address(const char *s)
{
        const char *colon = strrchr(s, ':');
        uint64_t port;
        char *end = NULL;

        if (strlen(s) > 300)
                return false;
        if (g_str_has_prefix(s, "unix:"))
                return text_is_name(s + 5);
        for (const char *p = s; *p; p++)
                if (!g_ascii_isgraph(*p))
                        return false;
        if (!colon || colon == s)
                return false;
        port = g_ascii_strtoull(colon + 1, &end, 10);
        return end && *end == '\0' && end != colon + 1 && port > 0 && port < 65536;
}

static int check_registration(const Manager *m, const Mapreduced__V1__RegisterRequest *r, Error *e)
{
        if (!id128_is_valid(r->worker_id) || !id128_is_valid(r->incarnation))
                return error_setf(e, EINVAL, "worker_id and incarnation are 32 hexadecimal digits");
        if (!text_is_name(r->name))
                return error_setf(
                        e, EINVAL,
                        "a worker's name has 1 to 255 bytes of UTF-8 that can be printed");
        if (!is_address(r->address)) {
                g_autofree char *shown = text_escape(r->address, strlen(r->address), 300);

                return error_setf(e, EINVAL,
                                  "not HOST:PORT, or unix:PATH of UTF-8 that can be printed: %s",
                                  shown);
        }
        if (r->slots < 1 || r->slots > MASTER_SLOTS_MAX)
                return error_setf(e, EINVAL, "a worker has 1 to %u slots, not %u", MASTER_SLOTS_MAX,
                                  r->slots);
        if (address_is_tcp(r->address) && !m->keys &&
            !(m->conf->insecure_plain_tcp && address_is_loopback(r->address)))
                return error_setf(e, EPERM,
                                  "not calling %s without TLS, and this master has no keys: it "
                                  "serves unix sockets only",
                                  r->address);
        if (!g_hash_table_contains(m->workers, r->worker_id) &&
            manager_count_workers(m, worker_is_alive) >= MASTER_WORKERS_MAX)
                return error_setf(e, EUSERS, "%u workers are registered already",
                                  MASTER_WORKERS_MAX);
        return 0;
}

static void apply_slots(MasterWorker *w)
{
        scheduler_set_worker(w->manager->scheduler, w->number, w->reachable ? w->slots : 0);
}

/* The living worker that is reached by it; NULL: none. */
static MasterWorker *worker_behind(Manager *m, const EvgrpcChannel *channel)
{
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                MasterWorker *w = p;

                if (w->channel == channel && w->alive && !m->stopping)
                        return w;
        }
        return NULL;
}

/* Its process may be gone, or the path to it: until the connection is there again what we send it
 * is lost at once. If it lives its next heartbeat makes us call again; else its lease ends. */
static void on_channel_state(EvgrpcChannel *channel, bool connected, const char *error,
                             void *userdata)
{
        MasterWorker *w = worker_behind(userdata, channel);

        if (!w)
                return;
        w->reachable = connected;
        apply_slots(w);
        manager_kick(w->manager);
}

static void on_channel_left(EvgrpcChannel *channel, void *userdata)
{
        MasterWorker *w = worker_behind(userdata, channel);

        if (w)
                worker_move_attempts(w);
}

static void renew(MasterWorker *w)
{
        w->lease_until_usec = manager_now(w->manager) + w->manager->conf->lease_usec;
        w->last_heard_usec = manager_realtime(w->manager);
}

/* Jobs that are over or that we never heard of: the worker may delete what it has of them. @forget
 * is a set, for a worker may name a job with each of its outputs. */
static void forget_if_over(const Manager *m, const char *id, GHashTable *forget)
{
        const MasterJob *j = manager_find_job_by_wire_id(m, id);

        if (!j || job_is_over(j) || j->ending != 0)
                g_hash_table_add(forget, (char *) id);
}

/* With keepalive: a path that swallows everything must not keep attempts waiting as long as
 * heartbeats, which take the other direction, arrive. */
static int open_channel(Manager *m, const char *address, const char *id, EvgrpcChannel **ret,
                        Error *e)
{
        char name[PKI_NAME_SIZE];
        EvgrpcChannelOptions options = {
                .window_bytes = MIB(4),
                .connect_timeout_usec = MIN(m->conf->lease_usec, 10 * USEC_PER_SEC),
                .backoff_max_usec = USEC_PER_SEC,
                .keepalive_usec = m->conf->lease_usec,
                .keepalive_timeout_usec = m->conf->lease_usec,
                .on_state = on_channel_state,
                .stay_connected = true,
                .on_left = on_channel_left,
                .userdata = m,
        };
        int r;

        pki_worker_name(id, name);
        if (m->keys && address_is_tcp(address)) {
                options.tls = m->keys->tls;
                options.tls_server_name = name;
        }
        r = evgrpc_channel_new(loop_base(m->loop), address, &options, ret);
        return r < 0 ? error_setf(e, r, "cannot call %s: %s", address, error_text(r)) : 0;
}

static void make_alive(MasterWorker *w, const char *incarnation, EvgrpcChannel *channel)
{
        w->channel = channel;
        (void) g_strlcpy(w->incarnation, incarnation, sizeof(w->incarnation));
        w->alive = w->reachable = true;
        w->authorities = w->issuer = w->revocations = 0;
        w->expected = false;
        g_clear_pointer(&w->trouble, g_free);
        evgrpc_channel_connect(channel);
}

/* A restarted worker: the old process is gone, but not what lies on its disk. */
static void replace_incarnation(MasterWorker *w)
{
        g_autofree char *text = g_strdup_printf("%s was restarted", w->name);

        manager_tell_jobs(w->manager, "worker-lost", text);
        worker_lose_attempts(w, "its worker was restarted", CAUSE_WORKER_RESTARTED);
        scheduler_remove_worker(w->manager->scheduler, w->number);
        w->channel = evgrpc_channel_free(w->channel);
        w->alive = false;
        (void) g_strlcpy(w->replaced, w->incarnation, sizeof(w->replaced));
}

static void take_description(MasterWorker *w, const Mapreduced__V1__RegisterRequest *request)
{
        g_free(w->name);
        w->name = g_strdup(request->name);
        g_free(w->address);
        w->address = g_strdup(request->address);
        w->slots = request->slots;
        w->program_level = request->program_level;
}

/* A process that was replaced by a newer one and speaks up again is no restart: two use one id, as
 * cloned machines do, and would take turns for ever. */
static int check_not_replaced(const MasterWorker *w, const Mapreduced__V1__RegisterRequest *request,
                              Error *e)
{
        if (!w || !w->alive || !g_str_equal(w->replaced, request->incarnation))
                return 0;
        return error_setf(
                e, EEXIST,
                "the worker at %s has the same id %s: was its spool copied? Stop this one, "
                "delete its spool directory and start it again",
                w->address, w->id);
}

int manager_register_worker(Manager *m, const Mapreduced__V1__RegisterRequest *request,
                            GHashTable *forget, GPtrArray *keep, Error *e)
{
        MasterWorker *w = g_hash_table_lookup(m->workers, request->worker_id);
        bool fresh = !w, again;
        LogFields fields = {.worker = request->name};
        EvgrpcChannel *channel = NULL;
        int r;

        r = check_registration(m, request, e);
        if (r >= 0)
                r = check_not_replaced(w, request, e);
        if (r < 0)
                return r;
        again = w && w->alive && g_str_equal(w->incarnation, request->incarnation) &&
                g_str_equal(w->address, request->address);
        if (!again) { /* before anything is changed: a refusal leaves no trace */
                r = open_channel(m, request->address, request->worker_id, &channel, e);
                if (r < 0)
                        return r;
        }
        if (fresh)
                w = manager_remember_worker(m, m->next_worker, request->worker_id, request->name,
                                            request->address, request->slots);
        if (w->alive && !again)
                replace_incarnation(w);
        take_description(w, request);
        if (!again) {
                make_alive(w, request->incarnation, channel);
                settle_outputs(w, request, "it does not hold them any more");
                log_full(LOG_INFO, &fields, 0, "Worker %s registered at %s with %u slots", w->name,
                         w->address, w->slots);
        }
        apply_slots(w);
        scheduler_set_level(m->scheduler, w->number, w->program_level);
        scheduler_set_drained(m->scheduler, w->number, w->drained);
        lineage_set_worker(m->lineage, w->number, request->cached, request->n_cached);
        worker_resume_attempts(w, request, keep);
        renew(w);
        save_worker(w);
        for (size_t i = 0; i < request->n_held; i++)
                forget_if_over(m, request->held[i]->job_id, forget);
        if (fresh)
                bus_worker_added(w);
        worker_changed(w, CHANGED_STATE | CHANGED_NUMBERS);
        manager_arm_leases(m);
        return 0;
}

void worker_keep_cached(MasterWorker *w, const char *key)
{
        guint at;

        if (w && g_ptr_array_find_with_equal_func(w->drop_cached, key, g_str_equal, &at))
                g_ptr_array_remove_index_fast(w->drop_cached, at);
}

void worker_drop_cached(MasterWorker *w, const char *key)
{
        if (w->drop_cached->len < DROP_CACHED_MAX)
                g_ptr_array_add(w->drop_cached, g_strdup(key));
}

/* What a change of the CA waits for. */
static void take_keys_report(MasterWorker *w, const Mapreduced__V1__HeartbeatRequest *request)
{
        MasterKeys *keys = w->manager->keys;

        if (keys && keys->other &&
            (w->authorities != request->authorities || w->issuer != request->issuer ||
             w->revocations != request->revocations))
                keys_look_soon(keys);
        w->authorities = request->authorities;
        w->issuer = request->issuer;
        w->revocations = request->revocations;
}

int manager_heartbeat(Manager *m, const Mapreduced__V1__HeartbeatRequest *request,
                      GHashTable *forget, GPtrArray **ret_drop_cached)
{
        MasterWorker *w = g_hash_table_lookup(m->workers, request->worker_id);

        if (!w || !w->alive || !g_str_equal(w->incarnation, request->incarnation))
                return -ENOENT;
        renew(w);
        if (!w->reachable)
                evgrpc_channel_connect(w->channel);
        w->free_bytes = request->free_bytes;
        w->load = request->load;
        take_keys_report(w, request);
        worker_clock_update(w, request);
        if (request->slots >= 1 && request->slots <= MASTER_SLOTS_MAX &&
            request->slots != w->slots) {
                w->slots = request->slots;
                apply_slots(w);
                worker_changed(w, CHANGED_NUMBERS);
        }
        for (size_t i = 0; i < request->n_jobs; i++)
                forget_if_over(m, request->jobs[i], forget);
        *ret_drop_cached = w->drop_cached;
        w->drop_cached = g_ptr_array_new_with_free_func(g_free);
        return 0;
}

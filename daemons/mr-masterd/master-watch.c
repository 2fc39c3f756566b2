/*
 * Watching map outputs — every worker that shuffles for a job is told where its maps' outputs are.
 *
 * What is sent is the present state of a map, never a log of changes: a watcher that reads slowly
 * is told once, when it reads again, whatever happened meanwhile. So it costs a set of map numbers
 * at most:
 *
 *      0 ──────────── cursor ──────────── maps
 *        told, changes     not told yet: a change
 *        are noted         there needs no note
 */
#include "mr-masterd/master-manager.h"

struct Watcher {
        MasterJob *job;
        EvgrpcServerCall *call;
        uint32_t cursor;
        GHashTable *noted; /* set of maps below the cursor whose change was not sent yet */
        bool stalled;      /* the call's queue is full; on_writable follows */
};

/* Return: whether there was anything to say about this map; *ret_more says if the call takes
 * more. */
static bool send_map(Watcher *w, uint32_t map, int *ret_more)
{
        Mapreduced__V1__MapOutputEvent event = MAPREDUCED__V1__MAP_OUTPUT_EVENT__INIT;
        const Task *task = task_table_get(w->job->table, TASK_MAP, map);
        const MasterWorker *holder;
        uint32_t attempt, worker;

        if (!task->committed)
                return false;
        event.map = map;
        event.attempt = task->done_attempt;
        holder = manager_worker(w->job->manager, task->done_worker);
        event.lost = task_table_output(w->job->table, map, &attempt, &worker) == 0 ||
                     (!w->job->stable_dir && (!holder || !holder->alive));
        if (holder) {
                event.worker_id = (char *) holder->id;
                event.address = holder->address;
        } else if (w->job->stable_dir) { /* nobody asks it */
                event.worker_id = w->job->manager->epoch;
                event.address = (char *) "unix:/nonexistent";
        }
        *ret_more = evgrpc_server_call_send(w->call, &event.base);
        return true;
}

static void send_noted(Watcher *w)
{
        GHashTableIter iter;
        gpointer map;

        g_hash_table_iter_init(&iter, w->noted);
        while (!w->stalled && g_hash_table_iter_next(&iter, &map, NULL)) {
                int more = 1;

                g_hash_table_iter_remove(&iter);
                (void) send_map(w, GPOINTER_TO_UINT(map), &more);
                w->stalled = more <= 0;
        }
}

static void watcher_go_on(Watcher *w)
{
        uint32_t attempt, worker;

        send_noted(w);
        while (!w->stalled && w->cursor < w->job->maps) {
                uint32_t map = w->cursor++;
                int more = 1;

                /* Nobody who begins to watch needs to hear of outputs that are gone. */
                if (task_table_output(w->job->table, map, &attempt, &worker) > 0)
                        (void) send_map(w, map, &more);
                w->stalled = more <= 0;
        }
}

static void on_writable(EvgrpcServerCall *call, void *userdata)
{
        Watcher *w = userdata;

        w->stalled = false;
        watcher_go_on(w);
}

Watcher *watcher_free(Watcher *w)
{
        if (!w)
                return NULL;
        g_hash_table_unref(w->noted);
        g_free(w);
        return NULL;
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        Watcher *w = userdata;

        g_ptr_array_remove_fast(w->job->watchers, w);
        watcher_free(w);
}

void job_watch(MasterJob *j, EvgrpcServerCall *call)
{
        static const EvgrpcServerCallHandlers handlers = {.on_writable = on_writable,
                                                          .on_cancelled = on_cancelled};
        Watcher *w = g_new0(Watcher, 1);

        w->job = j;
        w->call = call;
        w->noted = g_hash_table_new(NULL, NULL);
        g_ptr_array_add(j->watchers, w);
        evgrpc_server_call_set_handlers(call, &handlers, w);
        watcher_go_on(w);
}

void job_tell_watchers(MasterJob *j, uint32_t map)
{
        for (guint i = 0; i < j->watchers->len; i++) {
                Watcher *w = j->watchers->pdata[i];

                if (map >= w->cursor)
                        continue;
                g_hash_table_add(w->noted, GUINT_TO_POINTER(map));
                if (!w->stalled)
                        watcher_go_on(w);
        }
}

void job_end_watchers(MasterJob *j)
{
        for (guint i = 0; i < j->watchers->len; i++) {
                Watcher *w = j->watchers->pdata[i];

                if (!evgrpc_server_call_is_over(w->call))
                        evgrpc_server_call_finish(w->call, EVGRPC_OK, NULL);
                watcher_free(w);
        }
        g_ptr_array_set_size(j->watchers, 0);
}

/*
 * Offload — see master-offload.h.
 */
#include <sys/eventfd.h>

#include "mr-masterd/master-offload.h"

/* Of one job, or of a user's work that belongs to none. Kept while anything of it runs or waits. */
typedef struct Lane {
        uint64_t key;
        uint32_t uid;
        unsigned running;
        GQueue waiting; /* Item * */
} Lane;

typedef struct Item {
        Lane *lane;
        OffloadWork work;
        OffloadDone done;
        void *data;
} Item;

struct Offload {
        GThreadPool *pool;
        GHashTable *lanes; /* key → Lane *, owned */
        GHashTable *users; /* uid → how many of his run */
        GQueue order;      /* Lane *: those with something that waits, by turns */
        unsigned running;
        GMutex lock;
        GCond changed;
        GQueue finished;      /* Item *; under the lock */
        unsigned outstanding; /* handed to the pool and not in `finished` yet; under the lock */
        int wake_fd;
        struct event *wake;
};

static void in_thread(gpointer p, gpointer userdata)
{
        Offload *o = userdata;
        Item *item = p;
        uint64_t one = 1;

        item->work(item->data);

        g_mutex_lock(&o->lock);
        g_queue_push_tail(&o->finished, item);
        o->outstanding--;
        g_cond_signal(&o->changed);
        /* Full or not, the descriptor stays readable. Under the lock: offload_free() closes it. */
        (void) !write(o->wake_fd, &one, sizeof(one));
        g_mutex_unlock(&o->lock);
}

/* ---- Whose turn it is; all in the loop ---- */

static unsigned user_running(const Offload *o, uint32_t uid)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(o->users, GUINT_TO_POINTER(uid)));
}

static void count_running(Offload *o, Lane *lane, int difference)
{
        unsigned of_user = user_running(o, lane->uid) + (unsigned) difference;

        o->running += (unsigned) difference;
        lane->running += (unsigned) difference;
        if (of_user == 0)
                (void) g_hash_table_remove(o->users, GUINT_TO_POINTER(lane->uid));
        else
                (void) g_hash_table_insert(o->users, GUINT_TO_POINTER(lane->uid),
                                           GUINT_TO_POINTER(of_user));
}

static bool may_run(const Offload *o, const Lane *lane)
{
        return o->running < OFFLOAD_THREADS_MAX && lane->running < OFFLOAD_JOB_MAX &&
               user_running(o, lane->uid) < OFFLOAD_USER_MAX;
}

static void start_in_thread(Offload *o, Item *item)
{
        count_running(o, item->lane, 1);
        g_mutex_lock(&o->lock);
        o->outstanding++;
        g_mutex_unlock(&o->lock);
        (void) g_thread_pool_push(o->pool, item, NULL);
}

/* One of each lane that may, and again until none may: a lane that had its turn goes to the end. */
static void start_what_may(Offload *o)
{
        bool any = true;

        while (any) {
                any = false;
                for (guint n = o->order.length; n > 0; n--) {
                        Lane *lane = g_queue_pop_head(&o->order);

                        if (may_run(o, lane)) {
                                start_in_thread(o, g_queue_pop_head(&lane->waiting));
                                any = true;
                        }
                        if (lane->waiting.length > 0)
                                g_queue_push_tail(&o->order, lane);
                }
        }
}

static Lane *make_lane(Offload *o, uint64_t job, uint32_t uid)
{
        uint64_t key = job > 0 ? job : UINT64_C(1) << 63 | uid;
        Lane *lane = g_hash_table_lookup(o->lanes, &key);

        if (lane)
                return lane;
        lane = g_new0(Lane, 1);
        lane->key = key;
        lane->uid = uid;
        g_queue_init(&lane->waiting);
        g_hash_table_insert(o->lanes, &lane->key, lane);
        return lane;
}

static void leave_lane(Offload *o, Lane *lane)
{
        count_running(o, lane, -1);
        if (lane->running == 0 && lane->waiting.length == 0)
                (void) g_hash_table_remove(o->lanes, &lane->key);
}

static void abandon_waiting(Offload *o)
{
        GHashTableIter iter;
        gpointer p;

        g_hash_table_iter_init(&iter, o->lanes);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                Item *item;

                while ((item = g_queue_pop_head(&((Lane *) p)->waiting))) {
                        item->done(item->data, true);
                        g_free(item);
                }
        }
        g_queue_clear(&o->order);
}

/* ---- Results ---- */

static void finish_all(Offload *o, bool abandoned)
{
        for (;;) {
                Item *item;

                g_mutex_lock(&o->lock);
                item = g_queue_pop_head(&o->finished);
                g_mutex_unlock(&o->lock);
                if (!item)
                        return;
                leave_lane(o, item->lane);
                item->done(item->data, abandoned);
                g_free(item);
        }
}

static void on_wake(evutil_socket_t fd, short what, void *userdata)
{
        uint64_t count;

        (void) !read(fd, &count, sizeof(count));
        finish_all(userdata, false);
        start_what_may(userdata);
}

int offload_new(Loop *l, Offload **ret)
{
        Offload *o = g_new0(Offload, 1);

        g_mutex_init(&o->lock);
        g_cond_init(&o->changed);
        g_queue_init(&o->finished);
        g_queue_init(&o->order);
        o->lanes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        o->users = g_hash_table_new(NULL, NULL);
        o->pool = g_thread_pool_new(in_thread, o, OFFLOAD_THREADS_MAX, FALSE, NULL);
        o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (o->wake_fd < 0) {
                int r = -errno;

                offload_free(o);
                return r;
        }
        o->wake = event_new(loop_base(l), o->wake_fd, EV_READ | EV_PERSIST, on_wake, o);
        if (!o->wake || event_add(o->wake, NULL) < 0) {
                offload_free(o);
                return -ENOMEM;
        }
        *ret = o;
        return 0;
}

Offload *offload_free(Offload *o)
{
        gint64 until;
        bool hanging;

        if (!o)
                return NULL;
        until = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
        g_mutex_lock(&o->lock);
        while (o->outstanding > 0 && g_cond_wait_until(&o->changed, &o->lock, until))
                ;
        hanging = o->outstanding > 0;
        g_mutex_unlock(&o->lock);
        abandon_waiting(o);
        finish_all(o, true);
        if (o->wake)
                event_free(o->wake);
        if (hanging)
                return NULL; /* their threads still use it */
        g_thread_pool_free(o->pool, TRUE, TRUE);
        safe_close(o->wake_fd);
        g_hash_table_unref(o->lanes);
        g_hash_table_unref(o->users);
        g_mutex_clear(&o->lock);
        g_cond_clear(&o->changed);
        g_free(o);
        return NULL;
}

void offload_run(Offload *o, uint64_t job, uint32_t uid, OffloadWork work, OffloadDone done,
                 void *data)
{
        Lane *lane = make_lane(o, job, uid);
        Item *item = g_new(Item, 1);

        *item = (Item){.lane = lane, .work = work, .done = done, .data = data};
        g_queue_push_tail(&lane->waiting, item);
        if (lane->waiting.length == 1)
                g_queue_push_tail(&o->order, lane);
        start_what_may(o);
}

/*
 * Offload — see master-offload.h.
 */
#include <sys/eventfd.h>

#include "mr-masterd/master-offload.h"

typedef struct Item {
        OffloadWork work;
        OffloadDone done;
        void *data;
} Item;

struct Offload {
        GThreadPool *pool;
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

static void finish_all(Offload *o, bool abandoned)
{
        for (;;) {
                Item *item;

                g_mutex_lock(&o->lock);
                item = g_queue_pop_head(&o->finished);
                g_mutex_unlock(&o->lock);
                if (!item)
                        return;
                item->done(item->data, abandoned);
                g_free(item);
        }
}

static void on_wake(evutil_socket_t fd, short what, void *userdata)
{
        uint64_t count;

        (void) !read(fd, &count, sizeof(count));
        finish_all(userdata, false);
}

int offload_new(Loop *l, Offload **ret)
{
        Offload *o = g_new0(Offload, 1);

        g_mutex_init(&o->lock);
        g_cond_init(&o->changed);
        g_queue_init(&o->finished);
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
        finish_all(o, true);
        if (o->wake)
                event_free(o->wake);
        if (hanging)
                return NULL; /* their threads still use it */
        g_thread_pool_free(o->pool, TRUE, TRUE);
        safe_close(o->wake_fd);
        g_mutex_clear(&o->lock);
        g_cond_clear(&o->changed);
        g_free(o);
        return NULL;
}

void offload_run(Offload *o, OffloadWork work, OffloadDone done, void *data)
{
        Item *item = g_new(Item, 1);

        *item = (Item){.work = work, .done = done, .data = data};
        g_mutex_lock(&o->lock);
        o->outstanding++;
        g_mutex_unlock(&o->lock);
        (void) g_thread_pool_push(o->pool, item, NULL);
}

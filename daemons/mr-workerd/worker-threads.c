/*
 * Threads — see worker-threads.h.
 *
 * A lane for each job: those of its work that run are counted, the rest waits in the lane. All that
 * is the loop's; a thread has the piece of work it was given, and gives it back by a queue. An
 * eventfd wakes the loop.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "base/fs.h"
#include "mr-workerd/worker-threads.h"

#define END_WAIT_USEC (1 * USEC_PER_SEC)

typedef struct Lane {
        char *job;
        unsigned running;
        GQueue waiting; /* ThreadWork * */
} Lane;

struct ThreadWork {
        Threads *threads;
        Lane *lane; /* the loop's */
        const ThreadWorkOps *ops;
        void *data, *userdata;
        bool forgotten; /* the loop's */
};

/* What threads that hang may still hold when the worker is gone from it. */
struct Threads {
        gint refs;
        GThreadPool *pool;
        GHashTable *lanes; /* job → Lane *, owned; while it has any */
        GAsyncQueue *finished;
        int wake_fd;
        struct event *wake;
};

static void work_free(gpointer p)
{
        ThreadWork *w = p;

        w->ops->free(w->data);
        g_free(w);
}

static void lane_free(gpointer p)
{
        Lane *l = p;

        g_queue_clear_full(&l->waiting, work_free);
        g_free(l->job);
        g_free(l);
}

static void threads_unref(Threads *t)
{
        if (!g_atomic_int_dec_and_test(&t->refs))
                return;
        g_async_queue_unref(t->finished);
        safe_close(t->wake_fd);
        g_free(t);
}

static void in_thread(gpointer data, gpointer userdata)
{
        ThreadWork *w = data;
        Threads *t = w->threads;
        uint64_t one = 1;

        w->ops->work(w->data);
        g_async_queue_push(t->finished, w);
        (void) !write(t->wake_fd, &one, sizeof(one));
        threads_unref(t);
}

static void start_what_may(Threads *t, Lane *l)
{
        while (l->running < THREADS_JOB_MAX && l->waiting.length > 0) {
                l->running++;
                g_atomic_int_inc(&t->refs);
                (void) g_thread_pool_push(t->pool, g_queue_pop_head(&l->waiting), NULL);
        }
        if (l->running == 0)
                (void) g_hash_table_remove(t->lanes, l->job);
}

static void on_wake(evutil_socket_t fd, short what, void *userdata)
{
        Threads *t = userdata;
        ThreadWork *w;
        uint64_t count;

        (void) !read(t->wake_fd, &count, sizeof(count));
        while ((w = g_async_queue_try_pop(t->finished))) {
                w->lane->running--;
                start_what_may(t, w->lane);
                if (!w->forgotten && w->ops->done)
                        w->ops->done(w->data, w->userdata);
                work_free(w);
        }
}

int threads_new(Loop *l, Threads **ret)
{
        Threads *t = g_new0(Threads, 1);

        *t = (Threads){
                .refs = 1,
                .lanes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, lane_free),
                .finished = g_async_queue_new_full(work_free),
                .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                .pool = g_thread_pool_new(in_thread, NULL, THREADS_MAX, FALSE, NULL),
        };
        if (t->wake_fd >= 0)
                t->wake = event_new(loop_base(l), t->wake_fd, EV_READ | EV_PERSIST, on_wake, t);
        if (!t->pool || !t->wake || event_add(t->wake, NULL) < 0) {
                threads_free(t);
                return -ENOMEM;
        }
        *ret = t;
        return 0;
}

/* Those that hang keep a reference, and what they hold. */
static void wait_a_little(Threads *t)
{
        for (uint64_t waited = 0; waited < END_WAIT_USEC && g_atomic_int_get(&t->refs) > 1;
             waited += USEC_PER_MSEC)
                (void) poll(NULL, 0, 1);
}

Threads *threads_free(Threads *t)
{
        if (!t)
                return NULL;
        wait_a_little(t);
        if (t->wake)
                event_free(t->wake);
        if (t->pool)
                g_thread_pool_free(t->pool, FALSE, FALSE);
        g_hash_table_unref(t->lanes);
        threads_unref(t);
        return NULL;
}

ThreadWork *threads_run(Threads *t, const char *job, const ThreadWorkOps *ops, void *data,
                        void *userdata)
{
        Lane *l = g_hash_table_lookup(t->lanes, job);
        ThreadWork *w = g_new(ThreadWork, 1);

        if (!l) {
                l = g_new0(Lane, 1);
                l->job = g_strdup(job);
                g_queue_init(&l->waiting);
                (void) g_hash_table_insert(t->lanes, l->job, l);
        }
        *w = (ThreadWork){.threads = t, .lane = l, .ops = ops, .data = data, .userdata = userdata};
        g_queue_push_tail(&l->waiting, w);
        start_what_may(t, l);
        return w;
}

ThreadWork *thread_work_forget(ThreadWork *w)
{
        if (w)
                w->forgotten = true;
        return NULL;
}

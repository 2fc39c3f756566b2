/*
 * Opening inputs — see worker-open.h.
 *
 * Requests go to GLib's thread pool and come back by a queue; an eventfd wakes the loop. A request belongs to whoever
 * took it last, but for `done`, which is the loop's at all times.
 */
#include <sys/eventfd.h>

#include "base/fs.h"
#include "mr-workerd/worker-open.h"

struct OpenRequest {
        Opener *opener;
        size_t count, opened;
        Mapreduced__V1__Piece *pieces; /* with paths of their own */
        int fds[PACKET_MAX_FDS];
        int error;
        bool permanent;
        Error sentence;
        OpenDone done; /* NULL: nobody waits any more */
        void *userdata;
};

/* What threads that hang may still hold when the worker is gone from it. */
struct Opener {
        gint refs;
        GThreadPool *pool;
        GAsyncQueue *finished;
        int wake_fd;
        struct event *wake;
};

static void request_free(gpointer p)
{
        OpenRequest *r = p;

        while (r->opened > 0)
                safe_close(r->fds[--r->opened]);
        for (size_t i = 0; i < r->count; i++)
                g_free(r->pieces[i].path);
        g_free(r->pieces);
        error_done(&r->sentence);
        g_free(r);
}

static void opener_unref(Opener *o)
{
        if (!g_atomic_int_dec_and_test(&o->refs))
                return;
        g_async_queue_unref(o->finished);
        safe_close(o->wake_fd);
        g_free(o);
}

static void open_all(gpointer data, gpointer userdata)
{
        OpenRequest *r = data;
        Opener *o = r->opener;
        uint64_t one = 1;

        while (r->opened < r->count && r->error >= 0) {
                r->error = input_open_piece(&r->pieces[r->opened], &r->fds[r->opened],
                                            &r->permanent, &r->sentence);
                if (r->error >= 0)
                        r->opened++;
        }
        g_async_queue_push(o->finished, r);
        (void) !write(o->wake_fd, &one, sizeof(one));
        opener_unref(o);
}

static void on_wake(evutil_socket_t fd, short what, void *userdata)
{
        Opener *o = userdata;
        OpenRequest *r;
        uint64_t count;

        (void) !read(o->wake_fd, &count, sizeof(count));
        while ((r = g_async_queue_try_pop(o->finished))) {
                if (r->done) {
                        size_t opened = r->opened;

                        r->opened = 0; /* the callee's */
                        r->done(r->fds, opened, r->error, r->permanent,
                                r->error < 0 ? error_message(&r->sentence, r->error) : "",
                                r->userdata);
                }
                request_free(r);
        }
}

int opener_new(Loop *l, Opener **ret)
{
        Opener *o = g_new0(Opener, 1);

        *o = (Opener){.refs = 1, .finished = g_async_queue_new_full(request_free)};
        o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        o->pool = g_thread_pool_new(open_all, NULL, OPEN_THREADS_MAX, FALSE, NULL);
        if (o->wake_fd >= 0)
                o->wake = event_new(loop_base(l), o->wake_fd, EV_READ | EV_PERSIST, on_wake, o);
        if (!o->pool || !o->wake || event_add(o->wake, NULL) < 0) {
                opener_free(o);
                return -ENOMEM;
        }
        *ret = o;
        return 0;
}

Opener *opener_free(Opener *o)
{
        if (!o)
                return NULL;
        if (o->wake)
                event_free(o->wake);
        if (o->pool)
                g_thread_pool_free(o->pool, FALSE, FALSE); /* those that hang are not waited for */
        opener_unref(o);
        return NULL;
}

OpenRequest *opener_start(Opener *o, Mapreduced__V1__Piece *const *pieces, size_t count,
                          OpenDone done, void *userdata)
{
        OpenRequest *r = g_new0(OpenRequest, 1);

        assert(count <= PACKET_MAX_FDS);

        *r = (OpenRequest){
                .opener = o,
                .count = count,
                .pieces = g_new(Mapreduced__V1__Piece, MAX(count, 1)),
                .done = done,
                .userdata = userdata,
        };
        for (size_t i = 0; i < count; i++) {
                r->pieces[i] = *pieces[i];
                r->pieces[i].path = g_strdup(pieces[i]->path);
        }
        g_atomic_int_inc(&o->refs);
        (void) g_thread_pool_push(o->pool, r, NULL);
        return r;
}

OpenRequest *open_request_forget(OpenRequest *r)
{
        if (r)
                r->done = NULL;
        return NULL;
}

/*
 * The disk thread — see worker-disk.h.
 */
#include <pthread.h>
#include <signal.h>

#include "base/fs.h"
#include "mr-workerd/worker-disk.h"

typedef struct Removal {
        int dir_fd;
        char *name; /* NULL: the last one */
} Removal;

struct Disk {
        GAsyncQueue *removals; /* of Removal */
        pthread_t thread;
        bool started;
};

static void removal_free(gpointer p)
{
        Removal *r = p;

        g_free(r->name);
        g_free(r);
}

static void *removal_thread(void *userdata)
{
        Disk *d = userdata;
        bool more = true;

        while (more) {
                Removal *r = g_async_queue_pop(d->removals);

                more = r->name;
                if (more)
                        (void) rm_rf_at(r->dir_fd, r->name);
                removal_free(r);
        }
        return NULL;
}

static void push(Disk *d, int dir_fd, const char *name)
{
        Removal *r = g_new(Removal, 1);

        *r = (Removal){.dir_fd = dir_fd, .name = g_strdup(name)};
        g_async_queue_push(d->removals, r);
}

int disk_new(Disk **ret)
{
        Disk *d = g_new0(Disk, 1);
        sigset_t all, old;
        int r;

        d->removals = g_async_queue_new_full(removal_free);
        /* Signals are the loop's. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&d->thread, NULL, removal_thread, d);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        d->started = r == 0;
        if (r > 0) {
                disk_free(d);
                return -r;
        }
        *ret = d;
        return 0;
}

Disk *disk_free(Disk *d)
{
        if (!d)
                return NULL;
        if (d->started) {
                push(d, -EBADF, NULL); /* behind all that waits */
                (void) pthread_join(d->thread, NULL);
        }
        g_async_queue_unref(d->removals);
        g_free(d);
        return NULL;
}

void disk_remove(Disk *d, int dir_fd, const char *name)
{
        push(d, dir_fd, name);
}

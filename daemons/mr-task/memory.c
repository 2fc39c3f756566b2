/*
 * Memory — see memory.h.
 *
 * Hadoop's node manager watches its containers in the same way. Pages that are shared (a library's
 * text, a mapped input) are not counted, so that ten processes of one program are not charged for
 * it ten times.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>

#include "base/fs.h"
#include "mr-task/memory.h"

#define LOOK_MSEC 20
#define DEPTH_MAX 64 /* of processes below processes; deeper ones are not seen */

static uint64_t memory_of(long pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%ld/statm", pid);
        _cleanup_free_ char *text = NULL;
        uint64_t size, resident, shared;

        if (read_file(path, 4096, &text, NULL) < 0 ||
            sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
                return 0;
        return (resident - MIN(shared, resident)) * (uint64_t) sysconf(_SC_PAGESIZE);
}

static uint64_t memory_below(long pid, unsigned depth)
{
        g_autofree char *path = g_strdup_printf("/proc/%ld/task/%ld/children", pid, pid);
        _cleanup_free_ char *text = NULL;
        uint64_t sum = 0;

        if (depth > DEPTH_MAX || read_file(path, MIB(1), &text, NULL) < 0)
                return 0;
        for (char *p = text, *end; *p; p = end + strspn(end, " \n")) {
                long child = strtol(p, &end, 10);

                if (end == p)
                        break;
                sum += memory_of(child) + memory_below(child, depth + 1);
        }
        return sum;
}

uint64_t memory_of_children(void)
{
        return memory_below((long) getpid(), 0);
}

uint64_t memory_of_self(void)
{
        return memory_of((long) getpid());
}

struct MemoryWatch {
        pthread_t thread;
        GMutex lock;
        GCond changed;
        bool over;
        uint64_t limit_bytes;
        volatile uint64_t *ret_over;
};

static void *watch(void *userdata)
{
        MemoryWatch *w = userdata;

        g_mutex_lock(&w->lock);
        while (!w->over) {
                uint64_t used = memory_of_self() + memory_of_children();

                if (used > w->limit_bytes) {
                        *w->ret_over = used;
                        _exit(EXIT_FAILURE);
                }
                (void) g_cond_wait_until(&w->changed, &w->lock,
                                         g_get_monotonic_time() + LOOK_MSEC * 1000);
        }
        g_mutex_unlock(&w->lock);
        return NULL;
}

int memory_watch_new(uint64_t limit_bytes, volatile uint64_t *ret_over, MemoryWatch **ret)
{
        MemoryWatch *w = g_new0(MemoryWatch, 1);
        sigset_t all, old;
        int r;

        w->limit_bytes = limit_bytes;
        w->ret_over = ret_over;
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&w->thread, NULL, watch, w);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r > 0) {
                g_free(w);
                return -r;
        }
        *ret = w;
        return 0;
}

MemoryWatch *memory_watch_free(MemoryWatch *w)
{
        if (!w)
                return NULL;
        g_mutex_lock(&w->lock);
        w->over = true;
        g_cond_signal(&w->changed);
        g_mutex_unlock(&w->lock);
        (void) pthread_join(w->thread, NULL);
        g_mutex_clear(&w->lock);
        g_cond_clear(&w->changed);
        g_free(w);
        return NULL;
}

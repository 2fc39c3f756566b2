/*
 * Released inputs — see worker-release.h.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "mr-workerd/worker-release.h"
#include "platform/service.h"

#define PAGE_BYTES UINT64_C(4096)
/* What is smaller is not worth the calls, and of many small ones there may be very many. */
#define RELEASE_MIN_BYTES KIB(64)
/* What a release may take. Of pages that are not on the disk yet it takes a tenth of that; where
 * they are, and where blocks that become free are discarded at once, it can take a thousand times
 * as long, and is not worth it any more. */
#define RELEASE_USEC (100 * USEC_PER_MSEC)
#define RELEASE_USEC_PER_MIB (1 * USEC_PER_MSEC)

typedef struct Hole {
        uint32_t map, attempt;
        uint64_t offset,
                length; /* whole pages: the first and last bytes may share theirs with others */
} Hole;

typedef struct Release {
        int dir_fd;    /* of the job in the spool */
        GArray *holes; /* Hole */
        bool dear;
} Release;

static void release_free(void *data)
{
        Release *r = data;

        safe_close(r->dir_fd);
        g_array_unref(r->holes);
        g_free(r);
}

/* Whether it makes sense to go on: a file system may have no holes. */
static bool punch(const Release *r, const Hole *h)
{
        _cleanup_close_ int fd = -EBADF;
        char name[SPOOL_OUTPUT_NAME_SIZE];

        spool_output_name(h->map, h->attempt, name);
        fd = openat(r->dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT; /* the job is over, or this map's output was dropped */
        return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) h->offset,
                         (off_t) h->length) >= 0;
}

static void work_release(void *data)
{
        uint64_t until = (uint64_t) g_get_monotonic_time() + RELEASE_USEC;
        Release *r = data;

        for (guint i = 0; i < r->holes->len && !r->dear; i++) {
                const Hole *h = &g_array_index(r->holes, Hole, i);

                if (!punch(r, h))
                        return;
                until += h->length * RELEASE_USEC_PER_MIB / MIB(1);
                r->dear = (uint64_t) g_get_monotonic_time() > until;
        }
}

static void done_release(void *data, void *userdata)
{
        const Release *r = data;
        Manager *m = userdata;

        m->release_is_dear = m->release_is_dear || r->dear;
}

static void add_hole(GArray *holes, uint32_t map, const ShuffleSegment *s)
{
        uint64_t begin = (s->offset + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        uint64_t end = (s->offset + s->length) / PAGE_BYTES * PAGE_BYTES;
        Hole h = {.map = map, .attempt = s->attempt, .offset = begin, .length = end - begin};

        if (s->length >= RELEASE_MIN_BYTES)
                g_array_append_val(holes, h);
}

/* Another attempt of the same reduce may be reading. */
static bool is_alone(const Attempt *a)
{
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, a->manager->attempts);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Attempt *other = p;

                if (other != a && other->spec->task == a->spec->task &&
                    other->spec->kind == a->spec->kind &&
                    g_str_equal(other->spec->job_id, a->spec->job_id))
                        return false;
        }
        return true;
}

void release_inputs(const Attempt *a)
{
        static const ThreadWorkOps ops = {
                .work = work_release, .done = done_release, .free = release_free};
        Manager *m = a->manager;
        g_autoptr(GArray) holes = NULL;
        Release *release;
        int dir_fd;

        if (!service_host() || !m->conf.ephemeral || m->release_is_dear || !a->shuffle ||
            !is_alone(a))
                return;
        holes = g_array_new(FALSE, FALSE, sizeof(Hole));
        for (uint32_t map = 0; map < a->spec->maps; map++) {
                ShuffleSegment s;

                if (shuffle_segment_in_spool(a->shuffle, map, &s))
                        add_hole(holes, map, &s);
        }
        if (holes->len == 0 || spool_job_open(m->spool, a->spec->job_id, &dir_fd) < 0)
                return;
        release = g_new(Release, 1);
        *release = (Release){.dir_fd = dir_fd, .holes = g_steal_pointer(&holes)};
        (void) threads_run(m->threads, a->spec->job_id, &ops, release, m);
}

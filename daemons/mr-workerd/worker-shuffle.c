/*
 * Shuffle — see worker-shuffle.h.
 */
#include <fcntl.h>

#include "base/cause.h"
#include "mr-workerd/worker-master.h"
#include "mr-workerd/worker-peers.h"
#include "mr-workerd/worker-shuffle.h"

#define TRIES 3u
#define BACKOFF_USEC (150 * USEC_PER_MSEC) /* before the second try; twice that before the third */
/* Between tries of an output that was reported lost and not replaced. */
#define LOST_RETRY_USEC (10 * USEC_PER_SEC)

typedef enum SegmentState {
        SEGMENT_UNKNOWN, /* waits for news */
        SEGMENT_FETCHING,
        SEGMENT_RETRY, /* waits for its time */
        SEGMENT_HAVE,
} SegmentState;

typedef struct Segment {
        uint8_t state; /* SegmentState */
        uint8_t tries; /* of this attempt, failed */
        bool local;    /* HAVE: in the spool's own run file */
        bool banned;   /* `attempt` was corrupt: news of it is no news */
        uint32_t attempt;
        union {
                Fetch *fetch;      /* FETCHING */
                uint64_t offset;   /* HAVE */
                uint64_t due_usec; /* RETRY */
        };
        uint64_t length; /* HAVE */
} Segment;

struct Shuffle {
        Job *job;
        Manager *manager;
        uint32_t maps, partition, partitions;
        char *stable_dir; /* NULL: none */
        ShuffleHandlers handlers;
        void *userdata;
        Segment *segments; /* by map */
        uint32_t have;
        uint64_t have_bytes;
        int fd;            /* copies of other workers' segments */
        uint64_t fd_bytes; /* of it given away */
        JobWatchSubscription *subscription;
        LoopTimer *retry;
        GQueue retries; /* maps in RETRY, GUINT_TO_POINTER */
        bool starting;
};

static void look_at(Shuffle *s, uint32_t map);

static void segment_leave(Shuffle *s, uint32_t map)
{
        Segment *g = &s->segments[map];

        if (g->state == SEGMENT_FETCHING)
                g->fetch = fetch_cancel(g->fetch);
        if (g->state == SEGMENT_RETRY)
                (void) g_queue_remove(&s->retries, GUINT_TO_POINTER(map));
        if (g->state == SEGMENT_HAVE) {
                s->have--;
                s->have_bytes -= g->length;
        }
        g->state = SEGMENT_UNKNOWN;
}

static void segment_gained(Shuffle *s, uint32_t map, bool local, uint64_t offset, uint64_t length)
{
        Segment *g = &s->segments[map];

        g->state = SEGMENT_HAVE;
        g->local = local;
        g->banned = false;
        g->offset = offset;
        g->length = length;
        s->have++;
        s->have_bytes += length;
        if (s->starting)
                return;
        if (s->have == s->maps)
                s->handlers.on_complete(s->userdata);
        else
                s->handlers.on_progress(s->userdata);
}

/* Sets the timer to the next one's time. */
static void arm_retry(Shuffle *s)
{
        uint64_t now = loop_now_usec(s->manager->loop), due = UINT64_MAX;

        for (GList *l = s->retries.head; l; l = l->next)
                due = MIN(due, s->segments[GPOINTER_TO_UINT(l->data)].due_usec);
        if (due != UINT64_MAX)
                loop_timer_start(s->retry, due > now ? due - now : 0);
}

static void retry_after(Shuffle *s, uint32_t map, uint64_t delay_usec)
{
        Segment *g = &s->segments[map];

        assert(g->state == SEGMENT_UNKNOWN);
        g->state = SEGMENT_RETRY;
        g->due_usec = loop_now_usec(s->manager->loop) + delay_usec;
        g_queue_push_tail(&s->retries, GUINT_TO_POINTER(map));
        arm_retry(s);
}

static void on_retry(void *userdata)
{
        Shuffle *s = userdata;
        uint64_t now = loop_now_usec(s->manager->loop);
        bool complete = s->have == s->maps;

        /* Once around: what fails again goes to the end. Nothing in here ends the shuffle. */
        for (guint n = s->retries.length; n > 0; n--) {
                uint32_t map = GPOINTER_TO_UINT(g_queue_pop_head(&s->retries));
                Segment *g = &s->segments[map];

                if (g->due_usec > now) {
                        g_queue_push_tail(&s->retries, GUINT_TO_POINTER(map));
                        continue;
                }
                g->state = SEGMENT_UNKNOWN;
                s->starting = true; /* an output that is here by now is told of below */
                look_at(s, map);
                s->starting = false;
        }
        arm_retry(s);
        if (!complete && s->have == s->maps)
                s->handlers.on_complete(s->userdata);
}

static void report(Shuffle *s, uint32_t map, const char *reason, LostKind kind)
{
        MapLocation where = job_watch_location(s->job->watch, map);
        Segment *g = &s->segments[map];

        if (!where.known || where.lost || where.attempt != g->attempt)
                return; /* the master knows */
        master_link_report_lost(s->manager->master, s->job->id, map, g->attempt, where.worker_id,
                                reason, kind);
}

/* Its way to the output is closed: tell the master, and ask again later. */
static void give_up(Shuffle *s, uint32_t map, const char *reason, LostKind kind)
{
        report(s, map, reason, kind);
        s->segments[map].tries = TRIES - 1; /* from now on each failure is reported */
        retry_after(s, map, LOST_RETRY_USEC);
}

/* Nothing but another attempt's output will do; the master may have missed the first report. */
static void report_bad(Shuffle *s, uint32_t map, const char *reason)
{
        report(s, map, reason, LOST_CORRUPT);
        s->segments[map].banned = true;
        retry_after(s, map, LOST_RETRY_USEC);
}

static uint64_t on_allocate(uint64_t size_bytes, void *userdata)
{
        Shuffle *s = userdata;
        uint64_t offset = s->fd_bytes;

        s->fd_bytes += size_bytes;
        return offset;
}

/* The place in the file is not used again; its blocks are given back where the file system can. */
static void punch(Shuffle *s, uint64_t offset, uint64_t length)
{
        if (length > 0)
                (void) fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset,
                                 (off_t) length);
}

static void on_fetched(uint32_t map, FetchOutcome outcome, const char *sentence, uint64_t offset,
                       uint64_t size_bytes, void *userdata)
{
        Shuffle *s = userdata;
        Segment *g = &s->segments[map];

        g->fetch = NULL;
        g->state = SEGMENT_UNKNOWN;
        if (outcome == FETCH_DONE) {
                segment_gained(s, map, false, offset, size_bytes);
                return;
        }
        punch(s, offset, size_bytes);
        if (outcome == FETCH_NO_ROOM || outcome == FETCH_NO_DISK)
                s->handlers.on_failed(sentence, outcome == FETCH_NO_ROOM ? CAUSE_DISK_FULL : NULL,
                                      s->userdata);
        else if (outcome == FETCH_BUSY)
                retry_after(s, map, BACKOFF_USEC);
        else if (outcome == FETCH_GONE || ++g->tries >= TRIES)
                give_up(s, map, sentence, outcome == FETCH_GONE ? LOST_GONE : LOST_UNREACHABLE);
        else
                retry_after(s, map, BACKOFF_USEC << (g->tries - 1));
}

char *stable_output_path(const char *dir, uint32_t map, uint32_t attempt, bool temporary)
{
        return g_strdup_printf("%s/%smap-%05u.%u.run", dir, temporary ? "tmp-" : "", map, attempt);
}

/* In the spool, or where all see it. */
static int open_local(const Shuffle *s, uint32_t map, int *ret_fd)
{
        uint32_t attempt = s->segments[map].attempt;
        g_autofree char *path = NULL;
        int fd;

        if (!s->stable_dir)
                return spool_output_open(s->manager->spool, s->job->id, map, attempt, ret_fd);
        path = stable_output_path(s->stable_dir, map, attempt, false);
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static void take_local(Shuffle *s, uint32_t map)
{
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -EBADF;
        uint64_t offset, length;
        int r;

        r = open_local(s, map, &fd);
        if (r >= 0)
                r = index_cache_segment(s->manager->indices, fd, s->partitions, s->partition,
                                        &offset, &length, &e);
        if (r < 0)
                give_up(s, map, error_message(&e, r), LOST_GONE);
        else
                segment_gained(s, map, true, offset, length);
}

static void fetch_remote(Shuffle *s, uint32_t map, const MapLocation *where)
{
        static const FetchHandlers handlers = {.allocate = on_allocate, .done = on_fetched};
        Mapreduced__V1__ReadMapOutputRequest what = MAPREDUCED__V1__READ_MAP_OUTPUT_REQUEST__INIT;
        Segment *g = &s->segments[map];

        what.job_id = s->job->id;
        what.map = map;
        what.attempt = g->attempt;
        what.partition = s->partition;
        what.partitions = s->partitions;
        g->state = SEGMENT_FETCHING;
        g->fetch = fetch_start(s->manager->peers, where->worker_id, where->address, &what, s->fd,
                               &handlers, s);
}

/* Does what the latest news of @map asks for. */
static void look_at(Shuffle *s, uint32_t map)
{
        MapLocation where = job_watch_location(s->job->watch, map);
        Segment *g = &s->segments[map];

        if (g->state == SEGMENT_HAVE || !where.known)
                return;
        if (where.lost) {
                /* One that is being read may be read to its end; else another will come. */
                if (g->state == SEGMENT_RETRY)
                        segment_leave(s, map);
                return;
        }
        if (where.attempt == g->attempt && g->state == SEGMENT_FETCHING)
                return;
        if (where.attempt == g->attempt && g->banned) {
                segment_leave(s, map);
                report_bad(s, map, "its bytes were found to be bad before");
                return;
        }
        segment_leave(s, map);
        if (where.attempt != g->attempt) {
                g->tries = 0;
                g->banned = false;
        }
        g->attempt = where.attempt;
        if (s->stable_dir || g_str_equal(where.worker_id, spool_worker_id(s->manager->spool)))
                take_local(s, map);
        else
                fetch_remote(s, map, &where);
}

static void on_news(uint32_t map, void *userdata)
{
        Shuffle *s = userdata;

        if (map < s->maps)
                look_at(s, map);
}

int shuffle_new(Job *job, uint32_t maps, uint32_t partition, uint32_t partitions,
                const char *stable_dir, const ShuffleHandlers *handlers, void *userdata,
                Shuffle **ret)
{
        Manager *m = job->manager;
        Shuffle *s;
        int fd, r;

        if (m->segments_wanted + maps > SHUFFLE_SEGMENTS_MAX)
                return -E2BIG;
        r = spool_scratch_make(m->spool, &fd);
        if (r < 0)
                return r;
        s = g_new0(Shuffle, 1);
        *s = (Shuffle){
                .job = job,
                .manager = m,
                .maps = maps,
                .partition = partition,
                .partitions = partitions,
                .stable_dir = *stable_dir ? g_strdup(stable_dir) : NULL,
                .handlers = *handlers,
                .userdata = userdata,
                .segments = g_new0(Segment, MAX(maps, 1)),
                .fd = fd,
        };
        m->segments_wanted += maps;
        g_queue_init(&s->retries);
        r = loop_timer_new(m->loop, on_retry, s, &s->retry);
        if (r < 0) {
                shuffle_free(s);
                return r;
        }
        s->starting = true;
        s->subscription = job_watch_subscribe(job->watch, maps, on_news, s);
        for (uint32_t map = 0; map < maps; map++)
                look_at(s, map);
        s->starting = false;
        *ret = s;
        return 0;
}

Shuffle *shuffle_free(Shuffle *s)
{
        if (!s)
                return NULL;
        job_watch_unsubscribe(s->subscription);
        for (uint32_t map = 0; map < s->maps; map++)
                segment_leave(s, map);
        g_queue_clear(&s->retries);
        s->manager->segments_wanted -= s->maps;
        loop_timer_free(s->retry);
        safe_close(s->fd);
        g_free(s->stable_dir);
        g_free(s->segments);
        g_free(s);
        return NULL;
}

bool shuffle_is_complete(const Shuffle *s)
{
        return s->have == s->maps;
}

uint32_t shuffle_have(const Shuffle *s)
{
        return s->have;
}

uint64_t shuffle_have_bytes(const Shuffle *s)
{
        return s->have_bytes;
}

int shuffle_segment_open(const Shuffle *s, uint32_t map, ShuffleSegment *ret)
{
        const Segment *g = &s->segments[map];
        int fd, r;

        assert(g->state == SEGMENT_HAVE);

        *ret = (ShuffleSegment){.fd = -EBADF, .attempt = g->attempt};
        if (g->local)
                r = open_local(s, map, &fd);
        else {
                fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
                r = fd < 0 ? -errno : 0;
        }
        if (r < 0)
                return r;
        ret->fd = fd;
        ret->offset = g->offset;
        ret->length = g->length;
        return 0;
}

bool shuffle_segment_in_spool(const Shuffle *s, uint32_t map, ShuffleSegment *ret)
{
        const Segment *g = &s->segments[map];

        *ret = (ShuffleSegment){
                .fd = -EBADF, .attempt = g->attempt, .offset = g->offset, .length = g->length};
        return g->state == SEGMENT_HAVE && g->local && !s->stable_dir;
}

void shuffle_drop(Shuffle *s, uint32_t map, uint32_t attempt, const char *reason, bool corrupt)
{
        Segment *g;

        if (map >= s->maps)
                return;
        g = &s->segments[map];
        if (g->state != SEGMENT_HAVE || g->attempt != attempt)
                return;
        if (!g->local)
                punch(s, g->offset, g->length);
        segment_leave(s, map);

        if (job_watch_location(s->job->watch, map).attempt != attempt) {
                s->starting = true; /* the replacement is known already */
                look_at(s, map);
                s->starting = false;
        } else if (corrupt)
                report_bad(s, map, reason);
        else
                give_up(s, map, reason, LOST_GONE);
}

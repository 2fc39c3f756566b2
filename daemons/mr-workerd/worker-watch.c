/*
 * Where the map outputs are — see worker-job.h.
 *
 * One WatchMapOutputs call serves all reduce attempts of the job here. It is open as long as
 * anybody is subscribed, and opened again when it breaks: the master then tells everything anew, so
 * nothing is missed in between.
 */
#include "base/text.h"
#include "mr-workerd/worker-job.h"
#include "mr-workerd/worker-master.h"

#define BACKOFF_MIN_USEC (100 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (5 * USEC_PER_SEC)
/* Workers of one cluster, each id and address kept once. */
#define STRINGS_MAX 65536u

struct JobWatchSubscription {
        JobWatch *watch;
        JobWatchNews news;
        void *userdata;
        GList link;
};

struct JobWatch {
        Job *job;
        GArray *locations;   /* of MapLocation, by map */
        GHashTable *strings; /* ids and addresses that locations point to */
        GQueue subscriptions;
        EvgrpcCall *call;
        LoopTimer *retry;
        uint64_t backoff_usec;
        bool telling; /* handlers are being called: the list must not be walked twice */
};

static void open_call(JobWatch *w);

static void on_retry(void *userdata)
{
        JobWatch *w = userdata;

        if (!w->call && w->subscriptions.head)
                open_call(w);
}

JobWatch *job_watch_new(Job *job)
{
        JobWatch *w = g_new0(JobWatch, 1);

        *w = (JobWatch){
                .job = job,
                .locations = g_array_new(false, true, sizeof(MapLocation)),
                .strings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .backoff_usec = BACKOFF_MIN_USEC,
        };
        g_queue_init(&w->subscriptions);
        if (loop_timer_new(job->manager->loop, on_retry, w, &w->retry) < 0)
                g_error("Out of memory"); /* as GLib itself would */
        return w;
}

static void watch_destroy(JobWatch *w)
{
        evgrpc_call_unref(w->call);
        g_array_unref(w->locations);
        g_hash_table_unref(w->strings);
        loop_timer_free(w->retry);
        g_free(w);
}

JobWatch *job_watch_free(JobWatch *w)
{
        assert(!w->subscriptions.head);

        w->job = NULL;
        if (w->call)
                evgrpc_call_cancel(w->call); /* the rest happens when the call is over */
        else
                watch_destroy(w);
        return NULL;
}

static const char *keep(JobWatch *w, const char *s)
{
        char *kept = NULL;

        if (g_hash_table_lookup_extended(w->strings, s, (gpointer *) &kept, NULL))
                return kept;
        if (g_hash_table_size(w->strings) >= STRINGS_MAX)
                return NULL;
        kept = g_strdup(s);
        g_hash_table_add(w->strings, kept);
        return kept;
}

static bool take_event(JobWatch *w, const Mapreduced__V1__MapOutputEvent *e)
{
        MapLocation *l;

        if (e->map >= w->locations->len)
                return false;
        l = &g_array_index(w->locations, MapLocation, e->map);
        if (e->lost) {
                if (!l->known || l->attempt != e->attempt)
                        return false; /* an older one; what we know is newer */
                l->lost = true;
                return true;
        }
        if (!id128_is_valid(e->worker_id) || strlen(e->address) > 280)
                return false;
        *l = (MapLocation){
                .attempt = e->attempt,
                .worker_id = keep(w, e->worker_id),
                .address = keep(w, e->address),
        };
        l->known = l->worker_id && l->address;
        return l->known;
}

static void on_event(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__MapOutputEvent *e = (const Mapreduced__V1__MapOutputEvent *) message;
        JobWatch *w = userdata;
        GList *next;

        if (!w->job || !take_event(w, e))
                return;
        w->backoff_usec = BACKOFF_MIN_USEC;
        for (GList *l = w->subscriptions.head; l; l = next) {
                JobWatchSubscription *s = l->data;

                next = l->next; /* a handler may end its own subscription, and no other's */
                s->news(e->map, s->userdata);
        }
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        JobWatch *w = userdata;

        if (!w->job) {
                watch_destroy(w);
                return;
        }
        w->call = evgrpc_call_unref(w->call);
        if (!w->subscriptions.head)
                return;
        log_debug("The watch of job %s ended, opening it again: %s %s", w->job->id,
                  evgrpc_code_to_string(status->code), status->message);
        loop_timer_start(w->retry, w->backoff_usec);
        w->backoff_usec = MIN(w->backoff_usec * 2, BACKOFF_MAX_USEC);
}

static void open_call(JobWatch *w)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_event, .on_done = on_done};
        Mapreduced__V1__WatchMapOutputsRequest request =
                MAPREDUCED__V1__WATCH_MAP_OUTPUTS_REQUEST__INIT;
        EvgrpcChannel *channel = master_link_channel(w->job->manager->master);
        int r = -ENOTCONN;

        request.job_id = w->job->id;
        if (channel)
                r = evgrpc_call_start(channel, &mapreduced__v1__master__descriptor,
                                      "WatchMapOutputs", &request.base, NULL, &handlers, w,
                                      &w->call);
        if (r < 0) {
                log_debug_errno(r, "Failed to watch job %s, trying again: %m", w->job->id);
                loop_timer_start(w->retry, w->backoff_usec);
        }
}

JobWatchSubscription *job_watch_subscribe(JobWatch *w, uint32_t maps, JobWatchNews news,
                                          void *userdata)
{
        JobWatchSubscription *s = g_new0(JobWatchSubscription, 1);

        *s = (JobWatchSubscription){.watch = w, .news = news, .userdata = userdata};
        s->link.data = s;
        g_queue_push_tail_link(&w->subscriptions, &s->link);
        if (w->locations->len < maps)
                g_array_set_size(w->locations, maps);
        if (!w->call && maps > 0)
                open_call(w);
        return s;
}

JobWatchSubscription *job_watch_unsubscribe(JobWatchSubscription *s)
{
        JobWatch *w;

        if (!s)
                return NULL;
        w = s->watch;
        g_queue_unlink(&w->subscriptions, &s->link);
        g_free(s);
        if (w->subscriptions.head)
                return NULL;
        /* Nobody listens: what we know grows old. The next one hears it all again. */
        if (w->call)
                evgrpc_call_cancel(w->call);
        loop_timer_stop(w->retry);
        g_array_set_size(w->locations, 0);
        return NULL;
}

MapLocation job_watch_location(const JobWatch *w, uint32_t map)
{
        return map < w->locations->len ? g_array_index(w->locations, MapLocation, map)
                                       : (MapLocation){};
}

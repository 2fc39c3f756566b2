/*
 * Peers — see worker-peers.h.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-peers.h"

#define WINDOW_BYTES MIB(16)
/* A connection that nobody needs any more is closed at the second look. */
#define IDLE_LOOK_USEC (30 * USEC_PER_SEC)
/* A peer that sends nothing for so long answers no ping either. */
#define KEEPALIVE_USEC (10 * USEC_PER_SEC)

typedef struct Peer {
        Peers *peers;
        char *key; /* in the table: id and address */
        char *address;
        EvgrpcChannel *channel; /* NULL: refused, see error */
        char *error;
        GQueue waiting; /* of Fetch */
        uint32_t active;
        bool idle_before;
} Peer;

struct Peers {
        Manager *manager;
        GHashTable *peers; /* key -> Peer */
        GQueue turns;      /* of Peer that have waiting fetches, next one first */
        uint32_t active;
        struct event *dispatch;
        LoopTimer *look;
};

struct Fetch {
        Peer *peer;
        char *job_id;
        Mapreduced__V1__ReadMapOutputRequest what;
        int fd;
        FetchHandlers handlers;
        void *userdata;
        GList link; /* in the peer's queue */
        bool queued;
        EvgrpcCall *call;
        bool cancelled;
        bool sized; /* the first message has come */
        uint64_t offset, size_bytes, got_bytes;
        FetchOutcome outcome; /* our own verdict, when sentence is set */
        char *sentence;
};

static void peer_free(gpointer data)
{
        Peer *p = data;

        evgrpc_channel_free(p->channel);
        g_free(p->key);
        g_free(p->address);
        g_free(p->error);
        g_free(p);
}

static Peer *get_peer(Peers *peers, const char *worker_id, const char *address)
{
        g_autofree char *key = g_strconcat(worker_id, " ", address, NULL);
        Peer *p = g_hash_table_lookup(peers->peers, key);
        const Manager *m = peers->manager;
        char name[PKI_NAME_SIZE];
        EvgrpcChannelOptions options = {
                .max_message_bytes = MIB(4),
                .window_bytes = WINDOW_BYTES,
                .keepalive_usec = KEEPALIVE_USEC,
                .keepalive_timeout_usec = KEEPALIVE_USEC,
                .backoff_max_usec = 1 * USEC_PER_SEC,
        };
        _cleanup_error_ Error e = {};
        int r;

        if (p)
                return p;
        p = g_new0(Peer, 1);
        *p = (Peer){.peers = peers, .key = TAKE_PTR(key), .address = g_strdup(address)};
        g_queue_init(&p->waiting);
        r = worker_conf_check_address("the address of a map output", address,
                                      m->conf.insecure_plain_tcp, &e);
        if (r >= 0 && keys_needed(m, address)) {
                pki_worker_name(worker_id, name);
                options.tls = keys_tls(m->keys);
                options.tls_server_name = name;
                if (!options.tls)
                        r = error_setf(&e, EPERM,
                                       "%s is reached by TLS, and this worker is in no "
                                       "cluster",
                                       address);
        }
        if (r >= 0)
                r = evgrpc_channel_new(loop_base(m->loop), address, &options, &p->channel);
        if (r < 0)
                p->error = g_strdup(error_message(&e, r));
        g_hash_table_insert(peers->peers, p->key, p);
        loop_timer_start(peers->look, IDLE_LOOK_USEC);
        return p;
}

static gboolean drop_if_idle(gpointer key, gpointer value, gpointer userdata)
{
        Peer *p = value;
        bool idle = p->active == 0 && !p->waiting.head;

        if (!idle || !p->idle_before) {
                p->idle_before = idle;
                return false;
        }
        (void) g_queue_remove(&p->peers->turns, p);
        return true;
}

static void on_look(void *userdata)
{
        Peers *peers = userdata;

        (void) g_hash_table_foreach_remove(peers->peers, drop_if_idle, NULL);
        if (g_hash_table_size(peers->peers) > 0)
                loop_timer_start(peers->look, IDLE_LOOK_USEC);
}

static void schedule(Peers *peers)
{
        event_active(peers->dispatch, EV_TIMEOUT, 1);
}

static void fetch_free(Fetch *f)
{
        evgrpc_call_unref(f->call);
        g_free(f->job_id);
        g_free(f->sentence);
        g_free(f);
}

static void _printf_(3, 4) give_up(Fetch *f, FetchOutcome outcome, const char *format, ...)
{
        va_list ap;

        if (f->sentence)
                return;
        va_start(ap, format);
        f->sentence = g_strdup_vprintf(format, ap);
        va_end(ap);
        f->outcome = outcome;
        if (f->call)
                evgrpc_call_cancel(f->call);
}

static int pwrite_full(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
        while (size > 0) {
                ssize_t n = pwrite(fd, data, size, (off_t) offset);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                data += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

static void on_chunk(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__Chunk *c = (const Mapreduced__V1__Chunk *) message;
        Fetch *f = userdata;
        int r;

        if (f->cancelled || f->sentence)
                return;
        if (!f->sized) {
                f->sized = true;
                f->size_bytes = c->total_bytes;
                if (f->size_bytes > (uint64_t) INT64_MAX / 4) {
                        give_up(f, FETCH_FAILED, "%s announced a segment of %" PRIu64 " bytes",
                                f->peer->address, f->size_bytes);
                        return;
                }
                f->offset = f->handlers.allocate(f->size_bytes, f->userdata);
        }
        if (c->data.len > f->size_bytes - f->got_bytes) {
                give_up(f, FETCH_FAILED, "%s sent more than the %" PRIu64 " bytes it announced",
                        f->peer->address, f->size_bytes);
                return;
        }
        r = pwrite_full(f->fd, c->data.data, c->data.len, f->offset + f->got_bytes);
        if (r < 0)
                give_up(f, r == -ENOSPC || r == -EDQUOT ? FETCH_NO_ROOM : FETCH_NO_DISK,
                        "cannot write to the spool: %s", g_strerror(-r));
        f->got_bytes += c->data.len;
}

static FetchOutcome outcome_of(EvgrpcCode code)
{
        switch (code) {
        case EVGRPC_NOT_FOUND:
        case EVGRPC_DATA_LOSS:
                return FETCH_GONE;
        case EVGRPC_RESOURCE_EXHAUSTED:
                return FETCH_BUSY;
        default:
                return FETCH_FAILED;
        }
}

static void judge(Fetch *f, const EvgrpcStatus *status)
{
        if (f->sentence)
                return;
        if (status->code != EVGRPC_OK)
                give_up(f, outcome_of(status->code), "%s: %s: %s", f->peer->address,
                        evgrpc_code_to_string(status->code), status->message);
        else if (!f->sized || f->got_bytes != f->size_bytes)
                give_up(f, FETCH_FAILED, "%s ended after %" PRIu64 " of %" PRIu64 " bytes",
                        f->peer->address, f->got_bytes, f->size_bytes);
}

static void finish(Fetch *f)
{
        if (!f->cancelled)
                f->handlers.done(f->what.map, f->sentence ? f->outcome : FETCH_DONE,
                                 f->sentence ? f->sentence : "", f->offset, f->size_bytes,
                                 f->userdata);
        fetch_free(f);
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Fetch *f = userdata;
        Peer *p = f->peer;

        p->active--;
        p->peers->active--;
        schedule(p->peers);
        judge(f, status);
        finish(f);
}

static void begin(Fetch *f)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_chunk, .on_done = on_done};
        Peer *p = f->peer;
        int r = -EPERM;

        if (p->channel)
                r = evgrpc_call_start(p->channel, &mapreduced__v1__worker__descriptor,
                                      "ReadMapOutput", &f->what.base, NULL, &handlers, f, &f->call);
        if (r < 0) {
                give_up(f, FETCH_FAILED, "%s", p->error ? p->error : g_strerror(-r));
                finish(f);
                return;
        }
        p->active++;
        p->peers->active++;
}

/* The next peer in turn that may begin one more; NULL when none may. */
static Peer *next_peer(Peers *peers)
{
        for (guint i = g_queue_get_length(&peers->turns); i > 0; i--) {
                Peer *p = g_queue_pop_head(&peers->turns);

                if (!p->waiting.head)
                        continue; /* its fetches were cancelled; it comes back with the next one */
                g_queue_push_tail(&peers->turns, p);
                if (p->active < PEER_FETCHES_MAX)
                        return p;
        }
        return NULL;
}

static void on_dispatch(evutil_socket_t fd, short what, void *userdata)
{
        Peers *peers = userdata;
        Peer *p;

        while (peers->active < PEERS_FETCHES_MAX && (p = next_peer(peers))) {
                Fetch *f = p->waiting.head->data;

                g_queue_unlink(&p->waiting, &f->link);
                f->queued = false;
                begin(f);
        }
}

int peers_new(Manager *m, Peers **ret)
{
        Peers *p = g_new0(Peers, 1);
        int r;

        *p = (Peers){
                .manager = m,
                .peers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, peer_free),
        };
        g_queue_init(&p->turns);
        p->dispatch = event_new(loop_base(m->loop), -1, 0, on_dispatch, p);
        r = p->dispatch ? loop_timer_new(m->loop, on_look, p, &p->look) : -ENOMEM;
        if (r < 0) {
                peers_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

Peers *peers_free(Peers *p)
{
        if (!p)
                return NULL;
        g_hash_table_unref(p->peers); /* channels end their cancelled calls in here */
        g_queue_clear(&p->turns);
        loop_timer_free(p->look);
        if (p->dispatch)
                event_free(p->dispatch);
        g_free(p);
        return NULL;
}

size_t peers_recheck(Peers *p)
{
        GHashTableIter it;
        gpointer peer;
        size_t ended = 0;

        g_hash_table_iter_init(&it, p->peers);
        while (g_hash_table_iter_next(&it, NULL, &peer))
                if (((Peer *) peer)->channel)
                        ended += evgrpc_channel_recheck(((Peer *) peer)->channel);
        return ended;
}

void peers_renew(Peers *p)
{
        GHashTableIter it;
        gpointer peer;

        g_hash_table_iter_init(&it, p->peers);
        while (g_hash_table_iter_next(&it, NULL, &peer))
                if (((Peer *) peer)->channel)
                        evgrpc_channel_renew(((Peer *) peer)->channel);
}

Fetch *fetch_start(Peers *peers, const char *worker_id, const char *address,
                   const Mapreduced__V1__ReadMapOutputRequest *what, int fd,
                   const FetchHandlers *handlers, void *userdata)
{
        Peer *p = get_peer(peers, worker_id, address);
        Fetch *f = g_new0(Fetch, 1);

        *f = (Fetch){
                .peer = p,
                .job_id = g_strdup(what->job_id),
                .what = *what,
                .fd = fd,
                .handlers = *handlers,
                .userdata = userdata,
                .queued = true,
        };
        f->what.job_id = f->job_id;
        f->link.data = f;
        if (!p->waiting.head && !g_queue_find(&peers->turns, p))
                g_queue_push_tail(&peers->turns, p);
        g_queue_push_tail_link(&p->waiting, &f->link);
        schedule(peers);
        return f;
}

Fetch *fetch_cancel(Fetch *f)
{
        if (!f)
                return NULL;
        f->cancelled = true;
        if (f->queued) {
                g_queue_unlink(&f->peer->waiting, &f->link);
                fetch_free(f);
        } else
                evgrpc_call_cancel(f->call); /* it is freed when the call is over */
        return NULL;
}

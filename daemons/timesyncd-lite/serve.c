/*
 * Serving — see serve.h.
 */
#include <sys/random.h>

#include "platform/log.h"
#include "timesyncd-lite/rate.h"
#include "timesyncd-lite/serve.h"

#define MESSAGE_MAX_BYTES KIB(4) /* a question is 20 bytes */
#define CONNECTIONS_MAX 4096
#define STREAMS_MAX 4U
#define HEADER_MAX_BYTES KIB(4)
#define WINDOW_BYTES KIB(64)
/* A client that polls less often makes a new connection. */
#define IDLE_USEC (20 * 60 * USEC_PER_SEC)
#define KEEPALIVE_USEC (60 * USEC_PER_SEC)
/* One log line at most in this time says that clients are refused. */
#define COMPLAIN_USEC (60 * USEC_PER_SEC)

struct Serve {
        Loop *loop;
        Clock *clock;
        uint64_t own_id;
        ServeClaimFn claim;
        void *userdata;
        EvgrpcServer *server;
        RateLimiter *rate;
        GPtrArray *addresses;
        ServeCounters counters;
        uint64_t complained_usec;
};

static void complain(Serve *s, const char *what, const char *peer)
{
        uint64_t now_usec = loop_now_usec(s->loop);

        if (s->complained_usec != 0 && now_usec < s->complained_usec + COMPLAIN_USEC)
                return;
        s->complained_usec = now_usec;
        log_notice("%s: %s", peer, what);
}

/* Whether it is to be answered; else it was. */
static bool admit(Serve *s, EvgrpcServerCall *call,
                  const Mapreduced__Time__V1__SyncTimeRequest *request)
{
        const char *peer = evgrpc_server_call_peer(call);

        if (!rate_allows(s->rate, peer, loop_now_usec(s->loop))) {
                s->counters.limited++;
                complain(s, "asks more often than RateLimit= allows, refused", peer);
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED,
                                          "you ask too often, slow down");
                return false;
        }
        if (request->client_id == s->own_id) {
                s->counters.refused++;
                complain(s, "is this very clock, refused: a clock cannot follow itself", peer);
                evgrpc_server_call_finish(call, EVGRPC_FAILED_PRECONDITION,
                                          "loop: you and this server are one clock");
                return false;
        }
        return true;
}

/* The kernel tells when a reply left, by its own clock; so the note holds how far ours was ahead of
 * that. */
static void tell_previous(Serve *s, const EvgrpcServerCall *call,
                          Mapreduced__Time__V1__SyncTimeReply *reply)
{
        int64_t note[2], sent_ns = evgrpc_server_call_noted_reply(call, note);

        if (sent_ns == 0)
                return;
        reply->previous_t1_ns = note[0];
        reply->previous_t3_ns = sent_ns + note[1];
}

static void method_sync_time(EvgrpcServerCall *call, const ProtobufCMessage *message,
                             void *userdata)
{
        const Mapreduced__Time__V1__SyncTimeRequest *request =
                (const Mapreduced__Time__V1__SyncTimeRequest *) message;
        Mapreduced__Time__V1__SyncTimeReply reply = MAPREDUCED__TIME__V1__SYNC_TIME_REPLY__INIT;
        ClockPath references = {};
        Serve *s = userdata;
        TimeClaim claim;
        bool from_kernel;

        if (!admit(s, call, request))
                return;
        s->claim(s->userdata, &claim, &references);
        wire_fill_reply(&claim, s->own_id, &references, &reply);
        reply.t1_ns = request->t1_ns;
        reply.t2_ns = clock_from_realtime(
                s->clock, evgrpc_server_call_message_received_ns(call, &from_kernel));
        reply.t2_from_kernel = from_kernel;
        s->counters.answered++;
        tell_previous(s, call, &reply);
        reply.t3_follows = evgrpc_server_call_note_reply(
                call, (const int64_t[]){request->t1_ns, clock_ahead_ns(s->clock)});
        reply.t3_ns = clock_real_ns(s->clock);
        evgrpc_server_call_reply(call, &reply.base);
}

static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        Serve *s = userdata;

        s->counters.refused++;
        log_debug("%s: %s", peer, error);
        complain(s, error, peer);
}

static int start(Serve *s, const TimeConf *conf, EvgrpcTls *tls, Error *e)
{
        static const EvgrpcMethod methods[] = {
                {.name = "SyncTime", .handler = method_sync_time},
                {},
        };
        const EvgrpcServerOptions options = {
                .max_message_bytes = MESSAGE_MAX_BYTES,
                .max_connections = CONNECTIONS_MAX,
                .max_streams = STREAMS_MAX,
                .max_header_bytes = HEADER_MAX_BYTES,
                .window_bytes = WINDOW_BYTES,
                .idle_usec = IDLE_USEC,
                .keepalive_usec = KEEPALIVE_USEC,
                .tls = tls,
                .receive_timestamps = true,
                .send_timestamps = true,
                .on_error = on_error,
                .userdata = s,
        };
        int r;

        r = evgrpc_server_new(loop_base(s->loop), &options, &s->server);
        if (r >= 0)
                r = evgrpc_server_add_service(s->server, &mapreduced__time__v1__time__descriptor,
                                              methods, s);
        if (r < 0)
                return error_setf(e, r, "cannot make the RPC server: %s", error_text(r));

        for (guint i = 0; i < conf->listen->len; i++) {
                _cleanup_free_ char *bound = NULL;
                const char *address = conf->listen->pdata[i];

                r = evgrpc_server_listen(s->server, address, &bound);
                if (r < 0)
                        return error_setf(e, r, "cannot listen on %s: %s", address, error_text(r));
                log_info("Telling the time on %s", bound);
                g_ptr_array_add(s->addresses, g_strdup(bound));
        }
        return 0;
}

int serve_new(Loop *l, const TimeConf *conf, Clock *clock, uint64_t own_id, EvgrpcTls *tls,
              ServeClaimFn claim, void *userdata, Serve **ret, Error *e)
{
        Serve *s = g_new0(Serve, 1);
        uint64_t seed = 0;
        int r;

        (void) !getrandom(&seed, sizeof(seed), 0);
        *s = (Serve){
                .loop = l,
                .clock = clock,
                .own_id = own_id,
                .claim = claim,
                .userdata = userdata,
                .rate = rate_new(conf->rate_per_second, seed),
                .addresses = g_ptr_array_new_with_free_func(g_free),
        };
        r = start(s, conf, tls, e);
        if (r < 0) {
                serve_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

Serve *serve_free(Serve *s)
{
        if (!s)
                return NULL;
        evgrpc_server_free(s->server);
        rate_free(s->rate);
        g_ptr_array_unref(s->addresses);
        g_free(s);
        return NULL;
}

const ServeCounters *serve_counters(const Serve *s)
{
        return &s->counters;
}

const GPtrArray *serve_addresses(const Serve *s)
{
        return s->addresses;
}

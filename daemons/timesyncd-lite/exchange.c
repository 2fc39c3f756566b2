/*
 * Exchange — see exchange.h.
 */
#include "timesyncd-lite/exchange.h"

#define CONNECT_TIMEOUT_USEC (5 * USEC_PER_SEC)
/* Longer than any round trip on Earth, by satellite too. */
#define REPLY_TIMEOUT_USEC (2 * USEC_PER_SEC)
#define REPLY_MAX_BYTES KIB(4)

typedef enum ExchangeState {
        EXCHANGE_IDLE,
        EXCHANGE_CONNECTING,
        EXCHANGE_ASKING,
        EXCHANGE_FOLLOWING_UP, /* the answer is there, its T3 may become better */
        EXCHANGE_FAILED,       /* the loop will say so, outside of the channel's handlers */
} ExchangeState;

struct Exchange {
        Loop *loop;
        Clock *clock;
        char *address;
        uint64_t own_id;
        EvgrpcTls *tls;
        char *server_name;
        ExchangeFn fn;
        void *userdata;
        EvgrpcChannel *channel; /* NULL before the first exchange and after a failure */
        EvgrpcCall *call;
        LoopTimer *timer;
        ExchangeState state;
        bool freeing;
        bool doubtful; /* the connection may be half open */
        ExchangeResult result;
        int64_t sent_ns; /* T1 of it by the kernel; 0: untold */
        int64_t t1_ns;
        char *error;
};

static void fail(Exchange *x, const char *why)
{
        if (x->freeing || x->state == EXCHANGE_IDLE || x->state == EXCHANGE_FAILED)
                return;
        g_free(x->error);
        x->error = g_strdup(why);
        x->state = EXCHANGE_FAILED;
        loop_timer_start(x->timer, 0);
}

static void hang_up(Exchange *x)
{
        bool was_freeing = x->freeing;

        x->freeing = true; /* the handlers that run meanwhile have nothing to say */
        x->channel = evgrpc_channel_free(x->channel);
        x->doubtful = false;
        x->call = evgrpc_call_unref(x->call);
        x->freeing = was_freeing;
}

static void on_timer(void *userdata)
{
        Exchange *x = userdata;
        g_autofree char *error = NULL;

        if (x->state == EXCHANGE_CONNECTING)
                error = g_strdup("no connection within 5s");
        else if (x->state == EXCHANGE_FAILED)
                error = TAKE_PTR(x->error);
        else
                return;
        hang_up(x);
        x->state = EXCHANGE_IDLE;
        x->fn(&(ExchangeResult){.error = error}, x->userdata);
}

static void succeed(Exchange *x)
{
        ExchangeResult result = x->result;

        x->call = evgrpc_call_unref(x->call);
        x->state = EXCHANGE_IDLE;
        if (x->sent_ns != 0)
                result.reply.t[0] = x->sent_ns;
        result.t1_from_kernel = x->sent_ns != 0;
        x->fn(&result, x->userdata);
}

/* T1 by the kernel, if it can be that of the question: not before ours, not after the answer. */
static int64_t sent_ns(const Exchange *x, const EvgrpcCall *call)
{
        const int64_t *t = x->result.reply.t;
        int64_t ns = evgrpc_call_sent_ns(call);

        if (ns == 0)
                return 0;
        ns = clock_from_realtime(x->clock, ns);
        return ns >= t[0] - WIRE_READING_NS && ns <= t[3] ? ns : 0;
}

static void on_follow_up(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Exchange *x = userdata;

        if (x->freeing)
                return;
        /* The answer stands, whatever became of this. */
        if (status->code == EVGRPC_OK)
                (void) wire_take_follow_up(
                        (const Mapreduced__Time__V1__SyncTimeReply *) evgrpc_call_reply(call),
                        &x->result.reply);
        x->doubtful = status->code == EVGRPC_DEADLINE_EXCEEDED;
        succeed(x);
}

static int ask(Exchange *x, void (*done)(EvgrpcCall *, const EvgrpcStatus *, void *))
{
        const EvgrpcCallHandlers handlers = {.on_done = done};
        const EvgrpcCallOptions options = {.timeout_usec = REPLY_TIMEOUT_USEC};
        Mapreduced__Time__V1__SyncTimeRequest request =
                MAPREDUCED__TIME__V1__SYNC_TIME_REQUEST__INIT;

        request.client_id = x->own_id;
        request.t1_ns = x->t1_ns = clock_real_ns(x->clock);
        return evgrpc_call_start(x->channel, &mapreduced__time__v1__time__descriptor, "SyncTime",
                                 &request.base, &options, &handlers, x, &x->call);
}

static void follow_up(Exchange *x)
{
        x->call = evgrpc_call_unref(x->call);
        x->state = EXCHANGE_FOLLOWING_UP;
        if (ask(x, on_follow_up) < 0)
                succeed(x);
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__Time__V1__SyncTimeReply *reply;
        Exchange *x = userdata;

        if (x->freeing)
                return;
        if (status->code == EVGRPC_DEADLINE_EXCEEDED) {
                fail(x, "no answer within 2s, the connection is given up");
                return;
        }
        if (status->code != EVGRPC_OK) {
                fail(x, *status->message ? status->message : evgrpc_code_to_string(status->code));
                return;
        }
        reply = (const Mapreduced__Time__V1__SyncTimeReply *) evgrpc_call_reply(call);
        x->result = (ExchangeResult){};
        if (wire_read_reply(reply, x->t1_ns, x->own_id, &x->result.reply) < 0) {
                fail(x, "the answer does not belong to the question");
                return;
        }
        x->result.reply.t[3] = clock_from_realtime(
                x->clock, evgrpc_call_message_received_ns(call, &x->result.t4_from_kernel));
        x->sent_ns = sent_ns(x, call);
        if (x->result.reply.t3_follows)
                follow_up(x);
        else
                succeed(x);
}

static void begin(Exchange *x)
{
        int r;

        x->state = EXCHANGE_ASKING;
        r = ask(x, on_done);
        if (r < 0)
                fail(x, g_strerror(-r));
}

static void on_state(EvgrpcChannel *channel, bool connected, const char *error, void *userdata)
{
        Exchange *x = userdata;

        if (x->freeing || x->state == EXCHANGE_FOLLOWING_UP) /* then the call says it */
                return;
        if (!connected)
                fail(x, error ? error : "the connection is lost");
        else if (x->state == EXCHANGE_CONNECTING) {
                loop_timer_stop(x->timer);
                begin(x);
        }
}

static int dial(Exchange *x)
{
        const EvgrpcChannelOptions options = {
                .max_message_bytes = REPLY_MAX_BYTES,
                .connect_timeout_usec = CONNECT_TIMEOUT_USEC,
                .tls = x->tls,
                .tls_server_name = x->server_name,
                .receive_timestamps = true,
                .send_timestamps = true,
                .on_state = on_state,
                .userdata = x,
        };
        int r;

        r = evgrpc_channel_new(loop_base(x->loop), x->address, &options, &x->channel);
        if (r < 0)
                return r;
        evgrpc_channel_connect(x->channel);
        return 0;
}

void exchange_begin(Exchange *x)
{
        int r;

        assert(x->state == EXCHANGE_IDLE);

        if (x->channel && !x->doubtful && evgrpc_channel_is_connected(x->channel)) {
                begin(x);
                return;
        }
        hang_up(x); /* the server closed it while nothing was asked */
        x->state = EXCHANGE_CONNECTING;
        r = dial(x);
        if (r < 0)
                fail(x, g_strerror(-r));
        else
                loop_timer_start(x->timer, CONNECT_TIMEOUT_USEC);
}

bool exchange_is_under_way(const Exchange *x)
{
        return x->state != EXCHANGE_IDLE;
}

int exchange_new(Loop *l, Clock *clock, const char *address, uint64_t own_id, EvgrpcTls *tls,
                 const char *server_name, ExchangeFn fn, void *userdata, Exchange **ret)
{
        _cleanup_(exchange_freep) Exchange *x = g_new0(Exchange, 1);
        EvgrpcChannel *probe;
        int r;

        *x = (Exchange){
                .loop = l,
                .clock = clock,
                .address = g_strdup(address),
                .own_id = own_id,
                .tls = tls ? evgrpc_tls_ref(tls) : NULL,
                .server_name = g_strdup(server_name),
                .fn = fn,
                .userdata = userdata,
        };
        r = evgrpc_channel_new(loop_base(l), address,
                               &(EvgrpcChannelOptions){.tls = tls, .tls_server_name = server_name},
                               &probe);
        if (r < 0)
                return r;
        (void) evgrpc_channel_free(probe); /* it was an address */
        r = loop_timer_new(l, on_timer, x, &x->timer);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(x);
        return 0;
}

Exchange *exchange_free(Exchange *x)
{
        if (!x)
                return NULL;
        x->freeing = true;
        hang_up(x);
        loop_timer_free(x->timer);
        evgrpc_tls_unref(x->tls);
        g_free(x->address);
        g_free(x->server_name);
        g_free(x->error);
        g_free(x);
        return NULL;
}

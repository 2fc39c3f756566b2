/*
 * At most once under random faults: what must hold whatever happens.
 *
 * A schedule is drawn from its seed. Two clients, each on two channels, make calls through a net
 * that loses connections, keeps what was sent on them and delivers it later (so tries overtake each
 * other across connections), swallows replies and stalls; callers repeat, cancel and give up; the
 * server restarts, and forgets clients. Then the faults end, and of every call is asked:
 *
 *   - it was executed at most once (a stored one: it took effect at most once);
 *   - it ended once, with a status it may have, and OK means executed, with the reply to this very
 *     call;
 *   - a stored call never ends "outcome unknown".
 *
 * Time is the loop's own, so two runs of a seed may interleave otherwise; the claims hold for both.
 * A failure prints its seed; "-m thorough" runs ten times as many, and ONCE_SEED=N begins
 * elsewhere.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <signal.h>
#include <sys/un.h>

#include "rpc-once-fixture.h"

enum {
        SCHEDULES = 300,
        TOGETHER = 30, /* on one loop */
        CLIENTS = 2,
        CHANNELS = 2,
        CALLS = 14,
        TRIES = 8,
        FAULTY_TICKS = 160, /* of a millisecond or more */
};

typedef struct Schedule Schedule;

/* ---- The net
 * ------------------------------------------------------------------------------------ */

typedef struct Wire {
        Schedule *schedule;
        struct bufferevent *ends[2]; /* client's, server's; NULL: closed */
        struct evbuffer *pending[2]; /* by where it came from */
        unsigned held[2];            /* ticks until it is handed on */
        bool swallow[2];             /* it never is */
        unsigned dying;              /* ticks until the rest is closed */
} Wire;

typedef struct Call {
        Schedule *schedule;
        unsigned client;
        char *body;
        bool stored, automatic, cancelled;
        uint64_t timeout_usec;
        EvgrpcMark *mark; /* of one that the caller repeats */
        EvgrpcCall *tries[TRIES];
        unsigned begun, ended, ok;
        EvgrpcCode code; /* the first definite one */
        bool definite;
} Call;

struct Schedule {
        OnceFixture o;
        guint32 seed;
        GRand *rand;
        struct evconnlistener *listener;
        char *net_path;
        GPtrArray *wires;
        EvgrpcClientIdentity *ids[CLIENTS];
        EvgrpcChannel *channels[CLIENTS][CHANNELS];
        Call calls[CALLS];
        unsigned started, restarts, losses;
        bool healed;
};

static bool chance(Schedule *s, unsigned per_mille)
{
        return (unsigned) g_rand_int_range(s->rand, 0, 1000) < per_mille;
}

static unsigned below(Schedule *s, unsigned n)
{
        return (unsigned) g_rand_int_range(s->rand, 0, (gint32) n);
}

static void wire_pump(Wire *w, unsigned from)
{
        struct bufferevent *to = w->ends[!from];

        if (w->held[from] > 0)
                return;
        if (to && !w->swallow[from])
                (void) evbuffer_add_buffer(bufferevent_get_output(to), w->pending[from]);
        else
                (void) evbuffer_drain(w->pending[from], evbuffer_get_length(w->pending[from]));
}

static void wire_read(struct bufferevent *bev, void *userdata)
{
        Wire *w = userdata;
        unsigned from = bev == w->ends[0] ? 0 : 1;

        (void) evbuffer_add_buffer(w->pending[from], bufferevent_get_input(bev));
        wire_pump(w, from);
}

static void wire_close_end(Wire *w, unsigned end)
{
        if (w->ends[end])
                bufferevent_free(w->ends[end]);
        w->ends[end] = NULL;
        w->dying = MAX(w->dying, w->held[end] + 2);
}

static void wire_event(struct bufferevent *bev, short what, void *userdata)
{
        Wire *w = userdata;

        if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
                return;
        wire_read(bev, w);
        wire_close_end(w, bev == w->ends[0] ? 0 : 1);
}

static void wire_free(void *p)
{
        Wire *w = p;

        for (unsigned i = 0; i < 2; i++) {
                if (w->ends[i])
                        bufferevent_free(w->ends[i]);
                evbuffer_free(w->pending[i]);
        }
        g_free(w);
}

static void unix_address(struct sockaddr_un *a, const char *path)
{
        *a = (struct sockaddr_un){.sun_family = AF_UNIX};
        g_assert_cmpuint(g_strlcpy(a->sun_path, path, sizeof(a->sun_path)), <, sizeof(a->sun_path));
}

static void wire_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int size,
                        void *userdata)
{
        Schedule *s = userdata;
        Wire *w = g_new0(Wire, 1);
        struct sockaddr_un to;

        unix_address(&to, s->o.f.address + strlen("unix:"));
        w->schedule = s;
        g_ptr_array_add(s->wires, w);
        for (unsigned i = 0; i < 2; i++) {
                w->pending[i] = evbuffer_new();
                w->ends[i] = bufferevent_socket_new(s->o.f.base, i == 0 ? fd : -1,
                                                    BEV_OPT_CLOSE_ON_FREE);
                bufferevent_setcb(w->ends[i], wire_read, NULL, wire_event, w);
        }
        if (bufferevent_socket_connect(w->ends[1], (struct sockaddr *) &to, sizeof(to)) < 0) {
                wire_close_end(w, 1);
                return;
        }
        for (unsigned i = 0; i < 2; i++)
                bufferevent_enable(w->ends[i], EV_READ | EV_WRITE);
}

static void wire_tick(Wire *w)
{
        for (unsigned i = 0; i < 2; i++)
                if (w->held[i] > 0 && (--w->held[i] == 0 || w->schedule->healed)) {
                        w->held[i] = 0;
                        wire_pump(w, i);
                }
        if (w->dying > 0 && --w->dying == 0)
                g_ptr_array_remove_fast(w->schedule->wires, w);
}

/* ---- Calls
 * -------------------------------------------------------------------------------------- */

static void check_reply(Call *c, EvgrpcCall *call)
{
        const Answer *a = (const Answer *) evgrpc_call_reply(call);
        g_autofree char *want = c->stored ? g_strdup(c->body) : g_strdup_printf("re:%s", c->body);

        g_assert_nonnull(a);
        g_assert_cmpmem(a->body.data, a->body.len, want, strlen(want));
}

static void note_end(Call *c, EvgrpcCall *call, const EvgrpcStatus *status)
{
        c->ended++;
        g_assert_cmpuint(c->ended, <=, c->begun);
        switch (status->code) {
        case EVGRPC_OK:
                check_reply(c, call);
                c->ok++;
                break;
        case EVGRPC_ABORTED:
                g_assert_false(c->stored);
                break;
        case EVGRPC_UNAVAILABLE:
                g_assert_false(c->automatic);
                return; /* its caller tries again */
        case EVGRPC_DEADLINE_EXCEEDED:
                g_assert_cmpuint(c->timeout_usec, >, 0);
                break;
        case EVGRPC_CANCELLED:
                g_assert_true(c->cancelled);
                break;
        case EVGRPC_INTERNAL:
                g_assert_true(c->stored);
                g_assert_cmpstr(status->message, ==, "no commit");
                break;
        default:
                g_error("seed %u, call %s: %s %s", c->schedule->seed, c->body,
                        evgrpc_code_to_string(status->code), status->message);
        }
        if (!c->definite)
                c->code = status->code;
        c->definite = true;
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        note_end(userdata, call, status);
}

static void begin_try(Call *c, bool hang)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_done};
        Schedule *s = c->schedule;
        EvgrpcCallOptions options = {.timeout_usec = c->timeout_usec, .mark = c->mark};
        Order order = ORDER_INIT;

        if (c->begun == TRIES)
                return;
        if (c->automatic) {
                options.once = s->ids[c->client];
                options.retry = true;
        }
        /* One that will be the last has to come through. */
        options.fail_fast_off = s->healed;
        order_body(&order, c->body);
        order.hang = hang;
        g_assert_cmpint(evgrpc_call_start(s->channels[c->client][below(s, CHANNELS)], ECHO,
                                          c->stored ? "Missing" : "Unary", &order.base, &options,
                                          &handlers, c, &c->tries[c->begun]),
                        ==, 0);
        c->begun++;
}

static bool hangs(const Call *c)
{
        return !c->stored && strchr(c->body, 'h') != NULL;
}

static void start_call(Schedule *s)
{
        Call *c = &s->calls[s->started];

        c->schedule = s;
        c->client = below(s, CLIENTS);
        c->stored = chance(s, 300);
        c->automatic = chance(s, 500);
        c->body = g_strdup_printf("%u-%u%s", s->seed, s->started, chance(s, 300) ? "h" : "");
        if (chance(s, 200))
                c->timeout_usec = 1000 * (1 + below(s, 150));
        if (!c->automatic)
                g_assert_cmpint(evgrpc_mark_new(s->ids[c->client], &c->mark), ==, 0);
        s->started++;
        begin_try(c, hangs(c));
}

static bool is_over(const Call *c)
{
        return c->ended == c->begun && (c->definite || c->begun == TRIES);
}

static void repeat_calls(Schedule *s)
{
        for (unsigned i = 0; i < s->started; i++) {
                Call *c = &s->calls[i];

                if (c->automatic || !c->mark)
                        continue;
                if (is_over(c))
                        c->mark = evgrpc_mark_unref(c->mark); /* acknowledged */
                else if (!c->definite && c->begun + 1 < (s->healed ? TRIES + 1u : TRIES) &&
                         (c->ended == c->begun ? chance(s, 300) : !s->healed && chance(s, 20)))
                        begin_try(c, hangs(c));
        }
}

static void cancel_one(Schedule *s)
{
        Call *c = &s->calls[below(s, CALLS)];

        if (c->begun == 0 || c->definite)
                return;
        c->cancelled = true;
        evgrpc_call_cancel(c->tries[below(s, c->begun)]);
}

static void release_one(Schedule *s)
{
        GHashTableIter i;
        gpointer body;

        g_hash_table_iter_init(&i, s->o.held);
        if (g_hash_table_iter_next(&i, &body, NULL)) {
                g_autofree char *copy = g_strdup(body);

                once_release(&s->o, copy);
        }
}

/* ---- A schedule
 * --------------------------------------------------------------------------------- */

static void disturb(Schedule *s)
{
        Wire *w = s->wires->len > 0 ? s->wires->pdata[below(s, s->wires->len)] : NULL;

        if (w && chance(s, 40)) { /* the client's end is lost, what it sent arrives later */
                w->held[0] = 1 + below(s, 90);
                wire_close_end(w, 0);
                s->losses++;
        }
        if (w && chance(s, 30)) /* replies are swallowed */
                w->swallow[1] = true;
        if (w && chance(s, 30))
                w->held[below(s, 2)] = 1 + below(s, 40);
        if (w && (chance(s, 20) || (w->swallow[1] && chance(s, 200)))) {
                wire_close_end(w, 0);
                wire_close_end(w, 1);
                s->losses++;
        }
        if (chance(s, 8)) {
                once_restart(&s->o);
                s->restarts++;
        }
        if (chance(s, 15))
                cancel_one(s);
        s->o.fail_commit = chance(s, 100);
}

static void heal(Schedule *s)
{
        s->healed = true;
        s->o.fail_commit = false;
        for (guint i = 0; i < s->wires->len; i++) {
                Wire *w = s->wires->pdata[i];

                if (w->swallow[0] || w->swallow[1]) {
                        wire_close_end(w, 0);
                        wire_close_end(w, 1);
                }
        }
}

static void tick(Schedule *s)
{
        for (guint i = s->wires->len; i > 0; i--)
                wire_tick(s->wires->pdata[i - 1]);
        if (s->started < CALLS && (s->healed || chance(s, 200)))
                start_call(s);
        repeat_calls(s);
        if (s->healed || chance(s, 60))
                release_one(s);
        if (!s->healed)
                disturb(s);
}

static bool schedule_is_over(const Schedule *s)
{
        for (unsigned i = 0; i < CALLS; i++)
                if (i >= s->started || !is_over(&s->calls[i]))
                        return false;
        return true;
}

static void schedule_begin(Schedule *s, struct event_base *base, guint32 seed)
{
        EvgrpcOnceOptions options = {.lease_usec = seed % 3 == 0 ? 30000 : 0};
        EvgrpcChannelOptions channel = {.backoff_max_usec = 100000};
        g_autofree char *target = NULL;
        struct sockaddr_un at;

        *s = (Schedule){.seed = seed,
                        .rand = g_rand_new_with_seed(seed),
                        .wires = g_ptr_array_new_with_free_func(wire_free)};
        once_begin_on(&s->o, base, &options);
        s->net_path = g_strdup_printf("%s/net", s->o.dir);
        target = g_strdup_printf("unix:%s", s->net_path);
        unix_address(&at, s->net_path);
        s->listener = evconnlistener_new_bind(base, wire_accept, s, LEV_OPT_CLOSE_ON_FREE, 64,
                                              (struct sockaddr *) &at, sizeof(at));
        g_assert_nonnull(s->listener);
        for (unsigned i = 0; i < CLIENTS; i++) {
                g_assert_cmpint(evgrpc_client_identity_new(&s->ids[i]), ==, 0);
                for (unsigned k = 0; k < CHANNELS; k++)
                        g_assert_cmpint(
                                evgrpc_channel_new(base, target, &channel, &s->channels[i][k]), ==,
                                0);
        }
}

static void check_call(Schedule *s, Call *c)
{
        unsigned n = c->stored ? effects(&s->o, c->body) : times_executed(&s->o, c->body);

        if (n > 1 || (c->ok > 0 && n != 1))
                g_error("seed %u, call %s: executed %u times, %u tries answered OK", s->seed,
                        c->body, n, c->ok);
        g_assert_cmpuint(c->ended, ==, c->begun);
        g_assert_true(c->definite || !c->automatic);
        if (c->automatic)
                g_assert_cmpuint(c->ended, ==, 1);
}

static void schedule_end(Schedule *s, unsigned *codes)
{
        for (unsigned i = 0; i < CALLS; i++) {
                Call *c = &s->calls[i];

                check_call(s, c);
                codes[c->definite ? c->code : EVGRPC_UNAVAILABLE]++;
                for (unsigned k = 0; k < c->begun; k++)
                        evgrpc_call_unref(c->tries[k]);
                evgrpc_mark_unref(c->mark);
                g_free(c->body);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
                for (unsigned k = 0; k < CHANNELS; k++)
                        evgrpc_channel_free(s->channels[i][k]);
                evgrpc_client_identity_unref(s->ids[i]);
        }
        g_ptr_array_unref(s->wires);
        evconnlistener_free(s->listener);
        g_assert_cmpint(unlink(s->net_path), ==, 0);
        g_free(s->net_path);
        g_rand_free(s->rand);
        once_end_on(&s->o);
}

static bool all_over(const Schedule *s)
{
        for (unsigned i = 0; i < TOGETHER; i++)
                if (!schedule_is_over(&s[i]))
                        return false;
        return true;
}

static void run_together(guint32 seed, unsigned *codes, unsigned *restarts, unsigned *losses)
{
        g_autofree Schedule *s = g_new0(Schedule, TOGETHER);
        Fixture loop = {.base = event_base_new()};
        gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        for (unsigned i = 0; i < TOGETHER; i++)
                schedule_begin(&s[i], loop.base, seed + i);
        for (unsigned t = 0; t < FAULTY_TICKS || !all_over(s); t++) {
                if (t == FAULTY_TICKS)
                        for (unsigned i = 0; i < TOGETHER; i++)
                                heal(&s[i]);
                for (unsigned i = 0; i < TOGETHER; i++)
                        tick(&s[i]);
                run_for(&loop, 1);
                if (g_get_monotonic_time() > end)
                        g_error("seeds from %u: a call has no end", seed);
        }
        run_for(&loop, 100); /* what is still under way may arrive, and must do nothing */
        for (unsigned i = 0; i < TOGETHER; i++) {
                *restarts += s[i].restarts;
                *losses += s[i].losses;
                schedule_end(&s[i], codes);
        }
        event_base_free(loop.base);
}

static void test_no_schedule_of_faults_executes_a_call_twice(void)
{
        const char *from = g_getenv("ONCE_SEED");
        guint32 seed = from ? (guint32) g_ascii_strtoull(from, NULL, 10) : 1;
        unsigned codes[_EVGRPC_CODE_MAX] = {}, restarts = 0, losses = 0;

        for (unsigned i = 0; i < SCHEDULES * (g_test_thorough() ? 10u : 1u); i += TOGETHER)
                run_together(seed + i, codes, &restarts, &losses);
        g_test_message("%u connections lost, %u restarts", losses, restarts);
        for (unsigned i = 0; i < _EVGRPC_CODE_MAX; i++)
                if (codes[i] > 0)
                        g_test_message("%u calls %s", codes[i], evgrpc_code_to_string(i));
        /* A model in which nothing happens would hold as well. */
        g_assert_cmpuint(losses, >, SCHEDULES);
        g_assert_cmpuint(restarts, >, SCHEDULES / 4);
        g_assert_cmpuint(codes[EVGRPC_OK], >, SCHEDULES * CALLS / 2);
        g_assert_cmpuint(codes[EVGRPC_ABORTED], >, SCHEDULES / 10);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        (void) signal(SIGPIPE, SIG_IGN); /* the net's bufferevents write to sockets that are lost */
        g_test_add_func("/rpc/once-model/executed-at-most-once",
                        test_no_schedule_of_faults_executes_a_call_twice);
        return g_test_run();
}

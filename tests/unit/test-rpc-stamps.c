/*
 * When a message left: told by the kernel after it did, for the bytes that were asked about.
 */
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "rpc-fixture-tls.h"
#include "rpc-fixture.h"

#define MSEC INT64_C(1000000)

typedef struct Noted {
        int64_t ns, note[2];
} Noted;

typedef struct Stamps {
        Fixture f; /* its loop */
        EvgrpcServer *server;
        EvgrpcChannel *channel;
        char *address;
        unsigned pause_ms; /* the server stands still between its answer and its leaving */
        int64_t received_ns, answered_ns; /* of the last request */
        bool from_kernel;                 /* received_ns */
        bool expected;                    /* note_reply() said so */
        Noted noted;                      /* what the last request found of the reply before */
        int64_t number;
} Stamps;

static int64_t now_ns(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void on_request(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        Stamps *s = userdata;
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        s->noted = (Noted){};
        s->noted.ns = evgrpc_server_call_noted_reply(call, s->noted.note);
        s->received_ns = evgrpc_server_call_message_received_ns(call, &s->from_kernel);
        s->expected = evgrpc_server_call_note_reply(call, (const int64_t[]){++s->number, -7});
        evgrpc_server_call_reply(call, &a.base);
        s->answered_ns = now_ns();
        g_usleep(s->pause_ms * 1000);
}

static void stamps_begin(Stamps *s, const char *address, EvgrpcTls *tls, bool ask)
{
        static const EvgrpcMethod methods[] = {{.name = "Unary", .handler = on_request}, {}};
        const EvgrpcServerOptions so = {
                .tls = tls, .receive_timestamps = true, .send_timestamps = ask};
        const EvgrpcChannelOptions co = {
                .tls = tls, .tls_server_name = "localhost", .send_timestamps = ask};

        *s = (Stamps){};
        fixture_begin(&s->f);
        g_assert_cmpint(evgrpc_server_new(s->f.base, &so, &s->server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(s->server, ECHO, methods, s), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(s->server, address, &s->address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(s->f.base, s->address, &co, &s->channel), ==, 0);
        evgrpc_channel_connect(s->channel);
        RUN_UNTIL(&s->f, evgrpc_channel_is_connected(s->channel));
}

static void stamps_end(Stamps *s)
{
        evgrpc_channel_free(s->channel);
        evgrpc_server_free(s->server);
        free(s->address);
        fixture_end(&s->f);
}

static EvgrpcCall *start(Stamps *s, Order *order)
{
        static const EvgrpcCallHandlers none;
        const EvgrpcCallOptions options = {.unary = true};
        Order small = ORDER_INIT;
        EvgrpcCall *call;

        g_assert_cmpint(evgrpc_call_start(s->channel, ECHO, "Unary",
                                          order ? &order->base : &small.base, &options, &none, NULL,
                                          &call),
                        ==, 0);
        return call;
}

/* Return: when the request left; 0: untold. */
static int64_t finish(EvgrpcCall *call)
{
        int64_t ns;

        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        ns = evgrpc_call_sent_ns(call);
        evgrpc_call_unref(call);
        return ns;
}

/* The kernel begins to note when segments come some moments after the first socket asks. */
static bool kernel_tells(Stamps *s)
{
        for (unsigned i = 0; i < 200; i++) {
                if (finish(start(s, NULL)) != 0 && s->from_kernel)
                        return true;
                g_usleep(5000);
        }
        g_test_skip("the kernel does not tell when a segment left");
        stamps_end(s);
        return false;
}

/* The loop stands still between the call and the sending of it: the program's time would be 30 ms
 * early. */
static void a_request_left_when_it_was_sent(EvgrpcTls *tls)
{
        EvgrpcCall *call;
        int64_t began, sent;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", tls, true);
        if (!kernel_tells(&s))
                return;
        began = now_ns();
        call = start(&s, NULL);
        g_usleep(30000);
        sent = finish(call);
        g_assert_cmpint(sent, >=, began + 30 * MSEC);
        g_assert_cmpint(sent, <=, s.received_ns);
        stamps_end(&s);
}

static void test_a_request_left_when_it_was_sent(void)
{
        a_request_left_when_it_was_sent(NULL);
}

static void test_a_request_left_when_it_was_sent_under_tls(void)
{
        a_request_left_when_it_was_sent(fixture_tls());
}

/* The same for a reply, whose time the next request of the connection finds, with its note. */
static void a_reply_left_when_it_was_sent(EvgrpcTls *tls)
{
        int64_t answered, number, ended;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", tls, true);
        if (!kernel_tells(&s))
                return;
        s.pause_ms = 30;
        (void) finish(start(&s, NULL));
        ended = now_ns();
        answered = s.answered_ns;
        number = s.number;
        g_assert_true(s.expected);
        s.pause_ms = 0;
        (void) finish(start(&s, NULL));
        g_assert_cmpint(s.noted.note[0], ==, number);
        g_assert_cmpint(s.noted.note[1], ==, -7);
        g_assert_cmpint(s.noted.ns, >=, answered + 30 * MSEC);
        g_assert_cmpint(s.noted.ns, <=, ended);
        stamps_end(&s);
}

static void test_a_reply_left_when_it_was_sent(void)
{
        a_reply_left_when_it_was_sent(NULL);
}

static void test_a_reply_left_when_it_was_sent_under_tls(void)
{
        a_reply_left_when_it_was_sent(fixture_tls());
}

/* One connection's reply is not told to another. */
static void test_a_connection_remembers_its_own(void)
{
        const EvgrpcChannelOptions co = {.send_timestamps = true};
        EvgrpcChannel *first, *second;
        int64_t last;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", NULL, true);
        if (!kernel_tells(&s))
                return;
        first = s.channel;
        last = s.number;
        g_assert_cmpint(evgrpc_channel_new(s.f.base, s.address, &co, &second), ==, 0);
        s.channel = second;
        (void) finish(start(&s, NULL));
        g_assert_cmpint(s.noted.ns, ==, 0);
        (void) finish(start(&s, NULL));
        g_assert_cmpint(s.noted.note[0], ==, last + 1);
        s.channel = first;
        (void) finish(start(&s, NULL));
        g_assert_cmpint(s.noted.note[0], ==, last);
        evgrpc_channel_free(second);
        stamps_end(&s);
}

/* Sent in many pieces: the end counts, and that is received no earlier. */
static void large_requests_have_the_time_of_their_end(EvgrpcTls *tls)
{
        g_autofree uint8_t *body = g_malloc0(3 << 20);
        Order order = ORDER_INIT;
        int64_t began, sent;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", tls, true);
        if (!kernel_tells(&s))
                return;
        order.body = (ProtobufCBinaryData){3 << 20, body};
        for (int i = 0; i < 3; i++) {
                began = now_ns();
                sent = finish(start(&s, &order));
                g_assert_cmpint(sent, >, began);
                g_assert_cmpint(sent, <=, s.received_ns);
                g_assert_cmpint(sent, >, s.received_ns - (s.received_ns - began) / 2);
        }
        stamps_end(&s);
}

static void test_large_requests_have_the_time_of_their_end(void)
{
        large_requests_have_the_time_of_their_end(NULL);
}

static void test_large_requests_have_the_time_of_their_end_under_tls(void)
{
        large_requests_have_the_time_of_their_end(fixture_tls());
}

/* More at once than are remembered: some have no time, and those that have one, a right one. */
static void test_many_at_once_are_bounded(void)
{
        EvgrpcCall *calls[100];
        unsigned told = 0;
        int64_t began;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", NULL, true);
        if (!kernel_tells(&s))
                return;
        began = now_ns();
        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
                calls[i] = start(&s, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
                int64_t sent = finish(calls[i]);

                told += sent != 0;
                g_assert_true(sent == 0 || (sent > began && sent < now_ns()));
        }
        g_assert_cmpuint(told, <, G_N_ELEMENTS(calls));
        stamps_end(&s);
}

static double cpu_s(void)
{
        struct rusage u;

        (void) getrusage(RUSAGE_SELF, &u);
        return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* A stamp that nobody reads would keep the loop awake for ever. */
static void test_the_loop_sleeps_after_it(void)
{
        double before;
        Stamps s;

        stamps_begin(&s, "127.0.0.1:0", NULL, true);
        (void) finish(start(&s, NULL));
        run_for(&s.f, 20);
        before = cpu_s();
        run_for(&s.f, 300);
        g_assert_cmpfloat(cpu_s() - before, <, 0.15);
        stamps_end(&s);
}

static void nothing_is_told(const char *address, bool ask)
{
        Stamps s;

        stamps_begin(&s, address, NULL, ask);
        for (int i = 0; i < 3; i++) {
                g_assert_cmpint(finish(start(&s, NULL)), ==, 0);
                g_assert_false(s.expected);
                g_assert_cmpint(s.noted.ns, ==, 0);
        }
        stamps_end(&s);
}

static void test_local_sockets_tell_nothing(void)
{
        g_autofree char *dir = g_dir_make_tmp("evgrpc-stamps-XXXXXX", NULL);
        g_autofree char *address = g_strdup_printf("unix:%s/socket", dir);

        nothing_is_told(address, true);
        (void) g_rmdir(dir);
}

static void test_who_does_not_ask_gets_none(void)
{
        nothing_is_told("127.0.0.1:0", false);
}

#define TEST(path, function) g_test_add_func("/rpc/stamps/" path, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        TEST("a-request-left-when-it-was-sent", test_a_request_left_when_it_was_sent);
        TEST("a-request-left-when-it-was-sent-under-tls",
             test_a_request_left_when_it_was_sent_under_tls);
        TEST("a-reply-left-when-it-was-sent", test_a_reply_left_when_it_was_sent);
        TEST("a-reply-left-when-it-was-sent-under-tls",
             test_a_reply_left_when_it_was_sent_under_tls);
        TEST("a-connection-remembers-its-own", test_a_connection_remembers_its_own);
        TEST("large-requests-have-the-time-of-their-end",
             test_large_requests_have_the_time_of_their_end);
        TEST("large-requests-have-the-time-of-their-end-under-tls",
             test_large_requests_have_the_time_of_their_end_under_tls);
        TEST("many-at-once-are-bounded", test_many_at_once_are_bounded);
        TEST("the-loop-sleeps-after-it", test_the_loop_sleeps_after_it);
        TEST("local-sockets-tell-nothing", test_local_sockets_tell_nothing);
        TEST("who-does-not-ask-gets-none", test_who_does_not_ask_gets_none);
        return g_test_run();
}

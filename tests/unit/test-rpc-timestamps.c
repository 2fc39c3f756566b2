/*
 * When a message came: by the kernel's clock where it tells, by ours where it does not.
 */
#include <glib/gstdio.h>
#include <unistd.h>

#include "rpc-fixture-tls.h"
#include "rpc-relay.h"

#define MSEC INT64_C(1000000)

typedef struct Note {
        int64_t ns;
        bool from_kernel;
} Note;

/* A server that notes when each request came, and a client that does so for each reply. */
typedef struct Watch {
        Fixture f;
        EvgrpcServer *server;
        EvgrpcChannel *channel;
        char *address;
        Note request, reply;
        unsigned replies;
} Watch;

static int64_t now_ns(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void sleep_ms(unsigned ms)
{
        g_usleep(ms * 1000);
}

static void on_request(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        Watch *w = userdata;
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        w->request.ns = evgrpc_server_call_message_received_ns(call, &w->request.from_kernel);
        evgrpc_server_call_reply(call, &a.base);
}

static void on_reply(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Watch *w = userdata;

        w->replies++;
        w->reply.ns = evgrpc_call_message_received_ns(call, &w->reply.from_kernel);
}

static void watch_begin(Watch *w, const char *address, EvgrpcTls *tls, bool ask)
{
        static const EvgrpcMethod methods[] = {{.name = "Unary", .handler = on_request}, {}};
        const EvgrpcServerOptions so = {.tls = tls, .receive_timestamps = ask};
        const EvgrpcChannelOptions co = {
                .tls = tls, .tls_server_name = "localhost", .receive_timestamps = ask};

        *w = (Watch){};
        fixture_begin(&w->f); /* its loop */
        g_assert_cmpint(evgrpc_server_new(w->f.base, &so, &w->server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(w->server, ECHO, methods, w), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(w->server, address, &w->address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(w->f.base, w->address, &co, &w->channel), ==, 0);
}

static void watch_end(Watch *w)
{
        evgrpc_channel_free(w->channel);
        evgrpc_server_free(w->server);
        free(w->address);
        fixture_end(&w->f);
}

static EvgrpcCall *start(Watch *w, const EvgrpcCallHandlers *handlers)
{
        const EvgrpcCallOptions options = {.unary = true};
        Order order = ORDER_INIT;
        EvgrpcCall *call;

        g_assert_cmpint(evgrpc_call_start(w->channel, ECHO, "Unary", &order.base, &options,
                                          handlers, w, &call),
                        ==, 0);
        return call;
}

static void call_once(Watch *w)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_reply};
        EvgrpcCall *call = start(w, &handlers);

        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        evgrpc_call_unref(call);
}

/* The kernel begins to note times some moments after the first socket asks. */
static void call_until_kernel_tells(Watch *w)
{
        for (unsigned i = 0; i < 200; i++) {
                call_once(w);
                if (w->request.from_kernel && w->reply.from_kernel)
                        return;
                sleep_ms(5);
        }
}

static void times_are_those_of_the_kernel(EvgrpcTls *tls)
{
        int64_t before, after;
        Watch w;

        watch_begin(&w, "127.0.0.1:0", tls, true);
        call_until_kernel_tells(&w);
        if (!w.reply.from_kernel) {
                g_test_skip("the kernel does not tell the time of a segment");
                watch_end(&w);
                return;
        }
        before = now_ns();
        call_once(&w);
        after = now_ns();
        g_assert_true(w.request.from_kernel && w.reply.from_kernel);
        g_assert_cmpint(before, <=, w.request.ns);
        g_assert_cmpint(w.request.ns, <=, w.reply.ns);
        g_assert_cmpint(w.reply.ns, <=, after);
        watch_end(&w);
}

static void test_times_are_those_of_the_kernel(void)
{
        times_are_those_of_the_kernel(NULL);
}

static void test_times_are_those_of_the_kernel_under_tls(void)
{
        times_are_those_of_the_kernel(fixture_tls());
}

typedef struct Late {
        Watch *w;
        int64_t woke; /* long before this the reply was in the socket, and not before it was it read
                       */
} Late;

/* Both processes of this exchange are one, so being late is easily had: the server's answer is on
 * its way when the loop stands still for 50 ms. What the kernel saw is before that, what we saw is
 * after. */
static void stand_still(evutil_socket_t fd, short what, void *userdata)
{
        Late *late = userdata;

        sleep_ms(50);
        late->woke = now_ns();
}

static void on_request_then_still(EvgrpcServerCall *call, const ProtobufCMessage *request,
                                  void *userdata)
{
        Late *late = userdata;
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        evgrpc_server_call_reply(call, &a.base);
        event_base_once(late->w->f.base, -1, EV_TIMEOUT, stand_still, late, &(struct timeval){});
}

static void kernel_is_earlier_than_a_late_reader(EvgrpcTls *tls, bool ask_kernel)
{
        static const EvgrpcMethod methods[] = {
                {.name = "List", .handler = on_request_then_still, .server_streaming = true}, {}};
        static const EvgrpcCallHandlers handlers = {.on_message = on_reply};
        const EvgrpcServerOptions so = {.tls = tls};
        EvgrpcChannelOptions co = {
                .tls = tls, .tls_server_name = "localhost", .receive_timestamps = true};
        g_autofree char *dir = g_dir_make_tmp("evgrpc-time-XXXXXX", NULL);
        g_autofree char *path = g_strdup_printf("unix:%s/socket", dir);
        Order order = ORDER_INIT;
        EvgrpcServer *server;
        EvgrpcChannel *channel;
        EvgrpcCall *call;
        char *address;
        Watch w;
        Late late = {.w = &w};

        watch_begin(&w, "127.0.0.1:0", tls, true);
        call_until_kernel_tells(&w);
        if (ask_kernel && !w.reply.from_kernel) {
                g_test_skip("the kernel does not tell the time of a segment");
                watch_end(&w);
                return;
        }
        g_assert_cmpint(evgrpc_server_new(w.f.base, &so, &server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(server, ECHO, methods, &late), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(server, ask_kernel ? "127.0.0.1:0" : path, &address),
                        ==, 0);
        g_assert_cmpint(evgrpc_channel_new(w.f.base, address, &co, &channel), ==, 0);
        evgrpc_channel_connect(channel);
        RUN_UNTIL(&w.f, evgrpc_channel_is_connected(channel));
        run_for(&w.f, 20);
        w.replies = 0;
        g_assert_cmpint(
                evgrpc_call_start(channel, ECHO, "List", &order.base, NULL, &handlers, &w, &call),
                ==, 0);
        RUN_UNTIL(&w.f, evgrpc_call_status(call));
        g_assert_cmpint(evgrpc_call_status(call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(w.replies, ==, 1);
        g_assert_cmpint(w.reply.from_kernel, ==, ask_kernel);
        g_test_message("%+.1f ms after the reader went on",
                       (double) (w.reply.ns - late.woke) / MSEC);
        if (ask_kernel)
                g_assert_cmpint(w.reply.ns, <, late.woke);
        else
                g_assert_cmpint(w.reply.ns, >=, late.woke);
        evgrpc_call_unref(call);
        evgrpc_channel_free(channel);
        evgrpc_server_free(server);
        free(address);
        (void) g_rmdir(dir);
        watch_end(&w);
}

static void test_kernel_is_earlier_than_a_late_reader(void)
{
        kernel_is_earlier_than_a_late_reader(NULL, true);
}

static void test_kernel_is_earlier_than_a_late_reader_under_tls(void)
{
        kernel_is_earlier_than_a_late_reader(fixture_tls(), true);
}

static void test_late_reader_of_a_local_socket_says_so(void)
{
        kernel_is_earlier_than_a_late_reader(NULL, false);
}

static void test_local_socket_has_our_own_time(void)
{
        g_autofree char *dir = g_dir_make_tmp("evgrpc-time-XXXXXX", NULL);
        g_autofree char *address = g_strdup_printf("unix:%s/socket", dir);
        int64_t before = now_ns();
        Watch w;

        watch_begin(&w, address, NULL, true);
        call_once(&w);
        g_assert_false(w.request.from_kernel);
        g_assert_false(w.reply.from_kernel);
        g_assert_cmpint(w.request.ns, >=, before);
        g_assert_cmpint(w.reply.ns, >=, w.request.ns);
        g_assert_cmpint(w.reply.ns, <=, now_ns());
        watch_end(&w);
        (void) g_rmdir(dir);
}

static void test_who_does_not_ask_gets_none(void)
{
        Watch w;

        watch_begin(&w, "127.0.0.1:0", NULL, false);
        w.request.ns = w.reply.ns = 1;
        call_once(&w);
        g_assert_cmpint(w.request.ns, ==, 0);
        g_assert_cmpint(w.reply.ns, ==, 0);
        g_assert_false(w.request.from_kernel);
        watch_end(&w);
}

static void test_no_message_has_no_time(void)
{
        static const EvgrpcCallHandlers none;
        EvgrpcCall *call;
        bool from_kernel = true;
        Watch w;

        watch_begin(&w, "127.0.0.1:0", NULL, true);
        call = start(&w, &none);
        g_assert_cmpint(evgrpc_call_message_received_ns(call, &from_kernel), ==, 0);
        g_assert_false(from_kernel);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        g_assert_cmpint(evgrpc_call_message_received_ns(call, NULL), >,
                        0); /* kept with the reply */
        evgrpc_call_unref(call);
        watch_end(&w);
}

/* The reply comes at 2.5 MB/s, so its end 100 ms after its beginning: the end counts. */
static void test_time_is_that_of_the_last_piece(void)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_reply};
        const struct timeval tick = {.tv_usec = 20000};
        struct ev_token_bucket_cfg *slow =
                ev_token_bucket_cfg_new(50000, 50000, EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, &tick);
        EvgrpcChannelOptions co = FIXTURE_CHANNEL;
        Order order = ORDER_INIT;
        EvgrpcChannel *channel;
        int64_t begin;
        EvgrpcCall *call;
        Relay relay;
        Watch w;

        watch_begin(&w, "127.0.0.1:0", NULL, true);
        relay_begin(&relay, &w.f);
        co.receive_timestamps = true;
        g_assert_cmpint(evgrpc_channel_new(w.f.base, relay.address, &co, &channel), ==, 0);
        evgrpc_channel_connect(channel);
        RUN_UNTIL(&w.f, evgrpc_channel_is_connected(channel));
        g_assert_cmpint(bufferevent_set_rate_limit(relay.ends[1], slow), ==, 0);
        order.reply_size = 300000;
        begin = now_ns();
        g_assert_cmpint(
                evgrpc_call_start(channel, ECHO, "Unary", &order.base, NULL, &handlers, &w, &call),
                ==, 0);
        RUN_UNTIL(&w.f, evgrpc_call_status(call));
        g_assert_cmpint(evgrpc_call_status(call)->code, ==, EVGRPC_OK);
        g_assert_cmpint(w.reply.ns, >=, begin + 60 * MSEC);
        g_assert_cmpint(w.reply.ns, <=, now_ns());
        evgrpc_call_unref(call);
        evgrpc_channel_free(channel);
        relay_end(&relay);
        ev_token_bucket_cfg_free(slow);
        watch_end(&w);
}

#define TEST(path, function) g_test_add_func("/rpc/timestamps/" path, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        TEST("times-are-those-of-the-kernel", test_times_are_those_of_the_kernel);
        TEST("times-are-those-of-the-kernel-under-tls",
             test_times_are_those_of_the_kernel_under_tls);
        TEST("kernel-is-earlier-than-a-late-reader", test_kernel_is_earlier_than_a_late_reader);
        TEST("kernel-is-earlier-than-a-late-reader-under-tls",
             test_kernel_is_earlier_than_a_late_reader_under_tls);
        TEST("late-reader-of-a-local-socket-says-so", test_late_reader_of_a_local_socket_says_so);
        TEST("local-socket-has-our-own-time", test_local_socket_has_our_own_time);
        TEST("who-does-not-ask-gets-none", test_who_does_not_ask_gets_none);
        TEST("no-message-has-no-time", test_no_message_has_no_time);
        TEST("time-is-that-of-the-last-piece", test_time_is_that_of_the_last_piece);
        return g_test_run();
}

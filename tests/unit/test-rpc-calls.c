/*
 * Calls that go well, and those that are ended on purpose: what evgrpc.h promises of them.
 */
#include "rpc-fixture.h"

static void check_unary(const char *address)
{
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin_with(&f, address, NULL, NULL);
        order_body(&order, "hello");
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 1);
        const Answer *a = (const Answer *) evgrpc_call_reply(s.call);
        g_assert_cmpmem(a->body.data, a->body.len, "hello", 5);
        g_assert_true(a->time_left_usec == EVGRPC_TIMEOUT_NONE);
        story_end(&s);
        fixture_end(&f);
}

static void test_unary_call_over_tcp_is_answered(void)
{
        check_unary("127.0.0.1:0");
}

static void test_unary_call_over_ipv6_is_answered(void)
{
        check_unary("[::1]:0");
}

static void test_unary_call_over_a_unix_socket_is_answered(void)
{
        g_autofree char *dir = g_dir_make_tmp("rpc-XXXXXX", NULL);
        g_autofree char *address = g_strdup_printf("unix:%s/socket", dir);

        check_unary(address);
        g_assert_cmpint(rmdir(dir), ==, 0); /* the server has removed its socket */
}

static void test_name_of_a_host_is_resolved(void)
{
        g_autofree char *target = NULL;
        EvgrpcChannel *channel;
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        target = g_strdup_printf("localhost:%s", strrchr(f.address, ':') + 1);
        g_assert_cmpint(evgrpc_channel_new(f.base, target, &FIXTURE_CHANNEL, &channel), ==, 0);
        story_start_on(&s, &f, channel, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
        evgrpc_channel_free(channel);
        fixture_end(&f);
}

static void test_call_without_handlers_is_a_future(void)
{
        Order order = ORDER_INIT;
        EvgrpcCall *call;
        Fixture f;

        fixture_begin(&f);
        order_body(&order, "later");
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, NULL, NULL, NULL, &call),
                ==, 0);
        g_assert_null(evgrpc_call_status(call));
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        g_assert_nonnull(evgrpc_call_status(call));
        const Answer *a = (const Answer *) evgrpc_call_reply(call);
        g_assert_cmpmem(a->body.data, a->body.len, "later", 5);
        evgrpc_call_unref(call);
        fixture_end(&f);
}

/* The slow one was started first. What is over is found, whether it is waited for or not. */
static void test_first_of_several_calls_is_waited_for(void)
{
        EvgrpcCall *calls[3] = {};
        Order order = ORDER_INIT;
        Fixture f;

        fixture_begin(&f);
        g_assert_cmpint(evgrpc_call_wait_first(calls, G_N_ELEMENTS(calls)), ==, -EINVAL);
        for (size_t i = 0; i < 2; i++) {
                order.hang = i == 0;
                g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, NULL, NULL,
                                                  NULL, &calls[i]),
                                ==, 0);
        }
        g_assert_cmpint(evgrpc_call_wait_first(calls, G_N_ELEMENTS(calls)), ==, 1);
        g_assert_null(evgrpc_call_status(calls[0]));
        g_assert_cmpint(evgrpc_call_status(calls[1])->code, ==, EVGRPC_OK);
        g_assert_cmpint(evgrpc_call_wait_first(calls, G_N_ELEMENTS(calls)), ==, 1); /* still */
        calls[1] = evgrpc_call_unref(calls[1]);
        evgrpc_call_cancel(calls[0]);
        g_assert_cmpint(evgrpc_call_wait_first(calls, G_N_ELEMENTS(calls)), ==, 0);
        g_assert_cmpint(evgrpc_call_status(calls[0])->code, ==, EVGRPC_CANCELLED);
        evgrpc_call_unref(calls[0]);
        fixture_end(&f);
}

static void test_list_arrives_in_order_and_whole(void)
{
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.count = 1000;
        order.reply_size = 10000;
        story_start(&s, &f, "List", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 1000);
        g_assert_cmpuint(s.bytes, ==, 10000000);
        g_assert_cmpuint(((const Answer *) evgrpc_call_reply(s.call))->number, ==, 999);
        story_end(&s);
        fixture_end(&f);
}

/* The window never runs out, so no update from the peer wakes a sender that stopped for want of
 * room. */
static void test_large_messages_go_through_a_larger_window(void)
{
        EvgrpcServerOptions server = {.window_bytes = 16 << 20, .max_message_bytes = 16 << 20};
        EvgrpcChannelOptions channel = {.window_bytes = 16 << 20, .max_message_bytes = 16 << 20};
        size_t size = 8 << 20;
        g_autofree uint8_t *data = g_malloc0(size);
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin_with(&f, "127.0.0.1:0", &server, &channel);
        order.body.data = data;
        order.body.len = size;
        story_start(&s, &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.bytes, ==, size);
        story_end(&s);
        fixture_end(&f);
}

static void test_large_messages_cross_every_boundary(void)
{
        static const uint32_t sizes[] = {1,      440,    441,     2047,    2048,
                                         16379,  16384,  16385,   32768,   65535,
                                         262139, 262144, 1048576, 2000003, 4194200};
        Fixture f;

        fixture_begin(&f);
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                g_autofree uint8_t *data = g_malloc(sizes[i]);
                Order order = ORDER_INIT;
                Story s;

                for (uint32_t k = 0; k < sizes[i]; k++)
                        data[k] = (uint8_t) (k * 31 + k / 251);
                order.body.data = data;
                order.body.len = sizes[i];
                story_start(&s, &f, "Unary", &order, NULL);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
                const Answer *a = (const Answer *) evgrpc_call_reply(s.call);
                g_assert_cmpmem(a->body.data, a->body.len, data, sizes[i]);
                story_end(&s);
        }
        fixture_end(&f);
}

static void test_ten_thousand_calls_are_outstanding_at_once(void)
{
        enum { N = 10000 };
        g_autofree Story *s = g_new0(Story, N);
        Order order = ORDER_INIT;
        Fixture f;

        fixture_begin(&f);
        order.hang = true;
        for (size_t i = 0; i < N; i++)
                story_start(&s[i], &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, f.echo.living == N);
        echo_service_release(&f.echo);
        for (size_t i = 0; i < N; i++) {
                g_assert_cmpint(evgrpc_call_wait(s[i].call)->code, ==, EVGRPC_OK);
                g_assert_cmpuint(s[i].messages, ==, 1);
                story_end(&s[i]);
        }
        fixture_end(&f);
}

static void test_deadline_travels_and_ends_the_call_on_both_sides(void)
{
        EvgrpcCallOptions options = {.timeout_usec = 20000000};
        Order order = ORDER_INIT;
        gint64 begin;
        Fixture f;
        Story s;

        fixture_begin(&f);
        story_start(&s, &f, "Unary", &order, &options);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        const Answer *a = (const Answer *) evgrpc_call_reply(s.call);
        g_assert_cmpuint(a->time_left_usec, >, 0);
        g_assert_cmpuint(a->time_left_usec, <=, 20000000);
        story_end(&s);

        order.hang = true;
        options.timeout_usec = 50000;
        begin = g_get_monotonic_time();
        story_start(&s, &f, "Unary", &order, &options);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_DEADLINE_EXCEEDED);
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, 50000);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 2000000);
        RUN_UNTIL(&f, f.echo.cancelled == 1); /* it may not have come yet */
        g_assert_cmpuint(f.echo.living, ==, 0);
        story_end(&s);
        fixture_end(&f);
}

static void test_cancelled_call_ends_later_and_once_and_tells_the_server(void)
{
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.hang = true;
        story_start(&s, &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, f.echo.living == 1);
        evgrpc_call_cancel(s.call);
        g_assert_cmpuint(s.done, ==, 0); /* never from inside */
        evgrpc_call_cancel(s.call);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_CANCELLED);
        RUN_UNTIL(&f, f.echo.cancelled == 1);
        evgrpc_call_cancel(s.call);
        run_for(&f, 5);
        story_end(&s);

        /* Before it has left at all. */
        story_start(&s, &f, "Unary", &order, NULL);
        evgrpc_call_cancel(s.call);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_CANCELLED);
        story_end(&s);
        fixture_end(&f);
}

static void test_method_that_is_not_served_is_unimplemented(void)
{
        Order order = ORDER_INIT;
        Answer answer = EVGRPC__TEST__ANSWER__INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        story_start(&s, &f, "Missing", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNIMPLEMENTED);
        story_end(&s);
        /* What the descriptor does not know is our own mistake. */
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Nonsense", &order.base, NULL, NULL, NULL, NULL),
                ==, -EINVAL);
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Unary", &answer.base, NULL, NULL, NULL, NULL),
                ==, -EINVAL);
        fixture_end(&f);
}

static void test_status_message_keeps_every_character(void)
{
        static const char text[] = "naïve 100% 日本\n\ttab \x7f end %41";
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.code = EVGRPC_FAILED_PRECONDITION;
        order.message = (char *) (uintptr_t) text;
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_FAILED_PRECONDITION);
        g_assert_cmpstr(evgrpc_call_status(s.call)->message, ==, text);
        g_assert_cmpuint(s.messages, ==, 0);
        story_end(&s);
        fixture_end(&f);
}

static void test_metadata_goes_there_and_back_also_binary(void)
{
        static const char binary[] = "\0\1\xff\xfe,\0";
        EvgrpcMetadataEntry entries[] = {{"x-text", "a, b", 4},
                                         {"x-data-bin", binary, sizeof(binary)},
                                         {"x-empty-bin", "", 0}};
        EvgrpcCallOptions options = {.metadata = {entries, G_N_ELEMENTS(entries)}};
        EvgrpcMetadataEntry bad = {"Upper", "x", 1}, reserved = {"grpc-status", "0", 1},
                            control = {"x-bad", "a\nb", 3};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.metadata = true;
        story_start(&s, &f, "Unary", &order, &options);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        const EvgrpcMetadata *both[] = {evgrpc_call_initial_metadata(s.call),
                                        evgrpc_call_trailing_metadata(s.call)};
        for (size_t i = 0; i < 2; i++) {
                const EvgrpcMetadataEntry *e = evgrpc_metadata_find(both[i], "x-data-bin");

                g_assert_cmpuint(both[i]->count, ==, 3);
                g_assert_nonnull(e);
                g_assert_cmpmem(e->value, e->value_size, binary, sizeof(binary));
                g_assert_cmpstr(evgrpc_metadata_find(both[i], "x-text")->value, ==, "a, b");
                g_assert_cmpuint(evgrpc_metadata_find(both[i], "x-empty-bin")->value_size, ==, 0);
        }
        story_end(&s);
        for (size_t i = 0; i < 3; i++) {
                EvgrpcMetadataEntry *wrong[] = {&bad, &reserved, &control};

                options.metadata = (EvgrpcMetadata){wrong[i], 1};
                g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, &options,
                                                  NULL, NULL, NULL),
                                ==, -EINVAL);
        }
        fixture_end(&f);
}

static void test_over_long_messages_are_resource_exhausted_either_way(void)
{
        EvgrpcServerOptions small_server = {.max_message_bytes = 1000};
        EvgrpcChannelOptions small_channel = {.max_message_bytes = 2000};
        g_autofree char *body = g_strnfill(1500, 'b');
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin_with(&f, "127.0.0.1:0", &small_server, &small_channel);
        order_body(&order, body);
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_RESOURCE_EXHAUSTED);
        story_end(&s);
        evgrpc__test__order__init(&order);
        order.reply_size = 2001;
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_RESOURCE_EXHAUSTED);
        story_end(&s);
        order.reply_size = 900;
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
        fixture_end(&f);
}

static void on_wait_inside(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Story *hanging = userdata;

        g_assert_cmpint(evgrpc_call_wait(hanging->call)->code, ==, EVGRPC_FAILED_PRECONDITION);
        g_assert_cmpint(evgrpc_call_wait_first(&hanging->call, 1), ==, -EDEADLK);
        g_assert_cmpuint(hanging->done, ==, 0);
        evgrpc_call_cancel(hanging->call);
}

static void test_wait_inside_a_handler_is_refused(void)
{
        EvgrpcCallHandlers handlers = {.on_done = on_wait_inside};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.hang = true;
        story_start(&s, &f, "Unary", &order, NULL);
        order.hang = false;
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, NULL, &handlers, &s, NULL),
                ==, 0);
        RUN_UNTIL(&f, s.done == 1);
        story_end(&s);
        fixture_end(&f);
}

static void test_too_many_outstanding_calls_are_refused(void)
{
        EvgrpcChannelOptions options = {.max_outstanding_calls = 2};
        Order order = ORDER_INIT;
        Story s[3];
        Fixture f;

        fixture_begin_with(&f, "127.0.0.1:0", NULL, &options);
        order.delay_ms = 20;
        for (size_t i = 0; i < 3; i++)
                story_start(&s[i], &f, "Unary", &order, NULL);
        for (size_t i = 0; i < 3; i++) {
                EvgrpcCode code = evgrpc_call_wait(s[i].call)->code;

                g_assert_cmpint(code, ==, i < 2 ? EVGRPC_OK : EVGRPC_RESOURCE_EXHAUSTED);
                story_end(&s[i]);
        }
        fixture_end(&f);
}

static void test_calls_wait_for_the_peers_stream_limit(void)
{
        EvgrpcServerOptions options = {.max_streams = 3};
        Order order = ORDER_INIT;
        Story s[10];
        Fixture f;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        for (size_t i = 0; i < 10; i++) {
                order.hang = i < 3;
                story_start(&s[i], &f, "Unary", &order, NULL);
        }
        RUN_UNTIL(&f, f.echo.living == 3);
        run_for(&f, 50);
        g_assert_cmpuint(f.echo.calls, ==, 3); /* the others have not left */
        for (size_t i = 0; i < 3; i++)
                evgrpc_call_cancel(s[i].call);
        for (size_t i = 0; i < 10; i++) {
                g_assert_cmpint(evgrpc_call_wait(s[i].call)->code, ==,
                                i < 3 ? EVGRPC_CANCELLED : EVGRPC_OK);
                story_end(&s[i]);
        }
        fixture_end(&f);
}

#define ADD(name, function) g_test_add_func("/rpc/calls/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("unary-tcp", test_unary_call_over_tcp_is_answered);
        ADD("unary-ipv6", test_unary_call_over_ipv6_is_answered);
        ADD("unary-unix", test_unary_call_over_a_unix_socket_is_answered);
        ADD("name-is-resolved", test_name_of_a_host_is_resolved);
        ADD("future", test_call_without_handlers_is_a_future);
        ADD("first-of-several", test_first_of_several_calls_is_waited_for);
        ADD("list", test_list_arrives_in_order_and_whole);
        ADD("large-messages", test_large_messages_cross_every_boundary);
        ADD("large-window", test_large_messages_go_through_a_larger_window);
        ADD("ten-thousand", test_ten_thousand_calls_are_outstanding_at_once);
        ADD("deadline", test_deadline_travels_and_ends_the_call_on_both_sides);
        ADD("cancel", test_cancelled_call_ends_later_and_once_and_tells_the_server);
        ADD("unimplemented", test_method_that_is_not_served_is_unimplemented);
        ADD("status-message", test_status_message_keeps_every_character);
        ADD("metadata", test_metadata_goes_there_and_back_also_binary);
        ADD("over-long", test_over_long_messages_are_resource_exhausted_either_way);
        ADD("wait-inside-handler", test_wait_inside_a_handler_is_refused);
        ADD("too-many-outstanding", test_too_many_outstanding_calls_are_refused);
        ADD("stream-limit", test_calls_wait_for_the_peers_stream_limit);
        return g_test_run();
}

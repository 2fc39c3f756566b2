/*
 * Streams: both directions, and what a side that does not read costs the other.
 */
#include "rpc-fixture.h"

static void test_client_stream_is_collected(void)
{
        g_autofree char *body = g_strnfill(1000, 'c');
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order_body(&order, body);
        story_start(&s, &f, "Collect", NULL, NULL);
        for (unsigned i = 0; i < 500; i++)
                g_assert_cmpint(evgrpc_call_send(s.call, &order.base), ==, 1);
        g_assert_cmpint(evgrpc_call_close_send(s.call), ==, 0);
        g_assert_cmpint(evgrpc_call_send(s.call, &order.base), ==, -EPIPE);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        const Answer *a = (const Answer *) evgrpc_call_reply(s.call);
        g_assert_cmpuint(a->sum, ==, 500000);
        g_assert_cmpuint(a->number, ==, 500);
        story_end(&s);
        fixture_end(&f);
}

static void test_empty_client_stream_is_answered(void)
{
        Fixture f;
        Story s;

        fixture_begin(&f);
        story_start(&s, &f, "Collect", NULL, NULL);
        g_assert_cmpint(evgrpc_call_close_send(s.call), ==, 0);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 1);
        story_end(&s);
        fixture_end(&f);
}

/* Sends the next when the answer to the last is there: both ways in turn. */
static void on_pong(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Story *s = userdata;
        Order order = ORDER_INIT;

        g_assert_cmpuint(((const Answer *) m)->number, ==, s->messages);
        if (++s->messages == 100) {
                g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
                return;
        }
        order_body(&order, "ping");
        g_assert_cmpint(evgrpc_call_send(call, &order.base), ==, 1);
}

static void test_bidirectional_call_takes_turns(void)
{
        EvgrpcCallHandlers handlers = {.on_message = on_pong, .on_done = story_on_done};
        Order order = ORDER_INIT;
        Fixture f;
        Story s = {.f = &f};

        fixture_begin(&f);
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Chat", NULL, NULL, &handlers, &s, &s.call), ==,
                0);
        order_body(&order, "ping");
        g_assert_cmpint(evgrpc_call_send(s.call, &order.base), ==, 1);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 100);
        story_end(&s);
        fixture_end(&f);
}

static void test_server_may_end_a_stream_the_client_still_sends(void)
{
        g_autofree char *body = g_strnfill(100000, 'c');
        Order order = ORDER_INIT, last = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order_body(&order, body);
        last.code = EVGRPC_ABORTED;
        last.message = (char *) "enough";
        story_start(&s, &f, "Collect", NULL, NULL);
        g_assert_cmpint(evgrpc_call_send(s.call, &last.base), ==, 1);
        for (unsigned i = 0; i < 100; i++)
                g_assert_cmpint(evgrpc_call_send(s.call, &order.base), >=, 0);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_ABORTED);
        g_assert_cmpstr(s.message, ==, "enough");
        g_assert_cmpint(evgrpc_call_send(s.call, &order.base), ==, -EPIPE);
        story_end(&s);
        fixture_end(&f);
}

static void test_slow_reader_costs_a_bounded_queue_and_gets_all_later(void)
{
        Order order = ORDER_INIT;
        Fixture f;
        Story s, other;
        size_t sent;

        fixture_begin(&f);
        order.count = 1000;
        order.reply_size = 65536; /* 64 MiB in all */
        story_start(&s, &f, "List", &order, NULL);
        evgrpc_call_pause(s.call);
        RUN_UNTIL(&f, f.echo.refused > 0);
        do {
                sent = f.echo.sent;
                run_for(&f, 200);
        } while (f.echo.sent != sent); /* the producer stands still */
        /* 1 MiB queued and 1 MiB of window, each exceeded by one message at most */
        g_assert_cmpuint(sent * 65536, <, 4 << 20);
        g_assert_cmpuint(s.messages, ==, 0);

        /* Another call on the same connection is not held up. */
        evgrpc__test__order__init(&order);
        order.reply_size = 3 << 20;
        story_start(&other, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(other.call)->code, ==, EVGRPC_OK);
        story_end(&other);

        evgrpc_call_resume(s.call);
        g_assert_cmpuint(s.messages, ==, 0); /* from the loop, not from in there */
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 1000);
        g_assert_cmpuint(s.bytes, ==, 65536000);
        story_end(&s);
        fixture_end(&f);
}

static void on_message_pause(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        story_on_message(call, m, userdata);
        evgrpc_call_pause(call);
}

static void test_pause_after_each_message_gives_them_one_at_a_time(void)
{
        EvgrpcCallHandlers handlers = {.on_message = on_message_pause, .on_done = story_on_done};
        Order order = ORDER_INIT;
        Fixture f;
        Story s = {.f = &f};

        fixture_begin(&f);
        order.count = 50;
        order.reply_size = 10;
        g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "List", &order.base, NULL, &handlers, &s,
                                          &s.call),
                        ==, 0);
        for (unsigned i = 1; i <= 50; i++) {
                RUN_UNTIL(&f, s.messages == i);
                run_for(&f, 1);
                g_assert_cmpuint(s.messages, ==, i);
                g_assert_cmpuint(s.done, ==, 0); /* the end waits behind the messages */
                evgrpc_call_resume(s.call);
        }
        RUN_UNTIL(&f, s.done == 1);
        g_assert_cmpint(s.code, ==, EVGRPC_OK);
        story_end(&s);
        fixture_end(&f);
}

static void test_paused_call_can_be_cancelled_and_expires(void)
{
        EvgrpcCallOptions options = {.timeout_usec = 50000};
        Order order = ORDER_INIT;
        Fixture f;
        Story s[2];

        fixture_begin(&f);
        order.count = 5;
        for (unsigned i = 0; i < 2; i++) {
                story_start(&s[i], &f, "List", &order, i == 1 ? &options : NULL);
                evgrpc_call_pause(s[i].call);
        }
        run_for(&f, 20);
        evgrpc_call_cancel(s[0].call);
        g_assert_cmpint(evgrpc_call_wait(s[0].call)->code, ==, EVGRPC_CANCELLED);
        g_assert_cmpint(evgrpc_call_wait(s[1].call)->code, ==, EVGRPC_DEADLINE_EXCEEDED);
        for (unsigned i = 0; i < 2; i++) {
                g_assert_cmpuint(s[i].messages, ==, 0);
                story_end(&s[i]);
        }
        fixture_end(&f);
}

typedef struct Producer {
        Story story;
        unsigned left, waited;
        char *body;
} Producer;

static void produce(EvgrpcCall *call, void *userdata)
{
        Producer *p = userdata;

        while (p->left > 0) {
                Order order = ORDER_INIT;
                int r;

                order_body(&order, p->body);
                r = evgrpc_call_send(call, &order.base);
                g_assert_cmpint(r, >=, 0);
                p->left--;
                if (r == 0) {
                        p->waited++;
                        return;
                }
        }
        g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
}

static void on_producer_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        story_on_done(call, status, &((Producer *) userdata)->story);
}

static void test_producer_is_told_to_wait_and_to_go_on(void)
{
        EvgrpcCallHandlers handlers = {.on_writable = produce, .on_done = on_producer_done};
        Producer p = {.left = 400, .body = g_strnfill(100000, 'p')};
        Fixture f;

        fixture_begin(&f);
        g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "Collect", NULL, NULL, &handlers, &p,
                                          &p.story.call),
                        ==, 0);
        produce(p.story.call, &p);
        g_assert_cmpuint(p.left, >, 380); /* 1 MiB, not 40 MB */
        g_assert_cmpint(evgrpc_call_wait(p.story.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(p.waited, >, 10);
        g_assert_cmpuint(((const Answer *) evgrpc_call_reply(p.story.call))->sum, ==, 40000000);
        story_end(&p.story);
        g_free(p.body);
        fixture_end(&f);
}

static void test_queue_has_an_end(void)
{
        g_autofree char *body = g_strnfill(4000000, 'q');
        Order order = ORDER_INIT;
        int r, sends = 0;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order_body(&order, body);
        story_start(&s, &f, "Collect", NULL, NULL);
        while ((r = evgrpc_call_send(s.call, &order.base)) >= 0)
                g_assert_cmpint(++sends, <, 100);
        g_assert_cmpint(r, ==, -ENOBUFS);
        g_assert_cmpint(sends, ==, 17); /* beyond 64 MiB */
        evgrpc_call_cancel(s.call);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_CANCELLED);
        story_end(&s);
        fixture_end(&f);
}

/* ---- A service that protoc-c generated
 * ---------------------------------------------------------- */

typedef struct Generated {
        Evgrpc__Test__Echo_Service base;
        Evgrpc__Test__Answer_Closure kept;
        void *kept_data;
} Generated;

static void generated_unary(Evgrpc__Test__Echo_Service *service, const Order *input,
                            Evgrpc__Test__Answer_Closure closure, void *closure_data)
{
        Generated *g = (Generated *) service;
        Answer answer = EVGRPC__TEST__ANSWER__INIT;

        if (input->hang) {
                g->kept = closure;
                g->kept_data = closure_data;
                return;
        }
        answer.body = input->body;
        closure(input->code ? NULL : &answer, closure_data);
}

static void generated_other(Evgrpc__Test__Echo_Service *service, const Order *input,
                            Evgrpc__Test__Answer_Closure closure, void *closure_data)
{
        closure(NULL, closure_data);
}

#define generated_list generated_other
#define generated_collect generated_other
#define generated_chat generated_other
#define generated_missing generated_other

static void test_generated_service_is_served(void)
{
        Generated g = {.base = EVGRPC__TEST__ECHO__INIT(generated_)};
        Answer answer = EVGRPC__TEST__ANSWER__INIT;
        EvgrpcServer *server;
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        evgrpc_channel_free(f.channel);
        free(f.address);
        g_assert_cmpint(evgrpc_server_new(f.base, NULL, &server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_protobuf_service(server, &g.base.base), ==, 0);
        g_assert_cmpint(evgrpc_server_add_protobuf_service(server, &g.base.base), ==, -EEXIST);
        g_assert_cmpint(evgrpc_server_listen(server, "127.0.0.1:0", &f.address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(f.base, f.address, NULL, &f.channel), ==, 0);

        order_body(&order, "generated");
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.bytes, ==, 9);
        story_end(&s);
        order.code = 1; /* no reply */
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_INTERNAL);
        story_end(&s);
        /* A closure that is called when the client and its connection have gone. */
        order.hang = true;
        story_start(&s, &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, g.kept);
        evgrpc_call_cancel(s.call);
        run_for(&f, 20);
        f.channel = evgrpc_channel_free(f.channel);
        RUN_UNTIL(&f, evgrpc_server_connection_count(server) == 0);
        g.kept(&answer, g.kept_data);
        story_end(&s);
        evgrpc_server_free(server);
        fixture_end(&f);
}

#define ADD(name, function) g_test_add_func("/rpc/streams/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("collect", test_client_stream_is_collected);
        ADD("collect-empty", test_empty_client_stream_is_answered);
        ADD("chat", test_bidirectional_call_takes_turns);
        ADD("early-end", test_server_may_end_a_stream_the_client_still_sends);
        ADD("slow-reader", test_slow_reader_costs_a_bounded_queue_and_gets_all_later);
        ADD("pause-each", test_pause_after_each_message_gives_them_one_at_a_time);
        ADD("paused-ends", test_paused_call_can_be_cancelled_and_expires);
        ADD("producer", test_producer_is_told_to_wait_and_to_go_on);
        ADD("queue-limit", test_queue_has_an_end);
        ADD("generated", test_generated_service_is_served);
        return g_test_run();
}

/*
 * Peers that break the rules, and networks that break in the middle: every call ends with a status,
 * the server goes on with others, and nothing is kept.
 */
#include "rpc/framing.h"
#include "rpc-relay.h"

typedef struct RawPeer {
        int fd;
        GByteArray *got;
        bool closed;
} RawPeer;

static void raw_connect(RawPeer *p, Fixture *f)
{
        struct sockaddr_storage to;
        int size = sizeof(to);

        g_assert_cmpint(evutil_parse_sockaddr_port(f->address, (struct sockaddr *) &to, &size), ==,
                        0);
        *p = (RawPeer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                       .got = g_byte_array_new()};
        g_assert_cmpint(connect(p->fd, (struct sockaddr *) &to, (socklen_t) size), ==, 0);
        evutil_make_socket_nonblocking(p->fd);
}

static void raw_send(RawPeer *p, const void *data, size_t size)
{
        (void) !send(p->fd, data, size, MSG_NOSIGNAL);
}

static bool raw_is_closed(RawPeer *p)
{
        uint8_t buffer[4096];
        ssize_t n = recv(p->fd, buffer, sizeof(buffer), 0);

        if (n > 0)
                g_byte_array_append(p->got, buffer, (guint) n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
                p->closed = true;
        return p->closed;
}

static void raw_end(RawPeer *p)
{
        close(p->fd);
        g_byte_array_unref(p->got);
}

static void check_good_call(Fixture *f, EvgrpcChannel *channel)
{
        Order order = ORDER_INIT;
        Story s;

        order_body(&order, "hello");
        story_start_on(&s, f, channel, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
}

static void check_is_thrown_out(const void *bytes, size_t size)
{
        RawPeer p;
        Fixture f;

        fixture_begin(&f);
        raw_connect(&p, &f);
        raw_send(&p, bytes, size);
        RUN_UNTIL(&f, raw_is_closed(&p));
        check_good_call(&f, f.channel); /* others notice nothing */
        RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 1);
        raw_end(&p);
        fixture_end(&f);
}

static void test_peer_that_speaks_http1_is_thrown_out(void)
{
        static const char text[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

        check_is_thrown_out(text, sizeof(text) - 1);
}

static void test_peer_that_speaks_garbage_is_thrown_out(void)
{
        uint8_t garbage[4096];

        for (size_t i = 0; i < sizeof(garbage); i++)
                garbage[i] = (uint8_t) g_test_rand_int();
        check_is_thrown_out(garbage, sizeof(garbage));
}

static void test_garbage_behind_a_good_preface_is_thrown_out(void)
{
        static const char text[] =
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
                "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";

        check_is_thrown_out(text, sizeof(text) - 1);
}

static void test_silent_peer_keeps_nobody_from_being_served(void)
{
        RawPeer p;
        Fixture f;

        fixture_begin(&f);
        raw_connect(&p, &f);
        raw_send(&p, "PRI", 3);
        check_good_call(&f, f.channel);
        g_assert_cmpuint(evgrpc_server_connection_count(f.server), ==, 2);
        raw_end(&p);
        RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 1);
        fixture_end(&f);
}

static void test_connections_beyond_the_limit_are_closed(void)
{
        EvgrpcServerOptions options = {.max_connections = 2};
        RawPeer p[4];
        unsigned closed = 0;
        Fixture f;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        for (size_t i = 0; i < 4; i++)
                raw_connect(&p[i], &f);
        RUN_UNTIL(&f, (closed = raw_is_closed(&p[0]) + raw_is_closed(&p[1]) + raw_is_closed(&p[2]) +
                                raw_is_closed(&p[3])) == 2);
        g_assert_cmpuint(evgrpc_server_connection_count(f.server), ==, 2);
        for (size_t i = 0; i < 4; i++)
                raw_end(&p[i]);
        fixture_end(&f);
}

/* ---- Through the relay
 * -------------------------------------------------------------------------- */

typedef struct Relayed {
        Fixture f;
        Relay relay;
        EvgrpcChannel *channel;
} Relayed;

static void relayed_begin(Relayed *x)
{
        fixture_begin(&x->f);
        relay_begin(&x->relay, &x->f);
        g_assert_cmpint(evgrpc_channel_new(x->f.base, x->relay.address, NULL, &x->channel), ==, 0);
}

static void relayed_end(Relayed *x)
{
        x->channel = evgrpc_channel_free(x->channel);
        relay_end(&x->relay);
        fixture_end(&x->f);
}

static void test_frames_that_come_byte_by_byte_are_understood(void)
{
        Order order = ORDER_INIT;
        Relayed x;
        Story s;

        relayed_begin(&x);
        x.relay.one_by_one = true;
        check_good_call(&x.f, x.channel);
        order.count = 20;
        order.reply_size = 100;
        story_start_on(&s, &x.f, x.channel, "List", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.messages, ==, 20);
        g_assert_cmpuint(s.bytes, ==, 2000);
        story_end(&s);
        relayed_end(&x);
}

static size_t cut_one_call(unsigned from, size_t after, bool *ret_cut)
{
        EvgrpcCallOptions options = {.timeout_usec = 5000000};
        Order order = ORDER_INIT;
        EvgrpcCode code;
        Relayed x;
        Story s;

        relayed_begin(&x);
        x.relay.cut_after[from] = after;
        order.count = 3;
        order.reply_size = 50;
        story_start_on(&s, &x.f, x.channel, "List", &order, &options);
        code = evgrpc_call_wait(s.call)->code;
        *ret_cut = x.relay.bytes[from] >= after;
        if (code == EVGRPC_OK)
                g_assert_cmpuint(s.messages, ==, 3); /* never OK and less */
        else
                g_assert_cmpint(code, ==, EVGRPC_UNAVAILABLE);
        story_end(&s);
        relayed_end(&x);
        return after;
}

static void test_connection_cut_after_any_byte_is_unavailable(void)
{
        for (unsigned from = 0; from < 2; from++) {
                bool cut = true;

                for (size_t after = 1; cut && after < 2000; after++)
                        cut_one_call(from, after, &cut);
                g_assert_false(cut); /* the whole exchange was tried */
        }
}

static void test_any_changed_byte_ends_in_a_status(void)
{
        for (unsigned i = 0; i < 400; i++) {
                EvgrpcCallOptions options = {.timeout_usec = 100000};
                Order order = ORDER_INIT;
                Relayed x;
                Story s;

                relayed_begin(&x);
                x.relay.flip_at[i % 2] = (size_t) g_test_rand_int_range(0, i % 2 ? 250 : 350);
                x.relay.flip = (uint8_t) g_test_rand_int_range(1, 256);
                order.count = 3;
                order.reply_size = 20;
                story_start_on(&s, &x.f, x.channel, "List", &order, &options);
                (void) evgrpc_call_wait(s.call);
                story_end(&s);
                check_good_call(&x.f, x.f.channel); /* past the relay: the server lives */
                relayed_end(&x);
        }
}

static void check_prefix_flag(uint8_t flag, EvgrpcCode expected)
{
        Order order = ORDER_INIT;
        Relayed x;
        Story s;

        relayed_begin(&x);
        order_body(&order, "hello");
        x.relay.needle = "\0\0\0\0\x07\n\x05hello";
        x.relay.needle_size = 12;
        x.relay.replacement = flag;
        story_start_on(&s, &x.f, x.channel, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, expected);
        g_assert_cmpuint(x.f.echo.calls, ==, 0);
        story_end(&s);
        relayed_end(&x);
}

static void test_compressed_message_is_unimplemented(void)
{
        check_prefix_flag(1, EVGRPC_UNIMPLEMENTED);
}

static void test_unknown_prefix_flag_is_internal(void)
{
        check_prefix_flag(2, EVGRPC_INTERNAL);
}

static void test_request_that_is_no_message_is_internal(void)
{
        Order order = ORDER_INIT;
        Relayed x;
        Story s;

        relayed_begin(&x);
        order_body(&order, "hello");
        x.relay.needle = "\n\x05hello";
        x.relay.needle_size = 7;
        x.relay.replacement = 0xff;
        story_start_on(&s, &x.f, x.channel, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_INTERNAL);
        g_assert_cmpuint(x.f.echo.calls, ==, 0);
        story_end(&s);
        relayed_end(&x);
}

static void test_metadata_beyond_the_limit_is_resource_exhausted(void)
{
        g_autofree char *value = g_strnfill(20000, 'v');
        EvgrpcMetadataEntry entry = {"x-long", value, 20000};
        EvgrpcCallOptions options = {.metadata = {&entry, 1}};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        story_start(&s, &f, "Unary", &order, &options);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_RESOURCE_EXHAUSTED);
        g_assert_cmpuint(f.echo.calls, ==, 0);
        story_end(&s);
        check_good_call(&f, f.channel);
        fixture_end(&f);
}

/* Each of many calls sends a message but for its last part: no more is kept than the limit. */
static void test_many_half_messages_cost_a_bounded_memory(void)
{
        enum { N = 40 };
        size_t size = 2 << 20;
        g_autofree uint8_t *data = g_malloc0(size);
        RpcReader readers[N] = {};
        RpcBudget all = {.limit = 100 << 20}, one = {.limit = 32 << 20, .parent = &all};
        unsigned refused = 0;

        rpc_prefix_write(data, (uint32_t) size);
        for (unsigned i = 0; i < N; i++) {
                const uint8_t *at = data, *message;
                size_t left = size - 1, n;
                int r;

                readers[i].budget = &one;
                r = rpc_reader_feed(&readers[i], &at, &left, 4 << 20, &message, &n);
                if (r == -EDQUOT)
                        refused++;
                else
                        g_assert_cmpint(r, ==, 0);
                g_assert_cmpuint(one.used, <=, one.limit);
        }
        g_assert_cmpuint(refused, >=, N - 16);
        for (unsigned i = 0; i < N; i++)
                rpc_reader_done(&readers[i]);
        g_assert_cmpuint(one.used, ==, 0);
        g_assert_cmpuint(all.used, ==, 0);
}

#define ADD(name, function) g_test_add_func("/rpc/hostile/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("http1", test_peer_that_speaks_http1_is_thrown_out);
        ADD("garbage", test_peer_that_speaks_garbage_is_thrown_out);
        ADD("garbage-after-preface", test_garbage_behind_a_good_preface_is_thrown_out);
        ADD("silent", test_silent_peer_keeps_nobody_from_being_served);
        ADD("max-connections", test_connections_beyond_the_limit_are_closed);
        ADD("byte-by-byte", test_frames_that_come_byte_by_byte_are_understood);
        ADD("cut-anywhere", test_connection_cut_after_any_byte_is_unavailable);
        ADD("flip-anywhere", test_any_changed_byte_ends_in_a_status);
        ADD("compressed", test_compressed_message_is_unimplemented);
        ADD("prefix-flag", test_unknown_prefix_flag_is_internal);
        ADD("not-a-message", test_request_that_is_no_message_is_internal);
        ADD("half-messages", test_many_half_messages_cost_a_bounded_memory);
        ADD("metadata-limit", test_metadata_beyond_the_limit_is_resource_exhausted);
        return g_test_run();
}

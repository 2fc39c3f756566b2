/*
 * Peers that wear a server down: slowly, by numbers, or by size. Each costs a bounded amount,
 * others are served meanwhile, and in the end nothing is kept.
 */
#include "rpc/framing.h"
#include "rpc-raw.h"

static void check_good_call(Fixture *f)
{
        Order order = ORDER_INIT;
        Story s;

        order_body(&order, "hello");
        story_start(&s, f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
}

static void check_is_thrown_out(Fixture *f, Raw *p)
{
        RUN_UNTIL(f, (raw_turn(p), p->closed));
        check_good_call(f);
        RUN_UNTIL(f, evgrpc_server_connection_count(f->server) == 1);
        g_assert_cmpuint(f->echo.living, ==, 0);
}

/* ---- Slowness
 * ----------------------------------------------------------------------------------- */

static size_t resident_bytes(void)
{
        g_autofree char *text = NULL;
        size_t total = 0, resident = 0;

        g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
        g_assert_cmpint(sscanf(text, "%zu %zu", &total, &resident), ==, 2);
        return resident * (size_t) sysconf(_SC_PAGESIZE);
}

typedef struct Slow {
        Story s;
        struct event *go_on;
        size_t peak;
} Slow;

static void on_slow_message(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Slow *slow = userdata;

        slow->s.messages++;
        slow->s.bytes += ((const Answer *) m)->body.len;
        slow->peak = MAX(slow->peak, resident_bytes());
        evgrpc_call_pause(call);
        event_active(slow->go_on, EV_TIMEOUT, 0);
}

static void on_go_on(evutil_socket_t fd, short what, void *userdata)
{
        Slow *slow = userdata;

        evgrpc_call_resume(slow->s.call);
}

static void on_slow_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        ((Slow *) userdata)->s.code = status->code;
        ((Slow *) userdata)->s.done++;
}

static void test_slow_reader_of_a_gibibyte_costs_a_few_mebibytes(void)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_slow_message,
                                                    .on_done = on_slow_done};
        size_t before;
        Order order = ORDER_INIT;
        Slow slow = {};
        Fixture f;

        fixture_begin(&f);
        check_good_call(&f);
        before = resident_bytes();
        slow.go_on = event_new(f.base, -1, 0, on_go_on, &slow);
        order.count = 1024;
        order.reply_size = 1 << 20;
        g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "List", &order.base, NULL, &handlers,
                                          &slow, &slow.s.call),
                        ==, 0);
        evgrpc_call_pause(slow.s.call);
        RUN_UNTIL(&f, f.echo.refused > 0);
        run_for(&f, 100); /* it reads nothing at all for a while */
        slow.peak = resident_bytes();
        evgrpc_call_resume(slow.s.call);
        g_assert_cmpint(evgrpc_call_wait(slow.s.call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(slow.s.messages, ==, 1024);
        g_assert_cmpuint(slow.s.bytes, ==, (uint64_t) 1 << 30);
        g_test_message("1 GiB through a reader that pauses after each MiB: at most %zu KiB more, "
                       "client and server together",
                       (slow.peak - MIN(slow.peak, before)) / 1024);
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
        g_assert_cmpuint(slow.peak, <, before + (24 << 20));
#endif
        evgrpc_call_unref(slow.s.call);
        event_free(slow.go_on);
        fixture_end(&f);
}

static void test_headers_that_trickle_in_are_given_up(void)
{
        EvgrpcServerOptions options = {.header_timeout_usec = 200000};
        g_autoptr(GByteArray) block = raw_block("Unary");
        gint64 begin;
        Fixture f;
        Raw p;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        check_good_call(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_frame(&p, RAW_HEADERS, 0, 1, block->data, block->len);
        /* CONTINUATION of 8000 bytes: a field with a name of 7000, which comes byte by byte. */
        g_byte_array_append(p.out, (const uint8_t *) "\0\x1f\x40\x09\0\0\0\0\1\0\x7f\xd9\x35", 13);
        begin = g_get_monotonic_time();
        while (raw_turn(&p) ||
               (!p.closed && g_get_monotonic_time() < begin + 20 * G_USEC_PER_SEC)) {
                run_for(&f, 10);
                g_byte_array_append(p.out, (const uint8_t *) "x", 1);
        }
        g_assert_true(p.closed);
        check_is_thrown_out(&f, &p);
        raw_end(&p);
        fixture_end(&f);
}

static void test_client_that_never_opens_is_given_up(void)
{
        EvgrpcServerOptions options = {.header_timeout_usec = 100000};
        Fixture f;
        Raw p;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        check_good_call(&f);
        raw_begin(&p, &f, NULL, 0);
        g_byte_array_set_size(p.out, 3); /* "PRI" */
        check_is_thrown_out(&f, &p);
        run_for(&f, 300); /* the good connection stays */
        g_assert_true(evgrpc_channel_is_connected(f.channel));
        raw_end(&p);
        fixture_end(&f);
}

static void answer_pings(Raw *p, size_t *at)
{
        RawFrame frame;

        while (raw_next(p, at, &frame))
                if (frame.type == RAW_PING && !(frame.flags & RAW_ACK))
                        raw_frame(p, RAW_PING, RAW_ACK, 0, frame.data, frame.size);
}

static void test_half_open_connection_is_ended_by_the_servers_keepalive(void)
{
        EvgrpcServerOptions options = {.keepalive_usec = 50000, .keepalive_timeout_usec = 2000000};
        Order order = ORDER_INIT;
        size_t at = 0;
        Fixture f;
        Raw p;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        raw_begin(&p, &f, NULL, 0);
        order.hang = true;
        raw_call(&p, 1, "Unary", &order);
        while (f.echo.calls == 0 ||
               raw_count(&p, RAW_PING, 0) < 3) { /* as long as it answers it lives */
                raw_turn(&p);
                answer_pings(&p, &at);
                run_for(&f, 1);
                g_assert_false(p.closed);
        }
        g_assert_cmpuint(f.echo.living, ==, 1);
        RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 0); /* it answers no more */
        g_assert_cmpuint(f.echo.cancelled, ==, 1);
        raw_end(&p);
        fixture_end(&f);
}

/* ---- Numbers
 * ------------------------------------------------------------------------------------ */

static void test_flood_of_resets_ends_the_connection(void)
{
        enum { PAIRS = 1000000, PER_TURN = 200 };
        gint64 begin = g_get_monotonic_time();
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        for (unsigned i = 0; i < PAIRS && !p.closed; i++) {
                raw_headers(&p, 2 * i + 1, "Collect");
                raw_frame(&p, RAW_RST, 0, 2 * i + 1, "\0\0\0\x08", 4);
                while (i % PER_TURN == 0 && raw_turn(&p))
                        run_for(&f, 1);
        }
        RUN_UNTIL(&f, !raw_turn(&p));
#ifdef EVGRPC_HAVE_RESET_RATE_LIMIT
        check_is_thrown_out(&f, &p);
        /* 20000 and 2000 a second, of which one is begun; and what was read with the last of
         * them. */
        g_assert_cmpuint(f.echo.calls, <=,
                         20000 + 2000 * (2 + (g_get_monotonic_time() - begin) / G_USEC_PER_SEC));
#else
        g_test_skip("this nghttp2 cannot limit resets");
#endif
        raw_end(&p);
        fixture_end(&f);
}

static void test_endless_continuation_is_thrown_out(void)
{
        g_autoptr(GByteArray) block = raw_block("Unary");
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_frame(&p, RAW_HEADERS, 0, 1, block->data, block->len);
        for (unsigned i = 0; i < 1000000 && !p.closed; i++) {
                raw_frame(&p, RAW_MORE, 0, 1, "\0\1x\1y", 5);
                while (i % 200 == 0 && raw_turn(&p))
                        run_for(&f, 1);
        }
        check_is_thrown_out(&f, &p);
        raw_end(&p);
        fixture_end(&f);
}

/* One field of 3 KiB in the table, then thousands of one-byte references to it. */
static void test_headers_that_unfold_are_not_kept(void)
{
        g_autoptr(GByteArray) block = raw_block("Collect");
        g_autofree char *value = g_strnfill(3000, 'v');
        size_t before = resident_bytes(), after;
        Fixture f;
        Raw p;

        fixture_begin(&f);
        /* Literal with incremental indexing; 3000 = 127 + 2873 as a 7-bit prefix integer. */
        g_byte_array_append(block, (const uint8_t *) "\x40\3x-b\x7f\xb9\x16", 8);
        g_byte_array_append(block, (const uint8_t *) value, 3000);
        for (unsigned i = 0; i < 12000; i++)
                g_byte_array_append(block, (const uint8_t *) "\xbe", 1); /* index 62 */
        raw_begin(&p, &f, NULL, 0);
        raw_frame(&p, RAW_HEADERS, RAW_END_HEADERS, 1, block->data, block->len);
        RUN_UNTIL(&f, (raw_turn(&p), p.closed || raw_count(&p, RAW_HEADERS, 1) > 0));
        after = resident_bytes();
        g_assert_cmpuint(f.echo.calls, ==, 0);
        g_assert_cmpuint(after, <, before + (8 << 20)); /* 36 MB unfolded */
        check_good_call(&f);
        raw_end(&p);
        fixture_end(&f);
}

/* A client that takes no reply byte, and asks for more and more. */
static void test_closed_window_keeps_a_bounded_number_of_replies(void)
{
        enum { CALLS = 200 };
        static const uint8_t settings[] = {0, 4, 0, 0, 0, 0}; /* INITIAL_WINDOW_SIZE 0 */
        Order order = ORDER_INIT;
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, settings, sizeof(settings));
        order.reply_size = 1 << 20;
        for (unsigned i = 0; i < CALLS; i++)
                raw_call(&p, 2 * i + 1, "Unary", &order);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, UINT32_MAX) == CALLS));
        g_assert_cmpuint(f.echo.calls, <=, 65); /* 64 MiB wait; the others were refused */
        g_assert_cmpuint(f.echo.calls, >=, 60);
        check_good_call(&f);
        raw_end(&p);
        RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 1);
        fixture_end(&f);
}

static void test_window_beyond_its_maximum_is_thrown_out(void)
{
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_frame(&p, RAW_WINDOW, 0, 0, "\x7f\xff\xff\xff", 4);
        raw_frame(&p, RAW_WINDOW, 0, 0, "\x7f\xff\xff\xff", 4);
        check_is_thrown_out(&f, &p);
        raw_end(&p);
        fixture_end(&f);
}

/* ---- Sizes
 * -------------------------------------------------------------------------------------- */

static void test_peer_that_takes_frames_of_4_mib_gets_every_byte(void)
{
        static const uint8_t settings[] = {0, 5, 0, 0x40, 0, 0,  /* MAX_FRAME_SIZE 4 MiB */
                                           0, 4, 1, 0,    0, 0}; /* INITIAL_WINDOW_SIZE 16 MiB */
        Order order = ORDER_INIT;
        size_t at = 0, bytes = 0;
        RawFrame frame = {};
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, settings, sizeof(settings));
        raw_frame(&p, RAW_WINDOW, 0, 0, "\1\0\0\0", 4);
        order.reply_size = 10 << 20;
        raw_call(&p, 1, "Unary", &order);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, 1) == 2)); /* and trailers */
        while (raw_next(&p, &at, &frame))
                if (frame.type == RAW_DATA)
                        bytes += frame.size;
        g_assert_cmpuint(bytes, >, 10 << 20);
        g_assert_cmpuint(bytes, <, (10 << 20) + 64);
        raw_end(&p);
        fixture_end(&f);
}

static void test_frame_above_our_limit_is_thrown_out(void)
{
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_headers(&p, 1, "Collect");
        g_byte_array_append(p.out, (const uint8_t *) "\x40\0\0\0\0\0\0\0\1", 9); /* 4 MiB of DATA */
        check_is_thrown_out(&f, &p);
        raw_end(&p);
        fixture_end(&f);
}

static void check_bad_message(const char *method, const void *data, size_t size)
{
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_headers(&p, 1, method);
        raw_frame(&p, RAW_DATA, RAW_END_STREAM, 1, data, size);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, 1) == 1));
        g_assert_false(p.closed); /* the call failed, not the connection */
        g_assert_cmpuint(f.echo.living, ==, 0);
        g_assert_cmpuint(f.echo.calls, ==, f.echo.cancelled);
        check_good_call(&f);
        raw_end(&p);
        fixture_end(&f);
}

static void test_bad_messages_end_their_call_and_the_handler_hears_of_it(void)
{
        static const char *const methods[] = {"Unary", "List", "Collect", "Chat"};

        for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
                check_bad_message(methods[i], "\0\0\0\0\x09xyz", 8);     /* cut short */
                check_bad_message(methods[i], "\0\0\0\0", 4);            /* in its prefix */
                check_bad_message(methods[i], "\0\xff\xff\xff\xffx", 6); /* too long */
                check_bad_message(methods[i], "\1\0\0\0\1x", 6);         /* compressed */
                check_bad_message(methods[i], "\0\0\0\0\3\n\x13x", 8);   /* no Order */
        }
}

/* The error code of the one GOAWAY that came. */
static uint32_t goaway_code(const Raw *p)
{
        size_t at = 0;
        RawFrame frame;

        g_assert_cmpuint(raw_count(p, RAW_GOAWAY, 0), ==, 1);
        while (raw_next(p, &at, &frame))
                if (frame.type == RAW_GOAWAY)
                        return (uint32_t) frame.data[4] << 24 | (uint32_t) frame.data[5] << 16 |
                               (uint32_t) frame.data[6] << 8 | frame.data[7];
        g_assert_not_reached();
}

/* RFC 9113 §7 */
#define RAW_STREAM_CLOSED 5u
#define RAW_FRAME_SIZE_ERROR 6u

static void check_misuse(bool after_the_end, bool headers, bool split)
{
        Order order = ORDER_INIT;
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        if (after_the_end) {
                raw_call(&p, 1, "Unary", &order);
                RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, 1) == 2));
        } else { /* all in one piece */
                raw_headers(&p, 1, "Collect");
                raw_frame(&p, RAW_RST, 0, 1, "\0\0\0\x08", 4);
        }
        if (headers)
                raw_headers(&p, 1, "Unary");
        else
                raw_frame(&p, RAW_DATA, RAW_END_STREAM, 1, "test", 4);
        if (split) { /* within the frame's head */
                GByteArray *rest = g_byte_array_new();

                g_byte_array_append(rest, p.out->data + p.out->len - 8, 8);
                g_byte_array_set_size(p.out, p.out->len - 8);
                RUN_UNTIL(&f, !raw_turn(&p));
                run_for(&f, 20);
                g_assert_false(p.closed);
                g_byte_array_unref(p.out);
                p.out = rest;
        }
        check_is_thrown_out(&f, &p);
        g_assert_cmpuint(goaway_code(&p), ==, RAW_STREAM_CLOSED);
        raw_end(&p);
        fixture_end(&f);
}

static void test_stream_that_its_client_has_ended_is_not_used_again(void)
{
        for (unsigned i = 0; i < 8; i++)
                check_misuse(i & 1, i & 2, (i & 4) && !(i & 2));
}

/* What crosses the end that the server made is no misuse. */
static void test_stream_that_the_server_has_ended_may_go_on_a_little(void)
{
        static const char *const methods[] = {"Missing", "Collect"};
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        for (uint32_t i = 0; i < 2; i++) {
                uint32_t id = 1 + 2 * i;

                raw_headers(&p, id, methods[i]);
                raw_frame(&p, RAW_DATA, 0, id, "\2\0\0\0\1", 5); /* wrong framing */
                RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_RST, id) == 1));
                raw_frame(&p, RAW_DATA, 0, id, "test", 4);
                raw_frame(&p, RAW_DATA, RAW_END_STREAM, id, "test", 4);
        }
        raw_call(&p, 5, "Unary", &(Order) ORDER_INIT);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, 5) == 2));
        g_assert_cmpuint(raw_count(&p, RAW_GOAWAY, UINT32_MAX), ==, 0);
        raw_end(&p);
        fixture_end(&f);
}

/* 20 KB of headers in one frame: more than HTTP/2's 16384, which is what is announced but for
 * bulk. */
static void test_headers_above_the_frame_size_are_thrown_out(void)
{
        g_autoptr(GByteArray) block = raw_block("Unary");
        g_autofree char *value = g_strnfill(20000, 'v');
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        /* 20000 = 127 + 19873 as a 7-bit prefix integer. */
        g_byte_array_append(block, (const uint8_t *) "\0\3x-b\x7f\xa1\x9b\1", 9);
        g_byte_array_append(block, (const uint8_t *) value, 20000);
        raw_frame(&p, RAW_HEADERS, RAW_END_STREAM | RAW_END_HEADERS, 1, block->data, block->len);
        check_is_thrown_out(&f, &p);
        g_assert_cmpuint(goaway_code(&p), ==, RAW_FRAME_SIZE_ERROR);
        g_assert_cmpuint(f.echo.calls, ==, 1); /* the good one */
        raw_end(&p);
        fixture_end(&f);
}

static void test_server_for_bulk_takes_frames_of_a_mebibyte(void)
{
        EvgrpcServerOptions options = {.window_bytes = 4 << 20};
        Order order = ORDER_INIT;
        uint8_t *message = g_malloc(1 << 20);
        size_t size;
        Fixture f;
        Raw p;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        raw_begin(&p, &f, NULL, 0);
        RUN_UNTIL(&f, (raw_turn(&p),
                       raw_count(&p, RAW_SETTINGS, 0) == 2)); /* its, and ours agreed to */
        raw_frame(&p, RAW_SETTINGS, 1, 0, NULL, 0);
        order.body.data = g_malloc0((1 << 20) - 64);
        order.body.len = (1 << 20) - 64;
        size = evgrpc__test__order__pack(&order, message + 5);
        rpc_prefix_write(message, (uint32_t) size);
        raw_headers(&p, 1, "Collect");
        raw_frame(&p, RAW_DATA, RAW_END_STREAM, 1, message, 5 + size);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_HEADERS, 1) == 2));
        g_assert_cmpuint(f.echo.calls, ==, 1);
        g_assert_false(p.closed);
        raw_end(&p);
        fixture_end(&f);
        g_free(order.body.data);
        g_free(message);
}

static void test_request_that_is_not_grpc_is_answered_as_http(void)
{
        Fixture f;
        Raw p;

        fixture_begin(&f);
        raw_begin(&p, &f, NULL, 0);
        raw_frame(&p, RAW_HEADERS, RAW_END_STREAM | RAW_END_HEADERS, 1, "\x82\x86\x84\x41\1a", 6);
        RUN_UNTIL(&f, (raw_turn(&p), raw_count(&p, RAW_DATA, 1) == 1));
        g_assert_nonnull(memmem(p.got->data, p.got->len, "gRPC", 4));
        check_good_call(&f);
        raw_end(&p);
        fixture_end(&f);
}

#define ADD(name, function) g_test_add_func("/rpc/faults/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("slow-reader", test_slow_reader_of_a_gibibyte_costs_a_few_mebibytes);
        ADD("slow-headers", test_headers_that_trickle_in_are_given_up);
        ADD("no-opening", test_client_that_never_opens_is_given_up);
        ADD("half-open", test_half_open_connection_is_ended_by_the_servers_keepalive);
        ADD("reset-flood", test_flood_of_resets_ends_the_connection);
        ADD("continuation-flood", test_endless_continuation_is_thrown_out);
        ADD("unfolding-headers", test_headers_that_unfold_are_not_kept);
        ADD("closed-window", test_closed_window_keeps_a_bounded_number_of_replies);
        ADD("window-overflow", test_window_beyond_its_maximum_is_thrown_out);
        ADD("large-frames", test_peer_that_takes_frames_of_4_mib_gets_every_byte);
        ADD("frame-too-large", test_frame_above_our_limit_is_thrown_out);
        ADD("bad-messages", test_bad_messages_end_their_call_and_the_handler_hears_of_it);
        ADD("stream-used-again", test_stream_that_its_client_has_ended_is_not_used_again);
        ADD("stream-crosses-its-end", test_stream_that_the_server_has_ended_may_go_on_a_little);
        ADD("headers-frame-size", test_headers_above_the_frame_size_are_thrown_out);
        ADD("frames-for-bulk", test_server_for_bulk_takes_frames_of_a_mebibyte);
        ADD("not-grpc", test_request_that_is_not_grpc_is_answered_as_http);
        return g_test_run();
}

/*
 * At most once across connections: each rule of evgrpc.h's section, on the wire and by the library.
 *
 * Tries on the wire are made with plain metadata, so that what a client in another language may
 * send is covered, and the server is not tested only by its own client.
 */
#include "rpc/once-table.h"
#include "rpc-once-fixture.h"
#include "rpc-relay.h"
#include "tls-certificates.h"

#define CLIENT_A "00112233445566778899aabbccddeeff"
#define CLIENT_B "ffeeddccbbaa99887766554433221100"

/* One try with these words; NULL leaves one out. */
static void start_try(Story *s, OnceFixture *o, EvgrpcChannel *channel, const char *method,
                      const Order *order, const char *client, const char *seq, const char *ack,
                      const char *epoch)
{
        const char *words[][2] = {{"x-rpc-client", client},
                                  {"x-rpc-seq", seq},
                                  {"x-rpc-ack", ack},
                                  {"x-rpc-epoch", epoch}};
        EvgrpcMetadataEntry entries[4];
        EvgrpcCallOptions options = {.unary = true, .metadata = {.entries = entries}};

        for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
                if (words[i][1])
                        entries[options.metadata.count++] =
                                (EvgrpcMetadataEntry){.key = words[i][0],
                                                      .value = words[i][1],
                                                      .value_size = strlen(words[i][1])};
        story_start_on(s, &o->f, channel, method, order, &options);
}

static char *reply_text(Story *s)
{
        const Answer *a = (const Answer *) evgrpc_call_reply(s->call);

        return a ? g_strndup((const char *) a->body.data, a->body.len) : NULL;
}

/* One try to its end. */
static EvgrpcCode try_on(OnceFixture *o, EvgrpcChannel *channel, const char *method,
                         const char *body, const char *client, const char *seq, const char *ack,
                         const char *epoch, char **ret_text)
{
        Order order = ORDER_INIT;
        EvgrpcCode code;
        Story s;

        order_body(&order, body);
        start_try(&s, o, channel, method, &order, client, seq, ack, epoch);
        code = evgrpc_call_wait(s.call)->code;
        if (ret_text)
                *ret_text = code == EVGRPC_OK ? reply_text(&s) : g_strdup(s.message);
        story_end(&s);
        return code;
}

static EvgrpcCode try(OnceFixture *o, const char *body, const char *client, const char *seq,
                      const char *ack, const char *epoch)
{
        return try_on(o, o->f.channel, "Unary", body, client, seq, ack, epoch, NULL);
}

static EvgrpcChannel *another_channel(OnceFixture *o)
{
        EvgrpcChannel *c;

        g_assert_cmpint(evgrpc_channel_new(o->f.base, o->f.address, NULL, &c), ==, 0);
        return c;
}

/* What the server says of itself in a reply. */
static char *server_epoch(OnceFixture *o)
{
        Order order = ORDER_INIT;
        const EvgrpcMetadataEntry *e;
        char *epoch;
        Story s;

        start_try(&s, o, o->f.channel, "Unary", &order, "0000000000000000000000000000000a", "1",
                  "1", NULL);
        (void) evgrpc_call_wait(s.call);
        e = evgrpc_metadata_find(evgrpc_call_initial_metadata(s.call), "x-rpc-epoch");
        g_assert_nonnull(e);
        epoch = g_strdup(e->value);
        story_end(&s);
        return epoch;
}

/* ---- The server
 * --------------------------------------------------------------------------------- */

static void check_kept(OnceFixture *o, EvgrpcChannel *channel, uint32_t code)
{
        Order order = ORDER_INIT;
        const EvgrpcMetadataEntry *e;
        Story s;

        order_body(&order, "one");
        order.code = code;
        order.message = (char *) (uintptr_t) "50 % of it";
        start_try(&s, o, channel, "Unary", &order, CLIENT_A, code == 0 ? "1" : "2", "1", NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, code);
        e = evgrpc_metadata_find(evgrpc_call_trailing_metadata(s.call), "x-mark-bin");
        g_assert_nonnull(e);
        g_assert_cmpmem(e->value, e->value_size, "one", 3);
        if (code == EVGRPC_OK) {
                g_autofree char *text = reply_text(&s);

                g_assert_cmpstr(text, ==, "re:one");
                g_assert_nonnull(
                        evgrpc_metadata_find(evgrpc_call_initial_metadata(s.call), "x-note"));
        } else
                g_assert_cmpstr(s.message, ==, "50 % of it");
        story_end(&s);
}

static void test_repetition_of_a_finished_call_gets_the_kept_reply(void)
{
        EvgrpcChannel *other;
        OnceFixture o;

        once_begin(&o, NULL);
        other = another_channel(&o);
        for (unsigned i = 0; i < 3; i++) {
                check_kept(&o, o.f.channel, EVGRPC_OK);
                check_kept(&o, other, EVGRPC_OK);
        }
        g_assert_cmpuint(times_executed(&o, "one"), ==, 1);
        evgrpc_channel_free(other);
        once_end(&o);
}

static void test_a_failure_of_the_method_is_kept_as_well(void)
{
        OnceFixture o;

        once_begin(&o, NULL);
        for (unsigned i = 0; i < 3; i++)
                check_kept(&o, o.f.channel, EVGRPC_OUT_OF_RANGE);
        g_assert_cmpuint(times_executed(&o, "one"), ==, 1);
        once_end(&o);
}

static void test_repetition_of_a_running_call_waits_for_it(void)
{
        Order order = ORDER_INIT;
        EvgrpcChannel *other;
        OnceFixture o;
        Story a, b;

        once_begin(&o, NULL);
        other = another_channel(&o);
        order_body(&order, "slow");
        order.hang = true;
        start_try(&a, &o, o.f.channel, "Unary", &order, CLIENT_A, "1", "1", NULL);
        RUN_UNTIL(&o.f, times_executed(&o, "slow") == 1);
        start_try(&b, &o, other, "Unary", &order, CLIENT_A, "1", "1", NULL);
        run_for(&o.f, 20);
        g_assert_cmpuint(a.done + b.done, ==, 0);
        once_release(&o, "slow");
        RUN_UNTIL(&o.f, a.done && b.done);
        g_assert_cmpint(a.code, ==, EVGRPC_OK);
        g_assert_cmpint(b.code, ==, EVGRPC_OK);
        g_assert_cmpuint(times_executed(&o, "slow"), ==, 1);
        story_end(&a);
        story_end(&b);
        evgrpc_channel_free(other);
        once_end(&o);
}

static void test_lost_connection_does_not_end_a_marked_call(void)
{
        Order order = ORDER_INIT;
        g_autofree char *text = NULL;
        EvgrpcChannel *other;
        OnceFixture o;
        Story a, b;

        once_begin(&o, NULL);
        other = another_channel(&o);
        order_body(&order, "slow");
        order.hang = true;
        start_try(&a, &o, other, "Unary", &order, CLIENT_A, "1", "1", NULL);
        RUN_UNTIL(&o.f, times_executed(&o, "slow") == 1);
        evgrpc_channel_free(other);
        story_end(&a);
        run_for(&o.f, 20);
        g_assert_cmpuint(o.cancelled, ==, 0);
        once_release(&o, "slow"); /* while nobody waits */
        start_try(&b, &o, o.f.channel, "Unary", &order, CLIENT_A, "1", "1", NULL);
        g_assert_cmpint(evgrpc_call_wait(b.call)->code, ==, EVGRPC_OK);
        text = reply_text(&b);
        g_assert_cmpstr(text, ==, "re:slow");
        g_assert_cmpuint(times_executed(&o, "slow"), ==, 1);
        story_end(&b);
        once_end(&o);
}

static void test_acknowledged_call_is_refused(void)
{
        OnceFixture o;

        once_begin(&o, NULL);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "three", CLIENT_A, "3", "2", NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", NULL), ==, EVGRPC_FAILED_PRECONDITION);
        /* That older word is not taken back, and what is above it is kept. */
        g_assert_cmpint(try(&o, "three", CLIENT_A, "3", "1", NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "two", CLIENT_A, "2", "1", NULL), ==, EVGRPC_OK); /* late */
        g_assert_cmpint(try(&o, "one", CLIENT_B, "1", "1", NULL), ==, EVGRPC_OK); /* another's */
        g_assert_cmpuint(times_executed(&o, "one"), ==, 2);
        g_assert_cmpuint(times_executed(&o, "two"), ==, 1);
        g_assert_cmpuint(times_executed(&o, "three"), ==, 1);
        once_end(&o);
}

static void test_another_request_or_method_under_the_mark_is_refused(void)
{
        OnceFixture o;

        once_begin(&o, NULL);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "two", CLIENT_A, "1", "1", NULL), ==, EVGRPC_INVALID_ARGUMENT);
        g_assert_cmpint(try_on(&o, o.f.channel, "Missing", "one", CLIENT_A, "1", "1", NULL, NULL),
                        ==, EVGRPC_INVALID_ARGUMENT);
        g_assert_cmpuint(times_executed(&o, "two"), ==, 0);
        g_assert_cmpuint(times_executed(&o, "one"), ==, 1);
        once_end(&o);
}

static void test_malformed_marks_are_refused(void)
{
        static const char *const bad[][4] = {
                {"", "1", "1", NULL},
                {"0011", "1", "1", NULL},
                {"00112233445566778899AABBCCDDEEFF", "1", "1", NULL},
                {CLIENT_A "0", "1", "1", NULL},
                {CLIENT_A, NULL, "1", NULL},
                {CLIENT_A, "-1", "1", NULL},
                {CLIENT_A, "1x", "1", NULL},
                {CLIENT_A, "18446744073709551616", "1", NULL},
                {CLIENT_A, "1", "2", NULL}, /* acknowledges itself */
                {CLIENT_A, "1", "", NULL},
                {CLIENT_A, "1", "1", ""},
                {CLIENT_A, "1", "1", "0123456789abcdef"},
                {CLIENT_A, "1", "1", "0123456789abcdef.4294967296"},
                {CLIENT_A, "1", "1", "0000000000000000.1"},
        };
        OnceFixture o;

        once_begin(&o, NULL);
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(try(&o, "x", bad[i][0], bad[i][1], bad[i][2], bad[i][3]), ==,
                                EVGRPC_INVALID_ARGUMENT);
        g_assert_cmpuint(times_executed(&o, "x"), ==, 0);
        once_end(&o);
}

static void test_only_methods_that_say_so_take_marked_calls(void)
{
        OnceFixture o;

        once_begin(&o, NULL);
        g_assert_cmpint(try_on(&o, o.f.channel, "Collect", "x", CLIENT_A, "1", "1", NULL, NULL), ==,
                        EVGRPC_UNIMPLEMENTED);
        g_assert_cmpuint(times_executed(&o, "x"), ==, 0);
        /* Unmarked calls are ordinary ones, on either. */
        g_assert_cmpint(try_on(&o, o.f.channel, "Collect", "x", NULL, NULL, NULL, NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpint(try(&o, "x", NULL, NULL, NULL, NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "x", NULL, NULL, NULL, NULL), ==, EVGRPC_OK);
        g_assert_cmpuint(times_executed(&o, "x"), ==, 3);
        once_end(&o);
}

static void test_full_table_refuses_new_calls_and_drops_none(void)
{
        EvgrpcOnceOptions options = {.max_bytes = 40000, .max_client_bytes = 40000};
        unsigned kept = 0;
        OnceFixture o;

        once_begin(&o, &options);
        for (unsigned i = 1; i <= 1000; i++) {
                g_autofree char *seq = g_strdup_printf("%u", i);
                EvgrpcCode code = try(&o, seq, CLIENT_A, seq, "1", NULL);

                g_assert_cmpuint(times_executed(&o, seq), ==, code == EVGRPC_OK);
                if (code != EVGRPC_OK) {
                        g_assert_cmpint(code, ==, EVGRPC_RESOURCE_EXHAUSTED);
                        break;
                }
                kept = i;
        }
        g_assert_cmpuint(kept, >, 10);
        g_assert_cmpuint(kept, <, 1000);
        for (unsigned i = 1; i <= kept; i++) {
                g_autofree char *seq = g_strdup_printf("%u", i);

                g_assert_cmpint(try(&o, seq, CLIENT_A, seq, "1", NULL), ==, EVGRPC_OK);
                g_assert_cmpuint(times_executed(&o, seq), ==, 1);
        }
        g_assert_cmpint(try(&o, "b", CLIENT_B, "1", "1", NULL), ==, EVGRPC_RESOURCE_EXHAUSTED);
        g_assert_cmpint(try(&o, "5000", CLIENT_A, "5000", "5000", NULL), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "b", CLIENT_B, "1", "1", NULL), ==, EVGRPC_OK);
        once_end(&o);
}

static void test_one_client_cannot_fill_the_table(void)
{
        EvgrpcOnceOptions options = {.max_bytes = 100000};
        EvgrpcCode code = EVGRPC_OK;
        OnceFixture o;

        once_begin(&o, &options);
        for (unsigned i = 1; i < 1000 && code == EVGRPC_OK; i++) {
                g_autofree char *seq = g_strdup_printf("%u", i);

                code = try(&o, seq, CLIENT_A, seq, "1", NULL);
        }
        g_assert_cmpint(code, ==, EVGRPC_RESOURCE_EXHAUSTED);
        g_assert_cmpint(try(&o, "b", CLIENT_B, "1", "1", NULL), ==, EVGRPC_OK);
        once_end(&o);
}

static void test_reply_without_room_is_given_once_and_then_said_to_be_lost(void)
{
        EvgrpcOnceOptions options = {.max_bytes = 20000, .max_client_bytes = 20000};
        Order order = ORDER_INIT;
        OnceFixture o;

        once_begin(&o, &options);
        order_body(&order, "big");
        order.reply_size = 100000;
        for (unsigned i = 0; i < 2; i++) {
                Story s;

                start_try(&s, &o, o.f.channel, "Unary", &order, CLIENT_A, "1", "1", NULL);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==,
                                i == 0 ? EVGRPC_OK : EVGRPC_ABORTED);
                story_end(&s);
        }
        g_assert_cmpuint(times_executed(&o, "big"), ==, 1);
        once_end(&o);
}

static void test_forgotten_client_is_told_so(void)
{
        EvgrpcOnceOptions options = {.lease_usec = 1000000};
        g_autofree char *epoch = NULL, *text = NULL, *later = NULL;
        OnceFixture o;

        once_begin(&o, &options);
        epoch = server_epoch(&o);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", epoch), ==, EVGRPC_OK);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", epoch), ==, EVGRPC_OK);
        do { /* the one who asks is not silent */
                g_free(later);
                run_for(&o.f, 50);
                later = server_epoch(&o);
        } while (g_str_equal(later, epoch));
        g_assert_cmpint(try_on(&o, o.f.channel, "Unary", "one", CLIENT_A, "1", "1", epoch, &text),
                        ==, EVGRPC_ABORTED);
        g_assert_nonnull(strstr(text, "lease"));
        g_assert_cmpuint(times_executed(&o, "one"), ==, 1);
        g_assert_cmpint(try(&o, "two", CLIENT_A, "2", "2", later), ==, EVGRPC_OK);
        once_end(&o);
}

static void test_client_that_waits_is_not_silent(void)
{
        EvgrpcOnceOptions options = {.lease_usec = 100000};
        Order order = ORDER_INIT;
        OnceFixture o;
        Story s;

        once_begin(&o, &options);
        order_body(&order, "slow");
        order.hang = true;
        start_try(&s, &o, o.f.channel, "Unary", &order, CLIENT_A, "1", "1", NULL);
        run_for(&o.f, 500);
        g_assert_cmpuint(o.cancelled, ==, 0);
        once_release(&o, "slow");
        RUN_UNTIL(&o.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_OK);
        story_end(&s);

        order_body(&order, "left");
        start_try(&s, &o, o.f.channel, "Unary", &order, CLIENT_A, "2", "1", NULL);
        RUN_UNTIL(&o.f, times_executed(&o, "left") == 1);
        evgrpc_call_cancel(s.call);
        RUN_UNTIL(&o.f, o.cancelled == 1); /* when the lease is over, and not before */
        story_end(&s);
        once_end(&o);
}

static void test_restarted_server_does_not_run_a_call_again(void)
{
        g_autofree char *epoch = NULL, *text = NULL, *later = NULL;
        OnceFixture o;

        once_begin(&o, NULL);
        epoch = server_epoch(&o);
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", epoch), ==, EVGRPC_OK);
        once_restart(&o);
        RUN_UNTIL(&o.f, !evgrpc_channel_is_connected(o.f.channel));
        g_assert_cmpint(try_on(&o, o.f.channel, "Unary", "one", CLIENT_A, "1", "1", epoch, &text),
                        ==, EVGRPC_ABORTED);
        g_assert_nonnull(strstr(text, "restarted"));
        g_assert_cmpint(try(&o, "one", CLIENT_A, "1", "1", "0"), ==, EVGRPC_ABORTED);
        g_assert_cmpuint(times_executed(&o, "one"), ==, 1);
        later = server_epoch(&o);
        g_assert_cmpstr(later, !=, epoch);
        g_assert_cmpint(try(&o, "two", CLIENT_A, "2", "2", later), ==, EVGRPC_OK);
        once_end(&o);
}

static void test_stored_reply_survives_a_restart(void)
{
        g_autofree char *epoch = NULL, *text = NULL;
        OnceFixture o;

        once_begin(&o, NULL);
        epoch = server_epoch(&o);
        for (unsigned i = 0; i < 3; i++) {
                g_clear_pointer(&text, g_free);
                g_assert_cmpint(
                        try_on(&o, o.f.channel, "Missing", "pay", CLIENT_A, "1", "1", epoch, &text),
                        ==, EVGRPC_OK);
                g_assert_cmpstr(text, ==, "pay");
                once_restart(&o);
                RUN_UNTIL(&o.f, !evgrpc_channel_is_connected(o.f.channel));
        }
        g_assert_cmpuint(effects(&o, "pay"), ==, 1);
        g_assert_cmpuint(times_executed(&o, "pay"), ==, 1);
        g_assert_cmpint(
                try_on(&o, o.f.channel, "Missing", "other", CLIENT_A, "1", "1", epoch, NULL), ==,
                EVGRPC_INVALID_ARGUMENT);
        /* A later call's transaction deletes what was acknowledged, and remembers that. */
        g_assert_cmpint(try_on(&o, o.f.channel, "Missing", "next", CLIENT_A, "2", "2", NULL, NULL),
                        ==, EVGRPC_OK);
        once_restart(&o);
        RUN_UNTIL(&o.f, !evgrpc_channel_is_connected(o.f.channel));
        g_assert_cmpint(try_on(&o, o.f.channel, "Missing", "pay", CLIENT_A, "1", "1", epoch, NULL),
                        ==, EVGRPC_ABORTED);
        g_assert_cmpuint(effects(&o, "pay"), ==, 1);
        once_end(&o);
}

static void test_stored_call_that_was_rolled_back_runs_after_a_restart(void)
{
        g_autofree char *epoch = NULL;
        OnceFixture o;

        once_begin(&o, NULL);
        epoch = server_epoch(&o);
        o.fail_commit = true;
        g_assert_cmpint(try_on(&o, o.f.channel, "Missing", "pay", CLIENT_A, "1", "1", epoch, NULL),
                        ==, EVGRPC_INTERNAL);
        o.fail_commit = false;
        once_restart(&o);
        RUN_UNTIL(&o.f, !evgrpc_channel_is_connected(o.f.channel));
        g_assert_cmpint(try_on(&o, o.f.channel, "Missing", "pay", CLIENT_A, "1", "1", epoch, NULL),
                        ==, EVGRPC_OK);
        g_assert_cmpuint(effects(&o, "pay"), ==, 1);
        once_end(&o);
}

static void test_server_says_no_to_what_it_cannot_keep(void)
{
        static const EvgrpcMethod streams[] = {{.name = "List",
                                                .handler = once_unary,
                                                .server_streaming = true,
                                                .at_most_once = true},
                                               {}};
        static const EvgrpcMethod stored[] = {
                {.name = "Unary", .handler = once_unary, .at_most_once = true, .stored = true}, {}};
        struct event_base *base = event_base_new();
        EvgrpcServer *server;

        g_assert_cmpint(evgrpc_server_new(base, NULL, &server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(server, ECHO, streams, NULL), ==, -EINVAL);
        g_assert_cmpint(evgrpc_server_add_service(server, ECHO, stored, NULL), ==, -EINVAL);
        g_assert_cmpint(evgrpc_server_set_once(server, NULL), ==, 0);
        g_assert_cmpint(evgrpc_server_set_once(server, NULL), ==, -EBUSY);
        evgrpc_server_free(server);
        event_base_free(base);
}

static EvgrpcChannel *channel_of(OnceFixture *o, const Authority *ca, const char *name)
{
        g_autofree char *san = g_strdup_printf("DNS:%s", name);
        EvgrpcChannelOptions options = {.tls_server_name = "localhost"};
        EvgrpcChannel *channel;
        Identity own;

        identity_make(&own, ca, name, san, NULL, -TLS_DAY, TLS_DAY);
        options.tls = tls_make(ca, &own);
        g_assert_cmpint(evgrpc_channel_new(o->f.base, o->f.address, &options, &channel), ==, 0);
        evgrpc_tls_unref(options.tls);
        identity_done(&own);
        return channel;
}

static void test_kept_reply_is_for_the_principal_that_made_the_call(void)
{
        EvgrpcChannel *alice[2], *mallory;
        OnceFixture o;
        Authority ca;
        Identity own;

        once_begin(&o, NULL);
        authority_make(&ca, "Test CA");
        identity_make(&own, &ca, "localhost", "DNS:localhost", NULL, -TLS_DAY, TLS_DAY);
        o.tls = tls_make(&ca, &own);
        once_restart(&o);
        alice[0] = channel_of(&o, &ca, "alice");
        alice[1] = channel_of(&o, &ca, "alice");
        mallory = channel_of(&o, &ca, "mallory");
        for (unsigned i = 0; i < 2; i++)
                g_assert_cmpint(
                        try_on(&o, alice[i], "Unary", "secret", CLIENT_A, "1", "1", NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpuint(times_executed(&o, "secret"), ==, 1);
        /* Her words from another mouth are another call: not her reply, nor a hint that there is
         * one. */
        g_assert_cmpint(try_on(&o, mallory, "Unary", "guess", CLIENT_A, "1", "1", NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpuint(times_executed(&o, "guess"), ==, 1);
        g_assert_cmpint(try_on(&o, mallory, "Unary", "x", CLIENT_A, "9", "9", NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpint(try_on(&o, alice[1], "Unary", "secret", CLIENT_A, "1", "1", NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpuint(times_executed(&o, "secret"), ==, 1);
        evgrpc_channel_free(alice[0]);
        evgrpc_channel_free(alice[1]);
        evgrpc_channel_free(mallory);
        evgrpc_tls_unref(o.tls);
        identity_done(&own);
        authority_done(&ca);
        once_end(&o);
}

/* ---- The client
 * --------------------------------------------------------------------------------- */

static void start_marked(Story *s, OnceFixture *o, const char *body, bool hang,
                         EvgrpcCallOptions options)
{
        Order order = ORDER_INIT;

        order_body(&order, body);
        order.hang = hang;
        story_start(s, &o->f, "Unary", &order, &options);
}

static void test_lost_call_is_tried_again_until_it_is_answered(void)
{
        g_autofree char *text = NULL;
        EvgrpcClientIdentity *id;
        OnceFixture o;
        Relay relay;
        Story s;

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        /* A relay that ends every connection after so many bytes of the server's; then more. */
        evgrpc_channel_free(o.f.channel);
        {
                char *bound;

                g_assert_cmpint(evgrpc_server_listen(o.f.server, "127.0.0.1:0", &bound), ==, 0);
                g_free(o.f.address);
                o.f.address = bound;
        }
        relay_begin(&relay, &o.f);
        g_assert_cmpint(evgrpc_channel_new(o.f.base, relay.address, NULL, &o.f.channel), ==, 0);
        for (size_t cut = 20; cut < 260; cut += 7) {
                g_autofree char *body = g_strdup_printf("cut %zu", cut);
                guint tries = 0;

                relay_hang_up(&relay);
                relay.cut_after[1] = cut;
                start_marked(&s, &o, body, false,
                             (EvgrpcCallOptions){.once = id, .retry = true, .unary = true});
                while (!s.done) {
                        run_for(&o.f, 1);
                        if (++tries % 40 == 0)
                                relay.cut_after[1] += 150;
                }
                g_assert_cmpint(s.code, ==, EVGRPC_OK);
                g_assert_cmpuint(s.messages, ==, 1);
                text = reply_text(&s);
                g_assert_true(g_str_has_suffix(text, body));
                g_clear_pointer(&text, g_free);
                g_assert_cmpuint(times_executed(&o, body), ==, 1);
                story_end(&s);
        }
        relay_end(&relay);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_nothing_is_repeated_without_being_asked_for(void)
{
        EvgrpcClientIdentity *id;
        OnceFixture o;
        Story s;

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        start_marked(&s, &o, "x", true, (EvgrpcCallOptions){.once = id});
        RUN_UNTIL(&o.f, times_executed(&o, "x") == 1);
        once_restart(&o);
        RUN_UNTIL(&o.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_UNAVAILABLE);
        run_for(&o.f, 50);
        g_assert_cmpuint(times_executed(&o, "x"), ==, 1);
        story_end(&s);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_retry_after_a_restart_ends_with_outcome_unknown(void)
{
        EvgrpcClientIdentity *id;
        OnceFixture o;
        Story s;

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        start_marked(&s, &o, "x", true, (EvgrpcCallOptions){.once = id, .retry = true});
        RUN_UNTIL(&o.f, times_executed(&o, "x") == 1);
        once_restart(&o);
        RUN_UNTIL(&o.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_ABORTED);
        g_assert_cmpuint(times_executed(&o, "x"), ==, 1);
        story_end(&s);
        /* A call that was never sent to the old one is run by the new one. */
        start_marked(&s, &o, "y", false, (EvgrpcCallOptions){.once = id, .retry = true});
        RUN_UNTIL(&o.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_OK);
        story_end(&s);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_caller_may_try_again_with_the_same_mark(void)
{
        EvgrpcClientIdentity *id;
        EvgrpcMark *mark;
        OnceFixture o;
        Story s;

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        g_assert_cmpint(evgrpc_mark_new(id, &mark), ==, 0);
        for (unsigned i = 0; i < 3; i++) {
                start_marked(&s, &o, "x", false, (EvgrpcCallOptions){.mark = mark});
                RUN_UNTIL(&o.f, s.done);
                g_assert_cmpint(s.code, ==, EVGRPC_OK);
                story_end(&s);
                /* Later calls do not acknowledge it. */
                start_marked(&s, &o, "between", false, (EvgrpcCallOptions){.once = id});
                RUN_UNTIL(&o.f, s.done);
                story_end(&s);
        }
        g_assert_cmpuint(times_executed(&o, "x"), ==, 1);
        g_assert_cmpuint(times_executed(&o, "between"), ==, 3);
        evgrpc_mark_unref(mark);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_server_forgets_what_the_client_has_in_hand(void)
{
        EvgrpcOnceOptions options = {.max_bytes = 20000, .max_client_bytes = 20000};
        EvgrpcClientIdentity *id;
        OnceFixture o;

        once_begin(&o, &options); /* room for a few */
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        for (unsigned i = 0; i < 2000; i++) {
                Story s;

                start_marked(&s, &o, "x", false, (EvgrpcCallOptions){.once = id});
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
                story_end(&s);
        }
        g_assert_cmpuint(times_executed(&o, "x"), ==, 2000);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_deadline_cancel_and_free_end_a_call_that_is_being_retried(void)
{
        EvgrpcClientIdentity *id;
        OnceFixture o;
        Story s[3];

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        for (unsigned i = 0; i < 3; i++)
                start_marked(&s[i], &o, "x", true,
                             (EvgrpcCallOptions){.once = id,
                                                 .retry = true,
                                                 .timeout_usec = i == 0 ? 300000 : 0});
        RUN_UNTIL(&o.f, times_executed(&o, "x") == 3 || s[0].done);
        o.f.server = evgrpc_server_free(o.f.server);
        run_for(&o.f, 50);
        g_assert_cmpuint(s[1].done + s[2].done, ==, 0); /* the first may be at its deadline */
        evgrpc_call_cancel(s[1].call);
        RUN_UNTIL(&o.f, s[0].done && s[1].done);
        g_assert_cmpint(s[0].code, ==, EVGRPC_DEADLINE_EXCEEDED);
        g_assert_cmpint(s[1].code, ==, EVGRPC_CANCELLED);
        o.f.channel = evgrpc_channel_free(o.f.channel);
        g_assert_cmpint(s[2].code, ==, EVGRPC_CANCELLED);
        for (unsigned i = 0; i < 3; i++)
                story_end(&s[i]);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_call_refused_by_a_server_that_shuts_down_runs_on_the_next(void)
{
        EvgrpcClientIdentity *id;
        EvgrpcServer *old;
        OnceFixture o;
        Story held, s[50];

        once_begin(&o, NULL);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        start_marked(&held, &o, "held", true, (EvgrpcCallOptions){.once = id, .retry = true});
        RUN_UNTIL(&o.f, times_executed(&o, "held") == 1);
        old = o.f.server;
        evgrpc_server_shutdown(old);
        once_serve(&o);
        for (unsigned i = 0; i < 50; i++) {
                start_marked(&s[i], &o, "x", false, (EvgrpcCallOptions){.once = id, .retry = true});
                event_base_loop(o.f.base, EVLOOP_NONBLOCK);
        }
        for (unsigned i = 0; i < 50; i++) {
                RUN_UNTIL(&o.f, s[i].done);
                g_assert_cmpint(s[i].code, ==, EVGRPC_OK);
                story_end(&s[i]);
        }
        g_assert_cmpuint(times_executed(&o, "x"), ==, 50);
        once_release(&o, "held");
        RUN_UNTIL(&o.f, held.done);
        g_assert_cmpint(held.code, ==, EVGRPC_OK);
        story_end(&held);
        evgrpc_server_free(old);
        evgrpc_client_identity_unref(id);
        once_end(&o);
}

static void test_server_without_an_epoch_is_not_trusted_with_a_retry(void)
{
        Order order = ORDER_INIT;
        EvgrpcClientIdentity *id;
        EvgrpcCallOptions options = {.retry = true};
        EvgrpcChannel *channel;
        Fixture f;
        Relay relay;
        Story s;

        fixture_begin(&f); /* the echo service keeps nothing */
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        options.once = id;
        order.hang = true;
        story_start(&s, &f, "Unary", &order, &options);
        RUN_UNTIL(&f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_UNIMPLEMENTED);
        story_end(&s);
        relay_begin(&relay, &f);
        relay.cut_after[1] = 60; /* its settings come through, its answer does not */
        g_assert_cmpint(evgrpc_channel_new(f.base, relay.address, NULL, &channel), ==, 0);
        story_start_on(&s, &f, channel, "Unary", &order, &options);
        RUN_UNTIL(&f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_UNAVAILABLE);
        story_end(&s);
        evgrpc_channel_free(channel);
        relay_end(&relay);
        evgrpc_client_identity_unref(id);
        fixture_end(&f);
}

static void test_options_that_do_not_go_together_are_refused(void)
{
        EvgrpcClientIdentity *id;
        Order order = ORDER_INIT;
        EvgrpcMark *mark;
        Fixture f;

        fixture_begin(&f);
        g_assert_cmpint(evgrpc_client_identity_new(&id), ==, 0);
        g_assert_cmpint(evgrpc_mark_new(id, &mark), ==, 0);
        EvgrpcCallOptions bad[] = {{.retry = true}, {.once = id, .mark = mark}};
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, &bad[i],
                                                  NULL, NULL, NULL),
                                ==, -EINVAL);
        bad[0] = (EvgrpcCallOptions){.once = id};
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Collect", NULL, &bad[0], NULL, NULL, NULL), ==,
                -EINVAL);
        evgrpc_mark_unref(mark);
        evgrpc_client_identity_unref(id);
        fixture_end(&f);
}

/* ---- Pieces
 * ------------------------------------------------------------------------------------- */

/* Appendix A of the paper: key 00 01 … 0f, message 00 01 … 0e. */
static void test_siphash_is_that_of_the_paper(void)
{
        const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
        uint8_t message[15];

        for (uint8_t i = 0; i < sizeof(message); i++)
                message[i] = i;
        g_assert_cmphex(rpc_siphash(key, message, sizeof(message)), ==,
                        UINT64_C(0xa129ca6149be45e5));
}

static void test_principals_do_not_see_each_other(void)
{
        uint8_t id[RPC_CLIENT_ID_SIZE] = {1, 2, 3};
        g_autofree OnceTable *t = g_new(OnceTable, 1);
        OnceClient *a, *b;

        g_assert_cmpint(once_table_init(t, 1 << 20, 1 << 20, 1000), ==, 0);
        g_assert_cmpint(once_table_add(t, "CN=a", id, 0, &a), ==, 0);
        g_assert_null(once_table_find(t, "CN=b", id));
        g_assert_null(once_table_find(t, "", id));
        g_assert_cmpint(once_table_add(t, "CN=b", id, 0, &b), ==, 0);
        g_assert_true(once_table_find(t, "CN=a", id) == a);
        g_assert_true(once_table_find(t, "CN=b", id) == b);
        while ((a = once_table_take_any(t)))
                once_client_free(t, a);
        g_assert_cmpuint(t->bytes, ==, 0);
}

/* Against a plain array, with seqs in any order. */
static void test_table_holds_what_is_not_acknowledged(void)
{
        g_autofree OnceTable *t = g_new(OnceTable, 1);
        g_autoptr(GRand) rand = g_rand_new_with_seed(1234);
        uint8_t id[RPC_CLIENT_ID_SIZE] = {};
        bool there[2000] = {};
        OnceEntry *e;
        OnceClient *c;

        g_assert_cmpint(once_table_init(t, SIZE_MAX / 2, SIZE_MAX / 2, 1000), ==, 0);
        g_assert_cmpint(once_table_add(t, "", id, 0, &c), ==, 0);
        for (unsigned round = 0; round < 20000; round++) {
                unsigned n = (unsigned) g_rand_int_range(rand, 0, 2000);

                if (g_rand_int_range(rand, 0, 400) == 0) {
                        n = MIN(n, (unsigned) c->ack + 50);
                        once_client_acknowledge(t, c, n);
                        memset(there, 0, n * sizeof(bool));
                } else if (!there[n] && n >= c->ack) {
                        g_assert_cmpint(once_client_add(t, c, n, n, &e), ==, 0);
                        there[n] = true;
                }
                n = (unsigned) g_rand_int_range(rand, 0, 2000);
                e = once_client_find(c, n);
                g_assert_true(!!e == there[n]);
                g_assert_true(!e || e->digest == n);
        }
        g_assert_true(once_table_take_any(t) == c);
        while ((e = once_client_take_entry(c)))
                once_entry_free(t, e);
        once_client_free(t, c);
        g_assert_cmpuint(t->bytes, ==, 0);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add_func("/rpc/once/" path, function)
        TEST("kept-reply", test_repetition_of_a_finished_call_gets_the_kept_reply);
        TEST("kept-failure", test_a_failure_of_the_method_is_kept_as_well);
        TEST("running", test_repetition_of_a_running_call_waits_for_it);
        TEST("lost-connection", test_lost_connection_does_not_end_a_marked_call);
        TEST("acknowledged", test_acknowledged_call_is_refused);
        TEST("other-request", test_another_request_or_method_under_the_mark_is_refused);
        TEST("malformed", test_malformed_marks_are_refused);
        TEST("opt-in", test_only_methods_that_say_so_take_marked_calls);
        TEST("full-table", test_full_table_refuses_new_calls_and_drops_none);
        TEST("client-share", test_one_client_cannot_fill_the_table);
        TEST("long-reply", test_reply_without_room_is_given_once_and_then_said_to_be_lost);
        TEST("lease", test_forgotten_client_is_told_so);
        TEST("waiting-is-not-silence", test_client_that_waits_is_not_silent);
        TEST("restart", test_restarted_server_does_not_run_a_call_again);
        TEST("stored", test_stored_reply_survives_a_restart);
        TEST("rolled-back", test_stored_call_that_was_rolled_back_runs_after_a_restart);
        TEST("not-to-be-kept", test_server_says_no_to_what_it_cannot_keep);
        TEST("principal", test_kept_reply_is_for_the_principal_that_made_the_call);
        TEST("client/retry", test_lost_call_is_tried_again_until_it_is_answered);
        TEST("client/not-asked-for", test_nothing_is_repeated_without_being_asked_for);
        TEST("client/restart", test_retry_after_a_restart_ends_with_outcome_unknown);
        TEST("client/own-tries", test_caller_may_try_again_with_the_same_mark);
        TEST("client/acknowledges", test_server_forgets_what_the_client_has_in_hand);
        TEST("client/ends", test_deadline_cancel_and_free_end_a_call_that_is_being_retried);
        TEST("client/shutdown", test_call_refused_by_a_server_that_shuts_down_runs_on_the_next);
        TEST("client/no-epoch", test_server_without_an_epoch_is_not_trusted_with_a_retry);
        TEST("client/options", test_options_that_do_not_go_together_are_refused);
        TEST("pieces/siphash", test_siphash_is_that_of_the_paper);
        TEST("pieces/principals", test_principals_do_not_see_each_other);
        TEST("pieces/table", test_table_holds_what_is_not_acknowledged);
        return g_test_run();
}

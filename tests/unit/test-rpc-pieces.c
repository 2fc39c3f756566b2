/*
 * The pieces of the library that need no connection. Expected values are the specification's: gRPC
 * over HTTP/2 (PROTOCOL-HTTP2.md), RFC 4648 §10 and RFC 9110.
 */
#include <glib.h>
#include <sys/socket.h>

#include "echo.pb-c.h"
#include "rpc/address.h"
#include "rpc/arena.h"
#include "rpc/block.h"
#include "rpc/deadline.h"
#include "rpc/framing.h"
#include "rpc/metadata.h"
#include "rpc/output.h"
#include "rpc/spin.h"
#include "rpc/status.h"
#include "rpc/timeout.h"
#include "rpc/unpack.h"

static void test_timeouts_are_written_short_and_exact(void)
{
        static const struct {
                uint64_t usec;
                const char *text;
        } cases[] = {
                {0, "1n"},
                {1, "1u"},
                {1500, "1500u"},
                {2000, "2m"},
                {5000000, "5S"},
                {99999999, "99999999u"},
                {100000001, "100001m"}, /* rounded up, never down */
                {UINT64_C(3600000000) * 99999999, "99999999H"},
                {UINT64_MAX - 1, "99999999H"}, /* eight digits are all there are */
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char text[RPC_TIMEOUT_SIZE];

                g_assert_cmpuint(rpc_timeout_format(cases[i].usec, text), ==, strlen(text));
                g_assert_cmpstr(text, ==, cases[i].text);
        }
}

static void test_timeouts_are_read_and_nonsense_is_refused(void)
{
        static const char *const bad[] = {"", "1", "S", "123456789S", "-1S", "1x", " 1S", "1.5S"};
        uint64_t usec = 0;

        g_assert_cmpint(rpc_timeout_parse("2M", 2, &usec), ==, 0);
        g_assert_cmpuint(usec, ==, 120000000);
        g_assert_cmpint(rpc_timeout_parse("1n", 2, &usec), ==, 0);
        g_assert_cmpuint(usec, ==, 1);
        g_assert_cmpint(rpc_timeout_parse("00000010m", 9, &usec), ==, 0);
        g_assert_cmpuint(usec, ==, 10000);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(rpc_timeout_parse(bad[i], strlen(bad[i]), &usec), ==, -EINVAL);
}

static void test_status_text_is_percent_encoded_and_bad_escapes_stay(void)
{
        char out[64], in[] = "a%20b%2", odd[] = "100% %zz %C3%A9";
        size_t n = rpc_percent_encode("a%\n\xc3\xa9~", 6, out);

        g_assert_cmpmem(out, n, "a%25%0A%C3%A9~", 14);
        g_assert_cmpmem(in, rpc_percent_decode(in, strlen(in)), "a b%2", 5);
        g_assert_cmpmem(odd, rpc_percent_decode(odd, strlen(odd)), "100% %zz \xc3\xa9", 11);
}

static void test_codes_have_their_names_and_numbers(void)
{
        g_assert_cmpint(rpc_status_parse("0", 1), ==, EVGRPC_OK);
        g_assert_cmpint(rpc_status_parse("16", 2), ==, EVGRPC_UNAUTHENTICATED);
        g_assert_cmpint(rpc_status_parse("17", 2), ==, EVGRPC_UNKNOWN);
        g_assert_cmpint(rpc_status_parse("00", 2), ==, EVGRPC_UNKNOWN);
        g_assert_cmpint(rpc_status_parse("x", 1), ==, EVGRPC_UNKNOWN);
        g_assert_cmpint(rpc_status_parse("", 0), ==, EVGRPC_UNKNOWN);
        g_assert_cmpstr(evgrpc_code_to_string(EVGRPC_UNAVAILABLE), ==, "UNAVAILABLE");
        g_assert_cmpstr(evgrpc_code_to_string((EvgrpcCode) 99), ==, "UNKNOWN");
        g_assert_cmpint(rpc_status_from_http(503), ==, EVGRPC_UNAVAILABLE);
        g_assert_cmpint(rpc_status_from_http(404), ==, EVGRPC_UNIMPLEMENTED);
        g_assert_cmpint(rpc_status_from_http(200), ==, EVGRPC_UNKNOWN);
}

static int receive(RpcMetadata *m, RpcArena *arena, const char *key, const char *value)
{
        return rpc_metadata_add_received(m, arena, (const uint8_t *) key, strlen(key),
                                         (const uint8_t *) value, strlen(value));
}

static void test_binary_metadata_is_base64_padded_or_not(void)
{
        RpcMetadata m = {};
        RpcArena arena;

        rpc_arena_init(&arena, NULL, 0, 1 << 16);
        g_assert_cmpint(receive(&m, &arena, "k-bin", "Zm9vYg=="), ==, 1);
        g_assert_cmpmem(m.entries[0].value, m.entries[0].value_size, "foob", 4);
        g_assert_cmpint(receive(&m, &arena, "k-bin", "Zm9vYg,Zm9vYmFy"), ==, 1);
        g_assert_cmpuint(m.count, ==, 3);
        g_assert_cmpmem(m.entries[1].value, m.entries[1].value_size, "foob", 4);
        g_assert_cmpmem(m.entries[2].value, m.entries[2].value_size, "foobar", 6);
        g_assert_cmpint(receive(&m, &arena, "k-bin", "Zm9v!"), ==, -EBADMSG);
        g_assert_cmpint(receive(&m, &arena, "k-bin", "Z"), ==, -EBADMSG);
        g_assert_cmpint(receive(&m, &arena, "grpc-encoding", "gzip"), ==, 0);
        g_assert_cmpint(receive(&m, &arena, "te", "trailers"), ==, 0);
        g_assert_cmpuint(m.count, ==, 3);
        m = (RpcMetadata){};
        g_assert_cmpint(rpc_metadata_add_outgoing(&m, &arena, "k-bin", "fooba", 5), ==, 0);
        g_assert_cmpmem(m.entries[0].value, m.entries[0].value_size, "Zm9vYmE", 7);
        rpc_arena_done(&arena);
}

static void test_metadata_has_a_limit(void)
{
        RpcMetadata m = {};
        RpcArena arena;

        rpc_arena_init(&arena, NULL, 0, 1 << 20);
        for (size_t i = 0; i < RPC_METADATA_ENTRIES_MAX; i++)
                g_assert_cmpint(receive(&m, &arena, "k", "v"), ==, 1);
        g_assert_cmpint(receive(&m, &arena, "k", "v"), ==, -E2BIG);
        rpc_arena_done(&arena);
}

/* Every way to cut three messages into pieces gives the same three messages. */
static void test_messages_survive_any_cut(void)
{
        static const uint8_t wire[] = "\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\3abc";
        const size_t size = sizeof(wire) - 1;

        for (size_t cut1 = 0; cut1 <= size; cut1++)
                for (size_t cut2 = cut1; cut2 <= size; cut2++) {
                        size_t ends[] = {cut1, cut2, size}, begin = 0;
                        g_autoptr(GString) all = g_string_new(NULL);
                        RpcReader r = {};

                        for (size_t i = 0; i < 3; i++) {
                                const uint8_t *at = wire + begin, *message;
                                size_t left = ends[i] - begin, n;

                                while (rpc_reader_feed(&r, &at, &left, 100, &message, &n) == 1)
                                        g_string_append_printf(all, "<%.*s>", (int) n, message);
                                begin = ends[i];
                        }
                        g_assert_cmpstr(all->str, ==, "<hello><><abc>");
                        g_assert_true(rpc_reader_is_at_boundary(&r));
                        rpc_reader_done(&r);
                }
}

static void test_announced_size_is_not_allocated(void)
{
        static const uint8_t wire[] = {0, 0x7f, 0xff, 0xff, 0xff, 'x'};
        const uint8_t *at = wire, *message;
        size_t left = sizeof(wire), n;
        RpcReader r = {};

        g_assert_cmpint(rpc_reader_feed(&r, &at, &left, UINT32_MAX, &message, &n), ==, 0);
        g_assert_cmpuint(r.room, <=, 65536);
        rpc_reader_done(&r);
        at = wire;
        left = sizeof(wire);
        g_assert_cmpint(rpc_reader_feed(&r, &at, &left, 1000, &message, &n), ==, -EMSGSIZE);
        g_assert_cmpuint(n, ==, 0x7fffffff);
        rpc_reader_done(&r);
}

static void test_arena_keeps_its_limit_and_its_memory(void)
{
        RpcArena a;
        void *first;

        rpc_arena_init(&a, NULL, 0, 10000);
        first = rpc_arena_alloc(&a, 5000);
        g_assert_nonnull(first);
        g_assert_null(rpc_arena_alloc(&a, 6000));
        g_assert_null(rpc_arena_alloc(&a, SIZE_MAX));
        rpc_arena_reset(&a, 8192);
        g_assert_true(rpc_arena_alloc(&a, 5000) == first);
        rpc_arena_reset(&a, 100); /* larger than is to be kept */
        g_assert_null(a.newest);
        rpc_arena_done(&a);
}

static void test_a_few_large_blocks_come_back(void)
{
        enum { SIZE = 256 * 1024, N = 3 * RPC_POOL_BULK_MAX };
        RpcBlockPool pool = {};
        RpcBlock *b[N], *last;

        for (size_t i = 0; i < N; i++)
                g_assert_nonnull(b[i] = rpc_block_new(&pool, SIZE));
        for (size_t i = 0; i < N; i++)
                rpc_block_unref(&pool, b[i]);
        g_assert_cmpuint(pool.bulk_count, ==, RPC_POOL_BULK_MAX);
        g_assert_cmpuint(pool.bulk_bytes, ==, (size_t) RPC_POOL_BULK_MAX * SIZE);

        /* Nearly the same size takes one, a much smaller one would waste it, a larger one
         * cannot. */
        last = b[0] = rpc_block_new(&pool, SIZE - 1000);
        g_assert_cmpuint(b[0]->room, ==, SIZE);
        b[1] = rpc_block_new(&pool, SIZE / 2 - 1);
        b[2] = rpc_block_new(&pool, SIZE + 1);
        g_assert_cmpuint(pool.bulk_count, ==, RPC_POOL_BULK_MAX - 1);
        g_assert_cmpuint(b[2]->room, ==, SIZE + 1);
        rpc_block_unref(&pool, last);
        rpc_block_unref(&pool, b[1]);
        rpc_block_unref(&pool, b[2]);
        g_assert_cmpuint(pool.bulk_count, ==, RPC_POOL_BULK_MAX);
        rpc_block_pool_done(&pool);
}

static void test_kept_blocks_are_bounded_in_bytes(void)
{
        RpcBlockPool pool = {};
        RpcBlock *huge = rpc_block_new(&pool, RPC_POOL_BULK_BYTES + 1);
        RpcBlock *a = rpc_block_new(&pool, RPC_POOL_BULK_BYTES / 2 + 1);
        RpcBlock *b = rpc_block_new(&pool, RPC_POOL_BULK_BYTES / 2);

        rpc_block_unref(&pool, huge);
        g_assert_cmpuint(pool.bulk_count, ==, 0);
        rpc_block_unref(&pool, a);
        rpc_block_unref(&pool, b);
        g_assert_cmpuint(pool.bulk_count, ==, 1);
        g_assert_cmpuint(pool.bulk_bytes, ==, RPC_POOL_BULK_BYTES / 2 + 1);
        rpc_block_pool_done(&pool);
        g_assert_cmpuint(pool.bulk_bytes, ==, 0);
}

static void test_an_output_that_is_sent_keeps_no_block(void)
{
        RpcBlockPool pool = {};
        RpcOutput o;
        uint8_t got[8];
        int fds[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
        rpc_output_init(&o, &pool);
        for (int i = 0; i < 2; i++) {
                g_assert_cmpint(rpc_output_copy(&o, (const uint8_t *) "frame", 5), ==, 0);
                g_assert_cmpint(rpc_output_send(&o, fds[0]), ==, 1);
                g_assert_null(o.gather);
                g_assert_cmpuint(pool.large_count, ==, 2); /* of bytes and of pieces */
                g_assert_cmpint(recv(fds[1], got, sizeof(got), 0), ==, 5);
                g_assert_cmpmem(got, 5, "frame", 5);
        }
        rpc_output_done(&o);
        rpc_block_pool_done(&pool);
        close(fds[0]);
        close(fds[1]);
}

static void on_expired(RpcDeadline *d, void *userdata)
{
        GArray *seen = userdata;

        g_array_append_val(seen, d->at_usec);
}

static void test_deadlines_expire_in_order_and_removed_ones_never(void)
{
        enum { N = 1000 };
        g_autoptr(GArray) seen = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        g_autofree RpcDeadline *d = g_new0(RpcDeadline, N);
        struct event_base *base = event_base_new();
        uint64_t now = rpc_now_usec();
        RpcDeadlines ds;

        rpc_deadlines_init(&ds, base, on_expired, seen);
        for (size_t i = 0; i < N; i++) {
                d[i].at_usec = now + (uint64_t) g_test_rand_int_range(0, 50000);
                g_assert_cmpint(rpc_deadlines_add(&ds, &d[i]), ==, 0);
        }
        for (size_t i = 0; i < N; i += 3)
                rpc_deadlines_remove(&ds, &d[i]);
        rpc_deadlines_remove(&ds, &d[0]); /* twice does nothing */
        event_base_dispatch(base);        /* ends with the last timer */
        g_assert_cmpuint(seen->len, ==, N - (N + 2) / 3);
        for (size_t i = 1; i < seen->len; i++)
                g_assert_cmpuint(g_array_index(seen, uint64_t, i - 1), <=,
                                 g_array_index(seen, uint64_t, i));
        rpc_deadlines_done(&ds);
        event_base_free(base);
}

static void test_addresses_are_read_or_refused(void)
{
        static const char *const bad[] = {"",      "host",  "host:",  "host:x",  "host:65536",
                                          "::1:5", "unix:", "[::1]5", ":123456", "a:b:1"};
        RpcAddress a;

        g_assert_cmpint(rpc_address_parse("127.0.0.1:80", &a), ==, 0);
        g_assert_cmpint(a.sockaddr.sa.sa_family, ==, AF_INET);
        g_assert_cmpint(rpc_address_parse("[::1]:80", &a), ==, 0);
        g_assert_cmpint(a.sockaddr.sa.sa_family, ==, AF_INET6);
        g_assert_cmpint(rpc_address_parse("unix:/a:b", &a), ==, 0);
        g_assert_true(a.is_unix);
        g_assert_cmpint(rpc_address_parse("example.org:80", &a), ==, 0);
        g_assert_cmpuint(a.size, ==, 0); /* to be resolved */
        g_assert_cmpstr(a.host, ==, "example.org");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (rpc_address_parse(bad[i], &a) != -EINVAL)
                        g_error("\"%s\" was accepted", bad[i]);
}

/* ---- Unpacking
 * ---------------------------------------------------------------------------------- */

/* protobuf-c itself says what is right. */
static bool check_unpack(const uint8_t *data, size_t size)
{
        const ProtobufCMessageDescriptor *type = &evgrpc__test__answer__descriptor;
        ProtobufCMessage *expected = protobuf_c_message_unpack(type, NULL, size, data), *got;
        bool in_place = false;
        RpcArena arena;

        rpc_arena_init(&arena, NULL, 0, 1 << 20);
        got = rpc_unpack(type, &arena, data, size, &in_place);
        g_assert_cmpint(!got, ==, !expected);
        if (got) {
                size_t n = protobuf_c_message_get_packed_size(expected);
                g_autofree uint8_t *a = g_malloc(n), *b = g_malloc(n);

                g_assert_cmpuint(protobuf_c_message_get_packed_size(got), ==, n);
                protobuf_c_message_pack(expected, a);
                protobuf_c_message_pack(got, b);
                g_assert_cmpmem(a, n, b, n);
                protobuf_c_message_free_unpacked(expected, NULL);
        }
        rpc_arena_done(&arena);
        return in_place;
}

static void append_body(GByteArray *to, size_t size)
{
        g_autofree uint8_t *bytes = g_malloc(size);
        uint8_t head[4] = {0x0a, (uint8_t) (size | 0x80), (uint8_t) (size >> 7 | 0x80),
                           (uint8_t) (size >> 14)};

        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t) (i * 31);
        g_byte_array_append(to, head, 4);
        g_byte_array_append(to, bytes, (guint) size);
}

static void test_large_field_is_unpacked_where_it_lies(void)
{
        static const uint8_t before[] = "\x10\x07\x2a\x03one", after[] = "\x18\x80\x01\x7a\x01z";
        g_autoptr(GByteArray) m = g_byte_array_new();

        g_byte_array_append(m, before, 7); /* number 7, peer "one" */
        append_body(m, 40000);
        g_byte_array_append(m, after, 6); /* sum 128, and a field 15 that is unknown */
        g_assert_true(check_unpack(m->data, m->len));
        for (guint size = 0; size < m->len; size += 37) /* cut short */
                (void) check_unpack(m->data, size);
        for (unsigned i = 0; i < 2000; i++) {
                guint at = i < 1000 ? i % 11 : m->len - 1 - i % 6;
                uint8_t old = m->data[at];

                m->data[at] = (uint8_t) g_test_rand_int();
                (void) check_unpack(m->data, m->len);
                m->data[at] = old;
        }
        append_body(m, 20000); /* the last of a number counts */
        g_assert_false(check_unpack(m->data, m->len));
        g_byte_array_set_size(m, 0);
        append_body(m, 20000);
        append_body(m, 50000);
        g_assert_true(check_unpack(m->data, m->len));
}

static void test_lent_message_stays_until_the_next(void)
{
        enum { SIZE = 10000 };
        RpcBudget budget = {.limit = 1 << 20};
        RpcReader r = {.budget = &budget, .keep_buffer = true};
        uint8_t data[5 + SIZE];
        const uint8_t *last = NULL;

        for (unsigned i = 0; i < 10; i++) {
                const uint8_t *at = data, *message;
                size_t left = 100, size;

                rpc_prefix_write(data, SIZE);
                memset(data + 5, (int) i, SIZE);
                g_assert_cmpint(rpc_reader_feed(&r, &at, &left, SIZE, &message, &size), ==, 0);
                left = sizeof(data) - 100;
                g_assert_cmpint(rpc_reader_feed(&r, &at, &left, SIZE, &message, &size), ==, 1);
                g_assert_true(rpc_reader_holds(&r, message));
                if (last)
                        g_assert_cmpuint(last[SIZE - 1], ==, i - 1);
                rpc_reader_lend(&r);
                last = message;
                g_assert_cmpuint(budget.used, <=,
                                 SIZE); /* what is lent is whole, and not charged */
        }
        rpc_reader_done(&r);
        g_assert_cmpuint(last[0], ==, 9);
        rpc_reader_free(&r);
        g_assert_cmpuint(budget.used, ==, 0);
}

/* A large message whose rest is read to its place, and whose next one finds the room of the last
 * but one. */
static void test_large_message_is_read_to_its_place(void)
{
        enum { SIZE = 300000, FIRST = 1000 };
        RpcReader r = {.keep_buffer = true};
        uint8_t *data = g_malloc(5 + SIZE), *place = data;
        size_t placed = 0;

        g_assert_cmpuint(rpc_reader_place(&r, &place), ==, 0);
        g_assert_null(place);
        rpc_prefix_write(data, SIZE);
        for (unsigned i = 0; i < 6; i++) {
                const uint8_t *at = data, *message;
                size_t left = 5 + FIRST, size = 0, n;

                for (size_t k = 0; k < SIZE; k++)
                        data[5 + k] = (uint8_t) (i + k % 251);
                g_assert_cmpint(rpc_reader_feed(&r, &at, &left, SIZE, &message, &size), ==, 0);
                for (size_t done = FIRST; done < SIZE; done += n) {
                        n = rpc_reader_place(&r, &place);
                        g_assert_cmpuint(n, <=, SIZE - done);
                        placed += n;
                        if (n == 0) { /* no room yet: it grows with what comes */
                                n = RPC_MIN((size_t) 50000, SIZE - done);
                                at = data + 5 + done;
                        } else {
                                n = RPC_MIN(n, (size_t) 123456);
                                memcpy(place, data + 5 + done, n);
                                at = place;
                        }
                        left = n;
                        g_assert_cmpint(rpc_reader_feed(&r, &at, &left, SIZE, &message, &size), ==,
                                        done + n == SIZE);
                }
                g_assert_cmpuint(size, ==, SIZE);
                g_assert_cmpmem(message, size, data + 5, SIZE);
                rpc_reader_lend(&r);
                place = NULL;
                g_assert_cmpuint(rpc_reader_place(&r, &place), ==, 0);
                g_assert_true((place != NULL) == (i > 0)); /* the first lends the only buffer */
        }
        g_assert_cmpuint(placed, >, 4 * (SIZE - FIRST));
        rpc_reader_free(&r);
        g_free(data);
}

/* ---- Spinning
 * ----------------------------------------------------------------------------------- */

/* Two inputs close to each other: a conversation, however busy the machine. */
static void converse(RpcSpin *s)
{
        do {
                rpc_spin_input(s);
                rpc_spin_input(s);
        } while (!s->soon);
}

static void test_spinning_is_for_conversations(void)
{
        struct event_base *base = event_base_new();
        RpcSpin s;

        rpc_spin_init(&s, base, RPC_SPIN_USEC_MAX);
        if (s.window_usec == 0) {
                g_test_skip("there is one processor");
                event_base_free(base);
                return;
        }
        rpc_spin_input(&s);
        rpc_spin_begin(&s);
        g_assert_false(s.spinning); /* the first for long */
        converse(&s);
        rpc_spin_begin(&s);
        g_assert_true(s.spinning);
        event_base_dispatch(base); /* its window passes, and nothing keeps the loop any more */
        g_assert_false(s.spinning);
        converse(&s);
        rpc_spin_begin(&s);
        rpc_spin_stop(&s);
        g_assert_false(s.spinning);
        g_assert_cmpint(event_base_dispatch(base), ==, 1); /* there is no event */
        rpc_spin_done(&s);
        event_base_free(base);
}

static void test_spinning_that_does_not_pay_is_given_up(void)
{
        struct event_base *base = event_base_new();
        unsigned spun = 0;
        RpcSpin s;

        rpc_spin_init(&s, base, 1);
        s.window_usec = RPC_SPIN_USEC_MAX;
        for (unsigned i = 0; i < 10 * (RPC_SPIN_MISSES + RPC_SPIN_REST); i++) {
                rpc_spin_input(&s);
                s.soon = true; /* each input comes soon, and just too late */
                rpc_spin_begin(&s);
                spun += s.spinning;
                s.until_usec = 1;
                event_base_dispatch(base);
                g_assert_false(s.spinning);
        }
        g_assert_cmpuint(spun, >=, 9 * RPC_SPIN_MISSES);
        g_assert_cmpuint(spun, <=, 11 * RPC_SPIN_MISSES);
        rpc_spin_done(&s);
        event_base_free(base);
}

static void test_spinning_can_be_turned_off(void)
{
        struct event_base *base = event_base_new();
        RpcSpin s;

        rpc_spin_init(&s, base, EVGRPC_SPIN_NONE);
        rpc_spin_input(&s);
        rpc_spin_input(&s);
        rpc_spin_begin(&s);
        g_assert_false(s.spinning);
        rpc_spin_done(&s);
        event_base_free(base);
}

#define ADD(name, function) g_test_add_func("/rpc/pieces/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("timeout-format", test_timeouts_are_written_short_and_exact);
        ADD("timeout-parse", test_timeouts_are_read_and_nonsense_is_refused);
        ADD("percent", test_status_text_is_percent_encoded_and_bad_escapes_stay);
        ADD("codes", test_codes_have_their_names_and_numbers);
        ADD("base64", test_binary_metadata_is_base64_padded_or_not);
        ADD("metadata-limit", test_metadata_has_a_limit);
        ADD("framing-cuts", test_messages_survive_any_cut);
        ADD("framing-size", test_announced_size_is_not_allocated);
        ADD("arena", test_arena_keeps_its_limit_and_its_memory);
        ADD("large-blocks", test_a_few_large_blocks_come_back);
        ADD("blocks-in-bytes", test_kept_blocks_are_bounded_in_bytes);
        ADD("output-idle", test_an_output_that_is_sent_keeps_no_block);
        ADD("read-to-its-place", test_large_message_is_read_to_its_place);
        ADD("unpack-in-place", test_large_field_is_unpacked_where_it_lies);
        ADD("lend", test_lent_message_stays_until_the_next);
        ADD("spin/conversation", test_spinning_is_for_conversations);
        ADD("spin/gives-up", test_spinning_that_does_not_pay_is_given_up);
        ADD("spin/off", test_spinning_can_be_turned_off);
        ADD("deadlines", test_deadlines_expire_in_order_and_removed_ones_never);
        ADD("addresses", test_addresses_are_read_or_refused);
        return g_test_run();
}

/*
 * Servers that break the rules: whatever comes instead of a reply, its call ends with a status that
 * says what is wrong, and never with an OK that nobody sent.
 *
 * The server speaks HTTP/2 by hand: it takes the request, and answers with bytes that are given
 * here.
 */
#include <netinet/in.h>

#include "rpc-raw.h"

typedef struct Reply {
        const char *name;
        bool unary;
        const char *data; /* of the one DATA frame */
        size_t size;
        const char *status; /* of the trailers; NULL: there are none */
        EvgrpcCode code;
        const char *message;
} Reply;

#define DATA(bytes) (bytes), sizeof(bytes) - 1

static const Reply replies[] = {
        {"no-status", false, DATA("\0\0\0\0\0"), NULL, EVGRPC_INTERNAL,
         "The peer ended the call without a status"},
        {"truncated", false, DATA("\0\0\0\0\x09ok"), "0", EVGRPC_INTERNAL,
         "The reply ended within a message"},
        {"truncated-prefix", false, DATA("\0\0\0"), "0", EVGRPC_INTERNAL,
         "The reply ended within a message"},
        {"truncated-with-an-error", false, DATA("\0\0\0\0\x09ok"), "5", EVGRPC_NOT_FOUND, ""},
        {"two-replies", true, DATA("\0\0\0\0\0\0\0\0\0\0"), "0", EVGRPC_INTERNAL,
         "More than one reply to a unary call"},
        {"no-reply", true, DATA(""), "0", EVGRPC_INTERNAL, "No reply to a unary call"},
        {"compressed", false, DATA("\1\0\0\0\0"), "0", EVGRPC_INTERNAL,
         "The reply is compressed, which was not offered"},
        {"prefix-flag", false, DATA("\2\0\0\0\0"), "0", EVGRPC_INTERNAL,
         "The reply's framing is wrong"},
        {"over-long", false, DATA("\0\x10\0\0\0ok"), "0", EVGRPC_RESOURCE_EXHAUSTED,
         "Received message of 268435456 bytes, the limit is 4194304"},
        {"not-a-message", false, DATA("\0\0\0\0\1\xff"), "0", EVGRPC_INTERNAL,
         "The reply is not a message of its type"},
        {"unknown-status", true, DATA("\0\0\0\0\0"), "99", EVGRPC_UNKNOWN, ""},
        {"good", true, DATA("\0\0\0\0\0"), "0", EVGRPC_OK, ""},
};

static int listen_somewhere(uint16_t *ret_port)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        g_assert_cmpint(bind(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
        g_assert_cmpint(listen(fd, 1), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &a, &size), ==, 0);
        *ret_port = ntohs(a.sin_port);
        return fd;
}

/* The connection, once its first request is here. */
static void take_request(Raw *p, Fixture *f, int listener)
{
        *p = (Raw){.fd = -1, .out = g_byte_array_new(), .got = g_byte_array_new()};
        RUN_UNTIL(f, (p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
        raw_frame(p, RAW_SETTINGS, 0, 0, NULL, 0);
        RUN_UNTIL(f, (raw_turn(p), p->got->len >= 24));
        g_byte_array_remove_range(p->got, 0, 24); /* the preface */
        RUN_UNTIL(f, (raw_turn(p), raw_count(p, RAW_HEADERS, 1) == 1));
}

static void send_reply(Raw *p, const Reply *reply)
{
        g_autoptr(GByteArray) head = g_byte_array_new(), trailers = g_byte_array_new();

        g_byte_array_append(head, (const uint8_t *) "\x88", 1); /* :status 200 */
        raw_field(head, "content-type", "application/grpc");
        raw_frame(p, RAW_HEADERS, RAW_END_HEADERS, 1, head->data, head->len);
        raw_frame(p, RAW_DATA, reply->status ? 0 : RAW_END_STREAM, 1, reply->data, reply->size);
        if (!reply->status)
                return;
        raw_field(trailers, "grpc-status", reply->status);
        raw_frame(p, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, 1, trailers->data,
                  trailers->len);
}

static void test_reply_ends_in_its_status(const void *data)
{
        const Reply *reply = data;
        const EvgrpcCallOptions options = {.unary = reply->unary};
        g_autofree char *address = NULL;
        EvgrpcChannel *channel;
        Order order = ORDER_INIT;
        uint16_t port;
        int listener = listen_somewhere(&port);
        Fixture f;
        Story s;
        Raw p;

        fixture_begin(&f);
        address = g_strdup_printf("127.0.0.1:%u", port);
        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &channel), ==, 0);
        story_start_on(&s, &f, channel, reply->unary ? "Unary" : "List", &order, &options);
        take_request(&p, &f, listener);
        send_reply(&p, reply);
        RUN_UNTIL(&f, (raw_turn(&p), s.done));
        g_assert_cmpint(s.code, ==, reply->code);
        g_assert_cmpstr(s.message, ==, reply->message);
        g_assert_true(
                evgrpc_channel_is_connected(channel)); /* the call's end, not the connection's */
        story_end(&s);
        evgrpc_channel_free(channel);
        raw_end(&p);
        close(listener);
        fixture_end(&f);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_autofree char *path = g_strdup_printf("/rpc/replies/%s", replies[i].name);

                g_test_add_data_func(path, &replies[i], test_reply_ends_in_its_status);
        }
        return g_test_run();
}

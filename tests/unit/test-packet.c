/*
 * Packets with descriptors: they arrive whole and in order, close-on-exec, or not at all.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "platform/packet.h"

static void make_pair(int fds[2])
{
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                        ==, 0);
}

static void test_descriptors_travel_in_order(void)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        int pair[2], sent[PACKET_MAX_FDS], got[PACKET_MAX_FDS];
        size_t count = 0;

        make_pair(pair);
        for (size_t i = 0; i < PACKET_MAX_FDS; i++) {
                g_autofree char *text = g_strdup_printf("%zu", i);
                FILE *f = tmpfile();

                sent[i] = fcntl(fileno(f), F_DUPFD_CLOEXEC, 0);
                g_assert_cmpint(write(sent[i], text, strlen(text)), >, 0);
                (void) fclose(f);
        }
        g_assert_cmpint(packet_send(pair[0], "hello", 5, sent, PACKET_MAX_FDS), ==, 0);
        g_assert_cmpint(packet_recv(pair[1], buffer, got, &count), ==, 5);
        g_assert_cmpmem(buffer, 5, "hello", 5);
        g_assert_cmpuint(count, ==, PACKET_MAX_FDS);
        for (size_t i = 0; i < count; i++) {
                char text[8] = {};

                g_assert_cmpint(pread(got[i], text, sizeof(text) - 1, 0), >, 0);
                g_assert_cmpuint(g_ascii_strtoull(text, NULL, 10), ==, i);
                g_assert_cmpint(fcntl(got[i], F_GETFD) & FD_CLOEXEC, !=, 0);
                (void) close(got[i]);
                (void) close(sent[i]);
        }
        (void) close(pair[0]);
        (void) close(pair[1]);
}

static void test_limits_are_refused_before_sending(void)
{
        static uint8_t big[PACKET_MAX_BYTES + 1];
        int pair[2], none[PACKET_MAX_FDS];
        size_t count;

        make_pair(pair);
        g_assert_cmpint(packet_send(pair[0], big, sizeof(big), NULL, 0), ==, -EMSGSIZE);
        g_assert_cmpint(packet_send(pair[0], big, 0, NULL, 0), ==, -EMSGSIZE);
        g_assert_cmpint(packet_recv(pair[1], big, none, &count), ==, -EAGAIN);
        g_assert_cmpint(packet_send(pair[0], big, PACKET_MAX_BYTES, NULL, 0), ==, 0);
        g_assert_cmpint(packet_recv(pair[1], big, none, &count), ==, PACKET_MAX_BYTES);
        (void) close(pair[0]);
        (void) close(pair[1]);
}

static void test_a_packet_over_the_limit_is_bad_and_leaks_nothing(void)
{
        static uint8_t big[PACKET_MAX_BYTES + 1];
        int pair[2], fds[PACKET_MAX_FDS], before, after;
        size_t count;

        make_pair(pair);
        before = dup(0);
        (void) close(before);
        g_assert_cmpint(send(pair[0], big, sizeof(big), 0), ==, (ssize_t) sizeof(big));
        g_assert_cmpint(packet_recv(pair[1], big, fds, &count), ==, -EBADMSG);
        after = dup(0);
        (void) close(after);
        g_assert_cmpint(before, ==, after);
        (void) close(pair[0]);
        (void) close(pair[1]);
}

static void test_a_gone_peer_is_an_end_and_an_epipe(void)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        int pair[2], fds[PACKET_MAX_FDS];
        size_t count;

        make_pair(pair);
        (void) close(pair[0]);
        g_assert_cmpint(packet_recv(pair[1], buffer, fds, &count), ==, 0);
        g_assert_cmpint(packet_send(pair[1], "x", 1, NULL, 0), ==, -EPIPE);
        (void) close(pair[1]);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/packet/descriptors-travel-in-order",
                        test_descriptors_travel_in_order);
        g_test_add_func("/platform/packet/limits-are-refused-before-sending",
                        test_limits_are_refused_before_sending);
        g_test_add_func("/platform/packet/a-packet-over-the-limit-is-bad-and-leaks-nothing",
                        test_a_packet_over_the_limit_is_bad_and_leaks_nothing);
        g_test_add_func("/platform/packet/a-gone-peer-is-an-end-and-an-epipe",
                        test_a_gone_peer_is_an_end_and_an_epipe);
        return g_test_run();
}

/*
 * Peers and connections that end: every call has its status at once, and the next one its
 * connection.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "rpc-fixture.h"

static void test_server_freed_mid_call_is_unavailable_at_once(void)
{
        Order order = ORDER_INIT;
        gint64 begin;
        Story s[3];
        Fixture f;

        fixture_begin(&f);
        order.hang = true;
        for (size_t i = 0; i < 3; i++)
                story_start(&s[i], &f, i == 1 ? "List" : "Unary", &order, NULL);
        RUN_UNTIL(&f, f.echo.living == 3);
        f.server = evgrpc_server_free(f.server);
        g_assert_cmpuint(f.echo.cancelled, ==, 3); /* before free returned */
        begin = g_get_monotonic_time();
        for (size_t i = 0; i < 3; i++) {
                g_assert_cmpint(evgrpc_call_wait(s[i].call)->code, ==, EVGRPC_UNAVAILABLE);
                story_end(&s[i]);
        }
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 500000);
        fixture_end(&f);
}

/* A process of its own, that ends as by kill -9. */
static pid_t start_server_process(const char *address)
{
        pid_t pid = fork();

        if (pid == 0) {
                struct event_base *base = event_base_new();
                EvgrpcServer *server;
                EchoService echo;

                if (evgrpc_server_new(base, NULL, &server) < 0 ||
                    echo_service_add(&echo, base, server) < 0 ||
                    evgrpc_server_listen(server, address, NULL) < 0)
                        _exit(1);
                event_base_dispatch(base);
                _exit(0);
        }
        return pid;
}

static void kill_and_reap(pid_t pid)
{
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void test_server_process_killed_mid_call_and_started_again(void)
{
        g_autofree char *dir = g_dir_make_tmp("rpc-XXXXXX", NULL);
        g_autofree char *path = g_strdup_printf("%s/socket", dir);
        g_autofree char *address = g_strdup_printf("unix:%s", path);
        EvgrpcCallOptions wait = {.fail_fast_off = true, .timeout_usec = 10000000};
        Order order = ORDER_INIT;
        Fixture f = {.base = event_base_new()};
        pid_t pid = start_server_process(address);
        Story s;

        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &f.channel), ==, 0);
        story_start(&s, &f, "Unary", &order, &wait);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);

        order.hang = true;
        story_start(&s, &f, "Unary", &order, NULL);
        run_for(&f, 20);
        kill_and_reap(pid);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
        story_end(&s);

        /* The socket file is stale now: nobody answers, then the new server replaces it. */
        order.hang = false;
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
        story_end(&s);
        pid = start_server_process(address);
        story_start(&s, &f, "Unary", &order, &wait);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
        kill_and_reap(pid);
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        (void) unlink(path);
        (void) rmdir(dir);
}

/* A gibibyte was to come. What came is whole messages, and the end is no OK. */
static void test_server_process_killed_mid_message(void)
{
        g_autofree char *dir = g_dir_make_tmp("rpc-XXXXXX", NULL);
        g_autofree char *path = g_strdup_printf("%s/socket", dir);
        g_autofree char *address = g_strdup_printf("unix:%s", path);
        EvgrpcCallOptions wait = {.fail_fast_off = true, .timeout_usec = 60000000};
        Order order = ORDER_INIT;
        Fixture f = {.base = event_base_new()};
        pid_t pid = start_server_process(address);
        Story s;

        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &f.channel), ==, 0);
        order.count = 1024;
        order.reply_size = 1 << 20;
        story_start(&s, &f, "List", &order, &wait);
        RUN_UNTIL(&f, s.messages > 0);
        kill_and_reap(pid);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
        g_assert_cmpuint(s.messages, <, order.count);
        g_assert_cmpuint(s.bytes, ==, (uint64_t) s.messages << 20);
        story_end(&s);
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        (void) unlink(path);
        (void) rmdir(dir);
}

/* A port that nobody serves, and one whose server never says a word. */
static int reserve_port(char **ret_address, int backlog)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(bind(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &a, &size), ==, 0);
        if (backlog > 0)
                g_assert_cmpint(listen(fd, backlog), ==, 0);
        *ret_address = g_strdup_printf("127.0.0.1:%u", ntohs(a.sin_port));
        return fd;
}

static void test_refused_connection_is_unavailable_with_its_reason(void)
{
        g_autofree char *address = NULL;
        int fd = reserve_port(&address, 0);
        Fixture f = {.base = event_base_new()};
        Order order = ORDER_INIT;
        Story s;

        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &f.channel), ==, 0);
        for (unsigned i = 0; i < 2; i++) { /* the second meets the backoff */
                story_start(&s, &f, "Unary", &order, NULL);
                g_assert_cmpuint(s.done, ==, 0);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
                g_assert_nonnull(strstr(s.message, address));
                g_assert_nonnull(strstr(s.message, "refused"));
                story_end(&s);
        }
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        close(fd);
}

static void test_silent_port_is_unavailable_after_the_connect_timeout(void)
{
        EvgrpcChannelOptions options = {.connect_timeout_usec = 100000};
        g_autofree char *address = NULL;
        int fd = reserve_port(&address, 8);
        Fixture f = {.base = event_base_new()};
        Order order = ORDER_INIT;
        Story s;

        g_assert_cmpint(evgrpc_channel_new(f.base, address, &options, &f.channel), ==, 0);
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
        g_assert_nonnull(strstr(s.message, "settings"));
        story_end(&s);
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        close(fd);
}

static void check_server_that_says(const char *text, size_t size, EvgrpcChannelOptions *options,
                                   const char *expected)
{
        g_autofree char *address = NULL;
        int fd = reserve_port(&address, 8), conn;
        Fixture f = {.base = event_base_new()};
        Order order = ORDER_INIT;
        Story s;

        evutil_make_socket_nonblocking(fd);
        g_assert_cmpint(evgrpc_channel_new(f.base, address, options, &f.channel), ==, 0);
        story_start(&s, &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, (conn = accept(fd, NULL, NULL)) >= 0);
        g_assert_cmpint(send(conn, text, size, MSG_NOSIGNAL), ==, (ssize_t) size);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_UNAVAILABLE);
        if (!strstr(s.message, expected))
                g_error("\"%s\" does not say \"%s\"", s.message, expected);
        story_end(&s);
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        close(conn);
        close(fd);
}

static void test_server_that_speaks_http1_is_unavailable(void)
{
        static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

        check_server_that_says(text, sizeof(text) - 1, NULL, "Failed to connect");
}

static void test_server_that_falls_silent_is_found_by_keepalive(void)
{
        static const char settings[] = "\0\0\0\4\0\0\0\0\0";
        EvgrpcChannelOptions options = {.keepalive_usec = 50000, .keepalive_timeout_usec = 50000};

        check_server_that_says(settings, 9, &options, "Keepalive");
}

static void test_living_server_answers_keepalive(void)
{
        EvgrpcChannelOptions options = {.keepalive_usec = 20000, .keepalive_timeout_usec = 500000};
        EvgrpcServerOptions server = {.keepalive_usec = 20000, .keepalive_timeout_usec = 500000};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin_with(&f, "127.0.0.1:0", &server, &options);
        order.delay_ms = 300;
        story_start(&s, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
        fixture_end(&f);
}

static void test_deadline_ends_the_wait_for_a_connection(void)
{
        EvgrpcCallOptions options = {.fail_fast_off = true, .timeout_usec = 250000};
        g_autofree char *address = NULL;
        int fd = reserve_port(&address, 0);
        Fixture f = {.base = event_base_new()};
        Order order = ORDER_INIT;
        Story s;

        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &f.channel), ==, 0);
        story_start(&s, &f, "Unary", &order, &options);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_DEADLINE_EXCEEDED);
        story_end(&s);
        evgrpc_channel_free(f.channel);
        event_base_free(f.base);
        close(fd);
}

static void test_channel_freed_with_open_calls_ends_them_before_it_returns(void)
{
        Order order = ORDER_INIT;
        Story s[3];
        Fixture f;

        fixture_begin(&f);
        order.hang = true;
        story_start(&s[0], &f, "Unary", &order, NULL);
        story_start(&s[1], &f, "List", &order, NULL);
        RUN_UNTIL(&f, f.echo.living == 2);
        story_start(&s[2], &f, "Unary", &order, NULL); /* still on its way */
        f.channel = evgrpc_channel_free(f.channel);
        for (size_t i = 0; i < 3; i++) {
                g_assert_cmpint(s[i].code, ==, EVGRPC_CANCELLED);
                g_assert_cmpint(evgrpc_call_status(s[i].call)->code, ==, EVGRPC_CANCELLED);
                story_end(&s[i]);
        }
        RUN_UNTIL(&f, f.echo.living == 0);
        fixture_end(&f);
}

static void free_channel_on_message(EvgrpcCall *call, const ProtobufCMessage *m, void *userdata)
{
        Story *s = userdata;

        s->messages++;
        s->f->channel = evgrpc_channel_free(s->f->channel);
}

static void free_channel_on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Story *s = userdata;

        s->done++;
        s->f->channel = evgrpc_channel_free(s->f->channel);
}

static void test_channel_freed_inside_a_handler(void)
{
        EvgrpcCallHandlers on_message = {.on_message = free_channel_on_message};
        EvgrpcCallHandlers on_done = {.on_done = free_channel_on_done};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin(&f);
        order.count = 10;
        s = (Story){.f = &f};
        g_assert_cmpint(evgrpc_call_start(f.channel, ECHO, "List", &order.base, NULL, &on_message,
                                          &s, NULL),
                        ==, 0);
        RUN_UNTIL(&f, !f.channel);
        g_assert_cmpuint(s.messages, ==, 1);
        fixture_end(&f);

        fixture_begin(&f);
        s = (Story){.f = &f};
        g_assert_cmpint(
                evgrpc_call_start(f.channel, ECHO, "Unary", &order.base, NULL, &on_done, &s, NULL),
                ==, 0);
        RUN_UNTIL(&f, !f.channel);
        fixture_end(&f);
}

static void on_state(EvgrpcChannel *channel, bool connected, const char *error, void *userdata)
{
        g_assert_true(connected == !error);
        g_string_append_c(userdata, connected ? '+' : '-');
}

static void test_state_is_told_at_each_change(void)
{
        g_autoptr(GString) states = g_string_new(NULL);
        EvgrpcChannelOptions options = {.on_state = on_state, .userdata = states};
        Fixture f;

        fixture_begin_with(&f, "127.0.0.1:0", NULL, &options);
        evgrpc_channel_connect(f.channel);
        g_assert_false(evgrpc_channel_is_connected(f.channel));
        RUN_UNTIL(&f, evgrpc_channel_is_connected(f.channel));
        f.server = evgrpc_server_free(f.server);
        RUN_UNTIL(&f, !evgrpc_channel_is_connected(f.channel));
        g_assert_cmpstr(states->str, ==, "+-");
        evgrpc_channel_connect(f.channel);
        RUN_UNTIL(&f, states->len == 3);
        g_assert_cmpstr(states->str, ==, "+--");
        fixture_end(&f);
}

static void test_shutdown_lets_calls_end_and_takes_no_more(void)
{
        Order order = ORDER_INIT;
        Story s, late;
        Fixture f;

        fixture_begin(&f);
        order.hang = true;
        story_start(&s, &f, "Unary", &order, NULL);
        RUN_UNTIL(&f, f.echo.living == 1);
        evgrpc_server_shutdown(f.server);
        RUN_UNTIL(&f, !evgrpc_channel_is_connected(f.channel));
        story_start(&late, &f, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(late.call)->code, ==, EVGRPC_UNAVAILABLE);
        g_assert_cmpuint(s.done, ==, 0);
        echo_service_release(&f.echo);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 0);
        story_end(&s);
        story_end(&late);
        fixture_end(&f);
}

static void count_left(EvgrpcChannel *channel, void *userdata)
{
        ++*(unsigned *) userdata;
}

/* By the server, who says GOAWAY, and by the client, each time with a call on its way. */
static void test_a_renewed_connection_keeps_its_calls_and_gets_no_new_ones(void)
{
        unsigned left = 0;
        EvgrpcChannelOptions options = {
                .stay_connected = true, .on_left = count_left, .userdata = &left};
        Order slow = ORDER_INIT, quick = ORDER_INIT;
        Story first, second;
        Fixture f;

        fixture_begin_with(&f, "127.0.0.1:0", NULL, &options);
        slow.hang = true;
        for (unsigned by_client = 0; by_client < 2; by_client++) {
                story_start(&first, &f, "Unary", &slow, NULL);
                RUN_UNTIL(&f, f.echo.living == 1);
                if (by_client)
                        evgrpc_channel_renew(f.channel);
                else
                        evgrpc_server_renew(f.server);
                RUN_UNTIL(&f, left == by_client + 1);
                story_start(&second, &f, "Unary", &quick, NULL);
                g_assert_cmpint(evgrpc_call_wait(second.call)->code, ==, EVGRPC_OK);
                g_assert_cmpuint(first.done, ==, 0);
                g_assert_cmpuint(evgrpc_server_connection_count(f.server), ==, 2);
                echo_service_release(&f.echo);
                g_assert_cmpint(evgrpc_call_wait(first.call)->code, ==, EVGRPC_OK);
                RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 1);
                g_assert_true(evgrpc_channel_is_connected(f.channel));
                story_end(&first);
                story_end(&second);
        }
        g_assert_cmpuint(left, ==, 2);
        fixture_end(&f);
}

/* Nobody calls, and nobody need call for it to be made again; without the wish for it, it is made
 * when it is needed. */
static void test_an_idle_connection_is_renewed_as_its_channel_wishes(void)
{
        for (unsigned stay = 0; stay < 2; stay++) {
                EvgrpcChannelOptions options = {.stay_connected = stay};
                Order order = ORDER_INIT;
                Fixture f;
                Story s;

                fixture_begin_with(&f, "127.0.0.1:0", NULL, &options);
                story_start(&s, &f, "Unary", &order, NULL);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
                story_end(&s);
                evgrpc_channel_renew(f.channel);
                g_assert_false(evgrpc_channel_is_connected(f.channel));
                RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 0 ||
                                      evgrpc_channel_is_connected(f.channel));
                RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == stay);
                story_start(&s, &f, "Unary", &order, NULL);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
                story_end(&s);
                fixture_end(&f);
        }
}

static void test_idle_connection_is_closed_and_made_again(void)
{
        EvgrpcServerOptions options = {.idle_usec = 50000};
        Order order = ORDER_INIT;
        Fixture f;
        Story s;

        fixture_begin_with(&f, "127.0.0.1:0", &options, NULL);
        for (unsigned i = 0; i < 2; i++) {
                story_start(&s, &f, "Unary", &order, NULL);
                g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
                story_end(&s);
                RUN_UNTIL(&f, evgrpc_server_connection_count(f.server) == 0);
        }
        fixture_end(&f);
}

static void test_living_unix_socket_is_in_use_and_other_files_are_kept(void)
{
        g_autofree char *dir = g_dir_make_tmp("rpc-XXXXXX", NULL);
        g_autofree char *path = g_strdup_printf("%s/socket", dir);
        g_autofree char *address = g_strdup_printf("unix:%s", path);
        struct stat st;
        Fixture f;

        fixture_begin_with(&f, address, NULL, NULL);
        g_assert_cmpint(evgrpc_server_listen(f.server, address, NULL), ==, -EADDRINUSE);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
        fixture_end(&f);
        g_assert_cmpint(stat(path, &st), <, 0);
        g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
        g_assert_cmpint(evgrpc_server_new(f.base = event_base_new(), NULL, &f.server), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(f.server, address, NULL), ==, -EADDRINUSE);
        g_assert_cmpint(stat(path, &st), ==, 0);
        evgrpc_server_free(f.server);
        event_base_free(f.base);
        (void) unlink(path);
        (void) rmdir(dir);
}

static void test_inherited_socket_is_served(void)
{
        g_autofree char *address = NULL;
        int fd = reserve_port(&address, 8);
        Order order = ORDER_INIT;
        EvgrpcChannel *channel;
        Fixture f;
        Story s;

        fixture_begin(&f);
        g_assert_cmpint(evgrpc_server_listen_fd(f.server, fd), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(f.base, address, NULL, &channel), ==, 0);
        story_start_on(&s, &f, channel, "Unary", &order, NULL);
        g_assert_cmpint(evgrpc_call_wait(s.call)->code, ==, EVGRPC_OK);
        story_end(&s);
        evgrpc_channel_free(channel);
        fixture_end(&f);
}

#define ADD(name, function) g_test_add_func("/rpc/failures/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("server-freed", test_server_freed_mid_call_is_unavailable_at_once);
        ADD("server-killed", test_server_process_killed_mid_call_and_started_again);
        ADD("killed-mid-message", test_server_process_killed_mid_message);
        ADD("refused", test_refused_connection_is_unavailable_with_its_reason);
        ADD("silent-port", test_silent_port_is_unavailable_after_the_connect_timeout);
        ADD("http1-server", test_server_that_speaks_http1_is_unavailable);
        ADD("keepalive-dead", test_server_that_falls_silent_is_found_by_keepalive);
        ADD("keepalive-living", test_living_server_answers_keepalive);
        ADD("wait-for-ready-deadline", test_deadline_ends_the_wait_for_a_connection);
        ADD("channel-free", test_channel_freed_with_open_calls_ends_them_before_it_returns);
        ADD("channel-free-inside", test_channel_freed_inside_a_handler);
        ADD("state", test_state_is_told_at_each_change);
        ADD("shutdown", test_shutdown_lets_calls_end_and_takes_no_more);
        ADD("renewed", test_a_renewed_connection_keeps_its_calls_and_gets_no_new_ones);
        ADD("renewed-idle", test_an_idle_connection_is_renewed_as_its_channel_wishes);
        ADD("idle", test_idle_connection_is_closed_and_made_again);
        ADD("unix-socket-in-use", test_living_unix_socket_is_in_use_and_other_files_are_kept);
        ADD("listen-fd", test_inherited_socket_is_served);
        return g_test_run();
}

/*
 * Serves echo.proto until standard input ends. Prints its address.
 */
#include <stdio.h>
#include <unistd.h>
#include <glib.h>

#include "echo-service.h"
#include "echo-tls.h"

static void on_stdin(evutil_socket_t fd, short what, void *userdata)
{
        char buffer[64];

        if (read((int) fd, buffer, sizeof(buffer)) <= 0)
                event_base_loopbreak(userdata);
}

static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        (void) fprintf(stderr, "%s: %s\n", peer, error);
}

int main(int argc, char **argv)
{
        EvgrpcServerOptions options = {.tls = echo_tls(),
                                       .keepalive_usec = echo_keepalive_usec(),
                                       .keepalive_timeout_usec = echo_keepalive_usec(),
                                       .on_error = on_error};
        struct event_base *base = event_base_new();
        struct event *end = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, base);
        EvgrpcServer *server;
        EchoService echo;
        char *bound;

        g_assert_cmpint(evgrpc_server_new(base, &options, &server), ==, 0);
        g_assert_cmpint(echo_service_add(&echo, base, server), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:0", &bound),
                        ==, 0);
        event_add(end, NULL);
        puts(bound);
        (void) fflush(stdout);
        event_base_dispatch(base);
        printf("calls %zu cancelled %zu living %zu\n", echo.calls, echo.cancelled, echo.living);
        evgrpc_server_free(server);
        evgrpc_tls_unref(options.tls);
        event_free(end);
        event_base_free(base);
        free(bound);
        return 0;
}

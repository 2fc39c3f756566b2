/*
 * What a client sends to a server. The first byte says whether the connection's opening is ours
 * (odd) or part of the input. Whatever came: the server closes the connection, and every call has
 * ended.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>

#include "echo.pb-c.h"
#include "fuzz.h"
#include "rpc/evgrpc.h"

#define INPUT_BYTES_MAX ((size_t) 64 << 10) /* fits a socket's buffer */
#define ANSWERS_MAX 4u

typedef Evgrpc__Test__Order Order;
typedef Evgrpc__Test__Answer Answer;

static struct event_base *base;
static EvgrpcServer *server;
static struct sockaddr_un address;
static socklen_t address_size;
static unsigned living;

static int answer(EvgrpcServerCall *call, const Order *order, uint32_t number)
{
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        a.body = order->body;
        a.number = number;
        a.time_left_usec = evgrpc_server_call_time_left_usec(call);
        return evgrpc_server_call_send(call, &a.base);
}

static void add_metadata(EvgrpcServerCall *call)
{
        const EvgrpcMetadata *m = evgrpc_server_call_metadata(call);

        for (size_t i = 0; i < m->count; i++) {
                const EvgrpcMetadataEntry *e = &m->entries[i];

                CLAIM(e->value[e->value_size] == 0);
                (void) evgrpc_server_call_add_initial_metadata(call, e->key, e->value,
                                                               e->value_size);
                (void) evgrpc_server_call_add_trailing_metadata(call, e->key, e->value,
                                                                e->value_size);
        }
}

static void unary(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Order *order = (const Order *) message;

        add_metadata(call);
        if (order->hang)
                return; /* it ends with the connection */
        if (order->code == 0)
                (void) answer(call, order, 0);
        evgrpc_server_call_finish(call, (EvgrpcCode) order->code, "%s", order->message);
}

static void list(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Order *order = (const Order *) message;

        for (uint32_t i = 0; i < order->count && i < ANSWERS_MAX; i++)
                (void) answer(call, order, i);
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

static void over(EvgrpcServerCall *call)
{
        CLAIM(living > 0);
        living--;
}

static void on_message(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Order *order = (const Order *) message;

        if (order->code != 0) {
                over(call);
                evgrpc_server_call_finish(call, (EvgrpcCode) order->code, "%s", order->message);
        } else if (userdata)
                (void) answer(call, order, 0);
}

static void on_half_close(EvgrpcServerCall *call, void *userdata)
{
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        over(call);
        if (!userdata)
                evgrpc_server_call_reply(call, &a.base);
        else
                evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        over(call);
}

static const EvgrpcServerCallHandlers handlers = {
        .on_message = on_message, .on_half_close = on_half_close, .on_cancelled = on_cancelled};

static void collect(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        living++;
        evgrpc_server_call_set_handlers(call, &handlers, NULL);
}

static void chat(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        living++;
        evgrpc_server_call_set_handlers(call, &handlers, &living);
}

static const EvgrpcMethod methods[] = {
        {.name = "Unary", .handler = unary},
        {.name = "List", .handler = list, .server_streaming = true},
        {.name = "Collect", .handler = collect, .client_streaming = true},
        {.name = "Chat", .handler = chat, .client_streaming = true, .server_streaming = true},
        {},
};

static void begin(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        address.sun_family = AF_UNIX; /* a name of the kernel's choice, no file */
        CLAIM(bind(fd, (struct sockaddr *) &address, sizeof(sa_family_t)) == 0);
        address_size = sizeof(address);
        CLAIM(getsockname(fd, (struct sockaddr *) &address, &address_size) == 0);
        CLAIM(listen(fd, 16) == 0);
        base = event_base_new();
        CLAIM(evgrpc_server_new(base, NULL, &server) == 0);
        CLAIM(evgrpc_server_add_service(server, &evgrpc__test__echo__descriptor, methods, NULL) ==
              0);
        CLAIM(evgrpc_server_listen_fd(server, fd) == 0);
}

/* Reads what the server answers, until it has closed the connection. */
static bool is_hung_up(int fd)
{
        static uint8_t answer_bytes[1 << 16];
        ssize_t n;

        do
                n = recv(fd, answer_bytes, sizeof(answer_bytes), MSG_DONTWAIT);
        while (n > 0);
        return n == 0 || (errno != EAGAIN && errno != EINTR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
        int fd;

        if (size == 0 || size > INPUT_BYTES_MAX)
                return 0;
        if (!base)
                begin();
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CLAIM(connect(fd, (struct sockaddr *) &address, address_size) == 0);
        if (data[0] & 1)
                CLAIM(send(fd, opening, sizeof(opening) - 1, MSG_NOSIGNAL) > 0);
        (void) send(fd, data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void) shutdown(fd, SHUT_WR);
        while (!is_hung_up(fd))
                (void) event_base_loop(base, EVLOOP_ONCE);
        (void) close(fd);
        CLAIM(evgrpc_server_connection_count(server) == 0);
        CLAIM(living == 0);
        return 0;
}

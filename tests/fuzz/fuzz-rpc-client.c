/*
 * What a server answers to a client. The first byte says whether the server's SETTINGS are ours
 * (odd) or part of the input, and whether one call reads with pauses. Whatever came: each call ends
 * exactly once.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>

#include "echo.pb-c.h"
#include "fuzz.h"
#include "rpc/evgrpc.h"

#define INPUT_BYTES_MAX ((size_t) 64 << 10)
#define CALLS 4u

static struct event_base *base;
static char folder[] = "/tmp/fuzz-rpc-client-XXXXXX";
static char path[64], target[80];
static int listener = -1;

typedef struct Input {
        const uint8_t *data;
        size_t size;
        int fd;
        unsigned done;
} Input;

static void on_message(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        CLAIM(message->descriptor == &evgrpc__test__answer__descriptor);
        CLAIM(!evgrpc_call_status(call));
}

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Input *in = userdata;
        const EvgrpcMetadata *m = evgrpc_call_trailing_metadata(call);

        CLAIM(status->message);
        CLAIM((unsigned) status->code < _EVGRPC_CODE_MAX);
        for (size_t i = 0; i < m->count; i++)
                CLAIM(m->entries[i].value[m->entries[i].value_size] == 0);
        (void) evgrpc_call_initial_metadata(call);
        in->done++;
}

static const EvgrpcCallHandlers handlers = {.on_message = on_message, .on_done = on_done};

static void on_accept(evutil_socket_t fd, short what, void *userdata)
{
        static const char settings[] = "\0\0\0\4\0\0\0\0\0";
        Input *in = userdata;

        int conn = accept4((int) fd, NULL, NULL, SOCK_CLOEXEC);

        if (conn >= 0 && in->fd >= 0) {
                (void) close(conn); /* calls that never left try once more, in vain */
                return;
        }
        in->fd = conn;
        CLAIM(in->fd >= 0);
        if (in->data[0] & 1)
                (void) send(in->fd, settings, sizeof(settings) - 1, MSG_NOSIGNAL);
        (void) send(in->fd, in->data + 1, in->size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void) shutdown(in->fd, SHUT_WR);
}

static void end(void)
{
        (void) unlink(path);
        (void) rmdir(folder);
}

static void begin(void)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};

        CLAIM(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/socket", folder);
        (void) snprintf(target, sizeof(target), "unix:%s", path);
        (void) snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CLAIM(bind(listener, (struct sockaddr *) &at, sizeof(at)) == 0);
        CLAIM(listen(listener, 16) == 0);
        CLAIM(atexit(end) == 0);
        base = event_base_new();
}

static EvgrpcCall *start(EvgrpcChannel *channel, const char *method, bool one_request, Input *in)
{
        EvgrpcCallOptions options = {.unary = strcmp(method, "Unary") == 0};
        Evgrpc__Test__Order order = EVGRPC__TEST__ORDER__INIT;
        EvgrpcCall *call = NULL;

        CLAIM(evgrpc_call_start(channel, &evgrpc__test__echo__descriptor, method,
                                one_request ? &order.base : NULL, &options, &handlers, in,
                                &call) == 0);
        if (!one_request)
                (void) evgrpc_call_send(call, &order.base);
        return call;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Input in = {.data = data, .size = size, .fd = -1};
        EvgrpcChannelOptions options = {.backoff_max_usec = 1};
        EvgrpcChannel *channel = NULL;
        EvgrpcCall *calls[CALLS];
        struct event *accepts;

        if (size == 0 || size > INPUT_BYTES_MAX)
                return 0;
        if (!base)
                begin();
        accepts = event_new(base, listener, EV_READ | EV_PERSIST, on_accept, &in);
        event_add(accepts, NULL);
        CLAIM(evgrpc_channel_new(base, target, &options, &channel) == 0);
        calls[0] = start(channel, "Unary", true, &in);
        calls[1] = start(channel, "List", true, &in);
        calls[2] = start(channel, "Collect", false, &in);
        calls[3] = start(channel, "Chat", false, &in);
        (void) evgrpc_call_close_send(calls[2]);
        if (data[0] & 2)
                evgrpc_call_pause(calls[1]);
        while (in.done < CALLS && event_base_loop(base, EVLOOP_ONCE) == 0)
                if (in.fd >= 0 && (data[0] & 2) && !evgrpc_call_status(calls[1]))
                        evgrpc_call_resume(calls[1]);
        CLAIM(in.done == CALLS);
        evgrpc_channel_free(channel);
        for (unsigned i = 0; i < CALLS; i++)
                evgrpc_call_unref(calls[i]);
        CLAIM(in.done == CALLS);
        event_free(accepts);
        if (in.fd >= 0)
                (void) close(in.fd);
        return 0;
}

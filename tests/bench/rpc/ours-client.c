/*
 * Our client of the benchmark; prints what it measured as a line of JSON.
 *
 *      ours-client ADDRESS latency SEC         calls one after another
 *      ours-client ADDRESS calls SEC COUNT     COUNT calls under way at any time
 *      ours-client ADDRESS bulk BYTES SIZE     one stream of BYTES in messages of SIZE
 *      ours-client ADDRESS hold COUNT          COUNT calls, answered when the server has them all
 *      ours-client ADDRESS idle COUNT          COUNT connections, a call on each, until stdin ends
 */
#include <errno.h>
#include <unistd.h>

#include "bench.pb-c.h"
#include "measure.h"
#include "rpc/evgrpc.h"

#define WARM_UP_SEC 0.2

typedef struct Client {
        struct event_base *base;
        EvgrpcChannel *channel;
        uint64_t until_ns;
        uint64_t done, failed;
        size_t outstanding;
        uint64_t bytes;
} Client;

static const EvgrpcCallOptions deadline = {.timeout_usec = 30 * 1000 * 1000};

static void fail(Client *c, const EvgrpcStatus *status)
{
        if (c->failed++ == 0)
                fprintf(stderr, "ours-client: %s: %s\n", evgrpc_code_to_string(status->code),
                        status->message);
}

static int start_echo(Client *c, EvgrpcChannel *channel, const EvgrpcCallHandlers *handlers,
                      EvgrpcCall **ret)
{
        Rpcbench__Payload request = RPCBENCH__PAYLOAD__INIT;

        request.data.data = (uint8_t *) (uintptr_t) PAYLOAD;
        request.data.len = sizeof(PAYLOAD) - 1;
        return evgrpc_call_start(channel, &rpcbench__bench__descriptor, "Echo", &request.base,
                                 &deadline, handlers, c, ret);
}

static bool echo_once(Client *c, EvgrpcChannel *channel)
{
        EvgrpcCall *call = NULL;
        const EvgrpcStatus *status;

        if (start_echo(c, channel, &(EvgrpcCallHandlers){}, &call) < 0)
                return false;
        status = evgrpc_call_wait(call);
        if (status->code != EVGRPC_OK)
                fail(c, status);
        evgrpc_call_unref(call);
        return c->failed == 0;
}

static bool run_latency(Client *c, double sec)
{
        uint64_t *ns = malloc(SAMPLES_MAX * sizeof(*ns)), start, end;
        size_t count = 0;

        if (!ns)
                return false;
        start = now_ns() + (uint64_t) (WARM_UP_SEC * 1e9);
        end = start + (uint64_t) (sec * 1e9);
        for (uint64_t t = now_ns(); t < end && count < SAMPLES_MAX;) {
                uint64_t after;
                if (!echo_once(c, c->channel))
                        break;
                after = now_ns();
                if (t >= start)
                        ns[count++] = after - t;
                t = after;
        }
        print_latency(ns, count);
        free(ns);
        return c->failed == 0;
}

/* ---- COUNT calls under way
 * ----------------------------------------------------------------------- */

static void echo_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Client *c = userdata;
        static const EvgrpcCallHandlers handlers = {.on_done = echo_done};

        c->done++;
        if (status->code != EVGRPC_OK)
                fail(c, status);
        if (now_ns() < c->until_ns && c->failed == 0 &&
            start_echo(c, c->channel, &handlers, NULL) == 0)
                return;
        if (--c->outstanding == 0)
                event_base_loopbreak(c->base);
}

/* Returns calls per second. */
static double keep_busy(Client *c, double sec, size_t count)
{
        uint64_t start = now_ns(), before = c->done;

        c->until_ns = start + (uint64_t) (sec * 1e9);
        for (size_t i = 0; i < count; i++)
                if (start_echo(c, c->channel, &(EvgrpcCallHandlers){.on_done = echo_done}, NULL) ==
                    0)
                        c->outstanding++;
        event_base_dispatch(c->base);
        return (double) (c->done - before) * 1e9 / (double) (now_ns() - start);
}

static bool run_calls(Client *c, double sec, size_t count)
{
        double rate;

        (void) keep_busy(c, WARM_UP_SEC, count);
        rate = keep_busy(c, sec, count);
        printf("{\"calls\": %" PRIu64 ", \"per_s\": %.0f}\n", c->done, rate);
        return c->failed == 0;
}

/* ---- a large stream
 * ------------------------------------------------------------------------------ */

static void on_block(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        ((Client *) userdata)->bytes += ((const Rpcbench__Payload *) message)->data.len;
}

static bool run_bulk(Client *c, double bytes, double size)
{
        Rpcbench__ReadRequest request = RPCBENCH__READ_REQUEST__INIT;
        EvgrpcCall *call = NULL;
        const EvgrpcStatus *status;
        uint64_t start = now_ns();

        request.size_bytes = (uint64_t) bytes;
        request.message_bytes = (uint32_t) size;
        if (evgrpc_call_start(c->channel, &rpcbench__bench__descriptor, "Read", &request.base,
                              &deadline, &(EvgrpcCallHandlers){.on_message = on_block}, c,
                              &call) < 0)
                return false;
        status = evgrpc_call_wait(call);
        if (status->code != EVGRPC_OK || c->bytes != request.size_bytes)
                fail(c, status);
        else
                printf("{\"bytes\": %" PRIu64 ", \"mb_per_s\": %.0f}\n", c->bytes,
                       (double) c->bytes * 1e3 / (double) (now_ns() - start));
        evgrpc_call_unref(call);
        return c->failed == 0;
}

/* ---- many calls at once
 * --------------------------------------------------------------------------- */

static void hold_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Client *c = userdata;

        if (status->code != EVGRPC_OK)
                fail(c, status);
        else
                c->done++;
        if (--c->outstanding == 0)
                event_base_loopbreak(c->base);
}

static bool run_hold(Client *c, size_t count)
{
        Rpcbench__HoldRequest request = RPCBENCH__HOLD_REQUEST__INIT;
        uint64_t start = now_ns();

        request.calls = (uint32_t) count;
        for (size_t i = 0; i < count; i++)
                if (evgrpc_call_start(c->channel, &rpcbench__bench__descriptor, "Hold",
                                      &request.base, &deadline,
                                      &(EvgrpcCallHandlers){.on_done = hold_done}, c, NULL) == 0)
                        c->outstanding++;
        event_base_dispatch(c->base);
        printf("{\"calls\": %zu, \"completed\": %" PRIu64 ", \"sec\": %.3f}\n", count, c->done,
               (double) (now_ns() - start) / 1e9);
        return c->failed == 0;
}

/* ---- many connections
 * ----------------------------------------------------------------------------- */

static bool run_idle(Client *c, const char *address, size_t count)
{
        EvgrpcChannel **channels = calloc(count, sizeof(EvgrpcChannel *));
        char byte;
        size_t made = 0;

        for (; channels && made < count; made++)
                if (evgrpc_channel_new(c->base, address, NULL, &channels[made]) < 0 ||
                    !echo_once(c, channels[made]))
                        break;
        printf("{\"connections\": %zu}\n", made);
        fflush(stdout);
        (void) !read(STDIN_FILENO, &byte, 1);
        for (size_t i = 0; channels && i < count; i++)
                evgrpc_channel_free(channels[i]);
        free(channels);
        return made == count;
}

static bool run(Client *c, char *argv[])
{
        double a = argument_number(argv, 3, 1), b = argv[3] ? argument_number(argv, 4, 64) : 64;

        if (strcmp(argv[2], "latency") == 0)
                return run_latency(c, a);
        if (strcmp(argv[2], "calls") == 0)
                return run_calls(c, a, (size_t) b);
        if (strcmp(argv[2], "bulk") == 0)
                return run_bulk(c, a, b);
        if (strcmp(argv[2], "hold") == 0)
                return run_hold(c, (size_t) a);
        if (strcmp(argv[2], "idle") == 0)
                return run_idle(c, argv[1], (size_t) a);
        fprintf(stderr, "ours-client: no measurement is called %s\n", argv[2]);
        return false;
}

int main(int argc, char *argv[])
{
        /* A bulk stream has windows that cover the way of 16 MiB. */
        bool bulk = argc > 2 && strcmp(argv[2], "bulk") == 0;
        const EvgrpcChannelOptions options = {.spin_usec = spin_usec(),
                                              .window_bytes = bulk ? 16u << 20 : 0,
                                              .max_message_bytes = bulk ? 16u << 20 : 0};
        Client client = {};
        bool good = false;

        client.base = event_base_new();
        if (argc >= 3 && client.base &&
            evgrpc_channel_new(client.base, argv[1], &options, &client.channel) >= 0)
                good = run(&client, argv);
        else
                fprintf(stderr, "usage: ours-client ADDRESS latency|calls|bulk|hold|idle …\n");
        evgrpc_channel_free(client.channel);
        if (client.base)
                event_base_free(client.base);
        return good ? 0 : 1;
}

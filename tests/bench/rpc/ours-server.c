/*
 * Our server of the benchmark: ours-server ADDRESS [FILE]. FILE is what Read sends, over and over.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.pb-c.h"
#include "measure.h"
#include "rpc/evgrpc.h"

#define HELD_MAX 200000u

static EvgrpcFile *file;
static size_t file_size;

static EvgrpcServerCall *held[HELD_MAX];
static uint32_t held_count;

static void echo(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        evgrpc_server_call_reply(call, request);
}

typedef struct Reading {
        uint64_t left;
        size_t at, step;
} Reading;

static void read_more(EvgrpcServerCall *call, void *userdata)
{
        Reading *reading = userdata;

        while (reading->left > 0) {
                Rpcbench__Payload block = RPCBENCH__PAYLOAD__INIT;
                size_t size = reading->step < reading->left ? reading->step : reading->left;
                if (reading->at + size > file_size)
                        reading->at = 0;
                EvgrpcFileRange range = {
                        .file = file, .offset = reading->at, .size = size, .field = 1};
                reading->at += size;
                reading->left -= size;
                if (evgrpc_server_call_send_file(call, &block.base, &range) <= 0)
                        break;
        }
        if (reading->left > 0)
                return;
        free(reading);
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

static void read_cancelled(EvgrpcServerCall *call, void *userdata)
{
        free(userdata);
}

static void read_file(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Rpcbench__ReadRequest *request = (const Rpcbench__ReadRequest *) message;
        Reading *reading;

        if (request->message_bytes == 0 || request->message_bytes > file_size) {
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT,
                                          "message_bytes is 1 to %zu", file_size);
                return;
        }
        reading = malloc(sizeof(*reading));
        if (!reading) {
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED, "out of memory");
                return;
        }
        *reading = (Reading){.left = request->size_bytes, .step = request->message_bytes};
        evgrpc_server_call_set_handlers(call,
                                        &(EvgrpcServerCallHandlers){.on_writable = read_more,
                                                                    .on_cancelled = read_cancelled},
                                        reading);
        read_more(call, reading);
}

static void hold(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Rpcbench__HoldRequest *request = (const Rpcbench__HoldRequest *) message;
        Rpcbench__Payload reply = RPCBENCH__PAYLOAD__INIT;

        if (held_count == HELD_MAX) {
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED, "%u calls wait already",
                                          held_count);
                return;
        }
        held[held_count++] = evgrpc_server_call_ref(call);
        if (held_count < request->calls)
                return;
        for (uint32_t i = 0; i < held_count; i++) {
                evgrpc_server_call_reply(held[i], &reply.base);
                evgrpc_server_call_unref(held[i]);
        }
        held_count = 0;
}

static const EvgrpcMethod methods[] = {
        {.name = "Echo", .handler = echo},
        {.name = "Read", .handler = read_file, .server_streaming = true},
        {.name = "Hold", .handler = hold},
        {},
};

static void stop(evutil_socket_t fd, short events, void *userdata)
{
        event_base_loopbreak(userdata);
}

static int open_file(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        file_size = (size_t) st.st_size;
        return evgrpc_file_new(fd, &file);
}

int main(int argc, char *argv[])
{
        const EvgrpcServerOptions options = {.spin_usec = spin_usec()};
        struct event_base *base = event_base_new();
        EvgrpcServer *server = NULL;
        struct event *end;
        char *bound = NULL;

        if (!base || argc < 2 || (argc > 2 && open_file(argv[2]) < 0) ||
            evgrpc_server_new(base, &options, &server) < 0 ||
            evgrpc_server_add_service(server, &rpcbench__bench__descriptor, methods, NULL) < 0 ||
            evgrpc_server_listen(server, argv[1], &bound) < 0) {
                fprintf(stderr, "usage: ours-server ADDRESS [FILE]\n");
                return 1;
        }
        printf("listening on %s\n", bound);
        fflush(stdout);
        /* Standard input may be a pipe or /dev/null: signals of the loop's end both. */
        end = event_new(base, STDIN_FILENO, EV_READ, stop, base);
        if (end && event_add(end, NULL) == 0)
                event_base_dispatch(base);
        if (end)
                event_free(end);
        evgrpc_server_free(server);
        evgrpc_file_unref(file);
        event_base_free(base);
        free(bound);
        return 0;
}

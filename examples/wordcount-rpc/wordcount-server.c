/*
 * wordcount-server — the lecture's word count server.
 *
 *      wordcount-server --listen 127.0.0.1:8888
 *
 * In Go's net/rpc a server is a type with methods, registered and listened for. Here it is the same
 * three steps; find them in main():
 *
 *      rpc.Register(server)           evgrpc_server_add_service()
 *      net.Listen("tcp", addr)        evgrpc_server_listen()
 *      go rpc.Accept(listener)        event_base_dispatch()
 *
 * The last line differs in spirit: Go gives each call a goroutine, libevent has one thread that
 * never waits. A method that needs time keeps its call (evgrpc_server_call_ref), returns, and
 * replies later.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/evgrpc.h"
#include "wordcount.pb-c.h"
#include "words.h"

/* Of one request. The reply names each word once with a few bytes more, so it stays below the 4 MiB
 * that clients of gRPC receive by default. */
#define INPUT_MAX_BYTES ((size_t) 1024 * 1024)

/* Sends the words as the reply's map, which protobuf-c shows as an array of entries. */
static void reply(EvgrpcServerCall *call, const Words *words)
{
        Wordcount__WordCountReply message = WORDCOUNT__WORD_COUNT_REPLY__INIT;
        Wordcount__WordCountReply__CountsEntry *entries =
                calloc(words->count + 1, sizeof(*entries));
        Wordcount__WordCountReply__CountsEntry **pointers =
                calloc(words->count + 1, sizeof(*pointers));

        if (entries && pointers) {
                for (size_t i = 0; i < words->count; i++) {
                        wordcount__word_count_reply__counts_entry__init(&entries[i]);
                        entries[i].key = words->list[i].text;
                        entries[i].value = words->list[i].count;
                        pointers[i] = &entries[i];
                }
                message.counts = pointers;
                message.n_counts = words->count;
                evgrpc_server_call_reply(call, &message.base); /* packed before it returns */
        } else
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED, "out of memory");
        free(entries);
        free(pointers);
}

/* The method. Whatever happens, a call is answered exactly once: with a reply or with a status. */
static void compute(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Wordcount__WordCountRequest *request = (const Wordcount__WordCountRequest *) message;
        Words words = {};
        int r;

        r = words_add_text(&words, request->input);
        if (r == -EILSEQ)
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT, "the input is not UTF-8");
        else if (r < 0)
                evgrpc_server_call_finish(call, EVGRPC_RESOURCE_EXHAUSTED, "out of memory");
        else {
                words_merge(&words);
                reply(call, &words);
        }
        words_done(&words);
}

static const EvgrpcMethod methods[] = {
        {.name = "Compute", .handler = compute},
        {},
};

/* Whether only this machine can reach the address. A name other than localhost may be anything. */
static bool is_local(const char *address)
{
        char host[64] = "";
        const char *port = strrchr(address, ':');
        struct in_addr v4;

        if (strncmp(address, "unix:", 5) == 0)
                return true;
        if (!port || (size_t) (port - address) >= sizeof(host))
                return false;
        memcpy(host, address, (size_t) (port - address));
        if (inet_pton(AF_INET, host, &v4) == 1)
                return (ntohl(v4.s_addr) >> 24) == 127;
        return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static void stop(evutil_socket_t sig, short events, void *userdata)
{
        event_base_loopbreak(userdata);
}

static int serve(struct event_base *base, const char *address)
{
        const EvgrpcServerOptions options = {.max_message_bytes = INPUT_MAX_BYTES};
        EvgrpcServer *server = NULL;
        char *bound = NULL;
        int r;

        r = evgrpc_server_new(base, &options, &server);
        if (r >= 0)
                r = evgrpc_server_add_service(server, &wordcount__word_count_server__descriptor,
                                              methods, NULL);
        if (r >= 0)
                r = evgrpc_server_listen(server, address, &bound);
        if (r >= 0) {
                printf("listening on %s\n", bound);
                fflush(stdout);
                event_base_dispatch(base); /* until stop() */
        } else if (r == -EINVAL)
                fprintf(stderr,
                        "wordcount-server: %s is no address: give HOST:PORT, [V6]:PORT or unix:PATH\n",
                        address);
        else
                fprintf(stderr, "wordcount-server: cannot listen on %s: %s\n", address,
                        strerror(-r));
        free(bound);
        evgrpc_server_free(server);
        return r;
}

static int run(const char *address)
{
        struct event_base *base = event_base_new();
        struct event *interrupt = base ? evsignal_new(base, SIGINT, stop, base) : NULL;
        struct event *terminate = base ? evsignal_new(base, SIGTERM, stop, base) : NULL;
        int r = -ENOMEM;

        if (interrupt && terminate && event_add(interrupt, NULL) == 0 &&
            event_add(terminate, NULL) == 0)
                r = serve(base, address);
        if (terminate)
                event_free(terminate);
        if (interrupt)
                event_free(interrupt);
        if (base)
                event_base_free(base);
        return r;
}

static void usage(FILE *out)
{
        fputs("usage: wordcount-server --listen ADDR:PORT [--allow-remote]\n"
              "\n"
              "  --listen ADDR:PORT  serve there; port 0 takes a free one, which is printed; or unix:PATH\n"
              "  --allow-remote      permit an address that other machines can reach\n",
              out);
}

int main(int argc, char *argv[])
{
        static const struct option options[] = {
                {"listen", required_argument, NULL, 'l'},
                {"allow-remote", no_argument, NULL, 'r'},
                {"help", no_argument, NULL, 'h'},
                {},
        };
        const char *address = NULL;
        bool allow_remote = false;
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                if (c == 'l')
                        address = optarg;
                else if (c == 'r')
                        allow_remote = true;
                else {
                        usage(c == 'h' ? stdout : stderr);
                        return c == 'h' ? 0 : 2;
                }
        if (!address || optind < argc) {
                usage(stderr);
                return 2;
        }
        if (!allow_remote && !is_local(address)) {
                fprintf(stderr,
                        "wordcount-server: other machines could reach %s, and nothing is encrypted here and nobody is asked who\n"
                        "they are. Give an address of this machine alone (127.0.0.1:PORT), or --allow-remote if that is meant.\n",
                        address);
                return 2;
        }
        return run(address) < 0 ? 1 : 0;
}

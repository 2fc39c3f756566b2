/*
 * wordcount-client — the lecture's word count client, in the three ways to await a reply.
 *
 *      wordcount-client --connect 127.0.0.1:8888 --mode sync "hello I am good hello" "bye bye"
 *
 * Each TEXT is a call of its own; the sum of all counts is printed, so the three ways print the
 * same.
 *
 *      sync       client.Call(...)             start a call and wait for it, then start the next
 *      callback   go func() { ... }()          start them all; a function of ours is called for
 *                                              each reply
 *      future     call := client.Go(...)       start them all and keep the calls; then wait for
 *                 <-call.Done                  the first that is done, or for a certain one
 *
 * With N texts, sync takes N round trips, the others hardly more than one: all calls travel on one
 * connection at the same time.
 *
 * As in net/rpc a call is sent at most once, and an error is not a "no": after UNAVAILABLE or
 * DEADLINE_EXCEEDED the server may or may not have done the work. Counting words twice harms
 * nobody, so whoever gets an error here may simply start again.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/evgrpc.h"
#include "wordcount.pb-c.h"
#include "words.h"

typedef struct Client {
        struct event_base *base;
        EvgrpcChannel *channel;
        const char *address;
        uint64_t timeout_usec; /* of each call */
        size_t outstanding;    /* calls whose callback is still to come */
        Words total;
        int error; /* the first one */
} Client;

/* The lecture's makeRequest(): starts the call, awaits nothing. */
static int make_request(Client *c, char *text, const EvgrpcCallHandlers *handlers, EvgrpcCall **ret)
{
        Wordcount__WordCountRequest request = WORDCOUNT__WORD_COUNT_REQUEST__INIT;
        const EvgrpcCallOptions options = {.timeout_usec = c->timeout_usec};

        request.input = text;
        return evgrpc_call_start(c->channel, &wordcount__word_count_server__descriptor, "Compute",
                                 &request.base, &options, handlers, c, ret);
}

/* The lecture's handleReply(), for a call that is over. */
static void handle_reply(Client *c, EvgrpcCall *call)
{
        const EvgrpcStatus *status = evgrpc_call_status(call);
        const Wordcount__WordCountReply *reply;

        if (status->code != EVGRPC_OK) {
                if (c->error == 0)
                        fprintf(stderr, "wordcount-client: no counts from %s: %s: %s\n", c->address,
                                evgrpc_code_to_string(status->code), status->message);
                c->error = -EIO;
                return;
        }
        reply = (const Wordcount__WordCountReply *) evgrpc_call_reply(call);
        for (size_t i = 0; i < reply->n_counts && c->error == 0; i++)
                c->error = words_add(&c->total, reply->counts[i]->key,
                                     strlen(reply->counts[i]->key), reply->counts[i]->value);
}

/* ---- sync
 * --------------------------------------------------------------------------------------- */

static int run_sync(Client *c, char *texts[], size_t count)
{
        for (size_t i = 0; i < count && c->error == 0; i++) {
                EvgrpcCall *call = NULL;
                int r = make_request(c, texts[i], &(EvgrpcCallHandlers){}, &call);
                if (r < 0)
                        return r;
                evgrpc_call_wait(call); /* runs the loop until there is a status */
                handle_reply(c, call);
                evgrpc_call_unref(call);
        }
        return c->error;
}

/* ---- callback
 * ----------------------------------------------------------------------------------- */

static void on_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        Client *c = userdata;

        handle_reply(c, call);
        if (--c->outstanding == 0)
                event_base_loopbreak(c->base);
}

static int run_callback(Client *c, char *texts[], size_t count)
{
        for (size_t i = 0; i < count; i++) {
                /* No reference wanted: the callback gets all we need. */
                int r = make_request(c, texts[i], &(EvgrpcCallHandlers){.on_done = on_done}, NULL);
                if (r < 0)
                        return r;
                c->outstanding++;
        }
        event_base_dispatch(c->base);
        return c->error;
}

/* ---- future
 * ------------------------------------------------------------------------------------- */

/* Each answer is taken when it comes: `select` over several call.Done. To wait for one that is
 * wanted next, whatever the others do, is evgrpc_call_wait() of it: `<-call.Done`. */
static int run_future(Client *c, char *texts[], size_t count)
{
        EvgrpcCall **calls = calloc(count, sizeof(*calls));
        size_t started = 0;
        int r = calls ? 0 : -ENOMEM;

        for (; r >= 0 && started < count; started++) {
                r = make_request(c, texts[started], &(EvgrpcCallHandlers){}, &calls[started]);
                if (r < 0)
                        break;
        }
        for (size_t left = started; r >= 0 && left > 0; left--) {
                ssize_t first = evgrpc_call_wait_first(calls, started);

                if (first < 0) {
                        r = (int) first;
                        break;
                }
                handle_reply(c, calls[first]);
                calls[first] = evgrpc_call_unref(calls[first]); /* the next wait passes it over */
        }
        if (r >= 0)
                r = c->error;
        for (size_t i = 0; i < started; i++)
                evgrpc_call_unref(calls[i]);
        free(calls);
        return r;
}

/* ---------------------------------------------------------------------------------------------- */

typedef int (*Mode)(Client *c, char *texts[], size_t count);

static Mode mode_from_string(const char *name)
{
        return strcmp(name, "sync") == 0       ? run_sync
               : strcmp(name, "callback") == 0 ? run_callback
               : strcmp(name, "future") == 0   ? run_future
                                               : NULL;
}

static int run(Client *c, Mode mode, char *texts[], size_t count)
{
        int r;

        c->base = event_base_new();
        r = c->base ? evgrpc_channel_new(c->base, c->address, NULL, &c->channel) : -ENOMEM;
        if (r == -EINVAL)
                fprintf(stderr,
                        "wordcount-client: %s is no address: give HOST:PORT, [V6]:PORT or unix:PATH\n",
                        c->address);
        if (r >= 0) {
                r = mode(c, texts, count);
                if (r < 0 && r != -EIO) /* of which handle_reply() told */
                        fprintf(stderr, "wordcount-client: %s\n", strerror(-r));
        }
        if (r >= 0) {
                words_merge(&c->total);
                for (size_t i = 0; i < c->total.count; i++)
                        printf("%s\t%" PRIi64 "\n", c->total.list[i].text, c->total.list[i].count);
        }
        words_done(&c->total);
        evgrpc_channel_free(c->channel);
        if (c->base)
                event_base_free(c->base);
        return r;
}

static void usage(FILE *out)
{
        fputs("usage: wordcount-client --connect ADDR:PORT [--mode sync|callback|future] [--timeout SEC] TEXT...\n"
              "\n"
              "Counts the words of the texts, with a call for each, and prints the sum: word TAB count, sorted.\n"
              "\n"
              "  --connect ADDR:PORT  of a wordcount-server; or unix:PATH\n"
              "  --mode MODE          how replies are awaited; sync unless given\n"
              "  --timeout SEC        the deadline of each call; 10 unless given\n",
              out);
}

static int parse_timeout(const char *text, uint64_t *ret_usec)
{
        char *end;
        double sec = strtod(text, &end);

        if (end == text || *end || !isfinite(sec) || sec < 1e-3 || sec > 86400)
                return -EINVAL;
        *ret_usec = (uint64_t) (sec * 1e6);
        return 0;
}

int main(int argc, char *argv[])
{
        static const struct option options[] = {
                {"connect", required_argument, NULL, 'c'},
                {"mode", required_argument, NULL, 'm'},
                {"timeout", required_argument, NULL, 't'},
                {"help", no_argument, NULL, 'h'},
                {},
        };
        Client client = {.timeout_usec = 10 * 1000 * 1000};
        Mode mode = run_sync;
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'c':
                        client.address = optarg;
                        break;
                case 'm':
                        mode = mode_from_string(optarg);
                        if (!mode) {
                                fprintf(stderr,
                                        "wordcount-client: %s is none of sync, callback, future\n",
                                        optarg);
                                return 2;
                        }
                        break;
                case 't':
                        if (parse_timeout(optarg, &client.timeout_usec) < 0) {
                                fprintf(stderr,
                                        "wordcount-client: --timeout is in seconds, 0.001 to 86400, not %s\n",
                                        optarg);
                                return 2;
                        }
                        break;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return 2;
                }
        if (!client.address || optind == argc) {
                usage(stderr);
                return 2;
        }
        return run(&client, mode, argv + optind, (size_t) (argc - optind)) < 0 ? 1 : 0;
}

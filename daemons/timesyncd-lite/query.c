/*
 * Query — see query.h.
 */
#include <inttypes.h>

#include "timekeeping/cristian.h"
#include "timesyncd-lite/exchange.h"
#include "timesyncd-lite/query.h"
#include "timesyncd-lite/tls.h"

typedef struct Query {
        Loop *loop;
        Error *error;
} Query;

static void print_claim(const TimeClaim *c)
{
        printf("SYNCHRONISED=%s\nSTRATUM=%u\nLEAP=%s\nROOT_DELAY_NS=%" PRId64
               "\nROOT_DISPERSION_NS=%" PRId64 "\nLOOP=%s\n",
               c->synchronised ? "yes" : "no", c->stratum, time_leap_to_string(c->leap),
               c->root_delay_ns, c->root_dispersion_ns, c->is_loop ? "yes" : "no");
}

static int print_result(const ExchangeResult *x, Error *e)
{
        const int64_t *t = x->reply.t;
        const bool from_kernel[] = {x->t1_from_kernel, x->reply.t2_from_kernel,
                                    x->reply.t3_from_kernel, x->t4_from_kernel};
        CristianSample s;
        int64_t set_ns;
        int r;

        for (int i = 0; i < 4; i++)
                printf("T%d_NS=%" PRId64 "\n", i + 1, t[i]);
        for (int i = 0; i < 4; i++)
                printf("T%d_FROM_KERNEL=%s\n", i + 1, from_kernel[i] ? "yes" : "no");
        print_claim(&x->reply.claim);
        printf("SERVER_ID=%016" PRIx64 "\nREFERENCE_ID=%016" PRIx64 "\n", x->reply.path.ids[0],
               x->reply.path.ids[1]); /* 0 when there is none */
        r = cristian_sample(t, &s);
        if (r >= 0)
                r = cristian_time_to_set(t, &set_ns);
        if (r < 0)
                return error_setf(e, r,
                                  "the four times contradict each other: nothing follows from "
                                  "them (does the server lie, or was our clock stepped?)");
        printf("RTT_NS=%" PRId64 "\nOFFSET_NS=%" PRId64 "\nBOUND_NS=%" PRId64
               "\nTIME_TO_SET_NS=%" PRId64 "\n",
               s.rtt_ns, s.offset_ns, s.bound_ns, set_ns);
        return 0;
}

static void on_result(const ExchangeResult *x, void *userdata)
{
        Query *q = userdata;
        int r;

        if (x->error)
                r = error_setf(q->error, EHOSTUNREACH, "%s", x->error);
        else
                r = print_result(x, q->error);
        loop_exit(q->loop, r);
}

int query_run(const TimeConf *conf, Error *e)
{
        _cleanup_(loop_freep) Loop *loop = NULL;
        _cleanup_(clock_freep) Clock *clock = NULL;
        _cleanup_(exchange_freep) Exchange *x = NULL;
        g_autofree char *address = NULL;
        EvgrpcTls *tls = NULL;
        Query q = {.error = e};
        TimeConf any = *conf;
        int r;

        any.allow_plaintext = true; /* it only reads, and believes nothing */
        r = time_conf_address(&any, "--query=", conf->query, &address, e);
        if (r >= 0)
                r = clock_new_system(false, &clock, e);
        if (r >= 0)
                r = time_tls_load(conf, &tls, e);
        if (r >= 0)
                r = loop_new(&loop);
        if (r < 0)
                return error_setf(e, r, "cannot make the event loop: %s", error_text(r));
        q.loop = loop;
        /* Without a number of its own: to ask oneself is no mistake here. */
        r = exchange_new(loop, clock, address, 0, tls, conf->server_name, on_result, &q, &x);
        evgrpc_tls_unref(tls);
        if (r < 0)
                return error_setf(e, r, "not an address: %s", address);
        exchange_begin(x);
        return loop_run(loop);
}

/*
 * The servers of the manager — they come and go, and their answers are taken to the keeper.
 */
#include <inttypes.h>

#include "timesyncd-lite/bus.h"
#include "timesyncd-lite/manager.h"

Remote *manager_selected(const Manager *m)
{
        int server = m->keeper ? keeper_selected(m->keeper) : -1;

        return server < 0 ? NULL : m->remotes[server];
}

/* What needs no line of its own in the log: it is part of how a poll works. */
static bool is_ordinary(TimeReject why)
{
        return why == TIME_ACCEPTED || why == TIME_REJECT_RETRY || why == TIME_REJECT_BURST ||
               why == TIME_REJECT_TIMEOUT;
}

static void log_sample(const Remote *r, const RemoteSample *s, TimeReject before)
{
        const bool *k = s->from_kernel;
        bool is_news = !is_ordinary(s->outcome) && s->outcome != before;

        log_full(is_news ? LOG_NOTICE : LOG_DEBUG, NULL, 0,
                 "%s: %s (%s); T1..T4 %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
                 " ns, offset %" PRId64 " ns, round trip %" PRId64 " ns, by the kernel:%s%s%s%s",
                 r->address, time_reject_explain(s->outcome), time_reject_to_string(s->outcome),
                 s->t[0], s->t[1], s->t[2], s->t[3], s->cristian.offset_ns, s->cristian.rtt_ns,
                 k[0] ? " T1" : "", k[1] ? " T2" : "", k[2] ? " T3" : "", k[3] ? " T4" : "");
}

static TimeReject last_outcome(const Remote *r)
{
        return r->sample_count > 0 ? remote_sample(r, r->sample_count - 1)->outcome : TIME_ACCEPTED;
}

static void take_answer(Manager *m, Remote *r, const ExchangeResult *x)
{
        RemoteSample s = {
                .from_kernel = {x->t1_from_kernel, x->reply.t2_from_kernel, x->reply.t3_from_kernel,
                                x->t4_from_kernel},
        };
        TimeReading now;

        g_clear_pointer(&r->failure, g_free);
        memcpy(s.t, x->reply.t, sizeof(s.t));
        (void) cristian_sample(s.t, &s.cristian);
        clock_read(m->clock, &now);
        s.outcome = keeper_reply(m->keeper, r->number, s.t, &x->reply.claim, &now);
        r->path = x->reply.path;
        r->answers++;
        r->last_answer_real_ns = now.real_ns;
        log_sample(r, &s, last_outcome(r));
        remote_keep_sample(r, &s);
}

static void take_failure(Manager *m, Remote *r, const char *error)
{
        TimeReading now;

        if (g_strcmp0(r->failure, error) != 0)
                log_info("%s: %s", r->address, error);
        g_free(r->failure);
        r->failure = g_strdup(error);
        clock_read(m->clock, &now);
        (void) keeper_no_reply(m->keeper, r->number, &now);
}

static void on_result(const ExchangeResult *x, void *userdata)
{
        Remote *r = userdata;
        Manager *m = r->manager;

        if (x->error)
                take_failure(m, r, x->error);
        else
                take_answer(m, r, x);
        m->fresh = true;
        manager_tick(m);
}

static int add_server(Manager *m, const char *address, Error *e)
{
        Remote *r = g_new0(Remote, 1);
        TimeReading now;
        int number;

        *r = (Remote){
                .address = g_strdup(address),
                .told = TIME_REJECT_NO_SAMPLES,
                .manager = m,
        };
        if (exchange_new(m->loop, m->clock, address, m->own_id, m->tls, m->conf.server_name,
                         on_result, r, &r->exchange) < 0) {
                remote_free(r);
                return error_setf(e, EINVAL, "not the address of a server: %s", address);
        }
        clock_read(m->clock, &now);
        number = keeper_add_server(m->keeper, &now);
        if (number < 0) {
                remote_free(r);
                return error_setf(e, E2BIG, "more than %u servers", KEEPER_SERVERS_MAX);
        }
        r->number = (unsigned) number;
        m->remotes[number] = r;
        return 0;
}

static void remove_server(Manager *m, unsigned number)
{
        m->remotes[number] = remote_free(m->remotes[number]);
        keeper_remove_server(m->keeper, number);
}

static bool is_among(const GPtrArray *addresses, const char *address)
{
        for (guint i = 0; i < addresses->len; i++)
                if (g_str_equal(addresses->pdata[i], address))
                        return true;
        return false;
}

static bool is_there(const Manager *m, const char *address)
{
        for (size_t i = 0; i < KEEPER_SERVERS_MAX; i++)
                if (m->remotes[i] && g_str_equal(m->remotes[i]->address, address))
                        return true;
        return false;
}

int manager_set_servers(Manager *m, const GPtrArray *addresses, Error *e)
{
        int r = 0;

        for (unsigned i = 0; i < KEEPER_SERVERS_MAX; i++)
                if (m->remotes[i] && !is_among(addresses, m->remotes[i]->address))
                        remove_server(m, i);
        for (guint i = 0; i < addresses->len && r >= 0; i++)
                if (!is_there(m, addresses->pdata[i]))
                        r = add_server(m, addresses->pdata[i], e);
        manager_tick(m);
        time_bus_changed(m->bus);
        return r;
}

void manager_sync_now(Manager *m)
{
        TimeReading now;

        clock_read(m->clock, &now);
        keeper_poll_now(m->keeper, &now);
        manager_tick(m);
}

/*
 * The link to the master — see worker-master.h.
 */
#include <sys/sysinfo.h>

#include "base/program-level.h"
#include "mr-workerd/worker-attempt.h"
#include "mr-workerd/worker-clock.h"
#include "mr-workerd/worker-keys.h"
#include "mr-workerd/worker-master.h"
#include "mr-workerd/worker-told.h"
#include "platform/message-ids.h"

#define REGISTER_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define REGISTER_RETRY_USEC (500 * USEC_PER_MSEC)
#define REPORT_TIMEOUT_USEC (10 * USEC_PER_SEC)
/* Bounds on what a master may ask for: faster is a flood, slower a silence. */
#define HEARTBEAT_MIN_USEC (10 * USEC_PER_MSEC)
#define HEARTBEAT_MAX_USEC (60 * USEC_PER_SEC)
/* Of finished outputs named at registration: at most 45 B each must fit a message of 4 MiB. */
#define HELD_MAX 50000u

struct MasterLink {
        Manager *manager;
        EvgrpcChannel *channel;
        LoopTimer *timer; /* the next heartbeat, or the next try to register */
        bool registered;
        bool rejoin; /* register at the next turn, not a heartbeat */
        char *reason;
        EvgrpcCall *call; /* the registration or heartbeat on its way */
        WorkerClock clock;
        uint64_t lease_usec, heartbeat_usec;
        bool freeing;
};

static void try_register(MasterLink *l);

static void _printf_(3, 4) set_state(MasterLink *l, bool registered, const char *format, ...)
{
        g_autofree char *reason = NULL;
        LogFields fields = {};
        va_list ap;

        va_start(ap, format);
        reason = g_strdup_vprintf(format, ap);
        va_end(ap);

        if (registered == l->registered && g_strcmp0(reason, l->reason) == 0)
                return;
        fields.worker = l->manager->conf.name;
        fields.message_id = registered ? MESSAGE_WORKER_REGISTERED : MESSAGE_WORKER_NOT_REGISTERED;
        if (registered)
                log_full(LOG_INFO, &fields, 0, "Registered with the master at %s",
                         l->manager->conf.master);
        else
                log_full(LOG_NOTICE, &fields, 0, "Not registered: %s", reason);
        l->registered = registered;
        g_free(l->reason);
        l->reason = TAKE_PTR(reason);
        manager_state_changed(l->manager);
}

static void forget_jobs(MasterLink *l, char **jobs, size_t count)
{
        for (size_t i = 0; i < count; i++)
                manager_forget_job(l->manager, jobs[i]);
}

static void send_heartbeat(MasterLink *l);

static void on_timer(void *userdata)
{
        MasterLink *l = userdata;

        if (l->call) /* the last one is not answered yet: its own time limit will end it */
                return;
        if (l->registered && !l->rejoin)
                send_heartbeat(l);
        else
                try_register(l);
}

/* Does the master not want this worker as it is? All else may be better in a moment. */
static bool is_refusal(EvgrpcCode code)
{
        return code == EVGRPC_INVALID_ARGUMENT || code == EVGRPC_PERMISSION_DENIED ||
               code == EVGRPC_ALREADY_EXISTS;
}

/* A worker of one job tries no more: its master serves no other, and nobody would mend it. */
static void registration_failed(MasterLink *l, const EvgrpcStatus *status)
{
        const char *why = *status->message ? status->message : evgrpc_code_to_string(status->code);
        Manager *m = l->manager;

        set_state(l, false, "the master at %s: %s", m->conf.master, why);
        if (!m->conf.ephemeral || !is_refusal(status->code)) {
                loop_timer_start(l->timer, REGISTER_RETRY_USEC);
                return;
        }
        log_error("The master at %s refused this worker: %s", m->conf.master, why);
        loop_exit(m->loop, EXIT_FAILURE);
}

static void on_registered(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__V1__RegisterReply *reply;
        MasterLink *l = userdata;

        l->call = evgrpc_call_unref(l->call);
        if (l->freeing)
                return;
        if (status->code != EVGRPC_OK) {
                registration_failed(l, status);
                return;
        }
        reply = (const Mapreduced__V1__RegisterReply *) evgrpc_call_reply(call);
        l->heartbeat_usec = CLAMP(reply->heartbeat_usec, HEARTBEAT_MIN_USEC, HEARTBEAT_MAX_USEC);
        l->lease_usec = MAX(reply->lease_usec, l->heartbeat_usec);
        keys_take_news(l->manager->keys, reply->authorities_pem, reply->revocations_pem);
        forget_jobs(l, reply->forget_jobs, reply->n_forget_jobs);
        set_state(l, true, "%s", "");
        l->rejoin = attempts_answer(l->manager, reply->keep, reply->n_keep);
        loop_timer_start(l->timer, l->rejoin ? 0 : l->heartbeat_usec);
}

static GPtrArray *list_held(const Manager *m)
{
        g_autoptr(GArray) outputs = spool_list_outputs(m->spool);
        GPtrArray *held = g_ptr_array_new_with_free_func(g_free);

        if (outputs->len > HELD_MAX)
                log_warning("%u map outputs are held, the master is told of %u", outputs->len,
                            HELD_MAX);
        for (guint i = 0; i < MIN(outputs->len, HELD_MAX); i++) {
                const SpoolOutput *o = &g_array_index(outputs, SpoolOutput, i);
                Mapreduced__V1__MapOutput *h = g_new(Mapreduced__V1__MapOutput, 1);

                mapreduced__v1__map_output__init(h);
                h->job_id = (char *) o->job_id;
                h->map = o->map;
                h->attempt = o->attempt;
                h->size_bytes = o->size_bytes;
                g_ptr_array_add(held, h);
        }
        return held;
}

static void try_register(MasterLink *l)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_registered};
        Mapreduced__V1__RegisterRequest request = MAPREDUCED__V1__REGISTER_REQUEST__INIT;
        EvgrpcCallOptions options = {
                .timeout_usec = REGISTER_TIMEOUT_USEC,
                .fail_fast_off = true,
        };
        Manager *m = l->manager;
        g_autoptr(GPtrArray) held = list_held(m);
        g_autoptr(GPtrArray) running = attempts_list_detached(m);
        g_autoptr(GPtrArray) cached = cache_list(m->cache);
        int r;

        request.worker_id = (char *) spool_worker_id(m->spool);
        request.incarnation = m->incarnation;
        request.name = m->conf.name;
        request.address = m->address;
        request.slots = m->conf.slots;
        request.program_level = PROGRAM_LEVEL;
        request.n_cached = cached->len;
        request.cached = (char **) cached->pdata;
        request.n_running = running->len;
        request.running = (Mapreduced__V1__RunningAttempt **) running->pdata;
        request.n_held = held->len;
        request.held = (Mapreduced__V1__MapOutput **) held->pdata;
        r = evgrpc_call_start(l->channel, &mapreduced__v1__master__descriptor, "RegisterWorker",
                              &request.base, &options, &handlers, l, &l->call);
        if (r < 0) {
                log_warning_errno(r, "Failed to register, trying again: %m");
                loop_timer_start(l->timer, REGISTER_RETRY_USEC);
        }
}

static void on_heartbeat(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        const Mapreduced__V1__HeartbeatReply *reply;
        MasterLink *l = userdata;

        l->call = evgrpc_call_unref(l->call);
        if (l->freeing)
                return;
        if (status->code == EVGRPC_OK) {
                reply = (const Mapreduced__V1__HeartbeatReply *) evgrpc_call_reply(call);
                worker_clock_learn(&l->clock, reply);
                told_answer(l->manager->told, reply->unheard, reply->n_unheard);
                forget_jobs(l, reply->forget_jobs, reply->n_forget_jobs);
                for (size_t i = 0; i < reply->n_drop_cached; i++)
                        cache_drop(l->manager->cache, reply->drop_cached[i]);
                keys_take_news(l->manager->keys, reply->authorities_pem, reply->revocations_pem);
                loop_timer_start(l->timer, l->rejoin ? 0 : l->heartbeat_usec);
                return;
        }
        if (status->code == EVGRPC_NOT_FOUND)
                set_state(l, false, "the master at %s does not know this worker any more",
                          l->manager->conf.master);
        else
                set_state(l, false, "lost the master at %s: %s", l->manager->conf.master,
                          *status->message ? status->message : evgrpc_code_to_string(status->code));
        try_register(l);
}

static void send_heartbeat(MasterLink *l)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_heartbeat};
        Mapreduced__V1__HeartbeatRequest request = MAPREDUCED__V1__HEARTBEAT_REQUEST__INIT;
        EvgrpcCallOptions options = {.timeout_usec = l->lease_usec};
        Manager *m = l->manager;
        g_autoptr(GPtrArray) jobs = spool_list_jobs(m->spool);
        g_autoptr(GPtrArray) told = running_attempts_new();
        struct sysinfo info = {};
        int r;

        (void) sysinfo(&info); /* getloadavg() reads /proc, which the unit hides */
        request.worker_id = (char *) spool_worker_id(m->spool);
        request.incarnation = m->incarnation;
        request.slots = m->conf.slots;
        request.slots_used = task_pool_busy(m->pool);
        request.free_bytes = spool_free_bytes(m->spool);
        request.load = (double) info.loads[0] / (1 << SI_LOAD_SHIFT);
        request.n_jobs = jobs->len;
        request.jobs = (char **) jobs->pdata;
        told_ask(m->told, told);
        request.n_told = told->len;
        request.told = (Mapreduced__V1__RunningAttempt **) told->pdata;
        keys_fill(m->keys, &request);
        worker_clock_fill(&l->clock, &request);
        r = evgrpc_call_start(l->channel, &mapreduced__v1__master__descriptor, "Heartbeat",
                              &request.base, &options, &handlers, l, &l->call);
        if (r < 0) {
                log_warning_errno(r, "Failed to send a heartbeat, trying again: %m");
                loop_timer_start(l->timer, l->heartbeat_usec);
        }
}

static void on_channel_state(EvgrpcChannel *channel, bool connected, const char *error,
                             void *userdata)
{
        MasterLink *l = userdata;

        if (connected || l->freeing)
                return;
        set_state(l, false, "cannot reach the master at %s: %s", l->manager->conf.master,
                  error ? error : "the connection is lost");
        loop_timer_start(l->timer, 0); /* not from in here: the call may be about to end */
}

int master_link_new(Manager *m, MasterLink **ret)
{
        MasterLink *l = g_new0(MasterLink, 1);
        EvgrpcChannelOptions options = {
                .max_message_bytes = MIB(16),
                .keepalive_usec = 10 * USEC_PER_SEC,
                .keepalive_timeout_usec = 10 * USEC_PER_SEC,
                .backoff_max_usec = 2 * USEC_PER_SEC,
                .on_state = on_channel_state,
                .stay_connected = true,
                .userdata = l,
        };
        int r;

        *l = (MasterLink){.manager = m};
        if (!m->conf.master) {
                l->reason = g_strdup("no master is configured: set Master= in workerd.conf, or "
                                     "--master=");
                log_notice("Not registered: %s", l->reason);
                *ret = l;
                return 0;
        }
        if (keys_missing(m) || !m->server) {
                l->reason = g_strdup(keys_missing(m)
                                             ?: "other hosts cannot reach this one: it has no "
                                                "certificate to serve --listen= with");
                log_notice("Not registered: %s", l->reason);
                *ret = l;
                return 0;
        }
        if (keys_needed(m, m->conf.master)) {
                options.tls = keys_tls(m->keys);
                options.tls_server_name = PKI_MASTER_NAME;
        }
        l->reason = g_strdup_printf("connecting to the master at %s", m->conf.master);
        r = loop_timer_new(m->loop, on_timer, l, &l->timer);
        if (r >= 0)
                r = evgrpc_channel_new(loop_base(m->loop), m->conf.master, &options, &l->channel);
        if (r < 0) {
                master_link_free(l);
                return r;
        }
        try_register(l);
        *ret = l;
        return 0;
}

MasterLink *master_link_free(MasterLink *l)
{
        if (!l)
                return NULL;
        l->freeing = true;
        evgrpc_channel_free(l->channel);
        evgrpc_call_unref(l->call);
        loop_timer_free(l->timer);
        g_free(l->reason);
        g_free(l);
        return NULL;
}

void master_link_rejoin(MasterLink *l)
{
        l->rejoin = true;
        if (l->registered && !l->call && !l->freeing)
                loop_timer_start(l->timer, 0);
}

EvgrpcChannel *master_link_channel(const MasterLink *l)
{
        return l->channel;
}

bool master_link_is_registered(const MasterLink *l)
{
        return l->registered;
}

const char *master_link_reason(const MasterLink *l)
{
        return l->reason;
}

static void on_reported(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        if (status->code != EVGRPC_OK)
                log_debug("The report of a lost output did not arrive: %s", status->message);
}

void master_link_report_lost(MasterLink *l, const char *job_id, uint32_t map, uint32_t attempt,
                             const char *worker_id, const char *reason, LostKind kind)
{
        static const EvgrpcCallHandlers handlers = {.on_done = on_reported};
        Mapreduced__V1__LostOutputReport report = MAPREDUCED__V1__LOST_OUTPUT_REPORT__INIT;
        EvgrpcCallOptions options = {.timeout_usec = REPORT_TIMEOUT_USEC};
        LogFields fields = {.job = job_id, .worker = worker_id};
        int r;

        log_full(LOG_NOTICE, &fields, 0,
                 "Output of map %u, attempt %u of job %s on worker %s is %s: %s", map, attempt,
                 job_id, worker_id, kind == LOST_CORRUPT ? "corrupt" : "lost", reason);
        if (!l->channel)
                return;
        report.job_id = (char *) job_id;
        report.map = map;
        report.attempt = attempt;
        report.worker_id = (char *) worker_id;
        report.reporter_id = (char *) spool_worker_id(l->manager->spool);
        report.reason = (char *) reason;
        report.corrupt = kind == LOST_CORRUPT;
        report.gone = kind == LOST_GONE;
        r = evgrpc_call_start(l->channel, &mapreduced__v1__master__descriptor, "ReportLostOutput",
                              &report.base, &options, &handlers, NULL, NULL);
        if (r < 0)
                log_warning_errno(r, "Failed to report a lost output, ignoring: %m");
}

/*
 * mr-masterd and workers that are broken, or mean: what they say must cost the master little.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "masterd-fixture.h"

/* One registration by hand, without a process behind it. */
static EvgrpcCode register_as(EvgrpcChannel *master, const char *id, const char *incarnation,
                              const char *address, GPtrArray *held, char **ret_message)
{
        Mapreduced__V1__RegisterRequest request = MAPREDUCED__V1__REGISTER_REQUEST__INIT;
        EvgrpcCall *call = NULL;
        EvgrpcCode code;

        request.worker_id = (char *) id;
        request.incarnation = (char *) incarnation;
        request.name = (char *) "ghost";
        request.address = (char *) address;
        request.slots = 1;
        request.n_held = held ? held->len : 0;
        request.held = held ? (Mapreduced__V1__MapOutput **) held->pdata : NULL;
        g_assert_cmpint(evgrpc_call_start(master, &mapreduced__v1__master__descriptor,
                                          "RegisterWorker", &request.base, NULL, NULL, NULL, &call),
                        ==, 0);
        code = evgrpc_call_wait(call)->code;
        if (ret_message)
                *ret_message = g_strdup(evgrpc_call_status(call)->message);
        evgrpc_call_unref(call);
        return code;
}

static EvgrpcChannel *channel_to_master(Fixture *f)
{
        EvgrpcChannel *master = NULL;

        g_assert_cmpint(evgrpc_channel_new(f->base, f->listen, NULL, &master), ==, 0);
        return master;
}

static unsigned count_workers(Fixture *f, unsigned *ret_alive)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *state;
        unsigned count = 0;

        *ret_alive = 0;
        g_assert_cmpint(sd_bus_call_method(
                                f->bus, "org.mapreduced.Master1", "/org/mapreduced/Master1",
                                "org.mapreduced.Master1.Manager", "ListWorkers", NULL, &reply, ""),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(sosssuuttsbxt)"), >, 0);
        while (sd_bus_message_read(reply, "(sosssuuttsbxt)", NULL, NULL, NULL, NULL, &state, NULL,
                                   NULL, NULL, NULL, NULL, NULL, NULL, NULL) > 0) {
                *ret_alive += g_str_equal(state, "alive");
                count++;
        }
        return count;
}

static bool none_alive(void *userdata)
{
        unsigned alive;

        (void) count_workers(userdata, &alive);
        return alive == 0;
}

/* Each comes with a new id, as a worker does whose spool is deleted at each start. */
static void register_ghosts(Fixture *f, EvgrpcChannel *master, unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                char id[ID128_HEX_SIZE];

                id128_make(id);
                g_assert_cmpint(register_as(master, id, id, "unix:/nonexistent/w", NULL, NULL), ==,
                                EVGRPC_OK);
        }
}

static void test_lost_workers_are_remembered_up_to_a_limit(void)
{
        EvgrpcChannel *master;
        unsigned alive;
        Fixture f;

        fixture_init(&f, quick);
        master = channel_to_master(&f);
        register_ghosts(&f, master, 256);
        fixture_wait(&f, none_alive, &f, "the end of 256 leases");
        g_assert_cmpuint(count_workers(&f, &alive), ==, 256);
        register_ghosts(&f, master, 100);
        fixture_wait(&f, none_alive, &f, "the end of 100 leases");
        g_assert_cmpuint(count_workers(&f, &alive), ==, 256);
        master = evgrpc_channel_free(master);
        fixture_done(&f);
}

static GPtrArray *outputs_of_unknown_jobs(unsigned count)
{
        GPtrArray *held = g_ptr_array_new();

        for (unsigned i = 0; i < count; i++) {
                Mapreduced__V1__MapOutput *o = g_new(Mapreduced__V1__MapOutput, 1);

                *o = (Mapreduced__V1__MapOutput) MAPREDUCED__V1__MAP_OUTPUT__INIT;
                o->job_id = g_strdup_printf("unknown-%u", i);
                g_ptr_array_add(held, o);
        }
        return held;
}

static void free_outputs(GPtrArray *held)
{
        for (guint i = 0; i < held->len; i++) {
                Mapreduced__V1__MapOutput *o = held->pdata[i];

                g_free(o->job_id);
                g_free(o);
        }
        g_ptr_array_unref(held);
}

static double cpu_sec(pid_t pid)
{
        struct timespec ts;
        clockid_t clock;

        g_assert_cmpint(clock_getcpuclockid(pid, &clock), ==, 0);
        g_assert_cmpint(clock_gettime(clock, &ts), ==, 0);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

/* Comparing each with each would take minutes, whoever else has the processor. */
static void test_a_worker_that_holds_much_is_answered_at_once(void)
{
        GPtrArray *held = outputs_of_unknown_jobs(200000);
        char id[ID128_HEX_SIZE];
        EvgrpcChannel *master;
        Fixture f;

        fixture_init(&f, NULL);
        id128_make(id);
        g_assert_cmpint(evgrpc_channel_new(f.base, f.listen,
                                           &(EvgrpcChannelOptions){.max_message_bytes = 64 << 20},
                                           &master),
                        ==, 0);
        g_assert_cmpint(register_as(master, id, id, "unix:/nonexistent/w", held, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpfloat(cpu_sec(f.master_pid), <, 20);
        master = evgrpc_channel_free(master);
        fixture_done(&f);
        free_outputs(held);
}

static void test_a_refused_registration_leaves_no_trace(void)
{
        static const char *const bad[] = {"a:b:5",       "host",         "host:0", "unix:",
                                          "unix:/x\n/y", "unix:/\xff/y", "[::1:5", "a b:5"};
        EvgrpcChannel *master;
        unsigned alive;
        Fixture f;

        fixture_init(&f, patient);
        master = channel_to_master(&f);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *message = NULL;
                char id[ID128_HEX_SIZE];

                id128_make(id);
                g_assert_cmpint(register_as(master, id, id, bad[i], NULL, &message), !=, EVGRPC_OK);
                g_assert_null(strchr(message, '\n'));
        }
        g_assert_cmpuint(count_workers(&f, &alive), ==, 0);
        master = evgrpc_channel_free(master);
        fixture_done(&f);
}

/* Its spool has the name that somebody gave it. */
static void test_a_socket_may_have_any_path_that_can_be_shown(void)
{
        static const char *const good[] = {"unix:/a b/w", "unix:/caf\xc3\xa9/w"};
        EvgrpcChannel *master;
        Fixture f;

        fixture_init(&f, patient);
        master = channel_to_master(&f);
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                char id[ID128_HEX_SIZE];

                id128_make(id);
                g_assert_cmpint(register_as(master, id, id, good[i], NULL, NULL), ==, EVGRPC_OK);
        }
        master = evgrpc_channel_free(master);
        fixture_done(&f);
}

/* Two machines made from one image: each would drive out the other once a second, for ever. */
static void test_a_second_worker_with_the_same_id_is_refused_by_name(void)
{
        static const char first[] = "11111111111111111111111111111111";
        static const char second[] = "22222222222222222222222222222222";
        g_autofree char *message = NULL;
        char id[ID128_HEX_SIZE];
        EvgrpcChannel *master;
        Fixture f;

        fixture_init(&f, NULL);
        master = channel_to_master(&f);
        id128_make(id);
        g_assert_cmpint(register_as(master, id, first, "unix:/nonexistent/a", NULL, NULL), ==,
                        EVGRPC_OK);
        g_assert_cmpint(register_as(master, id, second, "unix:/nonexistent/b", NULL, NULL), ==,
                        EVGRPC_OK); /* as a restart would */
        g_assert_cmpint(register_as(master, id, first, "unix:/nonexistent/a", NULL, &message), ==,
                        EVGRPC_ALREADY_EXISTS);
        assert_contains(message, "unix:/nonexistent/b has the same id");
        assert_contains(message, "delete its spool directory");
        g_assert_cmpint(register_as(master, id, second, "unix:/nonexistent/b", NULL, NULL), ==,
                        EVGRPC_OK);
        master = evgrpc_channel_free(master);
        fixture_done(&f);
}

/* A relay to a worker, which may begin to swallow what it is given: a firewall that forgot the
 * connection. */
typedef struct Hole {
        const char *to; /* path of the worker's socket */
        struct bufferevent *ends[2];
        bool swallows;
} Hole;

static void on_relay_read(struct bufferevent *bev, void *userdata)
{
        Hole *h = userdata;
        struct evbuffer *in = bufferevent_get_input(bev);

        if (h->swallows)
                (void) evbuffer_drain(in, evbuffer_get_length(in));
        else
                (void) bufferevent_write_buffer(h->ends[bev == h->ends[0]], in);
}

static void on_relay_accept(struct evconnlistener *listener, evutil_socket_t fd,
                            struct sockaddr *peer, int size, void *userdata)
{
        struct event_base *base = evconnlistener_get_base(listener);
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        Hole *h = userdata;

        if (h->ends[0]) { /* one connection is enough: later ones get no answer */
                (void) close(fd);
                return;
        }
        (void) g_strlcpy(sa.sun_path, h->to, sizeof(sa.sun_path));
        h->ends[0] = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
        h->ends[1] = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
        g_assert_cmpint(bufferevent_socket_connect(h->ends[1], (struct sockaddr *) &sa, sizeof(sa)),
                        ==, 0);
        for (unsigned i = 0; i < 2; i++) {
                bufferevent_setcb(h->ends[i], on_relay_read, NULL, NULL, h);
                (void) bufferevent_enable(h->ends[i], EV_READ | EV_WRITE);
        }
}

static bool job_lost_an_attempt(void *userdata)
{
        return job_number(userdata, "1", "AttemptsLost") > 0;
}

/* Its heartbeats go on arriving: only the master's own question can tell that nobody hears it. */
static void test_a_worker_that_cannot_be_reached_any_more_keeps_no_task(void)
{
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        g_autofree char *real = NULL;
        struct evconnlistener *listener;
        Hole hole = {};
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, quick);
        w = fake_worker(&f, "w1", 1);
        w->deed = hold_maps;
        real = w->address;
        hole.to = real + strlen("unix:");
        (void) g_snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/relay", f.dir);
        w->address = g_strconcat("unix:", sa.sun_path, NULL);
        listener = evconnlistener_new_bind(f.base, on_relay_accept, &hole,
                                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 8,
                                           (struct sockaddr *) &sa, sizeof(sa));
        g_assert_nonnull(listener);
        id128_make(w->incarnation); /* its next heartbeat is not known: it registers again */
        wait_count(&f, &w->registered, 2, "the registration at the relay");

        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        wait_count(&f, &w->maps_started, 1, "the map");
        g_assert_cmpuint(job_number(&f, id, "AttemptsLost"), ==, 0);
        hole.swallows = true;
        fixture_wait(&f, job_lost_an_attempt, &f, "the end of an attempt nobody answers for");
        evconnlistener_free(listener);
        for (unsigned i = 0; i < 2; i++)
                bufferevent_free(hole.ends[i]);
        fixture_done(&f);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        if (!g_getenv("MR_MASTERD")) {
                g_printerr("MR_MASTERD names what is tested\n");
                return 77;
        }
#define T(name, function) g_test_add_func("/bus/masterd/" name, function)
        T("lost-workers-are-remembered-up-to-a-limit",
          test_lost_workers_are_remembered_up_to_a_limit);
        T("a-worker-that-holds-much-is-answered-at-once",
          test_a_worker_that_holds_much_is_answered_at_once);
        T("a-refused-registration-leaves-no-trace", test_a_refused_registration_leaves_no_trace);
        T("a-socket-may-have-any-path-that-can-be-shown",
          test_a_socket_may_have_any_path_that_can_be_shown);
        T("a-second-worker-with-the-same-id-is-refused-by-name",
          test_a_second_worker_with_the_same_id_is_refused_by_name);
        T("a-worker-that-cannot-be-reached-any-more-keeps-no-task",
          test_a_worker_that_cannot_be_reached_any_more_keeps_no_task);
#undef T
        return g_test_run();
}

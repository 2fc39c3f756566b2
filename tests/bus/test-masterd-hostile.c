/*
 * mr-masterd and workers that are broken, or mean: what they say must cost the master little.
 */
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
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(sosssuutt)"), >, 0);
        while (sd_bus_message_read(reply, "(sosssuutt)", NULL, NULL, NULL, NULL, &state, NULL, NULL,
                                   NULL, NULL) > 0) {
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

/* Comparing each with each would take minutes. */
static void test_a_worker_that_holds_much_is_answered_at_once(void)
{
        GPtrArray *held = outputs_of_unknown_jobs(200000);
        gint64 began = g_get_monotonic_time();
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
        g_assert_cmpint(g_get_monotonic_time() - began, <, 20 * G_USEC_PER_SEC);
        master = evgrpc_channel_free(master);
        fixture_done(&f);
        free_outputs(held);
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
#undef T
        return g_test_run();
}

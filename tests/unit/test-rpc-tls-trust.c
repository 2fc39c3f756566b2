/*
 * Trust that is taken back, and trust that is not there yet: lists of revoked certificates,
 * connections that are looked at once more, clients without a certificate.
 */
#include <openssl/err.h>

#include "rpc-fixture.h"
#include "tls-certificates.h"

#define NAMES "DNS:localhost,IP:127.0.0.1"

static Authority ca, other_ca;
static Identity server_id, good, bad, stranger;

static char *crl_make(const Authority *a, const Identity *revoked, long until)
{
        X509_CRL *list = X509_CRL_new();
        ASN1_TIME *at = ASN1_TIME_new();
        char *pem;

        X509_CRL_set_version(list, X509_CRL_VERSION_2);
        X509_CRL_set_issuer_name(list, X509_get_subject_name(a->certificate));
        X509_gmtime_adj(at, -TLS_DAY);
        X509_CRL_set1_lastUpdate(list, at);
        X509_gmtime_adj(at, until);
        X509_CRL_set1_nextUpdate(list, at);
        if (revoked) {
                BIO *bio = BIO_new_mem_buf(revoked->certificate, -1);
                X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
                X509_REVOKED *entry = X509_REVOKED_new();

                X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(x));
                X509_gmtime_adj(at, -60);
                X509_REVOKED_set_revocationDate(entry, at);
                X509_CRL_add0_revoked(list, entry);
                X509_free(x);
                BIO_free(bio);
        }
        g_assert_cmpint(X509_CRL_sign(list, a->key, EVP_sha256()), >, 0);
        pem = pem_of((int (*)(BIO *, void *)) PEM_write_bio_X509_CRL, list);
        ASN1_TIME_free(at);
        X509_CRL_free(list);
        return pem;
}

static EvgrpcTlsSource source_of(const Identity *own, const char *crl)
{
        return (EvgrpcTlsSource){.ca_pem = ca.pem,
                                 .certificate_pem = own ? own->certificate : NULL,
                                 .key_pem = own ? own->key : NULL,
                                 .crl_pem = crl};
}

static EvgrpcTls *tls_of(const EvgrpcTlsSource *source)
{
        EvgrpcTls *tls;
        char *error;

        if (evgrpc_tls_new(source, &tls, &error) < 0)
                g_error("%s", error);
        return tls;
}

typedef struct Ends {
        Fixture f;
        EvgrpcTls *server;
        char error[300]; /* the last the server told */
        bool lost;       /* a channel was told so */
} Ends;

static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        Ends *e = userdata;

        (void) g_strlcpy(e->error, error, sizeof(e->error));
}

static void on_state(EvgrpcChannel *channel, bool connected, const char *error, void *userdata)
{
        Ends *e = userdata;

        e->lost = !connected;
        if (error)
                (void) g_strlcpy(e->error, error, sizeof(e->error));
}

static void begin(Ends *e, const EvgrpcTlsSource *server)
{
        const EvgrpcServerOptions so = {.on_error = on_error, .userdata = e};
        EvgrpcServerOptions with = so;

        *e = (Ends){.server = tls_of(server)};
        with.tls = e->server;
        fixture_begin_with(&e->f, "127.0.0.1:0", &with, NULL);
}

static void finish(Ends *e)
{
        fixture_end(&e->f);
        evgrpc_tls_unref(e->server);
        g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static EvgrpcChannel *channel_of(Ends *e, const EvgrpcTlsSource *source)
{
        EvgrpcTls *tls = tls_of(source);
        EvgrpcChannelOptions o = {.tls = tls,
                                  .tls_server_name = "localhost",
                                  .backoff_max_usec = 1,
                                  .on_state = on_state,
                                  .userdata = e};
        EvgrpcChannel *channel;

        g_assert_cmpint(evgrpc_channel_new(e->f.base, e->f.address, &o, &channel), ==, 0);
        evgrpc_tls_unref(tls);
        return channel;
}

static void call_on(Ends *e, EvgrpcChannel *channel, EvgrpcCode code, const char *word)
{
        Order order = ORDER_INIT;
        Story s;

        order_body(&order, "hello");
        story_start_on(&s, &e->f, channel, "Unary", &order, NULL);
        RUN_UNTIL(&e->f, s.done);
        if (s.code != code || (word && !strstr(s.message, word)))
                g_error("%s: %s", evgrpc_code_to_string(s.code), s.message);
        story_end(&s);
}

/* ---- Revoked
 * ------------------------------------------------------------------------------------ */

static void test_revoked_client_is_refused_and_told(void)
{
        g_autofree char *crl = crl_make(&ca, &bad, TLS_DAY);
        EvgrpcTlsSource server = source_of(&server_id, crl), is_bad = source_of(&bad, NULL),
                        is_good = source_of(&good, NULL);
        EvgrpcChannel *refused, *taken;
        Ends e;

        begin(&e, &server);
        refused = channel_of(&e, &is_bad);
        taken = channel_of(&e, &is_good);
        call_on(&e, refused, EVGRPC_UNAVAILABLE,
                "The server refused our certificate: it is revoked");
        RUN_UNTIL(&e.f, strstr(e.error, "The client's certificate is revoked (bad)"));
        call_on(&e, taken, EVGRPC_OK, NULL);
        evgrpc_channel_free(refused);
        evgrpc_channel_free(taken);
        finish(&e);
}

static void test_revoked_server_is_refused(void)
{
        g_autofree char *crl = crl_make(&ca, &server_id, TLS_DAY);
        EvgrpcTlsSource server = source_of(&server_id, NULL), client = source_of(&good, crl);
        EvgrpcChannel *channel;
        Ends e;

        begin(&e, &server);
        channel = channel_of(&e, &client);
        call_on(&e, channel, EVGRPC_UNAVAILABLE, "The server's certificate is revoked");
        evgrpc_channel_free(channel);
        finish(&e);
}

static void test_recheck_ends_only_what_was_revoked(void)
{
        g_autofree char *none = crl_make(&ca, NULL, TLS_DAY), *crl = crl_make(&ca, &bad, TLS_DAY);
        EvgrpcTlsSource server = source_of(&server_id, none), later = source_of(&server_id, crl),
                        is_bad = source_of(&bad, NULL), is_good = source_of(&good, NULL);
        EvgrpcChannel *ended, *kept;
        Ends e;

        begin(&e, &server);
        ended = channel_of(&e, &is_bad);
        kept = channel_of(&e, &is_good);
        call_on(&e, ended, EVGRPC_OK, NULL);
        call_on(&e, kept, EVGRPC_OK, NULL);
        g_assert_cmpuint(evgrpc_server_recheck(e.f.server), ==, 0);
        g_assert_cmpint(evgrpc_tls_reload(e.server, &later, NULL), ==, 0);
        g_assert_cmpuint(evgrpc_server_recheck(e.f.server), ==, 1);
        g_assert_cmpstr(e.error, ==, "The client's certificate is revoked (bad)");
        g_assert_cmpuint(evgrpc_server_connection_count(e.f.server), ==, 1);
        RUN_UNTIL(&e.f, e.lost);
        g_assert_true(evgrpc_channel_is_connected(kept));
        call_on(&e, ended, EVGRPC_UNAVAILABLE, "it is revoked");
        call_on(&e, kept, EVGRPC_OK, NULL);
        evgrpc_channel_free(ended);
        evgrpc_channel_free(kept);
        finish(&e);
}

static void test_recheck_ends_the_call_under_way(void)
{
        g_autofree char *crl = crl_make(&ca, &bad, TLS_DAY);
        EvgrpcTlsSource server = source_of(&server_id, NULL), later = source_of(&server_id, crl),
                        is_bad = source_of(&bad, NULL);
        EvgrpcChannel *channel;
        Order order = ORDER_INIT;
        Ends e;
        Story s;

        begin(&e, &server);
        channel = channel_of(&e, &is_bad);
        call_on(&e, channel, EVGRPC_OK, NULL);
        order.hang = true;
        story_start_on(&s, &e.f, channel, "Unary", &order, NULL);
        run_for(&e.f, 20);
        g_assert_cmpint(evgrpc_tls_reload(e.server, &later, NULL), ==, 0);
        g_assert_cmpuint(evgrpc_server_recheck(e.f.server), ==, 1);
        RUN_UNTIL(&e.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_UNAVAILABLE);
        story_end(&s);
        evgrpc_channel_free(channel);
        finish(&e);
}

static void test_recheck_of_a_channel(void)
{
        g_autofree char *crl = crl_make(&ca, &server_id, TLS_DAY);
        EvgrpcTlsSource server = source_of(&server_id, NULL), client = source_of(&good, NULL),
                        later = source_of(&good, crl);
        EvgrpcTls *tls = tls_of(&client);
        EvgrpcChannelOptions o = {.tls = tls, .tls_server_name = "localhost", .on_state = on_state};
        EvgrpcChannel *channel;
        Ends e;

        begin(&e, &server);
        o.userdata = &e;
        g_assert_cmpint(evgrpc_channel_new(e.f.base, e.f.address, &o, &channel), ==, 0);
        g_assert_false(evgrpc_channel_recheck(channel)); /* never connected */
        call_on(&e, channel, EVGRPC_OK, NULL);
        g_assert_false(evgrpc_channel_recheck(channel));
        g_assert_cmpint(evgrpc_tls_reload(tls, &later, NULL), ==, 0);
        g_assert_true(evgrpc_channel_recheck(channel));
        g_assert_true(e.lost);
        g_assert_nonnull(strstr(e.error, "The server's certificate is revoked"));
        call_on(&e, channel, EVGRPC_UNAVAILABLE, "is revoked");
        evgrpc_channel_free(channel);
        evgrpc_tls_unref(tls);
        finish(&e);
}

static void test_list_out_of_date_refuses_all(void)
{
        g_autofree char *crl = crl_make(&ca, NULL, -60);
        EvgrpcTlsSource server = source_of(&server_id, crl), client = source_of(&good, NULL);
        EvgrpcChannel *channel;
        Ends e;

        begin(&e, &server);
        channel = channel_of(&e, &client);
        call_on(&e, channel, EVGRPC_UNAVAILABLE, NULL);
        RUN_UNTIL(&e.f, strstr(e.error, "list of revoked certificates is out of date"));
        evgrpc_channel_free(channel);
        finish(&e);
}

static void test_bad_list_is_explained(void)
{
        EvgrpcTlsSource s = source_of(&good, "no list");
        g_autofree char *path = NULL;
        EvgrpcTls *tls;
        char *error;

        g_assert_cmpint(evgrpc_tls_new(&s, &tls, &error), ==, -EBADMSG);
        g_assert_true(g_str_has_prefix(error, "No list of revoked certificates in memory"));
        free(error);
        s.crl_pem = NULL;
        s.crl_file = "/nonexistent/crl.pem";
        g_assert_cmpint(evgrpc_tls_new(&s, &tls, &error), ==, -ENOENT);
        g_assert_nonnull(strstr(error, "/nonexistent/crl.pem"));
        free(error);
}

/* ---- Anonymous
 * ---------------------------------------------------------------------------------- */

static void test_stranger_may_come_only_where_strangers_may(void)
{
        EvgrpcTlsSource server = source_of(&server_id, NULL), nobody = source_of(NULL, NULL),
                        is_good = source_of(&good, NULL), foreign = source_of(&stranger, NULL);
        EvgrpcChannel *channel;
        Ends e;

        server.anonymous_clients = true;
        begin(&e, &server);
        channel = channel_of(&e, &nobody);
        call_on(&e, channel, EVGRPC_OK, NULL);
        g_assert_cmpuint(evgrpc_server_recheck(e.f.server), ==, 0);
        evgrpc_channel_free(channel);
        channel = channel_of(&e, &is_good);
        call_on(&e, channel, EVGRPC_OK, NULL);
        evgrpc_channel_free(channel);
        /* Who shows a certificate must show a good one. */
        channel = channel_of(&e, &foreign);
        call_on(&e, channel, EVGRPC_UNAVAILABLE, "refused our certificate");
        evgrpc_channel_free(channel);
        /* And a reload keeps the rule. */
        g_assert_cmpint(evgrpc_tls_reload(e.server, &server, NULL), ==, 0);
        channel = channel_of(&e, &nobody);
        call_on(&e, channel, EVGRPC_OK, NULL);
        evgrpc_channel_free(channel);
        finish(&e);

        server.anonymous_clients = false;
        begin(&e, &server);
        channel = channel_of(&e, &nobody);
        call_on(&e, channel, EVGRPC_UNAVAILABLE, "demands a client certificate");
        evgrpc_channel_free(channel);
        finish(&e);
}

#define TEST(path, function) g_test_add_func("/rpc/tls/" path, function)

int main(int argc, char **argv)
{
        Identity *all[] = {&server_id, &good, &bad, &stranger};
        int r;

        g_test_init(&argc, &argv, NULL);
        authority_make(&ca, "Test CA");
        authority_make(&other_ca, "Other CA");
        identity_make(&server_id, &ca, "server", NAMES, NULL, -TLS_DAY, TLS_DAY);
        identity_make(&good, &ca, "good", "DNS:good", NULL, -TLS_DAY, TLS_DAY);
        identity_make(&bad, &ca, "bad", "DNS:bad", NULL, -TLS_DAY, TLS_DAY);
        identity_make(&stranger, &other_ca, "stranger", NAMES, NULL, -TLS_DAY, TLS_DAY);
        TEST("revoked-client-is-refused-and-told", test_revoked_client_is_refused_and_told);
        TEST("revoked-server-is-refused", test_revoked_server_is_refused);
        TEST("recheck-ends-only-what-was-revoked", test_recheck_ends_only_what_was_revoked);
        TEST("recheck-ends-the-call-under-way", test_recheck_ends_the_call_under_way);
        TEST("recheck-of-a-channel", test_recheck_of_a_channel);
        TEST("list-out-of-date-refuses-all", test_list_out_of_date_refuses_all);
        TEST("bad-list-is-explained", test_bad_list_is_explained);
        TEST("stranger-may-come-only-where-strangers-may",
             test_stranger_may_come_only_where_strangers_may);
        r = g_test_run();
        for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
                identity_done(all[i]);
        authority_done(&ca);
        authority_done(&other_ca);
        return r;
}

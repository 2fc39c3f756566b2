/*
 * Mutual TLS: who may talk to whom, and what each end says when they may not.
 *
 * The third party in these tests is OpenSSL itself on a blocking socket in a thread: a peer that
 * does what ours never does, such as TLS 1.2 or no ALPN.
 */
#include <signal.h>
#include <glib/gstdio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "rpc-relay.h"
#include "tls-certificates.h"

#define NAMES "DNS:localhost,IP:127.0.0.1"

static Authority ca, other_ca, ca_namesake;
static Identity server_id, client_id, client_uri, client_cn, expired, future, elsewhere, stranger,
        forged, server_only;

static void make_all(void)
{
        authority_make(&ca, "Test CA");
        authority_make(&other_ca, "Other CA");
        authority_make(&ca_namesake, "Test CA");
        identity_make(&server_id, &ca, "server", NAMES, "serverAuth,clientAuth", -TLS_DAY, TLS_DAY);
        identity_make(&client_id, &ca, "client", "DNS:worker-1,DNS:alias", NULL, -TLS_DAY, TLS_DAY);
        identity_make(&client_uri, &ca, "client", "URI:spiffe://cluster/worker", NULL, -TLS_DAY,
                      TLS_DAY);
        identity_make(&client_cn, &ca, "only a CN", NULL, NULL, -TLS_DAY, TLS_DAY);
        identity_make(&expired, &ca, "old", NAMES, NULL, -3 * TLS_DAY, -TLS_DAY);
        identity_make(&future, &ca, "new", NAMES, NULL, TLS_DAY, 3 * TLS_DAY);
        identity_make(&elsewhere, &ca, "localhost", "DNS:elsewhere.example", NULL, -TLS_DAY,
                      TLS_DAY);
        identity_make(&stranger, &other_ca, "stranger", NAMES, NULL, -TLS_DAY, TLS_DAY);
        identity_make(&forged, &ca_namesake, "forged", NAMES, NULL, -TLS_DAY, TLS_DAY);
        identity_make(&server_only, &ca, "server", NAMES, "serverAuth", -TLS_DAY, TLS_DAY);
}

static void free_all(void)
{
        Identity *all[] = {&server_id, &client_id, &client_uri, &client_cn, &expired,
                           &future,    &elsewhere, &stranger,   &forged,    &server_only};

        for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
                identity_done(all[i]);
        authority_done(&ca);
        authority_done(&other_ca);
        authority_done(&ca_namesake);
}

/* ---- A fixture with TLS
 * ------------------------------------------------------------------------- */

typedef struct Ends {
        Fixture f;
        EvgrpcTls *server, *client;
        unsigned errors;
        char error[300], peer[64]; /* the last the server told */
        char name[300];            /* of the last client that called Unary of the whoami server */
} Ends;

static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        Ends *e = userdata;

        e->errors++;
        (void) g_strlcpy(e->error, error, sizeof(e->error));
        (void) g_strlcpy(e->peer, peer, sizeof(e->peer));
}

static void ends_begin_with(Ends *e, EvgrpcTls *server, EvgrpcTls *client, const char *server_name,
                            uint64_t handshake_timeout_usec)
{
        const EvgrpcServerOptions so = {.tls = server,
                                        .on_error = on_error,
                                        .userdata = e,
                                        .handshake_timeout_usec = handshake_timeout_usec};
        const EvgrpcChannelOptions co = {
                .tls = client, .tls_server_name = server_name, .connect_timeout_usec = 5000 * 1000};

        *e = (Ends){.server = server, .client = client};
        fixture_begin_with(&e->f, "127.0.0.1:0", &so, &co);
}

/* Takes both; NULL is plain. */
static void ends_begin(Ends *e, EvgrpcTls *server, EvgrpcTls *client, const char *server_name)
{
        ends_begin_with(e, server, client, server_name, 0);
}

static void ends_finish(Ends *e)
{
        fixture_end(&e->f);
        evgrpc_tls_unref(e->server);
        evgrpc_tls_unref(e->client);
        g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static void call_on(Fixture *f, EvgrpcChannel *channel, EvgrpcCode code, char **ret_message)
{
        Order order = ORDER_INIT;
        Story s;

        order_body(&order, "hello");
        story_start_on(&s, f, channel, "Unary", &order, NULL);
        RUN_UNTIL(f, s.done);
        if (s.code != code)
                g_error("%s, not %s: %s", evgrpc_code_to_string(s.code),
                        evgrpc_code_to_string(code), s.message);
        if (ret_message)
                *ret_message = g_strdup(s.message);
        story_end(&s);
}

/* ---- What works
 * --------------------------------------------------------------------------------- */

static void test_calls_go_through(void)
{
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        for (unsigned i = 0; i < 100; i++)
                call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        g_assert_cmpuint(evgrpc_server_connection_count(e.f.server), ==, 1);
        g_assert_cmpuint(e.errors, ==, 0);
        ends_finish(&e);
}

static void test_end_in_peace_is_no_error(void)
{
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        e.f.channel = evgrpc_channel_free(e.f.channel);
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 0);
        g_assert_cmpuint(e.errors, ==, 0);
        ends_finish(&e);
}

static void test_shutdown_lets_calls_finish(void)
{
        Order order = ORDER_INIT;
        Ends e;
        Story s;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        order.delay_ms = 50;
        order.reply_size = 2 << 20;
        story_start(&s, &e.f, "Unary", &order, NULL);
        RUN_UNTIL(&e.f, e.f.echo.calls == 1);
        evgrpc_server_shutdown(e.f.server);
        RUN_UNTIL(&e.f, s.done);
        g_assert_cmpint(s.code, ==, EVGRPC_OK);
        g_assert_cmpuint(s.bytes, ==, 2 << 20);
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 0);
        g_assert_cmpuint(e.errors, ==, 0);
        story_end(&s);
        ends_finish(&e);
}

static void test_bytes_may_come_one_at_a_time(void)
{
        EvgrpcChannelOptions o = {.tls_server_name = "localhost"};
        EvgrpcChannel *channel;
        Relay relay;
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        relay_begin(&relay, &e.f);
        relay.one_by_one = true;
        o.tls = e.client;
        g_assert_cmpint(evgrpc_channel_new(e.f.base, relay.address, &o, &channel), ==, 0);
        call_on(&e.f, channel, EVGRPC_OK, NULL);
        evgrpc_channel_free(channel);
        relay_end(&relay);
        ends_finish(&e);
}

static void whoami(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        Ends *e = userdata;
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        (void) g_strlcpy(e->name, evgrpc_server_call_peer_name(call), sizeof(e->name));
        evgrpc_server_call_reply(call, &a.base);
}

static void name_is(const Identity *client, const char *name)
{
        static const EvgrpcMethod methods[] = {{.name = "Unary", .handler = whoami}, {}};
        EvgrpcServerOptions so = {};
        EvgrpcChannelOptions co = {};
        EvgrpcServer *server;
        EvgrpcChannel *channel;
        char *address;
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), client ? tls_make(&ca, client) : NULL, NULL);
        so.tls = client ? e.server : NULL;
        co.tls = e.client;
        g_assert_cmpint(evgrpc_server_new(e.f.base, &so, &server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(server, ECHO, methods, &e), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(server, "127.0.0.1:0", &address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(e.f.base, address, &co, &channel), ==, 0);
        (void) g_strlcpy(e.name, "nobody called", sizeof(e.name));
        call_on(&e.f, channel, EVGRPC_OK, NULL);
        g_assert_cmpstr(e.name, ==, name);
        evgrpc_channel_free(channel);
        evgrpc_server_free(server);
        free(address);
        ends_finish(&e);
}

static void test_server_learns_the_clients_name(void)
{
        name_is(&client_id, "worker-1");
        name_is(&client_uri, "spiffe://cluster/worker");
        name_is(&client_cn, "only?a?CN");
        name_is(NULL, "");
}

static void test_expected_name_may_be_told(void)
{
        Ends e;

        ends_begin(&e, tls_make(&ca, &elsewhere), tls_make(&ca, &client_id), "elsewhere.example");
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        ends_finish(&e);
}

static void test_unix_socket_needs_a_name(void)
{
        EvgrpcTls *tls = tls_make(&ca, &client_id);
        struct event_base *base = event_base_new();
        EvgrpcChannelOptions o = {.tls = tls};
        EvgrpcChannel *channel;

        g_assert_cmpint(evgrpc_channel_new(base, "unix:/nowhere", &o, &channel), ==, -EINVAL);
        o.tls_server_name = "localhost";
        g_assert_cmpint(evgrpc_channel_new(base, "unix:/nowhere", &o, &channel), ==, 0);
        evgrpc_channel_free(channel);
        evgrpc_tls_unref(tls);
        event_base_free(base);
}

/* ---- Renewal
 * ------------------------------------------------------------------------------------ */

static void test_reload_is_for_new_connections(void)
{
        const EvgrpcTlsSource bad = {
                .ca_pem = ca.pem, .certificate_pem = expired.certificate, .key_pem = expired.key};
        const EvgrpcTlsSource broken = {.ca_pem = ca.pem,
                                        .certificate_pem = server_id.certificate,
                                        .key_pem = client_id.key};
        EvgrpcChannelOptions o = {};
        EvgrpcChannel *second;
        char *message, *error;
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        g_assert_cmpint(evgrpc_tls_reload(e.server, &broken, &error), ==, -EKEYREJECTED);
        g_assert_nonnull(strstr(error, "not that of the certificate"));
        free(error);
        g_assert_cmpint(evgrpc_tls_reload(e.server, &bad, NULL), ==, 0);
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        o.tls = e.client;
        g_assert_cmpint(evgrpc_channel_new(e.f.base, e.f.address, &o, &second), ==, 0);
        call_on(&e.f, second, EVGRPC_UNAVAILABLE, &message);
        g_assert_nonnull(strstr(message, "expired"));
        g_free(message);
        evgrpc_channel_free(second);
        ends_finish(&e);
}

static void write_files(const char *dir, const Identity *own, char *ret[3])
{
        static const char *const names[] = {"ca.pem", "certificate.pem", "key.pem"};
        const char *texts[] = {ca.pem, own->certificate, own->key};

        for (unsigned i = 0; i < 3; i++) {
                ret[i] = g_build_filename(dir, names[i], NULL);
                g_assert_true(g_file_set_contents(ret[i], texts[i], -1, NULL));
        }
}

static void test_files_are_read_and_read_again(void)
{
        g_autofree char *dir = g_dir_make_tmp("evgrpc-tls-XXXXXX", NULL);
        EvgrpcTlsSource s = {};
        EvgrpcTls *tls;
        char *files[3], *error;

        write_files(dir, &server_id, files);
        s = (EvgrpcTlsSource){
                .ca_file = files[0], .certificate_file = files[1], .key_file = files[2]};
        g_assert_cmpint(evgrpc_tls_new(&s, &tls, &error), ==, 0);
        g_assert_cmpint(evgrpc_tls_reload(tls, NULL, &error), ==, 0);
        g_assert_null(error);
        (void) g_unlink(files[1]);
        g_assert_cmpint(evgrpc_tls_reload(tls, NULL, &error), ==, -ENOENT);
        g_assert_nonnull(strstr(error, files[1]));
        free(error);
        evgrpc_tls_unref(tls);
        for (unsigned i = 0; i < 3; i++) {
                (void) g_unlink(files[i]);
                g_free(files[i]);
        }
        (void) g_rmdir(dir);
}

static void source_fails(const char *authority, const char *certificate, const char *key, int code,
                         const char *sentence)
{
        const EvgrpcTlsSource s = {
                .ca_pem = authority, .certificate_pem = certificate, .key_pem = key};
        EvgrpcTls *tls;
        char *error;

        g_assert_cmpint(evgrpc_tls_new(&s, &tls, &error), ==, code);
        g_assert_nonnull(error);
        if (!strstr(error, sentence))
                g_error("\"%s\" does not say \"%s\"", error, sentence);
        free(error);
        g_assert_cmpint(evgrpc_tls_new(&s, &tls, NULL), ==, code);
        g_assert_cmpuint(ERR_peek_error(), ==, 0);
}

static void test_bad_pem_is_explained(void)
{
        g_autofree char *torn = g_strndup(server_id.certificate, strlen(server_id.certificate) / 2);
        const char *good = server_id.certificate, *key = server_id.key;

        source_fails(NULL, good, key, -EINVAL, "CA certificate is needed");
        source_fails(ca.pem, good, NULL, -EINVAL, "needs its key");
        source_fails("", good, key, -EBADMSG, "No CA certificate");
        source_fails("garbage", good, key, -EBADMSG, "No CA certificate");
        source_fails(ca.pem, torn, key, -EBADMSG, "No certificate");
        source_fails(ca.pem, key, key, -EBADMSG, "No certificate");
        source_fails(ca.pem, good, good, -EBADMSG, "private key");
        source_fails(ca.pem, good, client_id.key, -EKEYREJECTED, "not that of the certificate");
}

static void test_encrypted_key_is_refused_without_a_question(void)
{
        BIO *in = BIO_new_mem_buf(server_id.key, -1), *out = BIO_new(BIO_s_mem());
        EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
        g_autofree char *text = NULL;
        char *data;
        long size;

        g_assert_cmpint(PEM_write_bio_PrivateKey(out, key, EVP_aes_128_cbc(),
                                                 (const unsigned char *) "secret", 6, NULL, NULL),
                        ==, 1);
        size = BIO_get_mem_data(out, &data);
        text = g_strndup(data, (gsize) size);
        source_fails(ca.pem, server_id.certificate, text, -EBADMSG, "No unencrypted private key");
        EVP_PKEY_free(key);
        BIO_free(in);
        BIO_free(out);
}

static void test_server_without_certificate_is_refused(void)
{
        struct event_base *base = event_base_new();
        EvgrpcTls *tls = tls_make(&ca, NULL);
        const EvgrpcServerOptions o = {.tls = tls};
        EvgrpcServer *server;

        g_assert_cmpint(evgrpc_server_new(base, &o, &server), ==, -EINVAL);
        evgrpc_tls_unref(tls);
        event_base_free(base);
}

/* ---- Refusals, as both ends see them
 * ------------------------------------------------------------ */

typedef struct Refusal {
        const char *what;
        const Authority *server_trusts;
        const Identity *server; /* both NULL: plain */
        const Authority *client_trusts;
        const Identity *client;
        const char *server_name;
        const char *client_says, *server_says;
} Refusal;

static const Refusal refusals[] = {
        {"server of another CA", &ca, &stranger, &ca, &client_id, NULL,
         "The server's certificate is not from a CA that we trust",
         "The client refused our certificate: it does not trust its CA"},
        {"server of a CA with the same name", &ca, &forged, &ca, &client_id, NULL,
         "The server's certificate is not from a CA that we trust",
         "The client refused our certificate"},
        {"expired server", &ca, &expired, &ca, &client_id, NULL,
         "The server's certificate expired on ",
         "The client refused our certificate: it has expired"},
        {"server not yet valid", &ca, &future, &ca, &client_id, NULL,
         "The server's certificate is not yet valid before ",
         "The client refused our certificate: it is not yet valid"},
        {"wrong address", &ca, &elsewhere, &ca, &client_id, NULL,
         "The server's certificate is for elsewhere.example, not for 127.0.0.1",
         "or not for the name it asked for"},
        {"wrong name", &ca, &server_id, &ca, &client_id, "master",
         "The server's certificate is for localhost, not for master",
         "or not for the name it asked for"},
        {"name in the CN alone", &ca, &elsewhere, &ca, &client_id, "localhost",
         "The server's certificate is for elsewhere.example, not for localhost",
         "or not for the name it asked for"},
        {"client of another CA", &ca, &server_id, &ca, &stranger, NULL,
         "The server refused our certificate: it does not trust its CA",
         "The client's certificate is not from a CA that we trust"},
        {"client of a CA with the same name", &ca, &server_id, &ca, &forged, NULL,
         "The server refused our certificate",
         "The client's certificate is not from a CA that we trust"},
        {"expired client", &ca, &server_id, &ca, &expired, NULL,
         "The server refused our certificate: it has expired",
         "The client's certificate expired on "},
        {"client not yet valid", &ca, &server_id, &ca, &future, NULL,
         "The server refused our certificate: it is not yet valid",
         "The client's certificate is not yet valid before "},
        {"client without certificate", &ca, &server_id, &ca, NULL, NULL,
         "The server demands a client certificate, and we sent none",
         "The client sent no certificate"},
        {"a server's certificate as client", &ca, &server_id, &ca, &server_only, NULL,
         "The server refused our certificate: it is not meant for a client",
         "The client's certificate is not meant for a client"},
        {"plain text to a TLS port", &ca, &server_id, NULL, NULL, NULL,
         "The server speaks TLS, but this channel is plain", "The client does not speak TLS"},
        {"TLS to a plain port", NULL, NULL, &ca, &client_id, NULL, "The server does not speak TLS",
         "The client speaks TLS, but this address is plain"},
};

static void test_refusal_is_clear_on_both_ends(gconstpointer userdata)
{
        const Refusal *r = userdata;
        g_autofree char *message = NULL;
        Ends e;

        ends_begin(&e, r->server ? tls_make(r->server_trusts, r->server) : NULL,
                   r->client_trusts ? tls_make(r->client_trusts, r->client) : NULL, r->server_name);
        call_on(&e.f, e.f.channel, EVGRPC_UNAVAILABLE, &message);
        RUN_UNTIL(&e.f, e.errors > 0);
        g_test_message("client: %s", message);
        g_test_message("server: %s", e.error);
        g_assert_true(g_str_has_prefix(message, "Failed to connect to 127.0.0.1:"));
        g_assert_nonnull(strstr(message, r->client_says));
        g_assert_nonnull(strstr(e.error, r->server_says));
        g_assert_true(g_str_has_prefix(e.peer, "127.0.0.1:"));
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 0);
        g_assert_cmpuint(e.f.echo.calls, ==, 0);
        ends_finish(&e);
}

/* ---- Other peers
 * -------------------------------------------------------------------------------- */

/* OpenSSL with its own hands. */
typedef struct Other {
        GThread *thread;
        SSL_CTX *context;
        int fd;
        bool server;
        void (*talk)(SSL *ssl);
} Other;

static SSL_CTX *other_context(const Identity *own)
{
        SSL_CTX *c = SSL_CTX_new(TLS_method());
        BIO *certificate = BIO_new_mem_buf(own->certificate, -1),
            *key = BIO_new_mem_buf(own->key, -1);
        X509 *x = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
        EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

        g_assert_cmpint(SSL_CTX_use_certificate(c, x), ==, 1);
        g_assert_cmpint(SSL_CTX_use_PrivateKey(c, k), ==, 1);
        X509_free(x);
        EVP_PKEY_free(k);
        BIO_free(certificate);
        BIO_free(key);
        return c;
}

static int blocking_socket(uint16_t port, uint16_t *ret_port)
{
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(port)};
        struct timeval tv = {.tv_sec = 20};
        socklen_t size = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        if (port > 0) {
                g_assert_cmpint(connect(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
                return fd;
        }
        g_assert_cmpint(bind(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
        g_assert_cmpint(listen(fd, 1), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &a, &size), ==, 0);
        *ret_port = ntohs(a.sin_port);
        return fd;
}

static gpointer other_main(gpointer userdata)
{
        Other *o = userdata;
        int fd = o->server ? accept(o->fd, NULL, NULL) : o->fd;
        SSL *ssl = SSL_new(o->context);
        char buffer[4096];

        SSL_set_fd(ssl, fd);
        if ((o->server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1) {
                if (o->talk)
                        o->talk(ssl);
                while (SSL_read(ssl, buffer, sizeof(buffer)) > 0)
                        ;
        }
        SSL_free(ssl);
        if (o->server)
                (void) close(fd);
        (void) close(o->fd);
        ERR_clear_error();
        return NULL;
}

static void other_end(Other *o)
{
        (void) g_thread_join(o->thread);
        SSL_CTX_free(o->context);
}

static uint16_t port_of(const char *address)
{
        return (uint16_t) g_ascii_strtoull(strrchr(address, ':') + 1, NULL, 10);
}

static void server_says_to(SSL_CTX *context, const char *sentence)
{
        Other o = {.context = context};
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), NULL, NULL);
        o.fd = blocking_socket(port_of(e.f.address), NULL);
        o.thread = g_thread_new("other", other_main, &o);
        RUN_UNTIL(&e.f, e.errors > 0);
        g_assert_cmpstr(e.error, ==, sentence);
        other_end(&o);
        ends_finish(&e);
}

static void test_tls12_client_is_told(void)
{
        SSL_CTX *c = other_context(&client_id);

        SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION);
        server_says_to(c, "The client does not speak TLS 1.3");
}

static void test_client_without_alpn_is_told(void)
{
        server_says_to(other_context(&client_id), "The client does not offer HTTP/2 (ALPN h2)");
}

static void test_client_with_other_alpn_is_told(void)
{
        SSL_CTX *c = other_context(&client_id);

        SSL_CTX_set_alpn_protos(c, (const unsigned char *) "\x08http/1.1", 9);
        server_says_to(c, "The client does not offer HTTP/2 (ALPN h2)");
}

static void client_says_to(SSL_CTX *context, const char *sentence)
{
        Other o = {.context = context, .server = true};
        EvgrpcTls *tls = tls_make(&ca, &client_id);
        EvgrpcChannelOptions co = {.tls = tls};
        g_autofree char *address = NULL, *message = NULL;
        EvgrpcChannel *channel;
        uint16_t port;
        Fixture f;

        fixture_begin(&f);
        o.fd = blocking_socket(0, &port);
        o.thread = g_thread_new("other", other_main, &o);
        address = g_strdup_printf("127.0.0.1:%u", port);
        g_assert_cmpint(evgrpc_channel_new(f.base, address, &co, &channel), ==, 0);
        call_on(&f, channel, EVGRPC_UNAVAILABLE, &message);
        if (!strstr(message, sentence))
                g_error("\"%s\" does not say \"%s\"", message, sentence);
        evgrpc_channel_free(channel);
        other_end(&o);
        evgrpc_tls_unref(tls);
        fixture_end(&f);
}

static void test_tls12_server_is_told(void)
{
        SSL_CTX *c = other_context(&server_id);

        SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION);
        client_says_to(c, "The server does not speak TLS 1.3");
}

static void test_server_without_alpn_is_told(void)
{
        client_says_to(other_context(&server_id), "The server did not choose HTTP/2 (ALPN h2)");
}

/* ---- Malice and misfortune
 * ---------------------------------------------------------------------- */

static void test_silent_client_is_dropped_in_time(void)
{
        gint64 begin = g_get_monotonic_time();
        Ends e;
        int fd;

        ends_begin_with(&e, tls_make(&ca, &server_id), NULL, NULL, 300 * 1000);
        fd = blocking_socket(port_of(e.f.address), NULL);
        RUN_UNTIL(&e.f, e.errors > 0);
        g_assert_cmpstr(e.error, ==, "No TLS handshake in time");
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, 290 * 1000);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 5000 * 1000);
        g_assert_cmpuint(evgrpc_server_connection_count(e.f.server), ==, 0);
        (void) close(fd);
        ends_finish(&e);
}

static void test_silent_server_is_given_up_in_time(void)
{
        EvgrpcTls *tls = tls_make(&ca, &client_id);
        const EvgrpcChannelOptions o = {.tls = tls, .connect_timeout_usec = 200 * 1000};
        g_autofree char *address = NULL, *message = NULL;
        EvgrpcChannel *channel;
        uint16_t port;
        Fixture f;
        int fd = blocking_socket(0, &port);

        fixture_begin(&f);
        address = g_strdup_printf("127.0.0.1:%u", port);
        g_assert_cmpint(evgrpc_channel_new(f.base, address, &o, &channel), ==, 0);
        call_on(&f, channel, EVGRPC_UNAVAILABLE, &message);
        g_assert_nonnull(strstr(message, "No TLS handshake within 200 ms"));
        evgrpc_channel_free(channel);
        evgrpc_tls_unref(tls);
        fixture_end(&f);
        (void) close(fd);
}

/* Whatever comes, the server says one sentence and lives. */
static void test_garbage_ends_the_connection(void)
{
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        for (unsigned round = 0; round < 100; round++) {
                uint8_t garbage[700];
                unsigned before = e.errors;
                int fd = blocking_socket(port_of(e.f.address), NULL);

                for (unsigned i = 0; i < sizeof(garbage); i++)
                        garbage[i] = (uint8_t) g_test_rand_int();
                if (round % 2) /* what looks like a ClientHello */
                        memcpy(garbage, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
                g_assert_cmpint(send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL), ==,
                                sizeof(garbage));
                (void) shutdown(fd, SHUT_WR);
                RUN_UNTIL(&e.f, e.errors > before);
                (void) close(fd);
        }
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        g_assert_cmpuint(e.errors, ==, 100);
        ends_finish(&e);
}

/* A byte changed on the way is noticed, wherever: no call ends OK that should not, none hangs. */
static void test_changed_byte_is_noticed(void)
{
        EvgrpcChannelOptions o = {.tls_server_name = "localhost"};
        Relay relay;
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        o.tls = e.client;
        o.connect_timeout_usec = 1000 * 1000;
        relay_begin(&relay, &e.f);
        relay.flip = 1;
        for (unsigned from = 0; from < 2; from++)
                for (size_t at = 5; at < 1600;
                     at += 53) { /* the first record's header says its version twice */
                        EvgrpcCallOptions call = {.timeout_usec = 10 * 1000 * 1000};
                        Order order = ORDER_INIT;
                        EvgrpcChannel *channel;
                        Story s;

                        relay.flip_at[from] = at;
                        relay.flip_at[!from] = SIZE_MAX;
                        relay.bytes[0] = relay.bytes[1] = 0;
                        g_assert_cmpint(evgrpc_channel_new(e.f.base, relay.address, &o, &channel),
                                        ==, 0);
                        order.reply_size = 3000;
                        story_start_on(&s, &e.f, channel, "Unary", &order, &call);
                        RUN_UNTIL(&e.f, s.done);
                        if (relay.bytes[from] > at)
                                g_assert_cmpint(s.code, !=, EVGRPC_OK);
                        else
                                g_assert_cmpint(s.code, ==, EVGRPC_OK);
                        story_end(&s);
                        evgrpc_channel_free(channel);
                }
        relay_end(&relay);
        ends_finish(&e);
}

static void test_cut_connection_ends_calls(void)
{
        EvgrpcChannelOptions o = {.tls_server_name = "localhost"};
        Relay relay;
        Ends e;

        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        o.tls = e.client;
        relay_begin(&relay, &e.f);
        for (size_t at = 1; at < 200000; at = at * 3 + 1) {
                Order order = ORDER_INIT;
                EvgrpcChannel *channel;
                Story s;

                relay.cut_after[1] = at;
                relay.bytes[0] = relay.bytes[1] = 0;
                g_assert_cmpint(evgrpc_channel_new(e.f.base, relay.address, &o, &channel), ==, 0);
                order.reply_size = 1 << 20;
                story_start_on(&s, &e.f, channel, "Unary", &order, NULL);
                RUN_UNTIL(&e.f, s.done);
                g_assert_cmpint(s.code, ==, EVGRPC_UNAVAILABLE);
                g_assert_cmpuint(s.messages, ==, 0);
                story_end(&s);
                evgrpc_channel_free(channel);
        }
        relay_end(&relay);
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 0);
        ends_finish(&e);
}

/* Asks for 20,000 answers and reads none. */
static void flood_key_updates(SSL *ssl)
{
        for (unsigned i = 0; i < 20000; i++)
                if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
                    SSL_do_handshake(ssl) != 1)
                        break;
        (void) shutdown(SSL_get_fd(ssl), SHUT_RDWR);
}

static void test_flood_of_key_updates_is_survived(void)
{
        Other o = {.context = other_context(&client_id), .talk = flood_key_updates};
        Ends e;

        SSL_CTX_set_alpn_protos(o.context, (const unsigned char *) "\x02h2", 3);
        ends_begin(&e, tls_make(&ca, &server_id), tls_make(&ca, &client_id), NULL);
        o.fd = blocking_socket(port_of(e.f.address), NULL);
        o.thread = g_thread_new("other", other_main, &o);
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 1);
        RUN_UNTIL(&e.f, evgrpc_server_connection_count(e.f.server) == 0);
        call_on(&e.f, e.f.channel, EVGRPC_OK, NULL);
        other_end(&o);
        ends_finish(&e);
}

#define TEST(path, function) g_test_add_func("/rpc/tls/" path, function)

int main(int argc, char **argv)
{
        int r;

        g_test_init(&argc, &argv, NULL);
        (void) signal(SIGPIPE, SIG_IGN); /* OpenSSL on a socket writes with write() */
        make_all();
        TEST("calls-go-through", test_calls_go_through);
        TEST("end-in-peace-is-no-error", test_end_in_peace_is_no_error);
        TEST("shutdown-lets-calls-finish", test_shutdown_lets_calls_finish);
        TEST("bytes-may-come-one-at-a-time", test_bytes_may_come_one_at_a_time);
        TEST("server-learns-the-clients-name", test_server_learns_the_clients_name);
        TEST("expected-name-may-be-told", test_expected_name_may_be_told);
        TEST("unix-socket-needs-a-name", test_unix_socket_needs_a_name);
        TEST("reload-is-for-new-connections", test_reload_is_for_new_connections);
        TEST("files-are-read-and-read-again", test_files_are_read_and_read_again);
        TEST("bad-pem-is-explained", test_bad_pem_is_explained);
        TEST("encrypted-key-is-refused-without-a-question",
             test_encrypted_key_is_refused_without_a_question);
        TEST("server-without-certificate-is-refused", test_server_without_certificate_is_refused);
        for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++) {
                g_autofree char *name = g_strdelimit(g_strdup(refusals[i].what), " ", '-');
                g_autofree char *path =
                        g_strdup_printf("/rpc/tls/refusal-is-clear-on-both-ends/%s", name);

                g_test_add_data_func(path, &refusals[i], test_refusal_is_clear_on_both_ends);
        }
        TEST("tls12-client-is-told", test_tls12_client_is_told);
        TEST("client-without-alpn-is-told", test_client_without_alpn_is_told);
        TEST("client-with-other-alpn-is-told", test_client_with_other_alpn_is_told);
        TEST("tls12-server-is-told", test_tls12_server_is_told);
        TEST("server-without-alpn-is-told", test_server_without_alpn_is_told);
        TEST("silent-client-is-dropped-in-time", test_silent_client_is_dropped_in_time);
        TEST("silent-server-is-given-up-in-time", test_silent_server_is_given_up_in_time);
        TEST("garbage-ends-the-connection", test_garbage_ends_the_connection);
        TEST("changed-byte-is-noticed", test_changed_byte_is_noticed);
        TEST("cut-connection-ends-calls", test_cut_connection_ends_calls);
        TEST("flood-of-key-updates-is-survived", test_flood_of_key_updates_is_survived);
        r = g_test_run();
        free_all();
        return r;
}

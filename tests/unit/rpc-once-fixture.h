/*
 * What the tests of "at most once" share: a service that counts how often each request was
 * executed, on a server that can be restarted at the same address, with a store in SQLite.
 *
 * Methods: Unary keeps replies; Missing keeps and stores them; Collect, served as a unary one, does
 * neither.
 */
#pragma once

#include <sqlite3.h>
#include <unistd.h>

#include "rpc-fixture.h"

typedef struct OnceFixture {
        Fixture f; /* its echo service is not used */
        char *dir;
        EvgrpcOnceOptions options;
        sqlite3 *db;
        GHashTable *executed; /* body: times */
        GHashTable *held;     /* body: EvgrpcServerCall that hangs */
        unsigned cancelled;
        bool fail_commit; /* of stored calls */
        EvgrpcTls *tls;   /* of the next server */
} OnceFixture;

static inline unsigned times_executed(OnceFixture *o, const char *body)
{
        return GPOINTER_TO_UINT(g_hash_table_lookup(o->executed, body));
}

/* ---- The store: the table a daemon would have
 * -------------------------------------------------- */

static inline int once_db(OnceFixture *o, const char *sql, const EvgrpcOnceKey *key, uint64_t seq,
                          const void *blob, size_t size, sqlite3_stmt **ret)
{
        sqlite3_stmt *s;
        int r;

        g_assert_cmpint(sqlite3_prepare_v2(o->db, sql, -1, &s, NULL), ==, SQLITE_OK);
        sqlite3_bind_text(s, 1, key->client, -1, SQLITE_TRANSIENT);
        if (sqlite3_bind_parameter_count(s) > 1)
                sqlite3_bind_int64(s, 2, (sqlite3_int64) seq);
        if (blob)
                sqlite3_bind_blob(s, 3, blob, (int) size, SQLITE_TRANSIENT);
        r = sqlite3_step(s);
        if (ret && r == SQLITE_ROW)
                *ret = s;
        else
                sqlite3_finalize(s);
        return r;
}

static inline int once_save(const EvgrpcOnceKey *key, const void *record, size_t size,
                            void *userdata)
{
        OnceFixture *o = userdata;

        g_assert_false(sqlite3_get_autocommit(o->db));
        once_db(o, "DELETE FROM reply WHERE client = ?1 AND seq < ?2", key, key->acknowledged, NULL,
                0, NULL);
        once_db(o, "INSERT OR REPLACE INTO client VALUES (?1, ?2)", key, key->acknowledged, NULL, 0,
                NULL);
        return once_db(o, "INSERT INTO reply VALUES (?1, ?2, ?3)", key, key->seq, record, size,
                       NULL) == SQLITE_DONE
                       ? 0
                       : -EIO;
}

static inline int once_load(const EvgrpcOnceKey *key, void **ret, size_t *ret_size, void *userdata)
{
        OnceFixture *o = userdata;
        sqlite3_stmt *s = NULL;

        if (once_db(o, "SELECT record FROM reply WHERE client = ?1 AND seq = ?2", key, key->seq,
                    NULL, 0, &s) == SQLITE_ROW) {
                *ret_size = (size_t) sqlite3_column_bytes(s, 0);
                *ret = malloc(*ret_size);
                memcpy(*ret, sqlite3_column_blob(s, 0), *ret_size);
                sqlite3_finalize(s);
                return 1;
        }
        if (once_db(o, "SELECT 1 FROM client WHERE client = ?1 AND acknowledged > ?2", key,
                    key->seq, NULL, 0, &s) == SQLITE_ROW) {
                sqlite3_finalize(s);
                return -ESTALE;
        }
        return 0;
}

static inline void once_exec(OnceFixture *o, const char *sql)
{
        g_assert_cmpint(sqlite3_exec(o->db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
}

static inline unsigned effects(OnceFixture *o, const char *body)
{
        g_autofree char *sql =
                g_strdup_printf("SELECT count(*) FROM effect WHERE body = '%s'", body);
        sqlite3_stmt *s;
        unsigned n;

        g_assert_cmpint(sqlite3_prepare_v2(o->db, sql, -1, &s, NULL), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_step(s), ==, SQLITE_ROW);
        n = (unsigned) sqlite3_column_int(s, 0);
        sqlite3_finalize(s);
        return n;
}

/* ---- The service
 * -------------------------------------------------------------------------------- */

static inline char *body_of(const Order *order)
{
        return order->body.len > 0 ? g_strndup((const char *) order->body.data, order->body.len)
                                   : g_strdup("");
}

static inline void once_answer(EvgrpcServerCall *call, const char *body, uint32_t reply_size,
                               uint32_t code, const char *message)
{
        g_autofree char *text = g_strdup_printf("re:%s", body);
        g_autofree uint8_t *filler = g_malloc0(strlen(text) + reply_size);
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        (void) evgrpc_server_call_add_initial_metadata(call, "x-note", body, strlen(body));
        (void) evgrpc_server_call_add_trailing_metadata(call, "x-mark-bin", body, strlen(body));
        memcpy(filler, text, strlen(text));
        a.body.data = filler;
        a.body.len = strlen(text) + reply_size;
        if (code != EVGRPC_OK)
                evgrpc_server_call_finish(call, code, "%s", message);
        else
                evgrpc_server_call_reply(call, &a.base);
}

static inline void once_on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        OnceFixture *o = userdata;
        GHashTableIter i;
        gpointer value;

        o->cancelled++;
        g_hash_table_iter_init(&i, o->held);
        while (g_hash_table_iter_next(&i, NULL, &value))
                if (value == call)
                        g_hash_table_iter_remove(&i);
        evgrpc_server_call_unref(call);
}

static inline void note(OnceFixture *o, const char *body)
{
        g_hash_table_insert(o->executed, g_strdup(body),
                            GUINT_TO_POINTER(times_executed(o, body) + 1));
}

static inline void once_unary(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_cancelled = once_on_cancelled};
        const Order *order = (const Order *) m;
        g_autofree char *body = body_of(order);
        OnceFixture *o = userdata;

        note(o, body);
        if (order->hang) {
                evgrpc_server_call_set_handlers(call, &handlers, o);
                g_hash_table_insert(o->held, g_strdup(body), evgrpc_server_call_ref(call));
        } else
                once_answer(call, body, order->reply_size, order->code, order->message);
}

static inline void once_stored(EvgrpcServerCall *call, const ProtobufCMessage *m, void *userdata)
{
        const Order *order = (const Order *) m;
        g_autofree char *body = body_of(order), *sql = NULL;
        Answer a = EVGRPC__TEST__ANSWER__INIT;
        OnceFixture *o = userdata;

        note(o, body);
        sql = g_strdup_printf("INSERT INTO effect VALUES ('%s')", body);
        a.body = order->body;
        a.number = 7;
        once_exec(o, "BEGIN");
        once_exec(o, sql);
        g_assert_cmpint(evgrpc_server_call_save(call, &a.base), ==, 0);
        if (o->fail_commit) {
                once_exec(o, "ROLLBACK");
                evgrpc_server_call_finish(call, EVGRPC_INTERNAL, "no commit");
        } else {
                once_exec(o, "COMMIT");
                evgrpc_server_call_reply(call, &a.base);
        }
}

static inline void once_release(OnceFixture *o, const char *body)
{
        EvgrpcServerCall *call = g_hash_table_lookup(o->held, body);

        g_assert_nonnull(call);
        g_hash_table_remove(o->held, body);
        once_answer(call, body, 0, EVGRPC_OK, "");
        evgrpc_server_call_unref(call);
}

/* ---- The server
 * --------------------------------------------------------------------------------- */

static inline void once_serve(OnceFixture *o)
{
        static const EvgrpcMethod methods[] = {
                {.name = "Unary", .handler = once_unary, .at_most_once = true},
                {.name = "Missing", .handler = once_stored, .at_most_once = true, .stored = true},
                {.name = "Collect", .handler = once_unary},
                {},
        };
        g_autofree char *address = g_strdup_printf("unix:%s/socket", o->dir);

        EvgrpcServerOptions server = {.tls = o->tls};

        g_assert_cmpint(evgrpc_server_new(o->f.base, &server, &o->f.server), ==, 0);
        g_assert_cmpint(evgrpc_server_set_once(o->f.server, &o->options), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(o->f.server, ECHO, methods, o), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(o->f.server, address, NULL), ==, 0);
}

static inline void once_restart(OnceFixture *o)
{
        o->f.server = evgrpc_server_free(o->f.server);
        once_serve(o);
}

static inline void once_begin_on(OnceFixture *o, struct event_base *base,
                                 const EvgrpcOnceOptions *options)
{
        static const EvgrpcOnceStore store = {.save = once_save, .load = once_load};

        *o = (OnceFixture){.f.base = base, .dir = g_dir_make_tmp("once-XXXXXX", NULL)};
        if (options)
                o->options = *options;
        o->options.store = &store;
        o->options.userdata = o;
        o->executed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        o->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_assert_cmpint(sqlite3_open(":memory:", &o->db), ==, SQLITE_OK);
        once_exec(
                o,
                "CREATE TABLE reply (client TEXT, seq INTEGER, record BLOB, PRIMARY KEY (client, seq));"
                "CREATE TABLE client (client TEXT PRIMARY KEY, acknowledged INTEGER);"
                "CREATE TABLE effect (body TEXT)");
        once_serve(o);
        o->f.address = g_strdup_printf("unix:%s/socket", o->dir);
        g_assert_cmpint(evgrpc_channel_new(o->f.base, o->f.address, NULL, &o->f.channel), ==, 0);
}

static inline void once_begin(OnceFixture *o, const EvgrpcOnceOptions *options)
{
        once_begin_on(o, event_base_new(), options);
}

static inline void once_end_on(OnceFixture *o)
{
        evgrpc_channel_free(o->f.channel);
        evgrpc_server_free(o->f.server);
        g_assert_cmpuint(g_hash_table_size(o->held), ==, 0);
        g_hash_table_unref(o->executed);
        g_hash_table_unref(o->held);
        sqlite3_close(o->db);
        g_assert_cmpint(rmdir(o->dir), ==, 0);
        g_free(o->dir);
        g_free(o->f.address);
}

static inline void once_end(OnceFixture *o)
{
        struct event_base *base = o->f.base;

        once_end_on(o);
        event_base_free(base);
}

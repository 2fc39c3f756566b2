/*
 * The store's other half — see master-store-keys.h.
 */
#include <stdarg.h>

#include "mr-masterd/master-store-impl.h"
#include "mr-masterd/master-store-keys.h"

const char store_keys_schema[] =
        "CREATE TABLE certificates(serial TEXT PRIMARY KEY, role INTEGER, worker TEXT, name TEXT,"
        " issued INTEGER, not_before INTEGER, not_after INTEGER, revoked INTEGER, issuer TEXT)"
        " WITHOUT ROWID;"
        "CREATE TABLE tokens(id TEXT PRIMARY KEY, hash BLOB, created INTEGER, expires INTEGER,"
        " failed INTEGER) WITHOUT ROWID;"
        "CREATE TABLE numbers(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
        "CREATE TABLE once_clients(number INTEGER PRIMARY KEY AUTOINCREMENT, principal TEXT,"
        " client TEXT, acknowledged INTEGER, UNIQUE(principal, client));"
        "CREATE TABLE once_replies(client INTEGER, seq INTEGER, record BLOB,"
        " PRIMARY KEY(client, seq)) WITHOUT ROWID;"
        "CREATE TABLE seen(job INTEGER PRIMARY KEY, maps BLOB);";

typedef void (*RowFn)(sqlite3_stmt *row, void *userdata);

/* The values by @format: i an int64_t, s a text, b a blob and its size. */
static int bind_values(sqlite3_stmt *statement, const char *format, va_list ap)
{
        int code = SQLITE_OK;

        for (int i = 1; *format && code == SQLITE_OK; format++, i++) {
                if (*format == 'i') {
                        code = sqlite3_bind_int64(statement, i, va_arg(ap, int64_t));
                } else if (*format == 's') {
                        code = sqlite3_bind_text(statement, i, va_arg(ap, const char *), -1,
                                                 SQLITE_TRANSIENT);
                } else {
                        const void *data = va_arg(ap, const void *);

                        code = sqlite3_bind_blob64(statement, i, data, va_arg(ap, size_t),
                                                   SQLITE_TRANSIENT);
                }
        }
        return code;
}

static int run_va(Store *s, const char *sql, RowFn fn, void *userdata, const char *format,
                  va_list ap)
{
        sqlite3_stmt *statement = NULL;
        int code;

        code = sqlite3_prepare_v2(store_db(s), sql, -1, &statement, NULL);
        if (code == SQLITE_OK)
                code = bind_values(statement, format, ap);
        if (code == SQLITE_OK)
                while ((code = sqlite3_step(statement)) == SQLITE_ROW)
                        if (fn)
                                fn(statement, userdata);
        code = store_note(s, code);
        (void) sqlite3_finalize(statement);
        return code;
}

static int write_values(Store *s, const char *sql, const char *format, ...)
{
        va_list ap;
        int r;

        r = store_begin(s);
        if (r < 0)
                return r;
        va_start(ap, format);
        r = run_va(s, sql, NULL, NULL, format, ap);
        va_end(ap);
        return r;
}

static int read_values(Store *s, const char *sql, RowFn fn, void *userdata, const char *format, ...)
{
        va_list ap;
        int r;

        va_start(ap, format);
        r = run_va(s, sql, fn, userdata, format, ap);
        va_end(ap);
        return r;
}

#define I(x) ((int64_t) (x))

/* What readers pass through a row's function. */
typedef struct Reader {
        void (*fn)(void);
        void *userdata;
} Reader;

static const char *text_of(sqlite3_stmt *row, int column)
{
        const char *text = (const char *) sqlite3_column_text(row, column);

        return text ? text : "";
}

/* ---- Certificates
 * ------------------------------------------------------------------------------- */

void store_put_certificate(Store *s, const StoreCertificate *c)
{
        (void) write_values(s, "REPLACE INTO certificates VALUES(?,?,?,?,?,?,?,?,?)", "sissiiiis",
                            c->serial, I(c->role), c->worker_id, c->name, c->issued_sec,
                            c->not_before_sec, c->not_after_sec, c->revoked_sec, c->issuer);
}

void store_revoke_certificate(Store *s, const char *serial, int64_t revoked_sec)
{
        (void) write_values(s,
                            "UPDATE certificates SET revoked = ? WHERE serial = ? AND revoked = 0",
                            "is", revoked_sec, serial);
}

void store_trim_certificates(Store *s, int64_t before_sec)
{
        (void) write_values(s, "DELETE FROM certificates WHERE not_after < ?", "i", before_sec);
}

static void on_certificate(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreCertificate c = {
                .serial = text_of(row, 0),
                .role = sqlite3_column_int(row, 1),
                .worker_id = text_of(row, 2),
                .name = text_of(row, 3),
                .issued_sec = sqlite3_column_int64(row, 4),
                .not_before_sec = sqlite3_column_int64(row, 5),
                .not_after_sec = sqlite3_column_int64(row, 6),
                .revoked_sec = sqlite3_column_int64(row, 7),
                .issuer = text_of(row, 8),
        };

        ((StoreCertificateFn) reader->fn)(&c, reader->userdata);
}

int store_each_certificate(Store *s, StoreCertificateFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_values(s, "SELECT * FROM certificates ORDER BY issued, serial", on_certificate,
                           &reader, "");
}

/* ---- Tokens
 * ------------------------------------------------------------------------------------- */

void store_put_token(Store *s, const StoreToken *t)
{
        (void) write_values(s, "REPLACE INTO tokens VALUES(?,?,?,?,?)", "sbiii", t->id, t->hash,
                            t->hash_size, t->created_sec, t->expires_sec, I(t->failed));
}

void store_remove_token(Store *s, const char *id)
{
        (void) write_values(s, "DELETE FROM tokens WHERE id = ?", "s", id);
}

void store_trim_tokens(Store *s, int64_t now_sec)
{
        (void) write_values(s, "DELETE FROM tokens WHERE expires <= ?", "i", now_sec);
}

static void on_token(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreToken t = {
                .id = text_of(row, 0),
                .hash = sqlite3_column_blob(row, 1),
                .hash_size = (size_t) sqlite3_column_bytes(row, 1),
                .created_sec = sqlite3_column_int64(row, 2),
                .expires_sec = sqlite3_column_int64(row, 3),
                .failed = (uint32_t) sqlite3_column_int64(row, 4),
        };

        ((StoreTokenFn) reader->fn)(&t, reader->userdata);
}

int store_each_token(Store *s, StoreTokenFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_values(s, "SELECT * FROM tokens ORDER BY created, id", on_token, &reader, "");
}

/* ---- Numbers
 * ------------------------------------------------------------------------------------ */

static void on_number(sqlite3_stmt *row, void *userdata)
{
        *(int64_t *) userdata = sqlite3_column_int64(row, 0);
}

void store_put_number(Store *s, const char *name, uint64_t value)
{
        (void) write_values(s, "REPLACE INTO numbers VALUES(?,?)", "si", name, I(value));
}

uint64_t store_get_number(Store *s, const char *name)
{
        int64_t value = 0;

        (void) read_values(s, "SELECT value FROM numbers WHERE name = ?", on_number, &value, "s",
                           name);
        return (uint64_t) value;
}

/* ---- Replies
 * ------------------------------------------------------------------------------------ */

static int64_t client_number(Store *s, const char *principal, const char *client)
{
        int64_t number = 0;

        (void) read_values(s, "SELECT number FROM once_clients WHERE principal = ? AND client = ?",
                           on_number, &number, "ss", principal, client);
        return number;
}

static int trim_clients(Store *s)
{
        int r;

        r = write_values(s,
                         "DELETE FROM once_clients WHERE number <="
                         " (SELECT max(number) FROM once_clients) - ?",
                         "i", I(STORE_ONCE_CLIENTS_MAX));
        if (r < 0)
                return r;
        return write_values(
                s, "DELETE FROM once_replies WHERE client NOT IN (SELECT number FROM once_clients)",
                "");
}

int store_save_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     uint64_t acknowledged, const void *record, size_t size)
{
        int64_t number;
        int r;

        r = write_values(s,
                         "INSERT INTO once_clients(principal, client, acknowledged) VALUES(?,?,?)"
                         " ON CONFLICT(principal, client) DO UPDATE SET acknowledged ="
                         " max(acknowledged, excluded.acknowledged)",
                         "ssi", principal, client, I(acknowledged));
        if (r < 0)
                return r;
        number = client_number(s, principal, client);
        r = write_values(s, "DELETE FROM once_replies WHERE client = ? AND seq < ?", "ii", number,
                         I(acknowledged));
        if (r >= 0)
                r = write_values(s, "INSERT INTO once_replies VALUES(?,?,?)", "iib", number, I(seq),
                                 record, size);
        return r < 0 ? r : trim_clients(s);
}

typedef struct Record {
        void *data;
        size_t size;
} Record;

static void on_record(sqlite3_stmt *row, void *userdata)
{
        Record *record = userdata;

        record->size = (size_t) sqlite3_column_bytes(row, 0);
        record->data = malloc(MAX(record->size, 1u));
        if (record->data && record->size > 0)
                memcpy(record->data, sqlite3_column_blob(row, 0), record->size);
}

int store_load_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     void **ret_record, size_t *ret_size)
{
        int64_t number = client_number(s, principal, client), acknowledged = 0;
        Record record = {};
        int r;

        if (number == 0)
                return 0;
        r = read_values(s, "SELECT record FROM once_replies WHERE client = ? AND seq = ?",
                        on_record, &record, "ii", number, I(seq));
        if (r >= 0 && !record.data)
                r = read_values(s, "SELECT acknowledged FROM once_clients WHERE number = ?",
                                on_number, &acknowledged, "i", number);
        if (r < 0) {
                free(record.data);
                return r;
        }
        if (!record.data)
                return (uint64_t) acknowledged > seq ? -ESTALE : 0;
        *ret_record = record.data;
        *ret_size = record.size;
        return 1;
}

/* ---- What inputs were when a job was planned
 * ---------------------------------------------------- */

void store_put_seen(Store *s, uint64_t job, const void *maps, size_t size)
{
        (void) write_values(s, "REPLACE INTO seen VALUES(?,?)", "ib", I(job), maps, size);
}

void store_trim_seen(Store *s, uint64_t before_job)
{
        (void) write_values(s, "DELETE FROM seen WHERE job < ?", "i", I(before_job));
}

static void on_seen(sqlite3_stmt *row, void *userdata)
{
        Reader *reader = userdata;

        ((StoreSeenFn) reader->fn)((uint64_t) sqlite3_column_int64(row, 0),
                                   sqlite3_column_blob(row, 1),
                                   (size_t) sqlite3_column_bytes(row, 1), reader->userdata);
}

int store_each_seen(Store *s, StoreSeenFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_values(s, "SELECT job, maps FROM seen ORDER BY job", on_seen, &reader, "");
}

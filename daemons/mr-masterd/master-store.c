/*
 * Store — see master-store.h.
 *
 * Each statement is prepared once (in a file all at its opening, which shows that it has what they
 * name; in memory when first used) and bound by a format string: i an integer, s a text, b a blob
 * and its size. The schema's version is in user_version; a file of a newer one is refused, not
 * guessed at, and one of an older is upgraded: master-store-upgrade.c.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/text.h"
#include "mr-masterd/master-store-impl.h"
#include "platform/log.h"

/* Goes up with every change of a table, an index, or what a value means. */
#define SCHEMA_VERSION 4

static const char schema[] =
        "CREATE TABLE jobs(number INTEGER PRIMARY KEY, description BLOB NOT NULL, uid INTEGER NOT NULL,"
        " state INTEGER NOT NULL, ending INTEGER NOT NULL, reason TEXT, error_output TEXT,"
        " submitted INTEGER, started INTEGER, finished INTEGER, maps INTEGER, reduces INTEGER,"
        " maps_done INTEGER, reduces_done INTEGER, attempts_failed INTEGER, attempts_lost INTEGER,"
        " outputs_lost INTEGER, input_bytes INTEGER, output_created INTEGER, counters TEXT,"
        " cause TEXT, cause_attempt TEXT);"
        "CREATE TABLE inputs(job INTEGER, seq INTEGER, path BLOB, size INTEGER, mtime INTEGER,"
        " ctime INTEGER, inode INTEGER, device INTEGER,"
        " PRIMARY KEY(job, seq)) WITHOUT ROWID;"
        "CREATE TABLE tasks(job INTEGER, kind INTEGER, task INTEGER, started INTEGER, failed INTEGER,"
        " lost INTEGER, done INTEGER, attempt INTEGER, worker INTEGER, newest_worker INTEGER,"
        " status TEXT, counters TEXT, running TEXT, origin TEXT, why INTEGER, PRIMARY KEY(job, kind, task)) WITHOUT ROWID;"
        "CREATE TABLE events(job INTEGER, seq INTEGER, usec INTEGER, kind TEXT, text TEXT,"
        " PRIMARY KEY(job, seq)) WITHOUT ROWID;"
        "CREATE TABLE skipped(job INTEGER, map INTEGER, seq INTEGER, path BLOB, offset INTEGER,"
        " length INTEGER, data BLOB, error TEXT, PRIMARY KEY(job, map, seq)) WITHOUT ROWID;"
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
        "CREATE TABLE workers(number INTEGER PRIMARY KEY, id TEXT UNIQUE, name TEXT, address TEXT,"
        " slots INTEGER, drained INTEGER);"
        "CREATE TABLE attempts(job INTEGER, kind INTEGER, task INTEGER, attempt INTEGER, worker INTEGER,"
        " started INTEGER, finished INTEGER, ending TEXT, reason TEXT, cause TEXT,"
        " PRIMARY KEY(job, kind, task, attempt)) WITHOUT ROWID;"
        "CREATE INDEX attempts_failed ON attempts(job, finished)"
        " WHERE ending IN ('failed', 'lost', 'rejected');"
        "CREATE TABLE tails(job INTEGER, seq INTEGER, usec INTEGER, kind INTEGER, task INTEGER,"
        " attempt INTEGER, worker TEXT, text TEXT, PRIMARY KEY(job, seq)) WITHOUT ROWID;";

typedef enum Statement {
        PUT_SKIPPED,
        REMOVE_SKIPPED,
        REMOVE_ALL_SKIPPED,
        EACH_SKIPPED,
        PUT_META,
        GET_META,
        PUT_JOB,
        PUT_TASK,
        PUT_INPUT,
        PUT_WORKER,
        PUT_EVENT,
        TRIM_EVENTS,
        START_ATTEMPT,
        END_ATTEMPT,
        END_ATTEMPTS,
        TRIM_ATTEMPTS,
        PUT_TAIL,
        TRIM_TAILS,
        REMOVE_WORKER,
        REMOVE_JOB,
        REMOVE_INPUTS,
        REMOVE_TASKS,
        REMOVE_EVENTS,
        REMOVE_ATTEMPTS,
        REMOVE_TAILS,
        EACH_JOB,
        EACH_WORKER,
        EACH_INPUT,
        EACH_EVENT,
        EACH_TASK,
        EACH_ATTEMPT,
        EACH_FAILED_ATTEMPT,
        EACH_TAIL,
        _STATEMENT_MAX,
} Statement;

static const char *const texts[_STATEMENT_MAX] = {
        [PUT_SKIPPED] = "REPLACE INTO skipped VALUES(?,?,?,?,?,?,?,?)",
        [REMOVE_SKIPPED] = "DELETE FROM skipped WHERE job = ? AND map = ?",
        [REMOVE_ALL_SKIPPED] = "DELETE FROM skipped WHERE job = ?",
        [EACH_SKIPPED] = "SELECT path, offset, length, data, error FROM skipped WHERE job = ?"
                         " ORDER BY map, seq",
        [PUT_META] = "REPLACE INTO meta VALUES(?,?)",
        [GET_META] = "SELECT value FROM meta WHERE key = ?",
        [PUT_JOB] = "REPLACE INTO jobs VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [PUT_TASK] = "REPLACE INTO tasks VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [PUT_INPUT] = "REPLACE INTO inputs VALUES(?,?,?,?,?,?,?,?)",
        [PUT_WORKER] = "REPLACE INTO workers VALUES(?,?,?,?,?,?)",
        [PUT_EVENT] = "REPLACE INTO events VALUES(?,?,?,?,?)",
        [TRIM_EVENTS] = "DELETE FROM events WHERE job = ? AND seq < ?",
        [START_ATTEMPT] = "REPLACE INTO attempts VALUES(?,?,?,?,?,?,0,'','','')",
        [END_ATTEMPT] = "UPDATE attempts SET finished = ?, ending = ?, reason = ?, cause = ?"
                        " WHERE job = ? AND kind = ? AND task = ? AND attempt = ? AND ending = ''",
        [END_ATTEMPTS] = "UPDATE attempts SET finished = ?, ending = ?, reason = ?, cause = ?"
                         " WHERE job = ? AND ending = ''",
        [TRIM_ATTEMPTS] =
                "DELETE FROM attempts WHERE job = ? AND kind = ? AND task = ? AND attempt < ?",
        [PUT_TAIL] = "REPLACE INTO tails VALUES(?,?,?,?,?,?,?,?)",
        [TRIM_TAILS] = "DELETE FROM tails WHERE job = ? AND seq < ?",
        [REMOVE_WORKER] = "DELETE FROM workers WHERE number = ?",
        [REMOVE_JOB] = "DELETE FROM jobs WHERE number = ?",
        [REMOVE_INPUTS] = "DELETE FROM inputs WHERE job = ?",
        [REMOVE_TASKS] = "DELETE FROM tasks WHERE job = ?",
        [REMOVE_EVENTS] = "DELETE FROM events WHERE job = ?",
        [REMOVE_ATTEMPTS] = "DELETE FROM attempts WHERE job = ?",
        [REMOVE_TAILS] = "DELETE FROM tails WHERE job = ?",
        [EACH_JOB] = "SELECT * FROM jobs ORDER BY number",
        [EACH_WORKER] = "SELECT * FROM workers ORDER BY number",
        [EACH_INPUT] =
                "SELECT path, size, mtime, ctime, inode, device FROM inputs WHERE job = ? ORDER BY seq",
        [EACH_EVENT] = "SELECT seq, usec, kind, text FROM events WHERE job = ? ORDER BY seq",
        [EACH_TASK] = "SELECT t.*, w.name FROM tasks t LEFT JOIN workers w ON w.number ="
                      " t.newest_worker WHERE job = ? AND kind = ? AND task >= ? AND task < ?"
                      " ORDER BY task",
        [EACH_ATTEMPT] = "SELECT a.*, w.name FROM attempts a LEFT JOIN workers w ON w.number ="
                         " a.worker WHERE job = ? AND kind = ? AND task >= ? AND task < ?"
                         " ORDER BY task, attempt",
        [EACH_FAILED_ATTEMPT] =
                "SELECT a.*, w.name FROM attempts a LEFT JOIN workers w ON w.number = a.worker"
                " WHERE job = ? AND ending IN ('failed', 'lost', 'rejected')"
                " ORDER BY finished DESC, kind DESC, task DESC, attempt DESC LIMIT ?",
        [EACH_TAIL] = "SELECT * FROM tails WHERE job = ? ORDER BY seq",
};

struct Store {
        sqlite3 *db;
        sqlite3_stmt *statements[_STATEMENT_MAX];
        bool in_transaction;
        bool in_memory;
        int failed; /* first error since the last commit */
        char *error;
};

static int sqlite_errno(int code)
{
        switch (code & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_READONLY:
        case SQLITE_PERM:
                return -EROFS;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EBADMSG;
        default:
                return -EIO;
        }
}

static int note_error(Store *s, int code)
{
        int r = sqlite_errno(code);

        if (r < 0 && s->failed == 0) {
                s->failed = r;
                g_free(s->error);
                s->error = g_strdup(sqlite3_errmsg(s->db));
        }
        return r;
}

static int exec(Store *s, const char *sql)
{
        return note_error(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static void on_version(sqlite3_stmt *row, void *userdata)
{
        *(int *) userdata = sqlite3_column_int(row, 0);
}

typedef void (*RowFn)(sqlite3_stmt *row, void *userdata);

static int each_row(Store *s, sqlite3_stmt *statement, RowFn fn, void *userdata)
{
        int code;

        while ((code = sqlite3_step(statement)) == SQLITE_ROW)
                if (fn)
                        fn(statement, userdata);
        code = note_error(s, code);
        (void) sqlite3_reset(statement);
        (void) sqlite3_clear_bindings(statement);
        return code;
}

static int read_version(Store *s, int *ret)
{
        sqlite3_stmt *statement = NULL;
        int r;

        r = note_error(s, sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &statement, NULL));
        if (r >= 0)
                r = each_row(s, statement, on_version, ret);
        (void) sqlite3_finalize(statement);
        return r;
}

static int prepare(Store *s, Statement which)
{
        if (s->statements[which])
                return 0;
        return note_error(s, sqlite3_prepare_v3(s->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                                &s->statements[which], NULL));
}

static int prepare_all(Store *s)
{
        int r = 0;

        for (size_t i = 0; i < _STATEMENT_MAX && r >= 0; i++)
                r = prepare(s, (Statement) i);
        return r;
}

static int upgrade(Store *s, int version)
{
        static const char *const all[] = {schema, store_keys_schema, NULL};
        char set_version[40];
        int r;

        (void) snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d",
                        SCHEMA_VERSION);
        r = exec(s, "BEGIN");
        for (size_t i = 0; all[i] && s->in_memory && r >= 0; i++)
                r = exec(s, all[i]);
        if (r >= 0 && !s->in_memory)
                r = store_upgrade(s, all);
        if (r >= 0)
                r = exec(s, set_version);
        if (r >= 0)
                r = exec(s, "COMMIT");
        if (r >= 0 && version > 0)
                log_notice("Upgraded the state database from version %d to %d", version,
                           SCHEMA_VERSION);
        return r;
}

static int set_up(Store *s, Error *e)
{
        int version = 0, r;

        r = read_version(s, &version);
        if (r >= 0 && version > SCHEMA_VERSION)
                return error_setf(e, EPROTO,
                                  "made by a newer mr-masterd (its version is %d, this one knows "
                                  "%d): install that again, or restore a backup from before",
                                  version, SCHEMA_VERSION);
        if (r >= 0)
                r = exec(
                        s,
                        s->in_memory
                                ? "PRAGMA page_size = 1024; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF"
                                : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
        if (r >= 0 && version < SCHEMA_VERSION)
                r = upgrade(s, version);
        if (r >= 0 && !s->in_memory)
                r = prepare_all(s);
        return r;
}

/* Jobs' settings may hold secrets: the file is the owner's alone, and SQLite gives its log the same
 * mode. */
static int make_private(const char *path)
{
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        return fchmod(fd, 0600) < 0 ? -errno : 0;
}

int store_open(const char *dir, Store **ret, Error *e)
{
        _cleanup_(store_freep) Store *s = g_new0(Store, 1);
        g_autofree char *path =
                dir ? g_build_filename(dir, "state.db", NULL) : g_strdup(":memory:");
        _cleanup_error_ Error cause = {};
        int r;

        s->in_memory = !dir;
        r = dir ? make_private(path) : 0;
        if (r < 0)
                return error_setf(e, r, "cannot use the database %s: %s", path, error_text(r));
        r = note_error(
                s, sqlite3_open_v2(path, &s->db,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                   NULL));
        if (r >= 0)
                r = set_up(s, &cause);
        if (r < 0)
                return error_setf(e, r, "cannot use the database %s: %s", path,
                                  cause.message ? cause.message : store_error(s));
        *ret = TAKE_PTR(s);
        return 0;
}

Store *store_free(Store *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < _STATEMENT_MAX; i++)
                (void) sqlite3_finalize(s->statements[i]);
        (void) sqlite3_close(s->db);
        g_free(s->error);
        g_free(s);
        return NULL;
}

const char *store_error(const Store *s)
{
        return s->error ? s->error : "no error";
}

int store_commit(Store *s, bool durable)
{
        int r = s->failed;

        if (s->in_transaction) {
                s->in_transaction = false;
                if (r < 0 || exec(s, "COMMIT") < 0)
                        (void) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
                r = s->failed;
        }
        /* With synchronous = NORMAL a commit is written but not synced; a checkpoint syncs the log
         * first. */
        if (r >= 0 && durable && !s->in_memory)
                r = note_error(s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                                            NULL, NULL));
        s->failed = 0;
        return r;
}

/* Binds by @format and returns the statement; NULL when that failed. */
static sqlite3_stmt *bind(Store *s, Statement which, const char *format, va_list ap)
{
        sqlite3_stmt *statement;

        if (prepare(s, which) < 0)
                return NULL;
        statement = s->statements[which];
        for (int i = 1; *format; format++, i++) {
                int code;

                if (*format == 'i') {
                        code = sqlite3_bind_int64(statement, i, va_arg(ap, int64_t));
                } else if (*format == 's') {
                        const char *text = va_arg(ap, const char *);

                        code = sqlite3_bind_text(statement, i, text ? text : "", -1,
                                                 SQLITE_TRANSIENT);
                } else {
                        const void *data = va_arg(ap, const void *);
                        size_t size = va_arg(ap, size_t);

                        code = sqlite3_bind_blob64(statement, i, data, size, SQLITE_TRANSIENT);
                }
                if (note_error(s, code) < 0)
                        return NULL;
        }
        return statement;
}

sqlite3 *store_db(Store *s)
{
        return s->db;
}

int store_note(Store *s, int code)
{
        return note_error(s, code);
}

int store_begin(Store *s)
{
        /* After an error SQLite may have undone the transaction: what came now would be one of its
         * own. */
        if (s->failed < 0 || s->in_transaction)
                return s->failed;
        s->in_transaction = exec(s, "BEGIN") >= 0;
        return s->failed;
}

static void write_row(Store *s, Statement which, const char *format, ...)
{
        sqlite3_stmt *statement;
        va_list ap;

        if (store_begin(s) < 0)
                return;
        va_start(ap, format);
        statement = bind(s, which, format, ap);
        va_end(ap);
        if (statement)
                (void) each_row(s, statement, NULL, NULL);
}

static int read_rows(Store *s, RowFn fn, void *userdata, Statement which, const char *format, ...)
{
        sqlite3_stmt *statement;
        va_list ap;

        va_start(ap, format);
        statement = bind(s, which, format, ap);
        va_end(ap);
        return statement ? each_row(s, statement, fn, userdata) : -EIO;
}

#define I(x) ((int64_t) (x))

static void on_meta(sqlite3_stmt *row, void *userdata)
{
        *(char **) userdata = g_strdup((const char *) sqlite3_column_text(row, 0));
}

int store_get_tag(Store *s, char ret[static STORE_TAG_SIZE])
{
        g_autofree char *tag = NULL;
        char fresh[ID128_HEX_SIZE];
        int r;

        r = read_rows(s, on_meta, &tag, GET_META, "s", "tag");
        if (r < 0)
                return r;
        if (!tag) {
                id128_make(fresh);
                tag = g_strndup(fresh, STORE_TAG_SIZE - 1);
                write_row(s, PUT_META, "ss", "tag", tag);
                r = store_commit(s, true);
        }
        (void) g_strlcpy(ret, tag, STORE_TAG_SIZE);
        return r;
}

void store_put_job(Store *s, const StoreJob *j)
{
        write_row(s, PUT_JOB, "ibiiissiiiiiiiiiiiisss", I(j->number), j->description,
                  j->description_size, I(j->uid), I(j->state), I(j->ending), j->reason,
                  j->error_output, I(j->submitted_usec), I(j->started_usec), I(j->finished_usec),
                  I(j->maps), I(j->reduces), I(j->maps_done), I(j->reduces_done),
                  I(j->attempts_failed), I(j->attempts_lost), I(j->outputs_lost), I(j->input_bytes),
                  I(j->output_created), j->counters, j->cause, j->cause_attempt);
}

void store_put_task(Store *s, const StoreTask *t)
{
        write_row(s, PUT_TASK, "iiiiiiiiiissssi", I(t->job), I(t->kind), I(t->task), I(t->started),
                  I(t->failed), I(t->lost), I(t->done), I(t->attempt), I(t->worker),
                  I(t->newest_worker), t->status, t->counters, t->running, t->origin, I(t->why));
}

void store_put_input(Store *s, uint64_t job, uint32_t index, const StoreInput *input)
{
        write_row(s, PUT_INPUT, "iibiiiii", I(job), I(index), input->path, strlen(input->path),
                  I(input->size_bytes), input->mtime_ns, input->ctime_ns, I(input->inode),
                  I(input->device));
}

void store_put_worker(Store *s, const StoreWorker *w)
{
        write_row(s, PUT_WORKER, "isssii", I(w->number), w->id, w->name, w->address, I(w->slots),
                  I(w->drained));
}

void store_remove_worker(Store *s, uint32_t number)
{
        write_row(s, REMOVE_WORKER, "i", I(number));
}

void store_remove_inputs(Store *s, uint64_t job)
{
        write_row(s, REMOVE_INPUTS, "i", I(job));
}

void store_remove_job(Store *s, uint64_t job)
{
        static const Statement all[] = {REMOVE_JOB,        REMOVE_INPUTS,   REMOVE_TASKS,
                                        REMOVE_EVENTS,     REMOVE_ATTEMPTS, REMOVE_TAILS,
                                        REMOVE_ALL_SKIPPED};

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                write_row(s, all[i], "i", I(job));
}

void store_add_event(Store *s, uint64_t job, uint64_t seq, uint64_t realtime_usec, const char *kind,
                     const char *text, uint64_t keep)
{
        write_row(s, PUT_EVENT, "iiiss", I(job), I(seq), I(realtime_usec), kind, text);
        if (seq >= keep)
                write_row(s, TRIM_EVENTS, "ii", I(job), I(seq - keep + 1));
}

void store_start_attempt(Store *s, const StoreAttempt *a, uint32_t keep)
{
        write_row(s, START_ATTEMPT, "iiiiii", I(a->job), I(a->kind), I(a->task), I(a->attempt),
                  I(a->worker), I(a->started_usec));
        if (a->attempt >= keep)
                write_row(s, TRIM_ATTEMPTS, "iiii", I(a->job), I(a->kind), I(a->task),
                          I(a->attempt - keep + 1));
}

void store_end_attempt(Store *s, const StoreAttempt *a)
{
        write_row(s, END_ATTEMPT, "isssiiii", I(a->finished_usec), a->end, a->reason, a->cause,
                  I(a->job), I(a->kind), I(a->task), I(a->attempt));
}

void store_end_attempts(Store *s, uint64_t job, uint64_t finished_usec, const char *end,
                        const char *reason, const char *cause)
{
        write_row(s, END_ATTEMPTS, "isssi", I(finished_usec), end, reason, cause, I(job));
}

void store_add_tail(Store *s, uint64_t job, uint64_t seq, const StoreTail *t, uint64_t keep)
{
        write_row(s, PUT_TAIL, "iiiiiiss", I(job), I(seq), I(t->usec), I(t->kind), I(t->task),
                  I(t->attempt), t->worker_name, t->text);
        if (seq >= keep)
                write_row(s, TRIM_TAILS, "ii", I(job), I(seq - keep + 1));
}

static const char *text_of(sqlite3_stmt *row, int column)
{
        const char *s = (const char *) sqlite3_column_text(row, column);

        return s ? s : "";
}

static uint64_t u64_of(sqlite3_stmt *row, int column)
{
        return (uint64_t) sqlite3_column_int64(row, column);
}

static uint32_t u32_of(sqlite3_stmt *row, int column)
{
        return (uint32_t) sqlite3_column_int64(row, column);
}

typedef struct Reader {
        void (*fn)(void);
        void *userdata;
} Reader;

static void on_job(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreJob job = {
                .number = u64_of(row, 0),
                .description = sqlite3_column_blob(row, 1),
                .description_size = (size_t) sqlite3_column_bytes(row, 1),
                .uid = u32_of(row, 2),
                .state = sqlite3_column_int(row, 3),
                .ending = sqlite3_column_int(row, 4),
                .reason = text_of(row, 5),
                .error_output = text_of(row, 6),
                .submitted_usec = u64_of(row, 7),
                .started_usec = u64_of(row, 8),
                .finished_usec = u64_of(row, 9),
                .maps = u32_of(row, 10),
                .reduces = u32_of(row, 11),
                .maps_done = u32_of(row, 12),
                .reduces_done = u32_of(row, 13),
                .attempts_failed = u32_of(row, 14),
                .attempts_lost = u32_of(row, 15),
                .outputs_lost = u32_of(row, 16),
                .input_bytes = u64_of(row, 17),
                .output_created = sqlite3_column_int(row, 18),
                .counters = text_of(row, 19),
                .cause = text_of(row, 20),
                .cause_attempt = text_of(row, 21),
        };

        ((StoreJobFn) reader->fn)(&job, reader->userdata);
}

int store_each_job(Store *s, StoreJobFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_job, &reader, EACH_JOB, "");
}

static void on_worker(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreWorker worker = {
                .number = u32_of(row, 0),
                .id = text_of(row, 1),
                .name = text_of(row, 2),
                .address = text_of(row, 3),
                .slots = u32_of(row, 4),
                .drained = sqlite3_column_int(row, 5),
        };

        ((StoreWorkerFn) reader->fn)(&worker, reader->userdata);
}

int store_each_worker(Store *s, StoreWorkerFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_worker, &reader, EACH_WORKER, "");
}

static void on_input(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        g_autofree char *path =
                g_strndup(sqlite3_column_blob(row, 0), (gsize) sqlite3_column_bytes(row, 0));

        StoreInput input = {
                .path = path,
                .size_bytes = u64_of(row, 1),
                .mtime_ns = sqlite3_column_int64(row, 2),
                .ctime_ns = sqlite3_column_int64(row, 3),
                .inode = u64_of(row, 4),
                .device = u64_of(row, 5),
        };

        ((StoreInputFn) reader->fn)(&input, reader->userdata);
}

int store_each_input(Store *s, uint64_t job, StoreInputFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_input, &reader, EACH_INPUT, "i", I(job));
}

void store_remove_skipped(Store *s, uint64_t job, uint32_t map)
{
        write_row(s, REMOVE_SKIPPED, "ii", I(job), I(map));
}

void store_put_skipped(Store *s, uint64_t job, uint32_t map, uint32_t seq, const StoreSkipped *r)
{
        write_row(s, PUT_SKIPPED, "iiibiibs", I(job), I(map), I(seq), r->path, strlen(r->path),
                  I(r->offset), I(r->length), r->data, r->data_size, r->error);
}

static void on_skipped(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        g_autofree char *path =
                g_strndup(sqlite3_column_blob(row, 0), (gsize) sqlite3_column_bytes(row, 0));
        StoreSkipped record = {
                .path = path,
                .offset = u64_of(row, 1),
                .length = u64_of(row, 2),
                .data = sqlite3_column_blob(row, 3),
                .data_size = (size_t) sqlite3_column_bytes(row, 3),
                .error = text_of(row, 4),
        };

        ((StoreSkippedFn) reader->fn)(&record, reader->userdata);
}

int store_each_skipped(Store *s, uint64_t job, StoreSkippedFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_skipped, &reader, EACH_SKIPPED, "i", I(job));
}

static void on_event(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;

        ((StoreEventFn) reader->fn)(u64_of(row, 0), u64_of(row, 1), text_of(row, 2),
                                    text_of(row, 3), reader->userdata);
}

int store_each_event(Store *s, uint64_t job, StoreEventFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_event, &reader, EACH_EVENT, "i", I(job));
}

static void on_task(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreTask task = {
                .job = u64_of(row, 0),
                .kind = sqlite3_column_int(row, 1),
                .task = u32_of(row, 2),
                .started = u32_of(row, 3),
                .failed = u32_of(row, 4),
                .lost = u32_of(row, 5),
                .done = sqlite3_column_int(row, 6),
                .attempt = u32_of(row, 7),
                .worker = u32_of(row, 8),
                .newest_worker = u32_of(row, 9),
                .status = text_of(row, 10),
                .counters = text_of(row, 11),
                .running = text_of(row, 12),
                .origin = text_of(row, 13),
                .why = sqlite3_column_int(row, 14),
                .worker_name = text_of(row, 15),
        };

        ((StoreTaskFn) reader->fn)(&task, reader->userdata);
}

int store_each_task(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                    StoreTaskFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_task, &reader, EACH_TASK, "iiii", I(job), I(kind), I(first),
                         I(first) + I(count));
}

static void on_attempt(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreAttempt attempt = {
                .job = u64_of(row, 0),
                .kind = sqlite3_column_int(row, 1),
                .task = u32_of(row, 2),
                .attempt = u32_of(row, 3),
                .worker = u32_of(row, 4),
                .started_usec = u64_of(row, 5),
                .finished_usec = u64_of(row, 6),
                .end = text_of(row, 7),
                .reason = text_of(row, 8),
                .cause = text_of(row, 9),
                .worker_name = text_of(row, 10),
        };

        ((StoreAttemptFn) reader->fn)(&attempt, reader->userdata);
}

int store_each_attempt(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                       StoreAttemptFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_attempt, &reader, EACH_ATTEMPT, "iiii", I(job), I(kind), I(first),
                         I(first) + I(count));
}

int store_each_failed_attempt(Store *s, uint64_t job, uint32_t max, StoreAttemptFn fn,
                              void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_attempt, &reader, EACH_FAILED_ATTEMPT, "ii", I(job), I(max));
}

static void on_tail(sqlite3_stmt *row, void *userdata)
{
        const Reader *reader = userdata;
        StoreTail tail = {
                .usec = u64_of(row, 2),
                .kind = sqlite3_column_int(row, 3),
                .task = u32_of(row, 4),
                .attempt = u32_of(row, 5),
                .worker_name = text_of(row, 6),
                .text = text_of(row, 7),
        };

        ((StoreTailFn) reader->fn)(u64_of(row, 1), &tail, reader->userdata);
}

int store_each_tail(Store *s, uint64_t job, StoreTailFn fn, void *userdata)
{
        Reader reader = {.fn = (void (*)(void)) fn, .userdata = userdata};

        return read_rows(s, on_tail, &reader, EACH_TAIL, "i", I(job));
}

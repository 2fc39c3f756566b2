/*
 * A store that keeps nothing — of the master of one job, which dies with it.
 *
 * `mrctl --local` asks for no history, and no master comes after that would go on from here; so
 * what is written goes nowhere, and what is read at a start was never there. That spares a job of a
 * few milliseconds the loading of SQLite, a schema and some dozens of statements, which were a
 * third of the master's start. The interface is master-store.h, chosen where the daemon is linked.
 *
 * What the running master reads again is held in memory: the records that mappers were excused
 * from.
 */
#include "base/text.h"
#include "mr-masterd/master-store-keys.h"

typedef struct Skipped {
        uint64_t job;
        uint32_t map;
        StoreSkipped record;
} Skipped;

struct Store {
        GPtrArray *skipped; /* of Skipped: by map, in the order of their numbers in it */
};

static void skipped_free(gpointer data)
{
        Skipped *k = data;

        g_free((char *) k->record.path);
        g_free((void *) k->record.data);
        g_free((char *) k->record.error);
        g_free(k);
}

int store_open(const char *dir, Store **ret, Error *e)
{
        Store *s;

        if (dir)
                return error_setf(e, EOPNOTSUPP,
                                  "this mr-masterd serves one job and keeps no state: it needs "
                                  "--ephemeral");
        s = g_new(Store, 1);
        s->skipped = g_ptr_array_new_with_free_func(skipped_free);
        *ret = s;
        return 0;
}

Store *store_free(Store *s)
{
        if (!s)
                return NULL;
        g_ptr_array_unref(s->skipped);
        g_free(s);
        return NULL;
}

int store_commit(Store *s, bool durable)
{
        return 0;
}

const char *store_error(const Store *s)
{
        return "no error";
}

int store_get_tag(Store *s, char ret[static STORE_TAG_SIZE])
{
        char fresh[ID128_HEX_SIZE];

        id128_make(fresh);
        (void) g_strlcpy(ret, fresh, STORE_TAG_SIZE);
        return 0;
}

/* ---- Records that were skipped
 * ------------------------------------------------------------------ */

void store_remove_skipped(Store *s, uint64_t job, uint32_t map)
{
        for (guint i = s->skipped->len; i-- > 0;) {
                const Skipped *k = s->skipped->pdata[i];

                if (k->job == job && k->map == map)
                        g_ptr_array_remove_index(s->skipped, i);
        }
}

void store_put_skipped(Store *s, uint64_t job, uint32_t map, uint32_t seq, const StoreSkipped *r)
{
        Skipped *k = g_new(Skipped, 1);
        guint at = s->skipped->len;

        *k = (Skipped){.job = job, .map = map, .record = *r};
        k->record.path = g_strdup(r->path);
        k->record.data = g_memdup2(r->data, r->data_size);
        k->record.error = g_strdup(r->error);
        while (at > 0 && ((const Skipped *) s->skipped->pdata[at - 1])->map > map)
                at--;
        g_ptr_array_insert(s->skipped, (gint) at, k);
}

int store_each_skipped(Store *s, uint64_t job, StoreSkippedFn fn, void *userdata)
{
        for (guint i = 0; i < s->skipped->len; i++) {
                const Skipped *k = s->skipped->pdata[i];

                if (k->job == job)
                        fn(&k->record, userdata);
        }
        return 0;
}

/* ---- What goes nowhere
 * -------------------------------------------------------------------------- */

void store_put_job(Store *s, const StoreJob *job)
{
}

void store_put_task(Store *s, const StoreTask *task)
{
}

void store_put_input(Store *s, uint64_t job, uint32_t index, const StoreInput *input)
{
}

void store_put_worker(Store *s, const StoreWorker *worker)
{
}

void store_remove_worker(Store *s, uint32_t number)
{
}

void store_remove_inputs(Store *s, uint64_t job)
{
}

void store_remove_job(Store *s, uint64_t job)
{
}

void store_add_event(Store *s, uint64_t job, uint64_t seq, uint64_t realtime_usec, const char *kind,
                     const char *text, uint64_t keep)
{
}

void store_start_attempt(Store *s, const StoreAttempt *attempt, uint32_t keep)
{
}

void store_end_attempt(Store *s, const StoreAttempt *attempt)
{
}

void store_end_attempts(Store *s, uint64_t job, uint64_t finished_usec, const char *end,
                        const char *reason, const char *cause)
{
}

void store_add_tail(Store *s, uint64_t job, uint64_t seq, const StoreTail *tail, uint64_t keep)
{
}

void store_put_certificate(Store *s, const StoreCertificate *c)
{
}

void store_revoke_certificate(Store *s, const char *serial, int64_t revoked_sec)
{
}

void store_trim_certificates(Store *s, int64_t before_sec)
{
}

void store_put_token(Store *s, const StoreToken *t)
{
}

void store_remove_token(Store *s, const char *id)
{
}

void store_trim_tokens(Store *s, int64_t now_sec)
{
}

void store_put_number(Store *s, const char *name, uint64_t value)
{
}

void store_put_seen(Store *s, uint64_t job, const void *maps, size_t size)
{
}

void store_trim_seen(Store *s, uint64_t before_job)
{
}

int store_save_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     uint64_t acknowledged, const void *record, size_t size)
{
        return 0;
}

/* ---- What was never there
 * ----------------------------------------------------------------------- */

int store_each_job(Store *s, StoreJobFn fn, void *userdata)
{
        return 0;
}

int store_each_worker(Store *s, StoreWorkerFn fn, void *userdata)
{
        return 0;
}

int store_each_input(Store *s, uint64_t job, StoreInputFn fn, void *userdata)
{
        return 0;
}

int store_each_event(Store *s, uint64_t job, StoreEventFn fn, void *userdata)
{
        return 0;
}

int store_each_task(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                    StoreTaskFn fn, void *userdata)
{
        return 0;
}

int store_each_attempt(Store *s, uint64_t job, int kind, uint32_t first, uint32_t count,
                       StoreAttemptFn fn, void *userdata)
{
        return 0;
}

int store_each_failed_attempt(Store *s, uint64_t job, uint32_t max, StoreAttemptFn fn,
                              void *userdata)
{
        return 0;
}

int store_each_tail(Store *s, uint64_t job, StoreTailFn fn, void *userdata)
{
        return 0;
}

int store_each_certificate(Store *s, StoreCertificateFn fn, void *userdata)
{
        return 0;
}

int store_each_token(Store *s, StoreTokenFn fn, void *userdata)
{
        return 0;
}

uint64_t store_get_number(Store *s, const char *name)
{
        return 0;
}

int store_each_seen(Store *s, StoreSeenFn fn, void *userdata)
{
        return 0;
}

/* Never a second time: a call of a master that was there before may have been run by it. */
int store_load_reply(Store *s, const char *principal, const char *client, uint64_t seq,
                     void **ret_record, size_t *ret_size)
{
        return -ESTALE;
}

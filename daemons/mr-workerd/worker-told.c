/*
 * Told results — see worker-told.h. In the order in which they were told; a table finds one by its
 * attempt.
 */
#include "mr-workerd/worker-told.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct Entry {
        Mapreduced__V1__RunningAttempt attempt; /* the key, too; its job_id is ours */
        bool asked;
        size_t size;
        uint8_t *packed;
        GList link; /* in the queue */
} Entry;

struct Told {
        GHashTable *by_attempt; /* RunningAttempt * -> Entry * */
        GQueue oldest_first;
        size_t bytes;
};

Mapreduced__V1__RunningAttempt *running_attempt_new(const char *job_id,
                                                    Mapreduced__V1__TaskKind kind, uint32_t task,
                                                    uint32_t attempt)
{
        Mapreduced__V1__RunningAttempt *a = malloc(sizeof(*a)); /* protobuf-c frees it */
        char *id = strdup(job_id);

        if (!a || !id)
                g_error("Out of memory"); /* as GLib itself would */
        mapreduced__v1__running_attempt__init(a);
        a->job_id = id;
        a->kind = kind;
        a->task = task;
        a->attempt = attempt;
        return a;
}

static void running_attempt_free(gpointer p)
{
        mapreduced__v1__running_attempt__free_unpacked(p, NULL);
}

GPtrArray *running_attempts_new(void)
{
        return g_ptr_array_new_with_free_func(running_attempt_free);
}

static guint attempt_hash(gconstpointer p)
{
        const Mapreduced__V1__RunningAttempt *a = p;

        return g_str_hash(a->job_id) ^ (guint) a->kind ^ (a->task << 4) ^ (a->attempt << 2);
}

gboolean running_attempt_equal(gconstpointer p, gconstpointer q)
{
        const Mapreduced__V1__RunningAttempt *a = p, *b = q;

        return a->kind == b->kind && a->task == b->task && a->attempt == b->attempt &&
               g_str_equal(a->job_id, b->job_id);
}

Mapreduced__V1__RunningAttempt running_attempt_of(const Mapreduced__V1__TaskSpec *spec)
{
        Mapreduced__V1__RunningAttempt a = MAPREDUCED__V1__RUNNING_ATTEMPT__INIT;

        a.job_id = spec->job_id;
        a.kind = spec->kind;
        a.task = spec->task;
        a.attempt = spec->attempt;
        return a;
}

static void drop(Told *t, Entry *e)
{
        (void) g_hash_table_remove(t->by_attempt, &e->attempt);
        g_queue_unlink(&t->oldest_first, &e->link);
        t->bytes -= e->size;
        g_free(e->attempt.job_id);
        g_free(e->packed);
        g_free(e);
}

Told *told_new(void)
{
        Told *t = g_new0(Told, 1);

        t->by_attempt = g_hash_table_new(attempt_hash, running_attempt_equal);
        g_queue_init(&t->oldest_first);
        return t;
}

Told *told_free(Told *t)
{
        if (!t)
                return NULL;
        while (t->oldest_first.head)
                drop(t, t->oldest_first.head->data);
        g_hash_table_unref(t->by_attempt);
        g_free(t);
        return NULL;
}

void told_add(Told *t, const Mapreduced__V1__TaskSpec *spec,
              const Mapreduced__V1__TaskResult *result)
{
        size_t size = mapreduced__v1__task_result__get_packed_size(result);
        Entry *e;

        told_forget(t, spec);
        if (size > TOLD_BYTES_MAX)
                return;
        while (t->oldest_first.head &&
               (t->oldest_first.length >= TOLD_MAX || t->bytes + size > TOLD_BYTES_MAX))
                drop(t, t->oldest_first.head->data);
        e = g_new0(Entry, 1);
        e->attempt = running_attempt_of(spec);
        e->attempt.job_id = g_strdup(spec->job_id);
        e->size = size;
        e->packed = g_malloc(MAX(size, 1));
        mapreduced__v1__task_result__pack(result, e->packed);
        e->link.data = e;
        t->bytes += size;
        g_queue_push_tail_link(&t->oldest_first, &e->link);
        g_hash_table_insert(t->by_attempt, &e->attempt, e);
}

static Entry *find(const Told *t, const Mapreduced__V1__TaskSpec *spec)
{
        Mapreduced__V1__RunningAttempt a = running_attempt_of(spec);

        return g_hash_table_lookup(t->by_attempt, &a);
}

Mapreduced__V1__TaskResult *told_find(const Told *t, const Mapreduced__V1__TaskSpec *spec)
{
        const Entry *e = find(t, spec);

        return e ? mapreduced__v1__task_result__unpack(NULL, e->size, e->packed) : NULL;
}

void told_forget(Told *t, const Mapreduced__V1__TaskSpec *spec)
{
        Entry *e = find(t, spec);

        if (e)
                drop(t, e);
}

void told_forget_job(Told *t, const char *job_id)
{
        GList *next;

        for (GList *l = t->oldest_first.head; l; l = next) {
                Entry *e = l->data;

                next = l->next;
                if (g_str_equal(e->attempt.job_id, job_id))
                        drop(t, e);
        }
}

void told_ask(Told *t, GPtrArray *list)
{
        for (GList *l = t->oldest_first.head; l; l = l->next) {
                Entry *e = l->data;

                e->asked = true;
                g_ptr_array_add(list, running_attempt_new(e->attempt.job_id, e->attempt.kind,
                                                          e->attempt.task, e->attempt.attempt));
        }
}

void told_answer(Told *t, Mapreduced__V1__RunningAttempt *const *wanted, size_t count)
{
        g_autoptr(GHashTable) keep = g_hash_table_new(attempt_hash, running_attempt_equal);
        GList *next;

        for (size_t i = 0; i < count; i++)
                (void) g_hash_table_add(keep, wanted[i]);
        for (GList *l = t->oldest_first.head; l; l = next) {
                Entry *e = l->data;

                next = l->next;
                if (e->asked && !g_hash_table_contains(keep, &e->attempt))
                        drop(t, e);
                else
                        e->asked = false;
        }
}

size_t told_count(const Told *t)
{
        return t->oldest_first.length;
}

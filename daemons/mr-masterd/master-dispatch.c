/*
 * Dispatch — attempts on their way: started on workers, listened to, and ended.
 *
 * An attempt is one RunTask call. Its updates are progress and, at the end, a result; the end of
 * the call without a result is the news that the attempt is lost. A call whose attempt was ended by
 * us (its job is over, its worker lost its lease, another attempt won) is detached: what still
 * comes on it is not listened to.
 *
 * How an attempt goes on over another call is told in master-resume.c.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "base/text.h"
#include "jobs/sort-fields.h"
#include "mr-masterd/master-attempt.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"
#include "platform/log.h"
#include "records/key-order.h"

#define ORIGIN_MAX_BYTES 600U

const char *attempt_kind_name(TaskKind kind)
{
        return kind == TASK_MAP ? "map" : "reduce";
}

/* One without a call is freed, for nobody will call back. */
static void attempt_detach(AttemptCall *c)
{
        if (!c->job)
                return;
        if (c->other)
                c->other->other = NULL;
        c->other = NULL;
        g_hash_table_remove(c->job->calls, c);
        c->job = NULL;
        c->output_fd = safe_close(c->output_fd);
        if (!c->call)
                g_free(c);
}

/* The one call of two that counts from now on. */
static void drop_other(AttemptCall *c)
{
        if (c->other)
                attempt_detach(c->other);
}

/* ---- Ends ---- */

/* The bookkeeping of every end without a commit. Returns what scheduler_end() does. */
static int end_attempt(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt, AttemptEnd end,
                       const char *why, const char *cause)
{
        Manager *m = j->manager;
        int r;

        r = scheduler_end(m->scheduler, j->table, kind, task, attempt, end, manager_now(m));
        if (r < 0)
                return r;
        job_attempt_ended(j, kind, task, attempt, end, why, cause);
        if (why)
                task_table_set_status(j->table, kind, task, why);
        job_rerun_lost(j);
        job_save_task(j, kind, task);
        job_changed(j, CHANGED_NUMBERS);
        return r;
}

static void kill_call(AttemptCall *c)
{
        EvgrpcCall *call = c->call;
        MasterJob *j = c->job;

        (void) end_attempt(j, c->kind, c->task, c->attempt, ATTEMPT_KILLED, NULL, NULL);
        attempt_detach(c);
        if (call)
                evgrpc_call_cancel(call);
}

void job_kill_attempts(MasterJob *j)
{
        g_autofree gpointer *calls = g_hash_table_get_keys_as_array(j->calls, NULL);

        for (guint i = 0; calls[i]; i++)
                kill_call(calls[i]);
}

void job_leave_attempts(MasterJob *j)
{
        g_autofree gpointer *calls = g_hash_table_get_keys_as_array(j->calls, NULL);

        for (guint i = 0; calls[i]; i++)
                attempt_detach(calls[i]);
}

void job_kill_losers(MasterJob *j, TaskKind kind, uint32_t task)
{
        const Task *t = task_table_get(j->table, kind, task);
        g_autofree gpointer *calls = NULL;

        if (t->running_count == 0)
                return; /* as nearly always: a job may have thousands of calls to look through */
        calls = g_hash_table_get_keys_as_array(j->calls, NULL);
        for (guint i = 0; calls[i]; i++) {
                AttemptCall *c = calls[i];

                if (c->kind != kind || c->task != task || c->attempt == t->done_attempt)
                        continue;
                job_event(j, "attempt-overtaken",
                          "attempt %u of %s %u on %s was overtaken by attempt %u on %s, and is "
                          "stopped",
                          c->attempt, attempt_kind_name(kind), task,
                          manager_worker_name(j->manager, c->worker), t->done_attempt,
                          manager_worker_name(j->manager, t->done_worker));
                kill_call(c);
        }
}

void attempt_lose(AttemptCall *c, const char *why, const char *cause)
{
        MasterJob *j = c->job;
        const char *name = manager_worker_name(j->manager, c->worker);

        drop_other(c);
        job_event(j, "attempt-lost", "attempt %u of %s %u on %s is lost: %s", c->attempt,
                  attempt_kind_name(c->kind), c->task, name, why);
        (void) end_attempt(j, c->kind, c->task, c->attempt, ATTEMPT_LOST, why, cause);
        attempt_detach(c);
}

void worker_each_call(const MasterWorker *w, AttemptCallFn fn, void *userdata)
{
        Manager *m = w->manager;

        for (guint i = 0; i < m->by_age->len; i++) {
                MasterJob *j = m->by_age->pdata[i];
                g_autofree gpointer *calls = g_hash_table_get_keys_as_array(j->calls, NULL);

                for (guint k = 0; calls[k]; k++) {
                        AttemptCall *c = calls[k];

                        if (c->job && c->worker == w->number)
                                fn(c, userdata);
                }
        }
}

typedef struct Loss {
        const char *why, *cause;
} Loss;

static void lose_call(AttemptCall *c, void *userdata)
{
        const Loss *loss = userdata;

        attempt_lose(c, loss->why, loss->cause);
}

void worker_lose_attempts(MasterWorker *w, const char *why, const char *cause)
{
        worker_each_call(w, lose_call, &(Loss){.why = why, .cause = cause});
}

/* The sentence is the worker's, which knows the input and the offset. */
static void fail_attempt(MasterJob *j, const FinishedAttempt *f, const char *error,
                         const char *cause, const char *stderr_tail, bool permanent)
{
        const char *why = *error ? error : "failed, and its worker did not say why";
        const Task *task = task_table_get(j->table, f->kind, f->task);
        g_autofree char *reason = NULL;
        int r;

        job_event(j, "attempt-failed", "attempt %u of %s %u on %s failed: %s", f->attempt,
                  attempt_kind_name(f->kind), f->task, manager_worker_name(j->manager, f->worker),
                  why);
        job_keep_tail(j, f, stderr_tail);
        worker_set_trouble(manager_worker(j->manager, f->worker), why);
        r = end_attempt(j, f->kind, f->task, f->attempt, ATTEMPT_FAILED, why, cause);
        if (r < 0 || (r == 0 && !permanent))
                return;
        if (task->failed > 1)
                reason = g_strdup_printf("%s (attempt %u, on %s, the last of %u that failed)", why,
                                         f->attempt, manager_worker_name(j->manager, f->worker),
                                         task->failed);
        job_end(j, JOB_FAILED, reason ? reason : why, cause, f, stderr_tail);
}

/* ---- Results ---- */

/* It was reused, or there is one more that later jobs may. */
static void note_lineage(MasterJob *j, FinishedAttempt *f, const Mapreduced__V1__TaskResult *result)
{
        const char *key = job_lineage_key(j->lineage, f->task);

        g_clear_pointer(&j->origins[f->task], g_free);
        if (*result->reused_from) {
                j->origins[f->task] = g_strndup(result->reused_from, ORIGIN_MAX_BYTES);
                f->counters = counter_set_add(f->counters, "maps_reused", 1);
                return;
        }
        if (!key || result->n_skipped > 0)
                return;
        if (f->attempt == 0 && lineage_is_held(j->manager->lineage, key, f->worker))
                job_lineage_set_why(j->lineage, f->task, WHY_NOT_THERE);
        lineage_made(j->manager->lineage, key, f->worker);
        worker_keep_cached(manager_worker(j->manager, f->worker), key);
}

static void commit_map(MasterJob *j, FinishedAttempt *f, const Mapreduced__V1__TaskResult *result)
{
        Manager *m = j->manager;

        if (scheduler_commit(m->scheduler, j->table, TASK_MAP, f->task, f->attempt,
                             manager_now(m)) < 0) {
                /* Another one was first. */
                (void) end_attempt(j, TASK_MAP, f->task, f->attempt, ATTEMPT_KILLED, NULL, NULL);
                return;
        }
        job_attempt_committed(j, TASK_MAP, f->task, f->attempt);
        note_lineage(j, f, result);
        job_set_task_counters(j, TASK_MAP, f->task, TAKE_PTR(f->counters));
        job_save_skipped(j, f->task, result);
        job_save_task(j, TASK_MAP, f->task);
        job_kill_losers(j, TASK_MAP, f->task);
        job_tell_watchers(j, f->task);
        job_changed(j, CHANGED_NUMBERS);
}

static void reject_attempt(MasterJob *j, const FinishedAttempt *f, const char *error,
                           const char *cause)
{
        Manager *m = j->manager;

        job_event(j, "attempt-rejected", "%s did not take %s %u: %s",
                  manager_worker_name(m, f->worker), attempt_kind_name(f->kind), f->task,
                  *error ? error : "no reason given");
        worker_set_trouble(manager_worker(m, f->worker), error);
        (void) end_attempt(j, f->kind, f->task, f->attempt, ATTEMPT_REJECTED, error, cause);
        scheduler_back_off(m->scheduler, f->worker, manager_now(m));
}

static CounterSet *counters_of(const Mapreduced__V1__TaskResult *result)
{
        CounterSet *set = NULL;

        for (size_t i = 0; i < result->n_counters; i++)
                set = counter_set_add(set, result->counters[i]->name, result->counters[i]->value);
        return set;
}

/* A streamed result must be whole: as long as its worker says, and written without error. */
static const char *streamed_output_fault(AttemptCall *c, uint64_t expected_bytes)
{
        if (c->kind != job_part_kind(c->job) || !c->job->streamed)
                return NULL;
        if (c->output_error < 0)
                return error_text(c->output_error);
        return c->output_bytes == expected_bytes ? NULL : "it is not as long as its worker says";
}

static void on_success(AttemptCall *c, FinishedAttempt *f, const Mapreduced__V1__TaskResult *result)
{
        const char *fault = streamed_output_fault(c, result->output_bytes);
        int output_error = c->output_error;
        MasterJob *j = c->job;

        if (fault) {
                g_autofree char *why = NULL;

                why = g_strdup_printf("%s %u: its result could not be kept in %s: %s",
                                      attempt_kind_name(f->kind), f->task, j->output_dir, fault);
                attempt_detach(c);
                fail_attempt(j, f, why, cause_of_errno(output_error), "", false);
                return;
        }
        attempt_detach(c);
        job_keep_tail(j, f, result->stderr_tail);
        f->counters = counters_of(result);
        if (f->kind == job_part_kind(j))
                job_commit_part(j, f, result);
        else
                commit_map(j, f, result);
}

/* The call is of no interest any more: its status follows and says nothing new. */
static void on_result(AttemptCall *c, const Mapreduced__V1__TaskResult *result)
{
        FinishedAttempt f = {
                .kind = c->kind, .task = c->task, .attempt = c->attempt, .worker = c->worker};
        MasterJob *j = c->job;

        drop_other(c);
        switch (result->outcome) {
        case MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED:
                on_success(c, &f, result);
                break;
        case MAPREDUCED__V1__TASK_OUTCOME__KILLED:
                attempt_detach(c);
                (void) end_attempt(j, f.kind, f.task, f.attempt, ATTEMPT_KILLED, result->error,
                                   result->cause);
                break;
        case MAPREDUCED__V1__TASK_OUTCOME__REJECTED:
                attempt_detach(c);
                reject_attempt(j, &f, result->error, result->cause);
                break;
        default: /* FAILED, and what a newer worker may say: nothing that we can use */
                attempt_detach(c);
                fail_attempt(j, &f, result->error, result->cause, result->stderr_tail,
                             result->permanent);
        }
        counter_set_free(f.counters);
}

/* Where a newer worker says something that we do not know, the attempt stays @now. */
static AttemptPhase phase_of(Mapreduced__V1__TaskPhase phase, AttemptPhase now)
{
        switch (phase) {
        case MAPREDUCED__V1__TASK_PHASE__SHUFFLE:
                return ATTEMPT_STARTED;
        case MAPREDUCED__V1__TASK_PHASE__WAITING:
                return ATTEMPT_WAITING;
        case MAPREDUCED__V1__TASK_PHASE__RUNNING:
                return ATTEMPT_RUNNING;
        default:
                return now;
        }
}

static void on_progress(AttemptCall *c, const Mapreduced__V1__TaskProgress *progress)
{
        MasterJob *j = c->job;
        const Attempt *a = task_table_attempt(j->table, c->kind, c->task, c->attempt);

        if (!a)
                return;
        (void) scheduler_progress(j->manager->scheduler, j->table, c->kind, c->task, c->attempt,
                                  phase_of(progress->phase, a->phase), progress->fraction,
                                  manager_now(j->manager));
        if (a->phase == ATTEMPT_STARTED)
                job_rerun_lost(j);
        if (*progress->status)
                task_table_set_status(j->table, c->kind, c->task, progress->status);
        job_changed(j, CHANGED_NUMBERS);
}

static int open_streamed_output(AttemptCall *c)
{
        g_autofree char *dir = job_attempt_dir(c->job, c->kind, c->task, c->attempt, c->worker);
        g_autofree char *name = g_strdup_printf(OUTPUT_PART_FORMAT, c->task, "");
        g_autofree char *path = g_build_filename(dir, name, NULL);
        int r;

        r = mkdir_parents(dir, 0700);
        if (r < 0)
                return r;
        c->output_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        return c->output_fd < 0 ? -errno : 0;
}

static void on_output(AttemptCall *c, const ProtobufCBinaryData *data)
{
        if (c->kind != job_part_kind(c->job) || !c->job->streamed || c->output_error < 0)
                return;
        c->output_error = write_full(c->output_fd, data->data, data->len);
        c->output_bytes += data->len;
}

/* The worker has taken this call up: what it streamed over the other one comes again from the
 * beginning. */
static void begin_anew(AttemptCall *c)
{
        drop_other(c);
        c->newer = false;
        if (c->kind == job_part_kind(c->job) && c->job->streamed)
                c->output_error = open_streamed_output(c);
        if (c->left)
                attempt_move(c);
}

static void on_update(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__TaskUpdate *update = (const Mapreduced__V1__TaskUpdate *) message;
        AttemptCall *c = userdata;

        if (!c->job)
                return;
        if (c->newer)
                begin_anew(c);
        switch (update->kind_case) {
        case MAPREDUCED__V1__TASK_UPDATE__KIND_PROGRESS:
                on_progress(c, update->progress);
                break;
        case MAPREDUCED__V1__TASK_UPDATE__KIND_OUTPUT:
                on_output(c, &update->output);
                break;
        case MAPREDUCED__V1__TASK_UPDATE__KIND_RESULT:
                on_result(c, update->result);
                break;
        default:
                break;
        }
}

/* An answer that will be the same each time (a worker of another version, a task too large for its
 * limits): it counts as a failure, or the job would go round for ever. */
static bool is_refusal(EvgrpcCode code)
{
        return code == EVGRPC_INVALID_ARGUMENT || code == EVGRPC_UNIMPLEMENTED ||
               code == EVGRPC_OUT_OF_RANGE || code == EVGRPC_RESOURCE_EXHAUSTED ||
               code == EVGRPC_PERMISSION_DENIED || code == EVGRPC_UNAUTHENTICATED;
}

static void on_call_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
        AttemptCall *c = userdata;

        if (c->other)
                attempt_detach(c); /* the other one goes on */
        if (c->job) {
                FinishedAttempt f = {.kind = c->kind,
                                     .task = c->task,
                                     .attempt = c->attempt,
                                     .worker = c->worker};
                MasterJob *j = c->job;
                Manager *m = j->manager;
                g_autofree char *why = NULL;

                why = g_strdup_printf("its worker's call ended with %s%s%s",
                                      evgrpc_code_to_string(status->code),
                                      *status->message ? ": " : "", status->message);
                scheduler_back_off(m->scheduler, c->worker, manager_now(m));
                if (is_refusal(status->code)) {
                        attempt_detach(c);
                        fail_attempt(j, &f, why, CAUSE_WORKER_UNREACHABLE, "", false);
                } else {
                        attempt_lose(c, why, CAUSE_WORKER_UNREACHABLE);
                }
        }
        evgrpc_call_unref(c->call);
        g_free(c);
}

/* ---- Starts ---- */

static Mapreduced__V1__JobFile *file_message(const JobShippedFile *f)
{
        Mapreduced__V1__JobFile *m = g_new(Mapreduced__V1__JobFile, 1);

        *m = (Mapreduced__V1__JobFile) MAPREDUCED__V1__JOB_FILE__INIT;
        m->name = f->name;
        m->size_bytes = f->size_bytes;
        m->executable = f->executable;
        return m;
}

typedef struct Spec {
        Mapreduced__V1__TaskSpec spec;
        Mapreduced__V1__Program program;
        Mapreduced__V1__Piece *pieces;
        Mapreduced__V1__Piece **piece_pointers;
        GPtrArray *files; /* Mapreduced__V1__JobFile * */
        ProtobufCBinaryData *bounds;
        Mapreduced__V1__SortField sort_fields[SORT_FIELDS_MAX];
        Mapreduced__V1__SortField *sort_field_pointers[SORT_FIELDS_MAX];
        uint8_t map_separator[JOB_SEPARATOR_MAX_BYTES], reduce_separator[JOB_SEPARATOR_MAX_BYTES];
        char *output_dir, *part_name, *lineage;
} Spec;

static void spec_done(Spec *s)
{
        g_free(s->pieces);
        g_free(s->piece_pointers);
        g_ptr_array_unref(s->files);
        g_free(s->bounds);
        g_free(s->output_dir);
        g_free(s->part_name);
        g_free(s->lineage);
}

_Static_assert(SORT_FIELDS_MAX == KEY_ORDER_FIELDS_MAX,
               "a list that is taken is one that tasks can use");

/* A sealed description's is well formed. */
static ProtobufCBinaryData separator(const char *text, uint8_t buffer[JOB_SEPARATOR_MAX_BYTES])
{
        ProtobufCBinaryData b = {.data = buffer};

        (void) text_unescape(text, buffer, JOB_SEPARATOR_MAX_BYTES, &b.len);
        return b;
}

static void fill_sort_fields(Spec *s, const JobDesc *d)
{
        SortField fields[SORT_FIELDS_MAX];
        int n = sort_fields_parse(d->sort_key_fields, UINT32_MAX, fields, NULL);

        assert(n >= 0); /* it was read when the job came, and when it was restored */

        for (int i = 0; i < n; i++) {
                Mapreduced__V1__SortField *to = &s->sort_fields[i];

                *to = (Mapreduced__V1__SortField) MAPREDUCED__V1__SORT_FIELD__INIT;
                to->number = fields[i].number;
                to->numeric = fields[i].numeric;
                to->reverse = fields[i].reverse;
                s->sort_field_pointers[i] = to;
        }
        s->program.n_sort_fields = (size_t) n;
        s->program.sort_fields = s->sort_field_pointers;
}

static void fill_program(Spec *s, const JobDesc *d)
{
        s->program = (Mapreduced__V1__Program) MAPREDUCED__V1__PROGRAM__INIT;
        s->program.app = d->app;
        s->program.mapper = d->mapper;
        s->program.combiner = d->combiner;
        s->program.reducer = d->reducer;
        s->program.reducer_app = d->reducer_app;
        s->program.n_args = d->args->len;
        s->program.args = (char **) d->args->pdata;
        s->program.n_env = d->env->len;
        s->program.env = (char **) d->env->pdata;
        s->files = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < d->files->len; i++)
                g_ptr_array_add(s->files, file_message(d->files->pdata[i]));
        s->program.n_files = s->files->len;
        s->program.files = (Mapreduced__V1__JobFile **) s->files->pdata;
        s->bounds = g_new(ProtobufCBinaryData, d->bounds->len);
        for (guint i = 0; i < d->bounds->len; i++)
                s->bounds[i].data =
                        (uint8_t *) g_bytes_get_data(d->bounds->pdata[i], &s->bounds[i].len);
        s->program.n_archives = d->archives->len;
        s->program.archives = (char **) d->archives->pdata;
        s->program.intermediate_compression = d->intermediate_compression;
        s->program.output_compression = d->output_compression;
        s->program.whole_files = g_str_equal(d->input_format, "whole");
        s->program.map_separator = separator(d->map_separator, s->map_separator);
        s->program.reduce_separator = separator(d->reduce_separator, s->reduce_separator);
        s->program.map_key_fields = d->map_key_fields;
        s->program.partition_key_fields = d->partition_key_fields;
        fill_sort_fields(s, d);
        s->program.ignore_exit_status = d->ignore_exit_status;
        s->program.n_bounds = d->bounds->len;
        s->program.bounds = s->bounds;
}

static void fill_pieces(Spec *s, const MasterJob *j, uint32_t map)
{
        const Split *split = &j->splits->splits[map];

        s->pieces = g_new(Mapreduced__V1__Piece, split->count);
        s->piece_pointers = g_new(Mapreduced__V1__Piece *, split->count);
        for (size_t i = 0; i < split->count; i++) {
                const SplitPiece *from = &j->splits->pieces[split->first + i];
                const PlanFile *file = &g_array_index(j->files->files, PlanFile, from->file);
                Mapreduced__V1__Piece *to = &s->pieces[i];

                *to = (Mapreduced__V1__Piece) MAPREDUCED__V1__PIECE__INIT;
                to->path = file->path;
                to->offset = from->offset;
                to->length = from->length;
                to->file_size = file->size_bytes;
                to->mtime_ns = file->mtime_ns;
                s->piece_pointers[i] = to;
        }
        s->spec.n_pieces = split->count;
        s->spec.pieces = s->piece_pointers;
}

/* An output that was found bad is not taken again: later attempts are run. */
static void fill_lineage(Spec *s, const MasterJob *j, const Assignment *a)
{
        s->lineage = g_strdup(job_lineage_key(j->lineage, a->task));
        if (!s->lineage)
                return;
        s->spec.lineage = s->lineage;
        s->spec.reuse = a->attempt == 0;
}

static void spec_init(Spec *s, MasterJob *j, const Assignment *a)
{
        *s = (Spec){.spec = MAPREDUCED__V1__TASK_SPEC__INIT};
        fill_program(s, j->desc);
        s->spec.job_id = j->wire_id;
        s->spec.job_name = j->desc->name;
        s->spec.kind = a->kind == TASK_MAP ? MAPREDUCED__V1__TASK_KIND__MAP
                                           : MAPREDUCED__V1__TASK_KIND__REDUCE;
        s->spec.task = a->task;
        s->spec.attempt = a->attempt;
        s->spec.program = &s->program;
        s->spec.partitions = j->reduces;
        s->spec.maps = j->maps;
        if (j->stable_dir && j->reduces > 0)
                s->spec.intermediate_dir = j->stable_dir;
        s->spec.timeout_usec = j->desc->task_timeout_sec * USEC_PER_SEC;
        s->spec.memory_limit_bytes = j->desc->memory_limit_bytes;
        /* The first failure may be anything; from the second attempt on it is worth while to look
         * for the record. */
        if (a->kind == TASK_MAP && task_table_get(j->table, TASK_MAP, a->task)->failed > 0)
                s->spec.skip_records = j->desc->skip_bad_records;
        if (a->kind == TASK_MAP) {
                fill_pieces(s, j, a->task);
                fill_lineage(s, j, a);
                if (j->reduces > 0)
                        return;
        }
        /* A result that comes back to the caller is merged from its parts and must be in order;
         * what a program writes into an output directory is its own affair, and so are what maps
         * alone write and an order that was asked for. */
        s->spec.sort_output = s->spec.sort_plugin_output =
                a->kind == TASK_REDUCE && !*j->desc->sort_key_fields && !*j->desc->output;
        s->part_name = g_strdup_printf(OUTPUT_PART_FORMAT, a->task, job_part_ending(j));
        s->spec.part_name = s->part_name;
        if (!j->streamed) {
                s->output_dir = job_attempt_dir(j, a->kind, a->task, a->attempt, a->worker);
                s->spec.output_dir = s->output_dir;
        }
}

AttemptCall *attempt_call_new(MasterJob *j, TaskKind kind, uint32_t task, uint32_t attempt,
                              uint32_t worker)
{
        AttemptCall *c = g_new(AttemptCall, 1);

        *c = (AttemptCall){
                .job = j,
                .kind = kind,
                .task = task,
                .attempt = attempt,
                .worker = worker,
                .output_fd = -EBADF,
        };
        g_hash_table_add(j->calls, c);
        return c;
}

void attempt_call(AttemptCall *c, bool resume)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_update,
                                                    .on_done = on_call_done};
        MasterJob *j = c->job;
        Manager *m = j->manager;
        const MasterWorker *w = manager_worker(m, c->worker);
        Assignment a = {
                .kind = c->kind, .task = c->task, .attempt = c->attempt, .worker = c->worker};
        Spec spec;
        int r;

        if (c->kind == job_part_kind(j) && j->streamed && !c->newer)
                c->output_error = open_streamed_output(c);
        spec_init(&spec, j, &a);
        spec.spec.resume = resume;
        r = evgrpc_call_start(w->channel, &mapreduced__v1__worker__descriptor, "RunTask",
                              &spec.spec.base, NULL, &handlers, c, &c->call);
        spec_done(&spec);
        if (r >= 0)
                return;
        c->call = NULL;
        if (c->other) {
                attempt_detach(c); /* and frees it; the other one may come to its end in time */
                return;
        }
        scheduler_back_off(m->scheduler, c->worker, manager_now(m));
        attempt_lose(c, error_text(r), CAUSE_WORKER_UNREACHABLE);
}

static void start_attempt(Manager *m, const Assignment *a)
{
        MasterJob *j = a->userdata;

        attempt_call(attempt_call_new(j, a->kind, a->task, a->attempt, a->worker), false);
}

static void tell_of_backup(MasterJob *j, const Assignment *a, uint64_t now_usec)
{
        const Task *task = task_table_get(a->table, a->kind, a->task);
        const Attempt *first = &task->running[0];
        const char *since = a->kind == TASK_MAP ? "" : " since its shuffle";

        job_event(j, "backup-started",
                  "attempt %u of %s %u on %s has done %.0f %% in %.1f s%s, far behind its peers: "
                  "backup attempt %u starts on %s",
                  first->number, attempt_kind_name(a->kind), a->task,
                  manager_worker_name(j->manager, first->worker),
                  first->phase == ATTEMPT_RUNNING ? (double) first->fraction * 100 : 0.0,
                  (double) (now_usec - first->since_usec) / USEC_PER_SEC, since, a->attempt,
                  manager_worker_name(j->manager, a->worker));
}

/* Maps whose output is in a worker's cache go to that worker; they take no time there. */
static void place_reused(MasterJob *j, GArray *ret_assignments)
{
        uint32_t map, worker;

        if (!j->table || j->state != JOB_RUNNING || j->ending != 0)
                return;
        for (unsigned n = 0; n < LINEAGE_PLACED_MAX && job_lineage_next(j->lineage, &map, &worker);
             n++) {
                Assignment a = {
                        .userdata = j,
                        .table = j->table,
                        .kind = TASK_MAP,
                        .task = map,
                        .worker = worker,
                };

                if (task_table_get(j->table, TASK_MAP, map)->started > 0 ||
                    scheduler_start_on(j->manager->scheduler, j->table, TASK_MAP, map, worker,
                                       manager_now(j->manager), &a.attempt) < 0)
                        continue;
                job_save_task(j, TASK_MAP, map);
                job_attempt_started(j, &a);
                j->changed |= CHANGED_NUMBERS;
                g_array_append_val(ret_assignments, a);
        }
}

void manager_schedule(Manager *m, GArray *ret_assignments)
{
        Assignment a;

        for (guint i = 0; i < m->by_age->len; i++)
                place_reused(m->by_age->pdata[i], ret_assignments);
        while (scheduler_next(m->scheduler, manager_now(m), &a) > 0) {
                MasterJob *j = a.userdata;

                job_save_task(j, a.kind, a.task);
                job_attempt_started(j, &a);
                if (a.backup)
                        tell_of_backup(j, &a, manager_now(m));
                j->changed |= CHANGED_NUMBERS;
                g_array_append_val(ret_assignments, a);
        }
}

/* Starting one may end another (a call that cannot be made), never its job: every table here is
 * still there. */
void manager_start_attempts(Manager *m, const GArray *assignments)
{
        for (guint i = 0; i < assignments->len; i++)
                start_attempt(m, &g_array_index(assignments, Assignment, i));
}

/* ---- Progress ---- */

/* Of one attempt, what it adds to the progress of the maps, the shuffle or the reduces: 0 to 1. */
static double fraction_of(const Attempt *a, TaskKind kind, char of)
{
        if ((of == 'M') != (kind == TASK_MAP))
                return 0;
        if (of == 'S')
                return a->phase == ATTEMPT_STARTED ? a->fraction : 1;
        if (a->phase < ATTEMPT_RUNNING)
                return 0;
        return a->phase == ATTEMPT_RUNNING ? a->fraction : 1;
}

double job_fractions(const MasterJob *j, char of)
{
        GHashTableIter iter;
        double sum = 0;
        gpointer p;

        g_hash_table_iter_init(&iter, j->calls);
        while (g_hash_table_iter_next(&iter, &p, NULL)) {
                const AttemptCall *c = p;
                const Attempt *a = task_table_attempt(j->table, c->kind, c->task, c->attempt);

                if (c->other && c->newer)
                        continue; /* the first call of the attempt is in the sum */
                /* A backup does not make its task twice as done. */
                if (a && a->number + 1 == task_table_get(j->table, c->kind, c->task)->started)
                        sum += fraction_of(a, c->kind, of);
        }
        return sum;
}

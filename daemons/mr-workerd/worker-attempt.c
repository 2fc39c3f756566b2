/*
 * Attempt — see worker-attempt.h.
 */
#include <stdarg.h>

#include "base/cause.h"
#include "base/parse.h"
#include "mr-workerd/worker-attempt-impl.h"
#include "mr-workerd/worker-gasp.h"
#include "mr-workerd/worker-spec.h"
#include "mr-workerd/worker-told.h"
#include "platform/message-ids.h"

/* Between two progress updates of one attempt. A change of phase is told at once. */
#define PROGRESS_USEC (100 * USEC_PER_MSEC)

static LogFields log_fields(const Attempt *a)
{
        return (LogFields){.job = a->spec->job_id,
                           .task = a->task_name,
                           .attempt = a->work_name,
                           .worker = a->manager->conf.name};
}

/* ---- The end ---- */

void attempt_free(Attempt *a)
{
        const TaskSpec *s = a->spec;

        (void) g_hash_table_remove(a->manager->attempts, a->key);
        job_files_wait_free(a->files_wait);
        shuffle_free(a->shuffle);
        task_slot_kill(a->slot);
        thread_work_forget(a->opening);
        thread_work_forget(a->output_work);
        safe_close(a->scratch_fd);
        if (a->work_fd >= 0) {
                safe_close(a->work_fd);
                job_work_remove(a->job, a->work_name);
        }
        if (!a->committed) {
                if (a->output)
                        output_file_discard(a->manager->threads, s->job_id, a->output,
                                            TAKE_FD(a->out_fd));
                else if (!attempt_makes_part(a))
                        spool_output_discard(a->manager->spool, s->job_id, s->task, s->attempt);
        }
        safe_close(a->out_fd);
        output_file_free(a->output);
        evgrpc_server_call_unref(a->call);
        loop_timer_free(a->grace);
        loop_timer_free(a->patience);
        gasp_free(a->gasp);
        if (a->skipped)
                g_ptr_array_unref(a->skipped);
        mapreduced__v1__task_result__free_unpacked(a->kept, NULL);
        mapreduced__task__v1__done__free_unpacked(a->done, NULL);
        mapreduced__v1__task_spec__free_unpacked(a->spec, NULL);
        g_free(a->key);
        g_free(a->task_name);
        g_free(a->work_name);
        g_free(a->status);
        g_free(a);
}

void attempt_send_result(EvgrpcServerCall *call, TaskResult *result)
{
        TaskUpdate u = MAPREDUCED__V1__TASK_UPDATE__INIT;

        u.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_RESULT;
        u.result = result;
        (void) evgrpc_server_call_send(call, &u.base);
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

static void note_finished(Attempt *a, const TaskResult *result)
{
        LogFields fields = log_fields(a);

        if (result->outcome == OUTCOME(SUCCEEDED))
                a->manager->attempts_finished++;
        else if (result->outcome == OUTCOME(FAILED))
                a->manager->attempts_failed++;
        if (result->outcome == OUTCOME(FAILED))
                fields.message_id = MESSAGE_ATTEMPT_FAILED;
        log_full(result->outcome == OUTCOME(SUCCEEDED) ? LOG_DEBUG : LOG_NOTICE, &fields, 0,
                 "Job %s: %s, attempt %u: %s%s%s", a->spec->job_id, a->task_name, a->spec->attempt,
                 protobuf_c_enum_descriptor_get_value(&mapreduced__v1__task_outcome__descriptor,
                                                      (int) result->outcome)
                         ->name,
                 *result->error ? ": " : "", result->error);
}

/* The result is the last message; the attempt is gone when this returns, or waits detached for a
 * master. */
void attempt_finish(Attempt *a, TaskResult *result)
{
        if (result != a->kept)
                note_finished(a, result);
        if (!a->output)
                a->out_fd = safe_close(a->out_fd);
        if (!a->call && a->grace && !a->kept &&
            (result->outcome == OUTCOME(SUCCEEDED) || result->outcome == OUTCOME(FAILED))) {
                attempt_keep(a, result);
                return;
        }
        if (a->call)
                attempt_tell(a, result);
        attempt_free(a);
}

void attempt_end(Attempt *a, TaskOutcome outcome, const char *sentence)
{
        TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;

        result.outcome = outcome;
        result.error = (char *) sentence;
        result.cause = (char *) (a->cause ? a->cause : "");
        attempt_finish(a, &result);
}

void attempt_fail(Attempt *a, bool permanent, const char *format, ...)
{
        TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;
        g_autofree char *what = NULL, *sentence = NULL, *tail = NULL;
        va_list ap;

        va_start(ap, format);
        what = g_strdup_vprintf(format, ap);
        va_end(ap);
        sentence = g_strdup_printf("%s: %s", a->task_name, what);
        result.outcome = OUTCOME(FAILED);
        result.error = sentence;
        result.cause = (char *) (a->cause ? a->cause : "");
        result.permanent = permanent;
        tail = a->gasp ? gasp_stderr(a->gasp) : NULL;
        if (tail)
                result.stderr_tail = tail;
        attempt_finish(a, &result);
}

/* Trouble with our own disk: a full one is no fault of the task, but where there is no other worker
 * to take it and nobody who would make room, it is the job's end. */
void attempt_fail_disk(Attempt *a, int error, const char *what)
{
        g_autofree char *sentence = NULL;

        a->cause = cause_of_errno(error);
        if ((error != -ENOSPC && error != -EDQUOT) || a->manager->conf.ephemeral) {
                attempt_fail(a, false, "%s: %s", what, g_strerror(-error));
                return;
        }
        sentence = g_strdup_printf("worker %s: %s: %s", a->manager->conf.name, what,
                                   g_strerror(-error));
        attempt_end(a, OUTCOME(REJECTED), sentence);
}

/* A later job may want it: this one's directory goes with the job. */
static void keep_for_reuse(Attempt *a, const TaskResult *result)
{
        const TaskSpec *s = a->spec;
        g_autofree char *made_by = NULL;

        if (result->outcome != OUTCOME(SUCCEEDED) || !attempt_is_map(a) || !*s->lineage ||
            s->skip_records > 0 || *s->intermediate_dir)
                return;
        made_by =
                g_strdup_printf("job %.*s (%s), map %u, attempt %u", (int) strcspn(s->job_id, "-"),
                                s->job_id, s->job_name, s->task, s->attempt);
        cache_add(a->manager->cache, s->lineage, s->job_id, s->task, s->attempt, result, made_by);
}

bool attempt_can_reuse(const Manager *m, const TaskSpec *spec)
{
        return spec->kind == MAPREDUCED__V1__TASK_KIND__MAP && spec->reuse && *spec->lineage &&
               cache_has(m->cache, spec->lineage);
}

/* What mr-task said, as the master hears it. */
void attempt_finish_done(Attempt *a, TaskOutcome outcome)
{
        TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;
        g_autofree char *tail = a->gasp ? gasp_stderr(a->gasp) : NULL;

        result.outcome = outcome;
        result.error = a->done->error;
        result.stderr_tail = tail ? tail : a->done->stderr_tail;
        result.n_counters = a->done->n_counters;
        result.counters = a->done->counters;
        result.output_bytes = a->output_bytes;
        result.permanent = a->done->permanent;
        result.cause = a->done->cause;
        result.cpu_usec = a->done->cpu_usec;
        if (a->skipped) {
                result.n_skipped = a->skipped->len;
                result.skipped = (Mapreduced__V1__SkippedRecord **) a->skipped->pdata;
        }
        keep_for_reuse(a, &result);
        attempt_finish(a, &result);
}

/* ---- Progress ---- */

static const char *phase_to_string(Phase p)
{
        if (p == PHASE_SHUFFLE)
                return "shuffle";
        return p == PHASE_FILES || p == PHASE_WAITING ? "waiting" : "running";
}

static double fraction(const Attempt *a)
{
        if (a->phase == PHASE_SHUFFLE)
                return a->spec->maps ? (double) shuffle_have(a->shuffle) / a->spec->maps : 1;
        if (a->phase < PHASE_RUNNING)
                return 0;
        if (a->total_bytes == 0 || a->read_bytes >= a->total_bytes)
                return a->phase > PHASE_RUNNING ? 1 : 0;
        return (double) a->read_bytes / (double) a->total_bytes;
}

void attempt_tell_progress(Attempt *a, bool at_once)
{
        Mapreduced__V1__TaskProgress progress = MAPREDUCED__V1__TASK_PROGRESS__INIT;
        TaskUpdate u = MAPREDUCED__V1__TASK_UPDATE__INIT;
        uint64_t now = loop_now_usec(a->manager->loop);

        if (!a->call || a->congested || (!at_once && now - a->told_usec < PROGRESS_USEC))
                return;
        a->told_usec = now;
        if (a->phase == PHASE_SHUFFLE)
                progress.phase = MAPREDUCED__V1__TASK_PHASE__SHUFFLE;
        else
                progress.phase = a->phase < PHASE_RUNNING ? MAPREDUCED__V1__TASK_PHASE__WAITING
                                                          : MAPREDUCED__V1__TASK_PHASE__RUNNING;
        progress.fraction = fraction(a);
        if (a->status)
                progress.status = a->status;
        u.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_PROGRESS;
        u.progress = &progress;
        a->congested = evgrpc_server_call_send(a->call, &u.base) == 0;
}

void attempt_set_phase(Attempt *a, Phase phase)
{
        a->phase = phase;
        if (phase <= PHASE_RUNNING)
                attempt_tell_progress(a, true);
}

/* ---- The call ---- */

static void on_writable(EvgrpcServerCall *call, void *userdata)
{
        Attempt *a = userdata;

        a->congested = false;
        if (a->phase == PHASE_STREAMING)
                attempt_stream_on(a);
}

static void on_cancelled(EvgrpcServerCall *call, void *userdata)
{
        Attempt *a = userdata;

        bool lost = evgrpc_server_call_is_lost(call);

        a->call = evgrpc_server_call_unref(a->call);
        a->congested = false;
        if (lost && attempt_detach(a))
                return;
        attempt_end(a, OUTCOME(KILLED), lost ? "the master is gone" : "the master cancelled it");
}

void attempt_listen(Attempt *a, EvgrpcServerCall *call)
{
        static const EvgrpcServerCallHandlers handlers = {
                .on_writable = on_writable,
                .on_cancelled = on_cancelled,
        };

        a->call = evgrpc_server_call_ref(call);
        evgrpc_server_call_set_handlers(call, &handlers, a);
}

static void _printf_(3, 4)
        reject(EvgrpcServerCall *call, const char *cause, const char *format, ...)
{
        TaskResult result = MAPREDUCED__V1__TASK_RESULT__INIT;
        g_autofree char *sentence = NULL;
        va_list ap;

        va_start(ap, format);
        sentence = g_strdup_vprintf(format, ap);
        va_end(ap);
        log_notice("Rejected an attempt: %s", sentence);
        result.outcome = OUTCOME(REJECTED);
        result.error = sentence;
        result.cause = (char *) cause;
        attempt_send_result(call, &result);
}

/* Can this worker take one more now? Answers the call if not. */
static bool has_room(Manager *m, EvgrpcServerCall *call)
{
        uint64_t free_bytes = spool_free_bytes(m->spool);

        if (free_bytes < m->conf.min_free_bytes && cache_bytes(m->cache) > 0) {
                cache_shrink(m->cache, m->conf.min_free_bytes - free_bytes);
                free_bytes = spool_free_bytes(m->spool);
        }

        if (m->stopping) {
                reject(call, "", "worker %s is stopping", m->conf.name);
                return false;
        }
        if (g_hash_table_size(m->attempts) >= attempts_max(m)) {
                reject(call, "", "worker %s has %u attempts in hand, and takes no more",
                       m->conf.name, g_hash_table_size(m->attempts));
                return false;
        }
        if (free_bytes < m->conf.min_free_bytes) {
                g_autofree char *have = format_size(free_bytes);
                g_autofree char *need = format_size(m->conf.min_free_bytes);

                reject(call, CAUSE_DISK_FULL,
                       "worker %s has %s free in its spool %s, less than MinFree=%s", m->conf.name,
                       have, m->conf.spool, need);
                return false;
        }
        return true;
}

static TaskSpec *spec_copy(const TaskSpec *s)
{
        size_t size = mapreduced__v1__task_spec__get_packed_size(s);
        g_autofree uint8_t *data = g_malloc(MAX(size, 1));

        mapreduced__v1__task_spec__pack(s, data);
        return mapreduced__v1__task_spec__unpack(NULL, size, data);
}

static Attempt *attempt_new(Manager *m, Job *job, EvgrpcServerCall *call, const TaskSpec *spec,
                            char *key)
{
        const char *kind = spec_kind_to_string(spec->kind);
        Attempt *a = g_new0(Attempt, 1);

        *a = (Attempt){
                .manager = m,
                .spec = spec_copy(spec),
                .job = job,
                .key = key,
                .task_name = g_strdup_printf("%s-%u", kind, spec->task),
                .work_name = g_strdup_printf("%s-%u.%u", kind, spec->task, spec->attempt),
                .out_fd = -EBADF,
                .scratch_fd = -EBADF,
                .work_fd = -EBADF,
        };
        if (!a->spec)
                g_error("Out of memory"); /* as GLib itself would */
        g_hash_table_insert(m->attempts, a->key, a);
        attempt_listen(a, call);
        return a;
}

void attempt_start(Manager *m, EvgrpcServerCall *call, const TaskSpec *spec)
{
        _cleanup_error_ Error e = {};
        g_autofree char *key = NULL;
        Attempt *a;
        Job *job;
        int r;

        r = spec_validate(spec, &e);
        if (r < 0) {
                log_warning("Refused an attempt from %s: %s", evgrpc_server_call_peer(call),
                            error_message(&e, r));
                evgrpc_server_call_finish(call, EVGRPC_INVALID_ARGUMENT, "%s",
                                          error_message(&e, r));
                return;
        }
        key = g_strdup_printf("%s/%s-%u/%u", spec->job_id, spec_kind_to_string(spec->kind),
                              spec->task, spec->attempt);
        a = g_hash_table_lookup(m->attempts, key);
        if (spec->resume) {
                if (a)
                        attempt_attach(a, call);
                else if (!attempt_tell_again(m, spec, call))
                        evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND,
                                                  "attempt %s is not running here", key);
                return;
        }
        if (a || (spec->kind == MAPREDUCED__V1__TASK_KIND__MAP &&
                  spool_output_exists(m->spool, spec->job_id, spec->task, spec->attempt))) {
                evgrpc_server_call_finish(call, EVGRPC_ALREADY_EXISTS, "attempt %s was run here",
                                          key);
                return;
        }
        if ((m->stopping || !attempt_can_reuse(m, spec)) && !has_room(m, call))
                return;
        r = job_get(m, spec->job_id, &job);
        if (r < 0) {
                reject(call, cause_of_errno(r), "worker %s cannot make a directory for the job: %s",
                       m->conf.name, g_strerror(-r));
                return;
        }
        told_forget(m->told, spec);
        a = attempt_new(m, job, call, spec, TAKE_PTR(key));
        attempt_begin(a);
}

bool attempt_is_of_job(const Attempt *a, const char *job_id)
{
        return g_str_equal(a->spec->job_id, job_id);
}

AttemptInfo attempt_info(const Attempt *a)
{
        return (AttemptInfo){
                .job_id = a->spec->job_id,
                .kind = spec_kind_to_string(a->spec->kind),
                .task = a->spec->task,
                .attempt = a->spec->attempt,
                .phase = phase_to_string(a->phase),
                .fraction = fraction(a),
        };
}

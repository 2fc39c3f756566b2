/*
 * Jobs — the life of one, from its description to its last file.
 *
 *      PLANNING ──▶ RUNNING ──▶ COMMITTING ──▶ DONE
 *          └────────────┴────────────┴───────▶ FAILED, CANCELLED
 *
 * A job that fails or is cancelled keeps its state until its attempts are told to stop, its work in
 * threads is over and what it wrote is removed: who reads "failed" may submit it again at once.
 * What it is on its way to is in `ending`, and in the store.
 */
#include <fcntl.h>
#include <stdarg.h>

#include "base/fs.h"
#include "base/parse.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "mr-masterd/master-output.h"
#include "mr-masterd/master-sample.h"
#include "platform/log.h"
#include "records/codec.h"
#include "platform/message-ids.h"

const char *job_state_to_string(JobState s)
{
        static const char *const names[_JOB_STATE_MAX] = {
                [JOB_PLANNING] = "planning",     [JOB_RUNNING] = "running",
                [JOB_COMMITTING] = "committing", [JOB_DONE] = "done",
                [JOB_FAILED] = "failed",         [JOB_CANCELLED] = "cancelled",
        };

        return names[s];
}

bool job_is_over(const MasterJob *j)
{
        return j->state >= JOB_DONE;
}

MasterJob *job_new(Manager *m, uint64_t number, JobDesc *desc, uint32_t uid)
{
        MasterJob *j = g_new0(MasterJob, 1);

        j->manager = m;
        j->number = number;
        j->id = g_strdup_printf("%" G_GUINT64_FORMAT, number);
        j->wire_id = g_strconcat(j->id, "-", m->tag, NULL);
        j->path = g_strconcat(MASTER_PATH "/job/", j->id, NULL);
        j->desc = desc;
        j->program = job_desc_program(desc);
        j->uid = uid;
        j->reason = g_strdup("");
        j->cause = g_strdup("");
        j->cause_attempt = g_strdup("");
        j->error_output = g_strdup("");
        j->reduces = desc->reduces;
        j->streamed = !*desc->output && !m->conf->shared_results;
        j->output_dir =
                *desc->output ? g_strdup(desc->output) : manager_state_path(m, "results", j);
        if (job_desc_stable_dir(desc)) {
                g_autofree char *name = g_strconcat("mapreduced-", j->wire_id, NULL);

                j->stable_dir = g_build_filename(job_desc_stable_dir(desc), name, NULL);
        }
        j->calls = g_hash_table_new(NULL, NULL);
        j->watchers = g_ptr_array_new();
        j->renames = job_renames_new();
        return j;
}

TaskKind job_part_kind(const MasterJob *j)
{
        return j->reduces > 0 ? TASK_REDUCE : TASK_MAP;
}

uint32_t job_part_count(const MasterJob *j)
{
        return j->reduces > 0 ? j->reduces : j->maps;
}

const char *job_part_ending(const MasterJob *j)
{
        return codec_ending(codec_of_name(j->desc->output_compression));
}

/* Drops what only a running job needs. */
static void forget_tasks(MasterJob *j)
{
        job_end_watchers(j);
        if (j->table) {
                for (int kind = 0; kind < _TASK_KIND_MAX; kind++) {
                        for (uint32_t i = 0; i < task_table_count(j->table, (TaskKind) kind); i++)
                                counter_set_free(j->task_counters[kind][i]);
                        g_clear_pointer(&j->task_counters[kind], g_free);
                }
                g_clear_pointer(&j->map_counted, g_free);
                for (uint32_t i = 0; i < j->maps; i++)
                        g_free(j->origins[i]);
                g_clear_pointer(&j->origins, g_free);
                j->lineage = job_lineage_free(j->lineage);
                scheduler_remove_job(j->manager->scheduler, j->table);
                j->table = task_table_free(j->table);
        }
        j->splits = split_plan_free(j->splits);
        j->files = plan_files_free(j->files);
        g_clear_pointer(&j->waiting_for, g_free);
}

MasterJob *job_free(MasterJob *j)
{
        if (!j)
                return NULL;
        forget_tasks(j);
        g_hash_table_unref(j->calls);
        g_ptr_array_unref(j->watchers);
        g_ptr_array_unref(j->renames);
        counters_free(j->counters);
        job_desc_free(j->desc);
        g_free(j->program);
        g_free(j->output_dir);
        g_free(j->stable_dir);
        g_free(j->cause);
        g_free(j->cause_attempt);
        g_free(j->reason);
        g_free(j->error_output);
        g_free(j->path);
        g_free(j->wire_id);
        g_free(j->id);
        g_free(j);
        return NULL;
}

MasterJob *manager_find_job(const Manager *m, const char *id)
{
        return g_hash_table_lookup(m->jobs, id);
}

MasterJob *manager_find_job_by_wire_id(const Manager *m, const char *wire_id)
{
        const char *dash = strchr(wire_id, '-');
        g_autofree char *id = NULL;

        if (!dash || !g_str_equal(dash + 1, m->tag))
                return NULL;
        id = g_strndup(wire_id, (gsize) (dash - wire_id));
        return manager_find_job(m, id);
}

void job_add(MasterJob *j)
{
        Manager *m = j->manager;

        g_ptr_array_add(m->by_age, j);
        g_hash_table_insert(m->jobs, j->id, j);
        if (*j->desc->request_id)
                g_hash_table_insert(m->requests, j->desc->request_id, j);
        m->changed |= CHANGED_NUMBERS;
}

static void add_counter_line(const char *name, uint64_t value, void *userdata)
{
        CounterSet **set = userdata;

        *set = counter_set_add(*set, name, value);
}

/* While a job runs they follow from its tasks; from its commit or its end on, from its row. */
static char *final_counters(const MasterJob *j)
{
        _cleanup_(counter_set_freep) CounterSet *set = NULL;

        if (!j->counters)
                return NULL;
        counters_foreach(j->counters, add_counter_line, &set);
        return counter_set_to_text(set);
}

static void keep_numbers(MasterJob *j)
{
        if (!j->table)
                return;
        j->maps_done = task_table_count_in(j->table, TASK_MAP, TASK_DONE);
        j->reduces_done = task_table_count_in(j->table, TASK_REDUCE, TASK_DONE);
        j->attempts_failed = task_table_failed(j->table);
        j->attempts_lost = task_table_lost(j->table);
        j->outputs_lost = task_table_outputs_lost(j->table);
}

void job_save(MasterJob *j)
{
        g_autoptr(GByteArray) description = job_desc_serialize(j->desc);
        g_autofree char *counters = final_counters(j);
        StoreJob row;

        keep_numbers(j);
        row = (StoreJob){
                .number = j->number,
                .description = description->data,
                .description_size = description->len,
                .uid = j->uid,
                .state = (int) j->state,
                .ending = (int) j->ending,
                .reason = j->reason,
                .cause = j->cause,
                .cause_attempt = j->cause_attempt,
                .error_output = j->error_output,
                .submitted_usec = j->submitted_usec,
                .started_usec = j->started_usec,
                .finished_usec = j->finished_usec,
                .maps = j->maps,
                .reduces = j->reduces,
                .maps_done = j->maps_done,
                .reduces_done = j->reduces_done,
                .attempts_failed = j->attempts_failed,
                .attempts_lost = j->attempts_lost,
                .outputs_lost = j->outputs_lost,
                .input_bytes = j->input_bytes,
                .output_created = j->output_created,
                .counters = counters,
        };

        store_put_job(j->manager->store, &row);
}

static char *running_to_text(const Task *task)
{
        GString *s = g_string_new(NULL);

        for (uint32_t i = 0; i < task->running_count; i++)
                g_string_append_printf(s, "%s%u@%u", i > 0 ? " " : "", task->running[i].number,
                                       task->running[i].worker);
        return g_string_free(s, FALSE);
}

void job_save_task(MasterJob *j, TaskKind kind, uint32_t index)
{
        const Task *task = task_table_get(j->table, kind, index);
        g_autofree char *counters = counter_set_to_text(j->task_counters[kind][index]);
        g_autofree char *running = running_to_text(task);
        StoreTask row = {
                .job = j->number,
                .kind = (int) kind,
                .task = index,
                .started = task->started,
                .failed = task->failed,
                .lost = task->lost,
                .done = task->state == TASK_DONE && !task->output_lost,
                .attempt = task->done_attempt,
                .worker = task->done_worker,
                .newest_worker = task->newest_worker,
                .status = task->status,
                .counters = counters,
                .running = running,
                .origin = kind == TASK_MAP ? j->origins[index] : NULL,
                .why = kind == TASK_MAP ? (int) job_lineage_why(j->lineage, index) : 0,
        };

        store_put_task(j->manager->store, &row);
}

void job_changed(MasterJob *j, unsigned flags)
{
        j->changed |= flags;
        manager_kick(j->manager);
}

/* Those that an administrator reads in the journal; the others are the job's own, for mrctl to
 * show. */
static const char *message_id_of(const char *kind)
{
        static const struct {
                const char *kind, *id;
        } ids[] = {
                {"submitted", MESSAGE_JOB_SUBMITTED},
                {"started", MESSAGE_JOB_STARTED},
                {"done", MESSAGE_JOB_DONE},
                {"failed", MESSAGE_JOB_FAILED},
                {"cancelled", MESSAGE_JOB_CANCELLED},
                {"master-restarted", MESSAGE_MASTER_RESTARTED},
                {"attempt-failed", MESSAGE_ATTEMPT_FAILED},
                {"attempt-lost", MESSAGE_ATTEMPT_LOST},
                {"map-output-lost", MESSAGE_MAP_OUTPUT_LOST},
                {"worker-lost", MESSAGE_WORKER_LOST},
        };

        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                if (g_str_equal(ids[i].kind, kind))
                        return ids[i].id;
        return NULL;
}

void job_event(MasterJob *j, const char *kind, const char *format, ...)
{
        LogFields fields = {.job = j->id};
        g_autofree char *text = NULL, *valid = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        valid = g_utf8_make_valid(text, (gssize) MIN(strlen(text), MASTER_EVENT_MAX_BYTES));
        store_add_event(j->manager->store, j->number, j->next_event++, manager_realtime(j->manager),
                        kind, valid, MASTER_EVENTS_MAX);
        fields.message_id = message_id_of(kind);
        /* On a terminal mrctl tells the job's story itself. */
        log_full(fields.message_id && log_is_journal() ? LOG_INFO : LOG_DEBUG, &fields, 0,
                 "Job %s: %s: %s", j->id, kind, valid);
}

int job_submit(MasterJob *j)
{
        Manager *m = j->manager;
        int r;

        /* What others wrote must not be undone with this row, should it fail. */
        r = manager_commit(m, false);
        if (r < 0)
                return r;
        j->submitted_usec = manager_realtime(m);
        job_save(j);
        job_event(j, "submitted", "submitted by user %u: %s", j->uid, j->program);
        return store_commit(m->store, !m->conf->ephemeral);
}

/* ---- Planning, in a thread ---- */

typedef struct PlanWork {
        MasterJob *job; /* not touched in the thread */
        GPtrArray *inputs;
        char *output_dir, *tag;
        char *stable_dir; /* NULL: none */
        PlanFiles *files;
        bool output_created, output_prepared;
        char *app, **args; /* for plan_sample() */
        uint32_t reduces;
        GPtrArray *bounds;
        int result;
        Error error;
} PlanWork;

/* In a directory that is there: one made by a typing error is shared by nobody. */
static int make_stable_dir(const char *path, Error *e)
{
        g_autofree char *shared = g_path_get_dirname(path);
        int r;

        if (access(shared, F_OK) < 0 && errno == ENOENT)
                return error_setf(e, errno,
                                  "cannot use %s for Intermediate=stable: %s; make it first, where "
                                  "all hosts see it",
                                  shared, error_text(errno));
        r = mkdir_parents(path, 0770);
        return r < 0 ? error_setf(e, r, "cannot make %s for Intermediate=stable: %s", path,
                                  error_text(r))
                     : 0;
}

static void plan_work(void *data)
{
        PlanWork *w = data;

        w->files = plan_files_new();
        for (guint i = 0; i < w->inputs->len && w->result >= 0; i++)
                w->result = plan_list_input(w->files, w->inputs->pdata[i], &w->error);
        if (w->result >= 0 && w->stable_dir)
                w->result = make_stable_dir(w->stable_dir, &w->error);
        if (w->result >= 0)
                w->result = plan_sample(w->files, w->app, w->args, g_strv_length(w->args),
                                        w->reduces, &w->bounds, &w->error);
        if (w->result >= 0)
                w->result = output_prepare(w->output_dir, w->tag, &w->output_created, &w->error);
        w->output_prepared = w->result >= 0;
        if (w->result < 0 && w->stable_dir)
                (void) rmdir(w->stable_dir);
}

static void plan_work_free(PlanWork *w)
{
        g_ptr_array_unref(w->inputs);
        g_free(w->output_dir);
        g_free(w->stable_dir);
        g_free(w->tag);
        plan_files_free(w->files);
        g_free(w->app);
        g_strfreev(w->args);
        if (w->bounds)
                g_ptr_array_unref(w->bounds);
        error_done(&w->error);
        g_free(w);
}

static void save_inputs(MasterJob *j)
{
        for (guint i = 0; i < j->files->files->len; i++) {
                const PlanFile *f = &g_array_index(j->files->files, PlanFile, i);

                StoreInput input = {
                        .path = f->path,
                        .size_bytes = f->size_bytes,
                        .mtime_ns = f->mtime_ns,
                        .ctime_ns = f->ctime_ns,
                        .inode = f->inode,
                        .device = f->device,
                };

                store_put_input(j->manager->store, j->number, i, &input);
        }
}

/* In a cluster those of all workers, whoever else works there: who shares them is known to nobody.
 * After a restart those that have not come back yet are among them. */
static uint32_t slots_of(const Manager *m)
{
        GHashTableIter iter;
        uint32_t slots = 0;
        gpointer p;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                const MasterWorker *w = p;

                if ((w->alive || w->expected) && !w->drained)
                        slots += w->slots;
        }
        return slots > 0 ? slots : m->conf->expected_slots;
}

static void plan_done(void *data, bool abandoned)
{
        PlanWork *w = data;
        MasterJob *j = w->job;
        int r = w->result;

        if (abandoned) {
                plan_work_free(w);
                return;
        }
        j->working--;
        j->output_created = w->output_created;
        j->output_prepared = w->output_prepared;
        if (j->ending == 0 && r >= 0) {
                g_ptr_array_unref(j->desc->bounds);
                j->desc->bounds = TAKE_PTR(w->bounds);
                j->desc->planned_slots = slots_of(j->manager);
                r = job_begin(j, TAKE_PTR(w->files), &w->error);
                if (r >= 0) {
                        j->desc->cuts = split_plan_digest(j->splits);
                        save_inputs(j);
                        job_run(j);
                        job_check_complete(j); /* without maps and reduces it is */
                }
        }
        if (r < 0)
                job_end(j, JOB_FAILED, error_message(&w->error, r), cause_of_errno(r), NULL, NULL);
        plan_work_free(w);
        job_try_end(j);
}

void job_plan(MasterJob *j)
{
        PlanWork *w = g_new0(PlanWork, 1);

        w->job = j;
        w->inputs = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < j->desc->inputs->len; i++)
                g_ptr_array_add(w->inputs, g_strdup(j->desc->inputs->pdata[i]));
        w->app = g_strdup(j->desc->app);
        w->args = g_new0(char *, j->desc->args->len + 1);
        for (guint i = 0; i < j->desc->args->len; i++)
                w->args[i] = g_strdup(j->desc->args->pdata[i]);
        w->reduces = j->reduces;
        w->output_dir = g_strdup(j->output_dir);
        w->stable_dir = g_strdup(j->stable_dir);
        w->tag = g_strdup_printf(OUTPUT_TAG_FORMAT, j->id, j->submitted_usec);
        j->working++;
        offload_run(j->manager->offload, j->number, j->uid, plan_work, plan_done, w);
}

/* ---- Running ---- */

int job_make_splits(const MasterJob *j, const PlanFiles *plan, SplitPlan **ret, Error *e)
{
        g_autofree SplitFile *files = g_new(SplitFile, plan->files->len);
        bool combine = *j->desc->app, whole = g_str_equal(j->desc->input_format, "whole");
        uint64_t size = j->desc->split_size_bytes;
        int r;

        for (guint i = 0; i < plan->files->len; i++) {
                const PlanFile *f = &g_array_index(plan->files, PlanFile, i);

                files[i] = (SplitFile){
                        .path = f->path,
                        .size_bytes = f->size_bytes,
                        .mtime_ns = f->mtime_ns,
                        .whole = whole || codec_of_path(f->path) != CODEC_NONE,
                };
        }
        r = size > 0 ? split_plan_new(files, plan->files->len, size, combine, ret)
                     : split_plan_new_for_slots(files, plan->files->len, j->desc->planned_slots,
                                                ret);
        if (r == -E2BIG)
                return error_setf(e, r, "more than %u map tasks: choose a larger SplitSize",
                                  SPLIT_MAX_COUNT);
        return r < 0 ? error_setf(e, r, "cannot split the input: %s", error_text(r)) : 0;
}

bool job_has_cuts(const MasterJob *j, const SplitPlan *plan)
{
        return j->desc->cuts == 0 || split_plan_digest(plan) == j->desc->cuts;
}

int job_begin(MasterJob *j, PlanFiles *files, Error *e)
{
        int r;

        plan_files_free(j->files);
        j->files = files;
        j->input_bytes = files->size_bytes;
        r = job_make_splits(j, j->files, &j->splits, e);
        if (r < 0)
                return r;
        j->maps = (uint32_t) j->splits->split_count;
        j->table =
                task_table_new(j->maps, j->reduces, j->desc->max_attempts, manager_now(j->manager));
        for (uint32_t i = 0; i < j->maps && j->input_bytes > 0; i++)
                task_table_set_size(j->table, TASK_MAP, i,
                                    (double) j->splits->splits[i].size_bytes * j->maps /
                                            (double) j->input_bytes);
        j->task_counters[TASK_MAP] = g_new0(CounterSet *, j->maps);
        j->task_counters[TASK_REDUCE] = g_new0(CounterSet *, j->reduces);
        j->map_counted = g_new0(bool, j->maps);
        j->origins = g_new0(char *, j->maps);
        j->lineage = job_lineage_new(j);
        j->counters = counters_new();
        return 0;
}

void job_run(MasterJob *j)
{
        g_autofree char *size = NULL;

        scheduler_add_job(j->manager->scheduler, j->table,
                          &(SchedJobOptions){.uid = j->uid,
                                             .priority = job_desc_priority(j->desc),
                                             .backups = j->desc->backups,
                                             .program_level = job_desc_program_level(j->desc, NULL),
                                             .userdata = j});
        if (j->state == JOB_PLANNING) {
                size = format_size(j->input_bytes);
                j->state = JOB_RUNNING;
                j->started_usec = manager_realtime(j->manager);
                job_save(j);
                job_event(j, "started", "planned %u maps over %u files (%s), %u reduces", j->maps,
                          j->files->files->len, size, j->reduces);
        }
        job_changed(j, CHANGED_STATE | CHANGED_NUMBERS);
}

void job_set_task_counters(MasterJob *j, TaskKind kind, uint32_t task, CounterSet *set)
{
        counter_set_free(j->task_counters[kind][task]);
        j->task_counters[kind][task] = set;
        if (kind == TASK_MAP)
                job_count_map(j, task);
        else
                counters_add(j->counters, set);
}

/* A map whose output is lost and that nobody needs stays DONE: its records were read, and the
 * reduces have them. */
void job_count_map(MasterJob *j, uint32_t map)
{
        bool done = task_table_get(j->table, TASK_MAP, map)->state == TASK_DONE;

        if (done == j->map_counted[map])
                return;
        j->map_counted[map] = done;
        if (done)
                counters_add(j->counters, j->task_counters[TASK_MAP][map]);
        else
                counters_subtract(j->counters, j->task_counters[TASK_MAP][map]);
}

/* So that no later job is given it again. */
void job_drop_cached(MasterJob *j, uint32_t map, MasterWorker *holder)
{
        const char *key = job_lineage_key(j->lineage, map);

        if (!key)
                return;
        lineage_lost(j->manager->lineage, key, holder->number);
        worker_drop_cached(holder, key);
}

void job_rerun_lost(MasterJob *j)
{
        if (task_table_rerun_lost(j->table, manager_now(j->manager)) == 0)
                return;
        for (uint32_t map = 0; map < j->maps; map++)
                job_count_map(j, map);
}

void job_output_lost(MasterJob *j, uint32_t map, const char *why)
{
        job_count_map(j, map);
        job_event(j, "map-output-lost", "the output of map %u is lost: %s", map, why);
        if (task_table_get(j->table, TASK_MAP, map)->state != TASK_DONE)
                job_event(j, "task-rerun", "map %u runs again: a reduce still needs its output",
                          map);
        job_save_task(j, TASK_MAP, map);
        job_tell_watchers(j, map);
        job_changed(j, CHANGED_NUMBERS);
}

/* ---- The end ---- */

typedef struct EndWork {
        MasterJob *job;
        char *output_dir;
        char *files_dir;
        char *stable_dir;    /* NULL: none */
        GByteArray *skipped; /* NULL: none */
        uint32_t parts;
        const char *ending; /* of their names */
        bool discard, created, own;
        OutputCare care;
        int result;
        Error error;
} EndWork;

static void end_work(void *data)
{
        EndWork *w = data;

        if (w->discard && w->own)
                w->result = rm_rf_at(AT_FDCWD, w->output_dir);
        else if (w->discard)
                w->result =
                        output_discard(w->output_dir, w->parts, w->ending, w->created, &w->error);
        else if (w->skipped)
                w->result = output_write_skipped(w->output_dir, w->skipped, w->care, &w->error);
        if (!w->discard && w->result >= 0)
                w->result = output_finish(w->output_dir, w->parts, w->ending, !w->own, w->care,
                                          &w->error);
        if (!w->discard) /* what failed or was cancelled may be submitted again, with its files */
                (void) rm_rf_at(AT_FDCWD, w->files_dir);
        if (w->stable_dir)
                (void) output_remove_all(w->stable_dir);
}

static void end_work_free(EndWork *w)
{
        g_free(w->output_dir);
        g_free(w->files_dir);
        g_free(w->stable_dir);
        if (w->skipped)
                g_byte_array_unref(w->skipped);
        error_done(&w->error);
        g_free(w);
}

/* Nothing of it is left to do. */
static void job_over(MasterJob *j, JobState state)
{
        keep_numbers(j);
        job_trim_inputs(j);
        j->state = state;
        j->ending = 0;
        j->finished_usec = manager_realtime(j->manager);
        forget_tasks(j);
        if (state == JOB_DONE)
                job_event(j, "done", "done: %u maps, %u reduces", j->maps, j->reduces);
        else
                job_event(j, job_state_to_string(state), "%s",
                          *j->reason ? j->reason : "cancelled");
        job_save(j);
        if (manager_commit(j->manager, true) < 0)
                return;
        job_changed(j, CHANGED_STATE | CHANGED_NUMBERS);
        j->manager->changed |= CHANGED_NUMBERS;
        j->manager->prune = true; /* in the next round: our callers still hold this job */
}

static void end_done(void *data, bool abandoned)
{
        EndWork *w = data;
        MasterJob *j = w->job;

        if (abandoned) {
                end_work_free(w);
                return;
        }
        j->working--;
        j->finishing = false;
        if (w->result < 0 && !w->discard)
                job_end(j, JOB_FAILED, error_message(&w->error, w->result),
                        cause_of_errno(w->result), NULL, NULL);
        else if (w->result < 0)
                job_event(j, "cleanup-failed", "%s", error_message(&w->error, w->result));
        if (w->discard)
                job_over(j, j->ending);
        else if (j->ending == 0)
                job_over(j, JOB_DONE);
        end_work_free(w);
        job_try_end(j);
}

/* It cannot be done by halves: who takes the job up after our end must find that it was about to be
 * done. */
static void start_end_work(MasterJob *j, bool discard)
{
        EndWork *w;

        if (manager_commit(j->manager, false) < 0)
                return;
        w = g_new0(EndWork, 1);
        w->job = j;
        w->output_dir = g_strdup(j->output_dir);
        w->files_dir = manager_state_path(j->manager, "jobs", j);
        w->stable_dir = g_strdup(j->stable_dir);
        w->parts = job_part_count(j);
        w->ending = job_part_ending(j);
        w->discard = discard;
        w->skipped = discard ? NULL : job_list_skipped(j);
        w->created = j->output_created;
        w->own = !*j->desc->output;
        w->care = job_output_care(j);
        j->working++;
        j->finishing = true;
        offload_run(j->manager->offload, j->number, j->uid, end_work, end_done, w);
}

void job_finish(MasterJob *j)
{
        start_end_work(j, false);
}

/* A reduce may have had a map's records in hand while we believed that it still needs them. They
 * count. */
static void settle_maps(MasterJob *j)
{
        task_table_settle(j->table);
        for (uint32_t map = 0; map < j->maps; map++)
                job_count_map(j, map);
}

void job_check_complete(MasterJob *j)
{
        if (j->state != JOB_RUNNING || j->ending != 0 || !task_table_is_complete(j->table))
                return;
        job_kill_attempts(j);
        scheduler_remove_job(j->manager->scheduler,
                             j->table); /* a map may be idle again, for nobody */
        settle_maps(j);
        j->state = JOB_COMMITTING;
        job_save(j);
        job_changed(j, CHANGED_STATE | CHANGED_NUMBERS);
        job_finish(j);
}

/* @cause: a word of base/cause.h. @blamed: whose failure it was; NULL: no attempt's. */
void job_end(MasterJob *j, JobState how, const char *reason, const char *cause,
             const FinishedAttempt *blamed, const char *error_output)
{
        g_autofree char *tail = NULL;

        if (j->ending != 0 || job_is_over(j))
                return;
        j->ending = how;
        g_free(j->reason);
        j->reason =
                g_utf8_make_valid(reason, (gssize) MIN(strlen(reason), MASTER_REASON_MAX_BYTES));
        g_free(j->cause);
        j->cause = g_strdup(cause);
        g_free(j->cause_attempt);
        j->cause_attempt =
                blamed ? g_strdup_printf("%s-%u/%u", blamed->kind == TASK_MAP ? "map" : "reduce",
                                         blamed->task, blamed->attempt)
                       : g_strdup("");
        if (error_output) {
                size_t size = strlen(error_output), cut = size - MIN(size, STDERR_TAIL_BYTES);

                g_free(j->error_output);
                j->error_output = g_utf8_make_valid(error_output + cut, -1);
        }
        job_kill_attempts(j);
        if (j->table)
                scheduler_remove_job(j->manager->scheduler, j->table);
        job_save(j);
        manager_kick(j->manager);
        job_try_end(j);
}

/* Once no thread works for it: what it wrote goes, then it is over. */
void job_try_end(MasterJob *j)
{
        if (j->ending == 0 || j->working > 0 || j->finishing || job_is_over(j) ||
            j->manager->stopping)
                return;
        if (j->output_prepared) {
                start_end_work(j, true);
                return;
        }
        job_over(j, j->ending);
}

typedef struct RemoveWork {
        uint32_t uid;
        char *results, *files;
} RemoveWork;

static void remove_work(void *data)
{
        RemoveWork *w = data;

        (void) rm_rf_at(AT_FDCWD, w->results);
        (void) rm_rf_at(AT_FDCWD, w->files);
}

static void remove_done(void *data, bool abandoned)
{
        RemoveWork *w = data;

        g_free(w->results);
        g_free(w->files);
        g_free(w);
}

static void forget_job(Manager *m, guint index)
{
        MasterJob *j = m->by_age->pdata[index];
        RemoveWork *w = g_new(RemoveWork, 1);

        *w = (RemoveWork){
                .uid = j->uid,
                .results = manager_state_path(m, "results", j),
                .files = manager_state_path(m, "jobs", j),
        };
        store_remove_job(m->store, j->number);
        if (m->plan_job == j->number)
                manager_forget_plan(m);
        bus_job_removed(j);
        g_hash_table_remove(m->jobs, j->id);
        if (*j->desc->request_id && g_hash_table_lookup(m->requests, j->desc->request_id) == j)
                g_hash_table_remove(m->requests, j->desc->request_id);
        g_ptr_array_remove_index(m->by_age, index);
        offload_run(m->offload, 0, w->uid, remove_work, remove_done, w);
}

/* Of those that are over, the one that was first; UINT_MAX when there is none to forget. Never the
 * one with the highest number: numbers go on from it after a restart, and a number means one job
 * for ever. */
static guint first_over(const Manager *m, guint *ret_count)
{
        guint first = UINT_MAX, count = 0;
        uint64_t usec = UINT64_MAX, newest = 0;

        for (guint i = 0; i < m->by_age->len; i++)
                newest = MAX(newest, ((const MasterJob *) m->by_age->pdata[i])->number);
        for (guint i = 0; i < m->by_age->len; i++) {
                const MasterJob *j = m->by_age->pdata[i];

                if (!job_is_over(j))
                        continue;
                count++;
                if (j->working == 0 && j->number < newest && j->finished_usec < usec) {
                        usec = j->finished_usec;
                        first = i;
                }
        }
        *ret_count = count;
        return first;
}

void manager_prune_jobs(Manager *m)
{
        guint count, first;

        m->prune = false;
        while ((first = first_over(m, &count)) != UINT_MAX && count > m->conf->keep_jobs)
                forget_job(m, first);
}

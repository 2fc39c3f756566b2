/*
 * Restart — jobs go on where the store says they were.
 *
 * Finished reduces stay finished. Finished maps stay so if the worker that holds their output
 * registers within a lease. Attempts that ran may do so still: their workers outlive us for a while
 * (RejoinGrace=), and say so when they register; else they are lost. What lies in the state
 * directory without a row in the store is from a submission that never came to its end, and is
 * removed.
 */
#include <dirent.h>
#include <fcntl.h>

#include "base/fs.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-manager.h"
#include "platform/log.h"
#include "platform/service.h"

/* For one job: its tasks are read and its inputs listed from the store. */
#define RESTORE_ONE_USEC (60 * USEC_PER_SEC)

typedef struct Expected {
        TaskKind kind;
        uint32_t task, attempt, worker;
} Expected;

typedef struct Restore {
        Manager *m;
        MasterJob *job;
        PlanFiles *files;
        GArray *expected; /* of Expected */
        int result;
} Restore;

static void on_worker(const StoreWorker *row, void *userdata)
{
        Manager *m = ((Restore *) userdata)->m;
        MasterWorker *w;

        w = manager_remember_worker(m, row->number, row->id, row->name, row->address, row->slots);
        w->expected = true;
        w->drained = row->drained;
        w->lease_until_usec = manager_now(m) + m->conf->lease_usec;
}

static void on_job(const StoreJob *row, void *userdata)
{
        Restore *x = userdata;
        JobDesc *desc = NULL;
        MasterJob *j;

        if (x->result < 0)
                return;
        x->result = job_desc_deserialize(row->description, row->description_size, &desc);
        if (x->result < 0 || row->state < 0 || row->state >= _JOB_STATE_MAX) {
                log_error("The row of job %" G_GUINT64_FORMAT " is damaged", row->number);
                x->result = -EBADMSG;
                return;
        }
        j = job_new(x->m, row->number, desc, row->uid);
        j->state = (JobState) row->state;
        j->ending = (JobState) row->ending;
        g_free(j->reason);
        j->reason = g_strdup(row->reason);
        g_free(j->cause);
        j->cause = g_strdup(row->cause);
        g_free(j->cause_attempt);
        j->cause_attempt = g_strdup(row->cause_attempt);
        g_free(j->error_output);
        j->error_output = g_strdup(row->error_output);
        j->submitted_usec = row->submitted_usec;
        j->started_usec = row->started_usec;
        j->finished_usec = row->finished_usec;
        j->maps = row->maps;
        j->maps_done = row->maps_done;
        j->reduces_done = row->reduces_done;
        j->attempts_failed = row->attempts_failed;
        j->attempts_lost = row->attempts_lost;
        j->outputs_lost = row->outputs_lost;
        j->input_bytes = row->input_bytes;
        j->output_created = row->output_created;
        j->output_prepared = j->state != JOB_PLANNING;
        if (j->state >= JOB_COMMITTING || j->ending != 0) {
                _cleanup_(counter_set_freep) CounterSet *set = counter_set_from_text(row->counters);

                j->counters = counters_new();
                counters_add(j->counters, set);
        }
        job_add(j);
        x->m->next_job = row->number + 1;
}

static void on_event(uint64_t seq, uint64_t usec, const char *kind, const char *text,
                     void *userdata)
{
        ((Restore *) userdata)->job->next_event = seq + 1;
}

static void on_input(const StoreInput *input, void *userdata)
{
        Restore *x = userdata;
        PlanFile file = {
                .path = g_strdup(input->path),
                .size_bytes = input->size_bytes,
                .mtime_ns = input->mtime_ns,
                .ctime_ns = input->ctime_ns,
                .inode = input->inode,
                .device = input->device,
        };

        if (x->result >= 0)
                x->result = plan_files_add(x->files, &file, NULL);
        else
                g_free(file.path);
}

/* Attempts on workers that may come back are expected; returns how many others there are, lost at
 * once. */
static uint32_t read_running(Restore *x, TaskKind kind, uint32_t task, const char *text)
{
        Expected e = {.kind = kind, .task = task};
        uint32_t lost = 0;

        for (int n; sscanf(text, "%u@%u%n", &e.attempt, &e.worker, &n) == 2; text += n) {
                const MasterWorker *w = manager_worker(x->m, e.worker);

                if (w && w->expected) {
                        g_array_append_val(x->expected, e);
                        continue;
                }
                job_attempt_ended(x->job, kind, task, e.attempt, ATTEMPT_LOST,
                                  "its worker is not known any more", CAUSE_WORKER_SILENT);
                lost++;
        }
        return lost;
}

static void on_task(const StoreTask *row, void *userdata)
{
        Restore *x = userdata;
        MasterJob *j = x->job;
        TaskKind kind = row->kind == TASK_MAP ? TASK_MAP : TASK_REDUCE;
        uint32_t lost = row->lost;
        bool done = row->done, without_output;
        CounterSet *set;

        if (row->task >= task_table_count(j->table, kind))
                return;
        /* It was committed, for there are counters, and is not run again yet: perhaps nobody needs
         * it. */
        without_output = kind == TASK_MAP && !done && *row->counters && !*row->running;
        done = done || without_output;
        if (!done)
                lost += read_running(x, kind, row->task, row->running);
        task_table_restore(j->table, kind, row->task, row->started, row->failed, lost, done,
                           row->attempt, row->worker);
        if (without_output)
                task_table_restore_lost(j->table, row->task);
        if (*row->status)
                task_table_set_status(j->table, kind, row->task, row->status);
        if (kind == TASK_MAP) {
                job_lineage_set_why(j->lineage, row->task, (LineageWhy) row->why);
                if (*row->origin)
                        j->origins[row->task] = g_strdup(row->origin);
        }
        set = counter_set_from_text(row->counters);
        if (done)
                job_set_task_counters(j, kind, row->task, set);
        else
                j->task_counters[kind][row->task] = set;
}

static void expect_attempts(Restore *x, MasterJob *j)
{
        for (guint i = 0; i < x->expected->len; i++) {
                const Expected *e = &g_array_index(x->expected, Expected, i);

                (void) job_expect_attempt(j, e->kind, e->task, e->attempt, e->worker);
        }
}

/* A job that was RUNNING: its plan from its inputs, its tasks from theirs. */
static int go_on(Restore *x, MasterJob *j)
{
        _cleanup_error_ Error e = {};
        uint32_t maps = j->maps;
        int r;

        x->files = plan_files_new();
        r = store_each_input(x->m->store, j->number, on_input, x);
        if (r >= 0)
                r = x->result;
        if (r < 0) {
                x->files = plan_files_free(x->files);
                return r;
        }
        r = job_begin(j, TAKE_PTR(x->files), &e);
        if (r >= 0 && j->maps != maps)
                r = error_setf(&e, EPROTO, "it was planned by another version: %u maps, not %u",
                               maps, j->maps);
        if (r >= 0 && !job_has_cuts(j, j->splits))
                r = error_setf(&e, EPROTO,
                               "it was planned by another version, which cut its input elsewhere: "
                               "submit it again");
        if (r < 0) {
                job_end(j, JOB_FAILED, error_message(&e, r), cause_of_errno(r), NULL, NULL);
                return 0;
        }
        r = store_each_task(x->m->store, j->number, TASK_MAP, 0, UINT32_MAX, on_task, x);
        if (r >= 0)
                r = store_each_task(x->m->store, j->number, TASK_REDUCE, 0, UINT32_MAX, on_task, x);
        if (r < 0)
                return r;
        task_table_restore_outputs_lost(j->table, j->outputs_lost);
        job_event(j, "master-restarted",
                  "the master was restarted: %u of %u maps and %u of %u reduces were done",
                  task_table_count_in(j->table, TASK_MAP, TASK_DONE), j->maps,
                  task_table_count_in(j->table, TASK_REDUCE, TASK_DONE), j->reduces);
        job_run(j);
        expect_attempts(x, j);
        /* Of a reduce that may still run, its worker will say whether it needs a map; one that does
         * not run needs all. */
        if (task_table_count_in(j->table, TASK_REDUCE, TASK_IDLE) > 0)
                job_rerun_lost(j);
        job_check_complete(j);
        return 0;
}

static int take_up(Restore *x, MasterJob *j)
{
        int r;

        x->job = j;
        g_array_set_size(x->expected, 0);
        r = store_each_event(x->m->store, j->number, on_event, x);
        if (r >= 0 && !job_is_over(j))
                r = job_restore_history(j);
        if (r < 0 || job_is_over(j))
                return r;
        if (j->ending != 0)
                job_try_end(j);
        else if (j->state == JOB_PLANNING)
                job_plan(j);
        else if (j->state == JOB_RUNNING)
                return go_on(x, j);
        else
                job_finish(j);
        return 0;
}

/* Removes what belongs to no job from one of the state's directories. */
static void remove_strays(Manager *m, const char *kind)
{
        g_autofree char *path = manager_state_path(m, kind, NULL);
        struct dirent *de;
        DIR *d;

        d = opendir(path);
        if (!d)
                return;
        while ((de = readdir(d)))
                if (de->d_name[0] != '.' && !manager_find_job(m, de->d_name))
                        (void) rm_rf_at(dirfd(d), de->d_name);
        (void) closedir(d);
}

int manager_restore(Manager *m, Error *e)
{
        g_autoptr(GArray) expected = g_array_new(FALSE, FALSE, sizeof(Expected));
        Restore x = {.m = m, .expected = expected};
        int r;

        r = lineage_restore(m->lineage, m->store);
        if (r >= 0)
                r = store_each_worker(m->store, on_worker, &x);
        if (r >= 0)
                r = store_each_job(m->store, on_job, &x);
        if (r >= 0)
                r = x.result;
        for (guint i = 0; r >= 0 && i < m->by_age->len; i++) {
                /* As long as this goes on, the start is slow and not stuck. */
                service_extend_timeout(RESTORE_ONE_USEC);
                service_status("Taking up job %u of %u", i + 1, m->by_age->len);
                r = take_up(&x, m->by_age->pdata[i]);
        }
        if (r < 0)
                return error_setf(e, r, "cannot read the state in %s: %s", m->conf->state_dir,
                                  error_text(r));
        lineage_restored(m->lineage);
        remove_strays(m, "jobs");
        remove_strays(m, "results");
        return 0;
}

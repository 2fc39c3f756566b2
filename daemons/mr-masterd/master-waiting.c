/*
 * Waiting — why nothing of a job runs, and which workers are not trusted now, in sentences for
 * people.
 *
 * The scheduler knows what it holds back; who rejected what, and with which words, is known here.
 */
#include "mr-masterd/master-manager.h"
#include "platform/log.h"

#define REASONS_MAX 3U /* workers that a sentence tells of */

/* CLOCK_MONOTONIC as the time on the wall: "14:05:33". */
static char *clock_time(Manager *m, uint64_t usec)
{
        uint64_t real = manager_realtime(m) + usec - manager_now(m);
        g_autoptr(GDateTime) at = g_date_time_new_from_unix_local((gint64) (real / USEC_PER_SEC));

        return at ? g_date_time_format(at, "%H:%M:%S") : g_strdup("?");
}

static SchedWorkerState state_of(const MasterWorker *w, uint64_t *ret_until_usec)
{
        return scheduler_worker_state(w->manager->scheduler, w->number, manager_now(w->manager),
                                      ret_until_usec);
}

bool worker_is_blacklisted(const MasterWorker *w)
{
        return w->alive && state_of(w, NULL) == SCHED_WORKER_BLACKLISTED;
}

char *worker_state_reason(const MasterWorker *w)
{
        g_autofree char *until = NULL;
        uint64_t until_usec;
        char *clock;

        if (!w->alive)
                return g_strdup(w->trouble ? w->trouble : "");
        switch (state_of(w, &until_usec)) {
        case SCHED_WORKER_BLACKLISTED:
                until = clock_time(w->manager, until_usec);
                return g_strdup_printf("until %s: tasks that failed here succeeded elsewhere%s%s",
                                       until, w->trouble ? "; the last one: " : "",
                                       w->trouble ? w->trouble : "");
        case SCHED_WORKER_BACKED_OFF:
                return g_strdup(w->trouble ? w->trouble : "");
        default:
                clock = worker_clock_trouble(w);
                return clock ? clock : g_strdup("");
        }
}

void worker_set_trouble(MasterWorker *w, const char *text)
{
        if (!w)
                return;
        g_free(w->trouble);
        w->trouble = g_utf8_make_valid(text, (gssize) MIN(strlen(text), MASTER_EVENT_MAX_BYTES));
        w->changed |= CHANGED_NUMBERS;
}

/* ---- The blacklist ---- */

static void tell_of_blacklist(MasterWorker *w)
{
        LogFields fields = {.worker = w->name};
        g_autofree char *text = NULL;
        uint64_t until_usec;

        if (state_of(w, &until_usec) == SCHED_WORKER_BLACKLISTED) {
                g_autofree char *reason = worker_state_reason(w);

                text = g_strdup_printf("%s gets no tasks %s", w->name, reason);
                manager_tell_jobs(w->manager, "worker-blacklisted", text);
        } else {
                text = g_strdup_printf("%s gets tasks again", w->name);
                manager_tell_jobs(w->manager, "worker-trusted", text);
        }
        log_full(LOG_NOTICE, &fields, 0, "Worker %s", text);
        worker_changed(w, CHANGED_STATE);
}

void manager_tell_blacklist(Manager *m)
{
        uint32_t number;

        while ((number = scheduler_take_news(m->scheduler)) > 0) {
                MasterWorker *w = manager_worker(m, number);

                if (w && w->alive)
                        tell_of_blacklist(w);
        }
}

/* ---- Why nothing runs ---- */

static char *worker_reasons(const Manager *m)
{
        g_autoptr(GString) s = g_string_new(NULL);
        GHashTableIter iter;
        unsigned told = 0, more = 0;
        gpointer p;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                g_autofree char *reason = worker_state_reason(p);
                const MasterWorker *w = p;

                if (!w->alive || !*reason)
                        continue;
                if (told == REASONS_MAX) {
                        more++;
                        continue;
                }
                g_string_append(s, told++ == 0 ? ": " : "; ");
                if (!g_str_has_prefix(reason, "worker ")) /* what they say of themselves */
                        g_string_append_printf(s, "worker %s: ", w->name);
                g_string_append(s, reason);
        }
        if (more > 0)
                g_string_append_printf(s, "; and %u more", more);
        return g_string_free(g_steal_pointer(&s), FALSE);
}

/* Names of those that do not understand it. */
static char *older_workers(const Manager *m, uint32_t level)
{
        g_autoptr(GString) s = g_string_new(NULL);
        GHashTableIter iter;
        unsigned told = 0, more = 0;
        gpointer p;

        g_hash_table_iter_init(&iter, m->workers);
        while (g_hash_table_iter_next(&iter, NULL, &p)) {
                const MasterWorker *w = p;

                if (!w->alive || w->program_level >= level)
                        continue;
                if (told == REASONS_MAX)
                        more++;
                else
                        g_string_append_printf(s, "%s%s", told++ == 0 ? "" : ", ", w->name);
        }
        if (more > 0)
                g_string_append_printf(s, " and %u more", more);
        return g_string_free(g_steal_pointer(&s), FALSE);
}

static char *waiting_for_level(const Manager *m, const MasterJob *j)
{
        const char *setting;
        uint32_t level = job_desc_program_level(j->desc, &setting);
        g_autofree char *older = older_workers(m, level);

        return g_strdup_printf("waiting for a slot on a worker that knows %s=: older, and to be "
                               "upgraded: %s",
                               setting, older);
}

/* The sentence, and its word of base/cause.h; NULL when something runs. */
static char *waiting_for(const Manager *m, const MasterJob *j, const char **ret_cause)
{
        g_autofree char *reasons = NULL;

        if (j->state != JOB_RUNNING || j->ending != 0 || j->working > 0 ||
            g_hash_table_size(j->calls) > 0)
                return NULL;
        switch (scheduler_why_waiting(m->scheduler, j->table)) {
        case SCHED_WAIT_NO_WORKER:
                *ret_cause = CAUSE_NO_WORKER;
                return g_strdup_printf("waiting for a worker: none is registered at %s",
                                       m->address);
        case SCHED_WAIT_ALL_DRAINED:
                *ret_cause = CAUSE_ALL_DRAINED;
                return g_strdup("waiting for a worker: all are drained");
        case SCHED_WAIT_LEVEL:
                *ret_cause = CAUSE_OLD_WORKERS;
                return waiting_for_level(m, j);
        case SCHED_WAIT_USER_JOBS:
                *ret_cause = CAUSE_USER_LIMIT;
                return g_strdup_printf("waiting for another job of user %u to end: %u run, and "
                                       "UserRunningJobsMax= allows no more",
                                       j->uid, m->conf->user_running_jobs_max);
        case SCHED_WAIT_USER_TASKS:
                *ret_cause = CAUSE_USER_LIMIT;
                return g_strdup_printf("waiting for tasks of user %u to end: as many run as "
                                       "UserMapsMax= and UserReducesMax= allow",
                                       j->uid);
        case SCHED_WAIT_SLOTS:
                *ret_cause = CAUSE_NO_SLOT;
                return g_strdup_printf("waiting for a slot: all %u are taken",
                                       scheduler_slots(m->scheduler));
        default:
                *ret_cause = CAUSE_NO_WILLING_WORKER;
                reasons = worker_reasons(m);
                return g_strdup_printf("waiting for a worker that takes its tasks%s",
                                       *reasons ? reasons : ": see the job's events");
        }
}

void manager_update_waiting(Manager *m)
{
        for (guint i = 0; i < m->by_age->len; i++) {
                MasterJob *j = m->by_age->pdata[i];
                g_autofree char *now = NULL;
                const char *cause = "";

                if (job_is_over(j))
                        continue;
                now = waiting_for(m, j, &cause);
                j->waiting_cause = cause;
                if (g_strcmp0(now, j->waiting_for) == 0)
                        continue;
                g_free(j->waiting_for);
                j->waiting_for = TAKE_PTR(now);
                j->changed |= CHANGED_NUMBERS;
        }
}

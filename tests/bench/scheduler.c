/*
 * The pure scheduler with a thousand workers and a hundred thousand tasks: assignments a second,
 * and memory a task.
 *
 * Each round fills every slot, then ends everything that runs, as in a cluster whose tasks all take
 * the same time; the time is that of scheduler_next(), of progress and of commits together. Memory
 * is what malloc has handed out (mallinfo2) for the table and the scheduler's books.
 *
 *      bench-scheduler [WORKERS [TASKS [JOBS]]]
 */
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "jobs/scheduler.h"

#define SLOTS 4U

static uint64_t now_usec(void)
{
        struct timespec ts;

        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

static size_t allocated(void)
{
        struct mallinfo2 m = mallinfo2();

        return m.uordblks + m.hblkhd;
}

static uint32_t number(char **argv, int argc, int index, uint32_t fallback)
{
        return index < argc ? (uint32_t) g_ascii_strtoull(argv[index], NULL, 10) : fallback;
}

typedef struct Bench {
        Scheduler *s;
        GPtrArray *tables;
        GArray *running; /* Assignment */
        uint64_t time_usec;
        uint64_t assigned;
} Bench;

static void fill_slots(Bench *b)
{
        Assignment a;

        while (scheduler_next(b->s, b->time_usec, &a) > 0) {
                g_array_append_val(b->running, a);
                b->assigned++;
        }
}

/* Everything that runs goes on to its end; a reduce first leaves its shuffle. */
static void end_all(Bench *b)
{
        for (guint i = 0; i < b->running->len; i++) {
                const Assignment *a = &g_array_index(b->running, Assignment, i);

                (void) scheduler_progress(b->s, a->table, a->kind, a->task, a->attempt,
                                          ATTEMPT_RUNNING, 0.5, b->time_usec);
                if (a->kind == TASK_REDUCE)
                        (void) scheduler_grant(b->s, a->table, a->task, a->attempt);
                (void) scheduler_commit(b->s, a->table, a->kind, a->task, a->attempt, b->time_usec);
        }
        g_array_set_size(b->running, 0);
}

int main(int argc, char *argv[])
{
        uint32_t workers = number(argv, argc, 1, 1000), tasks = number(argv, argc, 2, 100000);
        uint32_t jobs = number(argv, argc, 3, 10);
        Bench b = {.s = scheduler_new(), .tables = g_ptr_array_new()};
        size_t before, after;
        uint64_t began, took;

        b.running = g_array_sized_new(FALSE, FALSE, sizeof(Assignment), workers * SLOTS * 2);
        before = allocated();
        for (uint32_t w = 1; w <= workers; w++)
                scheduler_set_worker(b.s, w, SLOTS);
        for (uint32_t i = 0; i < jobs; i++) {
                uint32_t reduces = MAX(tasks / jobs / 100, 1);
                TaskTable *t = task_table_new(tasks / jobs - reduces, reduces, 4, 0);

                g_ptr_array_add(b.tables, t);
                scheduler_add_job(b.s, t, &(SchedJobOptions){.uid = i % 7, .backups = true});
        }
        began = now_usec();
        for (fill_slots(&b); b.running->len > 0; fill_slots(&b)) {
                end_all(&b);
                b.time_usec += USEC_PER_SEC;
        }
        took = MAX(now_usec() - began, 1);
        after = allocated();
        printf("scheduler: %u workers, %" G_GUINT64_FORMAT " tasks of %u jobs: %.0f assignments/s "
               "(goal: 50000), %.0f bytes a task (goal: 1024)\n",
               workers, b.assigned, jobs, (double) b.assigned * USEC_PER_SEC / (double) took,
               (double) (after - before) / (double) b.assigned);
        for (guint i = 0; i < b.tables->len; i++) {
                scheduler_remove_job(b.s, b.tables->pdata[i]);
                task_table_free(b.tables->pdata[i]);
        }
        g_ptr_array_unref(b.tables);
        g_array_unref(b.running);
        scheduler_free(b.s);
        return 0;
}

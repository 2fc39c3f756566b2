/*
 * mrctl run — submit a job, show how it goes, and bring its result.
 */
#include <fcntl.h>
#include <inttypes.h>

#include "base/cause.h"
#include "cli/job-file.h"
#include "cli/print.h"
#include "cli/result.h"
#include "cli/verbs.h"
#include "cli/watch.h"

typedef struct Run {
        const Arguments *arguments;
        const JobRequest *request;
        Local *local; /* NULL, or the daemons that were started for this job */
        PrintJob print;
} Run;

static int check(const Arguments *a, const JobArguments *job, Error *e)
{
        int r = job_arguments_check(job, e);

        if (r >= 0 && a->json != JSON_OFF && !job->output && !a->print_job)
                return error_setf(e, EINVAL,
                                  "run --json prints the job, not its result: "
                                  "it needs --output");
        return r;
}

/* Not after hours of work; and before anything is opened, which would have its number. */
static int check_stdout(const JobArguments *job, Error *e)
{
        if (job->output || fcntl(STDOUT_FILENO, F_GETFD) >= 0)
                return 0;
        return error_setf(e, errno,
                          "cannot print the result: standard output is closed; open it, or give "
                          "--output");
}

static int detached(const Job *j)
{
        (void) fprintf(stderr, "Job %s goes on; 'mrctl wait %s' waits for it.\n", j->id, j->id);
        return EXIT_SIGNAL(SIGINT);
}

static uint64_t skipped_records(const Job *j)
{
        for (guint i = 0; i < j->counters->len; i++) {
                const JobCounter *c = &g_array_index(j->counters, JobCounter, i);

                if (g_str_equal(c->name, "map_skipped_records"))
                        return c->value;
        }
        return 0;
}

/* A result that lacks something must not look like any other. */
static void tell_skipped(const Run *run, const Job *j)
{
        uint64_t count = skipped_records(j);
        const char *were = count == 1 ? "record was" : "records were";

        if (count == 0 || run->arguments->quiet)
                return;
        if (*j->output)
                (void) fprintf(stderr, "%" PRIu64 " %s skipped, see %s/_skipped-records\n", count,
                               were, j->output);
        else if (run->local)
                (void) fprintf(stderr,
                               "%" PRIu64 " %s skipped; --output=DIR keeps such records in "
                               "DIR/_skipped-records\n",
                               count, were);
        else
                (void) fprintf(stderr, "%" PRIu64 " %s skipped; 'mrctl logs %s' says where\n",
                               count, were, j->id);
}

static void tell_unshipped(const Run *run)
{
        g_autofree char *path = job_request_find_unshipped(run->request);
        g_autofree char *name = path ? g_path_get_basename(path) : NULL;

        if (path)
                (void) fprintf(stderr,
                               "A command names %s, which is a file here, and not where commands "
                               "run: if it is meant, add --file %s, and call it %s\n",
                               path, path, name);
}

/* The one worker's spool is ours: no administrator is to be asked. */
static void tell_remedy(const Local *l, const Job *j)
{
        g_autofree char *tmp = g_path_get_dirname(l->dir);

        if (g_str_equal(j->cause, CAUSE_DISK_FULL))
                (void) complain("the job's files were in %s%s%s: make room there, or set $TMPDIR "
                                "to a directory of another file system",
                                tmp, *j->output ? " and " : "", j->output);
}

static int finished(const Run *run, Master *m, const Job *j)
{
        int status;

        if (!job_is_done(j)) {
                result_complain(j);
                if (g_str_equal(j->state, "failed") && !run->arguments->quiet)
                        tell_unshipped(run);
                if (run->local)
                        tell_remedy(run->local, j);
                return EXIT_JOB_FAILED;
        }
        if (!*j->output) {
                status = result_print(m, j, run->local);
                tell_skipped(run, j);
                return status;
        }
        if (!run->arguments->quiet)
                (void) fprintf(stderr, "The result of job %s is in %s\n", j->id, j->output);
        tell_skipped(run, j);
        return EXIT_SUCCESS;
}

static int conclude(const Run *run, Watch *w, WatchEnd how, Error *e)
{
        JsonMode json = run->arguments->json;
        int status;

        switch (how) {
        case WATCH_DETACHED:
                return detached(w->job);
        case WATCH_INTERRUPTED:
                if (w->job && job_is_over(w->job))
                        (void) complain("job %s was cancelled", w->job->id);
                return EXIT_SIGNAL(w->signal_number);
        case WATCH_FAILED:
                return complain("%s", error_message(e, -EIO));
        default:
                status = finished(run, w->master, w->job);
        }
        if (json != JSON_OFF) {
                int r = run->print(w->job, json);

                return status != EXIT_SUCCESS ? status : r;
        }
        return status;
}

static int submit_and_watch(const Run *run, Master *m)
{
        bool asks = !run->local && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
        _cleanup_(watch_done) Watch w = {};
        _cleanup_error_ Error e = {};
        WatchEnd how;
        int r;

        r = watch_init(&w, m, run->local, asks ? INTERRUPT_ASK : INTERRUPT_CANCEL,
                       run->arguments->quiet, &e);
        if (r >= 0)
                r = watch_submit(&w, run->request, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        how = watch_run(&w, &e);
        if (run->local) /* it has nothing more to do, and may go while the result is read */
                local_release(run->local, LOCAL_WORKER);
        return conclude(run, &w, how, &e);
}

static int run_on_bus(Run *run)
{
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int r;

        r = master_connect(&m, run->arguments, &e);
        return r < 0 ? complain("%s", error_message(&e, r)) : submit_and_watch(run, &m);
}

static int run_locally(Run *run)
{
        _cleanup_(local_stop) Local l = LOCAL_NONE;
        _cleanup_(master_done) Master m = {};
        _cleanup_error_ Error e = {};
        int bus_fd, r;

        run->local = &l;
        r = local_start(&l, run->arguments->slots, &bus_fd, &e);
        if (r >= 0)
                r = master_connect_fd(&m, bus_fd, &e);
        return r < 0 ? complain("%s", error_message(&e, r)) : submit_and_watch(run, &m);
}

int verb_run(const Arguments *a, PrintJob print)
{
        _cleanup_(job_file_freep) JobFile *file = NULL;
        _cleanup_(job_request_done) JobRequest q = {};
        _cleanup_error_ Error e = {};
        Run run = {.arguments = a, .request = &q, .print = print};
        JobArguments job = a->job;
        int r;

        r = job_file_take(&job, &file, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        r = check(a, &job, &e);
        if (r < 0) {
                (void) complain("%s", error_message(&e, r));
                return EXIT_USAGE;
        }
        r = check_stdout(&job, &e);
        if (r >= 0)
                r = job_request_init(&q, &job, &e);
        if (r >= 0 && a->print_job)
                r = job_file_print(&q, &e);
        if (r < 0)
                return complain("%s", error_message(&e, r));
        if (a->print_job)
                return print_finish();
        return a->local ? run_locally(&run) : run_on_bus(&run);
}

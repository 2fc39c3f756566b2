/*
 * Watching a job until it is over — see watch.h.
 */
#include <signal.h>

#include "base/output-names.h"
#include "cli/watch.h"

/* How long a cancelled job may take to say so before we leave anyway. */
#define CANCEL_TIMEOUT_USEC (10 * USEC_PER_SEC)

/* Not sd_event_exit(): it would close the bus, which the result still has to come over. */
static int end(Watch *w, WatchEnd how)
{
        if (w->ended)
                return 0;
        w->ended = true;
        w->how = how;
        return 0;
}

static int fail(Watch *w)
{
        return end(w, WATCH_FAILED);
}

/* The last signal may have come in pieces: once over, the job is read whole. */
static int job_changed(Watch *w)
{
        if (!job_is_over(w->job)) {
                if (w->changed)
                        w->changed(w);
                progress_update(&w->progress, w->job);
                return 0;
        }
        (void) job_reread(w->master, w->job, NULL);
        if (w->changed)
                w->changed(w);
        return end(w, w->cancelling && !job_is_done(w->job) ? WATCH_INTERRUPTED : WATCH_OVER);
}

static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        Watch *w = userdata;
        int r;

        if (!w->job)
                return 0;
        r = job_update(w->job, m);
        if (r != 0)
                r = job_reread(w->master, w->job, &w->error);
        return r < 0 ? fail(w) : job_changed(w);
}

static int on_cancel_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
        Watch *w = userdata;

        progress_clear(&w->progress);
        (void) fprintf(stderr, "mrctl: the master does not answer; the job may go on\n");
        return end(w, WATCH_INTERRUPTED);
}

static int on_cancel_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        const sd_bus_error *error = sd_bus_message_get_error(m);
        Watch *w = userdata;

        /* Over already: its signal is on the way. */
        if (!error || sd_bus_error_has_name(error, BUS_ERROR_WRONG_STATE))
                return 0;
        (void) master_explain(w->master, error, -EIO, &w->error);
        return fail(w);
}

static int send_cancel(Watch *w)
{
        return sd_bus_call_method_async(w->master->bus, NULL, w->master->name, w->job->path,
                                        JOB_INTERFACE, "Cancel", on_cancel_reply, w, NULL);
}

/* If the job is still being submitted, its cancelling follows the reply. */
static int cancel(Watch *w)
{
        int r;

        if (w->cancelling)
                return end(w, WATCH_INTERRUPTED);
        w->cancelling = true;
        r = sd_event_add_time_relative(w->event, &w->cancel_timer, CLOCK_MONOTONIC,
                                       CANCEL_TIMEOUT_USEC, 0, on_cancel_timeout, w);
        if (r >= 0 && w->job)
                r = send_cancel(w);
        return r;
}

static void stop_asking(Watch *w)
{
        w->stdin_source = sd_event_source_disable_unref(w->stdin_source);
        progress_pause(&w->progress, false);
}

static int on_answer(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Watch *w = userdata;
        char line[256];
        ssize_t n = read(fd, line, sizeof(line));
        char answer = n > 0 ? line[0] : 'd'; /* the terminal is gone: the job is not to blame */

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        stop_asking(w);
        if (answer == 'd' || answer == 'D')
                return end(w, WATCH_DETACHED);
        if (answer == 'c' || answer == 'C')
                return cancel(w);
        w->signal_number = 0;
        return 0;
}

static int ask(Watch *w)
{
        progress_pause(&w->progress, true);
        (void) fprintf(stderr,
                       "\nJob %s is running. Detach from it, cancel it, or go on? [d/c/Enter] ",
                       w->job->id);
        (void) fflush(stderr);
        return sd_event_add_io(w->event, &w->stdin_source, STDIN_FILENO, EPOLLIN, on_answer, w);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        bool first = !((Watch *) userdata)->signal_number;
        Watch *w = userdata;

        w->signal_number = w->signal_number ? w->signal_number : (int) si->ssi_signo;
        if (w->policy == INTERRUPT_LEAVE)
                return end(w, WATCH_INTERRUPTED);
        if (w->policy == INTERRUPT_ASK && first && w->job && si->ssi_signo == SIGINT && ask(w) >= 0)
                return 0;
        if (w->stdin_source)
                stop_asking(w);
        return cancel(w);
}

static void on_daemon_ended(const char *name, int status, void *userdata)
{
        Watch *w = userdata;

        (void) error_setf(&w->error, EIO, "our %s ended with status %d before the job was over",
                          name, status);
        (void) fail(w);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        Watch *w = userdata;

        (void) error_setf(&w->error, ECONNRESET, "the connection to the %s was lost",
                          w->master->name ? "bus" : "master");
        return fail(w);
}

static int on_master_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *name, *old_owner, *new_owner;
        Watch *w = userdata;
        int r;

        r = sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner);
        if (r < 0 || !w->job || !g_str_equal(name, MASTER_NAME))
                return 0;
        if (!*new_owner) {
                if (!w->progress.quiet) {
                        progress_clear(&w->progress);
                        (void) fprintf(stderr,
                                       "mrctl: the master is gone; waiting for its return\n");
                }
                return 0;
        }
        r = job_reread(w->master, w->job, &w->error);
        return r < 0 ? fail(w) : job_changed(w);
}

static int add_matches(Watch *w)
{
        sd_bus *bus = w->master->bus;
        int r;

        r = sd_bus_match_signal(bus, NULL, NULL, "/org/freedesktop/DBus/Local",
                                "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, w);
        if (r >= 0 && w->master->name)
                r = sd_bus_add_match(bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus',"
                                     "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                     "arg0='" MASTER_NAME "'",
                                     on_master_owner, w);
        return r;
}

/* As nohup(1) has it. */
static bool is_ignored(int signal_number)
{
        struct sigaction action;

        return sigaction(signal_number, NULL, &action) >= 0 && action.sa_handler == SIG_IGN;
}

int watch_init(Watch *w, Master *m, Local *l, WatchInterrupt policy, bool quiet, Error *e)
{
        /* The job of a local master ends with us: when the terminal is closed, too. */
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
        size_t count = l && !is_ignored(SIGHUP) ? 3 : 2;
        sigset_t set;
        int r;

        *w = (Watch){.master = m, .local = l, .policy = policy};
        (void) sigemptyset(&set);
        for (size_t i = 0; i < count; i++)
                (void) sigaddset(&set, signals[i]);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);

        r = sd_event_new(&w->event);
        for (size_t i = 0; i < count && r >= 0; i++)
                r = sd_event_add_signal(w->event, NULL, signals[i], on_signal, w);
        if (r >= 0)
                r = progress_init(&w->progress, w->event, quiet);
        if (r >= 0)
                r = sd_bus_attach_event(m->bus, w->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = add_matches(w);
        if (r >= 0 && l)
                r = local_watch(l, w->event, on_daemon_ended, w);
        if (master_is_lost(r))
                return master_explain(m, NULL, r, e);
        return r < 0 ? error_setf(e, r, "cannot watch the job: %s", error_text(r)) : 0;
}

void watch_done(Watch *w)
{
        progress_done(&w->progress);
        (void) sd_event_source_disable_unref(w->stdin_source);
        (void) sd_event_source_disable_unref(w->cancel_timer);
        if (w->master && w->master->bus)
                (void) sd_bus_detach_event(w->master->bus);
        w->job = job_free(w->job);
        w->event = sd_event_unref(w->event);
        error_done(&w->error);
}

int watch_follow(Watch *w, const char *path, Error *e)
{
        int r;

        /* The match first: what changes between it and the reading is not lost. */
        r = sd_bus_match_signal(w->master->bus, NULL, w->master->name, path,
                                "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                on_properties_changed, w);
        if (r < 0)
                return error_setf(e, r, "cannot watch the job: %s", error_text(r));
        r = job_read(w->master, path, &w->job, e);
        if (r < 0)
                return r;
        if (w->cancelling)
                (void) send_cancel(w);
        return job_changed(w);
}

static void tell_output(const Watch *w)
{
        g_autofree char *tag =
                g_strdup_printf(OUTPUT_TAG_FORMAT, w->job->id, w->job->submitted_usec);

        local_tell_output(w->local, w->job->output, tag);
}

static int on_submitted(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        const sd_bus_error *error = sd_bus_message_get_error(m);
        const char *id, *path;
        Watch *w = userdata;
        int r;

        if (error) {
                (void) master_explain(w->master, error, -sd_bus_message_get_errno(m), &w->error);
                return fail(w);
        }
        r = sd_bus_message_read(m, "so", &id, &path);
        if (r < 0)
                (void) master_bad_reply(r, &w->error);
        else
                r = watch_follow(w, path, &w->error);
        if (r >= 0 && w->local)
                tell_output(w);
        return r < 0 ? fail(w) : 0;
}

int watch_submit(Watch *w, const JobRequest *q, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = job_request_message(q, w->master, &call, e);
        if (r < 0)
                return r;
        /* No time limit: ^C and the connection end it. */
        r = sd_bus_call_async(w->master->bus, NULL, call, on_submitted, w, USEC_INFINITY);
        return r < 0 ? error_setf(e, r, "cannot send the job: %s", error_text(r)) : 0;
}

void watch_leave(Watch *w)
{
        (void) end(w, WATCH_DETACHED);
}

WatchEnd watch_run(Watch *w, Error *e)
{
        int r = 0;

        while (!w->ended && r >= 0)
                r = sd_event_run(w->event, USEC_INFINITY);
        progress_clear(&w->progress);
        if (r < 0) {
                w->how = WATCH_FAILED;
                (void) error_setf(&w->error, r, "the event loop failed: %s", error_text(r));
        }
        if (w->how == WATCH_FAILED)
                (void) error_setf(e, w->error.code, "%s", error_message(&w->error, -EIO));
        return w->how;
}

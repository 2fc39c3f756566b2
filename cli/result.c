/*
 * The result of a job — see result.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/text.h"
#include "cli/merge.h"
#include "cli/remote.h"
#include "cli/result.h"
#include "cli/verbs.h"
#include "platform/service.h"

#define QUICK_BYTES KIB(64) /* a pipe takes them, whether or not somebody reads */
#define ERROR_LINE_MAX 2000 /* bytes shown of one line that a user's command wrote */

typedef struct Source {
        Master *master;
        const Job *job;
        Local *local;        /* or NULL */
        uint64_t size_bytes; /* of the parts that were opened */
} Source;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
        interrupted = signal_number;
}

/* Without SA_RESTART: a write() that waits for a slow reader must return. */
static void take_interrupts(void)
{
        struct sigaction action = {.sa_handler = on_interrupt};
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaction(SIGINT, &action, NULL);
        (void) sigaction(SIGTERM, &action, NULL);
        (void) sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int open_from_master(Source *s, uint32_t part, int *ret_fd, Error *e)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct stat st;
        int fd, r;

        r = master_call(s->master, s->job->path, JOB_INTERFACE, "OpenPart", &reply, e, "u", part);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                return master_bad_reply(r, e);
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* the message closes its own */
        if (fd < 0)
                return error_setf(e, errno, "cannot keep part %u open: %s", part,
                                  error_text(errno));
        *ret_fd = fd;
        s->size_bytes += fstat(fd, &st) >= 0 ? (uint64_t) st.st_size : 0;
        if (s->local && s->size_bytes > QUICK_BYTES)
                local_guard(s->local);
        return 0;
}

/* Is there a part of that name, with an ending? */
static bool is_compressed(const char *path)
{
        static const char *const endings[] = {".gz", ".bz2", ".zst", ".lz4", ".xz"};

        for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
                g_autofree char *name = g_strconcat(path, endings[i], NULL);

                if (access(name, F_OK) >= 0)
                        return true;
        }
        return false;
}

static int open_part(void *userdata, uint32_t part, int *ret_fd, Error *e)
{
        Source *s = userdata;
        g_autofree char *path = NULL;
        int fd;

        if (!*s->job->output)
                return open_from_master(s, part, ret_fd, e);
        path = g_strdup_printf("%s/part-%05u", s->job->output, part);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno == ENOENT && is_compressed(path))
                return error_setf(e, EINVAL,
                                  "the parts in %s are compressed: unpack them with the program of "
                                  "their names' ending",
                                  s->job->output);
        if (fd < 0)
                return error_setf(e, errno, "cannot open %s: %s", path, error_text(errno));
        *ret_fd = fd;
        return 0;
}

static int print_remote(const Master *m, const Job *j)
{
        const char *const words[] = {"cat", j->id, NULL};
        _cleanup_error_ Error e = {};
        int r;

        r = remote_mrctl(m->host, words, &e);
        return r < 0 ? complain("%s", e.message) : r;
}

int result_print(Master *m, const Job *j, Local *l)
{
        Source source = {.master = m, .job = j, .local = l};
        MergeOptions options = {
                .interrupted = &interrupted,
                .in_order = j->result_order && g_str_equal(j->result_order, "parts"),
        };
        _cleanup_error_ Error e = {};
        int r;

        if (m->host)
                return print_remote(m, j);
        service_raise_fd_limit();
        take_interrupts();
        r = merge_parts(open_part, &source, j->reduces > 0 ? j->reduces : j->maps, STDOUT_FILENO,
                        &options, &e);
        if (interrupted)
                return EXIT_SIGNAL(interrupted);
        if (r == -EPIPE && !e.message)
                return EXIT_SUCCESS;
        if (r < 0 && !e.message)
                return complain("cannot print the result: %s", error_text(r));
        return r < 0 ? complain("%s", e.message) : EXIT_SUCCESS;
}

static void print_error_output(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++) {
                g_autofree char *safe = text_escape(*line, strlen(*line), ERROR_LINE_MAX);

                if (**line || line[1]) /* not what follows the last newline */
                        (void) fprintf(stderr, "    %s\n", safe);
        }
}

void result_complain(const Job *j)
{
        g_autofree char *reason = text_escape_sentence(j->state_reason, 4000);

        if (g_str_equal(j->state, "cancelled"))
                (void) complain("job %s was cancelled", j->id);
        else
                (void) complain("job %s failed%s%s", j->id, *reason ? ": " : "", reason);
        print_error_output(j->error_output);
}

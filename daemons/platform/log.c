/*
 * Journal logging — see log.h.
 */
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "base/parse.h"
#include "platform/log.h"

static const char *log_name = "mapreduced";
static int max_level = LOG_INFO;
static bool to_journal;

int log_level_from_string(const char *s)
{
        static const char *const names[] = {"emerg",   "alert",  "crit", "err",
                                            "warning", "notice", "info", "debug"};
        uint32_t v;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (g_str_equal(s, names[i]))
                        return (int) i;
        if (parse_u32_range(s, LOG_EMERG, LOG_DEBUG, &v) < 0)
                return -EINVAL;
        return (int) v;
}

/* True when stderr is the very stream that the service manager connected to the journal. */
static bool stderr_is_journal(void)
{
        const char *e = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        if (!e || sscanf(e, "%llu:%llu", &device, &inode) != 2 || fstat(STDERR_FILENO, &st) < 0)
                return false;
        return st.st_dev == (dev_t) device && st.st_ino == (ino_t) inode;
}

void log_open(const char *name)
{
        const char *e = getenv("MR_LOG_LEVEL");
        int level = e ? log_level_from_string(e) : -EINVAL;

        log_name = name;
        to_journal = stderr_is_journal();
        if (level >= 0)
                max_level = level;
}

bool log_is_journal(void)
{
        return to_journal;
}

void log_set_max_level(int level)
{
        max_level = level;
}

static void add_field(struct iovec *iov, size_t *n, const char *name, const char *value)
{
        char *s;

        if (!value)
                return;
        s = g_strdup_printf("%s=%s", name, value);
        iov[(*n)++] = (struct iovec){.iov_base = s, .iov_len = strlen(s)};
}

/* Workers know a job as NUMBER-TAG, where the tag is of the master's state; people know its
 * number. */
static char *job_number(const char *id)
{
        return g_strndup(id, strcspn(id, "-"));
}

static void write_journal(int level, const LogFields *f, int error, const char *message)
{
        char priority[4], number[16];
        struct iovec iov[9];
        size_t n = 0;

        g_snprintf(priority, sizeof(priority), "%d", level);
        g_snprintf(number, sizeof(number), "%d", error < 0 ? -error : error);
        add_field(iov, &n, "MESSAGE", message);
        add_field(iov, &n, "PRIORITY", priority);
        add_field(iov, &n, "SYSLOG_IDENTIFIER", log_name);
        add_field(iov, &n, "ERRNO", error ? number : NULL);
        if (f) {
                g_autofree char *job = f->job ? job_number(f->job) : NULL;

                add_field(iov, &n, "MR_JOB", job);
                add_field(iov, &n, "MR_TASK", f->task);
                add_field(iov, &n, "MR_ATTEMPT", f->attempt);
                add_field(iov, &n, "MR_WORKER", f->worker);
                add_field(iov, &n, "MESSAGE_ID", f->message_id);
        }
        (void) sd_journal_sendv(iov, (int) n);
        for (size_t i = 0; i < n; i++)
                g_free(iov[i].iov_base);
}

void log_full(int level, const LogFields *fields, int error, const char *format, ...)
{
        g_autofree char *message = NULL;
        int saved = errno;
        va_list ap;

        if (level > max_level)
                return;

        errno = error < 0 ? -error : error;
        va_start(ap, format);
        message = g_strdup_vprintf(format, ap);
        va_end(ap);

        if (to_journal)
                write_journal(level, fields, error, message);
        else {
                g_autofree char *line = g_strdup_printf("%s: %s\n", log_name, message);

                (void) !write(STDERR_FILENO, line,
                              strlen(line)); /* one write: lines of two daemons never mix */
        }
        errno = saved;
}

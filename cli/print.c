/*
 * Printing — see print.h.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/parse.h"
#include "cli/print.h"
#include "cli/verbs.h"
#include "platform/spawn.h"

static pid_t pager;

bool wants_colour(int fd)
{
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

        if (no_color && *no_color) /* no-color.org: set and not empty */
                return false;
        if (!term || g_str_equal(term, "dumb"))
                return false;
        return isatty(fd) || (fd == STDOUT_FILENO && pager > 0);
}

const char *state_colour(const char *state)
{
        static const struct {
                const char *state, *colour;
        } colours[] = {
                {"done", "\x1b[0;1;32m"},       {"alive", "\x1b[0;1;32m"},
                {"failed", "\x1b[0;1;31m"},     {"lost", "\x1b[0;1;31m"},
                {"succeeded", "\x1b[0;1;32m"},  {"rejected", "\x1b[0;1;31m"},
                {"draining", "\x1b[0;1;33m"},   {"drained", "\x1b[0;1;33m"},
                {"killed", "\x1b[0;38;5;245m"}, {"cancelled", "\x1b[0;38;5;245m"},
        };

        for (size_t i = 0; i < ELEMENTSOF(colours); i++)
                if (g_str_equal(colours[i].state, state))
                        return colours[i].colour;
        return "";
}

char *format_time(uint64_t usec)
{
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64];
        struct tm tm;

        if (usec == 0 || !localtime_r(&seconds, &tm) ||
            strftime(text, sizeof(text), "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                return g_strdup("-");
        return g_strdup(text);
}

unsigned terminal_width(int fd)
{
        const char *columns = getenv("COLUMNS");
        struct winsize size;
        uint32_t n;

        if (columns && parse_u32_range(columns, 1, 10000, &n) >= 0)
                return n;
        if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) >= 0 && size.ws_col > 0)
                return size.ws_col;
        return 80;
}

uint64_t now_realtime_usec(void)
{
        return (uint64_t) g_get_real_time();
}

char *format_duration(uint64_t from_usec, uint64_t to_usec)
{
        if (from_usec == 0)
                return g_strdup("-");
        if (to_usec == 0)
                to_usec = now_realtime_usec();
        return format_timespan(to_usec > from_usec ? to_usec - from_usec : 0);
}

char *format_ago(uint64_t usec)
{
        uint64_t now = now_realtime_usec();
        g_autofree char *span = NULL;

        if (usec == 0)
                return g_strdup("-");
        if (now < usec + USEC_PER_SEC)
                return g_strdup("just now");
        span = now - usec < 60 * USEC_PER_SEC
                       ? g_strdup_printf("%us", (unsigned) ((now - usec) / USEC_PER_SEC))
                       : format_timespan(now - usec);
        return g_strconcat(span, " ago", NULL);
}

int print_finish(void)
{
        int saved = 0;

        if (ferror(stdout)) { /* some time ago: only another try says why */
                clearerr(stdout);
                (void) putchar('\n');
                saved = EIO;
        }
        errno = 0;
        if (fflush(stdout) != 0)
                saved = errno;
        pager_close();
        if (saved == 0 || saved == EPIPE)
                return EXIT_SUCCESS;
        return complain("cannot write to standard output: %s", error_text(saved));
}

/* The command in the environment, in systemctl's order; NULL: the user wants none. */
static const char *pager_command(void)
{
        static const char *const names[] = {"SYSTEMD_PAGER", "PAGER"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *command = getenv(names[i]);

                if (command)
                        return *command && !g_str_equal(command, "cat") ? command : NULL;
        }
        return "command -v less >/dev/null && exec less; exec cat";
}

void pager_open(const Arguments *a)
{
        const char *command = pager_command();
        char *argv[] = {(char *) "sh", (char *) "-c", (char *) command, NULL};
        const char *less = getenv("SYSTEMD_LESS");
        g_auto(GStrv) env = g_get_environ();
        SpawnOptions o = {.cwd_fd = -1};
        SpawnFd fds[1];
        int pipe_fds[2];

        if (a->no_pager || a->json != JSON_OFF || !command || !isatty(STDOUT_FILENO))
                return;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return;
        env = g_environ_setenv(env, "LESS", less ? less : "FRSXMK", less != NULL);
        if (getenv("SUDO_UID")) /* no shell from a pager that runs as somebody else */
                env = g_environ_setenv(env, "LESSSECURE", "1", TRUE);
        fds[0] = (SpawnFd){.ours = pipe_fds[0], .theirs = STDIN_FILENO};
        o.fds = fds;
        o.fd_count = ELEMENTSOF(fds);
        o.env = env;
        if (spawn("sh", argv, &o, &pager) < 0)
                pager = 0;
        else
                (void) dup2(pipe_fds[1], STDOUT_FILENO);
        safe_close(pipe_fds[0]);
        safe_close(pipe_fds[1]);
}

void pager_close(void)
{
        if (pager <= 0)
                return;
        (void) fclose(stdout);
        (void) waitpid(pager, NULL, 0);
        pager = 0;
}

/*
 * A daemon's life — see service.h.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "platform/log.h"
#include "platform/service.h"

static bool guest;
static ModuleHost guests_host;

void service_be_guest(const ModuleHost *host)
{
        guest = true;
        guests_host = *host;
}

const ModuleHost *service_host(void)
{
        return guest ? &guests_host : NULL;
}

static void notify(const char *state)
{
        if (!guest)
                (void) sd_notify(false, state);
}

int service_start_watchdog(Loop *l)
{
        return guest ? 0 : sd_event_set_watchdog(loop_sd_event(l), true);
}

void service_ready(void)
{
        notify("READY=1");
}

void service_reloading(void)
{
        g_autofree char *text = g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT,
                                                g_get_monotonic_time());

        notify(text);
}

void service_stopping(void)
{
        notify("STOPPING=1");
}

void service_failed(int error, const char *sentence)
{
        g_autofree char *text =
                g_strdup_printf("STATUS=%s\nERRNO=%d", sentence, error < 0 ? -error : error);

        notify(text);
}

void service_extend_timeout(uint64_t usec)
{
        g_autofree char *text = g_strdup_printf("EXTEND_TIMEOUT_USEC=%" PRIu64, usec);

        notify(text);
}

static struct {
        void (*fn)(void *userdata);
        void *userdata;
} reload;

static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        service_reloading();
        reload.fn(reload.userdata);
        service_ready();
        return 0;
}

int service_reload_on_hangup(Loop *l, void (*fn)(void *userdata), void *userdata)
{
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        reload.fn = fn;
        reload.userdata = userdata;
        return sd_event_add_signal(loop_sd_event(l), NULL, SIGHUP, on_reload_signal, NULL);
}

void service_status(const char *format, ...)
{
        g_autofree char *text = NULL, *line = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        line = g_strconcat("STATUS=", text, NULL);
        notify(line);
}

static int on_hangup(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        log_debug("The process that started us is gone, ending");
        loop_exit(userdata, 0);
        return 0;
}

int service_exit_with_fd(Loop *l, int fd)
{
        /* EPOLLHUP and EPOLLERR are always reported; EPOLLRDHUP for the half-closed socket. */
        return sd_event_add_io(loop_sd_event(l), NULL, fd, EPOLLRDHUP, on_hangup, l);
}

void service_raise_fd_limit(void)
{
        struct rlimit rl;

        if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur >= rl.rlim_max)
                return;
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
}

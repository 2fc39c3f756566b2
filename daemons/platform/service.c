/*
 * A daemon's life — see service.h.
 */
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "platform/log.h"
#include "platform/service.h"

int service_start_watchdog(Loop *l)
{
        return sd_event_set_watchdog(loop_sd_event(l), true);
}

void service_ready(void)
{
        (void) sd_notify(false, "READY=1");
}

void service_reloading(void)
{
        g_autofree char *text = g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT,
                                                g_get_monotonic_time());

        (void) sd_notify(false, text);
}

void service_stopping(void)
{
        (void) sd_notify(false, "STOPPING=1");
}

void service_status(const char *format, ...)
{
        g_autofree char *text = NULL, *line = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        line = g_strconcat("STATUS=", text, NULL);
        (void) sd_notify(false, line);
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

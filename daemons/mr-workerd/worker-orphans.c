/*
 * Orphans — see worker-orphans.h.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/parse.h"
#include "mr-workerd/worker-orphans.h"
#include "platform/service.h"

#define CHILDREN_MAX_BYTES MIB(1)
#define POLL_USEC 500

int orphans_adopt(void)
{
        return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0;
}

/* Call it after children were listed: one that was among them is known by then. */
static pid_t host_child(void)
{
        pid_t pid = service_host() ? *service_host()->child : 0;

        while (pid == HOST_STARTS_CHILD) { /* for as long as posix_spawn() takes */
                g_usleep(POLL_USEC);
                pid = *service_host()->child;
        }
        return pid;
}

int orphans_kill(bool (*is_ours)(pid_t pid, void *userdata), void *userdata)
{
        g_autofree char *path = NULL;
        _cleanup_free_ char *text = NULL;
        g_auto(GStrv) words = NULL;
        int found = 0, r;
        pid_t hosts;

        /* Children that were adopted belong to the first thread, as do those that it started. */
        path = g_strdup_printf("/proc/self/task/%d/children", (int) getpid());
        r = read_file(path, CHILDREN_MAX_BYTES, &text, NULL);
        if (r < 0)
                return r;
        hosts = host_child();
        words = g_strsplit_set(text, " \n", -1);
        for (char **w = words; *w; w++) {
                uint32_t pid;

                if (parse_u32_range(*w, 1, INT32_MAX, &pid) < 0 || is_ours((pid_t) pid, userdata) ||
                    (pid_t) pid == hosts)
                        continue;
                found++;
                if (getpgid((pid_t) pid) == (pid_t) pid)
                        (void) kill(-(pid_t) pid, SIGKILL);
                (void) kill((pid_t) pid, SIGKILL);
                (void) waitpid((pid_t) pid, NULL, WNOHANG);
        }
        return found;
}

/*
 * Programs of another host — see remote.h.
 *
 * A result is merged where its parts are, and comes as one stream through ssh: no descriptor has to
 * cross, nothing is stored on the way, and who may read it is decided there, for the user whom ssh
 * let in.
 */
#include <sys/wait.h>

#include "base/text.h"
#include "cli/remote.h"
#include "platform/spawn.h"

/* What follows the last colon, when it is a port and the host is no bare IPv6 address. */
static const char *find_port(const char *host)
{
        const char *colon = strrchr(host, ':');

        if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
                return NULL;
        return strchr(host, ':') == colon || (colon > host && colon[-1] == ']') ? colon + 1 : NULL;
}

/* A shell reads them at the other end. */
static bool is_plain(const char *word)
{
        return *word && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-/=@.") == strlen(word);
}

static int explain(int status, const char *host, Error *e)
{
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

        if (WIFSIGNALED(status))
                return 128 + WTERMSIG(status);
        if (code == 127)
                return error_setf(e, ENOENT,
                                  "there is no mrctl on %s, which would print it: install the "
                                  "package mrctl there",
                                  host);
        if (code == 255)
                return error_setf(e, ENOLINK, "cannot reach %s: does 'ssh %s' work?", host, host);
        return code;
}

int remote_mrctl(const char *host, const char *const *words, Error *e)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        const char *port = find_port(host);
        g_autofree char *name = port ? g_strndup(host, (gsize) (port - 1 - host)) : g_strdup(host);
        const SpawnOptions options = {.cwd_fd = -1};
        int status, r;
        pid_t pid;

        if (!*name || strchr(name, '/'))
                return error_setf(e, EINVAL,
                                  "this comes from [USER@]HOST, not from '%s': run mrctl there",
                                  host);
        g_ptr_array_add(argv, (char *) "ssh");
        g_ptr_array_add(argv, (char *) "-xT");
        if (port) {
                g_ptr_array_add(argv, (char *) "-p");
                g_ptr_array_add(argv, (char *) port);
        }
        g_ptr_array_add(argv, (char *) "--");
        g_ptr_array_add(argv, name);
        g_ptr_array_add(argv, (char *) "mrctl");
        for (; *words; words++) {
                if (!is_plain(*words))
                        return error_setf(e, EINVAL, "'%s' is not a word for %s", *words, host);
                g_ptr_array_add(argv, (char *) *words);
        }
        g_ptr_array_add(argv, NULL);
        r = spawn("ssh", (char **) argv->pdata, &options, &pid);
        if (r < 0)
                return error_setf(e, r, "cannot start ssh: %s", error_text(r));
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_setf(e, errno, "cannot wait for ssh: %s", error_text(errno));
        return explain(status, host, e);
}

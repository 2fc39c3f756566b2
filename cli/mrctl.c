/*
 * mrctl — what a person types to give a job to the cluster, and to see what became of it.
 *
 * The program itself knows one thing, to run a job on this machine alone: what such a job costs
 * beside its own work is the start of programs, and libraries that print tables and JSON would be a
 * part of that. For everything else it loads the module mrctl-verbs.so, which is all of mrctl.
 */
#include <dlfcn.h>
#include <locale.h>
#include <signal.h>

#include "cli/all-verbs.h"
#include "cli/verbs.h"
#include "platform/quick.h"
#include "platform/spawn.h"

/* Is it a local job that prints no JSON? Then it is run. Whoever is not understood is answered by
 * the module. */
static bool run_locally(int argc, char **argv, int *ret_status)
{
        /* getopt() moves the words about. */
        g_autofree char **copy = g_memdup2(argv, ((size_t) argc + 1) * sizeof(*argv));
        _cleanup_(arguments_done) Arguments a = {};

        if (arguments_parse(argc, copy, &a, NULL) < 0 || a.help || a.version || !a.local ||
            a.json != JSON_OFF || verb_find(a.verb)->bit != VERB_RUN)
                return false;
        *ret_status = verb_run(&a, NULL);
        return true;
}

static int load(int argc, char **argv)
{
        _cleanup_free_ char *path = NULL;
        typeof(mrctl_main) *all;
        void *module;
        int r;

        r = find_helper(ALL_VERBS, &path);
        if (r < 0)
                return complain("cannot find %s: install mrctl again", ALL_VERBS);
        module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        all = module ? (typeof(mrctl_main) *) dlsym(module, "mrctl_main") : NULL;
        return all ? all(argc, argv)
                   : complain("cannot load a part of mrctl (%s): install it again", dlerror());
}

int main(int argc, char **argv)
{
        int status;

        /* All that is used of it: widths on the terminal, and names of days. In a locale of UTF-8
         * all categories are a dozen files to open. */
        (void) setlocale(LC_CTYPE, "");
        (void) setlocale(LC_TIME, "");
        (void) signal(SIGPIPE, SIG_IGN); /* EPIPE says it, where it is asked for */

        if (!run_locally(argc, argv, &status))
                status = load(argc, argv);
        end_process(status);
}

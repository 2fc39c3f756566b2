/*
 * Programs as modules — see module.h.
 */
#include <dlfcn.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "platform/module.h"

struct Module {
        const Program *program;
        const char *name;
        void *state;
        pthread_t thread;
        bool started;
        int end_fd;
        _Atomic int status; /* good once end_fd is readable */
};

int program_main(const Program *program, int argc, char *argv[])
{
        void *state = NULL;
        int r = program->prepare(argc, argv, NULL, &state);

        if (r < 0)
                return EXIT_FAILURE;
        return r == 0 ? EXIT_SUCCESS : program->run(state);
}

static void *run(void *userdata)
{
        locale_t c =
                newlocale(LC_ALL_MASK, "C", (locale_t) 0); /* a static one: nothing to be freed */
        Module *m = userdata;

        (void) uselocale(c);
        (void) prctl(PR_SET_NAME, m->name);
        m->status = m->program->run(m->state);
        (void) eventfd_write(m->end_fd, 1);
        return NULL;
}

static int load(const char *path, const Program **ret, Error *e)
{
        void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

        *ret = module ? dlsym(module, "program") : NULL;
        return *ret ? 0 : error_setf(e, ELIBACC, "cannot load a program: %s", dlerror());
}

int module_new(const char *path, char *argv[], const ModuleHost *host, Module **ret, Error *e)
{
        _cleanup_close_ int end_fd = -EBADF;
        const Program *program;
        void *state = NULL;
        int r;

        r = load(path, &program, e);
        if (r < 0)
                return r;
        end_fd = eventfd(0, EFD_CLOEXEC);
        if (end_fd < 0)
                return error_setf(e, errno, "cannot start %s: %s", argv[0], error_text(errno));
        optind = 0; /* the host may have read options of its own */
        r = program->prepare((int) g_strv_length(argv), argv, host, &state);
        if (r <= 0)
                return error_setf(e, r < 0 ? r : -EINVAL, "%s does not start", argv[0]);
        *ret = g_new(Module, 1);
        **ret = (Module){
                .program = program, .name = argv[0], .state = state, .end_fd = TAKE_FD(end_fd)};
        return 0;
}

int module_start(Module *m, Error *e)
{
        int r = pthread_create(&m->thread, NULL, run, m);

        if (r != 0)
                return error_setf(e, r, "cannot start a thread for %s: %s", m->name, error_text(r));
        m->started = true;
        return 0;
}

int module_end_fd(const Module *m)
{
        return m->end_fd;
}

bool module_wait(Module *m, uint64_t until_usec, int *ret_status)
{
        struct pollfd p = {.fd = m->end_fd, .events = POLLIN};
        int n;

        if (!m->started) {
                *ret_status = EXIT_SUCCESS;
                return true;
        }

        do {
                gint64 left = MAX((gint64) until_usec - g_get_monotonic_time(), 0);

                n = poll(&p, 1, (int) MIN((left + 999) / 1000, INT_MAX));
        } while (n < 0 && errno == EINTR);
        if (n <= 0)
                return false;
        *ret_status = m->status;
        return true;
}

Module *module_free(Module *m)
{
        if (!m)
                return NULL;
        if (m->started)
                (void) pthread_join(m->thread, NULL);
        safe_close(m->end_fd);
        g_free(m);
        return NULL;
}

/*
 * Child processes — see spawn.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "config.h"
#include "platform/spawn.h"

extern char **environ;

/* Descriptors that dup2() below could overwrite before they were used are moved up first. */
#define FIRST_SAFE_FD 64

#define LOCAL_MODULE "-local.so"

static int add_fd_actions(posix_spawn_file_actions_t *actions, const SpawnOptions *o, int *moved)
{
        int r = 0;

        for (size_t i = 0; i < o->fd_count && r == 0; i++) {
                if (o->fds[i].ours < 0) {
                        r = posix_spawn_file_actions_addopen(actions, o->fds[i].theirs, "/dev/null",
                                                             O_RDWR, 0);
                        continue;
                }
                moved[i] = fcntl(o->fds[i].ours, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
                if (moved[i] < 0)
                        return errno;
                r = posix_spawn_file_actions_adddup2(actions, moved[i], o->fds[i].theirs);
        }
        return r;
}

int spawn(const char *path, char *const argv[], const SpawnOptions *o, pid_t *ret)
{
        short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
        posix_spawn_file_actions_t actions;
        g_autofree int *moved = NULL;
        posix_spawnattr_t attr;
        sigset_t none, all;
        pid_t pid;
        int r;

        moved = g_new(int, o->fd_count + 1);
        for (size_t i = 0; i < o->fd_count; i++)
                moved[i] = -EBADF;

        (void) sigemptyset(&none);
        (void) sigfillset(&all);

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attr);
        if (r != 0) {
                (void) posix_spawn_file_actions_destroy(&actions);
                return -r;
        }
        if (o->new_group)
                flags |= POSIX_SPAWN_SETPGROUP;
        (void) posix_spawnattr_setflags(&attr, flags);
        (void) posix_spawnattr_setsigmask(&attr, &none);
        (void) posix_spawnattr_setsigdefault(&attr, &all);
        (void) posix_spawnattr_setpgroup(&attr, 0);

        r = add_fd_actions(&actions, o, moved);
        if (r == 0 && o->cwd_fd >= 0)
                r = posix_spawn_file_actions_addfchdir_np(&actions, o->cwd_fd);
        if (r == 0)
                r = posix_spawnp(&pid, path, &actions, &attr, argv, o->env ? o->env : environ);

        for (size_t i = 0; i < o->fd_count; i++)
                safe_close(moved[i]);
        (void) posix_spawnattr_destroy(&attr);
        (void) posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                return -r;
        *ret = pid;
        return 0;
}

int find_helper(const char *name, char **ret)
{
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *here = self ? g_path_get_dirname(self) : NULL;
        g_autofree char *above = here ? g_path_get_dirname(here) : NULL;
        /* In a build tree a program lies in its room's directory, by whose name it begins. */
        g_autofree char *room = g_str_has_suffix(name, LOCAL_MODULE)
                                        ? g_strndup(name, strlen(name) - strlen(LOCAL_MODULE))
                                        : g_strdup(name);
        const char *dir = getenv("MR_HELPER_DIR");
        char *candidates[] = {
                dir ? g_build_filename(dir, name, NULL) : NULL,
                here ? g_build_filename(here, name, NULL) : NULL,
                above ? g_build_filename(above, room, name, NULL) : NULL,
                above ? g_build_filename(above, "daemons", room, name, NULL) : NULL,
                g_build_filename(MR_LIBEXECDIR, name, NULL),
        };
        int need = g_str_has_suffix(name, ".so") ? R_OK : X_OK;
        int r = -ENOENT;

        for (size_t i = 0; i < ELEMENTSOF(candidates); i++) {
                if (r < 0 && candidates[i] && g_file_test(candidates[i], G_FILE_TEST_IS_REGULAR) &&
                    access(candidates[i], need) >= 0) {
                        *ret = TAKE_PTR(candidates[i]);
                        r = 0;
                }
                g_free(candidates[i]);
        }
        return r;
}

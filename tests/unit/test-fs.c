/*
 * Files: trees made and removed, whole reads, and links that must not be followed.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <glib/gstdio.h>

#include "base/fs.h"

static char *scratch(void)
{
        char *dir = g_dir_make_tmp("test-fs-XXXXXX", NULL);

        g_assert_nonnull(dir);
        return dir;
}

static void test_missing_parents_are_made(void)
{
        g_autofree char *dir = scratch(), *deep = g_build_filename(dir, "a/b/c", NULL);
        g_autofree char *file = g_build_filename(dir, "a/file", NULL);
        g_autofree char *below = g_build_filename(file, "x", NULL);

        g_assert_cmpint(mkdir_parents(deep, 0700), ==, 0);
        g_assert_cmpint(mkdir_parents(deep, 0700), ==, 0);
        g_assert_true(g_file_test(deep, G_FILE_TEST_IS_DIR));
        g_assert_true(g_file_set_contents(file, "x", 1, NULL));
        g_assert_cmpint(mkdir_parents(file, 0700), ==, -ENOTDIR);
        g_assert_cmpint(mkdir_parents(below, 0700), ==, -ENOTDIR);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static void test_removal_does_not_follow_links(void)
{
        g_autofree char *dir = scratch(), *victim = scratch();
        g_autofree char *kept = g_build_filename(victim, "kept", NULL);
        g_autofree char *link = g_build_filename(dir, "sub/link", NULL);
        g_autofree char *sub = g_build_filename(dir, "sub", NULL);

        g_assert_true(g_file_set_contents(kept, "x", 1, NULL));
        g_assert_cmpint(mkdir_parents(sub, 0700), ==, 0);
        g_assert_cmpint(symlink(victim, link), ==, 0);

        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
        g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
        g_assert_true(g_file_test(kept, G_FILE_TEST_EXISTS));
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0); /* already gone */
        g_assert_cmpint(rm_rf_at(AT_FDCWD, victim), ==, 0);
}

/* Root may do all, so a child that is not root tries. Its status: 0 when it could. */
static int remove_as_nobody(int dir_fd, const char *name)
{
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                int r = geteuid() == 0 && setresuid(65534, 65534, 65534) < 0 ? -errno : 0;

                if (r == 0)
                        r = rm_rf_at(dir_fd, name);
                _exit(r == 0 ? 0 : 1);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return status;
}

/* User code leaves such trees: a module cache is read-only, and "chmod 0" is easily typed. */
static void test_a_tree_that_denies_its_owner_is_removed(void)
{
        static const char *const dirs[] = {"top", "top/none", "top/read-only",
                                           "top/read-only/deep"};
        static const mode_t modes[] = {0700, 0, 0555, 0111};
        g_autofree char *dir = scratch(), *kept = NULL;
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                g_autofree char *file = g_strconcat(dirs[i], "/file", NULL);
                int f;

                g_assert_cmpint(mkdirat(fd, dirs[i], 0700), ==, 0);
                f = openat(fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
                g_assert_cmpint(f, >=, 0);
                (void) close(f);
        }
        for (size_t i = ELEMENTSOF(dirs); i-- > 0;) {
                g_assert_cmpint(fchmodat(fd, dirs[i], modes[i], 0), ==, 0);
                if (geteuid() == 0)
                        g_assert_cmpint(fchownat(fd, dirs[i], 65534, 65534, 0), ==, 0);
        }
        g_assert_cmpint(fchmod(fd, 0777), ==, 0);
        g_assert_cmpint(remove_as_nobody(fd, "top"), ==, 0);
        g_assert_cmpint(dir_is_populated(dir), ==, 0);

        /* What is not ours is left, and said so. */
        if (geteuid() == 0) {
                kept = g_build_filename(dir, "kept/inside", NULL);
                g_assert_cmpint(mkdir_parents(kept, 0500), ==, 0);
                g_assert_cmpint(remove_as_nobody(fd, "kept"), !=, 0);
                g_assert_true(g_file_test(kept, G_FILE_TEST_IS_DIR));
        }
        (void) close(fd);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static void test_a_directory_knows_whether_it_is_populated(void)
{
        g_autofree char *dir = scratch(), *file = g_build_filename(dir, ".hidden", NULL);

        g_assert_cmpint(dir_is_populated(dir), ==, 0);
        g_assert_true(g_file_set_contents(file, "", 0, NULL));
        g_assert_cmpint(dir_is_populated(dir), ==, 1);
        g_assert_cmpint(dir_is_populated(file), ==, -ENOTDIR);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
        g_assert_cmpint(dir_is_populated(dir), ==, -ENOENT);
}

static void test_a_file_is_read_whole_or_refused(void)
{
        g_autofree char *dir = scratch(), *file = g_build_filename(dir, "f", NULL);
        g_autofree char *content = g_strnfill(10000, 'q');
        _cleanup_free_ char *got = NULL;
        size_t size = 0;

        g_assert_true(g_file_set_contents(file, content, 10000, NULL));
        g_assert_cmpint(read_file(file, 9999, &got, &size), ==, -EFBIG);
        g_assert_null(got);
        g_assert_cmpint(read_file(file, 10000, &got, &size), ==, 0);
        g_assert_cmpuint(size, ==, 10000);
        g_assert_cmpstr(got, ==, content);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

/* /proc files have size 0 and refuse copy_file_range: the copy must not believe either. */
static void test_copies_take_everything(void)
{
        static const char *const sources[] = {"/proc/self/status", "/proc/self/exe"};

        for (size_t i = 0; i < ELEMENTSOF(sources); i++) {
                _cleanup_close_ int from = open(sources[i], O_RDONLY | O_CLOEXEC);
                FILE *to = tmpfile();
                struct stat st;
                char magic[8] = {};

                g_assert_cmpint(from, >=, 0);
                g_assert_cmpint(copy_bytes(from, fileno(to)), ==, 0);
                g_assert_cmpint(fstat(fileno(to), &st), ==, 0);
                g_assert_cmpint(pread_full(fileno(to), magic, 5, 0), ==, 5);
                g_assert_cmpstr(magic, ==, i == 0 ? "Name:" : "\177ELF\002");
                if (i == 1) {
                        struct stat original;

                        g_assert_cmpint(fstat(from, &original), ==, 0);
                        g_assert_cmpint(st.st_size, ==, original.st_size);
                }
                (void) fclose(to);
        }
}

static void test_a_full_disk_is_said(void)
{
        _cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

        if (fd < 0) {
                g_test_skip("no /dev/full here");
                return;
        }
        g_assert_cmpint(write_full(fd, "x", 1), ==, -ENOSPC);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/base/fs/missing-parents-are-made", test_missing_parents_are_made);
        g_test_add_func("/base/fs/removal-does-not-follow-links",
                        test_removal_does_not_follow_links);
        g_test_add_func("/base/fs/a-tree-that-denies-its-owner-is-removed",
                        test_a_tree_that_denies_its_owner_is_removed);
        g_test_add_func("/base/fs/a-directory-knows-whether-it-is-populated",
                        test_a_directory_knows_whether_it_is_populated);
        g_test_add_func("/base/fs/a-file-is-read-whole-or-refused",
                        test_a_file_is_read_whole_or_refused);
        g_test_add_func("/base/fs/copies-take-everything", test_copies_take_everything);
        g_test_add_func("/base/fs/a-full-disk-is-said", test_a_full_disk_is_said);
        return g_test_run();
}

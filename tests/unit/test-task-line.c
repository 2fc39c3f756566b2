/*
 * Which commands are started without a shell: none that a shell would understand in another way.
 */
#include <glib/gstdio.h>

#include "mr-task/command-line.h"

#define PATH "PATH=/usr/local/bin:/usr/bin:/bin"

static const char *const env[] = {PATH, "LC_ALL=C", NULL};

/* The words joined by "|", after the path and ":"; "shell" when there are none. */
static char *split(const char *line, const char *const *environment)
{
        g_autofree char *path = NULL, *joined = NULL;
        g_auto(GStrv) words = command_line_split(line, (char *const *) environment, &path);

        if (!words) {
                g_assert_null(path);
                return g_strdup("shell");
        }
        joined = g_strjoinv("|", words);
        return g_strdup_printf("%s:%s", path, joined);
}

static void assert_split(const char *line, const char *want)
{
        g_autofree char *got = split(line, env);

        g_assert_cmpstr(got, ==, want);
}

static void test_plain_words(void)
{
        g_autofree char *tr = g_find_program_in_path("tr"), *want = NULL;

        assert_split("./a.py x --y=z,1 f/g", "./a.py:./a.py|x|--y=z,1|f/g");
        assert_split("/no/such/program", "/no/such/program:/no/such/program");
        want = g_strdup_printf("%s:tr|a-z|A-Z", tr);
        assert_split("tr a-z A-Z", want);
}

static void test_what_is_the_shells(void)
{
        static const char *const lines[] = {
                "",          " cat",    "cat  x",  "cat ",
                "cat|wc",    "cat x>y", "cat $x",  "cat 'x'",
                "cat \"x\"", "cat \\x", "cat *",   "cat ?",
                "cat [a]",   "cat ~",   "cat `x`", "cat; x",
                "cat & x",   "cat\nwc", "cat\twc", "cat #x",
                "cat {a,b}", "(cat)",   "! cat",   "A=1 cat",
                "A=1 ./cat", "%1",      "a=b",     "no-such-program x",
                "cat !x",    "cat <x",  "cat ^x",  "cat \x80",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                assert_split(lines[i], "shell");
}

static void test_path_is_the_commands(void)
{
        g_autofree char *dir = g_dir_make_tmp("line-XXXXXX", NULL);
        g_autofree char *own = g_build_filename(dir, "cat", NULL);
        g_autofree char *path = g_strdup_printf("PATH=%s:/usr/bin:/bin", dir);
        g_autofree char *want = g_strdup_printf("%s:cat", own), *got = NULL;
        const char *first[] = {path, NULL}, *none[] = {"LC_ALL=C", NULL};
        const char *relative[] = {"PATH=.:/usr/bin:/bin", NULL},
                   *empty[] = {"PATH=:/usr/bin", NULL};
        const char *function[] = {PATH, "BASH_FUNC_cat%%=() { :; }", NULL};
        const char *const *shells[] = {none, relative, empty, function};

        g_assert_true(g_file_set_contents(own, "#!/bin/sh\n", -1, NULL));
        got = split("cat", first); /* not one that may be executed yet */
        g_assert_cmpstr(got, !=, want);
        g_assert_cmpint(g_chmod(own, 0700), ==, 0);
        g_free(got);
        got = split("cat", first);
        g_assert_cmpstr(got, ==, want);
        for (size_t i = 0; i < ELEMENTSOF(shells); i++) {
                g_autofree char *shell = split("cat", shells[i]);

                g_assert_cmpstr(shell, ==, "shell");
        }
        g_assert_cmpint(g_remove(own), ==, 0);
        g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* What @shell says of all names that are programs here: NAME, and the path that it would run or
 * nothing. */
static char *ask(const char *shell)
{
        static const char script[] =
                "for d in /usr/local/bin /usr/bin /bin; do for p in $d/*; do [ -x $p ] && echo ${p##*/}; done; done |"
                "sort -u | while read -r n; do p=$(command -v $n) || p=; echo \"$n $p\"; done";
        const char *argv[] = {shell, "-c", script, NULL};
        char *out = NULL;
        int status;

        g_assert_true(g_spawn_sync(NULL, (char **) argv, (char **) env, 0, NULL, NULL, &out, NULL,
                                   &status, NULL));
        g_assert_cmpint(status, ==, 0);
        return out;
}

/* Every program of this host, and what the shells of this host would do with its name. */
static void test_the_shells_agree(gconstpointer shell)
{
        g_autofree char *answers = NULL;
        g_auto(GStrv) lines = NULL;
        unsigned without = 0, builtin = 0;

        if (!g_file_test(shell, G_FILE_TEST_IS_EXECUTABLE)) {
                g_test_skip("no such shell here");
                return;
        }
        answers = ask(shell);
        lines = g_strsplit(g_strchomp(answers), "\n", -1);
        for (char **l = lines; *l; l++) {
                char *path = strchr(*l, ' ');
                g_autofree char *got = NULL, *want = NULL;

                g_assert_nonnull(path);
                *path++ = '\0';
                got = split(*l, env);
                want = g_strdup_printf("%s:%s", path, *l);
                if (*path != '/') {
                        builtin++;
                        g_assert_cmpstr(got, ==, "shell");
                } else if (!g_str_equal(got, "shell")) {
                        without++;
                        g_assert_cmpstr(got, ==, want);
                }
        }
        g_test_message("%u programs without a shell, %u names are the shell's own", without,
                       builtin);
        g_assert_cmpuint(without, >, 50);
        g_assert_cmpuint(builtin, >,
                         3); /* echo, kill, printf, pwd, test, true and false are programs, too */
}

/* And what bash says that it does itself, programs or not. */
static void test_all_words_of_bash(void)
{
        const char *argv[] = {"/bin/bash", "-c", "compgen -b; compgen -k", NULL};
        g_autofree char *out = NULL;
        g_auto(GStrv) names = NULL;
        const char *here[] = {"PATH=/", NULL};

        if (!g_file_test(argv[0], G_FILE_TEST_IS_EXECUTABLE)) {
                g_test_skip("no bash here");
                return;
        }
        g_assert_true(
                g_spawn_sync(NULL, (char **) argv, NULL, 0, NULL, NULL, &out, NULL, NULL, NULL));
        names = g_strsplit(g_strchomp(out), "\n", -1);
        g_assert_cmpuint(g_strv_length(names), >, 60);
        for (char **n = names; *n; n++) {
                g_autofree char *dir = g_dir_make_tmp("line-XXXXXX", NULL);
                g_autofree char *program = g_build_filename(dir, *n, NULL);
                g_autofree char *path = g_strdup_printf("PATH=%s", dir), *got = NULL;

                here[0] = path;
                if (!g_str_equal(*n, "."))
                        g_assert_true(g_file_set_contents_full(
                                program, "#!/bin/sh\n", -1, G_FILE_SET_CONTENTS_NONE, 0700, NULL));
                got = split(*n, here);
                g_assert_cmpstr(got, ==, "shell");
                (void) g_unlink(program);
                g_assert_cmpint(g_rmdir(dir), ==, 0);
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/task/line/plain words need no shell", test_plain_words);
        g_test_add_func("/task/line/all else is the shell's", test_what_is_the_shells);
        g_test_add_func("/task/line/PATH is that of the command", test_path_is_the_commands);
        g_test_add_data_func("/task/line/sh agrees on every program", "/bin/sh",
                             test_the_shells_agree);
        g_test_add_data_func("/task/line/bash agrees on every program", "/bin/bash",
                             test_the_shells_agree);
        g_test_add_func("/task/line/all words of bash are the shell's", test_all_words_of_bash);
        return g_test_run();
}

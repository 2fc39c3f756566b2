/*
 * Configuration files: values by type, and errors that name file, line, key and remedy.
 */
#include <glib/gstdio.h>

#include "platform/conf.h"

typedef struct Settings {
        char *state;
        GPtrArray *listen;
        uint64_t lease_usec;
        uint64_t memory_bytes;
        uint32_t jobs_max;
        bool plain;
} Settings;

static int read_text(const char *text, Settings *s, GPtrArray *warnings, Error *e, char **ret_path)
{
        const ConfItem items[] = {
                {"Master", "StateDirectory", conf_parse_path, &s->state},
                {"Master", "Listen", conf_parse_strv, &s->listen},
                {"Master", "LeaseSec", conf_parse_sec, &s->lease_usec},
                {"Master", "Memory", conf_parse_size, &s->memory_bytes},
                {"Master", "JobsMax", conf_parse_count, &s->jobs_max},
                {"Master", "AllowPlaintext", conf_parse_boolean, &s->plain},
                {},
        };
        int fd, r;

        fd = g_file_open_tmp("test-conf-XXXXXX", ret_path, NULL);
        g_assert_cmpint(fd, >=, 0);
        (void) close(fd);
        g_assert_true(g_file_set_contents(*ret_path, text, -1, NULL));
        r = conf_read_file(*ret_path, items, warnings, e);
        (void) g_unlink(*ret_path);
        return r;
}

static void settings_done(Settings *s)
{
        g_free(s->state);
        if (s->listen)
                g_ptr_array_unref(s->listen);
}

static void test_every_type_is_read(void)
{
        _cleanup_(settings_done) Settings s = {};
        g_autofree char *path = NULL;
        _cleanup_error_ Error e = {};

        g_assert_cmpint(read_text("# the master\n"
                                  "[Master]\n"
                                  "StateDirectory=/var/lib/x\n"
                                  "Listen=127.0.0.1:1\n"
                                  "Listen=unix:/run/m\n"
                                  "LeaseSec=2min 30s\n"
                                  "; a remark\n"
                                  "Memory=64M\n"
                                  "JobsMax = 12\n"
                                  "AllowPlaintext=yes\n",
                                  &s, NULL, &e, &path),
                        ==, 0);
        g_assert_cmpstr(s.state, ==, "/var/lib/x");
        g_assert_cmpuint(s.listen->len, ==, 2);
        g_assert_cmpstr(s.listen->pdata[1], ==, "unix:/run/m");
        g_assert_cmpuint(s.lease_usec, ==, 150 * USEC_PER_SEC);
        g_assert_cmpuint(s.memory_bytes, ==, 64 << 20);
        g_assert_cmpuint(s.jobs_max, ==, 12);
        g_assert_true(s.plain);
}

static void test_an_empty_value_resets_a_list(void)
{
        _cleanup_(settings_done) Settings s = {};
        g_autofree char *path = NULL;

        g_assert_cmpint(
                read_text("[Master]\nListen=a:1\nListen=\nListen=b:2\n", &s, NULL, NULL, &path), ==,
                0);
        g_assert_cmpuint(s.listen->len, ==, 1);
        g_assert_cmpstr(s.listen->pdata[0], ==, "b:2");
}

static void test_a_bad_value_names_file_line_and_key(void)
{
        static const struct {
                const char *text, *tail;
        } cases[] = {
                {"[Master]\n\nLeaseSec=soon\n",
                 ":3: LeaseSec= is not a time span such as 10s or 2min: soon"},
                {"[Master]\nMemory=much\n", ":2: Memory= is not a size such as 64M: much"},
                {"[Master]\nJobsMax=0\n", ":2: JobsMax= is not a number from 1 to 1000000: 0"},
                {"[Master]\nAllowPlaintext=perhaps\n",
                 ":2: AllowPlaintext= is not yes or no: perhaps"},
                {"[Master]\nStateDirectory=here\n",
                 ":2: StateDirectory= is not an absolute path: here"},
                {"[Master]\nnonsense\n", ":2: neither a [Section] nor Key=value"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(settings_done) Settings s = {};
                g_autofree char *path = NULL, *want = NULL;
                _cleanup_error_ Error e = {};

                g_assert_cmpint(read_text(cases[i].text, &s, NULL, &e, &path), <, 0);
                want = g_strconcat(path, cases[i].tail, NULL);
                g_assert_cmpstr(e.message, ==, want);
        }
}

static void test_an_unknown_key_is_a_warning(void)
{
        g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
        _cleanup_(settings_done) Settings s = {};
        g_autofree char *path = NULL, *want = NULL;

        g_assert_cmpint(read_text("[Master]\nColour=red\nJobsMax=3\n", &s, warnings, NULL, &path),
                        ==, 0);
        g_assert_cmpuint(warnings->len, ==, 1);
        want = g_strdup_printf("%s:2: unknown setting Colour= in section [Master], ignoring", path);
        g_assert_cmpstr(warnings->pdata[0], ==, want);
        g_assert_cmpuint(s.jobs_max, ==, 3);
}

static void test_a_missing_file_is_named(void)
{
        const ConfItem items[] = {{}};
        _cleanup_error_ Error e = {};

        g_assert_cmpint(conf_read("x.conf", "/nonexistent/x.conf", items, NULL, &e), ==, -ENOENT);
        g_assert_cmpstr(e.message, ==,
                        "cannot read /nonexistent/x.conf: No such file or directory");
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/platform/conf/every-type-is-read", test_every_type_is_read);
        g_test_add_func("/platform/conf/an-empty-value-resets-a-list",
                        test_an_empty_value_resets_a_list);
        g_test_add_func("/platform/conf/a-bad-value-names-file-line-and-key",
                        test_a_bad_value_names_file_line_and_key);
        g_test_add_func("/platform/conf/an-unknown-key-is-a-warning",
                        test_an_unknown_key_is_a_warning);
        g_test_add_func("/platform/conf/a-missing-file-is-named", test_a_missing_file_is_named);
        return g_test_run();
}

/*
 * The worker's configuration: the command line wins over the file, and plain bytes stay on the
 * host.
 */
#include <glib/gstdio.h>

#include "mr-workerd/worker-conf.h"

static char *write_conf(const char *text)
{
        char *path = NULL;
        int fd = g_file_open_tmp("test-worker-conf-XXXXXX", &path, NULL);

        g_assert_cmpint(fd, >=, 0);
        safe_close(fd);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        return path;
}

/* Loads with this file and these further options, NULL at the end. */
static int load(const char *text, WorkerConf *ret, Error *e, ...)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        g_autofree char *path = write_conf(text);
        g_autofree char *config = g_strconcat("--config=", path, NULL);
        const char *option;
        va_list ap;
        int r;

        g_ptr_array_add(argv, (char *) "mr-workerd");
        g_ptr_array_add(argv, config);
        va_start(ap, e);
        while ((option = va_arg(ap, const char *)))
                g_ptr_array_add(argv, (char *) option);
        va_end(ap);
        r = worker_conf_load((int) argv->len, (char **) argv->pdata, ret, e);
        (void) g_unlink(path);
        return r;
}

static void test_an_empty_file_leaves_the_defaults(void)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        g_assert_cmpint(load("", &c, &e, NULL), ==, 1);
        g_assert_null(c.master);
        g_assert_null(c.listen);
        g_assert_null(c.keys.certificate);
        g_assert_false(c.insecure_plain_tcp);
        g_assert_cmpstr(c.spool, ==, "/var/lib/mapreduced/worker");
        g_assert_cmpuint(c.task_memory_bytes, ==, MIB(64));
        g_assert_cmpuint(c.slots, >=, 1);
        g_assert_cmpint(c.exit_fd, <, 0);
        worker_conf_done(&c);
}

static void test_options_win_over_the_file(void)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        g_assert_cmpint(load("[Worker]\nMaster=127.0.0.1:1\nSlots=3\nName=from-file\nMinFree=1G\n",
                             &c, &e, "--master=unix:/run/m", "--slots=7", "--ephemeral",
                             "--exit-with-fd=9", NULL),
                        ==, 1);
        g_assert_cmpstr(c.master, ==, "unix:/run/m");
        g_assert_cmpuint(c.slots, ==, 7);
        g_assert_cmpstr(c.name, ==, "from-file");
        g_assert_cmpuint(c.min_free_bytes, ==, GIB(1));
        g_assert_true(c.ephemeral);
        g_assert_cmpint(c.exit_fd, ==, 9);
        worker_conf_done(&c);
}

/* Of one job: to wait for room would be to wait for itself. */
static void test_an_ephemeral_worker_leaves_no_room_free(void)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        g_assert_cmpint(load("", &c, &e, "--ephemeral", NULL), ==, 1);
        g_assert_cmpuint(c.min_free_bytes, ==, 0);
        worker_conf_done(&c);
        g_assert_cmpint(load("", &c, &e, NULL), ==, 1);
        g_assert_cmpuint(c.min_free_bytes, ==, MIB(64));
        worker_conf_done(&c);
}

static void assert_refused(const char *text, const char *option, const char *word)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        g_assert_cmpint(load(text, &c, &e, option, NULL), <, 0);
        if (!e.message || !strstr(e.message, word))
                g_error("\"%s\" does not say \"%s\"", e.message ?: "", word);
}

static void test_bad_values_are_named(void)
{
        assert_refused("[Worker]\nSlots=none\n", NULL, "Slots=");
        assert_refused("", "--slots=0", "--slots=");
        assert_refused("", "--slots=4097", "--slots=");
        assert_refused("", "--master=nowhere", "nowhere");
        assert_refused("", "--listen=127.0.0.1:70000", "70000");
        assert_refused("", "--instance=a.b", "a.b");
        assert_refused("", "--exit-with-fd=1", "--exit-with-fd=");
        assert_refused("", "surprise", "surprise");
        assert_refused("[Worker]\nTaskMemory=1K\n", NULL, "TaskMemory=");
}

static void test_plain_bytes_do_not_leave_the_host(void)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        assert_refused("[Worker]\nInsecurePlainTCP=yes\n", "--master=192.0.2.1:7070",
                       "--insecure-plain-tcp");
        assert_refused("[Worker]\nInsecurePlainTCP=yes\n", "--listen=0.0.0.0:0",
                       "--insecure-plain-tcp");
        assert_refused("[Worker]\nInsecurePlainTCP=yes\n", "--listen=[::]:0",
                       "--insecure-plain-tcp");
        g_assert_cmpint(load("", &c, &e, "--insecure-plain-tcp", "--master=127.0.0.1:7070", NULL),
                        ==, 1);
        g_assert_true(c.insecure_plain_tcp);
        worker_conf_done(&c);
        g_assert_cmpint(load("", &c, &e, "--master=192.0.2.1:7070", NULL), ==, 1);
        worker_conf_done(&c);
}

static void test_keys_of_an_own_pki_come_together(void)
{
        _cleanup_error_ Error e = {};
        WorkerConf c;

        assert_refused("[Worker]\nCertificate=/a.pem\n", NULL, "all three");
        assert_refused("[Worker]\nCertificate=/a.pem\nPrivateKey=/a.key\n", NULL, "all three");
        g_assert_cmpint(load("[Worker]\nCertificate=/a.pem\nPrivateKey=/a.key\n"
                             "CACertificate=/ca.pem\n",
                             &c, &e, NULL),
                        ==, 1);
        g_assert_cmpstr(c.keys.ca, ==, "/ca.pem");
        g_assert_null(c.keys.list);
        worker_conf_done(&c);
}

/* A name that only begins like the loopback's is not the loopback. */
static void test_the_loopback_is_known_by_its_addresses(void)
{
        g_assert_cmpint(worker_conf_check_address("x", "127.0.0.9:1", true, NULL), ==, 0);
        g_assert_cmpint(worker_conf_check_address("x", "[::1]:1", true, NULL), ==, 0);
        g_assert_cmpint(worker_conf_check_address("x", "localhost:1", true, NULL), ==, 0);
        g_assert_cmpint(worker_conf_check_address("x", "unix:/run/x", true, NULL), ==, 0);
        g_assert_cmpint(worker_conf_check_address("x", "127.evil.example:1", true, NULL), ==,
                        -EPERM);
        g_assert_cmpint(worker_conf_check_address("x", "localhost.example:1", true, NULL), ==,
                        -EPERM);
        g_assert_cmpint(worker_conf_check_address("x", "unix:", true, NULL), ==, -EINVAL);
        g_assert_cmpint(worker_conf_check_address("x", "unix:/a b/caf\xc3\xa9", true, NULL), ==, 0);
        g_assert_cmpint(worker_conf_check_address("x", "unix:/a\nb", true, NULL), ==, -EINVAL);
        g_assert_cmpint(worker_conf_check_address("x", "unix:/a\xff", true, NULL), ==, -EINVAL);
        g_assert_cmpint(worker_conf_check_address("x", "", false, NULL), ==, -EINVAL);
        g_assert_cmpint(worker_conf_check_address("x", ":80", false, NULL), ==, -EINVAL);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/conf/an-empty-file-leaves-the-defaults",
                        test_an_empty_file_leaves_the_defaults);
        g_test_add_func("/worker/conf/options-win-over-the-file", test_options_win_over_the_file);
        g_test_add_func("/worker/conf/an-ephemeral-worker-leaves-no-room-free",
                        test_an_ephemeral_worker_leaves_no_room_free);
        g_test_add_func("/worker/conf/bad-values-are-named", test_bad_values_are_named);
        g_test_add_func("/worker/conf/plain-bytes-do-not-leave-the-host",
                        test_plain_bytes_do_not_leave_the_host);
        g_test_add_func("/worker/conf/keys-of-an-own-pki-come-together",
                        test_keys_of_an_own_pki_come_together);
        g_test_add_func("/worker/conf/the-loopback-is-known-by-its-addresses",
                        test_the_loopback_is_known_by_its_addresses);
        return g_test_run();
}

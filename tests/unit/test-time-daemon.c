/*
 * The parts of timesyncd-lite that need no network: the virtual clock, the rate limit, files, and
 * the configuration.
 */
#include <glib/gstdio.h>
#include <math.h>

#include "timesyncd-lite/clock.h"
#include "timesyncd-lite/conf.h"
#include "timesyncd-lite/files.h"
#include "timesyncd-lite/manager.h"
#include "timesyncd-lite/rate.h"

#define MSEC_NS (1000 * NSEC_PER_USEC)

/* ---- The virtual clock, against the machine's ---- */

#define TIGHT_NS 2000 /* what reading two clocks in turn may err by */

/* Between two reads of the machine's clock that are close together, however busy the machine is. */
static int64_t ahead_ns(Clock *virtual, Clock *machine, int64_t *ret_at_ns)
{
        for (int i = 0; i < 100000; i++) {
                int64_t before = clock_real_ns(machine), v = clock_real_ns(virtual);
                int64_t width = clock_real_ns(machine) - before;

                *ret_at_ns = before;
                if (width < TIGHT_NS)
                        return v - before - width / 2;
        }
        g_assert_not_reached();
}

/* How much more the virtual clock shows than the machine's for a stretch of time, in ppm. */
static double drift_ppm(Clock *virtual, Clock *machine)
{
        int64_t first_at, second_at, first, second;

        first = ahead_ns(virtual, machine, &first_at);
        g_usleep(300 * 1000);
        second = ahead_ns(virtual, machine, &second_at);
        return (double) (second - first) / (double) (second_at - first_at) * 1e6;
}

static void test_a_virtual_clock_starts_wrong_and_drifts(void)
{
        _cleanup_(clock_freep) Clock *machine = NULL, *c = NULL;
        int64_t at;

        g_assert_cmpint(clock_new_system(false, &machine, NULL), ==, 0);
        c = clock_new_virtual(3 * NSEC_PER_SEC, 500);
        g_assert_cmpint(llabs(ahead_ns(c, machine, &at) - 3 * NSEC_PER_SEC), <, 5 * MSEC_NS);
        g_assert_cmpfloat_with_epsilon(drift_ppm(c, machine), 500, 15); /* 2 × 2 µs in 0.3 s */
}

static void test_a_virtual_clock_takes_corrections(void)
{
        _cleanup_(clock_freep) Clock *machine = NULL, *c = clock_new_virtual(-MSEC_NS, 100);
        TimeReading before, after;
        ClockStatus s;

        g_assert_cmpint(clock_new_system(false, &machine, NULL), ==, 0);
        g_assert_cmpint(clock_set_frequency(c, -100), ==, 0);
        g_assert_cmpfloat_with_epsilon(drift_ppm(c, machine), 0, 15);

        clock_read(c, &before);
        g_assert_cmpint(clock_step(c, 7 * NSEC_PER_SEC), ==, 0);
        clock_read(c, &after);
        g_assert_cmpint(after.real_ns - before.real_ns - (after.mono_ns - before.mono_ns), ==,
                        7 * NSEC_PER_SEC); /* and nothing else is stepped */
        g_assert_cmpint(llabs(after.boot_ns - after.mono_ns - before.boot_ns + before.mono_ns), <,
                        MSEC_NS);
        g_assert_cmpint(clock_get_status(c, &s), ==, 0);
        g_assert_cmpfloat(s.frequency_ppm, ==, -100);
}

/* A receive timestamp of the machine's clock, seen by one that is 5 s ahead. */
static void test_kernel_timestamps_are_translated(void)
{
        _cleanup_(clock_freep) Clock *c = clock_new_virtual(5 * NSEC_PER_SEC, 0);
        int64_t stamp = g_get_real_time() * NSEC_PER_USEC;

        g_assert_cmpint(llabs(clock_from_realtime(c, stamp) - stamp - 5 * NSEC_PER_SEC), <,
                        MSEC_NS);
}

static void test_the_frequency_is_kept_within_the_kernels_limit(void)
{
        _cleanup_(clock_freep) Clock *c = clock_new_virtual(0, 0);
        ClockStatus s;

        g_assert_cmpint(clock_set_frequency(c, -700), ==, 0);
        g_assert_cmpint(clock_get_status(c, &s), ==, 0);
        g_assert_cmpfloat(s.frequency_ppm, ==, -500);
}

/* ---- The rate limit ---- */

static unsigned allowed(RateLimiter *r, const char *peer, unsigned tries, uint64_t now_usec)
{
        unsigned n = 0;

        for (unsigned i = 0; i < tries; i++)
                n += rate_allows(r, peer, now_usec);
        return n;
}

static void test_a_client_gets_a_burst_and_then_the_rate(void)
{
        _cleanup_(rate_freep) RateLimiter *r = rate_new(8, 1);
        uint64_t now = USEC_PER_SEC;

        g_assert_cmpuint(allowed(r, "10.0.0.1:4000", 100, now), ==, 8 * RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "10.0.0.1:4001", 100, now + USEC_PER_SEC / 2), ==, 4);
        g_assert_cmpuint(allowed(r, "10.0.0.1:4002", 100, now + 100 * USEC_PER_SEC), ==,
                         8 * RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "10.0.0.1:4002", 1, 0), ==,
                         0); /* a time that goes back gives none */
}

static void test_clients_do_not_pay_for_each_other(void)
{
        _cleanup_(rate_freep) RateLimiter *r = rate_new(1, 2);

        g_assert_cmpuint(allowed(r, "10.0.0.1:1", 100, 1), ==, RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "10.0.0.2:1", 100, 1), ==, RATE_BURST_S);
}

/* One subscriber has a whole /64, and would otherwise have 2⁶⁴ buckets. */
static void test_an_ipv6_subscriber_is_one_client(void)
{
        _cleanup_(rate_freep) RateLimiter *r = rate_new(1, 3);

        g_assert_cmpuint(allowed(r, "[2001:db8:0:1::1]:1", 100, 1), ==, RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "[2001:db8:0:1:ffff::2]:1", 100, 1), ==, 0);
        g_assert_cmpuint(allowed(r, "[2001:db8:0:2::1]:1", 100, 1), ==, RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "[::ffff:10.0.0.1]:1", 100, 1), ==, RATE_BURST_S);
        g_assert_cmpuint(allowed(r, "[::ffff:10.0.0.2]:1", 100, 1), ==, RATE_BURST_S);
}

static void test_a_flood_of_addresses_does_not_free_the_busiest(void)
{
        _cleanup_(rate_freep) RateLimiter *r = rate_new(1, 4);
        uint64_t now = 1;
        unsigned n = 0;

        (void) allowed(r, "10.0.0.1:1", 100, now);
        for (unsigned i = 0; i < 100000; i++) {
                g_autofree char *peer =
                        g_strdup_printf("11.%u.%u.%u:1", i >> 16, i >> 8 & 255, i & 255);

                (void) rate_allows(r, peer, ++now);
                n += rate_allows(r, "10.0.0.1:1", ++now); /* seen last of its set, every time */
        }
        g_assert_cmpuint(n, <=, 1); /* 0.2 s have passed */
}

/* ---- Files ---- */

static char *make_dir(void)
{
        return g_dir_make_tmp("time-XXXXXX", NULL);
}

static void remove_dir(char *dir)
{
        static const char *const names[] = {"drift",
                                            "clock",
                                            "drift.new",
                                            "timesyncd-lite/lock",
                                            "timesyncd-lite",
                                            "systemd/timesync/synchronized",
                                            "systemd/timesync",
                                            "systemd"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                g_autofree char *path = g_build_filename(dir, names[i], NULL);

                (void) g_remove(path);
        }
        g_assert_cmpint(g_rmdir(dir), ==, 0); /* nothing else was left */
        g_free(dir);
}

static void test_the_drift_file_keeps_what_was_learnt(void)
{
        char *dir = make_dir();
        Drift d;

        g_assert_cmpint(files_load_drift(dir, &d), ==, -ENOENT);
        g_assert_cmpint(files_save_drift(dir, (Drift){-12.345678, 0.25}), ==, 0);
        g_assert_cmpint(files_load_drift(dir, &d), ==, 0);
        g_assert_cmpfloat_with_epsilon(d.frequency_ppm, -12.345678, 1e-6);
        g_assert_cmpfloat_with_epsilon(d.sd_ppm, 0.25, 1e-6);
        remove_dir(dir);
}

static void test_the_saved_time_is_a_modification_time(void)
{
        int64_t saved = INT64_C(1700000000123456789), ns;
        char *dir = make_dir();

        g_assert_cmpint(files_load_clock(dir, &ns), ==, -ENOENT);
        g_assert_cmpint(files_save_clock(dir, saved), ==, 0);
        g_assert_cmpint(files_load_clock(dir, &ns), ==, 0);
        g_assert_cmpint(llabs(ns - saved), <, NSEC_PER_SEC);
        remove_dir(dir);
}

static void test_one_disciplines_and_a_second_is_refused(void)
{
        _cleanup_error_ Error e = {};
        int first, second = -EBADF;
        char *dir = make_dir();

        g_assert_cmpint(files_lock(dir, &first, NULL), ==, 0);
        g_assert_cmpint(files_lock(dir, &second, &e), ==, -EBUSY);
        g_assert_nonnull(strstr(e.message, "another timesyncd-lite"));
        safe_close(first);
        g_assert_cmpint(files_lock(dir, &second, NULL), ==, 0);
        safe_close(second);
        g_assert_cmpint(files_touch_synchronized(dir), ==, 0);
        remove_dir(dir);
}

/* ---- Configuration ---- */

static int load(const char *text, const char *option, TimeConf *ret, Error *e)
{
        g_autofree char *path = NULL;
        g_autofree char *config = NULL;
        int fd = g_file_open_tmp("time-conf-XXXXXX", &path, NULL), r;

        g_assert_cmpint(fd, >=, 0);
        safe_close(fd);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        config = g_strconcat("--config=", path, NULL);
        r = time_conf_load(option ? 3 : 2,
                           (char *[]){(char *) "timesyncd-lite", config, (char *) option, NULL},
                           ret, e);
        (void) g_unlink(path);
        return r;
}

static void test_every_setting_is_read(void)
{
        _cleanup_(time_conf_done) TimeConf c = {};

        g_assert_cmpint(load("[Time]\nServer=a.example\nServer=[2001:db8::1]\nServer=2001:db8::2\n"
                             "Server=b:99\nPollIntervalMin=8s\nPollIntervalMax=20min\nBurst=4\n"
                             "RootDistanceMax=2s\nStepAtStart=1s\nStepLimit=128ms\n"
                             "LeastOneWayDelay=100us\nSaveInterval=1min\nAllowPlaintext=yes\n"
                             "[Server]\nListen=0.0.0.0\nLocalStratum=10\nRateLimit=3\n"
                             "Stratum=4\n[TLS]\nServerName=master.example\n",
                             NULL, &c, NULL),
                        ==, 1);
        g_assert_cmpint(c.role, ==, TIME_ROLE_CLIENT);
        g_assert_cmpuint(c.servers->len, ==, 4);
        g_assert_cmpstr(c.servers->pdata[0], ==, "a.example:7076");
        g_assert_cmpstr(c.servers->pdata[1], ==, "[2001:db8::1]:7076");
        g_assert_cmpstr(c.servers->pdata[2], ==, "[2001:db8::2]:7076");
        g_assert_cmpstr(c.servers->pdata[3], ==, "b:99");
        g_assert_cmpint(c.keeper.source.min_poll, ==, 3);
        g_assert_cmpint(c.keeper.source.max_poll, ==, 10); /* 1024 s is the power of two below */
        g_assert_cmpuint(c.keeper.source.burst, ==, 4);
        g_assert_cmpint(c.keeper.source.distance_limit_ns, ==, 2 * NSEC_PER_SEC);
        g_assert_cmpint(c.keeper.source.least_one_way_ns, ==, 100 * NSEC_PER_USEC);
        g_assert_cmpint(c.keeper.limits.step_at_start_ns, ==, NSEC_PER_SEC);
        g_assert_cmpint(c.keeper.limits.step_ns, ==, 128 * MSEC_NS);
        g_assert_cmpuint(c.save_usec, ==, 60 * USEC_PER_SEC);
        g_assert_cmpuint(c.local_stratum, ==, 10);
        g_assert_cmpuint(c.rate_per_second, ==, 3);
        g_assert_cmpuint(c.kernel_stratum, ==, 4);
        g_assert_cmpstr(c.server_name, ==, "master.example");
        g_assert_cmpstr(c.listen->pdata[0], ==, "0.0.0.0:7076");
}

static void assert_refused(const char *text, const char *option, const char *because)
{
        _cleanup_(time_conf_done) TimeConf c = {};
        _cleanup_error_ Error e = {};

        g_assert_cmpint(load(text, option, &c, &e), <, 0);
        g_assert_nonnull(e.message);
        if (!strstr(e.message, because))
                g_error("\"%s\" does not say \"%s\"", e.message, because);
}

static void test_what_cannot_be_is_refused_by_name(void)
{
        assert_refused("[Time]\nPollIntervalMin=1s\n", NULL, "PollIntervalMin=");
        assert_refused("[Time]\nPollIntervalMin=64s\nPollIntervalMax=32s\n", NULL, "longer than");
        assert_refused("[Time]\nRole=master\n", NULL, "not client or server: master");
        assert_refused("[Time]\nRole=server\n", NULL, "Listen=");
        assert_refused("[Time]\nServer=time.example\n", NULL, "AllowPlaintext=yes");
        assert_refused("[Time]\nServer=localhost\nServer=localhost:7076\n", NULL, "given twice");
        assert_refused("[Time]\nServer=localhost:99999\n", NULL, "localhost:99999");
        assert_refused("[TLS]\nCA=/ca.pem\n", NULL, "belong together");
        assert_refused("[Server]\nLocalStratum=16\n", NULL, "LocalStratum=");
        assert_refused("[Server]\nStratum=0\n", NULL, "Stratum=");
        assert_refused("[Server]\nStratum=16\n", NULL, "Stratum=");
        assert_refused("", "--dry-run=soon", "--dry-run=");
        assert_refused("", "--dry-run=1,9999", "--dry-run=");
        assert_refused("", "--clock-id=0", "--clock-id=");
}

/* The role of a server: the kernel tells whether the clock is kept and how far off it may be, the
 * configuration of what stratum. */
static void test_what_is_claimed_of_a_clock_that_another_keeps(void)
{
        _cleanup_(clock_freep) Clock *c = clock_new_virtual(0, 0);
        Manager m = {.clock = c, .conf.kernel_stratum = CONF_KERNEL_STRATUM};
        ClockPath references = {};
        TimeClaim claim;

        manager_claim(&m, &claim, &references); /* nobody has set it yet */
        g_assert_false(claim.synchronised);
        g_assert_cmpuint(claim.stratum, ==, 0);

        g_assert_cmpint(clock_set_status(c, &(ClockStatus){.synchronised = true,
                                                           .maxerror_ns = 7 * MSEC_NS,
                                                           .leap = TIME_LEAP_INSERT}),
                        ==, 0);
        manager_claim(&m, &claim, &references);
        g_assert_true(claim.synchronised);
        g_assert_cmpuint(claim.stratum, ==, 3);
        g_assert_cmpint(claim.root_dispersion_ns, ==, 7 * MSEC_NS);
        g_assert_cmpint(claim.leap, ==, TIME_LEAP_INSERT);
        g_assert_cmpuint(references.count, ==, 0);
        m.conf.kernel_stratum = 7;
        manager_claim(&m, &claim, &references);
        g_assert_cmpuint(claim.stratum, ==, 7);

        g_assert_cmpint(clock_set_status(c, &(ClockStatus){.maxerror_ns = INT64_MAX}), ==, 0);
        manager_claim(&m, &claim, &references);
        g_assert_false(claim.synchronised);
        m.conf.local_stratum = 10; /* a reference all the same */
        manager_claim(&m, &claim, &references);
        g_assert_true(claim.synchronised);
        g_assert_cmpuint(claim.stratum, ==, 10);
}

/* What a unit's LoadCredential= gave; and a configuration counts before it. */
static void test_credentials_are_used_when_nothing_else_is_said(void)
{
        g_autofree char *dir = g_dir_make_tmp("time-credentials-XXXXXX", NULL);
        g_autofree char *ca = g_build_filename(dir, "ca.pem", NULL);
        g_autofree char *key = g_build_filename(dir, "key.pem", NULL);
        _cleanup_(time_conf_done) TimeConf none = {}, given = {}, said = {};

        g_setenv("CREDENTIALS_DIRECTORY", dir, true);
        g_assert_cmpint(load("", NULL, &none, NULL), ==, 1);
        g_assert_null(none.ca);
        g_assert_true(g_file_set_contents(ca, "", 0, NULL));
        g_assert_cmpint(load("", NULL, &given, NULL), ==, 1);
        g_assert_cmpstr(given.ca, ==, ca);
        g_assert_cmpstr(given.key, ==, key);
        g_assert_cmpint(load("[TLS]\nCA=/a\nCertificate=/b\nKey=/c\n", NULL, &said, NULL), ==, 1);
        g_assert_cmpstr(said.ca, ==, "/a");
        g_unsetenv("CREDENTIALS_DIRECTORY");
        (void) g_unlink(ca);
        (void) g_rmdir(dir);
}

static void test_a_dry_run_has_its_own_clock_and_leaves_run_alone(void)
{
        _cleanup_(time_conf_done) TimeConf c = {}, d = {};

        g_assert_cmpint(load("", "--dry-run=-2.5,80", &c, NULL), ==, 1);
        g_assert_true(c.dry_run);
        g_assert_cmpint(c.dry_run_offset_ns, ==, -2500 * MSEC_NS);
        g_assert_cmpfloat(c.dry_run_ppm, ==, 80);
        g_assert_null(c.run_dir);
        g_assert_cmpint(load("", NULL, &d, NULL), ==, 1);
        g_assert_cmpstr(d.run_dir, ==, "/run");
        g_assert_false(d.dry_run);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/timesyncd-lite/clock/a-virtual-clock-starts-wrong-and-drifts",
                        test_a_virtual_clock_starts_wrong_and_drifts);
        g_test_add_func("/timesyncd-lite/clock/a-virtual-clock-takes-corrections",
                        test_a_virtual_clock_takes_corrections);
        g_test_add_func("/timesyncd-lite/clock/kernel-timestamps-are-translated",
                        test_kernel_timestamps_are_translated);
        g_test_add_func("/timesyncd-lite/clock/the-frequency-is-kept-within-the-kernels-limit",
                        test_the_frequency_is_kept_within_the_kernels_limit);
        g_test_add_func("/timesyncd-lite/rate/a-client-gets-a-burst-and-then-the-rate",
                        test_a_client_gets_a_burst_and_then_the_rate);
        g_test_add_func("/timesyncd-lite/rate/clients-do-not-pay-for-each-other",
                        test_clients_do_not_pay_for_each_other);
        g_test_add_func("/timesyncd-lite/rate/an-ipv6-subscriber-is-one-client",
                        test_an_ipv6_subscriber_is_one_client);
        g_test_add_func("/timesyncd-lite/rate/a-flood-of-addresses-does-not-free-the-busiest",
                        test_a_flood_of_addresses_does_not_free_the_busiest);
        g_test_add_func("/timesyncd-lite/files/the-drift-file-keeps-what-was-learnt",
                        test_the_drift_file_keeps_what_was_learnt);
        g_test_add_func("/timesyncd-lite/files/the-saved-time-is-a-modification-time",
                        test_the_saved_time_is_a_modification_time);
        g_test_add_func("/timesyncd-lite/files/one-disciplines-and-a-second-is-refused",
                        test_one_disciplines_and_a_second_is_refused);
        g_test_add_func("/timesyncd-lite/conf/every-setting-is-read", test_every_setting_is_read);
        g_test_add_func("/timesyncd-lite/conf/what-cannot-be-is-refused-by-name",
                        test_what_cannot_be_is_refused_by_name);
        g_test_add_func("/timesyncd-lite/conf/a-dry-run-has-its-own-clock-and-leaves-run-alone",
                        test_a_dry_run_has_its_own_clock_and_leaves_run_alone);
        g_test_add_func("/timesyncd-lite/conf/credentials-are-used-when-nothing-else-is-said",
                        test_credentials_are_used_when_nothing_else_is_said);
        g_test_add_func("/timesyncd-lite/claim/of-a-clock-that-another-keeps",
                        test_what_is_claimed_of_a_clock_that_another_keeps);
        return g_test_run();
}

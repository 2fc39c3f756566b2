/*
 * Numbers a person types: what is taken, what is refused, and that refusal changes nothing.
 */
#include "base/parse.h"

static void test_integers_take_the_whole_string(void)
{
        uint64_t v = 7;

        g_assert_cmpint(parse_u64("18446744073709551615", &v), ==, 0);
        g_assert_cmpuint(v, ==, UINT64_MAX);
        g_assert_cmpint(parse_u64("18446744073709551616", &v), ==, -ERANGE);
        g_assert_cmpint(parse_u64("", &v), ==, -EINVAL);
        g_assert_cmpint(parse_u64("-1", &v), ==, -EINVAL);
        g_assert_cmpint(parse_u64(" 1", &v), ==, -EINVAL);
        g_assert_cmpint(parse_u64("1 ", &v), ==, -EINVAL);
        g_assert_cmpint(parse_u64("0x10", &v), ==, -EINVAL);
        g_assert_cmpuint(v, ==, UINT64_MAX);
}

static void test_ranges_include_both_ends(void)
{
        uint32_t v = 0;

        g_assert_cmpint(parse_u32_range("1", 1, 10000, &v), ==, 0);
        g_assert_cmpint(parse_u32_range("10000", 1, 10000, &v), ==, 0);
        g_assert_cmpuint(v, ==, 10000);
        g_assert_cmpint(parse_u32_range("0", 1, 10000, &v), ==, -ERANGE);
        g_assert_cmpint(parse_u32_range("10001", 1, 10000, &v), ==, -ERANGE);
        g_assert_cmpint(parse_u32_range("1000000000", 1, 10000, &v), ==, -ERANGE);
        g_assert_cmpuint(v, ==, 10000);
}

static void test_sizes_are_binary(void)
{
        static const struct {
                const char *text;
                uint64_t bytes;
        } good[] = {
                {"0", 0},
                {"512", 512},
                {"512B", 512},
                {"64K", 65536},
                {"64k", 65536},
                {"1MiB", 1048576},
                {"1MB", 1048576},
                {"3G", UINT64_C(3221225472)},
                {"16T", UINT64_C(17592186044416)},
        };
        static const char *const bad[] = {"", "K", "1X", "1KX", "1.5M", "-1K", "1 K", "1iB"};
        uint64_t v;

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                g_assert_cmpint(parse_size(good[i].text, &v), ==, 0);
                g_assert_cmpuint(v, ==, good[i].bytes);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                g_assert_cmpint(parse_size(bad[i], &v), ==, -EINVAL);
        g_assert_cmpint(parse_size("16777216T", &v), ==, -ERANGE);
        g_assert_cmpint(parse_size("16777215T", &v), ==, 0);
}

/* Spans and their values as systemd.time(7) gives them. */
static void test_spans_follow_systemd_time(void)
{
        static const struct {
                const char *text;
                uint64_t usec;
        } good[] = {
                {"10", 10 * USEC_PER_SEC},
                {"2 h", 0},
                {"2h", 7200 * USEC_PER_SEC},
                {"55s500ms", 55 * USEC_PER_SEC + 500 * USEC_PER_MSEC},
                {"300ms20s 5day",
                 5 * 86400 * USEC_PER_SEC + 20 * USEC_PER_SEC + 300 * USEC_PER_MSEC},
                {"1min 30s", 90 * USEC_PER_SEC},
                {"infinity", USEC_INFINITY},
        };
        uint64_t v = 3;

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                if (good[i].usec == 0) { /* a gap between number and unit is not taken */
                        g_assert_cmpint(parse_sec(good[i].text, &v), <, 0);
                        continue;
                }
                g_assert_cmpint(parse_sec(good[i].text, &v), ==, 0);
                g_assert_cmpuint(v, ==, good[i].usec);
        }
        g_assert_cmpint(parse_sec("", &v), ==, -EINVAL);
        g_assert_cmpint(parse_sec("soon", &v), ==, -EINVAL);
        g_assert_cmpint(parse_sec("5 fortnights", &v), ==, -EINVAL);
        g_assert_cmpint(parse_sec("99999999999999999999s", &v), ==, -ERANGE);
}

static void test_booleans(void)
{
        g_assert_cmpint(parse_boolean("Yes"), ==, 1);
        g_assert_cmpint(parse_boolean("off"), ==, 0);
        g_assert_cmpint(parse_boolean("maybe"), ==, -EINVAL);
}

static void test_sizes_and_spans_read_well(void)
{
        static const struct {
                uint64_t value;
                const char *size, *span;
        } cases[] = {
                {0, "0B", "0us"},
                {1023, "1023B", "1ms"},
                {1536, "1.5K", "1ms"},
                {1204000, "1.1M", "1.204s"},
                {123000000, "117.3M", "2min 3s"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                g_autofree char *size = format_size(cases[i].value);
                g_autofree char *span = format_timespan(cases[i].value);

                g_assert_cmpstr(size, ==, cases[i].size);
                g_assert_cmpstr(span, ==, cases[i].span);
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/base/parse/integers-take-the-whole-string",
                        test_integers_take_the_whole_string);
        g_test_add_func("/base/parse/ranges-include-both-ends", test_ranges_include_both_ends);
        g_test_add_func("/base/parse/sizes-are-binary", test_sizes_are_binary);
        g_test_add_func("/base/parse/spans-follow-systemd-time", test_spans_follow_systemd_time);
        g_test_add_func("/base/parse/booleans", test_booleans);
        g_test_add_func("/base/parse/sizes-and-spans-read-well", test_sizes_and_spans_read_well);
        return g_test_run();
}

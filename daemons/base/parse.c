/*
 * Numbers a person types — see parse.h.
 */
#include <ctype.h>
#include <inttypes.h>

#include "base/parse.h"

/* Reads decimal digits at *p. -EINVAL without a digit, -ERANGE past 2^64-1. */
static int take_digits(const char **p, uint64_t *ret)
{
        const char *s = *p;
        uint64_t v = 0;

        if (!isdigit((unsigned char) *s))
                return -EINVAL;
        for (; isdigit((unsigned char) *s); s++)
                if (__builtin_mul_overflow(v, (uint64_t) 10, &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        return -ERANGE;
        *p = s;
        *ret = v;
        return 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
        uint64_t v;
        int r;

        r = take_digits(&s, &v);
        if (r < 0)
                return r;
        if (*s)
                return -EINVAL;
        *ret = v;
        return 0;
}

int parse_u32_range(const char *s, uint32_t min, uint32_t max, uint32_t *ret)
{
        uint64_t v;
        int r;

        r = parse_u64(s, &v);
        if (r < 0)
                return r;
        if (v < min || v > max)
                return -ERANGE;
        *ret = (uint32_t) v;
        return 0;
}

int parse_size(const char *s, uint64_t *ret_bytes)
{
        static const char suffixes[] = "KMGT";
        unsigned shift = 0;
        uint64_t v;
        int r;

        r = take_digits(&s, &v);
        if (r < 0)
                return r;
        if (*s && *s != 'B') {
                const char *at = strchr(suffixes, toupper((unsigned char) *s));

                if (!at)
                        return -EINVAL;
                shift = 10 * (unsigned) (at - suffixes + 1);
                s++;
                if (s[0] == 'i' && s[1] == 'B')
                        s++;
        }
        if (*s == 'B')
                s++;
        if (*s)
                return -EINVAL;
        if (shift > 0 && v >> (64 - shift) != 0)
                return -ERANGE;
        *ret_bytes = v << shift;
        return 0;
}

int parse_sec(const char *s, uint64_t *ret_usec)
{
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                {"usec", 1},
                {"us", 1},
                {"msec", USEC_PER_MSEC},
                {"ms", USEC_PER_MSEC},
                {"seconds", USEC_PER_SEC},
                {"second", USEC_PER_SEC},
                {"sec", USEC_PER_SEC},
                {"s", USEC_PER_SEC},
                {"minutes", 60 * USEC_PER_SEC},
                {"minute", 60 * USEC_PER_SEC},
                {"min", 60 * USEC_PER_SEC},
                {"m", 60 * USEC_PER_SEC},
                {"hours", 3600 * USEC_PER_SEC},
                {"hour", 3600 * USEC_PER_SEC},
                {"h", 3600 * USEC_PER_SEC},
                {"days", 86400 * USEC_PER_SEC},
                {"day", 86400 * USEC_PER_SEC},
                {"d", 86400 * USEC_PER_SEC},
                {"weeks", 7 * 86400 * USEC_PER_SEC},
                {"week", 7 * 86400 * USEC_PER_SEC},
                {"w", 7 * 86400 * USEC_PER_SEC},
        };
        uint64_t sum = 0;
        bool something = false;
        int r;

        if (g_str_equal(s, "infinity")) {
                *ret_usec = USEC_INFINITY;
                return 0;
        }

        for (;;) {
                uint64_t v, factor = USEC_PER_SEC;
                size_t n, i;

                if (something)
                        s += strspn(s, " ");
                if (!*s)
                        break;

                r = take_digits(&s, &v);
                if (r < 0)
                        return r;
                for (n = 0; isalpha((unsigned char) s[n]); n++)
                        ;
                if (n > 0) {
                        for (i = 0; i < ELEMENTSOF(units); i++)
                                if (strlen(units[i].name) == n && strncmp(units[i].name, s, n) == 0)
                                        break;
                        if (i == ELEMENTSOF(units))
                                return -EINVAL;
                        factor = units[i].usec;
                        s += n;
                }
                if (__builtin_mul_overflow(v, factor, &v) || __builtin_add_overflow(sum, v, &sum))
                        return -ERANGE;
                something = true;
        }

        if (!something)
                return -EINVAL;
        *ret_usec = sum;
        return 0;
}

int parse_boolean(const char *s)
{
        static const char *const yes[] = {"yes", "true", "on", "1"};
        static const char *const no[] = {"no", "false", "off", "0"};

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                if (g_ascii_strcasecmp(s, yes[i]) == 0)
                        return 1;
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                if (g_ascii_strcasecmp(s, no[i]) == 0)
                        return 0;
        return -EINVAL;
}

char *format_size(uint64_t bytes)
{
        static const char suffixes[] = "KMGTPE";
        double v = (double) bytes / 1024;
        size_t i = 0;

        if (bytes < 1024)
                return g_strdup_printf("%uB", (unsigned) bytes);
        for (; v >= 1024 && i + 2 < sizeof(suffixes); i++)
                v /= 1024;
        return g_strdup_printf("%.1f%c", v, suffixes[i]);
}

char *format_timespan(uint64_t usec)
{
        uint64_t s = usec / USEC_PER_SEC;

        if (usec == USEC_INFINITY)
                return g_strdup("infinity");
        if (usec < USEC_PER_MSEC)
                return g_strdup_printf("%uus", (unsigned) usec);
        if (s < 1)
                return g_strdup_printf("%ums", (unsigned) (usec / USEC_PER_MSEC));
        if (s < 60)
                return g_strdup_printf("%.3fs", (double) usec / USEC_PER_SEC);
        if (s < 3600)
                return g_strdup_printf("%" PRIu64 "min %" PRIu64 "s", s / 60, s % 60);
        if (s < 86400)
                return g_strdup_printf("%" PRIu64 "h %" PRIu64 "min", s / 3600, s / 60 % 60);
        return g_strdup_printf("%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}

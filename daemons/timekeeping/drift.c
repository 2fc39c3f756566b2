#include <math.h>

#include "timekeeping/drift.h"

#define LEAST_SD_PPM 1e-6

/* g_ascii_strtod: a daemon's locale must not decide what a dot means. Returns the rest, or NULL. */
static const char *parse_number(const char *s, double *ret)
{
        char *end;
        double v;

        v = g_ascii_strtod(s, &end);
        if (end == s || !isfinite(v))
                return NULL;
        *ret = v;
        return end;
}

int drift_parse(const char *text, Drift *ret)
{
        Drift d = {.sd_ppm = DRIFT_UNKNOWN_SD_PPM};
        const char *rest;

        assert(text);
        assert(ret);

        rest = parse_number(text, &d.frequency_ppm);
        if (!rest || (*rest && !g_ascii_isspace(*rest)))
                return -EINVAL;

        if (rest[strspn(rest, " \t\n")]) {
                rest = parse_number(rest, &d.sd_ppm);
                if (!rest || rest[strspn(rest, " \t\n")])
                        return -EINVAL;
        }
        if (fabs(d.frequency_ppm) > DRIFT_LIMIT_PPM || d.sd_ppm < 0)
                return -ERANGE;

        d.sd_ppm = CLAMP(d.sd_ppm, LEAST_SD_PPM, DRIFT_LIMIT_PPM);
        *ret = d;
        return 0;
}

char *drift_format(Drift d)
{
        char frequency[G_ASCII_DTOSTR_BUF_SIZE], sd[G_ASCII_DTOSTR_BUF_SIZE];

        return g_strdup_printf(
                "%s %s\n", g_ascii_formatd(frequency, sizeof(frequency), "%.6f", d.frequency_ppm),
                g_ascii_formatd(sd, sizeof(sd), "%.6f", d.sd_ppm));
}

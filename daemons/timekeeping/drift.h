/*
 * Drift file — what was learnt of the oscillator, kept over a restart.
 *
 * One line: frequency and its error in ppm, "12.345678 0.012345". The form of chrony's and, but
 * for the second number, of ntpd's, so that a machine may change from those and keep what they
 * learnt. The file is the caller's.
 */
#pragma once

#include "base/macro.h"

#define DRIFT_LIMIT_PPM 500.0 /* what ADJ_FREQUENCY takes; a value beyond is no drift but damage */
#define DRIFT_UNKNOWN_SD_PPM 10.0 /* for a file with one number */

typedef struct Drift {
        double frequency_ppm; /* > 0: the oscillator is slow, the clock is made faster by this */
        double sd_ppm;
} Drift;

/* Return: 0; -EINVAL for anything but one or two finite numbers; -ERANGE beyond the limit. */
int drift_parse(const char *text, Drift *ret);

/* Caller owns the string, which ends in a newline. */
char *drift_format(Drift d);

/*
 * Numbers a person types — sizes, counts, time spans; and the same numbers printed for reading.
 *
 * Every parser takes the whole string or nothing: "12x", " 12", "", "-1" for an unsigned number are
 * -EINVAL, too large is -ERANGE; the result is untouched on failure.
 */
#pragma once

#include "base/macro.h"

int parse_u64(const char *s, uint64_t *ret);

/* Within [min, max], both included; outside is -ERANGE. */
int parse_u32_range(const char *s, uint32_t min, uint32_t max, uint32_t *ret);

/* Bytes: digits with an optional binary suffix K M G T (IEC: 1K = 1024) and an optional B or iB. */
int parse_size(const char *s, uint64_t *ret_bytes);

/* Time spans as in unit files: "10" (seconds), "500ms", "2min 30s", "1h", "infinity". */
int parse_sec(const char *s, uint64_t *ret_usec);

/* yes/no, true/false, on/off, 1/0. Returns 1, 0 or -EINVAL. */
int parse_boolean(const char *s);

/* "1.5G", "812B"; for people, not for parsers. Caller owns the string. */
char *format_size(uint64_t bytes);

/* "2min 3s", "1.204s", "16ms". Caller owns the string. */
char *format_timespan(uint64_t usec);

/*
 * mrctl time — this host's clock, and who keeps it.
 */
#pragma once

#include "cli/verbs.h"

/* "mrctl time query SERVER"; operands include "query". Returns the exit status. */
int time_query(const Arguments *a);

/* "2026-11-26 11:03:21.123456789 UTC"; caller frees. */
char *format_clock_ns(int64_t real_ns);

/* "+12.3us", "-1.234ms", "0"; "unknown" for INT64_MAX. Caller frees. */
char *format_span_ns(int64_t ns);

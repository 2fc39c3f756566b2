/*
 * mrctl time — this host's clock, and who keeps it.
 */
#pragma once

#include "cli/verbs.h"

/*
 * What follows "mrctl time"; operands include the word. Each returns the exit status and has said
 * what went wrong.
 */
int time_status(const Arguments *a);
int time_servers(const Arguments *a);
int time_samples(const Arguments *a);
int time_sync(const Arguments *a);
int time_step(const Arguments *a);
int time_set_servers(const Arguments *a);
int time_query(const Arguments *a);

/* "2026-11-26 11:03:21.123456789 UTC"; caller frees. */
char *format_clock_ns(int64_t real_ns);

/* "12.300us", "-1.234567ms", "0"; "unknown" for INT64_MAX. Caller frees. */
char *format_span_ns(int64_t ns);

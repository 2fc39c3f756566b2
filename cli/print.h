/*
 * Printing — colours, times, JSON, and the pager; and whether all of it arrived.
 */
#pragma once

#include <jansson.h>

#include "cli/arguments.h"

/* Is @fd a terminal that wants colours (NO_COLOR, TERM=dumb)? */
bool wants_colour(int fd);

/* The escape sequence of a state's colour; "" for states of none. */
const char *state_colour(const char *state);
#define COLOUR_OFF "\x1b[0m"

/* "Sun 2026-11-22 20:15:24 UTC", "-" for 0. Caller frees. */
char *format_time(uint64_t realtime_usec);

/* "3min 2s ago"; "-" for 0. Caller frees. */
char *format_ago(uint64_t realtime_usec);

uint64_t now_realtime_usec(void);

/* Columns of the terminal at @fd; what $COLUMNS says, or 80, where it is none. */
unsigned terminal_width(int fd);

/* How long a job took, or has taken so far: "1.204s"; "-" when it did not start. Caller frees. */
char *format_duration(uint64_t from_usec, uint64_t to_usec);

/* Prints @value on stdout and frees it. Returns the exit status. */
int print_json(json_t *value, JsonMode mode);

/* One object on a line of its own, or several lines, of a stream that goes on. Frees @value. */
int print_json_line(json_t *value, JsonMode mode);

/**
 * print_finish() - flush stdout, and say so when it could not take everything
 *
 * Return: exit status: 0 also when the reader went away (EPIPE): it had enough.
 */
int print_finish(void);

/**
 * pager_open() - let what follows on stdout go through $PAGER (less, where it is unset)
 *
 * Only on a terminal, and not with --no-pager. As systemctl does: less ends by itself when
 * everything fits on the screen.
 */
void pager_open(const Arguments *a);

/* Ends the output and waits until the person has read it; does nothing without a pager. */
void pager_close(void);

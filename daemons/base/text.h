/*
 * Text — ids, and bytes from outside made safe to print.
 */
#pragma once

#include "base/macro.h"

#define ID128_HEX_SIZE 33 /* 32 digits and the NUL */

/* 128 random bits from the kernel as 32 lower-case hex digits. Aborts only if the kernel has none. */
void id128_make(char ret[static ID128_HEX_SIZE]);

/* Exactly 32 lower-case hex digits. */
bool id128_is_valid(const char *s);

/**
 * text_escape() - bytes from a file, a name or a peer, fit for a log line or a terminal
 * @max_bytes: of the input that are shown; the rest becomes "…"
 *
 * Control characters and invalid UTF-8 become \xNN, a backslash is doubled. Caller owns the string.
 */
char *text_escape(const void *data, size_t size_bytes, size_t max_bytes);

/* Appends bytes to a bounded tail buffer: keeps the last @max_bytes of all that was appended. */
void text_keep_tail(GString *tail, const void *data, size_t size_bytes, size_t max_bytes);

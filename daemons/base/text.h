/*
 * Text — ids, and bytes from outside made safe to print.
 */
#pragma once

#include "base/macro.h"

#define ID128_HEX_SIZE 33 /* 32 digits and the NUL */

/* 128 random bits from the kernel as 32 lower-case hex digits. Aborts only if the kernel has
 * none. */
void id128_make(char ret[static ID128_HEX_SIZE]);

/* Exactly 32 lower-case hex digits. */
bool id128_is_valid(const char *s);

/* Bytes as lower-case hex digits; @ret has room for two of each and the NUL. */
void text_hex(const void *data, size_t size_bytes, char *ret);

/* A host's or a worker's name: 1 to 255 bytes that may be shown in logs and on terminals as they
 * are. */
bool text_is_name(const char *s);

/* Puts a copy of @value in the place of *@s; NULL leaves it. */
void text_replace(char **s, const char *value);

/**
 * text_escape() - bytes from a file, a name or a peer, fit for a log line or a terminal
 * @max_bytes: of the input that are shown; the rest becomes "…"
 *
 * Control characters and invalid UTF-8 become \xNN, a backslash is doubled. Caller owns the string.
 */
char *text_escape(const void *data, size_t size_bytes, size_t max_bytes);

/* The same of an error's sentence: what it quotes was escaped where it was made, so a backslash
 * stays as it is. */
char *text_escape_sentence(const char *s, size_t max_bytes);

/**
 * text_unescape() - bytes from text that a person typed
 *
 * A backslash begins \t, \0, \\ or \xNN; all else stands for itself.
 *
 * Return: 0; -EINVAL for another escape, -E2BIG for more than @max_bytes.
 */
int text_unescape(const char *s, uint8_t *ret, size_t max_bytes, size_t *ret_size);

/* Of what an attempt writes to stderr so much is kept, on its way to the master and there. */
#define STDERR_TAIL_BYTES KIB(16)

/* Appends bytes to a bounded tail buffer: keeps the last @max_bytes of all that was appended. */
void text_keep_tail(GString *tail, const void *data, size_t size_bytes, size_t max_bytes);

/* Bytes to insert, delete or replace until @a is @b (Levenshtein 1966). Of @a 63 bytes count. */
unsigned text_edit_distance(const char *a, const char *b);

/* The one of @names (ends with NULL) that @word most likely meant; NULL when none is near. */
const char *text_nearest_word(const char *word, const char *const *names);

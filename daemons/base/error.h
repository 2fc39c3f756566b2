/*
 * Error — a negative errno together with the sentence a person needs.
 *
 * A bare errno says "No such file"; a user wants to know which file, of which job, and what to do.
 * Functions whose failure a user will read take an `Error *` (NULL is welcome) and fill it once,
 * where the cause is known. Their return value is the same negative errno as ever.
 */
#pragma once

#include "base/macro.h"

typedef struct Error {
        int code;      /* negative errno, 0 when nothing was set */
        char *message; /* owned; one line, names the thing, no trailing full stop */
} Error;

/**
 * error_setf() - fill an error, unless one is there already: the first cause is the one that counts
 * @e:      may be NULL
 * @code:   an errno, either sign
 * @format: the sentence; write the errno's own text with %m-free words or error_text()
 *
 * Return: -|code|, so that a caller can say `return error_setf(…)`.
 */
int error_setf(Error *e, int code, const char *format, ...) _printf_(3, 4);

/* The text for @code (either sign), in the C locale; static or thread-local memory. */
const char *error_text(int code);

/* The message if there is one, else the errno's text. Never NULL. */
const char *error_message(const Error *e, int code);

void error_done(Error *e);

#define _cleanup_error_ _cleanup_(error_done)

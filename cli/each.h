/*
 * Verbs that do one thing to each of several jobs or workers — and go on with the next where one
 * fails.
 */
#pragma once

#include <jansson.h>

#include "cli/master.h"

/**
 * ChangeFn - do the thing to @name
 * @changed: an array that receives what --json shows of it
 *
 * Return: 0, or negative errno with a message.
 */
typedef int (*ChangeFn)(Master *m, const Arguments *a, const char *name, json_t *changed, Error *e);

/* Calls @fn for every operand and says what went wrong with each. Returns the exit status. */
int change_each(const Arguments *a, ChangeFn fn);

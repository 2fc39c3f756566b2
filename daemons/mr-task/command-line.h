/*
 * Command lines — what can be started without a shell, and means the same.
 *
 * A shell is one more program to start and to link for each split. What is a program's name and
 * plain words, nothing that a shell would expand, redirect or do itself, needs none.
 */
#pragma once

#include "base/macro.h"

/**
 * command_line_split() - the program of a command, and its words
 * @line: as it would be given to `sh -c`
 * @env:  NAME=VALUE strings, NULL-terminated: its PATH is where a name without a slash is looked
 *        for
 *
 * Return: the words, of which the first is the program's name as it was said, with its path in
 * @ret_path; or NULL: the shell's to understand, to run or to say that there is none. Caller frees
 * both.
 */
char **command_line_split(const char *line, char *const *env, char **ret_path);

/*
 * Tables — rows for people by libsmartcols, or the same rows as a JSON array of objects.
 *
 * A verb fills one table and need not know which of the two is printed. On a terminal a table is
 * cut to its width and coloured, and goes through a pager when it is longer than the screen; into a
 * pipe or a file goes every byte.
 */
#pragma once

#include <jansson.h>

#include "cli/arguments.h"

typedef struct Column {
        const char *heading; /* NULL: only in the JSON */
        const char *key; /* its name in the JSON, that of the bus property; NULL: only for people */
        bool right;      /* numbers */
        bool truncate;   /* may be cut where the terminal is narrow */
} Column;

typedef struct Table Table;

/* @columns: must outlive the table. @noun: for the legend, "jobs". */
Table *table_new(const Column *columns, size_t count, const char *noun, const Arguments *a);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table, table_free);

void table_add_row(Table *t);

/* Sets a cell of the newest row. @text and @value become the table's. */
void table_set(Table *t, size_t column, char *text, json_t *value);

/* Text that is the same in both; "-" for people where it is empty. */
void table_set_text(Table *t, size_t column, const char *text);
void table_set_number(Table *t, size_t column, uint64_t value);

/* A state's word, in its colour. */
void table_set_state(Table *t, size_t column, const char *state);

/* Returns the exit status: a full disk or a reader that is gone shows only here. */
int table_print(Table *t);

/*
 * Tables — see table.h.
 */
#include <libsmartcols.h>

#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

struct Table {
        const Column *columns;
        size_t count;
        const char *noun;
        const Arguments *arguments;
        json_t *rows; /* in JSON mode, and then no scols */
        struct libscols_table *scols;
        struct libscols_line *line; /* the newest */
        size_t *positions;          /* of each column among those with a heading */
        size_t row_count;
};

static void make_columns(Table *t)
{
        size_t position = 0;

        t->positions = g_new0(size_t, t->count);
        for (size_t i = 0; i < t->count; i++) {
                const Column *c = &t->columns[i];
                int flags = (c->right ? SCOLS_FL_RIGHT : 0) | (c->truncate ? SCOLS_FL_TRUNC : 0);

                if (!c->heading)
                        continue;
                t->positions[i] = position++;
                if (!scols_table_new_column(t->scols, c->heading, 0, flags))
                        g_error("out of memory");
        }
}

Table *table_new(const Column *columns, size_t count, const char *noun, const Arguments *a)
{
        Table *t = g_new(Table, 1);

        *t = (Table){.columns = columns, .count = count, .noun = noun, .arguments = a};
        if (a->json != JSON_OFF) {
                t->rows = json_array();
                return t;
        }
        scols_init_debug(0);
        t->scols = scols_new_table();
        if (!t->scols)
                g_error("out of memory");
        make_columns(t);
        (void) scols_table_enable_noheadings(t->scols, a->no_legend);
        return t;
}

Table *table_free(Table *t)
{
        if (!t)
                return NULL;
        if (t->scols)
                scols_unref_table(t->scols);
        if (t->rows)
                json_decref(t->rows);
        g_free(t->positions);
        g_free(t);
        return NULL;
}

void table_add_row(Table *t)
{
        t->row_count++;
        if (t->rows) {
                (void) json_array_append_new(t->rows, json_object());
                return;
        }
        t->line = scols_table_new_line(t->scols, NULL);
        if (!t->line)
                g_error("out of memory");
}

void table_set(Table *t, size_t column, char *text, json_t *value)
{
        const Column *c = &t->columns[column];

        if (t->rows && c->key) {
                json_t *row = json_array_get(t->rows, t->row_count - 1);

                (void) json_object_set_new(row, c->key, value);
                value = NULL;
        } else if (t->scols && c->heading) {
                /* libsmartcols frees it with free(), which is what g_malloc() uses. */
                (void) scols_line_refer_data(t->line, t->positions[column], text);
                text = NULL;
        }
        g_free(text);
        if (value)
                json_decref(value);
}

void table_set_text(Table *t, size_t column, const char *text)
{
        table_set(t, column, g_strdup(*text ? text : "-"), json_string(text));
}

void table_set_number(Table *t, size_t column, uint64_t value)
{
        table_set(t, column, g_strdup_printf("%" G_GUINT64_FORMAT, value),
                  json_integer((json_int_t) value));
}

void table_set_state(Table *t, size_t column, const char *state)
{
        const char *colour = state_colour(state);

        table_set_text(t, column, state);
        if (t->scols && *colour)
                (void) scols_cell_set_color(scols_line_get_cell(t->line, t->positions[column]),
                                            colour);
}

/* The width of the terminal, asked before a pager takes its place. */
static void fit_terminal(Table *t)
{
        if (!isatty(STDOUT_FILENO))
                return;
        (void) scols_table_set_termforce(t->scols, SCOLS_TERMFORCE_ALWAYS);
        (void) scols_table_set_termwidth(t->scols, terminal_width(STDOUT_FILENO));
}

int table_print(Table *t)
{
        const Arguments *a = t->arguments;

        if (t->rows) {
                json_t *rows = TAKE_PTR(t->rows);

                return print_json(rows, a->json);
        }
        fit_terminal(t);
        pager_open(a);
        (void) scols_table_enable_colors(t->scols, wants_colour(STDOUT_FILENO));
        if (t->row_count > 0)
                (void) scols_print_table(t->scols);
        if (!a->no_legend && !a->quiet)
                (void) printf("%s%zu %s listed.\n", t->row_count > 0 ? "\n" : "", t->row_count,
                              t->noun);
        return print_finish();
}

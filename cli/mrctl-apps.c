/*
 * mrctl apps — the built-in programs and their parameters. Needs no master: they come with mrctl.
 */
#include "apps/catalog.h"
#include "cli/print.h"
#include "cli/table.h"
#include "cli/verbs.h"

enum { APP, PARAMETER, DEFAULT, MEANING, COLUMNS };

static const Column columns[COLUMNS] = {
        [APP] = {"APP", "App"},
        [PARAMETER] = {"PARAMETER", "Parameter"},
        [DEFAULT] = {"DEFAULT", "Default"},
        [MEANING] = {"MEANING", "Meaning", .truncate = true},
};

static void add_row(Table *t, const char *app, const char *parameter, const char *value,
                    const char *meaning)
{
        table_add_row(t);
        table_set_text(t, APP, app);
        table_set_text(t, PARAMETER, parameter);
        table_set_text(t, DEFAULT, value);
        table_set_text(t, MEANING, meaning);
}

int verb_apps(const Arguments *a)
{
        _cleanup_(table_freep) Table *t = table_new(columns, COLUMNS, "rows", a);

        for (const CatalogApp *app = catalog; app->name; app++) {
                add_row(t, app->name, "", "", app->summary);
                for (const MrParameter *p = app->parameters; p->name; p++)
                        add_row(t, app->name, p->name, p->value ? p->value : "(must be given)",
                                p->help);
        }
        return table_print(t);
}

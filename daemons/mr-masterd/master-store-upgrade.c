/*
 * Upgrade — the database of an older mr-masterd becomes one of this.
 *
 * The schema is said once, as it is now, and is made in an empty database in memory. The file is
 * compared with that: a table that it lacks is made; one whose columns are others, or stand in
 * another order, is made anew and takes over the columns that both have; indexes follow. What is
 * new is NULL, which readers take for 0 or "". So every older version has the same way to this one,
 * and an empty file is but the oldest of them.
 *
 * The caller's transaction is around it: a power cut or a full disk leaves the old file.
 * Source: SQLite, "ALTER TABLE", §7 "Making Other Kinds Of Table Schema Changes": make, copy, drop,
 * rename.
 * Changed: the old table is renamed first, so that the CREATE TABLE is the schema's to the letter.
 */
#include "base/text.h"
#include "mr-masterd/master-store-impl.h"

#define OLD "before_upgrade"

typedef struct Item {
        char *name, *sql;
        bool is_index;
} Item;

static void item_done(gpointer data)
{
        Item *i = data;

        g_free(i->name);
        g_free(i->sql);
}

static void db_closep(sqlite3 **db)
{
        (void) sqlite3_close(*db);
}

static void statement_donep(sqlite3_stmt **statement)
{
        (void) sqlite3_finalize(*statement);
}

/* Tables before the indexes on them. */
static int list_items(sqlite3 *db, GArray *items)
{
        _cleanup_(statement_donep) sqlite3_stmt *s = NULL;
        int code;

        code = sqlite3_prepare_v2(db,
                                  "SELECT name, sql, type = 'index' FROM sqlite_schema"
                                  " WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY 3, 1",
                                  -1, &s, NULL);
        while (code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
                Item i = {.name = g_strdup((const char *) sqlite3_column_text(s, 0)),
                          .sql = g_strdup((const char *) sqlite3_column_text(s, 1)),
                          .is_index = sqlite3_column_int(s, 2)};

                g_array_append_val(items, i);
        }
        return code == SQLITE_OK ? sqlite3_reset(s) : code;
}

/* Names and types in order; none: there is no such table, or it is an index. */
static int list_columns(sqlite3 *db, const char *table, GPtrArray *names, GString *described)
{
        _cleanup_(statement_donep) sqlite3_stmt *s = NULL;
        int code;

        code = sqlite3_prepare_v2(
                db, "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", -1, &s, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_bind_text(s, 1, table, -1, SQLITE_STATIC);
        while (code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
                g_ptr_array_add(names, g_strdup((const char *) sqlite3_column_text(s, 0)));
                g_string_append_printf(described, "%s %s %d,", sqlite3_column_text(s, 0),
                                       sqlite3_column_text(s, 1), sqlite3_column_int(s, 2));
        }
        return code == SQLITE_OK ? sqlite3_reset(s) : code;
}

static int run(Store *s, const char *sql)
{
        return store_note(s, sqlite3_exec(store_db(s), sql, NULL, NULL, NULL));
}

static int refill(Store *s, const Item *table, GPtrArray *old, GPtrArray *fresh)
{
        g_autoptr(GString) both = g_string_new(NULL);
        g_autofree char *aside = g_strdup_printf("ALTER TABLE %s RENAME TO " OLD, table->name);
        g_autofree char *copy = NULL;
        int r;

        for (guint i = 0; i < fresh->len; i++)
                if (g_ptr_array_find_with_equal_func(old, fresh->pdata[i], g_str_equal, NULL))
                        g_string_append_printf(both, "%s%s", both->len > 0 ? "," : "",
                                               (const char *) fresh->pdata[i]);
        copy = g_strdup_printf("INSERT INTO %s(%s) SELECT %s FROM " OLD, table->name, both->str,
                               both->str);
        r = run(s, aside);
        if (r >= 0)
                r = run(s, table->sql);
        if (r >= 0 && both->len > 0)
                r = run(s, copy);
        return r < 0 ? r : run(s, "DROP TABLE " OLD);
}

static int upgrade_table(Store *s, sqlite3 *fresh, const Item *table)
{
        g_autoptr(GPtrArray) had = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GPtrArray) has = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GString) before = g_string_new(NULL);
        g_autoptr(GString) after = g_string_new(NULL);
        int r;

        r = store_note(s, list_columns(store_db(s), table->name, had, before));
        if (r >= 0)
                r = store_note(s, list_columns(fresh, table->name, has, after));
        if (r < 0 || g_string_equal(before, after))
                return r;
        return had->len == 0 ? run(s, table->sql) : refill(s, table, had, has);
}

static int upgrade_index(Store *s, const Item *index)
{
        g_autofree char *drop = g_strdup_printf("DROP INDEX IF EXISTS %s", index->name);
        int r;

        r = run(s, drop); /* it may be one on other columns */
        return r < 0 ? r : run(s, index->sql);
}

int store_upgrade(Store *s, const char *const *schema)
{
        g_autoptr(GArray) items = g_array_new(false, false, sizeof(Item));
        _cleanup_(db_closep) sqlite3 *fresh = NULL;
        int code, r;

        g_array_set_clear_func(items, item_done);
        code = sqlite3_open(":memory:", &fresh);
        for (; code == SQLITE_OK && *schema; schema++)
                code = sqlite3_exec(fresh, *schema, NULL, NULL, NULL);
        if (code == SQLITE_OK)
                code = list_items(fresh, items);
        r = store_note(s, code);
        for (guint i = 0; r >= 0 && i < items->len; i++) {
                const Item *item = &g_array_index(items, Item, i);

                r = item->is_index ? upgrade_index(s, item) : upgrade_table(s, fresh, item);
        }
        return r;
}

/*
 * The store's inside, for the files that are the store.
 */
#pragma once

#include <sqlite3.h>

#include "mr-masterd/master-store.h"

extern const char store_keys_schema[]; /* master-store-keys.c */

sqlite3 *store_db(Store *s);
int store_begin(
        Store *s); /* the transaction, unless one is open; negative errno after a failure in it */
int store_note(Store *s,
               int code); /* SQLite's; remembered for store_commit() when it is an error */

/* In an open transaction: makes what is missing, and makes anew what is of another shape. @schema
 * ends with NULL. */
int store_upgrade(Store *s, const char *const *schema);

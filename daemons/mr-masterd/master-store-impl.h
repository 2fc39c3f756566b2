/*
 * The store's inside, for the files that are the store.
 */
#pragma once

#include <sqlite3.h>

#include "mr-masterd/master-store.h"

extern const char store_keys_schema[]; /* master-store-keys.c */
/* Added later, to a file that may be there already. */
extern const char store_seen_schema[];

sqlite3 *store_db(Store *s);
int store_begin(
        Store *s); /* the transaction, unless one is open; negative errno after a failure in it */
int store_note(Store *s,
               int code); /* SQLite's; remembered for store_commit() when it is an error */

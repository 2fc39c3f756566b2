/*
 * Catalog — the built-in programs by name, what each is for, and its parameters.
 *
 * The master checks a job against it, mrctl prints it, mr-task runs what it says. The programs
 * themselves are in mr-task; here is what others may know of them. Pure tables: no I/O.
 */
#pragma once

#include "base/error.h"
#include "mapreduce.h"

/* What a line of a command's mapper counts for, where an app is the reduce of such a job. */
typedef enum CatalogFold {
        CATALOG_FOLD_NONE,   /* the app reduces what its own map emits, and nothing else */
        CATALOG_FOLD_NUMBER, /* the number that is its value */
        CATALOG_FOLD_LINE,   /* one */
        CATALOG_FOLD_KEY,    /* nothing: keys alone are the result */
} CatalogFold;

typedef struct CatalogApp {
        const char *name;
        const char *summary;
        const MrParameter *parameters; /* ends with a NULL name */
        bool ordered; /* its parts, one after another, are the result: they are not merged by key */
        CatalogFold fold;
        MrOp op; /* of the fold: how the numbers of a key become one */
} CatalogApp;

/* Ends with a NULL name. In the order of their names. */
extern const CatalogApp catalog[];

/* NULL when there is none of that name. */
const CatalogApp *catalog_find(const char *name);

/* "count, distinct, …", for a message. Caller frees. */
char *catalog_names(void);

/* An app of that name that can be the reduce of a command's mapper; NULL when there is none. */
const CatalogApp *catalog_find_reducer(const char *name);

/* Their names, for a message. Caller frees. */
char *catalog_reducer_names(void);

/* A plugin that is shipped with the job: "NAME.so". */
bool catalog_is_plugin(const char *app);

/**
 * catalog_resolve() - arguments as values of parameters
 * @parameters: of the program @app; NULL: it has none
 * @args:       "NAME=VALUE" each; the first may be the first parameter's value alone, unless that
 *              is taken for the name of another one, misspelt
 * @ret:        the values in the order of @parameters, NULL-terminated, pointing into both; caller
 *              frees the array
 *
 * Return: 0; -EINVAL with a sentence for an unknown name, a parameter given twice, or one missing.
 */
int catalog_resolve(const char *app, const MrParameter *parameters, char *const *args, size_t count,
                    const char ***ret, Error *e);

/* The parameters of the app sort: the master reads them, too, to find the bounds of its reduces. */
typedef struct CatalogSort {
        uint64_t key;
        char delimiter; /* NUL: white space */
        bool numeric;
        bool reverse;
        uint64_t record_bytes; /* 0: lines */
        uint64_t key_bytes;    /* of a record; 0: all */
} CatalogSort;

/* @values: as catalog_resolve() gives them. Return: 0, or -EINVAL with a sentence. */
int catalog_read_sort(const char *const *values, CatalogSort *ret, Error *e);

/* "yes" or "no". Return: 0, or -EINVAL with a sentence. */
int catalog_switch(const char *name, const char *value, bool *ret, Error *e);

/* One byte, "\\t", or nothing, which is NUL. Return: 0, or -EINVAL with a sentence. */
int catalog_delimiter(const char *value, char *ret, Error *e);

#define CATALOG_FIELD_MAX 100000
#define CATALOG_RECORD_MAX MIB(16)

/* The number in a parameter's value: -EINVAL with a sentence when it is none from @min to @max. */
int catalog_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                   Error *e);

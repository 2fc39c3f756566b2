/*
 * Configuration files — INI as in unit files, by libinih, with drop-ins merged as systemd merges
 * them.
 *
 * For "masterd.conf": the first of /etc, /run, /usr/lib mapreduced/masterd.conf, then every
 * masterd.conf.d/NAME.conf of the three, sorted by NAME, where /etc hides /run hides /usr/lib and a
 * link to /dev/null masks. Later settings win; an unknown key is a warning, a bad value an error
 * that names file, line, key and what is allowed.
 */
#pragma once

#include "base/error.h"

/* How the message ends about a line that is no setting. */
#define CONF_NO_SETTING "neither a [Section] nor Key=value"

/* Parses @value into @target. Returns 0 or negative errno, with the sentence in @e ("not a size:
 * …"). */
typedef int (*ConfParser)(const char *value, void *target, Error *e);

typedef struct ConfItem {
        const char *section;
        const char *key;
        ConfParser parse;
        void *target;
} ConfItem;

int conf_parse_string(const char *value, void *target, Error *e); /* char **, owned, g_free() */
int conf_parse_strv(const char *value, void *target,
                    Error *e); /* GPtrArray ** of char *: appended; empty value resets */
int conf_parse_path(const char *value, void *target, Error *e);    /* char **, absolute */
int conf_parse_boolean(const char *value, void *target, Error *e); /* bool * */
int conf_parse_sec(const char *value, void *target, Error *e);     /* uint64_t * in usec */
int conf_parse_size(const char *value, void *target, Error *e);    /* uint64_t * in bytes */
int conf_parse_count(const char *value, void *target, Error *e);   /* uint32_t * */

/**
 * conf_read_file() - one file
 * @items:    ends with an item whose key is NULL
 * @warnings: receives one line (char *) for each unknown section or key; may be NULL
 *
 * Return: 0, -ENOENT if the file is missing, or negative errno with a message that names file and
 * line.
 */
int conf_read_file(const char *path, const ConfItem *items, GPtrArray *warnings, Error *e);

/**
 * conf_read() - a daemon's configuration with its drop-ins
 * @name:     "masterd.conf"
 * @override: a path given with --config=, read alone and then required; or NULL
 *
 * No file at all is success: every item keeps its default.
 */
int conf_read(const char *name, const char *override, const ConfItem *items, GPtrArray *warnings,
              Error *e);

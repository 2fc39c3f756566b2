/*
 * mapreduce.h — a MapReduce program as a shared object.
 *
 * A program is a table of functions that is called by mr-task, a process that runs one job's
 * attempts one after another. It exports one symbol, and links with nothing:
 *
 *      #include <mapreduce.h>
 *
 *      static int map(MrTask *t, void *state, const void *line, size_t size)
 *      {
 *              return mr_emit_number(t, line, size, 1);
 *      }
 *
 *      const MrPlugin mapreduce_plugin = {
 *              MR_PLUGIN_HEADER,
 *              .name = "lines",
 *              .summary = "counts equal lines",
 *              .op = MR_OP_SUM,
 *              .map = map,
 *      };
 *
 *      cc -shared -fPIC -o lines.so lines.c
 *      mrctl --local run --app ./lines.so INPUT…
 *
 * Functions return 0, or a negative number, which fails the attempt: what a function here returned,
 * or mr_fail()'s. A plugin that crashes ends its attempt and harms no other. One attempt is one
 * thread.
 *
 * Memory that is given to a plugin is its to read until the function it was given to returns; a
 * value from mr_next(), until the next call of it. Bytes may be any: empty, with NULs, not UTF-8.
 */
#ifndef MAPREDUCE_H
#define MAPREDUCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a plugin of before would be misunderstood. New members come at the end, behind
 * `size`. */
#define MR_ABI 1u
#define MR_PLUGIN_SYMBOL "mapreduce_plugin"
#define MR_PLUGIN_HEADER .abi = MR_ABI, .size = (uint32_t) sizeof(MrPlugin)

typedef struct MrTask MrTask;

/* How the numbers of one key become one, in maps and in reduces: 0 to 2^64 - 1. A sum stops at the
 * end. */
typedef enum MrOp {
        MR_OP_NONE, /* values are bytes, and reduce() says what becomes of them */
        MR_OP_SUM,
        MR_OP_MIN,
        MR_OP_MAX,
} MrOp;

typedef struct MrParameter {
        const char *name;
        const char *value; /* when it is not given; NULL: it must be */
        const char *help;  /* one line */
} MrParameter;

typedef struct MrInfo {
        const char *job_id;
        const char *job_name;
        uint32_t task;
        uint32_t attempt;
        uint32_t partitions; /* the number of reduces */
        int is_map;
        const char *input; /* path of the file being mapped; NULL in a reduce */
        uint64_t offset;   /* of the piece of it */
        uint64_t length;
} MrInfo;

typedef struct MrPlugin {
        uint32_t abi;
        uint32_t size;
        const char *name;
        const char *summary;
        const MrParameter
                *parameters; /* ends with a NULL name; the first may be given without its name */
        MrOp op;
        int ordered; /* 1: map() emits by mr_emit_ordered(), all of it */

        /* Once an attempt, before and after everything else. teardown() is called whenever setup()
         * was and returned 0. */
        int (*setup)(MrTask *t, void **ret_state);
        void (*teardown)(MrTask *t, void *state);

        /* One record: a line without its newline, or, with a parameter "record", that many
         * bytes. */
        int (*map)(MrTask *t, void *state, const void *record, size_t size);

        /* No more records in this file's piece. */
        int (*map_end)(MrTask *t, void *state);

        /* Makes the values of a key fewer before they are sent: reads them with mr_next() and emits
         * the same key. May be called any number of times, also never. */
        int (*combine)(MrTask *t, void *state, const void *key, size_t size);

        /* One key; its values by mr_next() or mr_next_number(). Emits lines of the result:
         * mr_emit() writes key TAB value, or the key alone without a value; mr_write() any bytes.
         * Without it each value is written with its key. */
        int (*reduce)(MrTask *t, void *state, const void *key, size_t size);

        /* No more keys. May emit. */
        int (*reduce_end)(MrTask *t, void *state);

        /* Which reduce gets a key, below @partitions; without it, a hash of the key says. The same
         * for the same key in every attempt. */
        uint32_t (*partition)(MrTask *t, void *state, const void *key, size_t size,
                              uint32_t partitions);
} MrPlugin;

/* What mr-task does for a plugin. Called through the functions below. */
typedef struct MrHost {
        uint32_t abi;
        uint32_t size;
        int (*emit)(MrTask *t, const void *key, size_t key_size, const void *value,
                    size_t value_size);
        int (*emit_number)(MrTask *t, const void *key, size_t size, uint64_t number);
        int (*emit_ordered)(MrTask *t, const void *key, size_t key_size, const void *order,
                            size_t order_size, const void *value, size_t value_size);
        int (*next)(MrTask *t, const void **ret, size_t *ret_size);
        int (*next_number)(MrTask *t, uint64_t *ret);
        int (*order)(MrTask *t, const void **ret, size_t *ret_size);
        int (*write)(MrTask *t, const void *data, size_t size);
        int (*fail)(MrTask *t, const char *sentence);
        const char *(*parameter)(MrTask *t, const char *name);
        const MrInfo *(*info)(MrTask *t);
        void (*count)(MrTask *t, const char *group, const char *name, uint64_t n);
        void (*status)(MrTask *t, const char *text);
} MrHost;

struct MrTask {
        const MrHost *host; /* the rest is mr-task's */
};

/* A record: from map() and combine() to the reduces, from reduce() to the result. Bytes are
 * copied. */
static inline int mr_emit(MrTask *t, const void *key, size_t key_size, const void *value,
                          size_t value_size)
{
        return t->host->emit(t, key, key_size, value, value_size);
}

/* A number. With an op, all of a key are combined on the way; in a reduce it is written as
 * digits. */
static inline int mr_emit_number(MrTask *t, const void *key, size_t size, uint64_t number)
{
        return t->host->emit_number(t, key, size, number);
}

/* A record whose place among the values of its key is by @order, compared byte by byte; for the
 * map() of a plugin that is `ordered`. mr_order() gives it back. */
static inline int mr_emit_ordered(MrTask *t, const void *key, size_t key_size, const void *order,
                                  size_t order_size, const void *value, size_t value_size)
{
        return t->host->emit_ordered(t, key, key_size, order, order_size, value, value_size);
}

/* The next value of the key. Returns 1, 0 after the last one, or a negative number. */
static inline int mr_next(MrTask *t, const void **ret, size_t *ret_size)
{
        return t->host->next(t, ret, ret_size);
}

/* The same for a value that mr_emit_number() made. With an op there is one: all of them
 * combined. */
static inline int mr_next_number(MrTask *t, uint64_t *ret)
{
        return t->host->next_number(t, ret);
}

/* The order of the value that mr_next() gave last; valid as long as that. */
static inline int mr_order(MrTask *t, const void **ret, size_t *ret_size)
{
        return t->host->order(t, ret, ret_size);
}

/* Any bytes into the result, from reduce() and reduce_end(). A part of the result is text in most
 * jobs. */
static inline int mr_write(MrTask *t, const void *data, size_t size)
{
        return t->host->write(t, data, size);
}

/* Says in one sentence why the attempt fails. Return it: return mr_fail(t, "…"). */
static inline int mr_fail(MrTask *t, const char *sentence)
{
        return t->host->fail(t, sentence);
}

/* Value of a parameter of the plugin's own table; NULL for a name that is not in it. */
static inline const char *mr_parameter(MrTask *t, const char *name)
{
        return t->host->parameter(t, name);
}

static inline const MrInfo *mr_info(MrTask *t)
{
        return t->host->info(t);
}

/* Adds to the job's counter "group:name". At most 128 of them in an attempt. */
static inline void mr_count(MrTask *t, const char *group, const char *name, uint64_t n)
{
        t->host->count(t, group, name, n);
}

/* What the attempt is doing, for those who watch the job. Both are signs of life during a record
 * that takes long. */
static inline void mr_status(MrTask *t, const char *text)
{
        t->host->status(t, text);
}

extern const MrPlugin mapreduce_plugin;

#ifdef __cplusplus
}
#endif
#endif

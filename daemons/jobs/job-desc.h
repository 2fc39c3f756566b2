/*
 * Job description — what a person asked for, checked once and then believed.
 *
 * It is filled key by key, as it comes over the bus, and sealed by job_desc_check(), which knows
 * every limit and names what is wrong in a sentence with the way out. A sealed description is never
 * changed; it is stored as one blob and read back the same.
 *
 * No I/O: whether an input exists is for the planner to say.
 */
#pragma once

#include "base/error.h"

#define JOB_REDUCES_MAX 10000U
#define JOB_SPLIT_SIZE_MIN KIB(4)
#define JOB_SPLIT_SIZE_MAX (1024 * GIB(1))
/* Defaults: of an app, for what is sorted or combined at once should not be far from a cache's
 * size; of a command whose outputs are to be known again, and so must not depend on who is there.
 * Other commands' splits are cut for the slots. */
#define JOB_SPLIT_SIZE_APP MIB(32)
#define JOB_SPLIT_SIZE_REUSED_COMMAND MIB(64)
#define JOB_MAX_ATTEMPTS_MAX 100U
#define JOB_MAX_ATTEMPTS_DEFAULT 4U
#define JOB_SKIP_RECORDS_MAX 1000U
#define JOB_COMMAND_IDENTITY                                                                       \
        "identity" /* a mapper or reducer of ours that passes lines on, without a process */
#define JOB_REDUCER_NONE "none"
#define JOB_KEY_FIELDS_MAX 1000U
#define JOB_SEPARATOR_MAX_BYTES 64U /* as it is written, escapes and all */
/* As mapreduce.task.timeout of Hadoop. */
#define JOB_TASK_TIMEOUT_DEFAULT_SEC 600U
#define JOB_TASK_TIMEOUT_MAX_SEC (30U * 24 * 3600)

#define JOB_NAME_MAX_BYTES 255U
#define JOB_PATH_MAX_BYTES 4000U /* PATH_MAX, less what we append to an output directory */
#define JOB_COMMAND_MAX_BYTES (100U * 1024) /* the kernel takes 128 KiB for one argument of sh -c */
#define JOB_STRINGS_MAX 10000U              /* inputs; likewise arguments, and variables */
#define JOB_DESC_MAX_BYTES (1024U * 1024) /* all strings together: a TaskSpec must fit a message */
#define JOB_REQUEST_ID_MAX_BYTES 64U
#define JOB_FILES_MAX 64U
#define JOB_FILE_MAX_BYTES MIB(64)
#define JOB_CONTENTS_MAX_BYTES                                                                     \
        MIB(16) /* of files that come as bytes; the system bus's messages end at 32 */

typedef struct JobShippedFile {
        char *name; /* a plain file name */
        uint64_t size_bytes;
        bool executable;
        char *digest; /* SHA-256 of its bytes as text; NULL before it is copied */
} JobShippedFile;

/* Strings that were not given are "", never NULL. */
typedef struct JobDesc {
        char *name;
        char *output;
        char *app;
        char *mapper;
        char *combiner;
        char *reducer;
        char *reducer_app; /* a built-in as the reduce of a command's mapper */
        char *request_id;
        char *reuse;                    /* "" and "auto" are one; "yes", "no" */
        char *intermediate;             /* "" and "local" are one; "stable:PATH" */
        char *priority;                 /* "very-low" to "very-high"; "" is "normal" */
        char *intermediate_compression; /* "" and "none" are one; "lz4", "zstd" */
        char *output_compression; /* "" and "none" are one; "gzip", "bzip2", "zstd", "lz4", "xz" */
        char *input_format;       /* "" and "lines" are one; "whole" */
        char *map_separator;      /* between the fields of what commands' maps write; "" is TAB */
        char *sort_key_fields;  /* sort-fields.h; "": commands' keys in the order of their bytes */
        char *reduce_separator; /* between key and value of what their reduces read; "" is TAB */
        GPtrArray *inputs;      /* of char * */
        GPtrArray *args;
        GPtrArray *env;
        GPtrArray *archives; /* "FILE" or "FILE#DIRECTORY" of files, to be unpacked */
        GPtrArray *files;    /* of JobShippedFile * */
        GPtrArray *bounds;   /* of GBytes *; what planning found out, and none of the keys */
        uint32_t reduces;
        uint32_t map_key_fields;       /* that are the key */
        uint32_t partition_key_fields; /* of the key, that choose the reduce; 0: all */
        uint32_t max_attempts;
        bool backups;
        bool ignore_exit_status;     /* of commands: 1 to 125 are as good as 0 */
        uint64_t split_size_bytes;   /* 0: unsaid; after job_desc_check(): cut for slots */
        uint32_t planned_slots;      /* as bounds; 0: unknown */
        uint64_t cuts;               /* as bounds; the digest of its splits; 0: not planned */
        uint32_t skip_bad_records;   /* of each map; 0: none is looked for */
        uint32_t task_timeout_sec;   /* without a sign of life; 0: none */
        uint64_t memory_limit_bytes; /* of the commands of one attempt; 0: none */
        size_t strings_bytes;        /* so far; bounded by JOB_DESC_MAX_BYTES */
} JobDesc;

JobDesc *job_desc_new(void);
JobDesc *job_desc_free(JobDesc *d);
DEFINE_CLEANUP(JobDesc, job_desc_free);

/**
 * job_desc_type() - what a key takes
 * @ret: 's' a string, 'a' a list of strings, 'n' a number, 'b' yes or no
 *
 * Return: 0; -EINVAL for an unknown key, with the closest known one in the message.
 */
int job_desc_type(const char *key, char *ret, Error *e);

/* One value of a key of that type. -EINVAL, -E2BIG or -ERANGE with a sentence that names the
 * key. */
int job_desc_set_string(JobDesc *d, const char *key, const char *value, Error *e);
int job_desc_add_string(JobDesc *d, const char *key, const char *value, Error *e);
int job_desc_set_number(JobDesc *d, const char *key, uint64_t value, Error *e);
int job_desc_set_boolean(JobDesc *d, const char *key, bool value, Error *e);

/* A shipped file. Its name has no slash, is not hidden by "." or "..", and comes once. */
int job_desc_add_file(JobDesc *d, const char *name, Error *e);

/* The whole: exactly one program (a reducer alone gets the identity mapper), inputs, everything in
 * range. Gives the job a name if it has none. */
int job_desc_check(JobDesc *d, Error *e);

/* The directory of Intermediate=stable:PATH; NULL for another. */
const char *job_desc_stable_dir(const JobDesc *d);

/* Of a sealed description: higher numbers go first. */
int job_desc_priority(const JobDesc *d);

/**
 * job_desc_program_level() - what a worker must understand to run it: base/program-level.h
 * @ret_setting: the setting that asks for the highest level, "SortKeyFields"; "" for level 0; may
 *               be NULL
 */
uint32_t job_desc_program_level(const JobDesc *d, const char **ret_setting);

/* What runs, for people: "wordcount -x", "./map.py | ./reduce.py". Caller owns the string. */
char *job_desc_program(const JobDesc *d);

/* As bytes for a database, and back. A blob that is not ours is -EBADMSG. A description without
 * settings that are new since the database's version is read by older masters, too. */
GByteArray *job_desc_serialize(const JobDesc *d);
int job_desc_deserialize(const void *data, size_t size_bytes, JobDesc **ret);

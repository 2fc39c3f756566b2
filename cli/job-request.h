/*
 * What is sent for run and submit — the arguments with everything of this machine looked up.
 *
 * Paths become absolute, because the master's working directory is another; they are not
 * normalised, because a ".." behind a symbolic link means what the kernel says it means. Files to
 * ship are opened here and travel as descriptors, so the master needs no right to read them.
 *
 * A command whose first word is a path with a slash is looked at: if it names a regular file here,
 * the file is shipped and the word becomes ./NAME. Programs below /usr, /bin, /sbin, /lib and /opt
 * belong to the system: they are not shipped but expected on every host.
 */
#pragma once

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/master.h"

#define SHIPPED_MAX 16 /* descriptors in one message that every bus lets through by default */
#define CONTENTS_MAX_BYTES MIB(16) /* what the master takes in one message */

typedef struct ShippedFile {
        char *name; /* in the commands' working directory */
        char *path; /* here */
        int fd;
} ShippedFile;

typedef struct JobRequest {
        const JobArguments *arguments;
        GPtrArray *inputs;   /* of char * */
        GPtrArray *archives; /* of char *: NAME or NAME#DIRECTORY of files */
        char *output;        /* NULL: back to the caller */
        char *app;           /* of a plugin the name it is shipped by */
        char *mapper, *combiner, *reducer;
        GArray *files; /* of ShippedFile */
        char request_id[ID128_HEX_SIZE];
} JobRequest;

/* Is it a job at all? -EINVAL with a message where it is not; looks at nothing but the
 * arguments. */
int job_arguments_check(const JobArguments *a, Error *e);

/**
 * job_request_init() - look everything up
 * @a: must outlive the request
 *
 * Return: 0, or negative errno with a message; job_request_done() is needed either way.
 */
int job_request_init(JobRequest *q, const JobArguments *a, Error *e);
void job_request_done(JobRequest *q);

/* The first word behind a command's program that names a file here which does not lie in the
 * commands' directory: perhaps why they fail. NULL: none. Caller frees. */
char *job_request_find_unshipped(const JobRequest *q);

/**
 * job_request_message() - the call that submits it
 * @m: a bus over ssh passes no descriptors: shipped files go as bytes then, CONTENTS_MAX_BYTES
 *     together
 *
 * Return: 0, or negative errno with a message.
 */
int job_request_message(const JobRequest *q, Master *m, sd_bus_message **ret, Error *e);

/* @path below the working directory, if it is relative, without "." and ".." (the daemons refuse
 * them). Caller frees. */
char *path_make_absolute(const char *path);

/* "scheme:" with at least two letters; a file of such a name is written ./a:b. */
bool path_is_uri(const char *s);

/* FILE.so is a plugin; every other name is a built-in's. */
bool app_is_file(const char *app);

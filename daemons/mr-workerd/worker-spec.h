/*
 * A task's description, judged — nothing that came over the network is believed.
 *
 * A TaskSpec names files, directories and sizes that this process will open and make. It is refused
 * as a whole, by the name of its first bad field, before anything is done with it. No I/O here.
 */
#pragma once

#include "base/error.h"
#include "cluster.pb-c.h"

/* Limits of one attempt; each is stated in its error. */
#define SPEC_PARTITIONS_MAX 10000u
#define SPEC_MAPS_MAX 1000000u
#define SPEC_PIECES_MAX 4096u
#define SPEC_TASK_MAX 1000000u /* index of a task, number of an attempt */
#define SPEC_FILES_MAX 1024u
#define SPEC_FILE_BYTES_MAX GIB(16)
#define SPEC_MEMORY_BYTES_MAX GIB(1024)
#define SPEC_PROGRAM_BYTES_MAX                                                                     \
        KIB(48) /* packed; one packet must hold it with what goes around it */

/**
 * spec_validate() - may this attempt be run as it is?
 *
 * Return: 0, or -EINVAL with a message that names the field and what it may be.
 */
int spec_validate(const Mapreduced__V1__TaskSpec *spec, Error *e);

/* 1 to 255 bytes, no '/', neither "." nor "..": one entry of a directory. */
bool spec_file_name_is_valid(const char *s);

/* "map" or "reduce". @kind is valid. */
const char *spec_kind_to_string(Mapreduced__V1__TaskKind kind);

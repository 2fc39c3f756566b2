/*
 * The properties of a job, as a table — for what reads them from the bus, and what writes them as
 * JSON.
 */
#pragma once

#include "cli/job.h"

typedef enum PropertyType {
        TEXT,     /* s: char * */
        TEXTS,    /* as: char ** */
        NUMBER,   /* u: uint32_t */
        BIG,      /* t: uint64_t */
        REAL,     /* d: double */
        COUNTERS, /* a{st}: GArray * of JobCounter */
} PropertyType;

typedef struct JobProperty {
        const char *name;
        PropertyType type;
        size_t offset; /* in Job */
} JobProperty;

extern const JobProperty job_properties[];
extern const size_t job_property_count;

static inline void *field(const Job *j, size_t i)
{
        return (char *) j + job_properties[i].offset;
}

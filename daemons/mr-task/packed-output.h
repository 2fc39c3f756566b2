/*
 * Packed output — a part of the result, compressed as the job asks, in the formats that inputs may
 * have.
 */
#pragma once

#include "mr-task/archive-module.h"
#include "mr-task/attempt.h"
#include "records/output.h"

typedef struct PackedOutput {
        Output out; /* what programs write to */
        const ArchiveModule *module;
        Packer *packer; /* NULL: plain */
} PackedOutput;

/* Writes to the attempt's output. An error says itself. */
int packed_output_init(PackedOutput *p, Attempt *a);
void packed_output_done(PackedOutput *p);

/* Writes what is left, and the end of the compressed stream. */
int packed_output_finish(PackedOutput *p, Attempt *a);

/*
 * Indices — where the partitions of run files are, read once for all reduces that ask.
 *
 * A run file's index has an entry for each reduce, and each reduce asks for its own: without this
 * every one of R reduces would read and check R entries, of every map. What was read is kept, least
 * recently used first out, and is as good as the file as long as that is the same: device, inode,
 * size and times of change are compared at each use.
 */
#pragma once

#include "base/error.h"

#define INDEX_CACHE_BYTES MIB(16)

typedef struct IndexCache IndexCache;

IndexCache *index_cache_new(size_t max_bytes);
IndexCache *index_cache_free(IndexCache *c);

/* As run_file_segment(). */
int index_cache_segment(IndexCache *c, int fd, uint32_t partitions, uint32_t partition,
                        uint64_t *ret_offset, uint64_t *ret_length, Error *e);
/* How many indices were read from files, ever; what is held. */
uint64_t index_cache_reads(const IndexCache *c);
size_t index_cache_bytes(const IndexCache *c);

/*
 * Run files — all output of one map attempt in one file, ready for every reduce to take its part.
 *
 *      header | index: R + 1 offsets | checksum | blocks of partition 0 | blocks of partition 1 | …
 *
 * Within a partition records are in key order. Partition p is the segment [index[p], index[p + 1]):
 * whole blocks, checked one by one, so a copy of the segment alone is as good as the file.
 * docs/run-file.md is the specification.
 */
#pragma once

#include "base/error.h"
#include "records/block.h"

#define RUN_FILE_VERSION 1

typedef struct RunWriter RunWriter;

/**
 * run_writer_new() - begin a run file
 * @fd:         read-write, empty; stays the caller's
 * @partitions: 1 to RECORD_MAX_PARTITIONS
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int run_writer_new(int fd, uint32_t partitions, RunWriter **ret);

/* Records will come by partition, but in no order of keys: the header says so to readers. */
void run_writer_set_unsorted(RunWriter *w);

/* Blocks are compressed. Return: 0, -ENOMEM, or -ELIBACC with a message. */
int run_writer_set_codec(RunWriter *w, BlockCodec codec, Error *e);

/* Records come by partition, then in key order: the caller's promise. Errors of
 * block_writer_add(). */
int run_writer_add(RunWriter *w, const Record *record);

/* The same for all records of @span. */
int run_writer_add_span(RunWriter *w, const RecordSpan *span);

/* Writes what is open, then header and index. The file is valid only after this. No fsync. */
int run_writer_finish(RunWriter *w, uint64_t *ret_size_bytes);

RunWriter *run_writer_free(RunWriter *w);
DEFINE_CLEANUP(RunWriter, run_writer_free);

/**
 * run_file_index() - where all partitions are
 * @ret: partitions + 1 offsets, never falling; free() by the caller
 *
 * Return: as below.
 */
int run_file_index(int fd, uint32_t partitions, uint64_t **ret, Error *e);

/**
 * run_file_segment() - where a partition is
 * @partitions: how many the file must have, so that a wrong file is noticed
 *
 * Return: 0; -EBADMSG with a sentence when header or index are not valid, or say what the file's
 * size denies; the errno of a read.
 */
int run_file_segment(int fd, uint32_t partitions, uint32_t partition, uint64_t *ret_offset,
                     uint64_t *ret_length, Error *e);

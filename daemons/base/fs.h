/*
 * Files — the few helpers that every daemon needs to put bytes on a disk and take them away again.
 *
 * All return 0 or a positive answer, and a negative errno. Nothing here logs.
 */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

/* Writes all of it, through short writes and EINTR. -ENOSPC, -EPIPE and so on come back as they
 * are. */
int write_full(int fd, const void *data, size_t size_bytes);

/* Reads until @size_bytes or the end; returns the number read. */
ssize_t read_full(int fd, void *data, size_t size_bytes);

/* The same at an offset, leaving the file position alone. */
ssize_t pread_full(int fd, void *data, size_t size_bytes, uint64_t offset);

/* Makes @path and every missing parent. An existing directory is success; another file is
 * -ENOTDIR. */
int mkdir_parents(const char *path, mode_t mode);

/**
 * dir_each() - every name in a directory but "." and ".."
 * @fd: of the directory, open for reading; taken
 * @fn: called for each, in no order, until it returns other than 0; @fd is good during the call
 *
 * Return: 0; what @fn returned last; or a negative errno when the directory cannot be read.
 */
int dir_each(int fd, int (*fn)(int fd, const char *name, void *userdata), void *userdata);

/**
 * rm_rf_at() - remove a file or a whole directory
 * @dir_fd: directory that holds it, or AT_FDCWD
 * @name:   a missing one is success
 *
 * Never follows a symbolic link. A directory of ours that may not be read or written is made so
 * first. Goes on after an error, and returns the first one.
 */
int rm_rf_at(int dir_fd, const char *name);

/* fsync() of a directory, so that a rename in it survives a power cut. */
int fsync_dir(const char *path);

/* 1 when the directory has an entry, 0 when it is empty, negative errno otherwise. */
int dir_is_populated(const char *path);

/* Whole content of a small file, at most @max_bytes (-EFBIG beyond); NUL-terminated. Caller
 * frees. */
int read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_size_bytes);

/* Copies everything from the position of @from to @to: reflink, copy_file_range, then a loop. */
int copy_bytes(int from, int to);

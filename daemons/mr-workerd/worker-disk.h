/*
 * The disk threads — what may take long on a disk happens here, so that the loop keeps its leases.
 *
 * An fsync of a map's output or the removal of a job's directory can take seconds on a busy disk, and
 * a worker that does not answer for so long is taken for dead. Removals are done in order, syncs eight at a time. Only
 * this file knows that there are threads; every callback comes from the loop.
 */
#pragma once

#include "platform/loop.h"

typedef struct Disk Disk;
typedef struct DiskSync DiskSync;

/* @error: 0 or negative errno */
typedef void (*DiskSyncDone)(int error, void *userdata);

int disk_new(Loop *l, Disk **ret);
/* Finishes what was begun, calls nobody back. */
Disk *disk_free(Disk *d);

/**
 * disk_sync() - fsync a file
 * @fd:  duplicated
 * @ret: valid until @done is called
 *
 * Return: 0; -EMFILE and the like when the descriptor cannot be duplicated.
 */
int disk_sync(Disk *d, int fd, DiskSyncDone done, void *userdata, DiskSync **ret);
DiskSync *disk_sync_forget(DiskSync *s); /* @done will not be called. Returns NULL, takes NULL */

/* Removes a file or a tree. @dir_fd must stay open until disk_free(). Nobody is told. */
void disk_remove(Disk *d, int dir_fd, const char *name);

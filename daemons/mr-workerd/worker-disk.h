/*
 * The disk thread — what may take long on a disk happens here, so that the loop keeps its leases.
 *
 * The removal of a job's directory can take seconds on a busy disk, and a worker that does not
 * answer for so long is taken for dead. Removals are done in order. Only this file knows that there
 * is a thread.
 */
#pragma once

typedef struct Disk Disk;

int disk_new(Disk **ret);
/* Finishes what was begun. */
Disk *disk_free(Disk *d);

/* Removes a file or a tree. @dir_fd must stay open until disk_free(). Nobody is told. */
void disk_remove(Disk *d, int dir_fd, const char *name);

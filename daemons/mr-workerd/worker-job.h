/*
 * A job as a worker sees it — its shipped files and the whereabouts of its map outputs, each
 * fetched once for all attempts of the job here.
 *
 * Made by the first attempt, kept until the master says to forget it.
 */
#pragma once

#include "cluster.pb-c.h"
#include "mr-workerd/worker-manager.h"

typedef struct JobFiles JobFiles;
typedef struct JobWatch JobWatch;

typedef struct Job {
        Manager *manager;
        char *id;
        JobFiles *files;
        JobWatch *watch;
} Job;

/* Finds it or makes it, with its directory in the spool. Negative errno when that cannot be
 * made. */
int job_get(Manager *m, const char *job_id, Job **ret);
void job_free(gpointer job); /* for the table of jobs; no attempt may use it any more */

/* ---- Shipped files (worker-files.c) ---- */

/* @error: 0; -ENOENT when the master has no such file; else something that may pass */
typedef void (*JobFilesDone)(int error, const char *sentence, void *userdata);
typedef struct JobFilesWait JobFilesWait;

JobFiles *job_files_new(Job *job);
JobFiles *job_files_free(JobFiles *f); /* nobody waits any more */

/**
 * job_files_request() - have all of @program's files on this disk
 * @program: lives as long as the wait
 *
 * Return: 1 when they are all there; 0 when @done will say so, from the loop.
 */
int job_files_request(JobFiles *f, const Mapreduced__V1__Program *program, JobFilesDone done,
                      void *userdata, JobFilesWait **ret);
JobFilesWait *job_files_wait_free(JobFilesWait *w); /* @done will not be called; takes NULL */

/**
 * job_work_make() - an attempt's working directory, with links to the shipped files (read-only)
 * @name:   "map-3.0"
 * @ret_fd: the directory; caller closes
 */
int job_work_make(Job *job, const char *name, const Mapreduced__V1__Program *program, int *ret_fd);
void job_work_remove(Job *job, const char *name);

/* ---- Where the map outputs are (worker-watch.c) ---- */

typedef struct MapLocation {
        bool known; /* else all the rest is nothing */
        bool lost;
        uint32_t attempt;
        const char *worker_id, *address; /* the watch's, valid as long as anybody is subscribed */
} MapLocation;

/* From the loop: there is news of @map. */
typedef void (*JobWatchNews)(uint32_t map, void *userdata);
typedef struct JobWatchSubscription JobWatchSubscription;

JobWatch *job_watch_new(Job *job);
JobWatch *job_watch_free(JobWatch *w); /* nobody is subscribed any more */

/* @maps: how many there are in all. News that came before is in job_watch_location() at once. */
JobWatchSubscription *job_watch_subscribe(JobWatch *w, uint32_t maps, JobWatchNews news,
                                          void *userdata);
JobWatchSubscription *job_watch_unsubscribe(JobWatchSubscription *s); /* takes NULL */
MapLocation job_watch_location(const JobWatch *w, uint32_t map);

/*
 * Released inputs — a reduce that is done gives back its part of the maps' outputs.
 *
 * In a job of `mrctl --local` nobody reads a partition again once its reduce has written its part:
 * there is no other worker, and no later job. Kept to the end of the job, it would fill the disk
 * twice, and the page cache with bytes that wait to be written for nobody, for which the kernel
 * holds up who writes the result.
 *
 *      map-00000.0.run    |   0   |   1   |   2   |   3   | index |
 *                         |       |       |       |       |       |
 *      reduce 1 is done:  |   0   |  hole |   2   |   3   | index |
 *
 * If its part cannot be put in place after all, the reduce runs again, meets a hole, and says so:
 * it is zeros, which no checksum fits. That is a lost output, and its map runs again
 * (docs/fault-tolerance.md).
 */
#pragma once

#include "mr-workerd/worker-attempt-impl.h"

/* Of a reduce whose part is written. No more is given back once that has taken long: what the page
 * cache has written to the disk already is as well removed with the directory. Done by a thread;
 * other jobs than those above keep all. */
void release_inputs(const Attempt *a);

/*
 * mr-workerd --join: makes this host a worker of a cluster, and ends.
 */
#pragma once

#include "mr-workerd/worker-conf.h"

/* Reads the token from standard input or as given. Says on standard output what it did and what
 * comes next.
 * Return: 0, or negative errno with a sentence. */
int worker_join(const WorkerConf *conf, Error *e);

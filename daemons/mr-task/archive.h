/*
 * Archives — shipped with a job, unpacked in an attempt's working directory before its commands
 * begin.
 *
 * Here, in the process that runs the user's code anyway, and not in the worker: an archive is as
 * hostile as a program. Nothing is written outside the archive's own directory: absolute names,
 * "..", names that go through a symbolic link, and links that lead out of it are refused, and so is
 * what is neither file, directory nor link. What it unpacks to is bounded.
 */
#pragma once

#include "mr-task/attempt.h"

/* Those of the program, each "FILE" or "FILE#DIRECTORY"; the shipped file itself goes. */
int archives_unpack(Attempt *a);

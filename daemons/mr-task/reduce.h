/*
 * Reduce — segments of run files in, one part file out.
 */
#pragma once

#include "mr-task/attempt.h"

int reduce_run(Attempt *a);

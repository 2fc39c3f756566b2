/*
 * Map — pieces of files in, one run file out.
 */
#pragma once

#include "mr-task/attempt.h"

int map_run(Attempt *a);

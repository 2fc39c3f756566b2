/*
 * Loading mr-archive.so, once a process.
 */
#pragma once

#include "mr-task/archive-module.h"
#include "mr-task/attempt.h"

/* An error says itself. */
int archive_module_load(Attempt *a, const ArchiveModule **ret);

/*
 * Memory — what the processes below this one hold.
 */
#pragma once

#include "base/macro.h"

/* Resident, and not shared with files or others, of all descendants together; 0 where /proc says nothing. */
uint64_t memory_of_children(void);

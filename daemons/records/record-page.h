/*
 * Record page — which record a plugin's map() has in hand, also when the process dies of it.
 *
 * The page is memory that a worker shares with one mr-task. Before each call of map() the place of
 * the record is stored there: three words, and no message. However the process ends (a signal,
 * exit(), the kernel's killer of processes without memory), the worker still reads it, by pread()
 * and not as memory, for user code may have written anything there, or have cut the file.
 *
 * Source: Dean & Ghemawat, OSDI 2004, §3.6: there a signal handler sends the record's sequence
 * number as a "last gasp".
 * Changed: nothing needs to be sent, so nothing needs to work any more in a process that has
 * crashed.
 */
#pragma once

#include "base/macro.h"

typedef struct RecordPage {
        uint64_t offset;  /* of the record in its file; in its text, where the file is compressed */
        uint64_t length;  /* with its newline */
        uint32_t piece;   /* of the map's, counted from 0 */
        uint32_t in_hand; /* 1: map() was called and has not returned */
        uint64_t over_limit_bytes; /* not 0: it was ended for holding so much memory */
} RecordPage;

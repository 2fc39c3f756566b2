/*
 * Apps — the built-in programs: a table of what to do with a map's input and a reduce's groups.
 */
#pragma once

#include "mr-task/attempt.h"
#include "records/combine.h"
#include "records/output.h"
#include "records/piece.h"

typedef struct App {
        const char *name;
        CombineOp op; /* how values of a key combine, in maps and in reduces */
        /* The records of one piece, into the combiner. */
        int (*map)(Attempt *a, PieceReader *piece, Combiner *combiner);
} App;

/* NULL when there is none of that name. */
const App *app_find(const char *name);

/* "wordcount, …", for a message. */
const char *app_names(void);

/*
 * Apps — the built-in programs, written against mapreduce.h like anybody's. The catalog says what
 * they are called and which parameters they have. Some read a piece by themselves, where a call for
 * each record would be most of the work.
 */
#pragma once

#include "mr-task/plugin.h"

typedef struct App {
        MrPlugin plugin;
        int (*map_piece)(Plugin *p, PieceReader *piece); /* instead of plugin.map, map_end */
        void (*sorter)(Plugin *p,
                       SorterOptions *options); /* how its records are sorted; may be NULL */
        RecordStream *(*sorted)(
                Plugin *p, RecordStream *stream); /* what a run file gets of them; may be NULL */
        int (*reduce_all)(Plugin *p, RecordStream *stream,
                          Output *out); /* instead of plugin.reduce, reduce_end */
} App;

extern const App app_count, app_distinct, app_grep, app_index, app_join, app_max, app_min, app_sort,
        app_sum, app_top, app_wordcount;

/* NULL when there is none of that name. */
const App *app_find(const char *name);

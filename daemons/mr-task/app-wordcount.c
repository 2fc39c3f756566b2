/*
 * wordcount — how often each word comes: the example of the MapReduce paper.
 * Source: Dean & Ghemawat, OSDI 2004, §2.1.
 */
#include "mr-task/app.h"
#include "mr-task/app-words.h"

static int wordcount_setup(MrTask *t, void **ret_state)
{
        Words *w = g_new0(Words, 1);
        int r;

        *ret_state = w;
        r = app_words_setup(t, w);
        if (r < 0)
                g_free(w);
        return r;
}

static void wordcount_teardown(MrTask *t, void *state)
{
        words_done(state);
        g_free(state);
}

static int wordcount_map_piece(Plugin *p, PieceReader *piece)
{
        Words *w = p->state;
        const Word *found;
        size_t count;
        int r;

        while ((r = app_words_next(p, piece, w, &found, &count)) > 0) {
                p->attempt->counters[COUNTER_MAP_OUTPUT_RECORDS] += count;
                r = combiner_count_words(p->combiner, w->buffer, found, count);
                if (r < 0)
                        return attempt_fail_write(p->attempt, r, "the scratch file");
        }
        return r;
}

const App app_wordcount = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "wordcount",
                        .op = MR_OP_SUM,
                        .setup = wordcount_setup,
                        .teardown = wordcount_teardown,
                },
        .map_piece = wordcount_map_piece,
};

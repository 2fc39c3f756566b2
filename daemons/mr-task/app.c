/*
 * Apps — see app.h.
 */
#include <inttypes.h>

#include "mr-task/app.h"

/* Text of this size, its table of words and the combiner's front table share the L2 cache. */
#define WORDCOUNT_READ_BYTES (64 * 1024)

static int wordcount_step(Attempt *a, PieceReader *piece, Words *w, Combiner *combiner)
{
        const Word *found;
        uint8_t *space;
        size_t size, count;
        ssize_t n;
        int r;

        r = words_space(w, WORDCOUNT_READ_BYTES, &space, &size);
        if (r == -E2BIG)
                return attempt_failf(a, r, "a word is longer than 1 GiB, near offset %" PRIu64,
                                     piece->at);
        if (r < 0)
                return r;
        /* After a long word there is room for as much again: that much at once would not be in any cache. */
        n = piece_reader_read(piece, space, MIN(size, (size_t) WORDCOUNT_READ_BYTES), &a->error);
        if (n < 0)
                return (int) n;
        r = words_scan(w, (size_t) n, n == 0, &found, &count);
        if (r < 0)
                return r;
        a->counters[COUNTER_MAP_OUTPUT_RECORDS] += count;
        r = combiner_count_words(combiner, w->buffer, found, count);
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        return n > 0;
}

static int wordcount_map(Attempt *a, PieceReader *piece, Combiner *combiner)
{
        _cleanup_(words_done) Words w = {};
        int r;

        do
                r = wordcount_step(a, piece, &w, combiner);
        while (r > 0);
        return r;
}

static const App apps[] = {
        {.name = "wordcount", .op = COMBINE_SUM, .map = wordcount_map},
};

const App *app_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(apps); i++)
                if (g_str_equal(apps[i].name, name))
                        return &apps[i];
        return NULL;
}

const char *app_names(void)
{
        return "wordcount";
}

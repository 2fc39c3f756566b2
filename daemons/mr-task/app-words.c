/*
 * Words of a piece — see app-words.h.
 */
#include <inttypes.h>

#include "mr-task/app-words.h"

/* Text of this size, its table of words and the combiner's front table share the L2 cache. */
#define READ_BYTES (64 * 1024)
#define KEEP_BYTES                                                                                 \
        (1024 * 1024) /* more was for a long word, and the rest of the attempt needs the room */

int app_words_setup(MrTask *t, Words *w)
{
        const char *which = mr_parameter(t, "words");

        w->letters = g_str_equal(which, "letters");
        if (!w->letters && !g_str_equal(which, "all"))
                return mr_fail(t, "words= takes all or letters");
        return 0;
}

int app_words_next(Plugin *p, PieceReader *piece, Words *w, const Word **ret, size_t *ret_count)
{
        Attempt *a = p->attempt;
        uint8_t *space;
        size_t size;
        ssize_t n;
        int r;

        r = words_space(w, READ_BYTES, &space, &size);
        if (r == -E2BIG)
                return error_setf(&a->error, r, "a word is longer than 1 GiB, near offset %" PRIu64,
                                  piece->at);
        if (r < 0)
                return r;
        /* After a long word there is room for as much again: that much at once would not be in any
         * cache. */
        n = piece_reader_read(piece, space, MIN(size, (size_t) READ_BYTES), &a->error);
        if (n < 0)
                return (int) n;
        r = words_scan(w, (size_t) n, n == 0, ret, ret_count);
        if (r < 0 || n > 0 || *ret_count > 0)
                return r < 0 ? r : 1;
        if (w->capacity > KEEP_BYTES) {
                bool letters = w->letters;

                words_done(w);
                w->letters = letters;
        }
        return 0;
}

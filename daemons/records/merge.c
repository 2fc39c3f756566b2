/*
 * Merge — see merge.h.
 */
#include <fcntl.h>

#include "records/block.h"
#include "records/merge.h"
#include "records/region.h"
#include "records/resort.h"

typedef struct Source {
        uint64_t prefix;
        Record head;
        BlockCursor cursor;
        Segment segment;
        bool ended;
} Source;

/* One k-way merge. Leaf i of the tree is source i; tree[0] is the winner, tree[1..count-1] the
 * losers. */
typedef struct Tournament {
        RecordStream stream;
        Merge *merge;
        Source *sources;
        uint32_t *tree;
        size_t count;
        bool advance; /* the winner was given out; its run moves on at the next call */
} Tournament;

typedef struct MergeState {
        MergeOptions options;
        size_t fan_in;
        GArray *fresh;  /* Segment, as added */
        GArray *merged; /* Segment, runs in the scratch file, all older than */
        Resort *memory; /* runs that were read into memory, all older than the fresh ones; may be
                           NULL */
        Tournament last;
        RecordStream *given; /* of one of them */
} MergeState;

static void segment_close(Segment *s)
{
        if (s->owns_fd)
                s->fd = safe_close(s->fd);
        s->owns_fd = false;
}

/* ---- the tournament ---- */

static bool source_before(const Source *a, const Source *b)
{
        int r;

        if (a->ended || b->ended)
                return !a->ended || (b->ended && a < b);
        if (a->head.partition != b->head.partition)
                return a->head.partition < b->head.partition;
        if (a->prefix != b->prefix)
                return a->prefix < b->prefix;
        r = key_compare(a->head.key, a->head.key_size, b->head.key, b->head.key_size);
        return r != 0 ? r < 0 : a < b;
}

static int source_advance(Merge *m, Source *s)
{
        int r;

        r = block_cursor_next(&s->cursor, &s->head, &m->error);
        if (r < 0) {
                m->bad_tag = s->segment.tag;
                return r;
        }
        if (r == 0) {
                s->ended = true;
                block_cursor_done(&s->cursor);
                segment_close(&s->segment);
                return 0;
        }
        s->prefix = key_prefix(s->head.key, s->head.key_size, 0);
        return 0;
}

/* Plays source @i up from its leaf against the losers on its way. */
static void tournament_replay(Tournament *t, uint32_t i)
{
        uint32_t winner = i;

        for (size_t node = (t->count + i) / 2; node > 0; node /= 2)
                if (source_before(&t->sources[t->tree[node]], &t->sources[winner])) {
                        uint32_t loser = winner;

                        winner = t->tree[node];
                        t->tree[node] = loser;
                }
        t->tree[0] = winner;
}

/* Plays the whole tree once: the winner of the subtree at @node; its losers are written on the
 * way. */
static uint32_t tournament_play(Tournament *t, size_t node)
{
        uint32_t left, right;

        if (node >= t->count)
                return (uint32_t) (node - t->count);
        left = tournament_play(t, 2 * node);
        right = tournament_play(t, 2 * node + 1);
        if (source_before(&t->sources[left], &t->sources[right])) {
                t->tree[node] = right;
                return left;
        }
        t->tree[node] = left;
        return right;
}

static void tournament_done(Tournament *t)
{
        for (size_t i = 0; t->sources && i < t->count; i++) {
                block_cursor_done(&t->sources[i].cursor);
                segment_close(&t->sources[i].segment);
        }
        free(t->sources);
        free(t->tree);
        *t = (Tournament){};
}

static int tournament_next(RecordStream *stream, Record *ret)
{
        Tournament *t = (Tournament *) (void *) stream;
        Source *s;
        int r;

        if (t->count == 0)
                return 0;
        if (t->advance) {
                t->advance = false;
                r = source_advance(t->merge, &t->sources[t->tree[0]]);
                if (r < 0)
                        return r;
                tournament_replay(t, t->tree[0]);
        }
        s = &t->sources[t->tree[0]];
        if (s->ended)
                return 0;
        *ret = s->head;
        t->advance = true;
        return 1;
}

/* Takes over the segments, also on failure. */
static int tournament_init(Merge *m, Tournament *t, Segment *segments, size_t count)
{
        const MergeOptions *o = &m->state->options;
        int r;

        *t = (Tournament){
                .stream.next = tournament_next,
                .merge = m,
                .sources = calloc(MAX(count, 1), sizeof(Source)),
                .tree = calloc(MAX(count, 1), sizeof(uint32_t)),
                .count = count,
        };
        if (!t->sources || !t->tree)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                Source *s = &t->sources[i];

                s->segment = segments[i];
                segments[i].owns_fd = false;
                block_cursor_init(&s->cursor, s->segment.fd, s->segment.offset, s->segment.length,
                                  o->want_partition, o->ticker);
        }
        for (size_t i = 0; i < count; i++) {
                r = source_advance(m, &t->sources[i]);
                if (r < 0)
                        return r;
        }
        if (count > 0)
                t->tree[0] = count > 1 ? tournament_play(t, 1) : 0;
        return 0;
}

/* ---- passes ---- */

/* A scratch run that has been read needs its place on the disk no more. */
static void forget_scratch(const Segment *s)
{
        if (s->tag == MERGE_TAG_NONE && s->length > 0)
                (void) fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 (off_t) s->offset, (off_t) s->length);
}

/* All of @stream, at the end of the scratch file. */
static int write_run(Merge *m, RecordStream *stream, Segment *ret)
{
        Scratch *scratch = m->state->options.scratch;
        BlockWriter w;
        int r;

        r = block_writer_init(&w, scratch->fd, scratch->end);
        if (r < 0)
                return r;
        r = block_writer_add_all(&w, stream);
        if (r >= 0)
                r = block_writer_flush(&w);
        if (r >= 0) {
                *ret = (Segment){
                        .fd = scratch->fd,
                        .offset = scratch->end,
                        .length = w.offset - scratch->end,
                        .tag = MERGE_TAG_NONE,
                };
                scratch->end = w.offset;
        }
        block_writer_done(&w);
        return r;
}

/* The first @count runs of @from become one run of the scratch file. */
static int pass(Merge *m, GArray *from, size_t count)
{
        g_autofree Segment *read = g_memdup2(from->data, count * sizeof(Segment));
        Tournament t = {};
        Segment merged;
        int r;

        r = tournament_init(m, &t, (Segment *) (void *) from->data, count);
        if (r >= 0)
                r = write_run(m, &t.stream, &merged);
        tournament_done(&t);
        if (r < 0)
                return r;
        for (size_t i = 0; i < count; i++)
                forget_scratch(&read[i]);
        g_array_remove_range(from, 0, (guint) count);
        g_array_append_val(m->state->merged, merged);
        return 0;
}

/* ---- in memory ---- */

/* Return: 1 when all fresh runs are in memory and closed; 0 when they cannot be, and all is as
 * before. */
static int keep_fresh(Merge *m)
{
        MergeState *s = m->state;
        uint64_t left = 0;
        ResortMark before;
        int r = 1;

        if (!s->memory && resort_new(s->options.memory_bytes, s->options.want_partition,
                                     s->options.ticker, &s->memory) < 0)
                return 0; /* then by merging, which needs less at once */
        before = resort_mark(s->memory);
        for (guint i = 0; i < s->fresh->len; i++)
                left += g_array_index(s->fresh, Segment, i).length;
        for (guint i = 0; i < s->fresh->len && r > 0; i++) {
                const Segment *segment = &g_array_index(s->fresh, Segment, i);

                r = resort_may_fit(s->memory, left) ? resort_add(s->memory, segment, &m->error) : 0;
                left -= segment->length;
                if (r < 0)
                        m->bad_tag = segment->tag;
        }
        if (r <= 0) {
                resort_rewind(s->memory, before);
                return r;
        }
        for (guint i = 0; i < s->fresh->len; i++)
                segment_close(&g_array_index(s->fresh, Segment, i));
        g_array_set_size(s->fresh, 0);
        return 1;
}

/* What is in memory becomes a run of the scratch file. */
static int spill_memory(Merge *m)
{
        MergeState *s = m->state;
        Segment run;
        int r;

        if (!s->memory || resort_mark(s->memory).count == 0)
                return 0;
        r = write_run(m, resort_sorted(s->memory), &run);
        if (r < 0)
                return r;
        g_array_append_val(s->merged, run);
        resort_rewind(s->memory, (ResortMark){});
        return 0;
}

/* A tournament's buffers take its place. */
static void forget_memory(MergeState *s)
{
        s->memory = resort_free(s->memory);
        region_forget_all();
}

static bool can_keep(const MergeState *s)
{
        return s->options.want_partition != BLOCK_ANY_PARTITION && s->fan_in >= RESORT_RUNS_MIN;
}

static int pass_fresh(Merge *m)
{
        MergeState *s = m->state;
        int r = 0;

        if (can_keep(s)) {
                r = keep_fresh(m);
                if (r == 0)
                        r = spill_memory(m);
                if (r == 0 && s->memory)
                        r = keep_fresh(m);
                if (r != 0)
                        return MIN(r, 0);
                forget_memory(s);
        }
        return pass(m, s->fresh, s->fan_in);
}

/* ---- what callers see ---- */

static int merge_next(RecordStream *stream, Record *ret)
{
        Merge *m = (Merge *) ((char *) stream - offsetof(Merge, stream));

        return m->state->given->next(m->state->given, ret);
}

static int merge_span(RecordStream *stream, RecordSpan *ret)
{
        Merge *m = (Merge *) ((char *) stream - offsetof(Merge, stream));

        return m->state->given->span(m->state->given, ret);
}

int merge_init(Merge *m, const MergeOptions *options)
{
        MergeState *state;
        size_t fan_in;

        state = calloc(1, sizeof(*state));
        if (!state)
                return -ENOMEM;
        fan_in = options->memory_bytes / BLOCK_BYTES;
        *state = (MergeState){
                .options = *options,
                .fan_in = CLAMP(fan_in, MERGE_FAN_IN_MIN, MERGE_FAN_IN_MAX),
                .fresh = g_array_new(FALSE, FALSE, sizeof(Segment)),
                .merged = g_array_new(FALSE, FALSE, sizeof(Segment)),
        };
        *m = (Merge){
                .stream.next = merge_next,
                .state = state,
                .bad_tag = MERGE_TAG_NONE,
        };
        return 0;
}

static void close_segments(GArray *segments)
{
        for (size_t i = 0; i < segments->len; i++)
                segment_close(&g_array_index(segments, Segment, i));
        g_array_unref(segments);
}

void merge_done(Merge *m)
{
        if (m->state) {
                tournament_done(&m->state->last);
                resort_free(m->state->memory);
                close_segments(m->state->fresh);
                close_segments(m->state->merged);
                free(m->state);
        }
        error_done(&m->error);
        *m = (Merge){};
}

int merge_add(Merge *m, const Segment *segment)
{
        MergeState *s = m->state;
        Segment copy = *segment;
        int r;

        if (copy.length == 0) {
                segment_close(&copy);
                return 0;
        }
        g_array_append_val(s->fresh, copy);
        if (s->fresh->len < s->fan_in)
                return 0;
        r = pass_fresh(m);
        if (r < 0)
                return r;
        return s->merged->len < s->fan_in ? 0 : pass(m, s->merged, s->fan_in);
}

int merge_spill(Merge *m, RecordStream *stream)
{
        Segment run;
        int r;

        r = write_run(m, stream, &run);
        return r < 0 ? r : merge_add(m, &run);
}

typedef struct SingleStream {
        RecordStream stream;
        const Record *record;
} SingleStream;

static int single_next(RecordStream *stream, Record *ret)
{
        SingleStream *s = (SingleStream *) (void *) stream;

        if (!s->record)
                return 0;
        *ret = *s->record;
        s->record = NULL;
        return 1;
}

int merge_spill_single(Merge *m, const Record *record)
{
        SingleStream s = {.stream.next = single_next, .record = record};

        return merge_spill(m, &s.stream);
}

int merge_start(Merge *m)
{
        MergeState *s = m->state;
        int r;

        if (can_keep(s) && s->merged->len == 0 && (s->memory || s->fresh->len >= RESORT_RUNS_MIN)) {
                r = keep_fresh(m);
                if (r < 0)
                        return r;
                if (r > 0) {
                        s->given = resort_sorted(s->memory);
                        m->stream.span = s->given->span ? merge_span : NULL;
                        return 0;
                }
        }
        r = spill_memory(m);
        if (r < 0)
                return r;
        if (s->memory)
                forget_memory(s);
        /* Oldest first, so that equal keys keep the order in which their runs were added. */
        g_array_prepend_vals(s->fresh, s->merged->data, s->merged->len);
        g_array_set_size(s->merged, 0);
        while (s->fresh->len > s->fan_in) {
                size_t count = MIN(s->fan_in, s->fresh->len - s->fan_in + 1);

                r = pass(m, s->fresh, count);
                if (r < 0)
                        return r;
                g_array_prepend_vals(s->fresh, s->merged->data, s->merged->len);
                g_array_set_size(s->merged, 0);
        }
        s->given = &s->last.stream;
        return tournament_init(m, &s->last, (Segment *) (void *) s->fresh->data, s->fresh->len);
}

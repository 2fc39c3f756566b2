/*
 * Reduce — see reduce.h.
 */
#include <inttypes.h>

#include "mr-task/command.h"
#include "mr-task/command-env.h"
#include "mr-task/fold.h"
#include "mr-task/packed-output.h"
#include "mr-task/plugin.h"
#include "mr-task/reduce.h"
#include "mr-task/stream-text.h"
#include "records/block.h"
#include "records/group.h"

static void split_tag(Attempt *a, uint64_t tag)
{
        a->bad_segment = true;
        a->bad_map = (uint32_t) (tag >> 32);
        a->bad_attempt = (uint32_t) tag;
}

/* A segment that cannot be read or is not what it should be is a lost map output. */
static int merge_failed(Attempt *a, Merge *merge, int code)
{
        if (code == LINK_ENDED || a->error.message)
                return code;
        if (merge->bad_tag == MERGE_TAG_NONE || code == -ENOMEM)
                return merge->error.message ? attempt_failf(a, code, "the scratch file: %s",
                                                            merge->error.message)
                                            : attempt_fail_write(a, code, "the scratch file");
        split_tag(a, merge->bad_tag);
        return attempt_failf(a, code, "the output of map-%u, attempt %u: %s", a->bad_map,
                             a->bad_attempt, error_message(&merge->error, code));
}

static int add_batch(Attempt *a, Merge *merge, Message *m)
{
        const Mapreduced__Task__V1__AttemptInput *input = m->body->input;
        int r;

        if (input->n_segments != m->fd_count)
                return attempt_failf(a, EPROTO, "the worker sent %zu segments and %zu descriptors",
                                     input->n_segments, m->fd_count);
        for (size_t i = 0; i < input->n_segments; i++) {
                const Mapreduced__Task__V1__Segment *s = input->segments[i];
                Segment segment = {
                        .fd = TAKE_FD(m->fds[i]),
                        .owns_fd = true,
                        .offset = s->offset,
                        .length = s->length,
                        .tag = (uint64_t) s->map << 32 | s->attempt,
                };

                r = merge_add(merge, &segment);
                if (r < 0)
                        return merge_failed(a, merge, r);
        }
        return input->last;
}

static int add_all_segments(Attempt *a, Merge *merge)
{
        int r;

        do {
                _cleanup_(message_done) Message m = {};

                r = attempt_next_input(a, &m);
                if (r >= 0)
                        r = add_batch(a, merge, &m);
        } while (r == 0);
        return r;
}

static int write_failed(Attempt *a, int code)
{
        return attempt_fail_write(a, code, "the part");
}

/* ---- a result in key order, whatever order it is written in ---- */

/* The key of a line is what stands before its first TAB, whatever separates the input: so it is
 * merged. */
static const KeyFields by_tab = {.separator = {'\t'}, .separator_size = 1, .count = 1};

static TextSink result_sink(Attempt *a)
{
        return (TextSink){
                .attempt = a,
                .fields = &by_tab,
                .partitions = 1,
                .keep_separator = true,
                .what = "reducer",
        };
}

static int result_sorter_new(Attempt *a, Sorter **ret)
{
        SorterOptions options = {
                .partitions = 1,
                .memory_bytes = a->memory_bytes / 2,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };

        return sorter_new(&options, ret);
}

static int write_sorted(Attempt *a, Sorter *sorter, Output *out)
{
        RecordStream *stream;
        Record record;
        int r;

        r = sorter_finish(sorter, &stream);
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        while ((r = stream->next(stream, &record)) > 0) {
                r = output_bytes(out, record.key, record.key_size);
                if (r >= 0)
                        r = output_bytes(out, record.value, record.value_size);
                if (r >= 0)
                        r = output_bytes(out, "\n", 1);
                if (r < 0)
                        return write_failed(a, r);
        }
        return r < 0 ? attempt_failf(a, r, "cannot read the scratch file: %s", error_text(r)) : 0;
}

/* ---- apps and plugins ---- */

/* Puts the attempt's name before a sentence that has none. */
static int plugin_failed(Attempt *a, Merge *merge, int code)
{
        if (code >= 0 || code == LINK_ENDED)
                return code;
        if (!a->error.message && merge && merge->error.message)
                return merge_failed(a, merge, code);
        if (!a->error.message && code == -EBADMSG)
                return attempt_failf(a, code,
                                     "records that are not as the maps should have made them");
        if (!a->error.message)
                return attempt_fail_write(a, code, "the scratch file");
        return attempt_name_error(a, code, NULL);
}

/* One map's records of this partition into the table; nothing has to be in order. */
static int combine_segment(Attempt *a, Combiner *c, const Mapreduced__Task__V1__Segment *s, int fd)
{
        _cleanup_error_ Error e = {};
        BlockCursor cursor;
        Record record;
        uint64_t n = 0;
        int r;

        block_cursor_init(&cursor, fd, s->offset, s->length, a->start->task, &a->ticker);
        while ((r = block_cursor_next(&cursor, &record, &e)) > 0) {
                r = combine_decode(record.value, record.value_size, &n);
                if (r < 0) {
                        (void) error_setf(&e, r, "a value that is no number");
                        break;
                }
                a->counters[COUNTER_REDUCE_INPUT_RECORDS]++;
                r = combiner_add_rare(c, record.key, record.key_size, n);
                if (r < 0) {
                        r = attempt_fail_write(a, r, "the scratch file");
                        break;
                }
        }
        block_cursor_done(&cursor);
        if (r >= 0 || r == LINK_ENDED || a->error.message)
                return r;
        a->bad_segment = true;
        a->bad_map = s->map;
        a->bad_attempt = s->attempt;
        return attempt_failf(a, r, "the output of map-%u, attempt %u: %s", s->map, s->attempt,
                             error_message(&e, r));
}

_Static_assert(BLOCK_PADDING >= WORDS_PADDING, "a combiner reads on past a key");

static int combine_batch(Attempt *a, Combiner *c, Message *m)
{
        const Mapreduced__Task__V1__AttemptInput *input = m->body->input;
        int r;

        if (input->n_segments != m->fd_count)
                return attempt_failf(a, EPROTO, "the worker sent %zu segments and %zu descriptors",
                                     input->n_segments, m->fd_count);
        for (size_t i = 0; i < input->n_segments; i++) {
                r = combine_segment(a, c, input->segments[i], m->fds[i]);
                if (r < 0)
                        return r;
                m->fds[i] = safe_close(m->fds[i]);
        }
        return input->last;
}

/* Numbers are combined in a table as they come: only the distinct keys are sorted, once. */
static int combine_all(Attempt *a, CombineOp op, size_t memory_bytes, Combiner **ret,
                       RecordStream **ret_stream)
{
        CombinerOptions options = {
                .op = op,
                .partitions = 1,
                .memory_bytes = memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };
        int r;

        r = combiner_new(&options, ret);
        while (r == 0) {
                _cleanup_(message_done) Message m = {};

                r = attempt_next_input(a, &m);
                if (r >= 0)
                        r = combine_batch(a, *ret, &m);
        }
        return r < 0 ? r : combiner_finish(*ret, ret_stream);
}

/* Must what it writes be sorted? Its own reduce() may write other keys than those it is given; the
 * apps of ours do not, or have an order of their own. */
static bool plugin_is_sorted(const Attempt *a, const Plugin *p)
{
        return a->start->sort_output && !p->app && (p->code->reduce || p->code->reduce_end);
}

static size_t plugin_memory(const Attempt *a, const Plugin *p)
{
        return plugin_is_sorted(a, p) ? a->memory_bytes / 2 : a->memory_bytes;
}

static int take_unsorted(void *userdata, const void *data, size_t size)
{
        return text_sink_take(userdata, data, size);
}

static int reduce_and_sort(Attempt *a, Plugin *p, RecordStream *stream, Output *out)
{
        _cleanup_(sorter_freep) Sorter *sorter = NULL;
        _cleanup_(output_done) Output unsorted = {.fd = -EBADF};
        _cleanup_(text_sink_done) TextSink sink = result_sink(a);
        int r;

        r = result_sorter_new(a, &sorter);
        if (r >= 0)
                r = output_init(&unsorted, -EBADF);
        if (r < 0)
                return r;
        sink.sorter = sorter;
        unsorted.sink = take_unsorted;
        unsorted.userdata = &sink;
        r = plugin_reduce(p, stream, &unsorted);
        if (r >= 0)
                r = output_flush(&unsorted);
        if (r >= 0)
                r = text_sink_finish(&sink);
        return r < 0 ? r : write_sorted(a, sorter, out);
}

static int reduce_by_plugin(Attempt *a, Plugin *p, RecordStream *stream, Output *out)
{
        return plugin_is_sorted(a, p) ? reduce_and_sort(a, p, stream, out)
                                      : plugin_reduce(p, stream, out);
}

static int reduce_numbers(Attempt *a, Plugin *p, Output *out)
{
        RecordStream *stream;
        uint64_t records;
        int r;

        r = combine_all(a, plugin_op(p->code), plugin_memory(a, p), &p->combiner, &stream);
        if (r < 0)
                return r;
        records = a->counters[COUNTER_REDUCE_INPUT_RECORDS];
        r = reduce_by_plugin(a, p, stream, out);
        a->counters[COUNTER_REDUCE_INPUT_RECORDS] = records;
        return r;
}

static int reduce_fold(Attempt *a, Output *out)
{
        _cleanup_(fold_done) Fold fold = {};
        RecordStream *stream;
        CombineOp op;
        int r;

        r = fold_init_reduce(&fold, a, &op);
        if (r >= 0)
                r = combine_all(a, op, a->memory_bytes, &fold.combiner, &stream);
        if (r >= 0)
                r = fold_write_part(&fold, stream, out);
        return plugin_failed(a, NULL, r);
}

/* ---- no reducer ---- */

static int reduce_identity(Attempt *a, Merge *merge, RecordStream *stream, Output *out)
{
        Record record;
        int r;

        while ((r = stream->next(stream, &record)) > 0) {
                a->counters[COUNTER_REDUCE_INPUT_RECORDS]++;
                r = output_line(out, record.key, record.key_size, record.value, record.value_size,
                                true);
                if (r < 0)
                        return write_failed(a, r);
        }
        a->counters[COUNTER_REDUCE_OUTPUT_RECORDS] = a->counters[COUNTER_REDUCE_INPUT_RECORDS];
        return r < 0 ? merge_failed(a, merge, r) : 0;
}

/* ---- commands ---- */

typedef struct ReducerIo {
        Attempt *attempt;
        Merge *merge;
        TextSource source;
        TextSink sink;
} ReducerIo;

static int reducer_give(void *userdata, const uint8_t **ret, size_t *ret_size)
{
        ReducerIo *io = userdata;
        int r;

        r = text_source_give(&io->source, ret, ret_size);
        return r < 0 ? merge_failed(io->attempt, io->merge, r) : r;
}

static int reducer_take(void *userdata, const uint8_t *data, size_t size)
{
        ReducerIo *io = userdata;

        return text_sink_take(&io->sink, data, size);
}

static void reducer_io_done(ReducerIo *io)
{
        text_source_done(&io->source);
        text_sink_done(&io->sink);
}

static int run_reducer(Attempt *a, ReducerIo *io)
{
        const char *reducer = a->start->program->reducer;
        CommandIo callbacks = {.give = reducer_give, .take = reducer_take, .userdata = io};
        g_auto(GStrv) env = command_env(a, NULL);
        g_autofree char *end = NULL, *shown = command_shown(reducer);
        int r;

        r = command_run(a, reducer, env, &callbacks, &end);
        a->counters[COUNTER_REDUCE_INPUT_RECORDS] = io->source.records;
        a->counters[COUNTER_REDUCE_INPUT_GROUPS] = io->source.groups;
        if (r < 0)
                return r;
        if (end)
                return attempt_failf(a, ECHILD,
                                     "the reducer (%s) %s after it was given %" PRIu64
                                     " records of %" PRIu64 " keys",
                                     shown, end, io->source.records, io->source.groups);
        return 0;
}

static int reduce_command(Attempt *a, Merge *merge, RecordStream *stream, Output *out)
{
        _cleanup_(sorter_freep) Sorter *sorter = NULL;
        _cleanup_(reducer_io_done) ReducerIo io = {
                .attempt = a,
                .merge = merge,
                .sink = result_sink(a),
        };
        int r;

        if (a->start->sort_output) {
                r = result_sorter_new(a, &sorter);
                if (r < 0)
                        return r;
                io.sink.sorter = sorter;
        } else
                io.sink.out = out;
        r = text_source_init(&io.source, stream, &a->reduce_separator);
        if (r < 0)
                return r;
        r = run_reducer(a, &io);
        if (r >= 0)
                r = text_sink_finish(&io.sink);
        if (r < 0)
                return r;
        a->counters[COUNTER_REDUCE_OUTPUT_RECORDS] = io.sink.records;
        return sorter ? write_sorted(a, sorter, out) : 0;
}

/* Records of the maps in key order, for whatever takes them so. */
static int reduce_merged(Attempt *a, Plugin *p, Output *out)
{
        _cleanup_(merge_done) Merge merge = {};
        bool is_command = !p && a->start->program->reducer[0] != '\0';
        bool sorts_output = p ? plugin_is_sorted(a, p) : is_command && a->start->sort_output;
        MergeOptions options = {
                .memory_bytes = sorts_output ? a->memory_bytes / 2 : a->memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
                .want_partition = a->start->task,
        };
        RecordStream *stream;
        PlainKeys plain;
        int r;

        r = merge_init(&merge, &options);
        if (r >= 0)
                r = add_all_segments(a, &merge);
        if (r < 0)
                return r;
        r = merge_start(&merge);
        if (r < 0)
                return merge_failed(a, &merge, r);
        if (p)
                return plugin_failed(a, &merge, reduce_by_plugin(a, p, &merge.stream, out));
        stream = plain_keys_init(&plain, a, &merge.stream);
        return is_command ? reduce_command(a, &merge, stream, out)
                          : reduce_identity(a, &merge, stream, out);
}

static int reduce_plugin(Attempt *a, Output *out)
{
        _cleanup_(plugin_done) Plugin plugin = {};
        int r;

        r = plugin_init(&plugin, a);
        if (r < 0)
                return plugin_failed(a, NULL, r);
        return plugin.code->op != MR_OP_NONE
                       ? plugin_failed(a, NULL, reduce_numbers(a, &plugin, out))
                       : reduce_merged(a, &plugin, out);
}

static int reduce_to(Attempt *a, Output *out)
{
        const Mapreduced__V1__Program *p = a->start->program;

        if (p->app[0] != '\0')
                return reduce_plugin(a, out);
        return p->reducer_app[0] != '\0' ? reduce_fold(a, out) : reduce_merged(a, NULL, out);
}

int reduce_run(Attempt *a)
{
        _cleanup_(packed_output_done) PackedOutput packed = {};
        int r;

        r = packed_output_init(&packed, a);
        if (r >= 0)
                r = reduce_to(a, &packed.out);
        if (r < 0)
                return r;
        a->counters[COUNTER_REDUCE_OUTPUT_BYTES] = packed.out.bytes;
        return packed_output_finish(&packed, a);
}

/*
 * Map by command — see map-command.h.
 */
#include <inttypes.h>

#include "mr-task/command.h"
#include "mr-task/command-env.h"
#include "mr-task/map-command.h"
#include "mr-task/stream-text.h"

#define READ_BYTES (256 * 1024)

/* A mapper's stdin and stdout. */
typedef struct MapperIo {
        PieceReader *reader;
        uint8_t *buffer;
        Error *error;
        TextSink sink;
} MapperIo;

static int mapper_give(void *userdata, const uint8_t **ret, size_t *ret_size)
{
        MapperIo *io = userdata;
        ssize_t n;

        n = piece_reader_read(io->reader, io->buffer, READ_BYTES, io->error);
        if (n <= 0)
                return (int) n;
        *ret = io->buffer;
        *ret_size = (size_t) n;
        return 1;
}

static bool mapper_where(void *userdata, int *ret_fd, uint64_t *ret_offset)
{
        const MapperIo *io = userdata;

        if (io->reader->decoder)
                return false;
        *ret_fd = io->reader->fd;
        *ret_offset = io->reader->given_at;
        return true;
}

static int mapper_take(void *userdata, const uint8_t *data, size_t size)
{
        MapperIo *io = userdata;

        return text_sink_take(&io->sink, data, size);
}

static void mapper_io_done(MapperIo *io)
{
        free(io->buffer);
        text_sink_done(&io->sink);
}

TextSink map_text_sink(Attempt *a, const MapSink *to)
{
        return (TextSink){
                .attempt = a,
                .sorter = to->sorter,
                .fold = to->fold,
                .out = to->out,
                .fields = &a->fields,
                .order = attempt_order(a),
                .partitions = a->start->partitions,
                .ends_lines = true,
                .what = "mapper",
        };
}

/* The lines of a piece are the mapper's, without a process between. */
static int pass_lines(MapperIo *io)
{
        const uint8_t *data = NULL;
        size_t size = 0;
        int r;

        while ((r = mapper_give(io, &data, &size)) > 0) {
                r = text_sink_take(&io->sink, data, size);
                if (r < 0)
                        return r;
        }
        return r;
}

int map_command_piece(Attempt *a, const MapSink *to, const Mapreduced__V1__Piece *piece,
                      const char *path, PieceReader *reader)
{
        const char *mapper = a->start->program->mapper;
        g_auto(GStrv) env = command_env(a, piece);
        g_autofree char *end = NULL, *shown = command_shown(mapper);
        _cleanup_(mapper_io_done) MapperIo io = {
                .reader = reader,
                .buffer = malloc(READ_BYTES),
                .error = &a->error,
                .sink = map_text_sink(a, to),
        };
        CommandIo callbacks = {
                .give = mapper_give, .where = mapper_where, .take = mapper_take, .userdata = &io};
        int r;

        if (!io.buffer)
                return -ENOMEM;
        r = g_str_equal(mapper, MAPPER_IDENTITY) ? pass_lines(&io)
                                                 : command_run(a, mapper, env, &callbacks, &end);
        if (r >= 0)
                r = text_sink_finish(&io.sink);
        a->counters[COUNTER_MAP_OUTPUT_RECORDS] += io.sink.records;
        if (r < 0)
                return r;
        if (!end)
                return 0;
        return attempt_failf(a, ECHILD,
                             "the mapper (%s) %s; its input was %s bytes %" PRIu64 "-%" PRIu64
                             ", of which it was given the lines up to byte %" PRIu64,
                             shown, end, path, piece->offset, piece->offset + piece->length,
                             reader->at);
}

typedef struct CombinerIo {
        TextSource source;
        TextSink sink;
} CombinerIo;

static int combiner_give(void *userdata, const uint8_t **ret, size_t *ret_size)
{
        CombinerIo *io = userdata;

        return text_source_give(&io->source, ret, ret_size);
}

static int combiner_take(void *userdata, const uint8_t *data, size_t size)
{
        CombinerIo *io = userdata;

        return text_sink_take(&io->sink, data, size);
}

static void combiner_io_done(CombinerIo *io)
{
        text_source_done(&io->source);
        text_sink_done(&io->sink);
}

static int run_combiner(Attempt *a, CombinerIo *io)
{
        const char *combiner = a->start->program->combiner;
        CommandIo callbacks = {.give = combiner_give, .take = combiner_take, .userdata = io};
        g_auto(GStrv) env = command_env(a, NULL);
        g_autofree char *end = NULL, *shown = command_shown(combiner);
        int r;

        r = command_run(a, combiner, env, &callbacks, &end);
        if (r >= 0)
                r = text_sink_finish(&io->sink);
        if (r < 0)
                return r;
        if (end)
                return attempt_failf(a, ECHILD,
                                     "the combiner (%s) %s after it was given %" PRIu64 " records",
                                     shown, end, io->source.records);
        return 0;
}

int map_combine_command(Attempt *a, RecordStream *stream)
{
        _cleanup_(sorter_freep) Sorter *sorter = NULL;
        _cleanup_(combiner_io_done) CombinerIo io = {
                .sink =
                        {
                                .attempt = a,
                                .fields = &a->fields,
                                .order = attempt_order(a),
                                .partitions = a->start->partitions,
                                .what = "combiner",
                        },
        };
        SorterOptions options = {
                .partitions = a->start->partitions,
                .memory_bytes = a->memory_bytes / 2,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };
        RecordStream *combined;
        PlainKeys plain;
        int r;

        r = sorter_new(&options, &sorter);
        if (r < 0)
                return r;
        io.sink.sorter = sorter;
        r = text_source_init(&io.source, plain_keys_init(&plain, a, stream), &a->fields);
        if (r < 0)
                return r;
        r = run_combiner(a, &io);
        if (r < 0)
                return r;
        r = sorter_finish(sorter, &combined);
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        return map_write_run(a, combined, true, &a->counters[COUNTER_COMBINE_OUTPUT_RECORDS]);
}

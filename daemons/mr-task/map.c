/*
 * Map — see map.h.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/text.h"
#include "mr-task/map.h"
#include "mr-task/map-command.h"
#include "mr-task/map-plugin.h"
#include "mr-task/map-skip.h"
#include "mr-task/packed-output.h"
#include "records/run-file.h"

#define PATH_SHOWN_BYTES 1024

/* The file must be the one that was planned: cut elsewhere, lines would be lost or counted
 * twice. */
static int check_file(Attempt *a, int fd, const Mapreduced__V1__Piece *piece, const char *path)
{
        struct stat st;
        int64_t mtime_ns;

        if (fstat(fd, &st) < 0)
                return attempt_failf(a, errno, "cannot stat %s: %s", path, error_text(errno));
        mtime_ns = st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
        if (S_ISREG(st.st_mode) && (uint64_t) st.st_size == piece->file_size &&
            mtime_ns == piece->mtime_ns)
                return 0;
        a->permanent = true;
        return attempt_failf(a, ESTALE,
                             "%s has changed since the job was planned (%" PRIu64
                             " bytes then, %" PRIu64 " now)",
                             path, piece->file_size, (uint64_t) st.st_size);
}

/* Of one piece: an error of records/ names neither the attempt nor the input. */
static int name_piece_error(Attempt *a, int code, const char *path)
{
        if (code == -ESTALE && a->error.message && !a->error_is_named)
                a->permanent = true;
        return attempt_name_error(a, code, path);
}

static int open_reader(Attempt *a, const MapSink *sink, const Mapreduced__V1__Piece *piece, int fd,
                       const char *path, PieceReader *ret)
{
        uint64_t record_bytes = sink->plugin ? sink->plugin->record_bytes : 0;
        Codec codec = codec_of_path(piece->path);

        if (codec != CODEC_NONE && record_bytes > 0) {
                a->permanent = true;
                return attempt_failf(a, EINVAL, "%s is compressed: record= takes plain files",
                                     path);
        }
        if (codec != CODEC_NONE)
                return piece_reader_init_packed(ret, fd, piece->file_size, codec, &a->ticker,
                                                &a->error);
        if (record_bytes == 0) {
                piece_reader_init(ret, fd, piece->offset, piece->length, piece->file_size,
                                  &a->ticker);
                return 0;
        }
        if (piece->file_size % record_bytes != 0) {
                a->permanent = true;
                return attempt_failf(a, EINVAL,
                                     "%s has %" PRIu64
                                     " bytes, which is no whole number of records of %" PRIu64,
                                     path, piece->file_size, record_bytes);
        }
        piece_reader_init_fixed(ret, fd, piece->offset, piece->length, piece->file_size,
                                record_bytes, &a->ticker);
        return 0;
}

/* Are records left out that the mapper fails on? */
static bool skips_records(const Attempt *a, const MapSink *sink, const Mapreduced__V1__Piece *piece)
{
        return !sink->plugin && a->start->skip_records > 0 &&
               !g_str_equal(a->start->program->mapper, MAPPER_IDENTITY) &&
               codec_of_path(piece->path) == CODEC_NONE;
}

/* @reader: of no piece yet; says what was read. */
static int read_piece(Attempt *a, const MapSink *sink, const Mapreduced__V1__Piece *piece, int fd,
                      const char *path, PieceReader *reader)
{
        int r;

        if (skips_records(a, sink, piece))
                return map_skip_piece(a, sink, piece, fd, path, &reader->lines, &reader->bytes);
        r = open_reader(a, sink, piece, fd, path, reader);
        if (r < 0)
                return r;
        return sink->plugin ? map_plugin_piece(sink->plugin, piece, reader)
                            : map_command_piece(a, sink, piece, path, reader);
}

static int map_piece(Attempt *a, const MapSink *sink, const Mapreduced__V1__Piece *piece, int fd)
{
        g_autofree char *path = text_escape(piece->path, strlen(piece->path), PATH_SHOWN_BYTES);
        uint64_t skipped = a->counters[COUNTER_MAP_SKIPPED_RECORDS];
        _cleanup_(piece_reader_done) PieceReader reader = {};
        int r;

        r = check_file(a, fd, piece, path);
        if (r < 0)
                return r;
        (void) posix_fadvise(fd, (off_t) piece->offset, (off_t) piece->length,
                             POSIX_FADV_SEQUENTIAL);
        r = read_piece(a, sink, piece, fd, path, &reader);
        /* It is one record, whatever is in it, unless that was skipped. */
        if (a->start->program->whole_files)
                reader.lines = a->counters[COUNTER_MAP_SKIPPED_RECORDS] == skipped;
        a->counters[COUNTER_MAP_INPUT_RECORDS] += reader.lines;
        a->counters[COUNTER_MAP_INPUT_BYTES] += reader.bytes;
        a->permanent = a->permanent || reader.is_damaged;
        if (r < 0)
                return name_piece_error(a, r, path);
        /* Written to while we read it? Then what we read is neither the old file nor the new
         * one. */
        return check_file(a, fd, piece, path);
}

static int map_batch(Attempt *a, const MapSink *sink, Message *m)
{
        const Mapreduced__Task__V1__AttemptInput *input = m->body->input;
        int r;

        if (input->n_pieces != m->fd_count)
                return attempt_failf(a, EPROTO, "the worker sent %zu pieces and %zu descriptors",
                                     input->n_pieces, m->fd_count);
        for (size_t i = 0; i < input->n_pieces; i++) {
                r = map_piece(a, sink, input->pieces[i], m->fds[i]);
                if (r < 0)
                        return r;
                m->fds[i] = safe_close(m->fds[i]);
        }
        return input->last;
}

static int map_all_input(Attempt *a, const MapSink *sink)
{
        int r;

        do {
                _cleanup_(message_done) Message m = {};

                r = attempt_next_input(a, &m);
                if (r >= 0)
                        r = map_batch(a, sink, &m);
        } while (r == 0);
        return r;
}

static int set_compression(Attempt *a, RunWriter *w)
{
        const char *name = a->start->program->intermediate_compression;
        BlockCodec codec = g_str_equal(name, "lz4")    ? BLOCK_LZ4
                           : g_str_equal(name, "zstd") ? BLOCK_ZSTD
                                                       : BLOCK_PLAIN;
        _cleanup_error_ Error e = {};
        int r;

        r = run_writer_set_codec(w, codec, &e);
        return e.message ? attempt_failf(a, r, "the run file: %s", e.message) : r;
}

static int read_failed(Attempt *a, int code)
{
        return code == LINK_ENDED ? code
                                  : attempt_failf(a, code, "cannot read the scratch file: %s",
                                                  error_text(code));
}

static int write_records(Attempt *a, RecordStream *stream, RunWriter *w, uint64_t *records)
{
        Record record;
        int r;

        while ((r = stream->next(stream, &record)) > 0) {
                r = run_writer_add(w, &record);
                if (r < 0)
                        return attempt_fail_write(a, r, "the run file");
                (*records)++;
        }
        return r < 0 ? read_failed(a, r) : 0;
}

static int write_spans(Attempt *a, RecordStream *stream, RunWriter *w, uint64_t *records)
{
        RecordSpan span;
        int r;

        while ((r = stream->span(stream, &span)) > 0) {
                r = run_writer_add_span(w, &span);
                if (r < 0)
                        return attempt_fail_write(a, r, "the run file");
                *records += span.count;
        }
        return r < 0 ? read_failed(a, r) : 0;
}

int map_write_run(Attempt *a, RecordStream *stream, bool sorted, uint64_t *ret_records)
{
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        uint64_t size, records = 0;
        int r;

        r = run_writer_new(a->output_fd, a->start->partitions, &w);
        if (r < 0)
                return r;
        if (!sorted)
                run_writer_set_unsorted(w);
        r = set_compression(a, w);
        if (r < 0)
                return r;
        r = stream->span ? write_spans(a, stream, w, &records)
                         : write_records(a, stream, w, &records);
        if (r < 0)
                return r;
        r = run_writer_finish(w, &size);
        if (r < 0)
                return attempt_fail_write(a, r, "the run file");
        a->counters[COUNTER_MAP_OUTPUT_BYTES] = size;
        *ret_records = records;
        return 0;
}

static int map_plugin(Attempt *a)
{
        _cleanup_(plugin_done) Plugin plugin = {};
        MapSink sink = {.plugin = &plugin};
        int r;

        r = plugin_init(&plugin, a);
        if (r < 0)
                return attempt_name_error(a, r, NULL);
        r = map_plugin_begin(&plugin);
        if (r >= 0)
                r = map_all_input(a, &sink);
        return r < 0 ? r : attempt_name_error(a, map_plugin_finish(&plugin), NULL);
}

/* Without reduces: what the maps say is the result. */
static int map_part(Attempt *a)
{
        _cleanup_(plugin_done) Plugin plugin = {};
        _cleanup_(packed_output_done) PackedOutput packed = {};
        MapSink sink = {.out = &packed.out};
        int r;

        r = packed_output_init(&packed, a);
        if (r >= 0 && a->start->program->app[0] != '\0') {
                sink.plugin = &plugin;
                r = plugin_init(&plugin, a);
                if (r >= 0)
                        r = map_plugin_begin_part(&plugin, &packed.out);
        }
        if (r >= 0)
                r = map_all_input(a, &sink);
        if (r >= 0 && sink.plugin)
                r = plugin.failed;
        if (r < 0)
                return attempt_name_error(a, r, NULL);
        a->counters[COUNTER_MAP_OUTPUT_BYTES] = packed.out.bytes;
        return packed_output_finish(&packed, a);
}

static int map_command(Attempt *a)
{
        bool combine = a->start->program->combiner[0] != '\0';
        _cleanup_(sorter_freep) Sorter *sorter = NULL;
        MapSink sink = {};
        SorterOptions options = {
                .partitions = a->start->partitions,
                .memory_bytes = combine ? a->memory_bytes / 2 : a->memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };
        RecordStream *stream;
        uint64_t records;
        int r;

        r = sorter_new(&options, &sorter);
        if (r < 0)
                return r;
        sink.sorter = sorter;
        r = map_all_input(a, &sink);
        if (r < 0)
                return r;
        r = sorter_finish(sorter, &stream);
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        return combine ? map_combine_command(a, stream) : map_write_run(a, stream, true, &records);
}

static int map_fold(Attempt *a)
{
        _cleanup_(fold_done) Fold fold = {};
        MapSink sink = {.fold = &fold};
        int r;

        r = fold_init_map(&fold, a);
        if (r >= 0)
                r = map_all_input(a, &sink);
        return r < 0 ? r : fold_write_run(&fold);
}

int map_run(Attempt *a)
{
        const Mapreduced__V1__Program *p = a->start->program;

        if (p->app[0] == '\0' && p->mapper[0] == '\0') {
                a->permanent = true;
                return attempt_failf(a, EINVAL, "the job has neither an app nor a mapper");
        }
        if (a->start->partitions == 0)
                return map_part(a);
        if (p->app[0] != '\0')
                return map_plugin(a);
        return p->reducer_app[0] != '\0' ? map_fold(a) : map_command(a);
}

/*
 * Skipping — see map-skip.h.
 *
 * A command reads ahead, so where it was in its input when it died is not known. But any part of a
 * piece's lines is a piece like another, and the mapper may be run over it by itself. So the lines
 * are halved:
 *
 *      run over all ── fails ──▶ run over the first half, run over the second half, each likewise
 *                └─ succeeds ──▶ its output counts
 *
 * until a single line fails by itself: that is the record. What a run says counts only when it has
 * succeeded: until then its output is in a file, its counters are aside. With b bad ones among n
 * lines that takes at most 2 b log2(n) + 1 runs. A mapper that fails on no input at all is broken,
 * and no record is blamed.
 *
 * Exact for a mapper whose failure depends on one line. One that fails on two lines together, and
 * on neither alone, succeeds on both halves, and nothing is skipped. One that remembers more than a
 * line between its own output's records must not mind where its input begins, as with any splits.
 *
 * A whole file that is one record (InputFormat=whole) is not halved: it fails, or it does not.
 *
 * Source: Dean & Ghemawat, OSDI 2004, §3.6 (skipping bad records; there the record's number is
 * known, for user code is in the process); the halving is that of Hadoop's SkipBadRecords, here
 * within one attempt and not spread over many.
 */
#include <fcntl.h>
#include <inttypes.h>

#include "base/fs.h"
#include "base/text.h"
#include "mr-task/command.h"
#include "mr-task/command-env.h"
#include "mr-task/map-skip.h"
#include "mr-task/stream-text.h"

#define READ_BYTES (256 * 1024)
#define RECORD_SHOWN_BYTES (16 * 1024) /* kept of a skipped record; a packet holds it */

typedef struct Skip {
        Attempt *attempt;
        const MapSink *to;
        const Mapreduced__V1__Piece *piece;
        const char *path; /* fit to print */
        int fd;           /* of the input */
        uint8_t *buffer;
        bool checked; /* the mapper has succeeded on nothing */
        uint64_t lines, bytes;
} Skip;

/* One run of the mapper. */
typedef struct Run {
        Skip *skip;
        uint64_t at, end; /* of the input */
        int out_fd;       /* what it says, until it has succeeded */
} Run;

/* The offset behind the first newline at or after @from; that of the file's end without one. */
static int after_newline(Skip *s, uint64_t from, uint64_t *ret)
{
        while (from < s->piece->file_size) {
                ssize_t n = pread_full(s->fd, s->buffer,
                                       (size_t) MIN(READ_BYTES, s->piece->file_size - from), from);
                const uint8_t *newline;

                if (n <= 0)
                        return attempt_failf(s->attempt, n < 0 ? (int) n : ESTALE,
                                             "%s: cannot read at offset %" PRIu64 ": %s", s->path,
                                             from, error_text(n < 0 ? (int) n : -ESTALE));
                newline = memchr(s->buffer, '\n', (size_t) n);
                if (newline) {
                        *ret = from + (uint64_t) (newline - s->buffer) + 1;
                        return 0;
                }
                from += (uint64_t) n;
        }
        *ret = s->piece->file_size;
        return 0;
}

/* Where the piece's lines begin and end: records/piece.h has the rule. */
static int piece_lines(Skip *s, uint64_t *ret_begin, uint64_t *ret_end)
{
        uint64_t begin = 0, end = MIN(s->piece->offset + s->piece->length, s->piece->file_size);
        int r = 0;

        if (s->piece->offset > 0)
                r = after_newline(s, s->piece->offset, &begin);
        if (r >= 0 && end < s->piece->file_size)
                r = begin > end ? 0 : after_newline(s, end, &end);
        *ret_begin = begin;
        *ret_end = s->piece->length == 0 ? begin : MAX(begin, end);
        return r;
}

static int run_give(void *userdata, const uint8_t **ret, size_t *ret_size)
{
        Run *run = userdata;
        Skip *s = run->skip;
        size_t size = (size_t) MIN(READ_BYTES, run->end - run->at);
        ssize_t n;
        int r;

        if (size == 0)
                return 0;
        n = pread_full(s->fd, s->buffer, size, run->at);
        if (n != (ssize_t) size)
                return attempt_failf(s->attempt, n < 0 ? (int) n : ESTALE,
                                     "%s: cannot read at offset %" PRIu64 ": %s", s->path, run->at,
                                     error_text(n < 0 ? (int) n : -ESTALE));
        r = ticker_tick(&s->attempt->ticker, 0);
        if (r < 0)
                return r;
        run->at += size;
        *ret = s->buffer;
        *ret_size = size;
        return 1;
}

static int run_take(void *userdata, const uint8_t *data, size_t size)
{
        Run *run = userdata;
        int r;

        r = write_full(run->out_fd, data, size);
        return r < 0 ? attempt_fail_write(run->skip->attempt, r, "the mapper's output") : 0;
}

/* A nameless file in the attempt's own directory. */
static int open_staging(Attempt *a, int *ret_fd)
{
        int fd = openat(a->cwd_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd < 0) { /* not every file system has them */
                fd = openat(a->cwd_fd, ".mapper-output", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                            0600);
                if (fd < 0)
                        return attempt_fail_write(a, -errno, "the mapper's output");
                (void) unlinkat(a->cwd_fd, ".mapper-output", 0);
        }
        *ret_fd = fd;
        return 0;
}

static int take_output(Skip *s, int fd)
{
        TextSink sink = map_text_sink(s->attempt, s->to);
        uint64_t offset = 0;
        ssize_t n;
        int r = 0;

        while (r >= 0 && (n = pread_full(fd, s->buffer, READ_BYTES, offset)) != 0) {
                if (n < 0)
                        r = attempt_failf(s->attempt, (int) n,
                                          "cannot read the mapper's output back: %s",
                                          error_text((int) n));
                else
                        r = text_sink_take(&sink, s->buffer, (size_t) n);
                offset += (uint64_t) MAX(n, 0);
        }
        if (r >= 0)
                r = text_sink_finish(&sink);
        s->attempt->counters[COUNTER_MAP_OUTPUT_RECORDS] += sink.records;
        text_sink_done(&sink);
        return r;
}

static void add_user_counter(gpointer name, gpointer value, gpointer userdata)
{
        attempt_count_user(userdata, name, *(uint64_t *) value);
}

/* The counters of a run that fails are as if it had not been. */
static void settle_counters(Attempt *a, GHashTable *before, bool succeeded)
{
        GHashTable *of_run = a->user_counters;

        a->user_counters = before;
        if (succeeded)
                g_hash_table_foreach(of_run, add_user_counter, a);
        g_hash_table_unref(of_run);
}

/* @counts: its output and counters, if it succeeds. @ret_end: how it ended; NULL: well. */
static int run_over(Skip *s, uint64_t begin, uint64_t end, bool counts, char **ret_end)
{
        Attempt *a = s->attempt;
        g_auto(GStrv) env = command_env(a, s->piece);
        GHashTable *before = a->user_counters;
        _cleanup_close_ int fd = -EBADF;
        Run run = {.skip = s, .at = begin, .end = end};
        CommandIo callbacks = {.give = run_give, .take = run_take, .userdata = &run};
        int r;

        r = open_staging(a, &fd);
        if (r < 0)
                return r;
        run.out_fd = fd;
        a->user_counters = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        r = command_run(a, a->start->program->mapper, env, &callbacks, ret_end);
        counts = counts && r >= 0 && !*ret_end;
        settle_counters(a, before, counts);
        return counts ? take_output(s, fd) : r;
}

/* The first time a record is to blame: does the mapper succeed without any? What it says then is of
 * no record. */
static int check_mapper(Skip *s)
{
        g_autofree char *end = NULL, *shown = command_shown(s->attempt->start->program->mapper);
        int r;

        if (s->checked)
                return 0;
        r = run_over(s, 0, 0, false, &end);
        if (r < 0)
                return r;
        if (end)
                return attempt_failf(s->attempt, ECHILD,
                                     "the mapper (%s) %s although it was given no input at all: "
                                     "no record can be blamed for that",
                                     shown, end);
        s->checked = true;
        return 0;
}

static int blame(Skip *s, uint64_t begin, uint64_t end, const char *how)
{
        Mapreduced__V1__SkippedRecord record = MAPREDUCED__V1__SKIPPED_RECORD__INIT;
        Attempt *a = s->attempt;
        uint32_t most = a->start->skip_records;
        ssize_t n;
        int r;

        r = check_mapper(s);
        if (r < 0)
                return r;
        if (a->counters[COUNTER_MAP_SKIPPED_RECORDS] >= most) {
                g_autofree char *shown = command_shown(a->start->program->mapper);

                return attempt_failf(a, ECHILD,
                                     "the mapper (%s) %s on the record at %s byte %" PRIu64
                                     ", after %u that were skipped already (SkipBadRecords=%u)",
                                     shown, how, s->path, begin, most, most);
        }
        n = pread_full(s->fd, s->buffer, (size_t) MIN(RECORD_SHOWN_BYTES, end - begin), begin);
        record.path = s->piece->path;
        record.offset = begin;
        record.length = end - begin;
        record.data = (ProtobufCBinaryData){.data = s->buffer, .len = (size_t) MAX(n, 0)};
        record.error = (char *) how;
        return attempt_skip_record(a, &record);
}

static int count_lines(Skip *s, uint64_t begin, uint64_t end)
{
        s->bytes += end - begin;
        while (begin < end) {
                ssize_t n =
                        pread_full(s->fd, s->buffer, (size_t) MIN(READ_BYTES, end - begin), begin);

                if (n <= 0)
                        return n < 0 ? (int) n : -ESTALE;
                for (ssize_t i = 0; i < n; i++)
                        s->lines += s->buffer[i] == '\n';
                begin += (uint64_t) n;
                if (begin == end && s->buffer[n - 1] != '\n')
                        s->lines++;
        }
        return 0;
}

/* The beginning of a line behind the middle of [begin, end), or @end when there is one record
 * only. */
static int middle_of(Skip *s, uint64_t begin, uint64_t end, uint64_t *ret)
{
        uint64_t middle;
        int r;

        if (s->attempt->start->program->whole_files) {
                *ret = end;
                return 0;
        }
        r = after_newline(s, begin + (end - begin) / 2, &middle);
        if (r >= 0 &&
            middle >= end) /* the second half is inside one line: cut behind the first one */
                r = after_newline(s, begin, &middle);
        *ret = MIN(middle, end);
        return r;
}

static int skip_over(Skip *s, uint64_t begin, uint64_t end)
{
        g_autofree char *how = NULL;
        uint64_t middle;
        int r;

        r = run_over(s, begin, end, true, &how);
        if (r < 0)
                return r;
        if (!how)
                return count_lines(s, begin, end);
        r = middle_of(s, begin, end, &middle);
        if (r < 0)
                return r;
        if (middle == end)
                return blame(s, begin, end, how);
        r = skip_over(s, begin, middle);
        return r < 0 ? r : skip_over(s, middle, end);
}

int map_skip_piece(Attempt *a, const MapSink *to, const Mapreduced__V1__Piece *piece, int fd,
                   const char *path, uint64_t *ret_lines, uint64_t *ret_bytes)
{
        Skip s = {
                .attempt = a,
                .to = to,
                .piece = piece,
                .path = path,
                .fd = fd,
                .buffer = malloc(READ_BYTES),
        };
        uint64_t begin, end;
        int r;

        if (!s.buffer)
                return -ENOMEM;
        r = piece_lines(&s, &begin, &end);
        if (r >= 0)
                r = skip_over(&s, begin, end);
        free(s.buffer);
        if (r >= 0)
                r = ticker_tick(&a->ticker, piece->length);
        if (r < 0)
                return r;
        *ret_lines = s.lines;
        *ret_bytes = s.bytes;
        return 0;
}

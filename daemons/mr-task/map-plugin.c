/*
 * Map by plugin — see map-plugin.h.
 */
#include <inttypes.h>

#include "mr-task/app.h"
#include "mr-task/map-command.h"
#include "mr-task/map-plugin.h"

#define READ_BYTES (128 * 1024)
#define SKIP_RECORD_SHOWN_BYTES (16 * 1024) /* kept of a skipped record; a packet holds it */

static uint32_t partition(void *userdata, const uint8_t *key, size_t size)
{
        return plugin_partition(userdata, key, size);
}

int map_plugin_begin(Plugin *p)
{
        Attempt *a = p->attempt;
        CombinerOptions combiner = {
                .op = plugin_op(p->code),
                .partitions = a->start->partitions,
                .unsorted = true, /* the reduce hashes, too */
                .partition = p->code->partition ? partition : NULL,
                .partition_userdata = p,
                .memory_bytes = a->memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };
        SorterOptions sorter = {
                .partitions = a->start->partitions,
                .memory_bytes = a->memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };

        if (p->code->op != MR_OP_NONE)
                return combiner_new(&combiner, &p->combiner);
        if (p->app && p->app->sorter)
                p->app->sorter(p, &sorter);
        return sorter_new(&sorter, &p->sorter);
}

int map_plugin_begin_part(Plugin *p, Output *out)
{
        if (p->code->op != MR_OP_NONE || p->code->ordered || p->code->reduce ||
            (p->app && p->app->reduce_all)) {
                p->attempt->permanent = true;
                return error_setf(&p->attempt->error, EINVAL,
                                  "%s needs a reduce: its map alone is no result (Reduces=0)",
                                  p->code->name);
        }
        p->out = out;
        return 0;
}

/* ---- records of a piece ---- */

/* What map() did not want of its own accord is the record's affair; what it could not store is
 * not. */
static int blame_record(Plugin *p, int code, uint64_t offset)
{
        g_autofree char *sentence = NULL;
        Attempt *a = p->attempt;

        if (!p->refused_by_program) {
                a->page->in_hand = 0;
                return code;
        }
        sentence = g_strdup(error_message(&a->error, code));
        error_done(&a->error);
        a->bad_record = true;
        return error_setf(&a->error, code, "%s, on the record at byte %" PRIu64, sentence, offset);
}

static const Mapreduced__Task__V1__BadRecord *find_bad(const Plugin *p, uint64_t offset)
{
        const Mapreduced__Task__V1__AttemptStart *s = p->attempt->start;

        for (size_t i = 0; i < s->n_bad; i++)
                if (s->bad[i]->offset == offset && s->bad[i]->piece == p->attempt->page->piece)
                        return s->bad[i];
        return NULL;
}

static int skip_record(Plugin *p, const Mapreduced__Task__V1__BadRecord *bad, const uint8_t *record,
                       size_t size)
{
        Mapreduced__V1__SkippedRecord skipped = MAPREDUCED__V1__SKIPPED_RECORD__INIT;
        size_t whole = p->attempt->page->length;

        skipped.path = p->piece->path;
        skipped.offset = bad->offset;
        skipped.length = whole;
        skipped.data = (ProtobufCBinaryData){.data = (uint8_t *) record,
                                             .len = MIN(size, (size_t) SKIP_RECORD_SHOWN_BYTES)};
        skipped.error = bad->error;
        p->skipped++;
        p->skipped_bytes += whole;
        return attempt_skip_record(p->attempt, &skipped);
}

/* @whole: with its newline. The page is written before map() is called, and says so until it has
 * returned. */
static inline int map_record(Plugin *p, const uint8_t *record, size_t size, size_t whole)
{
        volatile RecordPage *page = p->attempt->page;
        uint64_t offset = p->base + (uint64_t) (record - p->lines.buffer);
        int r;

        page->offset = offset;
        page->length = whole;
        if (p->attempt->start->n_bad > 0) {
                const Mapreduced__Task__V1__BadRecord *bad = find_bad(p, offset);

                if (bad)
                        return skip_record(p, bad, record, whole);
        }
        page->in_hand = 1;
        r = p->code->map(&p->task, p->state, record, size);
        if (r < 0 || p->failed < 0)
                return blame_record(p, plugin_result(p, r, "map()"), offset);
        page->in_hand = 0;
        return 0;
}

static int map_lines(Plugin *p, bool final)
{
        const uint8_t *line;
        size_t size;
        int r = 0;

        while (r >= 0 && lines_next(&p->lines, final, &line, &size))
                r = map_record(p, line, size, p->lines.begin - (size_t) (line - p->lines.buffer));
        return r;
}

static int map_fixed(Plugin *p)
{
        Lines *l = &p->lines;
        int r = 0;

        for (; r >= 0 && l->end - l->begin >= p->record_bytes; l->begin += p->record_bytes)
                r = map_record(p, l->buffer + l->begin, p->record_bytes, p->record_bytes);
        l->scanned = l->begin;
        return r;
}

/* All of a file, which is one record. */
static int map_whole(Plugin *p, PieceReader *reader)
{
        Attempt *a = p->attempt;
        Lines *l = &p->lines;
        uint8_t *space;
        size_t size;
        ssize_t n;
        int r;

        do {
                r = lines_space(l, READ_BYTES, &space, &size);
                if (r == -E2BIG)
                        return error_setf(&a->error, r,
                                          "a file that is one record is at most 1 GiB");
                if (r < 0)
                        return r;
                n = piece_reader_read(reader, space, MIN(size, (size_t) READ_BYTES), &a->error);
                if (n < 0)
                        return (int) n;
                lines_filled(l, (size_t) n);
        } while (n > 0);
        p->base = reader->begin + reader->bytes - l->end;
        r = map_record(p, l->buffer + l->begin, l->end - l->begin, l->end - l->begin);
        l->begin = l->scanned = l->end;
        return r;
}

static int map_block(Plugin *p, PieceReader *reader)
{
        Attempt *a = p->attempt;
        uint8_t *space;
        size_t size;
        ssize_t n;
        int r;

        r = lines_space(&p->lines, READ_BYTES, &space, &size);
        if (r == -E2BIG)
                return error_setf(&a->error, r, "a line is longer than 1 GiB");
        if (r < 0)
                return r;
        n = piece_reader_read(reader, space, MIN(size, (size_t) READ_BYTES), &a->error);
        if (n < 0)
                return (int) n;
        lines_filled(&p->lines, (size_t) n);
        p->base = reader->begin + reader->bytes - p->lines.end;
        r = p->record_bytes > 0 ? map_fixed(p) : map_lines(p, n == 0);
        return r < 0 ? r : n > 0;
}

int map_plugin_records(Plugin *p, PieceReader *reader)
{
        int r;

        if (p->attempt->start->program->whole_files)
                r = map_whole(p, reader);
        else
                while ((r = map_block(p, reader)) > 0)
                        ;
        return r < 0 || !p->code->map_end
                       ? r
                       : plugin_result(p, p->code->map_end(&p->task, p->state), "map_end()");
}

int map_plugin_piece(Plugin *p, const Mapreduced__V1__Piece *piece, PieceReader *reader)
{
        int r;

        p->info.input = piece->path;
        p->info.offset = piece->offset;
        p->info.length = piece->length;
        p->piece = piece;
        p->skipped = p->skipped_bytes = 0;
        p->attempt->page->piece = p->attempt->piece++;
        if (p->app && p->app->map_piece)
                r = plugin_result(p, p->app->map_piece(p, reader), "map()");
        else
                r = map_plugin_records(p, reader);
        p->info.input = NULL;
        reader->lines -= p->skipped;
        reader->bytes -= p->skipped_bytes;
        return r;
}

/* ---- combine() ---- */

/* Gives what combine() emits for one group after the other. */
typedef struct Combining {
        RecordStream stream;
        Plugin *plugin;
        size_t at; /* in plugin->combined */
} Combining;

static int combining_next(RecordStream *stream, Record *ret)
{
        Combining *c = (Combining *) (void *) stream;
        Plugin *p = c->plugin;
        int r;

        while (c->at == p->combined->len) {
                c->at = 0;
                g_byte_array_set_size(p->combined, 0);
                r = groups_next(p->groups);
                if (r <= 0)
                        return r;
                p->key = p->groups->key;
                p->key_size = p->groups->key_size;
                r = p->code->combine(&p->task, p->state, p->key, p->key_size);
                r = plugin_result(p, r, "combine()");
                if (r < 0)
                        return r;
        }
        *ret = (Record){.key = p->key, .key_size = p->key_size, .partition = p->groups->partition};
        memcpy(&ret->value_size, p->combined->data + c->at, sizeof(ret->value_size));
        ret->value = p->combined->data + c->at + sizeof(ret->value_size);
        c->at += sizeof(ret->value_size) + ret->value_size;
        return 1;
}

static int write_combined(Plugin *p, RecordStream *stream)
{
        Combining c = {.stream.next = combining_next, .plugin = p};
        _cleanup_(groups_done) Groups groups;
        int r;

        groups_init(&groups, stream);
        p->groups = &groups;
        p->combined = g_byte_array_new();
        r = map_write_run(p->attempt, &c.stream, true,
                          &p->attempt->counters[COUNTER_COMBINE_OUTPUT_RECORDS]);
        p->groups = NULL;
        return r;
}

int map_plugin_finish(Plugin *p)
{
        Attempt *a = p->attempt;
        RecordStream *stream;
        uint64_t records;
        int r;

        r = p->combiner ? combiner_finish(p->combiner, &stream) : sorter_finish(p->sorter, &stream);
        if (r >= 0 && p->failed < 0)
                r = p->failed;
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        if (p->code->combine)
                return write_combined(p, stream);
        if (p->app && p->app->sorted)
                stream = p->app->sorted(p, stream);
        return map_write_run(a, stream, !p->combiner,
                             p->combiner ? &a->counters[COUNTER_COMBINE_OUTPUT_RECORDS] : &records);
}

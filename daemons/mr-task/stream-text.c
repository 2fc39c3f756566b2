/*
 * Records as text — see stream-text.h.
 */
#include "mr-task/stream-text.h"

#define SOURCE_BYTES (256 * 1024)

int text_source_init(TextSource *t, RecordStream *stream, const KeyFields *fields)
{
        *t = (TextSource){.stream = stream, .fields = fields, .buffer = malloc(SOURCE_BYTES)};
        return t->buffer ? 0 : -ENOMEM;
}

void text_source_done(TextSource *t)
{
        free(t->buffer);
        *t = (TextSource){};
}

static void count_record(TextSource *t, const Record *record)
{
        uint64_t hash = XXH3_64bits(record->key, record->key_size);

        if (t->records++ == 0 || hash != t->last_hash)
                t->groups++;
        t->last_hash = hash;
}

static size_t put_line(uint8_t *to, const Record *record, const KeyFields *fields)
{
        size_t at = record->key_size;

        if (record->key_size > 0)
                memcpy(to, record->key, record->key_size);
        memcpy(to + at, fields->separator, fields->separator_size);
        at += fields->separator_size;
        if (record->value_size > 0)
                memcpy(to + at, record->value, record->value_size);
        at += record->value_size;
        to[at++] = '\n';
        return at;
}

/* Key, separator, value and newline of the large record, one at each call. */
static void give_part(TextSource *t, const uint8_t **ret, size_t *ret_size)
{
        static const uint8_t newline[] = "\n";
        const struct {
                const uint8_t *data;
                size_t size;
        } parts[] = {
                {},
                {t->large.key, t->large.key_size},
                {t->fields->separator, t->fields->separator_size},
                {t->large.value, t->large.value_size},
                {newline, 1},
        };

        do {
                *ret = parts[t->large_part].data;
                *ret_size = parts[t->large_part].size;
                t->large_part = (t->large_part + 1) % ELEMENTSOF(parts);
        } while (*ret_size == 0);
}

int text_source_give(TextSource *t, const uint8_t **ret, size_t *ret_size)
{
        size_t used = 0;
        Record record;
        int r;

        while (t->large_part == 0) {
                r = t->stream->next(t->stream, &record);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                count_record(t, &record);
                if (record.key_size + record.value_size + t->fields->separator_size + 1 >
                    SOURCE_BYTES - used) {
                        t->large = record; /* valid until the stream is read again */
                        t->large_part = 1;
                } else
                        used += put_line(t->buffer + used, &record, t->fields);
        }
        if (used > 0) {
                *ret = t->buffer;
                *ret_size = used;
                return 1;
        }
        if (t->large_part == 0)
                return 0;
        give_part(t, ret, ret_size);
        return 1;
}

static int plain_keys_next(RecordStream *stream, Record *ret)
{
        PlainKeys *p = (PlainKeys *) ((char *) stream - offsetof(PlainKeys, stream));
        int r;

        r = p->ordered->next(p->ordered, ret);
        if (r <= 0)
                return r;
        r = key_order_take(&p->attempt->order, ret);
        return r < 0 ? attempt_failf(p->attempt, r,
                                     "records that are not as the maps should have made them")
                     : 1;
}

RecordStream *plain_keys_init(PlainKeys *p, Attempt *a, RecordStream *stream)
{
        if (a->order.count == 0)
                return stream;
        *p = (PlainKeys){.stream = {.next = plain_keys_next}, .ordered = stream, .attempt = a};
        return &p->stream;
}

void text_sink_done(TextSink *t)
{
        lines_done(&t->lines);
}

static int order_failed(TextSink *t, int code)
{
        return code == -E2BIG ? attempt_failf(t->attempt, code,
                                              "the %s wrote a key that is larger than 1 GiB with "
                                              "its order before it (SortKeyFields=)",
                                              t->what)
                              : code;
}

/* Inlined into each of its two loops, so that the one without an order never asks for one. */
static inline int add_line(TextSink *t, const uint8_t *line, size_t size, KeyOrder *order)
{
        Record record;
        int r;

        t->records++;
        key_fields_split(t->fields, line, size, t->keep_separator, t->partitions, &record);
        if (order) {
                r = key_order_put(order, &record);
                if (r < 0)
                        return order_failed(t, r);
        }
        r = t->fold ? fold_add(t->fold, &record) : sorter_add(t->sorter, &record);
        if (r == -E2BIG)
                return attempt_failf(t->attempt, r, "the %s wrote a line longer than 1 GiB",
                                     t->what);
        return r < 0 && !t->fold ? attempt_fail_write(t->attempt, r, "the scratch file") : r;
}

static inline int add_lines_by(TextSink *t, bool final, KeyOrder *order)
{
        const uint8_t *line;
        size_t size;
        int r;

        while (lines_next(&t->lines, final, &line, &size)) {
                r = add_line(t, line, size, order);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Two loops, for most jobs have no order. */
static int add_lines(TextSink *t, bool final)
{
        return t->order ? add_lines_by(t, final, t->order) : add_lines_by(t, final, NULL);
}

static int pass_on(TextSink *t, const uint8_t *data, size_t size)
{
        int r;

        if (size == 0)
                return 0;
        t->records += lines_count(data, size);
        t->line_is_open = data[size - 1] != '\n';
        r = output_bytes(t->out, data, size);
        return r < 0 ? attempt_fail_write(t->attempt, r, "the part") : 0;
}

static int finish_line(TextSink *t)
{
        if (!t->line_is_open)
                return 0;
        if (t->ends_lines)
                return pass_on(t, (const uint8_t *) "\n", 1);
        t->records++;
        return 0;
}

int text_sink_take(TextSink *t, const uint8_t *data, size_t size)
{
        uint8_t *space;
        size_t room;
        int r;

        if (t->out)
                return pass_on(t, data, size);
        r = lines_space(&t->lines, size, &space, &room);
        if (r == -E2BIG)
                return attempt_failf(t->attempt, r, "the %s wrote a line longer than 1 GiB",
                                     t->what);
        if (r < 0)
                return r;
        memcpy(space, data, size);
        lines_filled(&t->lines, size);
        return add_lines(t, false);
}

int text_sink_finish(TextSink *t)
{
        if (t->out)
                return finish_line(t);
        return add_lines(t, true);
}

/*
 * Output — see output.h.
 */
#include "base/fs.h"
#include "records/output.h"

#define NUMBER_MAX 20 /* digits of UINT64_MAX */

int output_init(Output *o, int fd)
{
        *o = (Output){.fd = fd, .buffer = malloc(OUTPUT_BUFFER_BYTES)};
        return o->buffer ? 0 : -ENOMEM;
}

void output_done(Output *o)
{
        free(o->buffer);
        *o = (Output){.fd = -EBADF};
}

static int put(Output *o, const void *data, size_t size)
{
        return o->sink ? o->sink(o->userdata, data, size) : write_full(o->fd, data, size);
}

int output_flush(Output *o)
{
        int r;

        r = put(o, o->buffer, o->used);
        if (r < 0)
                return r;
        o->used = 0;
        return 0;
}

/*
 * Each write is of whole units, so that none begins or ends within a page that the next one takes
 * up again: the buffer is filled to its end, or to the end of a unit where what comes is large
 * already and gains nothing by a copy.
 */
static int output_across(Output *o, const uint8_t *data, size_t size)
{
        size_t room = size < OUTPUT_DIRECT_BYTES ? OUTPUT_BUFFER_BYTES - o->used
                                                 : -o->used & (OUTPUT_DIRECT_BYTES - 1);
        size_t whole;
        int r;

        memcpy(o->buffer + o->used, data, room);
        o->used += room;
        r = o->used > 0 ? output_flush(o) : 0;
        if (r < 0)
                return r;
        data += room;
        size -= room;
        whole = size & ~(OUTPUT_DIRECT_BYTES - 1);
        if (whole > 0) {
                r = put(o, data, whole);
                if (r < 0)
                        return r;
        }
        memcpy(o->buffer, data + whole, size - whole);
        o->used = size - whole;
        return 0;
}

int output_bytes(Output *o, const void *data, size_t size)
{
        o->bytes += size;
        if (size >= MIN(OUTPUT_BUFFER_BYTES - o->used, OUTPUT_DIRECT_BYTES))
                return output_across(o, data, size);
        copy_small(o->buffer + o->used, data, size);
        o->used += size;
        return 0;
}

int output_span(Output *o, const RecordSpan *span, size_t from, size_t count)
{
        size_t size = span_record_bytes(span), end = from + count, n;
        int r;

        if (size == 0)
                return 0;
        for (; from < end; from += n) {
                n = MIN(end - from, (OUTPUT_BUFFER_BYTES - o->used) / size);
                if (n == 0) {
                        r = output_bytes(o, span_at(span, from), size);
                        if (r < 0)
                                return r;
                        n = 1;
                        continue;
                }
                span_copy(span, from, n, NULL, 0, o->buffer + o->used);
                o->used += n * size;
                o->bytes += n * size;
        }
        return 0;
}

int output_line(Output *o, const uint8_t *key, size_t key_size, const uint8_t *value,
                size_t value_size, bool bare)
{
        int r;

        r = output_bytes(o, key, key_size);
        if (r >= 0 && (value_size > 0 || !bare)) {
                r = output_bytes(o, "\t", 1);
                if (r >= 0)
                        r = output_bytes(o, value, value_size);
        }
        return r < 0 ? r : output_bytes(o, "\n", 1);
}

int output_number(Output *o, const uint8_t *key, size_t key_size, uint64_t number)
{
        uint8_t text[1 + NUMBER_MAX + 1];
        size_t at = sizeof(text);
        int r;

        text[--at] = '\n';
        do
                text[--at] = (uint8_t) ('0' + number % 10);
        while (number /= 10);
        text[--at] = '\t';

        r = output_bytes(o, key, key_size);
        return r < 0 ? r : output_bytes(o, text + at, sizeof(text) - at);
}

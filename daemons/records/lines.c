/*
 * Lines — see lines.h.
 */
#include "records/lines.h"

void lines_done(Lines *l)
{
        free(l->buffer);
        *l = (Lines){};
}

int lines_space(Lines *l, size_t min_bytes, uint8_t **ret, size_t *ret_size)
{
        size_t left = l->end - l->begin;

        if (left > RECORD_MAX_BYTES)
                return -E2BIG;
        if (l->begin > 0) {
                if (left > 0)
                        memmove(l->buffer, l->buffer + l->begin, left);
                l->scanned -= l->begin;
                l->end = left;
                l->begin = 0;
        }
        if (l->capacity - l->end < min_bytes) {
                size_t capacity = MAX(l->end + min_bytes, l->capacity * 2);
                uint8_t *grown = realloc(l->buffer, capacity + LINES_PADDING);

                if (!grown)
                        return -ENOMEM;
                memset(grown + capacity, 0, LINES_PADDING);
                l->buffer = grown;
                l->capacity = capacity;
        }
        *ret = l->buffer + l->end;
        *ret_size = l->capacity - l->end;
        return 0;
}

void lines_filled(Lines *l, size_t bytes)
{
        assert(bytes <= l->capacity - l->end);
        l->end += bytes;
}

bool lines_next(Lines *l, bool final, const uint8_t **ret, size_t *ret_size)
{
        const uint8_t *newline = NULL;

        if (l->scanned < l->end)
                newline = memchr(l->buffer + l->scanned, '\n', l->end - l->scanned);
        if (!newline && (!final || l->begin == l->end)) {
                l->scanned = l->end;
                return false;
        }
        *ret = l->buffer + l->begin;
        *ret_size = (newline ? (size_t) (newline - l->buffer) : l->end) - l->begin;
        l->begin = newline ? (size_t) (newline - l->buffer) + 1 : l->end;
        l->scanned = l->begin;
        return true;
}

/* Eight at a time for the compiler to turn into vector code: the count is added up in bytes. */
uint64_t lines_count(const uint8_t *data, size_t size)
{
        uint64_t total = 0;

        while (size > 0) {
                size_t n = MIN(size, 128);
                uint8_t sum = 0;

                for (size_t i = 0; i < n; i++)
                        sum = (uint8_t) (sum + (data[i] == '\n'));
                total += sum;
                data += n;
                size -= n;
        }
        return total;
}

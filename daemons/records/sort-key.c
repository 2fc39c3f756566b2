/*
 * Sort keys — see sort-key.h.
 */
#include "records/pair.h"
#include "records/sort-key.h"

#define SIGN_NEGATIVE 1
#define SIGN_POSITIVE 2

size_t sort_key_size_max(size_t size)
{
        return pair_size_max(size + SORT_NUMBER_EXTRA, pair_size_max(size, 0));
}

static bool is_digit(const uint8_t *at, const uint8_t *end)
{
        return at < end && *at >= '0' && *at <= '9';
}

/* Return: the bytes written, at most as many as there were and SORT_NUMBER_EXTRA. They are no
 * string that is ended. */
static size_t put_number(const uint8_t *at, const uint8_t *end, uint8_t *to)
{
        uint8_t *out = to + 5;
        bool negative;
        uint32_t digits;
        size_t size;

        while (at < end && (*at == ' ' || *at == '\t'))
                at++;
        negative = at < end && *at == '-';
        at += negative;
        while (at < end && *at == '0')
                at++;
        while (is_digit(at, end))
                *out++ = *at++;
        digits = GUINT32_TO_BE((uint32_t) (out - to - 5));
        if (at < end && *at == '.')
                for (at++; is_digit(at, end);)
                        *out++ = *at++;
        while (out > to + 5 + GUINT32_FROM_BE(digits) && out[-1] == '0')
                out--;
        size = (size_t) (out - to);
        negative = negative && size > 5;
        to[0] = negative ? SIGN_NEGATIVE : SIGN_POSITIVE;
        memcpy(to + 1, &digits, sizeof(digits));
        if (!negative)
                return size;
        sort_reverse(to + 1, size - 1);
        to[size] = 0xff; /* of two with the same beginning the longer is the smaller */
        return size + 1;
}

/* Made behind what it will need at most, then escaped into its place. */
size_t sort_number_put(const uint8_t *field, size_t size, uint8_t *to, uint8_t *room_end)
{
        uint8_t *number = room_end - size - SORT_NUMBER_EXTRA;

        return pair_put(to, number, put_number(field, field + size, number), NULL, 0);
}

size_t sort_key_put(const SortSpec *s, const uint8_t *record, size_t size, uint8_t *to)
{
        const uint8_t *field = record;
        size_t field_size = 0, used;

        if (!fields_find(&s->fields, record, size, s->key, &field, &field_size))
                field_size = 0; /* sorts first */
        if (s->numeric)
                used = sort_number_put(field, field_size, to, to + sort_key_size_max(size));
        else
                used = pair_put(to, field, s->key == 0 ? 0 : field_size, NULL, 0);
        used += pair_put(to + used, record, size, NULL, 0);
        if (s->reverse)
                sort_reverse(to, used);
        return used;
}

int sort_key_get(const SortSpec *s, uint8_t *key, size_t size, const uint8_t **ret,
                 size_t *ret_size)
{
        size_t head, tail;

        if (s->reverse)
                sort_reverse(key, size);
        head = pair_head_size(key, size);
        tail = head > 0 ? pair_head_size(key + head, size - head) : 0;
        if (tail == 0 || head + tail != size)
                return -EBADMSG;
        *ret_size = pair_get(key + head, key + head, tail);
        *ret = key + head;
        return 0;
}

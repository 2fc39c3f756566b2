/*
 * Key order — see key-order.h.
 */
#include "records/key-order.h"
#include "records/pair.h"
#include "records/reserve.h"
#include "records/sort-key.h"

void key_order_done(KeyOrder *o)
{
        free(o->buffer);
        *o = (KeyOrder){};
}

int key_order_add(KeyOrder *o, KeyOrderField field)
{
        if (field.number == 0)
                return -EINVAL;
        for (size_t i = 0; i < o->count; i++)
                if (o->by[i].number == field.number)
                        return -EEXIST;
        if (o->count == KEY_ORDER_FIELDS_MAX)
                return -E2BIG;
        o->by[o->count++] = field;
        return 0;
}

/* No field is there twice: all of them, each byte escaped, what ends them, and the key, where a
 * number is made before. */
static size_t size_max(const KeyOrder *o, size_t key_size)
{
        return 3 * key_size + o->count * pair_size_max(SORT_NUMBER_EXTRA, 0) + SORT_NUMBER_EXTRA;
}

static size_t put_field(const KeyOrder *o, const KeyOrderField *by, const Record *record,
                        uint8_t *to)
{
        size_t size, used;
        const uint8_t *field =
                key_fields_get(o->fields, record->key, record->key_size, by->number, &size);

        used = by->numeric ? sort_number_put(field, size, to, o->buffer + o->capacity)
                           : pair_put(to, field, size, NULL, 0);
        if (by->reverse)
                sort_reverse(to, used);
        return used;
}

int key_order_put(KeyOrder *o, Record *record)
{
        size_t used = 0;
        int r;

        r = reserve(&o->buffer, &o->capacity, size_max(o, record->key_size));
        if (r < 0)
                return r;
        for (size_t i = 0; i < o->count; i++)
                used += put_field(o, &o->by[i], record, o->buffer + used);
        if (used + record->key_size > RECORD_MAX_BYTES)
                return -E2BIG;
        copy_small(o->buffer + used, record->key, record->key_size);
        record->key = o->buffer;
        record->key_size += used;
        return 0;
}

int key_order_take(const KeyOrder *o, Record *record)
{
        const uint8_t *key = record->key;
        size_t left = record->key_size;

        for (size_t i = 0; i < o->count; i++) {
                size_t head = pair_head_size_of(key, left, o->by[i].reverse ? 0xff : 0);

                if (head == 0)
                        return -EBADMSG;
                key += head;
                left -= head;
        }
        record->key = key;
        record->key_size = left;
        return 0;
}

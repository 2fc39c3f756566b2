/*
 * Key order — keys of a command's lines in the order of some of their fields, by number or the
 * largest first.
 *
 *      by field 2 as a number, the largest first, then by field 1:
 *
 *              "a,7"   →   ~(number 7 00 00)  a 00 00  "a,7"
 *
 * What is in front of a key makes memcmp() say the order: each field is a string that is ended, as
 * in pair.h, a number one as in sort-key.h, and complemented where the largest comes first. Where
 * all of them are equal the whole key decides, so that equal keys stay together: sort(1)'s last
 * resort. A map puts it in front before it sorts, whoever reads the keys takes it away, and what
 * chooses the reduce is the key alone.
 * Source: what it does is Hadoop's KeyFieldBasedComparator.
 */
#pragma once

#include "records/key-fields.h"

#define KEY_ORDER_FIELDS_MAX 16

typedef struct KeyOrderField {
        uint32_t number; /* from 1; one that is not there sorts as an empty one */
        bool numeric;
        bool reverse;
} KeyOrderField;

typedef struct KeyOrder {
        const KeyFields *fields; /* how they are cut */
        KeyOrderField by[KEY_ORDER_FIELDS_MAX];
        size_t count; /* 0: keys are in the order of their bytes */
        uint8_t *buffer;
        size_t capacity;
} KeyOrder;

void key_order_done(KeyOrder *o);

/* The next field to sort by. Return: 0; -EINVAL for number 0, -EEXIST for one that is there, -E2BIG
 * when there are too many. */
int key_order_add(KeyOrder *o, KeyOrderField field);

/*
 * Makes @record's key one with its order in front, which is valid until the next call. Return: 0;
 * -ENOMEM; -E2BIG where that would be larger than RECORD_MAX_BYTES, with @record as it was.
 */
int key_order_put(KeyOrder *o, Record *record);

/* Makes it the key that it was, in place. Return: 0, or -EBADMSG for bytes that are none. */
int key_order_take(const KeyOrder *o, Record *record);

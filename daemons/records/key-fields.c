/*
 * Key fields — see key-fields.h.
 */
#include "records/key-fields.h"

int key_fields_init(KeyFields *k, const uint8_t *separator, size_t separator_size, uint32_t count,
                    uint32_t partition_count)
{
        if (separator_size > sizeof(k->separator))
                return -EINVAL;
        *k = (KeyFields){
                .separator = {'\t'},
                .separator_size = MAX(separator_size, 1U),
                .count = MAX(count, 1U),
                .partition_count = partition_count,
        };
        if (separator_size > 0)
                memcpy(k->separator, separator, separator_size);
        return 0;
}

static const uint8_t *find_separator(const KeyFields *k, const uint8_t *at, size_t size)
{
        if (size == 0)
                return NULL;
        return k->separator_size == 1 ? memchr(at, k->separator[0], size)
                                      : memmem(at, size, k->separator, k->separator_size);
}

const uint8_t *key_fields_find(const KeyFields *k, const uint8_t *line, size_t size, uint32_t count)
{
        const uint8_t *end = line + size;

        for (;;) {
                const uint8_t *found = find_separator(k, line, (size_t) (end - line));

                if (!found || --count == 0)
                        return found;
                line = found + k->separator_size;
        }
}

const uint8_t *key_fields_get(const KeyFields *k, const uint8_t *key, size_t size, uint32_t number,
                              size_t *ret_size)
{
        const uint8_t *end = key + size, *next;

        if (number > 1) {
                const uint8_t *before = key_fields_find(k, key, size, number - 1);

                key = before ? before + k->separator_size : end;
        }
        next = find_separator(k, key, (size_t) (end - key));
        *ret_size = (size_t) ((next ? next : end) - key);
        return key;
}

size_t key_fields_partition_size(const KeyFields *k, const uint8_t *key, size_t size)
{
        const uint8_t *end;

        if (k->partition_count == 0)
                return size;
        end = key_fields_find(k, key, size, k->partition_count);
        return end ? (size_t) (end - key) : size;
}

void key_fields_split(const KeyFields *k, const uint8_t *line, size_t size, bool keep_separator,
                      uint32_t partitions, Record *ret)
{
        const uint8_t *cut = key_fields_find(k, line, size, k->count);
        size_t key_size = cut ? (size_t) (cut - line) : size;
        size_t value_at = cut && !keep_separator ? key_size + k->separator_size : key_size;

        *ret = (Record){
                .key = line,
                .key_size = key_size,
                .value = line + value_at,
                .value_size = size - value_at,
                .partition = key_partition(line, key_fields_partition_size(k, line, key_size),
                                           partitions),
        };
}

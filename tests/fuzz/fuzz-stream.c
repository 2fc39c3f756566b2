/*
 * What commands write. Lines are cut into key and value as a plain search says, whatever the
 * separator and the numbers of fields; keys come back from any order of theirs; and what comes on
 * stderr is the same reports and text however it is cut into reads.
 *
 * Input: sizes of reads, of the separator, numbers of fields; the separator; the text.
 */
#include "fuzz.h"
#include "records/key-order.h"
#include "records/reporter.h"

/* By hand, byte by byte: where separator number @n begins; @size when there are fewer. */
static size_t separator_at(const KeyFields *k, const uint8_t *line, size_t size, uint32_t n)
{
        for (size_t i = 0; i + k->separator_size <= size;) {
                if (memcmp(line + i, k->separator, k->separator_size) != 0) {
                        i++;
                        continue;
                }
                if (--n == 0)
                        return i;
                i += k->separator_size;
        }
        return size;
}

static void check_line(const KeyFields *k, const uint8_t *line, size_t size, bool keep)
{
        size_t cut = separator_at(k, line, size, k->count);
        size_t value_at = cut == size || keep ? cut : cut + k->separator_size;
        size_t by = k->partition_count == 0 ? cut : separator_at(k, line, cut, k->partition_count);
        Record record;

        key_fields_split(k, line, size, keep, 7, &record);
        /* A line that ends with its separator has an empty value, which no search tells from
         * none. */
        CLAIM(record.key == line && record.key_size == cut);
        CLAIM(record.value == line + value_at && record.value_size == size - value_at);
        CLAIM(key_fields_partition_size(k, record.key, record.key_size) == by);
        CLAIM(record.partition == XXH3_64bits(line, by) % 7);
}

/* Any key comes back from its order; and bytes that are none are refused, or the end of what they
 * were. */
static void check_order(const KeyFields *k, const uint8_t *line, size_t size)
{
        KeyOrder order = {.fields = k};
        Record record = {.key = line, .key_size = size};

        for (uint32_t i = 1; i < 4; i++)
                CLAIM(key_order_add(&order, (KeyOrderField){i, size & i, size >> 2 & i}) == 0);
        CLAIM(key_order_take(&order, &record) == 0 || record.key == line);
        CLAIM(record.key + record.key_size == line + size);
        record = (Record){.key = line, .key_size = size};
        CLAIM(key_order_put(&order, &record) == 0 && key_order_take(&order, &record) == 0);
        CLAIM(record.key_size == size && (size == 0 || memcmp(record.key, line, size) == 0));
        key_order_done(&order);
}

static void check_lines(const KeyFields *k, const uint8_t *text, size_t size, bool keep)
{
        const uint8_t *end = text + size, *newline;

        for (; text < end; text = newline + 1) {
                newline = memchr(text, '\n', (size_t) (end - text));
                newline = newline ? newline : end;
                check_line(k, text, (size_t) (newline - text), keep);
                check_order(k, text, (size_t) (newline - text));
        }
}

typedef struct Heard {
        GString *all; /* text as it came, and reports in words */
} Heard;

static void on_counter(void *userdata, const char *group, const char *name, uint64_t n)
{
        CLAIM(strlen(group) + strlen(name) <= REPORTER_LINE_MAX);
        CLAIM(!strchr(group, ',') && !strchr(name, ',') && !strchr(name, '\n'));
        g_string_append_printf(((Heard *) userdata)->all, "<%s|%s|%llu>", group, name,
                               (unsigned long long) n);
}

static void on_status(void *userdata, const char *text, size_t size)
{
        CLAIM(size <= REPORTER_LINE_MAX && !memchr(text, '\n', size) && !memchr(text, '\0', size));
        g_string_append_printf(((Heard *) userdata)->all, "<%.*s>", (int) size, text);
}

static void on_text(void *userdata, const char *text, size_t size)
{
        CLAIM(size > 0 && size <= REPORTER_LINE_MAX + 1);
        g_string_append_len(((Heard *) userdata)->all, text, (gssize) size);
}

static GString *listen_to(const uint8_t *data, size_t size, size_t step)
{
        static const ReporterHandlers handlers = {
                .counter = on_counter, .status = on_status, .text = on_text};
        Heard heard = {.all = g_string_new(NULL)};
        Reporter r;

        reporter_init(&r, &handlers, &heard);
        for (size_t at = 0; at < size; at += step)
                reporter_take(&r, data + at, MIN(step, size - at));
        reporter_finish(&r);
        reporter_done(&r);
        return heard.all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        size_t separator_size;
        GString *whole, *parts;
        KeyFields k;
        bool keep;

        if (size < 4)
                return 0;
        separator_size = MIN((size_t) data[1] % 5, size - 4);
        keep = data[1] & 0x80;
        CLAIM(key_fields_init(&k, data + 4, separator_size, data[2] % 4, data[3] % 4) == 0);
        CLAIM(k.separator_size >= 1 && k.count >= 1);
        whole = listen_to(data + 4 + separator_size, size - 4 - separator_size, SIZE_MAX / 2);
        parts = listen_to(data + 4 + separator_size, size - 4 - separator_size, data[0] % 64 + 1);
        CLAIM(g_string_equal(whole, parts));
        check_lines(&k, data + 4 + separator_size, size - 4 - separator_size, keep);
        g_string_free(whole, TRUE);
        g_string_free(parts, TRUE);
        return 0;
}

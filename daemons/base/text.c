/*
 * Text — see text.h.
 */
#include <sys/random.h>

#include "base/text.h"

void id128_make(char ret[static ID128_HEX_SIZE])
{
        uint8_t bits[16];
        ssize_t n;

        do
                n = getrandom(bits, sizeof(bits), 0);
        while (n < 0 && errno == EINTR);
        if (n != sizeof(bits))
                abort();
        text_hex(bits, sizeof(bits), ret);
}

bool id128_is_valid(const char *s)
{
        return s && strspn(s, "0123456789abcdef") == 32 && s[32] == '\0';
}

void text_hex(const void *data, size_t size_bytes, char *ret)
{
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = data;

        for (size_t i = 0; i < size_bytes; i++) {
                *ret++ = digits[p[i] >> 4];
                *ret++ = digits[p[i] & 15];
        }
        *ret = '\0';
}

bool text_is_name(const char *s)
{
        if (!*s || strlen(s) > 255 || !g_utf8_validate(s, -1, NULL))
                return false;
        for (; *s; s = g_utf8_next_char(s))
                if (!g_unichar_isprint(g_utf8_get_char(s)))
                        return false;
        return true;
}

void text_replace(char **s, const char *value)
{
        if (!value)
                return;
        g_free(*s);
        *s = g_strdup(value);
}

static char *escape(const void *data, size_t size_bytes, size_t max_bytes, bool backslashes)
{
        const char *p = data, *end = p + MIN(size_bytes, max_bytes);
        GString *out = g_string_new(NULL);

        while (p < end) {
                gunichar c = g_utf8_get_char_validated(p, end - p);

                if (c == (gunichar) -1 || c == (gunichar) -2 || !g_unichar_isprint(c)) {
                        g_string_append_printf(out, "\\x%02x", (unsigned char) *p);
                        p++;
                        continue;
                }
                if (c == '\\' && backslashes)
                        g_string_append_c(out, '\\');
                g_string_append_unichar(out, c);
                p = g_utf8_next_char(p);
        }
        if (size_bytes > max_bytes)
                g_string_append(out, "…");
        return g_string_free(out, FALSE);
}

char *text_escape(const void *data, size_t size_bytes, size_t max_bytes)
{
        return escape(data, size_bytes, max_bytes, true);
}

char *text_escape_sentence(const char *s, size_t max_bytes)
{
        return escape(s, strlen(s), max_bytes, false);
}

/* Behind a backslash at *@s; moves it to the last byte that it took. */
static int unescape_one(const char **s)
{
        int high, low;

        switch (*++*s) {
        case 't':
                return '\t';
        case '0':
                return '\0';
        case '\\':
                return '\\';
        case 'x':
                high = g_ascii_xdigit_value((*s)[1]);
                low = high < 0 ? -1 : g_ascii_xdigit_value((*s)[2]);
                *s += 2;
                return low < 0 ? -EINVAL : high << 4 | low;
        default:
                return -EINVAL;
        }
}

int text_unescape(const char *s, uint8_t *ret, size_t max_bytes, size_t *ret_size)
{
        size_t size = 0;

        for (; *s; s++) {
                int c = *s == '\\' ? unescape_one(&s) : (uint8_t) *s;

                if (c < 0)
                        return c;
                if (size == max_bytes)
                        return -E2BIG;
                ret[size++] = (uint8_t) c;
        }
        *ret_size = size;
        return 0;
}

void text_keep_tail(GString *tail, const void *data, size_t size_bytes, size_t max_bytes)
{
        if (size_bytes >= max_bytes) {
                g_string_truncate(tail, 0);
                g_string_append_len(tail, (const char *) data + (size_bytes - max_bytes),
                                    (gssize) max_bytes);
                return;
        }
        if (tail->len + size_bytes > max_bytes)
                g_string_erase(tail, 0, (gssize) (tail->len + size_bytes - max_bytes));
        g_string_append_len(tail, data, (gssize) size_bytes);
}

/* Row by row. */
unsigned text_edit_distance(const char *a, const char *b)
{
        unsigned row[64];
        size_t n = MIN(strlen(a), ELEMENTSOF(row) - 1), m = strlen(b);

        for (unsigned i = 0; i <= n; i++)
                row[i] = i;
        for (unsigned j = 1; j <= m; j++) {
                unsigned diagonal = row[0];

                row[0] = j;
                for (unsigned i = 1; i <= n; i++) {
                        unsigned above = row[i];
                        unsigned edit = diagonal + (a[i - 1] != b[j - 1]);

                        row[i] = MIN(edit, MIN(above, row[i - 1]) + 1);
                        diagonal = above;
                }
        }
        return row[n];
}

const char *text_nearest_word(const char *word, const char *const *names)
{
        /* Two edits mend a swapped pair; in a word of three letters they would make another one. */
        size_t length = strlen(word);
        unsigned best_distance = 1 + (length < 4 ? 1 : MAX((unsigned) length / 3, 2));
        const char *best = NULL;

        for (; *names; names++) {
                unsigned d = text_edit_distance(word, *names);

                if (d < best_distance) {
                        best = *names;
                        best_distance = d;
                }
        }
        return best;
}

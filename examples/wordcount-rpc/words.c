#include "words.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One character of UTF-8 (RFC 3629: shortest form, no surrogates). Return: its bytes, 1 to 4, or
 * -EILSEQ. */
static int decode(const char *text, uint32_t *ret)
{
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        const unsigned char *s = (const unsigned char *) text;
        int size = s[0] < 0x80   ? 1
                   : s[0] < 0xC0 ? 0
                   : s[0] < 0xE0 ? 2
                   : s[0] < 0xF0 ? 3
                   : s[0] < 0xF8 ? 4
                                 : 0;
        uint32_t c = size == 1 ? s[0] : s[0] & (0x7Fu >> size);

        for (int i = 1; i < size; i++) {
                if ((s[i] & 0xC0) != 0x80) /* the NUL at the end of the text, too */
                        return -EILSEQ;
                c = c << 6 | (s[i] & 0x3Fu);
        }
        if (size == 0 || c < least[size] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
                return -EILSEQ;
        *ret = c;
        return size;
}

/* Go's unicode.IsSpace: Unicode's White_Space property. */
static bool is_space(uint32_t c)
{
        return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
               (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
               c == 0x205F || c == 0x3000;
}

int words_add(Words *w, const char *text, size_t size, int64_t count)
{
        char *copy;

        if (w->count == w->room) {
                size_t room = w->room ? 2 * w->room : 16;
                Word *list = realloc(w->list, room * sizeof(*list));
                if (!list)
                        return -ENOMEM;
                w->list = list;
                w->room = room;
        }
        copy = strndup(text, size);
        if (!copy)
                return -ENOMEM;
        w->list[w->count++] = (Word){.text = copy, .count = count};
        return 0;
}

int words_add_text(Words *w, const char *text)
{
        const char *word = text; /* where the present word began */

        for (const char *at = text;;) {
                uint32_t c = 0;
                int size = *at ? decode(at, &c) : 0;
                if (size < 0)
                        return size;
                if (!*at || is_space(c)) {
                        int r = at > word ? words_add(w, word, (size_t) (at - word), 1) : 0;
                        if (r < 0)
                                return r;
                        if (!*at)
                                return 0;
                        word = at + size;
                }
                at += size;
        }
}

static int compare(const void *a, const void *b)
{
        return strcmp(((const Word *) a)->text, ((const Word *) b)->text);
}

void words_merge(Words *w)
{
        size_t kept = 0;

        if (w->count == 0)
                return;
        qsort(w->list, w->count, sizeof(*w->list), compare);
        for (size_t i = 1; i < w->count; i++)
                if (strcmp(w->list[kept].text, w->list[i].text) == 0) {
                        w->list[kept].count += w->list[i].count;
                        free(w->list[i].text);
                } else
                        w->list[++kept] = w->list[i];
        w->count = kept + 1;
}

void words_done(Words *w)
{
        for (size_t i = 0; i < w->count; i++)
                free(w->list[i].text);
        free(w->list);
        *w = (Words){};
}

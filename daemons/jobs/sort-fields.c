/*
 * Sort fields — see sort-fields.h.
 */
#include "jobs/sort-fields.h"
#include "base/parse.h"

static int parse_field(const char *word, SortField *ret)
{
        size_t digits = strspn(word, "0123456789");
        g_autofree char *number = g_strndup(word, digits);
        SortField f = {};

        if (parse_u32_range(number, 1, UINT32_MAX, &f.number) < 0)
                return -EINVAL;
        for (word += digits; *word; word++) {
                bool *flag = *word == 'n' ? &f.numeric : *word == 'r' ? &f.reverse : NULL;

                if (!flag || *flag)
                        return -EINVAL;
                *flag = true;
        }
        *ret = f;
        return 0;
}

int sort_fields_parse(const char *text, uint32_t max, SortField ret[static SORT_FIELDS_MAX],
                      Error *e)
{
        g_auto(GStrv) words = g_strsplit(text, ",", -1); /* of "": none */
        SortField fields[SORT_FIELDS_MAX];
        size_t count = g_strv_length(words);

        if (count > SORT_FIELDS_MAX)
                return error_setf(e, E2BIG, "SortKeyFields has more than %d fields",
                                  SORT_FIELDS_MAX);
        for (size_t i = 0; i < count; i++) {
                if (parse_field(words[i], &fields[i]) < 0)
                        return error_setf(e, EINVAL,
                                          "SortKeyFields=%.80s: it is a list such as 2nr,1: fields "
                                          "of the key, from 1, n behind one for by number, r for "
                                          "the largest first",
                                          text);
                if (fields[i].number > max)
                        return error_setf(e, EINVAL,
                                          "SortKeyFields=%.80s: the key has MapKeyFields=%u only",
                                          text, max);
                for (size_t j = 0; j < i; j++)
                        if (fields[j].number == fields[i].number)
                                return error_setf(e, EINVAL,
                                                  "SortKeyFields=%.80s: field %u is given twice",
                                                  text, fields[i].number);
        }
        memcpy(ret, fields, count * sizeof(fields[0]));
        return (int) count;
}

/*
 * Printing JSON — see print.h. Apart from the rest of it, which needs no jansson.
 */
#include "cli/print.h"

int print_json_line(json_t *value, JsonMode mode)
{
        size_t flags = mode == JSON_PRETTY ? JSON_INDENT(8) : JSON_COMPACT;
        int r = json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);

        if (r >= 0)
                (void) putchar('\n');
        json_decref(value);
        return r;
}

int print_json(json_t *value, JsonMode mode)
{
        (void) print_json_line(value, mode);
        return print_finish();
}

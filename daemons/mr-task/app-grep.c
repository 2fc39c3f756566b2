/*
 * grep — lines that a regular expression matches, how many they are, or the matches themselves,
 * counted.
 *
 * A block of many lines is searched at once, so the matcher's own skipping (first bytes, literals)
 * is not stopped by each newline; a match tells the line, and the line alone is then asked again
 * when the match does not end in it. That finds the same lines as asking one by one, as long as the
 * expression cannot look beyond a line without matching there: where it could (assertions, atomic
 * groups, \A), each line is asked by itself.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "apps/catalog.h"
#include "mr-task/app.h"

#define READ_BYTES (128 * 1024)
#define ERROR_TEXT_MAX 256

typedef enum GrepOutput { GREP_LINES, GREP_COUNT, GREP_MATCHES } GrepOutput;

typedef struct Grep {
        const char *pattern;
        pcre2_code *code;
        pcre2_compile_context *context;
        pcre2_match_data *match;
        pcre2_match_context *limits;
        pcre2_jit_stack *stack;
        GrepOutput output;
        bool invert;
        bool by_block;
        uint64_t count;
} Grep;

static void grep_teardown(MrTask *t, void *state)
{
        Grep *g = state;

        pcre2_match_data_free(g->match);
        pcre2_match_context_free(g->limits);
        pcre2_jit_stack_free(g->stack);
        pcre2_code_free(g->code);
        pcre2_compile_context_free(g->context);
        g_free(g);
}

static int read_switch(MrTask *t, const char *name, bool *ret)
{
        _cleanup_error_ Error e = {};

        return catalog_switch(name, mr_parameter(t, name), ret, &e) < 0 ? mr_fail(t, e.message) : 0;
}

static int read_output(MrTask *t, Grep *g)
{
        static const char *const names[] = {
                [GREP_LINES] = "lines", [GREP_COUNT] = "count", [GREP_MATCHES] = "matches"};
        const char *value = mr_parameter(t, "output");

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (g_str_equal(value, names[i])) {
                        g->output = (GrepOutput) i;
                        return 0;
                }
        return mr_fail(t, "output= takes lines, count or matches");
}

/* May the expression be asked of many lines at once? See above. */
static bool looks_within_lines(const char *pattern)
{
        static const char *const beyond[] = {"(?",  "(*",  "++",  "*+",  "?+",  "}+",  "\\A",
                                             "\\Z", "\\z", "\\G", "\\K", "\\Q", "\\X", "\\R"};

        for (size_t i = 0; i < ELEMENTSOF(beyond); i++)
                if (strstr(pattern, beyond[i]))
                        return false;
        return true;
}

static int compile(MrTask *t, Grep *g, bool ignore_case)
{
        uint32_t options = PCRE2_MULTILINE | (ignore_case ? PCRE2_CASELESS : 0);
        PCRE2_UCHAR text[ERROR_TEXT_MAX];
        g_autofree char *sentence = NULL;
        PCRE2_SIZE at;
        int code;

        /* Bytes are faster, and the same for an expression of ASCII alone. */
        if (!g_str_is_ascii(g->pattern))
                options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
        g->context = pcre2_compile_context_create(NULL);
        (void) pcre2_set_newline(g->context, PCRE2_NEWLINE_LF);
        g->code = pcre2_compile((PCRE2_SPTR) g->pattern, PCRE2_ZERO_TERMINATED, options, &code, &at,
                                g->context);
        if (!g->code) {
                (void) pcre2_get_error_message(code, text, sizeof(text));
                sentence = g_strdup_printf("the pattern \"%.200s\" is wrong at character %zu: %s",
                                           g->pattern, at + 1, (const char *) text);
                return mr_fail(t, sentence);
        }
        (void) pcre2_jit_compile(g->code, PCRE2_JIT_COMPLETE); /* without it, the slower way */
        g->match = pcre2_match_data_create_from_pattern(g->code, NULL);
        g->limits = pcre2_match_context_create(NULL);
        g->stack = pcre2_jit_stack_create(32 * 1024, 1024 * 1024, NULL);
        pcre2_jit_stack_assign(g->limits, NULL, g->stack);
        return 0;
}

static int grep_setup(MrTask *t, void **ret_state)
{
        Grep *g = g_new0(Grep, 1);
        bool ignore_case;
        int r;

        g->pattern = mr_parameter(t, "pattern");
        r = read_output(t, g);
        if (r >= 0)
                r = read_switch(t, "invert", &g->invert);
        if (r >= 0)
                r = read_switch(t, "ignore-case", &ignore_case);
        if (r >= 0 && g->invert && g->output == GREP_MATCHES)
                r = mr_fail(t, "output=matches and invert=yes exclude each other");
        if (r >= 0)
                r = compile(t, g, ignore_case);
        g->by_block = !g->invert && g->output != GREP_MATCHES && looks_within_lines(g->pattern);
        if (r < 0)
                grep_teardown(t, g);
        else
                *ret_state = g;
        return r;
}

/* Return: 1 and the match, 0, or what mr_fail() says. */
static int search(MrTask *t, Grep *g, const uint8_t *text, size_t size, size_t from,
                  size_t *ret_begin, size_t *ret_end)
{
        g_autofree char *sentence = NULL;
        PCRE2_UCHAR message[ERROR_TEXT_MAX];
        int r = pcre2_match(g->code, text, size, from, 0, g->match, g->limits);

        if (r >= 0) {
                const PCRE2_SIZE *found = pcre2_get_ovector_pointer(g->match);

                *ret_begin = found[0];
                *ret_end = MAX(found[0], found[1]);
                return 1;
        }
        if (r == PCRE2_ERROR_NOMATCH)
                return 0;
        (void) pcre2_get_error_message(r, message, sizeof(message));
        sentence = g_strdup_printf("the pattern \"%.200s\" gives up on a line of %zu bytes: %s",
                                   g->pattern, size, (const char *) message);
        return mr_fail(t, sentence);
}

static int take_line(MrTask *t, Grep *g, const uint8_t *line, size_t size)
{
        g->count++;
        return g->output == GREP_LINES ? mr_emit_number(t, line, size, 1) : 0;
}

/* All matches of a line; after an empty one the search goes on behind the next character. */
static int take_matches(MrTask *t, Grep *g, const uint8_t *line, size_t size)
{
        size_t begin, end, from = 0;
        int r;

        while (from <= size && (r = search(t, g, line, size, from, &begin, &end)) != 0) {
                if (r < 0)
                        return r;
                if (end > begin) {
                        r = mr_emit_number(t, line + begin, end - begin, 1);
                        if (r < 0)
                                return r;
                }
                from = MAX(end, from);
                if (end == begin)
                        from++;
        }
        return 0;
}

static int grep_line(MrTask *t, Grep *g, const uint8_t *line, size_t size)
{
        size_t begin, end;
        int r;

        if (g->output == GREP_MATCHES)
                return take_matches(t, g, line, size);
        r = search(t, g, line, size, 0, &begin, &end);
        if (r < 0)
                return r;
        return (r > 0) != g->invert ? take_line(t, g, line, size) : 0;
}

static size_t line_begin(const uint8_t *text, size_t at)
{
        const uint8_t *newline = at > 0 ? memrchr(text, '\n', at) : NULL;

        return newline ? (size_t) (newline + 1 - text) : 0;
}

/* The line a match begins in counts when the match ends in it, or when it matches by itself. */
static int grep_block(MrTask *t, Grep *g, const uint8_t *text, size_t size)
{
        size_t from = 0, begin, end, at;
        int r;

        /* The last newline ends a line and begins none. */
        while (from < size && (r = search(t, g, text, size - 1, from, &begin, &end)) != 0) {
                const uint8_t *newline;
                size_t line_size;

                if (r < 0)
                        return r;
                at = line_begin(text, begin);
                newline = memchr(text + begin, '\n', size - begin);
                line_size = (size_t) (newline - text) - at;
                r = end <= at + line_size ? take_line(t, g, text + at, line_size)
                                          : grep_line(t, g, text + at, line_size);
                if (r < 0)
                        return r;
                from = at + line_size + 1;
        }
        return 0;
}

/* Whole lines of the buffer, of which the last may lack its newline at the end of the piece. */
static int grep_lines(Plugin *p, Grep *g, bool final)
{
        Lines *l = &p->lines;
        const uint8_t *line, *last;
        size_t size;
        int r = 0;

        if (g->by_block && l->end > l->begin) {
                line = l->buffer + l->begin;
                last = memrchr(line, '\n', l->end - l->begin);
                if (last) {
                        size = (size_t) (last + 1 - line);
                        r = grep_block(&p->task, g, line, size);
                        l->begin += size;
                        l->scanned = l->begin;
                }
        }
        while (r >= 0 && (!g->by_block || final) && lines_next(l, final, &line, &size))
                r = grep_line(&p->task, g, line, size);
        return r;
}

static int grep_map_piece(Plugin *p, PieceReader *piece)
{
        Grep *g = p->state;
        uint8_t *space;
        size_t size;
        ssize_t n;
        int r;

        g->count = 0;
        do {
                r = lines_space(&p->lines, READ_BYTES, &space, &size);
                if (r < 0)
                        return r == -E2BIG ? error_setf(&p->attempt->error, r,
                                                        "a line is longer than 1 GiB")
                                           : r;
                n = piece_reader_read(piece, space, MIN(size, (size_t) READ_BYTES),
                                      &p->attempt->error);
                if (n < 0)
                        return (int) n;
                lines_filled(&p->lines, (size_t) n);
                r = grep_lines(p, g, n == 0);
                if (r < 0)
                        return r;
        } while (n > 0);
        return g->output == GREP_COUNT
                       ? mr_emit_number(&p->task, g->pattern, strlen(g->pattern), g->count)
                       : 0;
}

static int grep_reduce(MrTask *t, void *state, const void *key, size_t size)
{
        const Grep *g = state;
        uint64_t n;
        int r;

        r = mr_next_number(t, &n);
        if (r < 0 || g->output != GREP_LINES)
                return r < 0 ? r : mr_emit_number(t, key, size, n);
        for (; n > 0 && r >= 0; n--)
                r = mr_emit(t, key, size, NULL, 0);
        return r;
}

const App app_grep = {
        .plugin =
                {
                        MR_PLUGIN_HEADER,
                        .name = "grep",
                        .op = MR_OP_SUM,
                        .setup = grep_setup,
                        .teardown = grep_teardown,
                        .reduce = grep_reduce,
                },
        .map_piece = grep_map_piece,
};

/*
 * Pieces, lines, words and output: however text is cut into pieces, reads and blocks, nothing is
 * lost, doubled or joined.
 */
#include <sys/mman.h>

#include "base/fs.h"
#include "records/lines.h"
#include "records/output.h"
#include "records/piece.h"
#include "records/words.h"

static int file_of(const void *data, size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, data, size), ==, 0);
        return fd;
}

static GString *random_lines(size_t max_bytes)
{
        GString *s = g_string_new(NULL);
        size_t size = (size_t) g_test_rand_int_range(0, (int) max_bytes);
        int rarity = g_test_rand_int_range(1, 60);

        while (s->len < size)
                g_string_append_c(s, g_test_rand_int_range(0, rarity) == 0
                                             ? '\n'
                                             : (char) g_test_rand_int_range(0, 256));
        return s;
}

static size_t random_up_to(size_t limit, size_t max)
{
        size_t n = (size_t) g_test_rand_int_range(0, (int) max + 1);

        return MIN(n, limit);
}

/* ---- pieces ---- */

static GString *read_piece(int fd, uint64_t offset, uint64_t length, uint64_t file_size,
                           size_t read_bytes, uint64_t *ret_lines)
{
        g_autofree uint8_t *buffer = g_malloc(read_bytes);
        GString *got = g_string_new(NULL);
        _cleanup_error_ Error e = {};
        PieceReader p;
        ssize_t n;

        piece_reader_init(&p, fd, offset, length, file_size, NULL);
        while ((n = piece_reader_read(&p, buffer, read_bytes, &e)) > 0)
                g_string_append_len(got, (char *) buffer, n);
        g_assert_cmpint(n, ==, 0);
        g_assert_cmpuint(p.bytes, ==, got->len);
        *ret_lines = p.lines;
        return got;
}

static void test_every_line_is_in_the_piece_before_its_first_byte(void)
{
        for (int round = 0; round < 400; round++) {
                GString *text = random_lines(3000);
                int fd = file_of(text->str, text->len);
                size_t size = (size_t) g_test_rand_int_range(1, 600);
                size_t next = 0;

                for (size_t start = 0; start < text->len; start += size) {
                        size_t end = MIN(start + size, text->len), begin = next;
                        uint64_t lines = 0, want_lines = 0;
                        GString *got = read_piece(fd, start, end - start, text->len,
                                                  (size_t) g_test_rand_int_range(1, 700), &lines);

                        /* The definition, line by line. */
                        while (next < text->len && (next == 0 || next - 1 < end)) {
                                const char *nl = memchr(text->str + next, '\n', text->len - next);

                                g_assert_true(next == 0 || next - 1 >= start);
                                next = nl ? (size_t) (nl + 1 - text->str) : text->len;
                                want_lines++;
                        }
                        g_assert_cmpmem(got->str, got->len, text->str + begin, next - begin);
                        g_assert_cmpuint(lines, ==, want_lines);
                        g_string_free(got, TRUE);
                }
                g_assert_cmpuint(next, ==, text->len);
                (void) close(fd);
                g_string_free(text, TRUE);
        }
}

static int count_bytes(void *userdata, uint64_t bytes)
{
        *(uint64_t *) userdata += bytes;
        return 0;
}

static void test_a_piece_without_a_line_costs_no_more_than_its_length(void)
{
        g_autofree char *text = g_strnfill(MIB(8), 'x');
        int fd = file_of(text, MIB(8));
        static uint8_t buffer[KIB(256)];
        uint64_t cost = 0;
        Ticker ticker = {.tick = count_bytes, .userdata = &cost};
        PieceReader p;

        piece_reader_init(&p, fd, MIB(2), MIB(1), MIB(8), &ticker);
        g_assert_cmpint(piece_reader_read(&p, buffer, sizeof(buffer), NULL), ==, 0);
        g_assert_cmpuint(cost, <=, MIB(1));
        (void) close(fd);
}

static void test_a_file_that_shrank_is_an_error_that_says_so(void)
{
        _cleanup_error_ Error e = {};
        uint8_t buffer[100];
        int fd = file_of("a\nb", 3);
        PieceReader p;

        piece_reader_init(&p, fd, 0, 10, 10, NULL);
        g_assert_cmpint(piece_reader_read(&p, buffer, sizeof(buffer), &e), ==, 3);
        g_assert_cmpint(piece_reader_read(&p, buffer, sizeof(buffer), &e), ==, -ESTALE);
        g_assert_nonnull(strstr(e.message, "offset 3"));
        (void) close(fd);
}

static int stop(void *userdata, uint64_t bytes)
{
        return -ESHUTDOWN;
}

static void test_the_ticker_stops_the_reading(void)
{
        Ticker ticker = {.tick = stop};
        uint8_t buffer[100];
        int fd = file_of("a\nb", 3);
        PieceReader p;

        piece_reader_init(&p, fd, 0, 3, 3, &ticker);
        g_assert_cmpint(piece_reader_read(&p, buffer, sizeof(buffer), NULL), ==, -ESHUTDOWN);
        (void) close(fd);
}

/* ---- lines ---- */

static void test_lines_are_put_together_from_any_blocks(void)
{
        for (int round = 0; round < 300; round++) {
                GString *text = random_lines(3000);
                _cleanup_(lines_done) Lines l = {};
                const uint8_t *line;
                size_t at = 0, size, given = 0;

                for (;;) {
                        bool final = given == text->len;

                        while (lines_next(&l, final, &line, &size)) {
                                const char *nl = memchr(text->str + at, '\n', text->len - at);
                                size_t want = nl ? (size_t) (nl - text->str) - at : text->len - at;

                                g_assert_cmpmem(line, size, text->str + at, want);
                                at += want + (nl ? 1 : 0);
                        }
                        if (final)
                                break;
                        size_t n = random_up_to(text->len - given, 500);
                        uint8_t *space;
                        size_t room;

                        g_assert_cmpint(lines_space(&l, n, &space, &room), ==, 0);
                        g_assert_cmpuint(room, >=, n);
                        if (n > 0) /* no bytes may have no place */
                                memcpy(space, text->str + given, n);
                        lines_filled(&l, n);
                        given += n;
                }
                g_assert_cmpuint(at, ==, text->len);
                g_string_free(text, TRUE);
        }
}

/* ---- words ---- */

/* Unicode 15, PropList.txt, White_Space; the same as Go's unicode.IsSpace. */
static bool is_space(gunichar c)
{
        return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
               (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
               c == 0x205f || c == 0x3000;
}

/* As Go's strings.Fields: decode rune by rune, a bad byte is a rune of one byte and no space. */
static GPtrArray *fields(const char *text, size_t size)
{
        GPtrArray *words = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        const char *begin = NULL, *p = text, *end = text + size;

        while (p < end) {
                gunichar c =
                        (uint8_t) *p < 0x80 ? (gunichar) *p : g_utf8_get_char_validated(p, end - p);
                bool bad = c == (gunichar) -1 || c == (gunichar) -2;
                const char *next = bad ? p + 1 : g_utf8_next_char(p);

                if (!bad && is_space(c)) {
                        if (begin)
                                g_ptr_array_add(words, g_bytes_new(begin, (gsize) (p - begin)));
                        begin = NULL;
                } else if (!begin)
                        begin = p;
                p = next;
        }
        if (begin)
                g_ptr_array_add(words, g_bytes_new(begin, (gsize) (end - begin)));
        return words;
}

static void check_words(const char *text, size_t size, size_t max_block)
{
        GPtrArray *want = fields(text, size);
        _cleanup_(words_done) Words w = {};
        size_t given = 0, seen = 0;
        bool final = false;

        while (!final) {
                size_t n = random_up_to(size - given, max_block), room, count;
                const Word *found;
                uint8_t *space;

                g_assert_cmpint(words_space(&w, n, &space, &room), ==, 0);
                g_assert_cmpuint(room, >=, n);
                if (n > 0)
                        memcpy(space, text + given, n);
                given += n;
                final = given == size;
                g_assert_cmpint(words_scan(&w, n, final, &found, &count), ==, 0);
                for (size_t i = 0; i < count; i++, seen++) {
                        gsize word_size;
                        const void *word;

                        g_assert_cmpuint(seen, <, want->len);
                        word = g_bytes_get_data(want->pdata[seen], &word_size);
                        g_assert_cmpmem(w.buffer + found[i].begin, found[i].end - found[i].begin,
                                        word, word_size);
                }
        }
        g_assert_cmpuint(seen, ==, want->len);
        g_ptr_array_unref(want);
}

/* Bytes of which most begin, continue or imitate wide white space. */
static void append_tricky(GString *s)
{
        static const char *const parts[] = {
                " ",
                "\n",
                "\v",
                "a",
                "word",
                "\xc2\x85",
                "\xc2\xa0",
                "\xe1\x9a\x80",
                "\xe2\x80\x80",
                "\xe2\x80\x8a",
                "\xe2\x80\x8b",
                "\xe2\x80\xa8",
                "\xe2\x80\xaf",
                "\xe2\x81\x9f",
                "\xe3\x80\x80",
                "\xe3\x80\x81",
                "\xc2",
                "\xe2",
                "\xe2\x80",
                "\x80",
                "\x85",
                "\xf0\x9f\x98\x80",
                "\xed\xa0\x80",
                "\xff",
                "\xe1\x9a",
                "é",
        };

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
                g_string_append_c(s, (char) g_test_rand_int_range(0, 256));
                break;
        case 1:
                g_string_append_len(s,
                                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                                    g_test_rand_int_range(0, 61));
                break;
        default:
                g_string_append(s, parts[g_test_rand_int_range(0, ELEMENTSOF(parts))]);
        }
}

static void test_words_are_those_of_strings_fields(void)
{
        for (int round = 0; round < 3000; round++) {
                GString *s = g_string_new(NULL);
                int parts = g_test_rand_int_range(0, 150);

                for (int i = 0; i < parts; i++)
                        append_tricky(s);
                check_words(s->str, s->len, round % 3 ? 20 : 2000);
                g_string_free(s, TRUE);
        }
}

static void test_each_code_point_separates_or_does_not(void)
{
        for (gunichar c = 1; c < 0x11000; c++) {
                char text[16] = "a";
                int n;

                if (c >= 0xd800 && c < 0xe000)
                        continue;
                n = g_unichar_to_utf8(c, text + 1);
                text[1 + n] = 'b';
                check_words(text, (size_t) n + 2, 20);
        }
}

static void test_a_word_may_be_longer_than_any_buffer(void)
{
        g_autofree char *text = g_strnfill(MIB(10), 'w');

        text[3] = ' ';
        text[MIB(10) - 3] = '\n';
        check_words(text, MIB(10), 100000);
}

/* Of an Output: what was written, and that nothing before it had ended within a unit of whole
 * pages. */
static int take_write(void *userdata, const void *data, size_t size)
{
        GString *written = userdata;

        g_assert_cmpuint(written->len % KIB(64), ==, 0);
        g_assert_cmpuint(size, >, 0);
        g_string_append_len(written, data, (gssize) size);
        return 0;
}

static void test_output_is_written_whole_and_in_whole_pages(void)
{
        static const size_t most[] = {100, KIB(64) + 1, KIB(300), MIB(2)};
        g_autofree char *text = g_malloc(MIB(16));
        g_autoptr(GString) written = g_string_new(NULL);
        Output o;
        size_t at = 0;

        for (size_t i = 0; i < MIB(16); i++)
                text[i] = (char) g_test_rand_int_range(0, 256);
        g_assert_cmpint(output_init(&o, -EBADF), ==, 0);
        o.sink = take_write;
        o.userdata = written;
        while (at < MIB(16)) {
                size_t n = random_up_to(MIB(16) - at, most[g_test_rand_int_range(0, 4)]);

                g_assert_cmpint(output_bytes(&o, text + at, n), ==, 0);
                at += n;
        }
        if (o.used > 0)
                g_assert_cmpint(output_flush(&o), ==, 0);
        g_assert_cmpuint(o.bytes, ==, MIB(16));
        g_assert_cmpmem(written->str, written->len, text, MIB(16));
        output_done(&o);
}

#define ADD(claim, function) g_test_add_func("/records/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("piece/every-line-is-in-the-piece-before-its-first-byte",
            test_every_line_is_in_the_piece_before_its_first_byte);
        ADD("piece/a-piece-without-a-line-costs-no-more-than-its-length",
            test_a_piece_without_a_line_costs_no_more_than_its_length);
        ADD("piece/a-file-that-shrank-is-an-error-that-says-so",
            test_a_file_that_shrank_is_an_error_that_says_so);
        ADD("piece/the-ticker-stops-the-reading", test_the_ticker_stops_the_reading);
        ADD("lines/lines-are-put-together-from-any-blocks",
            test_lines_are_put_together_from_any_blocks);
        ADD("words/words-are-those-of-strings-fields", test_words_are_those_of_strings_fields);
        ADD("words/each-code-point-separates-or-does-not",
            test_each_code_point_separates_or_does_not);
        ADD("words/a-word-may-be-longer-than-any-buffer",
            test_a_word_may_be_longer_than_any_buffer);
        ADD("output/output-is-written-whole-and-in-whole-pages",
            test_output_is_written_whole_and_in_whole_pages);
        return g_test_run();
}

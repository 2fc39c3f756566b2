/*
 * Text: ids, bytes made printable, and the tail that stays bounded.
 */
#include "base/error.h"
#include "base/text.h"

static void test_ids_are_valid_and_differ(void)
{
        char a[ID128_HEX_SIZE], b[ID128_HEX_SIZE];

        id128_make(a);
        id128_make(b);
        g_assert_true(id128_is_valid(a));
        g_assert_cmpstr(a, !=, b);
        a[0] = 'G';
        g_assert_false(id128_is_valid(a));
        g_assert_false(id128_is_valid("0123"));
        g_assert_false(id128_is_valid("0123456789abcdef0123456789abcdef0"));
        g_assert_false(id128_is_valid(NULL));
}

/* The test vectors of RFC 4648 §10. */
static void test_bytes_are_hex_digits(void)
{
        char text[13];

        text_hex("foobar", 6, text);
        g_assert_cmpstr(text, ==, "666f6f626172");
        text_hex("\x00\xff\x0a", 3, text);
        g_assert_cmpstr(text, ==, "00ff0a");
        text_hex("", 0, text);
        g_assert_cmpstr(text, ==, "");
}

static void test_bytes_become_printable(void)
{
        static const struct {
                const char *in;
                size_t size;
                const char *out;
        } cases[] = {
                {"plain text", 10, "plain text"},
                {"a\tb\n", 4, "a\\x09b\\x0a"},
                {"nul\0x", 5, "nul\\x00x"},
                {"\xff\xfe", 2, "\\xff\\xfe"},
                {"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
                {"back\\slash", 10, "back\\\\slash"},
                {"\x1b[31m", 5, "\\x1b[31m"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                g_autofree char *s = text_escape(cases[i].in, cases[i].size, 100);

                g_assert_cmpstr(s, ==, cases[i].out);
        }
}

static void test_a_sentence_is_escaped_once(void)
{
        g_autofree char *once = text_escape("a\\b\r", 4, 100);
        g_autofree char *twice = text_escape_sentence(once, 100);
        g_autofree char *raw = text_escape_sentence("a\x1b[1m\xff", 100);
        g_autofree char *cut = text_escape_sentence("abcd", 2);

        g_assert_cmpstr(once, ==, "a\\\\b\\x0d");
        g_assert_cmpstr(twice, ==, once);
        g_assert_cmpstr(raw, ==, "a\\x1b[1m\\xff");
        g_assert_cmpstr(cut, ==, "ab…");
}

static void test_names_may_be_shown_as_they_are(void)
{
        static const char *const good[] = {"w", "node-7.example.org", "Ünïcode", "two words"};
        static const char *const bad[] = {"", "a\nb", "\x1b[31m", "\xff", "tab\t", "\xe2\x80\xae"};
        g_autofree char *longest = g_strnfill(255, 'x'), *longer = g_strnfill(256, 'x');

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                g_assert_true(text_is_name(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                g_assert_false(text_is_name(bad[i]));
        g_assert_true(text_is_name(longest));
        g_assert_false(text_is_name(longer));
}

static void test_long_bytes_are_cut_with_a_sign(void)
{
        g_autofree char *s = text_escape("abcdefgh", 8, 3);

        g_assert_cmpstr(s, ==, "abc…");
}

static void test_the_tail_is_the_last_bytes(void)
{
        GString *tail = g_string_new(NULL);

        text_keep_tail(tail, "abc", 3, 5);
        g_assert_cmpstr(tail->str, ==, "abc");
        text_keep_tail(tail, "defg", 4, 5);
        g_assert_cmpstr(tail->str, ==, "cdefg");
        text_keep_tail(tail, "0123456789", 10, 5);
        g_assert_cmpstr(tail->str, ==, "56789");
        (void) g_string_free(tail, TRUE);
}

static void test_the_first_cause_of_an_error_is_kept(void)
{
        _cleanup_error_ Error e = {};

        g_assert_cmpint(error_setf(NULL, ENOENT, "nobody listens"), ==, -ENOENT);
        g_assert_cmpstr(error_message(&e, -ENOENT), ==, "No such file or directory");
        g_assert_cmpint(error_setf(&e, -ENOENT, "cannot open %s", "/x"), ==, -ENOENT);
        g_assert_cmpint(error_setf(&e, EIO, "job failed"), ==, -EIO);
        g_assert_cmpstr(error_message(&e, -EIO), ==, "cannot open /x");
        g_assert_cmpint(e.code, ==, -ENOENT);
}

static void test_the_nearest_word_is_a_misspelling(void)
{
        static const char *const names[] = {"pattern", "output", "key", NULL};

        g_assert_cmpstr(text_nearest_word("patern", names), ==, "pattern");
        g_assert_cmpstr(text_nearest_word("outptu", names), ==, "output");
        g_assert_cmpstr(text_nearest_word("ky", names), ==, "key");
        g_assert_cmpstr(text_nearest_word("kyes", names), ==, "key");
        g_assert_null(text_nearest_word("pattern", names + 3));
        g_assert_null(text_nearest_word("ab", names));
        g_assert_null(text_nearest_word("colour", names));
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/base/text/ids-are-valid-and-differ", test_ids_are_valid_and_differ);
        g_test_add_func("/base/text/bytes-are-hex-digits", test_bytes_are_hex_digits);
        g_test_add_func("/base/text/bytes-become-printable", test_bytes_become_printable);
        g_test_add_func("/base/text/a-sentence-is-escaped-once", test_a_sentence_is_escaped_once);
        g_test_add_func("/base/text/names-may-be-shown-as-they-are",
                        test_names_may_be_shown_as_they_are);
        g_test_add_func("/base/text/long-bytes-are-cut-with-a-sign",
                        test_long_bytes_are_cut_with_a_sign);
        g_test_add_func("/base/text/the-tail-is-the-last-bytes", test_the_tail_is_the_last_bytes);
        g_test_add_func("/base/text/the-nearest-word-is-a-misspelling",
                        test_the_nearest_word_is_a_misspelling);
        g_test_add_func("/base/error/the-first-cause-is-kept",
                        test_the_first_cause_of_an_error_is_kept);
        return g_test_run();
}

/*
 * Keys that carry an order: pairs and sort keys, held against comparing what they are made of.
 */
#include <sys/mman.h>

#include "records/key-order.h"
#include "records/pair.h"
#include "records/sort-key.h"

#define ROUNDS 20000
#define BYTES_MAX 8

typedef struct Bytes {
        uint8_t data[BYTES_MAX + LINES_PADDING];
        size_t size;
} Bytes;

/* Few different bytes, so that equal beginnings are common. */
static Bytes random_bytes(const char *alphabet, size_t letters)
{
        Bytes b = {.size = (size_t) g_test_rand_int_range(0, BYTES_MAX + 1)};

        for (size_t i = 0; i < b.size; i++)
                b.data[i] = (uint8_t) alphabet[g_test_rand_int_range(0, (gint32) letters)];
        return b;
}

static int sign(int n)
{
        return (n > 0) - (n < 0);
}

static int compare(const Bytes *a, const Bytes *b)
{
        return sign(key_compare(a->data, a->size, b->data, b->size));
}

static void test_pairs_sort_like_their_strings(void)
{
        for (unsigned i = 0; i < ROUNDS; i++) {
                Bytes s[4];
                uint8_t a[4 * BYTES_MAX], b[4 * BYTES_MAX], back[4 * BYTES_MAX];
                size_t a_size, b_size, head;
                int want;

                for (size_t j = 0; j < 4; j++)
                        s[j] = random_bytes("\0\1a\xff", 4);
                a_size = pair_put(a, s[0].data, s[0].size, s[1].data, s[1].size);
                b_size = pair_put(b, s[2].data, s[2].size, s[3].data, s[3].size);
                g_assert_cmpuint(a_size, <=, pair_size_max(s[0].size, s[1].size));
                want = compare(&s[0], &s[2]);
                want = want != 0 ? want : compare(&s[1], &s[3]);
                g_assert_cmpint(sign(key_compare(a, a_size, b, b_size)), ==, want);

                head = pair_head_size(a, a_size);
                g_assert_cmpmem(back, pair_get(back, a, head), s[0].data, s[0].size);
                g_assert_cmpmem(a + head, a_size - head, s[1].data, s[1].size);
        }
}

static void test_bytes_that_are_no_pair_are_refused(void)
{
        g_assert_cmpuint(pair_head_size((const uint8_t *) "", 0), ==, 0);
        g_assert_cmpuint(pair_head_size((const uint8_t *) "abc", 3), ==, 0);
        g_assert_cmpuint(pair_head_size((const uint8_t *) "a\0", 2), ==, 0);
        g_assert_cmpuint(pair_head_size((const uint8_t *) "a\0x\0\0", 5), ==, 0);
        g_assert_cmpuint(pair_head_size((const uint8_t *) "a\0\xff", 3), ==, 0);
}

/* Of the number that a field begins with; exact, as fields here are short. */
static double number_of(const Bytes *b)
{
        g_autofree char *text = g_strndup((const char *) b->data, b->size);
        const char *p = text + strspn(text, " ");
        size_t n = (size_t) (*p == '-');

        n += strspn(p + n, "0123456789");
        n += p[n] == '.' ? 1 + strspn(p + n + 1, "0123456789") : 0;
        text[(size_t) (p - text) + n] = '\0';
        return g_ascii_strtod(p, NULL);
}

static void check_sort_keys(const SortSpec *spec, const char *alphabet)
{
        for (unsigned i = 0; i < ROUNDS; i++) {
                Bytes a = random_bytes(alphabet, strlen(alphabet)),
                      b = random_bytes(alphabet, strlen(alphabet));
                g_autofree uint8_t *x = g_malloc(sort_key_size_max(a.size)),
                                   *y = g_malloc(sort_key_size_max(b.size));
                size_t x_size = sort_key_put(spec, a.data, a.size, x),
                       y_size = sort_key_put(spec, b.data, b.size, y), back_size;
                double p = number_of(&a), q = number_of(&b);
                int want = spec->numeric ? (p > q) - (p < q) : 0;
                const uint8_t *back;

                want = want != 0 ? want : compare(&a, &b);
                g_assert_cmpuint(x_size, <=, sort_key_size_max(a.size));
                g_assert_cmpint(sign(key_compare(x, x_size, y, y_size)), ==,
                                spec->reverse ? -want : want);
                g_assert_cmpint(sort_key_get(spec, x, x_size, &back, &back_size), ==, 0);
                g_assert_cmpmem(back, back_size, a.data, a.size);
        }
}

static void test_numbers_sort_as_numbers(void)
{
        check_sort_keys(&(SortSpec){.numeric = true}, "019.- x");
}

static void test_reverse_is_the_other_way_round(void)
{
        check_sort_keys(&(SortSpec){.reverse = true}, "\1ab\xff");
        check_sort_keys(&(SortSpec){.reverse = true, .numeric = true}, "09.-");
}

/* Field @number of a key that is cut at each comma. */
static Bytes field_of(const Bytes *key, uint32_t number)
{
        g_autofree char *text = g_strndup((const char *) key->data, key->size);
        g_auto(GStrv) parts = g_strsplit(text, ",", -1);
        Bytes b = {};

        if (number <= g_strv_length(parts)) {
                b.size = strlen(parts[number - 1]);
                memcpy(b.data, parts[number - 1], b.size);
        }
        return b;
}

static int compare_by(const KeyOrder *o, const Bytes *a, const Bytes *b)
{
        for (size_t i = 0; i < o->count; i++) {
                Bytes x = field_of(a, o->by[i].number), y = field_of(b, o->by[i].number);
                double p = number_of(&x), q = number_of(&y);
                int r = o->by[i].numeric ? (p > q) - (p < q) : compare(&x, &y);

                if (r != 0)
                        return o->by[i].reverse ? -r : r;
        }
        return compare(a, b);
}

static void test_keys_sort_by_their_fields(void)
{
        KeyFields fields;
        KeyOrder order = {.fields = &fields};

        g_assert_cmpint(key_fields_init(&fields, (const uint8_t *) ",", 1, 3, 0), ==, 0);
        for (unsigned i = 0; i < 4 * ROUNDS; i++) {
                Bytes a = random_bytes(",,019.-\1\xff", 9), b = random_bytes(",,019.-\1\xff", 9);
                Record x = {.key = a.data, .key_size = a.size},
                       y = {.key = b.data, .key_size = b.size};
                g_autofree uint8_t *first = NULL;

                if (i % 100 == 0) {
                        order.count = 0;
                        for (int j = g_test_rand_int_range(1, 4); j > 0; j--)
                                (void) key_order_add(
                                        &order,
                                        (KeyOrderField){(uint32_t) g_test_rand_int_range(1, 5),
                                                        g_test_rand_bit(), g_test_rand_bit()});
                }
                g_assert_cmpint(key_order_put(&order, &x), ==, 0);
                x.key = first = g_memdup2(x.key, x.key_size);
                g_assert_cmpint(key_order_put(&order, &y), ==, 0);
                g_assert_cmpint(sign(key_compare(x.key, x.key_size, y.key, y.key_size)), ==,
                                sign(compare_by(&order, &a, &b)));
                g_assert_cmpint(key_order_take(&order, &x), ==, 0);
                g_assert_cmpint(key_order_take(&order, &y), ==, 0);
                g_assert_cmpmem(x.key, x.key_size, a.data, a.size);
                g_assert_cmpmem(y.key, y.key_size, b.data, b.size);
        }
        key_order_done(&order);
}

/* NULs are escaped, and complemented where the largest comes first: at worst each byte of the key
 * takes three. */
static void test_a_key_of_nothing_but_what_is_escaped_fits(void)
{
        static const char bytes[] = {0, '\xff'};

        for (size_t size = 0; size < 5000; size += 1 + size / 3) {
                for (unsigned i = 0; i < 8; i++) {
                        g_autofree uint8_t *key = g_malloc(size + 1);
                        Record record = {.key = key, .key_size = size};
                        KeyFields fields;
                        KeyOrder order = {.fields = &fields};

                        memset(key, bytes[i & 1], size);
                        g_assert_cmpint(key_fields_init(&fields, NULL, 0, 1, 0), ==, 0);
                        g_assert_cmpint(key_order_add(&order, (KeyOrderField){1, i & 2, i & 4}), ==,
                                        0);
                        g_assert_cmpint(key_order_put(&order, &record), ==, 0);
                        g_assert_cmpint(key_order_take(&order, &record), ==, 0);
                        g_assert_cmpmem(record.key, record.key_size, key, size);
                        key_order_done(&order);
                }
        }
}

/* The key alone is not: its first field is empty, and ended by two bytes. Nothing reads or copies
 * the rest of it. */
static void test_a_key_that_is_too_large_with_its_order_is_refused(void)
{
        uint8_t *zeros = mmap(NULL, RECORD_MAX_BYTES, PROT_READ,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        Record record = {.key = zeros, .key_size = RECORD_MAX_BYTES - 1};
        KeyFields fields;
        KeyOrder order = {.fields = &fields};
        int r;

        g_assert_true(zeros != MAP_FAILED);
        g_assert_cmpint(key_fields_init(&fields, (const uint8_t *) "", 1, 1, 0), ==, 0);
        g_assert_cmpint(key_order_add(&order, (KeyOrderField){.number = 1}), ==, 0);
        r = key_order_put(&order, &record);
        if (r == -ENOMEM)
                g_test_skip("there is no room for three times the largest key");
        else
                g_assert_cmpint(r, ==, -E2BIG);
        g_assert_true(record.key == zeros && record.key_size == RECORD_MAX_BYTES - 1);
        key_order_done(&order);
        (void) munmap(zeros, RECORD_MAX_BYTES);
}

static void test_an_order_that_is_none_is_refused(void)
{
        KeyFields fields;
        KeyOrder order = {.fields = &fields};
        Record record = {.key = (const uint8_t *) "a,7", .key_size = 3};

        g_assert_cmpint(key_fields_init(&fields, NULL, 0, 1, 0), ==, 0);
        g_assert_cmpint(key_order_add(&order, (KeyOrderField){.number = 0}), ==, -EINVAL);
        for (uint32_t i = 1; i <= KEY_ORDER_FIELDS_MAX; i++) {
                g_assert_cmpint(key_order_add(&order, (KeyOrderField){.number = i}), ==, 0);
                g_assert_cmpint(key_order_add(&order, (KeyOrderField){.number = i}), ==, -EEXIST);
        }
        g_assert_cmpint(key_order_add(&order, (KeyOrderField){.number = UINT32_MAX}), ==, -E2BIG);
        g_assert_cmpint(key_order_take(&order, &record), ==, -EBADMSG);
        g_assert_cmpmem(record.key, record.key_size, "a,7", 3);
}

static void test_fields_are_cut_as_by_awk(void)
{
        static uint8_t line[256 + LINES_PADDING];
        const Fields f = {};

        for (unsigned i = 0; i < ROUNDS / 10; i++) {
                size_t size = (size_t) g_test_rand_int_range(0, 200), got_size;
                g_autofree char *text = NULL;
                g_auto(GStrv) parts = NULL;
                const uint8_t *got;
                uint64_t n = 0;

                for (size_t j = 0; j < size; j++)
                        line[j] = (uint8_t) "abc \t"[g_test_rand_int_range(0, 5)];
                text = g_strndup((const char *) line, size);
                parts = g_strsplit_set(text, " \t", -1);
                for (char **p = parts; *p; p++) {
                        if (!**p)
                                continue;
                        g_assert_true(fields_find(&f, line, size, ++n, &got, &got_size));
                        g_assert_cmpmem(got, got_size, *p, strlen(*p));
                }
                g_assert_false(fields_find(&f, line, size, n + 1, &got, &got_size));
        }
}

static void test_numbers_end_at_two_to_the_64(void)
{
        static const struct {
                const char *text;
                bool is;
                uint64_t n;
        } cases[] = {
                {"0", true, 0},
                {"18446744073709551615", true, UINT64_MAX},
                {"018446744073709551615", true, UINT64_MAX},
                {"18446744073709551616", false, 0},
                {"99999999999999999999999", false, 0},
                {"", false, 0},
                {"-1", false, 0},
                {"1.5", false, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t n = 0;

                g_assert_cmpint(
                        fields_number((const uint8_t *) cases[i].text, strlen(cases[i].text), &n),
                        ==, cases[i].is);
                if (cases[i].is)
                        g_assert_cmpuint(n, ==, cases[i].n);
        }
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/records/pair/pairs-sort-like-their-strings",
                        test_pairs_sort_like_their_strings);
        g_test_add_func("/records/pair/bytes-that-are-no-pair-are-refused",
                        test_bytes_that_are_no_pair_are_refused);
        g_test_add_func("/records/sort-key/numbers-sort-as-numbers", test_numbers_sort_as_numbers);
        g_test_add_func("/records/sort-key/reverse-is-the-other-way-round",
                        test_reverse_is_the_other_way_round);
        g_test_add_func("/records/key-order/keys-sort-by-their-fields",
                        test_keys_sort_by_their_fields);
        g_test_add_func("/records/key-order/a-key-of-nothing-but-what-is-escaped-fits",
                        test_a_key_of_nothing_but_what_is_escaped_fits);
        g_test_add_func("/records/key-order/a-key-that-is-too-large-with-its-order-is-refused",
                        test_a_key_that_is_too_large_with_its_order_is_refused);
        g_test_add_func("/records/key-order/an-order-that-is-none-is-refused",
                        test_an_order_that_is_none_is_refused);
        g_test_add_func("/records/fields/fields-are-cut-as-by-awk", test_fields_are_cut_as_by_awk);
        g_test_add_func("/records/fields/numbers-end-at-two-to-the-64",
                        test_numbers_end_at_two_to_the_64);
        return g_test_run();
}

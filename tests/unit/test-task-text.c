/*
 * What a command wrote, as records: what is wrong with a line is said of that.
 */
#include <sys/mman.h>

#include "mr-task/stream-text.h"

/* One line of as many NULs as a key may have: sorted by its second field, which it has not, it has
 * two bytes more. */
static void test_a_key_that_is_too_large_with_its_order_is_named_so(void)
{
        static const KeyFields fields = {.separator = {'\t'}, .separator_size = 1, .count = 1};
        size_t size = RECORD_MAX_BYTES + LINES_PADDING;
        uint8_t *zeros =
                mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        Attempt a = {.name = (char *) "map-3", .order.fields = &fields};
        TextSink sink = {.attempt = &a,
                         .fields = &fields,
                         .order = &a.order,
                         .partitions = 1,
                         .what = "mapper",
                         .lines = {.buffer = zeros, .end = RECORD_MAX_BYTES}};
        int r;

        g_assert_true(zeros != MAP_FAILED);
        g_assert_cmpint(key_order_add(&a.order, (KeyOrderField){.number = 2}), ==, 0);
        r = text_sink_finish(&sink);
        if (r == -ENOMEM)
                g_test_skip("there is no room for three times the largest key");
        else {
                g_assert_cmpint(r, ==, -E2BIG);
                g_assert_cmpstr(a.error.message, ==,
                                "map-3: the mapper wrote a key that is larger than 1 GiB with its "
                                "order before it (SortKeyFields=)");
        }
        error_done(&a.error);
        key_order_done(&a.order);
        (void) munmap(zeros, size);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/task/text/a-key-that-is-too-large-with-its-order-is-named-so",
                        test_a_key_that_is_too_large_with_its_order_is_named_so);
        return g_test_run();
}

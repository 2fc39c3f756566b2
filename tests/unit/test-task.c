/*
 * mr-task: what it makes of maps and reduces, of bad input and of little memory.
 */
#include "task-fixture.h"

static void test_word_count_is_right_for_any_cut(void)
{
        TaskProcess t = task_new();

        for (int round = 0; round < 12; round++) {
                g_autofree char *text = random_text(20000, round % 2 ? 50 : 8000);
                g_autofree char *want = expected_counts(text), *got = NULL, *sorted = NULL;
                Job job = {
                        .program = app("wordcount"),
                        .maps = (size_t) g_test_rand_int_range(1, 12),
                        .piece_bytes = (size_t) g_test_rand_int_range(1000, 100000),
                        .partitions = (uint32_t) g_test_rand_int_range(1, 9),
                        .memory_bytes = 1,
                };

                got = run_job(&t, &job, text, strlen(text));
                sorted = sorted_lines(got);
                g_assert_cmpstr(sorted, ==, want);
        }
        task_end(&t);
}

typedef struct Rows {
        const char *text;
        GArray *begins;   /* size_t; of each record, its newline the last of it */
        size_t key_bytes; /* 0: all */
} Rows;

static size_t row_size(const char *row)
{
        return (size_t) (strchr(row, '\n') + 1 - row);
}

/* In the order of their places where keys are equal. */
static int compare_rows(const void *a, const void *b, void *userdata)
{
        const Rows *rows = userdata;
        size_t x = *(const size_t *) a, y = *(const size_t *) b;
        size_t x_size = rows->key_bytes, y_size = rows->key_bytes;
        int r;

        if (rows->key_bytes == 0) {
                x_size = row_size(rows->text + x) - 1;
                y_size = row_size(rows->text + y) - 1;
        }
        r = memcmp(rows->text + x, rows->text + y, MIN(x_size, y_size));
        if (r == 0)
                r = (x_size > y_size) - (x_size < y_size);
        return r != 0 ? r : (x > y) - (x < y);
}

static char *sorted_rows(const Rows *rows)
{
        GString *out = g_string_new(NULL);

        g_qsort_with_data(rows->begins->data, (int) rows->begins->len, sizeof(size_t), compare_rows,
                          (void *) rows);
        for (size_t i = 0; i < rows->begins->len; i++) {
                const char *row = rows->text + g_array_index(rows->begins, size_t, i);

                g_string_append_len(out, row, (gssize) row_size(row));
        }
        return g_string_free(out, FALSE);
}

/* @size: of each, with its newline; 0: any, in lines. Few letters, so that many are equal, or begin
 * alike. */
static char *random_rows(size_t count, size_t size, GArray *ret_begins)
{
        GString *s = g_string_new(NULL);

        for (size_t i = 0; i < count; i++) {
                size_t n = size > 0 ? size - 1 : (size_t) g_test_rand_int_range(0, 60);

                g_array_append_val(ret_begins, s->len);
                for (size_t j = 0, bits = 0; j < n; j++, bits >>= 2) {
                        if (j % 16 == 0)
                                bits = (uint32_t) g_test_rand_int();
                        g_string_append_c(s, "ab\x01\xff"[bits & (j < 9 ? 1 : 3)]);
                }
                g_string_append_c(s, '\n');
        }
        return g_string_free(s, FALSE);
}

/* Keys of some of the records, in order, as the master finds them in a sample. */
static uint32_t random_bounds(const Rows *rows, ProtobufCBinaryData *ret, uint32_t most)
{
        uint32_t count = 0;

        for (size_t i = 0; i < rows->begins->len && count < most;
             i += (size_t) g_test_rand_int_range(1, 2 + (int) rows->begins->len / 4)) {
                char *row = (char *) rows->text + g_array_index(rows->begins, size_t, i);
                size_t size = rows->key_bytes > 0 ? rows->key_bytes : row_size(row) - 1;

                ret[count++] = (ProtobufCBinaryData){.data = (uint8_t *) row, .len = size};
        }
        return count;
}

/* Lines and records of a length, by all or part of these, in one run or many spills, in pieces of
 * any size. */
static void test_a_sort_is_right_for_any_cut(void)
{
        TaskProcess t = task_new();

        for (int round = 0; round < 16; round++) {
                size_t size = round % 3 ? (size_t) g_test_rand_int_range(2, 60) : 0;
                size_t key_bytes =
                        round % 3 == 1 ? (size_t) g_test_rand_int_range(1, (int) size) : 0;
                g_autofree char *record = g_strdup_printf("record=%zu", size),
                                *key = g_strdup_printf("key-bytes=%zu", key_bytes);
                char *args[] = {record, key};
                ProtobufCBinaryData bounds[8];
                g_autoptr(GArray) begins = g_array_new(FALSE, FALSE, sizeof(size_t));
                size_t count = (size_t) g_test_rand_int_range(0, round % 2 ? 500 : 60000);
                g_autofree char *text = random_rows(count, size, begins), *want = NULL, *got = NULL;
                Rows rows = {.text = text, .begins = begins, .key_bytes = key_bytes};
                Job job = {
                        .program = app("sort"),
                        .maps = (size_t) g_test_rand_int_range(1, 8),
                        .piece_bytes = (size_t) g_test_rand_int_range(1, 300) *
                                       MAX(strlen(text) / 2000, (size_t) 1),
                        .memory_bytes = 1,
                };

                want = sorted_rows(&rows);
                job.program.bounds = bounds;
                job.program.n_bounds = random_bounds(&rows, bounds, ELEMENTSOF(bounds));
                job.program.args = args;
                job.program.n_args = size > 0 ? 2 : 0;
                job.partitions = (uint32_t) job.program.n_bounds + 1;
                got = run_job(&t, &job, text, strlen(text));
                g_assert_cmpstr(got, ==, want);
        }
        task_end(&t);
}

static void test_word_count_counts_what_it_does(void)
{
        TaskProcess t = task_new();
        static const char text[] = "to be or\nnot to be\n\nend";
        Try y = {.program = app("wordcount"), .partitions = 3};

        set_text(&y, text, sizeof(text) - 1, 7);
        must_succeed(&t, &y);
        g_assert_cmpuint(counter(&y, "map_input_records"), ==, 4);
        g_assert_cmpuint(counter(&y, "map_input_bytes"), ==, sizeof(text) - 1);
        g_assert_cmpuint(counter(&y, "map_output_records"), ==, 7);
        g_assert_cmpuint(counter(&y, "combine_output_records"), ==, 5);
        try_done(&y);
        task_end(&t);
}

static void test_without_a_reducer_the_part_is_the_sorted_records(void)
{
        TaskProcess t = task_new();
        static const char text[] = "b\tx y\na\n\tempty key\nb\t\nc\td\te";
        Job job = {
                .program = commands("cat", "", ""), .maps = 1, .piece_bytes = 10, .partitions = 1};
        g_autofree char *got = run_job(&t, &job, text, sizeof(text) - 1);

        g_assert_cmpstr(got, ==, "\tempty key\na\nb\tx y\nb\nc\td\te\n");
        task_end(&t);
}

static void test_a_changed_file_is_a_permanent_failure(void)
{
        TaskProcess t = task_new();
        Try y = {.program = app("wordcount"), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        set_text(&y, "a b c\n", 6, 100);
        y.pieces[0].mtime_ns--;
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        g_assert_true(d->permanent);
        assert_contains(d->error, "map-0: /the/input has changed since the job was planned");
        try_done(&y);

        y = (Try){.program = app("nonsense"), .partitions = 1};
        set_text(&y, "a\n", 2, 100);
        d = try_run(&t, &y);
        g_assert_true(d->permanent);
        assert_contains(d->error, "no app is named \"nonsense\"");
        try_done(&y);
        task_end(&t);
}

static void test_a_full_disk_is_called_that(void)
{
        TaskProcess t = task_new();
        Try y = {.program = app("wordcount"), .partitions = 1, .output = open("/dev/full", O_RDWR)};

        set_text(&y, "a\n", 2, 100);
        assert_contains(try_run(&t, &y)->error, "map-0: disk full");
        try_done(&y);
        task_end(&t);
}

static void test_a_bad_segment_is_told_apart(void)
{
        TaskProcess t = task_new();
        Try y = {.program = app("wordcount"), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;
        int good, bad;

        set_text(&y, "some words\n", 11, 100);
        must_succeed(&t, &y);
        good = fcntl(y.output, F_DUPFD_CLOEXEC, 0);
        try_done(&y);
        bad = file_of("", 0);
        g_assert_cmpint(copy_bytes(good, bad), ==, 0);
        g_assert_cmpint(pwrite(bad, "X", 1, lseek(bad, 0, SEEK_END) - 1), ==, 1);

        y = (Try){.program = app("wordcount"), .partitions = 1, .inputs = 2};
        y.input_fds = g_new(int, 2);
        y.input_fds[0] = good;
        y.input_fds[1] = bad;
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        g_assert_true(d->bad_segment);
        g_assert_cmpuint(d->bad_map, ==, 1);
        g_assert_cmpuint(d->bad_attempt, ==, 7);
        assert_contains(d->error, "checksum");
        try_done(&y);
        task_end(&t);
}

static void test_long_lines_and_words_pass(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = g_strnfill(MIB(20) + 1, 'x');
        g_autofree char *counted = NULL, *passed = NULL;
        Job job = {.program = app("wordcount"),
                   .maps = 1,
                   .piece_bytes = MIB(1),
                   .partitions = 2,
                   .memory_bytes = MIB(4)};

        text[MIB(20)] = '\n';
        counted = run_job(&t, &job, text, MIB(20) + 1);
        g_assert_cmpuint(strlen(counted), ==, MIB(20) + 3);
        g_assert_cmpint(memcmp(counted, text, MIB(20)), ==, 0);
        g_assert_cmpstr(counted + MIB(20), ==, "\t1\n");

        job.program = commands("cat", "", "cat");
        passed = run_job(&t, &job, text, MIB(20) + 1);
        g_assert_cmpuint(strlen(passed), ==, 20 * (MIB(20) + 2) / 20);
        task_end(&t);
}

static unsigned long peak_kib(const TaskProcess *t)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) t->pid), *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return strtoul(strstr(text, "VmHWM:") + strlen("VmHWM:"), NULL, 10);
}

/* 32 MiB of one word and 32 MiB of "a a a": the room the first needed is not filled at once by the
 * rest. */
static void test_a_long_word_costs_its_own_memory_alone(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = g_strnfill(MIB(64), 'a');
        Try y = {.program = app("wordcount"), .partitions = 1, .memory_bytes = MIB(4)};

        for (size_t i = MIB(32); i < MIB(64); i += 2)
                text[i] = ' ';
        set_text(&y, text, MIB(64), MIB(64));
        must_succeed(&t, &y);
        g_assert_cmpuint(counter(&y, "map_output_records"), ==, 1 + MIB(16));
        g_test_message("peak %lu KiB", peak_kib(&t));
        if (!SANITIZED)
                g_assert_cmpuint(peak_kib(&t), <, 100 * 1024);
        try_done(&y);
        task_end(&t);
}

static void test_numbers_of_hundreds_of_maps_are_combined(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = random_text(30000, 3000), *want = expected_counts(text);
        g_autofree char *got = NULL, *sorted = NULL;
        Job job = {.program = app("wordcount"),
                   .maps = 300,
                   .piece_bytes = 100000,
                   .partitions = 2,
                   .memory_bytes = 1};

        got = run_job(&t, &job, text, strlen(text));
        sorted = sorted_lines(got);
        g_assert_cmpstr(sorted, ==, want);
        task_end(&t);
}

/*
 * In 4 MiB, 16 runs are open together, and of 140 kB each, 16 fit in memory, but no 32. So of 303
 * runs each 16 become one of the scratch file; when there are 16 of these they become one again;
 * and that one, the two that came after it and the 15 runs left are too many to be given. Most
 * records are written three times. Many keys are equal: their records stay in the order of the maps
 * through all of it.
 */
static void test_a_reduce_of_hundreds_of_maps_merges_in_passes(void)
{
        enum { MAPS = 303, RUN_ROWS = 350, ROW_BYTES = 400, KEY_BYTES = 12 };
        TaskProcess t = task_new();
        char *args[] = {(char *) "record=400", (char *) "key-bytes=12"};
        g_autoptr(GArray) begins = g_array_new(FALSE, FALSE, sizeof(size_t));
        g_autofree char *text = random_rows((size_t) MAPS * RUN_ROWS, ROW_BYTES, begins);
        Rows rows = {.text = text, .begins = begins, .key_bytes = KEY_BYTES};
        g_autofree char *want = sorted_rows(&rows), *got = NULL;
        size_t size = strlen(text);
        Job job = {.program = app("sort"),
                   .maps = MAPS,
                   .piece_bytes = size,
                   .partitions = 1,
                   .memory_bytes = MIB(4)};

        job.program.args = args;
        job.program.n_args = ELEMENTSOF(args);
        got = run_job(&t, &job, text, size);
        g_assert_true(g_str_equal(got, want)); /* of 40 MB no message tells anything */
        g_test_message("%.2f times its input in the scratch file",
                       (double) job.reduce_scratch_bytes / (double) size);
        g_assert_cmpuint(job.map_scratch_bytes, ==, 0);
        g_assert_cmpuint(job.reduce_scratch_bytes, >, size * 5 / 2);
        task_end(&t);
}

/* ---- data of many times the memory ---- */

#define BEYOND_ROW_BYTES 32
#define BEYOND_BYTES (SANITIZED ? MIB(24) : MIB(64))

/* Rows of one word each; every number below half of how many they are stands in two of them, far
 * apart. */
static void beyond_row(char *row, size_t number)
{
        char text[BEYOND_ROW_BYTES + 1];

        (void) snprintf(text, sizeof(text), "%010zu-a-word-of-some-bytes\n", number);
        g_assert_cmpuint(strlen(text), <=, BEYOND_ROW_BYTES);
        memset(row, 'x', BEYOND_ROW_BYTES);
        memcpy(row, text, strlen(text) - 1);
        row[BEYOND_ROW_BYTES - 1] = '\n';
}

static char *beyond_text(void)
{
        size_t rows = BEYOND_BYTES / BEYOND_ROW_BYTES;
        char *text = g_malloc(BEYOND_BYTES + 1);

        for (size_t i = 0; i < rows; i++)
                beyond_row(text + i * BEYOND_ROW_BYTES, i * 48271 % (rows / 2));
        text[BEYOND_BYTES] = '\0';
        return text;
}

/* All numbers in order: each row twice, or each word with its count. */
static void check_beyond(const char *got, bool counted)
{
        size_t numbers = BEYOND_BYTES / BEYOND_ROW_BYTES / 2;

        for (size_t n = 0; n < numbers; n++) {
                char row[BEYOND_ROW_BYTES];

                beyond_row(row, n);
                for (int i = 0; i < (counted ? 1 : 2); i++) {
                        size_t size = BEYOND_ROW_BYTES - counted;

                        g_assert_cmpint(strncmp(got, row, size), ==, 0);
                        got += size;
                }
                if (counted) {
                        g_assert_cmpint(strncmp(got, "\t2\n", 3), ==, 0);
                        got += 3;
                }
        }
        g_assert_cmpint(*got, ==, '\0');
}

/*
 * 64 MiB in 4 MiB of memory, in maps of 16 MiB and one reduce. Beside its memory a process has what
 * it is itself, buffers of input and output, and what malloc() keeps: together 11 MiB. Whoever held
 * the data of a map, or of the reduce, would have more than 24.
 */
static void check_in_bounded_memory(const Program *program, bool counted)
{
        TaskProcess t = task_new();
        g_autofree char *text = beyond_text(), *got = NULL;
        Job job = {.program = *program,
                   .maps = 4,
                   .piece_bytes = MIB(8),
                   .partitions = 1,
                   .memory_bytes = MIB(4),
                   .sort_output = true}; /* where that is a command's, it is sorted as well */

        got = run_job(&t, &job, text, BEYOND_BYTES);
        check_beyond(got, counted);
        g_test_message("peak %lu KiB; %.2f and %.2f times the data in scratch files", peak_kib(&t),
                       (double) job.map_scratch_bytes / (double) BEYOND_BYTES,
                       (double) job.reduce_scratch_bytes / (double) BEYOND_BYTES);
        g_assert_cmpuint(job.map_scratch_bytes, >, BEYOND_BYTES);
        if (!SANITIZED)
                g_assert_cmpuint(peak_kib(&t), <, 24 * 1024);
        task_end(&t);
}

static void test_a_count_of_many_times_its_memory_stays_within_it(void)
{
        Program program = app("wordcount");

        check_in_bounded_memory(&program, true);
}

static void test_a_sort_of_many_times_its_memory_stays_within_it(void)
{
        Program program = app("sort");

        check_in_bounded_memory(&program, false);
}

static void test_commands_over_many_times_their_memory_stay_within_it(void)
{
        Program program = commands("cat", "", "tr -d '\\t'");

        check_in_bounded_memory(&program, false);
}

static void test_no_input_is_an_empty_part(void)
{
        TaskProcess t = task_new();
        Program programs[] = {app("wordcount"), commands("cat", "", ""),
                              commands("cat", "", "cat")};

        for (size_t i = 0; i < ELEMENTSOF(programs); i++) {
                Job empty_map = {
                        .program = programs[i], .maps = 1, .piece_bytes = 10, .partitions = 3};
                Job no_map = {.program = programs[i], .partitions = 2};
                g_autofree char *a = run_job(&t, &empty_map, "", 0);
                g_autofree char *b = run_job(&t, &no_map, "", 0);

                g_assert_cmpstr(a, ==, "");
                g_assert_cmpstr(b, ==, "");
        }
        task_end(&t);
}

static void test_a_process_serves_many_attempts_in_steady_memory(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = random_text(30000, 5000), *path = NULL;
        unsigned long first = 0, pages = 0;

        path = g_strdup_printf("/proc/%d/statm", (int) t.pid);
        for (int i = 0; i < 60; i++) {
                Try y = {.program = app("wordcount"), .partitions = 3};
                g_autofree char *statm = NULL;

                set_text(&y, text, strlen(text), 50000);
                must_succeed(&t, &y);
                try_done(&y);
                g_assert_true(g_file_get_contents(path, &statm, NULL, NULL));
                pages = strtoul(strchr(statm, ' '), NULL, 10);
                if (i == 19)
                        first = pages;
        }
        g_test_message("resident after 20 attempts %lu pages, after 60 %lu", first, pages);
        if (!SANITIZED)
                g_assert_cmpuint(pages, <=, first + 256);
        task_end(&t);
}

#define ADD(claim, function) g_test_add_func("/task/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("a-sort-is-right-for-any-cut", test_a_sort_is_right_for_any_cut);
        ADD("word-count-is-right-for-any-cut", test_word_count_is_right_for_any_cut);
        ADD("word-count-counts-what-it-does", test_word_count_counts_what_it_does);
        ADD("without-a-reducer-the-part-is-the-sorted-records",
            test_without_a_reducer_the_part_is_the_sorted_records);
        ADD("a-changed-file-is-a-permanent-failure", test_a_changed_file_is_a_permanent_failure);
        ADD("a-full-disk-is-called-that", test_a_full_disk_is_called_that);
        ADD("a-bad-segment-is-told-apart", test_a_bad_segment_is_told_apart);
        ADD("long-lines-and-words-pass", test_long_lines_and_words_pass);
        ADD("a-long-word-costs-its-own-memory-alone", test_a_long_word_costs_its_own_memory_alone);
        ADD("numbers-of-hundreds-of-maps-are-combined",
            test_numbers_of_hundreds_of_maps_are_combined);
        ADD("a-reduce-of-hundreds-of-maps-merges-in-passes",
            test_a_reduce_of_hundreds_of_maps_merges_in_passes);
        ADD("a-count-of-many-times-its-memory-stays-within-it",
            test_a_count_of_many_times_its_memory_stays_within_it);
        ADD("a-sort-of-many-times-its-memory-stays-within-it",
            test_a_sort_of_many_times_its_memory_stays_within_it);
        ADD("commands-over-many-times-their-memory-stay-within-it",
            test_commands_over_many_times_their_memory_stay_within_it);
        ADD("no-input-is-an-empty-part", test_no_input_is_an_empty_part);
        ADD("a-process-serves-many-attempts-in-steady-memory",
            test_a_process_serves_many_attempts_in_steady_memory);
        return g_test_run();
}

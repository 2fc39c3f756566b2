/*
 * mr-task and the commands it runs: fed, listened to, named when they fail, and never left behind.
 */
#include "records/key-order.h"
#include "records/resort.h"
#include "task-fixture.h"

static void test_commands_count_the_same_words(void)
{
        TaskProcess t = task_new();

        for (int round = 0; round < 4; round++) {
                g_autofree char *text = random_text(20000, round % 2 ? 50 : 8000);
                g_autofree char *want = expected_counts(text), *got = NULL, *sorted = NULL;
                Job job = {
                        .program = commands(wordcount_mapper, round / 2 ? wordcount_reducer : "",
                                            wordcount_reducer),
                        .maps = (size_t) g_test_rand_int_range(1, 5),
                        .piece_bytes = (size_t) g_test_rand_int_range(50000, 200000),
                        .partitions = (uint32_t) g_test_rand_int_range(1, 4),
                        .memory_bytes = 1,
                        .sort_output = round & 1,
                };

                got = run_job(&t, &job, text, strlen(text));
                sorted = sorted_lines(got);
                g_assert_cmpstr(sorted, ==, want);
        }
        task_end(&t);
}

/* What sort(1) makes of @text, in the order of bytes. */
static char *sorted_by(const char *keys, const char *text)
{
        g_autofree char *path = NULL, *line = NULL;
        const char *argv[] = {"sh", "-c", NULL, NULL};
        char *sorted = NULL;
        int fd, status;

        fd = g_file_open_tmp("test-task-XXXXXX", &path, NULL);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, text, strlen(text)), ==, 0);
        (void) close(fd);
        argv[2] = line = g_strdup_printf("LC_ALL=C sort -t, %s %s", keys, path);
        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                                   &sorted, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
        (void) unlink(path);
        return sorted;
}

#define LEAST_MEMORY MIB(4) /* of an attempt */
#define VALUE "a value that is there to fill memory, so that maps and combiners spill"

/* Maps that spill, and a reduce that merges; and one that has so many runs in memory that it sorts
 * them again. */
static void test_an_order_of_fields_lasts_through_spills(void)
{
        static const struct {
                size_t maps;
                uint64_t memory_bytes;
        } ways[] = {{2, LEAST_MEMORY}, {RESORT_RUNS_MIN + 1, 16 * LEAST_MEMORY}};
        Mapreduced__V1__SortField by[] = {MAPREDUCED__V1__SORT_FIELD__INIT,
                                          MAPREDUCED__V1__SORT_FIELD__INIT};
        Mapreduced__V1__SortField *fields[] = {&by[0], &by[1]};
        GString *text = g_string_new(NULL);
        g_autofree char *want = NULL;
        TaskProcess t = task_new();

        by[0].number = 2;
        by[0].numeric = by[0].reverse = true;
        by[1].number = 1;
        while (text->len < 3 * LEAST_MEMORY)
                g_string_append_printf(text, "%c%x,%d," VALUE "\n", g_test_rand_int_range('a', 'f'),
                                       (unsigned) g_test_rand_int_range(0, 1 << 20),
                                       g_test_rand_int_range(-300, 300));
        want = sorted_by("-k2,2nr -k1,1", text->str);
        for (unsigned i = 0; i < 2 * ELEMENTSOF(ways); i++) {
                Job job = {.program = commands("cat", i & 1 ? "cat" : "", "sed 's/\t/,/'"),
                           .maps = ways[i / 2].maps,
                           .piece_bytes = 1 << 20,
                           .partitions = 1,
                           .memory_bytes = ways[i / 2].memory_bytes};
                bool spills = job.memory_bytes == LEAST_MEMORY;
                g_autofree char *got = NULL;

                job.program.map_separator =
                        (ProtobufCBinaryData){.data = (uint8_t *) ",", .len = 1};
                job.program.map_key_fields = 2;
                job.program.sort_fields = fields;
                job.program.n_sort_fields = ELEMENTSOF(fields);
                got = run_job(&t, &job, text->str, text->len);
                g_assert_true(g_str_equal(got, want));
                g_assert_cmpint(job.map_scratch_bytes > 0, ==, spills);
                g_assert_cmpuint(job.reduce_scratch_bytes, ==, 0);
        }
        g_string_free(text, TRUE);
        task_end(&t);
}

/* By @count fields: @first, @first + @step, …. */
static void refuse_order(TaskProcess *t, Program program, uint32_t first, uint32_t step,
                         size_t count, const char *why)
{
        Mapreduced__V1__SortField by[KEY_ORDER_FIELDS_MAX + 1], *fields[ELEMENTSOF(by)];
        Try y = {.program = program, .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        for (size_t i = 0; i < ELEMENTSOF(by); i++) {
                mapreduced__v1__sort_field__init(&by[i]);
                by[i].number = first + (uint32_t) i * step;
                fields[i] = &by[i];
        }
        y.program.sort_fields = fields;
        y.program.n_sort_fields = count;
        set_text(&y, "a\t1\n", 4, 100);
        d = try_run(t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        g_assert_true(d->permanent);
        assert_contains(d->error, why);
        try_done(&y);
}

static void test_an_order_that_is_none_is_refused_for_good(void)
{
        Program cat = commands("cat", "", "cat"), folds = commands("cat", "", "");
        TaskProcess t = task_new();

        folds.reducer_app = (char *) "sum";
        refuse_order(&t, cat, 0, 1, 2, "field 0 is among those to sort keys by");
        refuse_order(&t, cat, 1, 0, 2, "field 1 is twice among those to sort keys by");
        refuse_order(&t, cat, 1, 1, KEY_ORDER_FIELDS_MAX + 1,
                     "there are more than 16 fields to sort keys by");
        refuse_order(&t, folds, 1, 1, 1, "sum does not take keys in an order of their fields");
        refuse_order(&t, app("wordcount"), 1, 1, 1,
                     "wordcount does not take keys in an order of their fields");
        task_end(&t);
}

static void test_a_reducer_that_does_not_sort_is_sorted_when_asked(void)
{
        TaskProcess t = task_new();
        static const char text[] = "1\n2\n3\n10\n";
        Job job = {.program = commands("cat", "", "sort -n -r | tr -d '\\t' | sed 's/$/\\tx/'"),
                   .maps = 1,
                   .piece_bytes = 100,
                   .partitions = 1,
                   .sort_output = true};
        g_autofree char *sorted = NULL, *unsorted = NULL;

        sorted = run_job(&t, &job, text, sizeof(text) - 1);
        g_assert_cmpstr(sorted, ==, "1\tx\n10\tx\n2\tx\n3\tx\n");
        job.sort_output = false;
        unsorted = run_job(&t, &job, text, sizeof(text) - 1);
        g_assert_cmpstr(unsorted, ==, "10\tx\n3\tx\n2\tx\n1\tx\n");
        task_end(&t);
}

static void test_a_failed_mapper_is_named_with_all_that_helps(void)
{
        TaskProcess t = task_new();
        Try y = {.program = commands("read x; echo oops >&2; exit 3", "", ""),
                 .task = 3,
                 .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        set_text(&y, "a\nb\n", 4, 100);
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        g_assert_false(d->permanent);
        assert_contains(d->error, "map-3");
        assert_contains(d->error, "/the/input bytes 0-4");
        assert_contains(d->error, "exited with status 3");
        g_assert_cmpstr(d->stderr_tail, ==, "oops\n");
        try_done(&y);

        y = (Try){.program = commands("kill -SEGV $$", "", ""), .partitions = 1};
        set_text(&y, "a\n", 2, 100);
        assert_contains(try_run(&t, &y)->error, "was killed by SIGSEGV");
        try_done(&y);
        task_end(&t);
}

static void test_a_mapper_need_not_read_its_input(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = random_text(1000000, 100);
        Try y = {.program = commands("echo done", "", ""), .partitions = 1};

        set_text(&y, text, strlen(text), strlen(text));
        must_succeed(&t, &y);
        g_assert_cmpuint(counter(&y, "map_output_records"), ==, 1);
        try_done(&y);
        task_end(&t);
}

static void test_a_mapper_that_writes_more_than_it_reads_does_not_block(void)
{
        TaskProcess t = task_new();
        g_autofree char *text = random_text(200000, 100), *got = NULL;
        Job job = {.program = commands("yes | head -n 1000000; cat >/dev/null", "",
                                       "uniq -c | tr -d ' '"),
                   .maps = 1,
                   .piece_bytes = 10000000,
                   .partitions = 1};

        got = run_job(&t, &job, text, strlen(text));
        g_assert_cmpstr(got, ==, "1000000y\t\n");
        task_end(&t);
}

static void test_reporter_lines_become_counters_and_status(void)
{
        TaskProcess t = task_new();
        g_autofree char *dir = g_dir_make_tmp("mr-task-XXXXXX", NULL);
        g_autofree char *told = g_build_filename(dir, "told", NULL);
        g_autofree char *line = g_strdup_printf(
                "echo reporter:counter:my,lines,2 >&2; cat >/dev/null; "
                "echo reporter:counter:my,lines,40 >&2; echo reporter:counter:bad >&2; "
                "printf 'reporter:status:almost \\377there\\n' >&2; "
                "while ! [ -e %s ]; do sleep 0.01; done",
                told);
        Try y = {.program = commands(line, "", ""), .partitions = 1};
        bool seen = false;

        set_text(&y, "x\n", 2, 2);
        try_start(&t, &y);
        while (!y.end) {
                FromTask *m = hear(&t);

                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_NEED_INPUT)
                        give_batch(&t, &y, 0, 1);
                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_PROGRESS &&
                    g_str_equal(m->progress->status, "almost \xef\xbf\xbdthere")) {
                        seen = true;
                        g_assert_true(g_file_set_contents(told, "", 0, NULL));
                }
                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_DONE)
                        y.end = m;
                else
                        mapreduced__task__v1__from_task__free_unpacked(m, NULL);
        }
        g_assert_true(seen);
        g_assert_cmpuint(counter(&y, "my:lines"), ==, 42);
        g_assert_cmpstr(y.end->done->stderr_tail, ==, "reporter:counter:bad\n");
        try_done(&y);
        task_end(&t);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static void test_the_environment_is_that_of_hadoop_streaming(void)
{
        TaskProcess t = task_new();
        char *env[] = {(char *) "MINE=a=b", (char *) "PATH=/usr/bin:/bin"};
        Job job = {.program = commands("env | grep -E '^(mapreduce_|MINE)'; pwd", "", ""),
                   .maps = 1,
                   .piece_bytes = 100,
                   .partitions = 1};
        g_autofree char *got = NULL;

        job.program.env = env;
        job.program.n_env = ELEMENTSOF(env);
        got = run_job(&t, &job, "x\n", 2);
        g_assert_cmpstr(
                got, ==,
                "/tmp\nMINE=a=b\nmapreduce_job_id=0123\nmapreduce_job_maps=1\nmapreduce_job_name=a "
                "job\nmapreduce_job_reduces=1\n"
                "mapreduce_map_input_file=/the/input\nmapreduce_map_input_length=2\n"
                "mapreduce_map_input_start=0\n"
                "mapreduce_task_attempt_id=attempt_0123_m_000000_0\n"
                "mapreduce_task_id=task_0123_m_000000\nmapreduce_task_ismap=true\n"
                "mapreduce_task_partition=0\n");
        task_end(&t);
}

/* Reads the pid that a command has written, once it is there. */
static pid_t pid_in(const char *path)
{
        for (;;) {
                g_autofree char *text = NULL;

                if (g_file_get_contents(path, &text, NULL, NULL) && strchr(text, '\n'))
                        return (pid_t) g_ascii_strtoll(text, NULL, 10);
                g_usleep(1000);
        }
}

static void test_the_end_of_the_worker_is_the_end_of_all(void)
{
        TaskProcess t = task_new();
        g_autofree char *dir = g_dir_make_tmp("mr-task-XXXXXX", NULL);
        g_autofree char *group = g_build_filename(dir, "group", NULL);
        g_autofree char *away = g_build_filename(dir, "away", NULL);
        g_autofree char *line = g_strdup_printf("setsid sh -c 'echo $$ >%s; exec sleep 1000' & "
                                                "echo $$ >%s; sleep 1000",
                                                away, group);
        Try y = {.program = commands(line, "", ""), .partitions = 1};
        FromTask *m;
        pid_t pids[2];

        set_text(&y, "x\n", 2, 2);
        try_start(&t, &y);
        m = hear(&t);
        mapreduced__task__v1__from_task__free_unpacked(m, NULL);
        give_batch(&t, &y, 0, 1);
        pids[0] = pid_in(group);
        pids[1] = pid_in(away);
        task_end(&t);
        g_assert_cmpint(kill(pids[0], 0), <, 0);
        g_assert_cmpint(kill(pids[1], 0), <, 0);
        try_done(&y);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

static void test_what_a_command_leaves_behind_dies_with_it(void)
{
        TaskProcess t = task_new();
        g_autofree char *dir = g_dir_make_tmp("mr-task-XXXXXX", NULL);
        g_autofree char *away = g_build_filename(dir, "away", NULL);
        g_autofree char *line = g_strdup_printf("setsid sh -c 'echo $$ >%s; exec sleep 1000' "
                                                ">/dev/null & "
                                                "while ! [ -s %s ]; do sleep 0.01; done; cat",
                                                away, away);
        Try y = {.program = commands(line, "", ""), .partitions = 1};

        set_text(&y, "x\n", 2, 2);
        must_succeed(&t, &y);
        g_assert_cmpint(kill(pid_in(away), 0), <, 0);
        g_assert_cmpuint(counter(&y, "map_output_records"), ==, 1);
        try_done(&y);
        task_end(&t);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

/* Of 200 names 128 are kept; names, tail and sentence grow when they are made valid UTF-8. */
static void test_a_flood_on_stderr_does_not_drown_the_result(void)
{
        TaskProcess t = task_new();
        static const char mapper[] =
                "cat >/dev/null; LC_ALL=C awk 'BEGIN {"
                "for (j = 0; j < 150; j++) s = s \"\\377\";"
                "for (i = 0; i < 200; i++) printf \"reporter:counter:%d%s,x,1\\n\", i, s;"
                "for (i = 0; i < 90000; i++) printf \"\\377\"}' >&2";
        g_autofree char *failing = g_strconcat(mapper, "; exit 9", NULL);
        Try y = {.program = commands(mapper, "", ""), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        set_text(&y, "x\n", 2, 2);
        must_succeed(&t, &y);
        g_assert_cmpuint(y.end->done->n_counters, >=, 128);
        g_assert_cmpuint(strlen(y.end->done->stderr_tail), >=, 4096);
        g_assert_true(g_utf8_validate(y.end->done->stderr_tail, -1, NULL));
        try_done(&y);

        y = (Try){.program = commands(failing, "", ""), .partitions = 1};
        set_text(&y, "x\n", 2, 2);
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        assert_contains(d->error, "exited with status 9");
        try_done(&y);
        task_end(&t);
}

static void test_a_long_command_does_not_hide_how_it_ended(void)
{
        TaskProcess t = task_new();
        g_autofree char *comment = g_strnfill(20000, 'x');
        g_autofree char *line = g_strdup_printf(": %s\nexit 3", comment);
        Try y = {.program = commands(line, "", ""), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        set_text(&y, "x\n", 2, 2);
        d = try_run(&t, &y);
        assert_contains(d->error, "exited with status 3");
        g_assert_cmpuint(strlen(d->error), <, 1000);
        g_assert_null(strchr(d->error, '\n'));
        try_done(&y);
        task_end(&t);
}

/* Only a whole line is a reporter's, not what happens to stand where a long one was cut. */
static void test_a_part_of_a_long_line_is_no_reporters(void)
{
        TaskProcess t = task_new();
        Try y = {.program = commands("cat >/dev/null; head -c 4096 /dev/zero | tr '\\0' x >&2; "
                                     "echo reporter:counter:my,lines,1 >&2; "
                                     "echo reporter:counter:my,others,1 >&2",
                                     "", ""),
                 .partitions = 1};

        set_text(&y, "x\n", 2, 2);
        must_succeed(&t, &y);
        g_assert_cmpuint(counter(&y, "my:lines"), ==, 0);
        g_assert_cmpuint(counter(&y, "my:others"), ==, 1);
        assert_contains(y.end->done->stderr_tail, "xreporter:counter:my,lines,1\n");
        try_done(&y);
        task_end(&t);
}

static void test_a_limit_on_file_sizes_is_an_error_like_others(void)
{
        static const struct rlimit small = {1024, RLIM_INFINITY};
        TaskProcess t = task_new();
        g_autofree char *text = random_text(20000, 8000);
        Try y = {.program = app("wordcount"), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        g_assert_cmpint(prlimit(t.pid, RLIMIT_FSIZE, &small, NULL), ==, 0);
        set_text(&y, text, strlen(text), strlen(text));
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        assert_contains(d->error, "map-0: cannot write the run file");
        assert_contains(d->error, "LimitFSIZE=");
        try_done(&y);
        task_end(&t);
}

/* Says @word when the shell that runs this has ended. */
#define AFTER_ITS_PARENT(word)                                                                     \
        "sh -c 'while grep -q \"^PPid:[^0-9]*$0$\" /proc/$$/status; do sleep 0.01; done; "         \
        "echo " word "' $$ & "

/* As the shell's $(…) does it: whoever holds the output may still write to it. */
static void test_what_a_child_writes_after_its_parent_counts(void)
{
        TaskProcess t = task_new();
        Job job = {.program = commands(AFTER_ITS_PARENT("late") "cat", "",
                                       AFTER_ITS_PARENT("end") "cat"),
                   .maps = 1,
                   .piece_bytes = 100,
                   .partitions = 1};
        g_autofree char *got = run_job(&t, &job, "early\n", 6);

        g_assert_cmpstr(got, ==, "early\t\nlate\t\nend\n");
        task_end(&t);
}

/* Waited for no longer than a while, and not passed over in silence: it may have had something to
 * say. */
static void test_an_output_that_is_never_closed_fails_the_attempt(void)
{
        TaskProcess t = task_new();
        g_autofree char *dir = g_dir_make_tmp("mr-task-XXXXXX", NULL);
        g_autofree char *away = g_build_filename(dir, "away", NULL);
        g_autofree char *line = g_strdup_printf("setsid sh -c 'echo $$ >%s; exec sleep 1000' & "
                                                "while ! [ -s %s ]; do sleep 0.01; done; cat",
                                                away, away);
        Try y = {.program = commands(line, "", ""), .partitions = 1};
        const Mapreduced__Task__V1__Done *d;

        set_text(&y, "x\n", 2, 2);
        d = try_run(&t, &y);
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__FAILED);
        assert_contains(d->error, "still holds its output open");
        g_assert_cmpint(kill(pid_in(away), 0), <, 0);
        try_done(&y);
        task_end(&t);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, dir), ==, 0);
}

#define ADD(claim, function) g_test_add_func("/task/" claim, function)

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        ADD("an-order-of-fields-lasts-through-spills",
            test_an_order_of_fields_lasts_through_spills);
        ADD("an-order-that-is-none-is-refused-for-good",
            test_an_order_that_is_none_is_refused_for_good);
        ADD("commands-count-the-same-words", test_commands_count_the_same_words);
        ADD("a-reducer-that-does-not-sort-is-sorted-when-asked",
            test_a_reducer_that_does_not_sort_is_sorted_when_asked);
        ADD("a-failed-mapper-is-named-with-all-that-helps",
            test_a_failed_mapper_is_named_with_all_that_helps);
        ADD("a-mapper-need-not-read-its-input", test_a_mapper_need_not_read_its_input);
        ADD("a-mapper-that-writes-more-than-it-reads-does-not-block",
            test_a_mapper_that_writes_more_than_it_reads_does_not_block);
        ADD("reporter-lines-become-counters-and-status",
            test_reporter_lines_become_counters_and_status);
        ADD("the-environment-is-that-of-hadoop-streaming",
            test_the_environment_is_that_of_hadoop_streaming);
        ADD("the-end-of-the-worker-is-the-end-of-all",
            test_the_end_of_the_worker_is_the_end_of_all);
        ADD("what-a-command-leaves-behind-dies-with-it",
            test_what_a_command_leaves_behind_dies_with_it);
        ADD("a-flood-on-stderr-does-not-drown-the-result",
            test_a_flood_on_stderr_does_not_drown_the_result);
        ADD("a-long-command-does-not-hide-how-it-ended",
            test_a_long_command_does_not_hide_how_it_ended);
        ADD("a-part-of-a-long-line-is-no-reporters", test_a_part_of_a_long_line_is_no_reporters);
        ADD("a-limit-on-file-sizes-is-an-error-like-others",
            test_a_limit_on_file_sizes_is_an_error_like_others);
        ADD("what-a-child-writes-after-its-parent-counts",
            test_what_a_child_writes_after_its_parent_counts);
        ADD("an-output-that-is-never-closed-fails-the-attempt",
            test_an_output_that_is_never_closed_fails_the_attempt);
        return g_test_run();
}

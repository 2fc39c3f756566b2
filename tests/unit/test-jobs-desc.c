/*
 * Job descriptions: every limit of dbus/org.mapreduced.Master1.xml, and sentences that name the way
 * out.
 */
#include "base/program-level.h"
#include "jobs/job-desc.h"
#include "jobs/sort-fields.h"

static JobDesc *wordcount(void)
{
        JobDesc *d = job_desc_new();

        g_assert_cmpint(job_desc_set_string(d, "App", "wordcount", NULL), ==, 0);
        g_assert_cmpint(job_desc_add_string(d, "Input", "/data/a.txt", NULL), ==, 0);
        return d;
}

static void assert_refused(JobDesc *d, const char *words)
{
        _cleanup_error_ Error e = {};

        g_assert_cmpint(job_desc_check(d, &e), <, 0);
        g_assert_nonnull(e.message);
        g_assert_nonnull(strstr(e.message, words));
        job_desc_free(d);
}

static void test_a_word_count_with_defaults_is_accepted(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = wordcount();

        g_assert_cmpint(job_desc_check(d, NULL), ==, 0);
        g_assert_cmpuint(d->reduces, ==, 1);
        g_assert_cmpuint(d->max_attempts, ==, 4);
        g_assert_cmpuint(d->split_size_bytes, ==, 33554432);
        g_assert_cmpstr(d->name, ==, "wordcount");
}

/* docs/administration.md: by the slots that are there, but not where outputs are to be known
 * again. */
static void test_splits_of_a_command_are_left_to_planning(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = job_desc_new(), *said = job_desc_new(),
                                          *reused = job_desc_new();

        g_assert_cmpint(job_desc_add_string(d, "Input", "/in", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(d, "Mapper", "cat", NULL), ==, 0);
        g_assert_cmpint(job_desc_check(d, NULL), ==, 0);
        g_assert_cmpuint(d->split_size_bytes, ==, 0);

        g_assert_cmpint(job_desc_add_string(reused, "Input", "/in", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(reused, "Mapper", "cat", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(reused, "Reuse", "yes", NULL), ==, 0);
        g_assert_cmpint(job_desc_check(reused, NULL), ==, 0);
        g_assert_cmpuint(reused->split_size_bytes, ==, 67108864);

        g_assert_cmpint(job_desc_add_string(said, "Input", "/in", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(said, "Mapper", "cat", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_number(said, "SplitSize", 16777216, NULL), ==, 0);
        g_assert_cmpint(job_desc_check(said, NULL), ==, 0);
        g_assert_cmpuint(said->split_size_bytes, ==, 16777216);
}

static void test_exactly_one_program_is_asked_for(void)
{
        JobDesc *d = wordcount();

        g_assert_cmpint(job_desc_set_string(d, "Mapper", "./m.py", NULL), ==, 0);
        assert_refused(d, "one program");

        d = wordcount();
        g_assert_cmpint(job_desc_set_string(d, "App", "", NULL), ==, 0);
        assert_refused(d, "App (wordcount) or Mapper");
}

static void test_a_built_in_reduce_goes_with_a_mapper_and_nothing_else(void)
{
        static const struct {
                const char *key, *value, *words;
        } refused[] = {
                {"ReducerApp", "sort", "count, distinct, max, min, sum"},
                {"ReducerApp", "wordcount", "count, distinct, max, min, sum"},
                {"Reducer", "cat", "give no Reducer beside it"},
                {"Combiner", "cat", "give no Combiner beside it"},
                {"ReduceFieldSeparator", ",", "ReducerApp=sum"},
        };
        _cleanup_(job_desc_freep) JobDesc *d = wordcount(), *alone = wordcount();
        g_autofree char *program = NULL;

        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                JobDesc *bad = wordcount();

                g_assert_cmpint(job_desc_set_string(bad, "App", "", NULL), ==, 0);
                g_assert_cmpint(job_desc_set_string(bad, "Mapper", "cat", NULL), ==, 0);
                g_assert_cmpint(job_desc_set_string(bad, "ReducerApp", "sum", NULL), ==, 0);
                g_assert_cmpint(job_desc_set_string(bad, refused[i].key, refused[i].value, NULL),
                                ==, 0);
                assert_refused(bad, refused[i].words);
        }
        g_assert_cmpint(job_desc_set_string(d, "ReducerApp", "sum", NULL), ==, 0);
        assert_refused(TAKE_PTR(d), "App=wordcount has its own");

        g_assert_cmpint(job_desc_set_string(alone, "App", "", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(alone, "ReducerApp", "max", NULL), ==, 0);
        g_assert_cmpint(job_desc_check(alone, NULL), ==, 0);
        program = job_desc_program(alone);
        g_assert_cmpstr(program, ==, "identity | max");
}

static void test_an_unknown_app_is_answered_with_the_known_ones(void)
{
        JobDesc *d = wordcount();

        g_assert_cmpint(job_desc_set_string(d, "App", "wordcont", NULL), ==, 0);
        assert_refused(d, "wordcount, or a plugin NAME.so");
}

static void test_an_unknown_key_is_answered_with_the_closest(void)
{
        static const struct {
                const char *given, *closest;
        } cases[] = {{"Reduce", "Reducer or Reduces?"}, {"input", "Input?"},
                     {"Splitsize", "SplitSize?"},       {"Ouptut", "Output?"},
                     {"maxattempt", "MaxAttempts?"},    {"Mappper", "Mapper?"}};
        char type;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                g_assert_cmpint(job_desc_type(cases[i].given, &type, &e), ==, -EINVAL);
                g_assert_nonnull(strstr(e.message, cases[i].closest));
        }
        {
                _cleanup_error_ Error e = {};

                g_assert_cmpint(job_desc_type("Zebra", &type, &e), ==, -EINVAL);
                g_assert_nonnull(strstr(e.message, "known: Name"));
        }
}

static void test_numbers_have_both_their_ends(void)
{
        static const struct {
                const char *key;
                uint64_t min, max;
        } cases[] = {{"MapKeyFields", 1, 1000},
                     {"SplitSize", 4096, UINT64_C(1) << 40},
                     {"MaxAttempts", 1, 100}};
        _cleanup_(job_desc_freep) JobDesc *d = wordcount();

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                g_assert_cmpint(job_desc_set_number(d, cases[i].key, cases[i].min, NULL), ==, 0);
                g_assert_cmpint(job_desc_set_number(d, cases[i].key, cases[i].max, NULL), ==, 0);
                g_assert_cmpint(job_desc_set_number(d, cases[i].key, cases[i].max + 1, NULL), ==,
                                -ERANGE);
                g_assert_cmpint(job_desc_set_number(d, cases[i].key, cases[i].min - 1, &e), ==,
                                -ERANGE);
                g_assert_nonnull(strstr(e.message, cases[i].key));
        }
        g_assert_cmpuint(d->map_key_fields, ==, 1000);
        g_assert_cmpint(job_desc_set_number(d, "Reduces", 0, NULL), ==, 0);
        g_assert_cmpint(job_desc_set_number(d, "Reduces", 10000, NULL), ==, 0);
        g_assert_cmpint(job_desc_set_number(d, "Reduces", 10001, NULL), ==, -ERANGE);
        g_assert_cmpuint(d->reduces, ==, 10000);
}

static JobDesc *command(const char *mapper, const char *reducer)
{
        JobDesc *d = job_desc_new();

        g_assert_cmpint(job_desc_set_string(d, "Mapper", mapper, NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(d, "Reducer", reducer, NULL), ==, 0);
        g_assert_cmpint(job_desc_add_string(d, "Input", "/data/a.txt", NULL), ==, 0);
        return d;
}

static void test_words_for_commands_that_are_none(void)
{
        _cleanup_(job_desc_freep) JobDesc *alone = command("", "wc -l"),
                                          *none = command("cat", "none"),
                                          *same = command("cat", "identity");

        g_assert_cmpint(job_desc_check(alone, NULL), ==, 0);
        g_assert_cmpstr(alone->mapper, ==, "identity");
        g_assert_cmpint(job_desc_check(none, NULL), ==, 0);
        g_assert_cmpstr(none->reducer, ==, "");
        g_assert_cmpuint(none->reduces, ==, 0);
        g_assert_cmpint(job_desc_check(same, NULL), ==, 0);
        g_assert_cmpstr(same->reducer, ==, "");
        g_assert_cmpuint(same->reduces, ==, 1);
}

/* Hadoop spells it NONE. */
static void test_words_for_commands_stand_alone(void)
{
        _cleanup_(job_desc_freep) JobDesc *none = command("", "NONE"),
                                          *same = command("", "identity");

        g_assert_cmpint(job_desc_check(none, NULL), ==, 0);
        g_assert_cmpstr(none->mapper, ==, "identity");
        g_assert_cmpstr(none->reducer, ==, "");
        g_assert_cmpuint(none->reduces, ==, 0);
        g_assert_cmpint(job_desc_check(same, NULL), ==, 0);
        g_assert_cmpstr(same->mapper, ==, "identity");
        g_assert_cmpuint(same->reduces, ==, 1);
}

static void test_maps_alone_are_of_programs_without_a_reduce(void)
{
        JobDesc *d = command("cat", "wc");

        g_assert_cmpint(job_desc_set_number(d, "Reduces", 0, NULL), ==, 0);
        assert_refused(d, "nothing to do for the Reducer");
        d = wordcount();
        g_assert_cmpint(job_desc_set_number(d, "Reduces", 0, NULL), ==, 0);
        assert_refused(d, "App=wordcount has a reduce");
}

static void test_fields_are_cut_where_a_separator_can_be(void)
{
        static const char *const bad[] = {"\\q", "\\x1", "a\nb", "\\x0a"};
        _cleanup_(job_desc_freep) JobDesc *good = command("cat", "wc");
        JobDesc *d;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                d = command("cat", "wc");
                g_assert_cmpint(job_desc_set_string(d, "MapFieldSeparator", bad[i], NULL), ==, 0);
                assert_refused(d, "MapFieldSeparator");
        }
        d = command("cat", "wc");
        g_assert_cmpint(job_desc_set_number(d, "PartitionKeyFields", 2, NULL), ==, 0);
        assert_refused(d, "MapKeyFields=1 only");
        d = wordcount();
        g_assert_cmpint(job_desc_set_number(d, "MapKeyFields", 2, NULL), ==, 0);
        assert_refused(d, "not with App=wordcount");
        g_assert_cmpint(job_desc_set_string(good, "MapFieldSeparator", "\\t\\0\\x1f,", NULL), ==,
                        0);
        g_assert_cmpint(job_desc_check(good, NULL), ==, 0);
}

static void test_keys_are_sorted_by_fields_that_they_have(void)
{
        static const struct {
                const char *list, *words;
        } bad[] = {{"3", "MapKeyFields=2 only"},
                   {"0", "from 1"},
                   {"", NULL},
                   {"1,", "from 1"},
                   {",1", "from 1"},
                   {"n", "from 1"},
                   {"1x", "from 1"},
                   {"1nn", "from 1"},
                   {"-k1", "from 1"},
                   {"1 ,2", "from 1"},
                   {"4294967297", "from 1"},
                   {"1,2,1r", "field 1 is given twice"},
                   {"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "more than 16"},
                   {"2nr,1", NULL},
                   {"2rn", NULL}};
        JobDesc *d;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                d = command("cat", "wc");
                g_assert_cmpint(job_desc_set_number(d, "MapKeyFields", 2, NULL), ==, 0);
                g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", bad[i].list, NULL), ==, 0);
                if (bad[i].words) {
                        assert_refused(d, bad[i].words);
                        continue;
                }
                g_assert_cmpint(job_desc_check(d, NULL), ==, 0);
                job_desc_free(d);
        }
        d = command("cat", "");
        g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", "1n", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_number(d, "Reduces", 0, NULL), ==, 0);
        assert_refused(d, "Reduces=0 sorts nothing");
        d = command("cat", "");
        g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", "1n", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(d, "ReducerApp", "sum", NULL), ==, 0);
        assert_refused(d, "ReducerApp=sum");
        d = wordcount();
        g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", "1n", NULL), ==, 0);
        assert_refused(d, "not with App=wordcount");
}

static void test_a_list_of_fields_is_read(void)
{
        SortField f[SORT_FIELDS_MAX];

        g_assert_cmpint(sort_fields_parse("", 1, f, NULL), ==, 0);
        g_assert_cmpint(sort_fields_parse("12nr,3,4r,5n,6rn", 12, f, NULL), ==, 5);
        g_assert_true(f[0].number == 12 && f[0].numeric && f[0].reverse);
        g_assert_true(f[1].number == 3 && !f[1].numeric && !f[1].reverse);
        g_assert_true(f[2].number == 4 && !f[2].numeric && f[2].reverse);
        g_assert_true(f[3].number == 5 && f[3].numeric && !f[3].reverse);
        g_assert_true(f[4].number == 6 && f[4].numeric && f[4].reverse);
        g_assert_cmpint(sort_fields_parse("7,8,9x", 12, f, NULL), ==, -EINVAL);
        g_assert_cmpuint(f[0].number, ==, 12); /* as it was */
}

static void test_archives_are_shipped_and_have_a_name_of_their_own(void)
{
        static const struct {
                const char *archive, *words;
        } bad[] = {{"b.tgz", "no such file"},
                   {"a.tgz#", "plain name"},
                   {"a.tgz#..", "plain name"},
                   {"a.tgz#x/y", "plain name"},
                   {"a.tgz#other", "another file"}};

        for (size_t i = 0; i <= ELEMENTSOF(bad); i++) {
                JobDesc *d = command("cat", "wc");

                g_assert_cmpint(job_desc_add_file(d, "a.tgz", NULL), ==, 0);
                g_assert_cmpint(job_desc_add_file(d, "other", NULL), ==, 0);
                g_assert_cmpint(job_desc_add_string(d, "Archives",
                                                    i < ELEMENTSOF(bad) ? bad[i].archive : "a.tgz",
                                                    NULL),
                                ==, 0);
                if (i < ELEMENTSOF(bad)) {
                        assert_refused(d, bad[i].words);
                        continue;
                }
                g_assert_cmpint(job_desc_check(d, NULL), ==, 0);
                job_desc_free(d);
        }
}

static void test_backups_are_made_unless_refused(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = wordcount(), *again = NULL;
        g_autoptr(GByteArray) blob = NULL;
        _cleanup_error_ Error e = {};
        char type;

        g_assert_true(d->backups);
        g_assert_cmpint(job_desc_type("Backups", &type, NULL), ==, 0);
        g_assert_cmpint(type, ==, 'b');
        g_assert_cmpint(job_desc_set_number(d, "Backups", 1, &e), ==, -EINVAL);
        g_assert_cmpint(job_desc_set_boolean(d, "Reduces", true, NULL), ==, -EINVAL);
        g_assert_cmpint(job_desc_set_boolean(d, "Backups", false, NULL), ==, 0);
        blob = job_desc_serialize(d);
        g_assert_cmpint(job_desc_deserialize(blob->data, blob->len, &again), ==, 0);
        g_assert_false(again->backups);
}

static void test_priorities_have_names_and_an_order(void)
{
        static const char *const names[] = {"very-low", "low", "normal", "high", "very-high"};
        JobDesc *bad = wordcount();
        int last = INT_MIN;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(job_desc_freep) JobDesc *d = wordcount();

                g_assert_cmpint(job_desc_priority(d), ==, 0);
                g_assert_cmpint(job_desc_set_string(d, "Priority", names[i], NULL), ==, 0);
                g_assert_cmpint(job_desc_check(d, NULL), ==, 0);
                g_assert_cmpint(job_desc_priority(d), >, last);
                last = job_desc_priority(d);
                g_assert_cmpint(i == 2, ==, last == 0);
        }
        g_assert_cmpint(job_desc_set_string(bad, "Priority", "urgent", NULL), ==, 0);
        assert_refused(bad, "Priority=urgent (known: very-low");
}

static void test_paths_are_absolute(void)
{
        JobDesc *d = wordcount();

        g_assert_cmpint(job_desc_set_string(d, "Output", "out", NULL), ==, 0);
        assert_refused(d, "Output=out");

        d = wordcount();
        g_assert_cmpint(job_desc_set_string(d, "Output", "//", NULL), ==, 0);
        assert_refused(d, "cannot be a job's output");

        d = wordcount();
        g_assert_cmpint(job_desc_add_string(d, "Input", "file:b.txt", NULL), ==, 0);
        assert_refused(d, "not an absolute path");

        d = wordcount();
        g_assert_cmpint(job_desc_add_string(d, "Input", "gopher://x/", NULL), ==, 0);
        assert_refused(d, "PATH or file:PATH");
}

static void test_parts_of_a_command_do_not_go_with_an_app(void)
{
        JobDesc *d = wordcount();

        g_assert_cmpint(job_desc_set_string(d, "Reducer", "cat", NULL), ==, 0);
        assert_refused(d, "Combiner, Reducer and ReducerApp go with Mapper");

        d = wordcount();
        g_assert_cmpint(job_desc_set_string(d, "App", "", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(d, "Mapper", "cat", NULL), ==, 0);
        g_assert_cmpint(job_desc_add_string(d, "Args", "-x", NULL), ==, 0);
        assert_refused(d, "Args go with App");

        d = wordcount(); /* it has no use for them, and what is typed is never ignored */
        g_assert_cmpint(job_desc_add_string(d, "Args", "-x", NULL), ==, 0);
        assert_refused(d, "wordcount has no parameter \"-x\" (known: words=)");
}

static void test_variables_are_name_and_value(void)
{
        static const char *const bad[] = {"X", "=x", "1X=y", "A B=c"};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                JobDesc *d = wordcount();

                g_assert_cmpint(job_desc_add_string(d, "Env", bad[i], NULL), ==, 0);
                assert_refused(d, "NAME=VALUE");
        }
}

static void test_everything_has_a_size(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = wordcount();
        g_autofree char *name = g_strnfill(256, 'n'), *path = g_strnfill(4000, '/');
        int r = 0;

        g_assert_cmpint(job_desc_set_string(d, "Name", name, NULL), ==, -E2BIG);
        for (int i = 0; i < 1000 && r >= 0; i++)
                r = job_desc_add_string(d, "Input", path, NULL);
        g_assert_cmpint(r, ==, -E2BIG);
        g_assert_cmpuint(d->strings_bytes, <=, JOB_DESC_MAX_BYTES);

        r = 0;
        for (unsigned i = 0; i < JOB_STRINGS_MAX + 1 && r >= 0; i++)
                r = job_desc_add_string(d, "Args", "", NULL);
        g_assert_cmpint(r, ==, -E2BIG);
}

static void test_shipped_files_have_plain_names(void)
{
        static const char *const bad[] = {"", ".", "..", "a/b", "/etc/passwd", "m.py"};
        _cleanup_(job_desc_freep) JobDesc *d = wordcount();
        int r = 0;

        g_assert_cmpint(job_desc_add_file(d, "m.py", NULL), ==, 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                g_assert_cmpint(job_desc_add_file(d, bad[i], NULL), ==, -EINVAL);
        for (unsigned i = 1; i < JOB_FILES_MAX; i++) {
                g_autofree char *name = g_strdup_printf("f%u", i);

                g_assert_cmpint(job_desc_add_file(d, name, NULL), ==, 0);
        }
        r = job_desc_add_file(d, "one-too-many", NULL);
        g_assert_cmpint(r, ==, -E2BIG);
}

static void test_what_is_stored_is_read_back(void)
{
        _cleanup_(job_desc_freep) JobDesc *a = wordcount(), *b = NULL;
        g_autoptr(GByteArray) blob = NULL, again = NULL;

        g_assert_cmpint(job_desc_add_string(a, "Args", "two\nlines = one argument", NULL), ==, 0);
        g_assert_cmpint(job_desc_add_string(a, "Args", "", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_number(a, "SplitSize", UINT64_C(5000000000), NULL), ==, 0);
        g_assert_cmpint(job_desc_add_file(a, "m.py", NULL), ==, 0);
        ((JobShippedFile *) a->files->pdata[0])->size_bytes = 77;
        ((JobShippedFile *) a->files->pdata[0])->executable = true;
        a->planned_slots = 4711; /* a master that starts again must cut the same splits */
        a->cuts = UINT64_MAX;

        blob = job_desc_serialize(a);
        g_assert_cmpint(job_desc_deserialize(blob->data, blob->len, &b), ==, 0);
        again = job_desc_serialize(b);
        g_assert_cmpmem(blob->data, blob->len, again->data, again->len);
        g_assert_cmpuint(b->args->len, ==, 2);
        g_assert_cmpstr(b->args->pdata[0], ==, "two\nlines = one argument");
        g_assert_cmpuint(b->split_size_bytes, ==, UINT64_C(5000000000));
        g_assert_true(((JobShippedFile *) b->files->pdata[0])->executable);
        g_assert_cmpuint(b->planned_slots, ==, 4711);
        g_assert_cmpuint(b->cuts, ==, UINT64_MAX);
}

static bool has_key(const GByteArray *blob, const char *key)
{
        return memmem(blob->data, blob->len, key, strlen(key));
}

/* An older master has the same database, and takes a row with a key that it does not know for
 * damaged. */
static void test_settings_that_older_masters_do_not_know_are_stored_where_they_are_used(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = command("cat", "wc"), *again = NULL;
        g_autoptr(GByteArray) plain = job_desc_serialize(d), blob = NULL;

        g_assert_false(has_key(plain, "SortKeyFields"));
        g_assert_false(has_key(plain, "IgnoreExitStatus"));
        g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", "1nr", NULL), ==, 0);
        g_assert_cmpint(job_desc_set_boolean(d, "IgnoreExitStatus", true, NULL), ==, 0);
        blob = job_desc_serialize(d);
        g_assert_cmpint(job_desc_deserialize(blob->data, blob->len, &again), ==, 0);
        g_assert_cmpstr(again->sort_key_fields, ==, "1nr");
        g_assert_true(again->ignore_exit_status);
}

static void test_new_settings_need_new_workers(void)
{
        _cleanup_(job_desc_freep) JobDesc *d = command("cat", "wc");
        const char *setting = NULL;

        g_assert_cmpuint(job_desc_program_level(d, &setting), ==, 0);
        g_assert_cmpstr(setting, ==, "");
        g_assert_cmpint(job_desc_set_boolean(d, "IgnoreExitStatus", true, NULL), ==, 0);
        g_assert_cmpuint(job_desc_program_level(d, &setting), ==, 1);
        g_assert_cmpstr(setting, ==, "IgnoreExitStatus");
        g_assert_cmpint(job_desc_set_boolean(d, "IgnoreExitStatus", false, NULL), ==, 0);
        g_assert_cmpint(job_desc_set_string(d, "SortKeyFields", "1n", NULL), ==, 0);
        g_assert_cmpuint(job_desc_program_level(d, &setting), ==, 1);
        g_assert_cmpstr(setting, ==, "SortKeyFields");
        g_assert_cmpuint(job_desc_program_level(d, NULL), <=, PROGRAM_LEVEL);
}

static void test_a_torn_blob_is_refused(void)
{
        _cleanup_(job_desc_freep) JobDesc *a = wordcount(), *b = NULL;
        g_autoptr(GByteArray) blob = job_desc_serialize(a);

        g_assert_cmpint(job_desc_deserialize(blob->data, blob->len - 1, &b), ==, -EBADMSG);
        g_assert_cmpint(job_desc_deserialize("", 0, &b), ==, -EBADMSG);
        g_assert_cmpint(job_desc_deserialize("Zebra=1", 8, &b), ==, -EBADMSG);
        g_assert_cmpint(job_desc_deserialize("no equals", 10, &b), ==, -EBADMSG);
        g_assert_cmpint(job_desc_deserialize("Reduces=x", 10, &b), ==, -EBADMSG);
        g_assert_cmpint(job_desc_deserialize("SortKeyFields=x", 16, &b), ==, -EBADMSG);
        g_assert_null(b);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/jobs/desc/a-word-count-with-defaults-is-accepted",
                        test_a_word_count_with_defaults_is_accepted);
        g_test_add_func("/jobs/desc/splits-of-a-command-are-left-to-planning",
                        test_splits_of_a_command_are_left_to_planning);
        g_test_add_func("/jobs/desc/exactly-one-program-is-asked-for",
                        test_exactly_one_program_is_asked_for);
        g_test_add_func("/jobs/desc/a-built-in-reduce-goes-with-a-mapper-and-nothing-else",
                        test_a_built_in_reduce_goes_with_a_mapper_and_nothing_else);
        g_test_add_func("/jobs/desc/an-unknown-app-is-answered-with-the-known-ones",
                        test_an_unknown_app_is_answered_with_the_known_ones);
        g_test_add_func("/jobs/desc/an-unknown-key-is-answered-with-the-closest",
                        test_an_unknown_key_is_answered_with_the_closest);
        g_test_add_func("/jobs/desc/numbers-have-both-their-ends",
                        test_numbers_have_both_their_ends);
        g_test_add_func("/jobs/desc/words-for-commands-that-are-none",
                        test_words_for_commands_that_are_none);
        g_test_add_func("/jobs/desc/words-for-commands-stand-alone",
                        test_words_for_commands_stand_alone);
        g_test_add_func("/jobs/desc/maps-alone-are-of-programs-without-a-reduce",
                        test_maps_alone_are_of_programs_without_a_reduce);
        g_test_add_func("/jobs/desc/fields-are-cut-where-a-separator-can-be",
                        test_fields_are_cut_where_a_separator_can_be);
        g_test_add_func("/jobs/desc/keys-are-sorted-by-fields-that-they-have",
                        test_keys_are_sorted_by_fields_that_they_have);
        g_test_add_func("/jobs/sort-fields/a-list-of-fields-is-read",
                        test_a_list_of_fields_is_read);
        g_test_add_func("/jobs/desc/archives-are-shipped-and-have-a-name-of-their-own",
                        test_archives_are_shipped_and_have_a_name_of_their_own);
        g_test_add_func("/jobs/desc/paths-are-absolute", test_paths_are_absolute);
        g_test_add_func("/jobs/desc/parts-of-a-command-do-not-go-with-an-app",
                        test_parts_of_a_command_do_not_go_with_an_app);
        g_test_add_func("/jobs/desc/variables-are-name-and-value",
                        test_variables_are_name_and_value);
        g_test_add_func("/jobs/desc/everything-has-a-size", test_everything_has_a_size);
        g_test_add_func("/jobs/desc/shipped-files-have-plain-names",
                        test_shipped_files_have_plain_names);
        g_test_add_func("/jobs/desc/backups-are-made-unless-refused",
                        test_backups_are_made_unless_refused);
        g_test_add_func("/jobs/desc/priorities-have-names-and-an-order",
                        test_priorities_have_names_and_an_order);
        g_test_add_func("/jobs/desc/what-is-stored-is-read-back", test_what_is_stored_is_read_back);
        g_test_add_func(
                "/jobs/desc/settings-that-older-masters-do-not-know-are-stored-where-they-are-used",
                test_settings_that_older_masters_do_not_know_are_stored_where_they_are_used);
        g_test_add_func("/jobs/desc/new-settings-need-new-workers",
                        test_new_settings_need_new_workers);
        g_test_add_func("/jobs/desc/a-torn-blob-is-refused", test_a_torn_blob_is_refused);
        return g_test_run();
}

/*
 * The command line, and what becomes of it before it is sent: which options are known, which paths
 * are meant, which files go along.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cli/job-request.h"
#include "cli/verbs.h"

static int parse(Arguments *a, Error *e, const char *const *words)
{
        static char *argv[32];
        int argc = 0;

        argv[argc++] = (char *) "mrctl";
        while (*words)
                argv[argc++] = (char *) *words++;
        argv[argc] = NULL;
        return arguments_parse(argc, argv, a, e);
}

#define PARSE(a, e, ...) parse(a, e, (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const char *message, const char *const *words)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_error_ Error e = {};
        int r;

        r = parse(&a, &e, words);
        if (r >= 0)
                r = job_arguments_check(&a.job, &e);
        g_assert_cmpint(r, ==, -EINVAL);
        g_assert_cmpstr(e.message, ==, message);
}

#define REFUSED(message, ...) assert_refused(message, (const char *const[]){__VA_ARGS__, NULL})

static void test_options_may_stand_anywhere(void)
{
        _cleanup_(arguments_done) Arguments a = {};

        g_assert_cmpint(PARSE(&a, NULL, "--local", "run", "in1", "--app", "grep", "-q",
                              "--input=in2", "in3", "--reduces", "7", "--split-size=64K", "--",
                              "-v", "--app"),
                        ==, 0);
        g_assert_cmpstr(a.verb, ==, "run");
        g_assert_true(a.local && a.quiet);
        g_assert_cmpstr(a.job.app, ==, "grep");
        g_assert_cmpuint(a.job.inputs->len, ==, 3);
        g_assert_cmpuint(a.operands->len, ==, 0);
        g_assert_cmpuint(a.job.reduces, ==, 7);
        g_assert_cmpuint(a.job.split_size_bytes, ==, 65536);
        g_assert_cmpstr(a.job.app_args[0], ==, "-v");
        g_assert_cmpstr(a.job.app_args[1], ==, "--app");
        g_assert_null(a.job.app_args[2]);
}

static void test_every_mistake_has_its_sentence(void)
{
        REFUSED("unknown option --foo", "--foo", "list");
        REFUSED("unknown option --reducs (did you mean --reduces?)", "run", "--reducs=3");
        REFUSED("option --reduce is ambiguous: --reducer, --reducer-app, --reduces, --reduce-field-separator",
                "run", "--reduce", "3");
        REFUSED("unknown option -x", "-x", "list");
        REFUSED("unknown option -mapper (did you mean --mapper?)", "run", "-mapper", "cat");
        REFUSED("unknown option -file (did you mean --file?)", "run", "in", "-file");
        REFUSED("unknown option -x", "run", "-x", "--mapper", "-mapper");
        REFUSED("option --mapper needs an argument", "run", "--mapper");
        REFUSED("option --quiet takes no argument", "list", "--quiet=yes");
        REFUSED("unknown verb 'lits' (did you mean 'list'?)", "lits");
        REFUSED("unknown verb 'xyzzy'; 'mrctl --help' lists them", "xyzzy");
        REFUSED("'list' takes no option --mapper", "list", "--mapper=x");
        REFUSED("'list' takes no operands, not '3'", "list", "3");
        REFUSED("'cat' takes one job, not '4'", "cat", "3", "4");
        REFUSED("'cancel' needs a job's id ('mrctl list' shows them)", "cancel");
        REFUSED("--json must be short, pretty or off, not 'xml'", "list", "--json=xml");
        REFUSED("--env must be NAME=VALUE, not '=x'", "run", "--env", "=x");
        REFUSED("--slots is for --local: a running worker has its own", "run", "--slots=2", "x");
        REFUSED("no input: name a file, a directory or a glob", "run", "--app", "wordcount");
        REFUSED("what shall run? Give --app or --mapper", "run", "in");
        REFUSED("--app cannot be combined with --mapper, --combiner, --reducer or --reducer-app",
                "run", "in", "--app", "wordcount", "--reducer", "x");
        REFUSED("--skip-bad-records needs --max-attempts of 2 or more: a task looks for such "
                "records when it has failed once",
                "run", "in", "--mapper", "cat", "--skip-bad-records=1", "--max-attempts=1");
        REFUSED("--map-field-separator must not be empty: is a variable not set? (TAB is \\t)",
                "run", "in", "--mapper", "cat", "--map-field-separator=");
        REFUSED("--reduce-field-separator must not be empty: is a variable not set? (TAB is \\t)",
                "run", "in", "--mapper", "cat", "--reduce-field-separator", "");
        REFUSED("standard input cannot be an input: put it into a file (one whose name is - is "
                "./-)",
                "run", "--app=sort", "-");
        REFUSED("arguments behind -- are for --app; a command's own belong into its quotes", "run",
                "in", "--mapper", "cat", "--", "-n");
}

static void test_numbers_out_of_range_say_the_range(void)
{
        REFUSED("--reduces must be a number from 0 to 10000, not ''", "run", "--reduces=");
        REFUSED("--reduces must be a number from 0 to 10000, not '1000000000'", "run",
                "--reduces=1000000000");
        REFUSED("--reduces must be a number from 0 to 10000, not '-1'", "run", "--reduces", "-1");
        REFUSED("--max-attempts must be a number from 1 to 100, not '101'", "submit",
                "--max-attempts=101");
        REFUSED("--split-size must be a size from 4K to 1T, such as 32M, not '4095'", "run",
                "--split-size=4095");
        REFUSED("--split-size must be a size from 4K to 1T, such as 32M, not '2T'", "run",
                "--split-size=2T");
}

typedef struct Fixture {
        char *dir;
} Fixture;

static void write_file(const char *name, mode_t mode, const char *content)
{
        _cleanup_close_ int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, content, strlen(content)), ==, 0);
}

static void setup(Fixture *f, const void *data)
{
        f->dir = g_dir_make_tmp("cli-XXXXXX", NULL);
        g_assert_cmpint(chdir(f->dir), ==, 0);
        (void) g_setenv("PWD", f->dir, TRUE);
        g_assert_cmpint(mkdir("sub", 0700), ==, 0);
        write_file("m.py", 0700, "mapper");
        write_file("r.py", 0700, "reducer");
        write_file("data.txt", 0600, "data");
        write_file("sub/m.py", 0700, "another");
}

static void teardown(Fixture *f, const void *data)
{
        g_assert_cmpint(chdir("/"), ==, 0);
        g_assert_cmpint(rm_rf_at(AT_FDCWD, f->dir), ==, 0);
        g_free(f->dir);
}

static int request(JobRequest *q, Arguments *a, Error *e, const char *const *words)
{
        g_assert_cmpint(parse(a, e, words), ==, 0);
        return job_request_init(q, &a->job, e);
}

#define REQUEST(q, a, e, ...) request(q, a, e, (const char *const[]){__VA_ARGS__, NULL})

static const ShippedFile *shipped(const JobRequest *q, guint i)
{
        g_assert_cmpuint(i, <, q->files->len);
        return &g_array_index(q->files, ShippedFile, i);
}

static void test_relative_paths_become_absolute_without_dots(Fixture *f, const void *data)
{
        static const struct {
                const char *given, *suffix;
        } cases[] = {{"a", "/a"},
                     {"./a", "/a"},
                     {"sub/../a", "/a"},
                     {".", ""},
                     {"./", ""},
                     {".//a", "/a"},
                     {"sub//./x/", "/sub/x"},
                     {"sub/*.txt", "/sub/*.txt"},
                     {"missing/../a", "/a"},
                     {"sub/..", ""},
                     {"...", "/..."}};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                g_autofree char *expected = g_strconcat(f->dir, cases[i].suffix, NULL);
                g_autofree char *got = path_make_absolute(cases[i].given);

                g_assert_cmpstr(got, ==, expected);
        }
}

/* As cd -P and the kernel have it: the parent of a link is its target's. */
static void test_the_parent_of_a_link_is_its_targets(Fixture *f, const void *data)
{
        g_autofree char *link = g_build_filename(f->dir, "usr-link", NULL);
        g_autofree char *given = g_build_filename(link, "..", "a*", NULL), *got = NULL, *top = NULL;

        g_assert_cmpint(symlink("/usr/lib", link), ==, 0);
        got = path_make_absolute(given);
        g_assert_cmpstr(got, ==, "/usr/a*");
        top = path_make_absolute("/usr/../../..");
        g_assert_cmpstr(top, ==, "/");
}

static void test_a_link_by_which_we_came_is_kept(Fixture *f, const void *data)
{
        g_autofree char *link = g_build_filename(f->dir, "link", NULL);
        g_autofree char *expected = g_build_filename(link, "a", NULL), *got = NULL;

        g_assert_cmpint(symlink("sub", link), ==, 0);
        g_assert_cmpint(chdir(link), ==, 0);
        (void) g_setenv("PWD", link, TRUE);
        got = path_make_absolute("a");
        g_assert_cmpstr(got, ==, expected);
}

static void test_uris_stay_and_file_uris_become_absolute(Fixture *f, const void *data)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};
        g_autofree char *first = g_strconcat("file:", f->dir, "/x", NULL);
        g_autofree char *fourth = g_strconcat(f->dir, "/a:b", NULL);
        g_autofree char *output = g_strconcat(f->dir, "/out", NULL);

        g_assert_cmpint(REQUEST(&q, &a, NULL, "run", "--app=x", "--output=out", "file:x",
                                "file:///y", "each:/var/log/*", "./a:b"),
                        ==, 0);
        g_assert_cmpstr(q.inputs->pdata[0], ==, first);
        g_assert_cmpstr(q.inputs->pdata[1], ==, "file:/y");
        g_assert_cmpstr(q.inputs->pdata[2], ==, "each:/var/log/*");
        g_assert_cmpstr(q.inputs->pdata[3], ==, fourth);
        g_assert_cmpstr(q.output, ==, output);
        g_assert_true(id128_is_valid(q.request_id));
}

static void test_a_command_that_names_a_file_ships_it(Fixture *f, const void *data)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};
        g_autofree char *mapper = g_strconcat("  ", f->dir, "/m.py -x 'a b' | cat", NULL);
        char content[16] = {};

        g_assert_cmpint(REQUEST(&q, &a, NULL, "run", "in", "--mapper", mapper, "--combiner",
                                "./m.py", "--reducer", "./r.py", "--file", "data.txt"),
                        ==, 0);
        g_assert_cmpstr(q.mapper, ==, "./m.py -x 'a b' | cat");
        g_assert_cmpstr(q.combiner, ==, "./m.py");
        g_assert_cmpstr(q.reducer, ==, "./r.py");
        g_assert_cmpuint(q.files->len, ==, 3); /* m.py once */
        g_assert_cmpstr(shipped(&q, 0)->name, ==, "data.txt");
        g_assert_cmpstr(shipped(&q, 1)->name, ==, "m.py");
        g_assert_cmpstr(shipped(&q, 2)->name, ==, "r.py");
        g_assert_cmpint(read_full(shipped(&q, 1)->fd, content, sizeof(content)), ==, 6);
        g_assert_cmpstr(content, ==, "mapper");
}

static void test_other_commands_are_sent_as_they_are(Fixture *f, const void *data)
{
        static const char *const commands[] = {"cat",          "/usr/bin/env python3 m.py",
                                               "./missing.py", "python3 ./m.py",
                                               "'./m.py' -x",  "$HOME/m.py",
                                               "./sub",        "A=./m.py true",
                                               "/bin/cat"};

        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                _cleanup_(arguments_done) Arguments a = {};
                _cleanup_(job_request_done) JobRequest q = {};

                g_assert_cmpint(REQUEST(&q, &a, NULL, "run", "in", "--mapper", commands[i]), ==, 0);
                g_assert_cmpstr(q.mapper, ==, commands[i]);
                g_assert_cmpuint(q.files->len, ==, 0);
        }
}

static void assert_cannot_ship(int code, const char *message, const char *const *words)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};
        _cleanup_error_ Error e = {};

        g_assert_cmpint(request(&q, &a, &e, words), ==, -code);
        g_assert_cmpstr(e.message, ==, message);
}

static void test_what_cannot_be_shipped_is_said(Fixture *f, const void *data)
{
        assert_cannot_ship(
                EEXIST, "cannot ship both ./m.py and sub/m.py: both would be called m.py",
                (const char *[]){"run", "in", "--mapper", "./m.py", "--reducer", "sub/m.py", NULL});
        assert_cannot_ship(ENOENT, "cannot ship missing: No such file or directory",
                           (const char *[]){"run", "in", "--app", "x", "--file", "missing", NULL});
        assert_cannot_ship(EINVAL, "cannot ship sub: not a regular file",
                           (const char *[]){"run", "in", "--app", "x", "--file", "sub", NULL});
        assert_cannot_ship(EILSEQ, "the input is not UTF-8 and cannot be sent over the bus: /\\xff",
                           (const char *[]){"run", "/\xff", "--app", "x", NULL});
}

/* sd-bus takes nothing else in a string, and would name neither the option nor the way out. */
static void test_what_is_not_utf8_is_named(Fixture *f, const void *data)
{
        static const char *const texts[] = {
                "--output",          "--name",     "--reuse",
                "--intermediate",    "--priority", "--intermediate-compression",
                "--input-format",    "--app",      "--output-compression",
                "--sort-key-fields", "--reducer",  "--reducer-app"};
        static const char *const separators[] = {"--map-field-separator",
                                                 "--reduce-field-separator"};

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                g_autofree char *message =
                        g_strconcat(texts[i], " is not UTF-8 and cannot be sent over the bus: ",
                                    g_str_equal(texts[i], "--output") ? f->dir : "",
                                    g_str_equal(texts[i], "--output") ? "/" : "", "\\xff", NULL);

                assert_cannot_ship(EILSEQ, message,
                                   (const char *[]){"run", "in", texts[i], "\xff", NULL});
        }
        for (size_t i = 0; i < ELEMENTSOF(separators); i++) {
                g_autofree char *message = g_strconcat(
                        separators[i],
                        " is not UTF-8 and cannot be sent over the bus as it is: write such a byte "
                        "as \\xNN, here '\\xff'",
                        NULL);

                assert_cannot_ship(EILSEQ, message,
                                   (const char *[]){"run", "in", separators[i], "\xff", NULL});
        }
}

static void test_an_archive_with_a_hash_needs_a_directory(Fixture *f, const void *data)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};

        write_file("a#b.tar", 0600, "archive");
        assert_cannot_ship(EINVAL,
                           "cannot ship a#b.tar: what is behind the last # is the directory it is "
                           "unpacked in; add one, a#b.tar#DIRECTORY",
                           (const char *[]){"run", "in", "--app=x", "--archive", "a#b.tar", NULL});
        g_assert_cmpint(REQUEST(&q, &a, NULL, "run", "in", "--app=x", "--archive", "a#b.tar#d"), ==,
                        0);
        g_assert_cmpstr(shipped(&q, 0)->name, ==, "a#b.tar");
        g_assert_cmpstr(q.archives->pdata[0], ==, "a#b.tar#d");
}

static void test_a_file_that_looks_like_a_uri_is_told_its_name(Fixture *f, const void *data)
{
        write_file("error:1.log", 0600, "data");
        assert_cannot_ship(EINVAL, "error:1.log looks like a URI: the file here is ./error:1.log",
                           (const char *[]){"run", "--app=x", "error:1.log", NULL});
}

static void assert_unshipped(const char *path, const char *const *words)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};
        g_autofree char *found = NULL;

        g_assert_cmpint(request(&q, &a, NULL, words), ==, 0);
        found = job_request_find_unshipped(&q);
        g_assert_cmpstr(found, ==, path);
}

#define UNSHIPPED(path, ...)                                                                       \
        assert_unshipped(path, (const char *const[]){"run", "in", __VA_ARGS__, NULL})

static void test_a_script_that_was_not_shipped_is_found(Fixture *f, const void *data)
{
        write_file("word", 0600, "");
        UNSHIPPED("m.py", "--mapper", "python3 m.py");
        UNSHIPPED("./m.py", "--mapper", "cat", "--reducer", "python3 -u './m.py' | sort");
        UNSHIPPED("data.txt", "--mapper", "./m.py data.txt");
        UNSHIPPED("sub/m.py", "--mapper", "cat", "--combiner", "python3 sub/m.py");
        UNSHIPPED("sub/m.py", "--mapper", "python3 sub/m.py", "--file", "sub/m.py");
        UNSHIPPED(NULL, "--mapper", "python3 m.py", "--file", "m.py");
        UNSHIPPED(NULL, "--mapper", "python3 ./m.py", "--file", "m.py");
        UNSHIPPED(NULL, "--mapper", "./m.py < m.py");
        UNSHIPPED(NULL, "--mapper", "grep word");
        UNSHIPPED(NULL, "--mapper", "python3 missing.py", "--reducer", "none");
        UNSHIPPED(NULL, "--app", "sort");
}

static void test_an_output_is_no_uri(Fixture *f, const void *data)
{
        _cleanup_(arguments_done) Arguments a = {};
        _cleanup_(job_request_done) JobRequest q = {};
        g_autofree char *output = g_strconcat(f->dir, "/hdfs:/a", NULL);

        assert_cannot_ship(EINVAL,
                           "cannot write to hdfs://a: an output is PATH or file:PATH, and a "
                           "directory of that name is ./hdfs://a",
                           (const char *[]){"run", "in", "--app=x", "--output=hdfs://a", NULL});
        g_assert_cmpint(REQUEST(&q, &a, NULL, "run", "--app=x", "--output=./hdfs://a", "in"), ==,
                        0);
        g_assert_cmpstr(q.output, ==, output);
}

#define ADD(name, function) g_test_add(name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cli/arguments/options-may-stand-anywhere",
                        test_options_may_stand_anywhere);
        g_test_add_func("/cli/arguments/every-mistake-has-its-sentence",
                        test_every_mistake_has_its_sentence);
        g_test_add_func("/cli/arguments/numbers-out-of-range-say-the-range",
                        test_numbers_out_of_range_say_the_range);
        ADD("/cli/request/relative-paths-become-absolute-without-dots",
            test_relative_paths_become_absolute_without_dots);
        ADD("/cli/request/the-parent-of-a-link-is-its-targets",
            test_the_parent_of_a_link_is_its_targets);
        ADD("/cli/request/a-link-by-which-we-came-is-kept", test_a_link_by_which_we_came_is_kept);
        ADD("/cli/request/uris-stay-and-file-uris-become-absolute",
            test_uris_stay_and_file_uris_become_absolute);
        ADD("/cli/request/what-is-not-utf8-is-named", test_what_is_not_utf8_is_named);
        ADD("/cli/request/an-archive-with-a-hash-needs-a-directory",
            test_an_archive_with_a_hash_needs_a_directory);
        ADD("/cli/request/a-file-that-looks-like-a-uri-is-told-its-name",
            test_a_file_that_looks_like_a_uri_is_told_its_name);
        ADD("/cli/request/a-script-that-was-not-shipped-is-found",
            test_a_script_that_was_not_shipped_is_found);
        ADD("/cli/request/an-output-is-no-uri", test_an_output_is_no_uri);
        ADD("/cli/request/a-command-that-names-a-file-ships-it",
            test_a_command_that_names_a_file_ships_it);
        ADD("/cli/request/other-commands-are-sent-as-they-are",
            test_other_commands_are_sent_as_they_are);
        ADD("/cli/request/what-cannot-be-shipped-is-said", test_what_cannot_be_shipped_is_said);
        return g_test_run();
}

/*
 * mr-task, driven as its worker drives it: a real process behind a socket pair.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "platform/packet.h"
#include "platform/spawn.h"
#include "records/run-file.h"
#include "task.pb-c.h"

/* A sanitizer keeps freed memory for a while, so growth tells nothing; leaks it finds itself. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

typedef Mapreduced__Task__V1__FromTask FromTask;
typedef Mapreduced__Task__V1__ToTask ToTask;
typedef Mapreduced__V1__Program Program;

typedef struct TaskProcess {
        pid_t pid;
        int link;
} TaskProcess;

/* One attempt: what goes in, and what came out. */
typedef struct Try {
        Program program;
        uint32_t task;
        uint32_t partitions;
        uint64_t memory_bytes;
        bool sort_output;
        Mapreduced__V1__Piece *pieces;
        int *input_fds; /* of the pieces, or of the run files */
        size_t inputs;
        int output;
        size_t progresses;
        FromTask *end; /* holds the Done */
} Try;

/* ---- the process ---- */

static TaskProcess task_new(void)
{
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *here = g_path_get_dirname(self);
        g_autofree char *path = g_build_filename(here, "../../daemons/mr-task/mr-task", NULL);
        char *argv[] = {(char *) "mr-task", NULL};
        SpawnFd fd = {.theirs = 3};
        SpawnOptions o = {.fds = &fd, .fd_count = 1, .cwd_fd = -1};
        int pair[2];
        TaskProcess t;

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
        fd.ours = pair[1];
        g_assert_cmpint(spawn(path, argv, &o, &t.pid), ==, 0);
        (void) close(pair[1]);
        t.link = pair[0];
        return t;
}

static void task_end(TaskProcess *t)
{
        int status;

        (void) close(t->link);
        g_assert_cmpint(waitpid(t->pid, &status, 0), ==, t->pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void tell(TaskProcess *t, ToTask *m, const int *fds, size_t fd_count)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        size_t size = mapreduced__task__v1__to_task__pack(m, buffer);

        g_assert_cmpint(packet_send(t->link, buffer, size, fds, fd_count), ==, 0);
}

static FromTask *hear(TaskProcess *t)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        int fds[PACKET_MAX_FDS];
        size_t count;
        FromTask *m;
        ssize_t n;

        n = packet_recv(t->link, buffer, fds, &count);
        g_assert_cmpint(n, >, 0);
        g_assert_cmpuint(count, ==, 0);
        m = mapreduced__task__v1__from_task__unpack(NULL, (size_t) n, buffer);
        g_assert_nonnull(m);
        return m;
}

static int file_of(const void *data, size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, data, size), ==, 0);
        return fd;
}

static void try_start(TaskProcess *t, Try *y)
{
        Mapreduced__Task__V1__AttemptStart start = MAPREDUCED__TASK__V1__ATTEMPT_START__INIT;
        ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        int scratch = file_of("", 0), cwd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (y->output <= 0)
                y->output = file_of("", 0);
        start.kind = y->pieces ? MAPREDUCED__V1__TASK_KIND__MAP : MAPREDUCED__V1__TASK_KIND__REDUCE;
        start.job_id = (char *) "0123";
        start.job_name = (char *) "a job";
        start.task = y->task;
        start.program = &y->program;
        start.partitions = y->partitions;
        start.memory_bytes = y->memory_bytes;
        start.sort_output = y->sort_output;
        start.maps = (uint32_t) y->inputs;
        m.kind_case = MAPREDUCED__TASK__V1__TO_TASK__KIND_START;
        m.start = &start;
        tell(t, &m, (int[]){y->output, scratch, cwd}, 3);
        (void) close(scratch);
        (void) close(cwd);
}

static void add_segment(Try *y, size_t i, Mapreduced__Task__V1__Segment *s)
{
        _cleanup_error_ Error e = {};

        mapreduced__task__v1__segment__init(s);
        s->map = (uint32_t) i;
        s->attempt = 7;
        if (run_file_segment(y->input_fds[i], y->partitions, y->task, &s->offset, &s->length, &e) <
            0)
                s->length = 1000; /* a test of bad segments */
}

static void give_batch(TaskProcess *t, Try *y, size_t first, size_t count)
{
        Mapreduced__Task__V1__AttemptInput input = MAPREDUCED__TASK__V1__ATTEMPT_INPUT__INIT;
        ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        g_autofree Mapreduced__Task__V1__Segment *segments = NULL;
        g_autofree void **pointers = g_new(void *, count + 1);

        if (y->pieces) {
                for (size_t i = 0; i < count; i++)
                        pointers[i] = &y->pieces[first + i];
                input.pieces = (Mapreduced__V1__Piece **) pointers;
                input.n_pieces = count;
        } else {
                segments = g_new0(Mapreduced__Task__V1__Segment, count);
                for (size_t i = 0; i < count; i++) {
                        add_segment(y, first + i, &segments[i]);
                        pointers[i] = &segments[i];
                }
                input.segments = (Mapreduced__Task__V1__Segment **) pointers;
                input.n_segments = count;
        }
        input.last = first + count == y->inputs;
        m.kind_case = MAPREDUCED__TASK__V1__TO_TASK__KIND_INPUT;
        m.input = &input;
        tell(t, &m, y->input_fds + first, count);
}

/* Small batches, so that the task has to ask again. */
static const Mapreduced__Task__V1__Done *try_run(TaskProcess *t, Try *y)
{
        size_t given = 0;

        try_start(t, y);
        for (;;) {
                FromTask *m = hear(t);

                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_DONE) {
                        y->end = m;
                        return m->done;
                }
                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_NEED_INPUT) {
                        size_t count = MIN(y->inputs - given, 5);

                        give_batch(t, y, given, count);
                        given += count;
                } else
                        y->progresses++;
                mapreduced__task__v1__from_task__free_unpacked(m, NULL);
        }
}

static void try_done(Try *y)
{
        for (size_t i = 0; i < y->inputs; i++)
                (void) close(y->input_fds[i]);
        g_free(y->input_fds);
        g_free(y->pieces);
        if (y->end)
                mapreduced__task__v1__from_task__free_unpacked(y->end, NULL);
        if (y->output > 0)
                (void) close(y->output);
        *y = (Try){};
}

static void must_succeed(TaskProcess *t, Try *y)
{
        const Mapreduced__Task__V1__Done *d = try_run(t, y);

        g_assert_cmpstr(d->error, ==, "");
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED);
}

static uint64_t counter(const Try *y, const char *name)
{
        const Mapreduced__Task__V1__Done *d = y->end->done;

        for (size_t i = 0; i < d->n_counters; i++)
                if (g_str_equal(d->counters[i]->name, name))
                        return d->counters[i]->value;
        return 0;
}

static Program app(const char *name)
{
        Program p = MAPREDUCED__V1__PROGRAM__INIT;

        p.app = (char *) name;
        return p;
}

static Program commands(const char *mapper, const char *combiner, const char *reducer)
{
        Program p = MAPREDUCED__V1__PROGRAM__INIT;

        p.mapper = (char *) mapper;
        p.combiner = (char *) combiner;
        p.reducer = (char *) reducer;
        return p;
}

/* ---- whole jobs ---- */

/* Gives @y the pieces of @text cut every @piece_bytes; they are @path's, whatever that is. */
static void set_text(Try *y, const char *text, size_t size, size_t piece_bytes)
{
        int fd = file_of(text, size);
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        y->inputs = (size + piece_bytes - 1) / piece_bytes;
        y->pieces = g_new0(Mapreduced__V1__Piece, y->inputs + 1);
        y->input_fds = g_new(int, y->inputs + 1);
        for (size_t i = 0; i < y->inputs; i++) {
                Mapreduced__V1__Piece *p = &y->pieces[i];

                mapreduced__v1__piece__init(p);
                p->path = (char *) "/the/input";
                p->offset = i * piece_bytes;
                p->length = MIN(piece_bytes, size - p->offset);
                p->file_size = size;
                p->mtime_ns = st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
                y->input_fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        }
        (void) close(fd);
}

static char *content(int fd, size_t *ret_size)
{
        struct stat st;
        char *text;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        text = g_malloc((size_t) st.st_size + 1);
        g_assert_cmpint(pread_full(fd, text, (size_t) st.st_size, 0), ==, st.st_size);
        text[st.st_size] = '\0';
        if (ret_size)
                *ret_size = (size_t) st.st_size;
        return text;
}

typedef struct Job {
        Program program;
        size_t maps;
        size_t piece_bytes;
        uint32_t partitions;
        uint64_t memory_bytes;
        bool sort_output;
} Job;

/* Runs a job over @text, its maps each over a run of lines; returns its parts, one after another. */
static char *run_job(TaskProcess *t, const Job *job, const char *text, size_t size)
{
        g_autofree int *runs = g_new(int, job->maps);
        GString *out = g_string_new(NULL);
        size_t at = 0;

        for (size_t i = 0; i < job->maps; i++) {
                size_t end = i + 1 == job->maps ? size : MAX(at, size * (i + 1) / job->maps);
                Try y = {.program = job->program,
                         .task = (uint32_t) i,
                         .partitions = job->partitions,
                         .memory_bytes = job->memory_bytes};

                while (end > at && end < size && text[end - 1] != '\n')
                        end++;
                set_text(&y, text + at, end - at, job->piece_bytes);
                at = end;
                must_succeed(t, &y);
                runs[i] = fcntl(y.output, F_DUPFD_CLOEXEC, 0);
                try_done(&y);
        }
        for (uint32_t p = 0; p < job->partitions; p++) {
                Try y = {.program = job->program,
                         .task = p,
                         .partitions = job->partitions,
                         .inputs = job->maps,
                         .memory_bytes = job->memory_bytes,
                         .sort_output = job->sort_output};
                g_autofree char *part = NULL;

                y.input_fds = g_new(int, job->maps);
                for (size_t i = 0; i < job->maps; i++)
                        y.input_fds[i] = fcntl(runs[i], F_DUPFD_CLOEXEC, 0);
                must_succeed(t, &y);
                part = content(y.output, NULL);
                g_string_append(out, part);
                try_done(&y);
        }
        for (size_t i = 0; i < job->maps; i++)
                (void) close(runs[i]);
        return g_string_free(out, FALSE);
}

static int compare_strings(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static char *sorted_lines(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        qsort(lines, g_strv_length(lines), sizeof(char *), compare_strings);
        return g_strjoinv("\n", lines);
}

/* Words of ASCII text, by nothing but strtok()'s elder sister and a hash table. */
static char *expected_counts(const char *text)
{
        g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) words = g_strsplit_set(text, " \t\n", -1);
        GString *out = g_string_new(NULL);
        GHashTableIter iter;
        gpointer key, value;
        g_autofree char *all = NULL;

        for (size_t i = 0; words[i]; i++)
                if (words[i][0])
                        g_hash_table_insert(counts, g_strdup(words[i]),
                                            GSIZE_TO_POINTER(GPOINTER_TO_SIZE(g_hash_table_lookup(
                                                                     counts, words[i])) +
                                                             1));
        g_hash_table_iter_init(&iter, counts);
        while (g_hash_table_iter_next(&iter, &key, &value))
                g_string_append_printf(out, "%s\t%zu\n", (char *) key, GPOINTER_TO_SIZE(value));
        all = g_string_free(out, FALSE);
        return sorted_lines(all);
}

static char *random_text(size_t words, unsigned vocabulary)
{
        GString *s = g_string_new(NULL);

        for (size_t i = 0; i < words; i++) {
                unsigned n = (unsigned) g_test_rand_int_range(0, (int) vocabulary);

                g_string_append_printf(s, n % 5 ? "w%u%c" : "a-rather-long-word-number-%u%c", n,
                                       " \n\t"[n % 3]);
        }
        return g_string_free(s, FALSE);
}

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

static const char wordcount_mapper[] = "tr -s ' \\t' '\\n' | grep -v '^$' | sed 's/$/\\t1/'; true";
static const char wordcount_reducer[] =
        "awk -F '\\t' '$1 != k {if (NR > 1) print k \"\\t\" n; k = $1; n = 0} "
        "{n += $2} END {if (NR) print k \"\\t\" n}'";

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

static void assert_contains(const char *text, const char *part)
{
        if (!strstr(text, part))
                g_error("\"%s\" does not say \"%s\"", text, part);
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
        Try y = {.program = commands("echo reporter:counter:my,lines,2 >&2; cat >/dev/null; "
                                     "echo reporter:counter:my,lines,40 >&2; "
                                     "echo reporter:counter:bad >&2; "
                                     "printf 'reporter:status:almost \\377there\\n' >&2; sleep 0.6",
                                     "", ""),
                 .partitions = 1};
        bool seen = false;

        set_text(&y, "x\n", 2, 2);
        try_start(&t, &y);
        while (!y.end) {
                FromTask *m = hear(&t);

                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_NEED_INPUT)
                        give_batch(&t, &y, 0, 1);
                if (m->kind_case == MAPREDUCED__TASK__V1__FROM_TASK__KIND_PROGRESS)
                        seen = seen || g_str_equal(m->progress->status, "almost \xef\xbf\xbdthere");
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

/* As the shell's $(…) does it: whoever holds the output may still write to it. */
static void test_what_a_child_writes_after_its_parent_counts(void)
{
        TaskProcess t = task_new();
        Job job = {.program = commands("(sleep 0.5; echo late) & cat", "",
                                       "(sleep 0.5; echo end) & cat"),
                   .maps = 1,
                   .piece_bytes = 100,
                   .partitions = 1};
        g_autofree char *got = run_job(&t, &job, "early\n", 6);

        g_assert_cmpstr(got, ==, "early\t\nlate\t\nend\n");
        task_end(&t);
}

/* Waited for no longer than a while, and not passed over in silence: it may have had something to say. */
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

/* 32 MiB of one word and 32 MiB of "a a a": the room the first needed is not filled at once by the rest. */
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

static void test_a_reduce_of_hundreds_of_maps_merges_in_passes(void)
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
        ADD("word-count-is-right-for-any-cut", test_word_count_is_right_for_any_cut);
        ADD("word-count-counts-what-it-does", test_word_count_counts_what_it_does);
        ADD("commands-count-the-same-words", test_commands_count_the_same_words);
        ADD("without-a-reducer-the-part-is-the-sorted-records",
            test_without_a_reducer_the_part_is_the_sorted_records);
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
        ADD("a-changed-file-is-a-permanent-failure", test_a_changed_file_is_a_permanent_failure);
        ADD("a-full-disk-is-called-that", test_a_full_disk_is_called_that);
        ADD("a-bad-segment-is-told-apart", test_a_bad_segment_is_told_apart);
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
        ADD("long-lines-and-words-pass", test_long_lines_and_words_pass);
        ADD("a-long-word-costs-its-own-memory-alone", test_a_long_word_costs_its_own_memory_alone);
        ADD("a-reduce-of-hundreds-of-maps-merges-in-passes",
            test_a_reduce_of_hundreds_of_maps_merges_in_passes);
        ADD("no-input-is-an-empty-part", test_no_input_is_an_empty_part);
        ADD("a-process-serves-many-attempts-in-steady-memory",
            test_a_process_serves_many_attempts_in_steady_memory);
        return g_test_run();
}

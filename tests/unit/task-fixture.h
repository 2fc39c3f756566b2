/*
 * mr-task, driven as its worker drives it: a real process behind a socket pair.
 */
#pragma once

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
#include "sanitized.h"
#include "task.pb-c.h"

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
        int scratch; /* the attempt's own file, which grows with what it spills and with every pass
                        over that */
        size_t progresses;
        FromTask *end; /* holds the Done */
} Try;

/* ---- the process ---- */

static inline TaskProcess task_new(void)
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

static inline void task_end(TaskProcess *t)
{
        int status;

        (void) close(t->link);
        g_assert_cmpint(waitpid(t->pid, &status, 0), ==, t->pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static inline void tell(TaskProcess *t, ToTask *m, const int *fds, size_t fd_count)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        size_t size = mapreduced__task__v1__to_task__pack(m, buffer);

        g_assert_cmpint(packet_send(t->link, buffer, size, fds, fd_count), ==, 0);
}

static inline FromTask *hear(TaskProcess *t)
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

static inline int file_of(const void *data, size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_full(fd, data, size), ==, 0);
        return fd;
}

static inline void try_start(TaskProcess *t, Try *y)
{
        Mapreduced__Task__V1__AttemptStart start = MAPREDUCED__TASK__V1__ATTEMPT_START__INIT;
        ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        int cwd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        y->scratch = file_of("", 0);
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
        tell(t, &m, (int[]){y->output, y->scratch, cwd}, 3);
        (void) close(cwd);
}

static inline void add_segment(Try *y, size_t i, Mapreduced__Task__V1__Segment *s)
{
        _cleanup_error_ Error e = {};

        mapreduced__task__v1__segment__init(s);
        s->map = (uint32_t) i;
        s->attempt = 7;
        if (run_file_segment(y->input_fds[i], y->partitions, y->task, &s->offset, &s->length, &e) <
            0)
                s->length = 1000; /* a test of bad segments */
}

static inline void give_batch(TaskProcess *t, Try *y, size_t first, size_t count)
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

static inline void try_done(Try *y)
{
        for (size_t i = 0; i < y->inputs; i++)
                (void) close(y->input_fds[i]);
        g_free(y->input_fds);
        g_free(y->pieces);
        if (y->end)
                mapreduced__task__v1__from_task__free_unpacked(y->end, NULL);
        if (y->output > 0)
                (void) close(y->output);
        if (y->scratch > 0)
                (void) close(y->scratch);
        *y = (Try){};
}

static inline void must_succeed(TaskProcess *t, Try *y)
{
        const Mapreduced__Task__V1__Done *d = try_run(t, y);

        g_assert_cmpstr(d->error, ==, "");
        g_assert_cmpint(d->outcome, ==, MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED);
}

static inline uint64_t scratch_bytes(const Try *y)
{
        struct stat st;

        g_assert_cmpint(fstat(y->scratch, &st), ==, 0);
        return (uint64_t) st.st_size;
}

static inline uint64_t counter(const Try *y, const char *name)
{
        const Mapreduced__Task__V1__Done *d = y->end->done;

        for (size_t i = 0; i < d->n_counters; i++)
                if (g_str_equal(d->counters[i]->name, name))
                        return d->counters[i]->value;
        return 0;
}

static inline Program app(const char *name)
{
        Program p = MAPREDUCED__V1__PROGRAM__INIT;

        p.app = (char *) name;
        return p;
}

static inline Program commands(const char *mapper, const char *combiner, const char *reducer)
{
        Program p = MAPREDUCED__V1__PROGRAM__INIT;

        p.mapper = (char *) mapper;
        p.combiner = (char *) combiner;
        p.reducer = (char *) reducer;
        return p;
}

/* ---- whole jobs ---- */

/* Gives @y the pieces of @text cut every @piece_bytes; they are @path's, whatever that is. */
static inline void set_text(Try *y, const char *text, size_t size, size_t piece_bytes)
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

static inline char *content(int fd, size_t *ret_size)
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
        /* What all maps, and all reduces, have written to their scratch files. */
        uint64_t map_scratch_bytes, reduce_scratch_bytes;
} Job;

/* Runs a job over @text, its maps each over a run of lines; returns its parts, one after
 * another. */
static inline char *run_job(TaskProcess *t, Job *job, const char *text, size_t size)
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
                job->map_scratch_bytes += scratch_bytes(&y);
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
                job->reduce_scratch_bytes += scratch_bytes(&y);
                part = content(y.output, NULL);
                g_string_append(out, part);
                try_done(&y);
        }
        for (size_t i = 0; i < job->maps; i++)
                (void) close(runs[i]);
        return g_string_free(out, FALSE);
}

static inline int compare_strings(const void *a, const void *b)
{
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static inline char *sorted_lines(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        qsort(lines, g_strv_length(lines), sizeof(char *), compare_strings);
        return g_strjoinv("\n", lines);
}

/* Words of ASCII text, by nothing but strtok()'s elder sister and a hash table. */
static inline char *expected_counts(const char *text)
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

static inline char *random_text(size_t words, unsigned vocabulary)
{
        GString *s = g_string_new(NULL);

        for (size_t i = 0; i < words; i++) {
                unsigned n = (unsigned) g_test_rand_int_range(0, (int) vocabulary);

                g_string_append_printf(s, n % 5 ? "w%u%c" : "a-rather-long-word-number-%u%c", n,
                                       " \n\t"[n % 3]);
        }
        return g_string_free(s, FALSE);
}

static const char wordcount_mapper[] = "tr -s ' \\t' '\\n' | grep -v '^$' | sed 's/$/\\t1/'; true";
static const char wordcount_reducer[] =
        "awk -F '\\t' '$1 != k {if (NR > 1) print k \"\\t\" n; k = $1; n = 0} "
        "{n += $2} END {if (NR) print k \"\\t\" n}'";

static inline void assert_contains(const char *text, const char *part)
{
        if (!strstr(text, part))
                g_error("\"%s\" does not say \"%s\"", text, part);
}

/*
 * Fixed jobs over the library of the data path, in one process, to have their instructions counted.
 *
 *      instructions count|sort|resort|sum|lines|lines-merged|grep [TIMES-AS-MUCH]
 *
 * grep ends with status 77 where PCRE2 makes no machine code: it takes many times as many then.
 * A clock on a shared machine is off by a third from one run to the next; instructions are off by a
 * thousandth. They say nothing of caches or disks: that is for data.py.
 */
#include <fcntl.h>
#include <sys/mman.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "mr-task/map-plugin.h"
#include "records/combine.h"
#include "records/fields.h"
#include "records/run-file.h"
#include "records/sorter.h"

#define TEXT_BYTES MIB(4)
#define SORT_RECORDS 40000
#define SORT_RUNS 4    /* merged */
#define RESORT_RUNS 16 /* sorted again, as they are many and fit in memory */
#define LINES 40000
#define CLIENTS 2000
#define GREP_LINES 40000
#define RECORD_BYTES 100
#define KEY_BYTES 10
#define PARTITIONS 8

static uint64_t state = 42;

static uint64_t next(void) /* splitmix64 */
{
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static void must(int r)
{
        if (r < 0)
                g_error("%s", g_strerror(-r));
}

static int memory_file(void)
{
        int fd = memfd_create("instructions", MFD_CLOEXEC);

        must(fd < 0 ? -errno : 0);
        return fd;
}

static void write_run(RecordStream *stream, int fd)
{
        RunWriter *w = NULL;
        Record record;
        uint64_t size;
        int r;

        must(run_writer_new(fd, PARTITIONS, &w));
        while ((r = stream->next(stream, &record)) > 0)
                must(run_writer_add(w, &record));
        must(r);
        must(run_writer_finish(w, &size));
        (void) run_writer_free(w);
}

static Combiner *combiner(uint32_t partitions, Scratch *scratch)
{
        CombinerOptions o = {
                .op = COMBINE_SUM,
                .partitions = partitions,
                .unsorted = partitions > 1,
                .memory_bytes = MIB(16),
                .scratch = scratch,
        };
        Combiner *c = NULL;

        must(combiner_new(&o, &c));
        return c;
}

/* The reduces: every partition into a table, then out in order. */
static uint64_t reduce(int fd, Scratch *scratch)
{
        uint64_t keys = 0;

        for (uint32_t p = 0; p < PARTITIONS; p++) {
                Combiner *c = combiner(1, scratch);
                uint64_t offset, length, n = 0;
                RecordStream *stream;
                BlockCursor cursor;
                Record record;
                int r;

                must(run_file_segment(fd, PARTITIONS, p, &offset, &length, NULL));
                block_cursor_init(&cursor, fd, offset, length, p, NULL);
                while ((r = block_cursor_next(&cursor, &record, NULL)) > 0) {
                        must(combine_decode(record.value, record.value_size, &n));
                        must(combiner_add_rare(c, record.key, record.key_size, n));
                }
                must(r);
                block_cursor_done(&cursor);
                must(combiner_finish(c, &stream));
                while ((r = stream->next(stream, &record)) > 0)
                        keys++;
                must(r);
                (void) combiner_free(c);
        }
        return keys;
}

static uint64_t finish(Combiner *c, Scratch *scratch)
{
        int fd = memory_file();
        RecordStream *stream;
        uint64_t keys;

        must(combiner_finish(c, &stream));
        write_run(stream, fd);
        (void) combiner_free(c);
        keys = reduce(fd, scratch);
        (void) close(fd);
        return keys;
}

/* Half of the words are of a few, the others of very many. */
static uint64_t job_count(Scratch *scratch)
{
        Combiner *c = combiner(PARTITIONS, scratch);
        uint64_t written = 0;
        Words words = {};

        while (written < TEXT_BYTES) {
                const Word *found;
                uint8_t *space;
                size_t size, count, n = 0;

                must(words_space(&words, KIB(64), &space, &size));
                while (n + 24 < KIB(64)) {
                        uint64_t rank = next() % (next() % 2 ? 100 : 1000000);

                        n += (size_t) g_snprintf((char *) space + n, 24,
                                                 "word%" G_GUINT64_FORMAT " ", rank);
                }
                must(words_scan(&words, n, false, &found, &count));
                must(combiner_count_words(c, words.buffer, found, count));
                written += n;
        }
        words_done(&words);
        return finish(c, scratch);
}

static uint64_t job_sum(Scratch *scratch)
{
        Combiner *c = combiner(PARTITIONS, scratch);
        const Fields fields = {};
        uint64_t written = 0;

        while (written < TEXT_BYTES) {
                char line[256 + LINES_PADDING] = {};
                const uint8_t *key, *value;
                size_t size, key_size, value_size;
                uint64_t n;

                size = (size_t) g_snprintf(line, 256,
                                           "10.%u.%u.1 - - [01/Jan/2024:00:00:00 +0000] \"GET "
                                           "/item%u.html HTTP/1.1\" 200 %u \"-\" \"agent\"",
                                           (unsigned) (next() % 8), (unsigned) (next() % 256),
                                           (unsigned) (next() % 9999), (unsigned) (next() % 99999));
                if (!fields_find(&fields, (uint8_t *) line, size, 1, &key, &key_size) ||
                    !fields_find(&fields, (uint8_t *) line, size, 10, &value, &value_size) ||
                    !fields_number(value, value_size, &n))
                        g_error("a line that is none");
                must(combiner_add(c, key, key_size, n));
                written += size;
        }
        return finish(c, scratch);
}

static Sorter *sorter(Scratch *scratch)
{
        SorterOptions o = {.partitions = PARTITIONS, .memory_bytes = MIB(48), .scratch = scratch};
        Sorter *s = NULL;

        must(sorter_new(&o, &s));
        return s;
}

static void finish_run(Sorter *s, int fd)
{
        RecordStream *stream;

        must(sorter_finish(s, &stream));
        write_run(stream, fd);
        (void) sorter_free(s);
}

static void sort_run(int fd, size_t records, Scratch *scratch)
{
        Sorter *s = sorter(scratch);
        uint8_t data[RECORD_BYTES] = {};

        for (size_t i = 0; i < records; i++) {
                uint64_t key = next();
                Record record = {
                        .key = data,
                        .key_size = KEY_BYTES,
                        .value = data + KEY_BYTES,
                        .value_size = RECORD_BYTES - KEY_BYTES,
                        .partition = (uint32_t) (key & 0xff) * PARTITIONS / 256,
                };

                memcpy(data, &key, sizeof(key));
                must(sorter_add(s, &record));
        }
        finish_run(s, fd);
}

static void put_digits(char *to, size_t digits, uint64_t n)
{
        for (; digits > 0; n /= 10)
                to[--digits] = (char) ('0' + n % 10);
}

static const char log_line[] =
        "100.0.118.000 - - [00/Nov/2023:00:00:00 +0000] \"GET /item000.html HTTP/1.1\" "
        "200 0000 \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:109.0)\"\n";

/* The next of a web server's log: most begin as many others do, with a client, which is returned,
 * and all end alike. */
static uint64_t next_log_line(char *line, uint64_t *seconds)
{
        uint64_t client = next() % (next() % CLIENTS + 1), at = *seconds += next() % 2;

        put_digits(line, 3, 100 + client % 100);
        put_digits(line + 4, 1, client / 100);
        put_digits(line + 10, 3, client);
        put_digits(line + 19, 2, 1 + at / 86400 % 30);
        put_digits(line + 31, 2, at / 3600 % 24);
        put_digits(line + 34, 2, at / 60 % 60);
        put_digits(line + 37, 2, at % 60);
        put_digits(line + 57, 3, next());
        put_digits(line + 80, 4, next());
        return client;
}

static void sort_run_of_lines(int fd, size_t records, uint64_t *seconds, Scratch *scratch)
{
        char line[sizeof(log_line)];
        Record record = {
                .key = (uint8_t *) line,
                .key_size = sizeof(line) - 2,
                .value = (uint8_t *) line,
        };
        Sorter *s = sorter(scratch);

        memcpy(line, log_line, sizeof(line));
        for (size_t i = 0; i < records; i++) {
                uint64_t client = next_log_line(line, seconds);

                record.partition = (uint32_t) (client % 100 * PARTITIONS / 100);
                must(sorter_add(s, &record));
        }
        finish_run(s, fd);
}

/* @want_any: runs of any partition are always merged, never sorted again. */
static uint64_t merge_all(const int *fds, size_t runs, bool want_any, Scratch *scratch)
{
        uint64_t records = 0;

        for (uint32_t p = 0; p < PARTITIONS; p++) {
                MergeOptions o = {.memory_bytes = MIB(48),
                                  .scratch = scratch,
                                  .want_partition = want_any ? BLOCK_ANY_PARTITION : p};
                Merge merge;
                Record record;
                int r;

                must(merge_init(&merge, &o));
                for (size_t i = 0; i < runs; i++) {
                        Segment segment = {.fd = fds[i]};

                        must(run_file_segment(fds[i], PARTITIONS, p, &segment.offset,
                                              &segment.length, NULL));
                        must(merge_add(&merge, &segment));
                }
                must(merge_start(&merge));
                while ((r = merge.stream.next(&merge.stream, &record)) > 0)
                        records++;
                must(r);
                merge_done(&merge);
        }
        return records;
}

typedef enum SortJob {
        SORT_RECORDS_MERGED,
        SORT_RECORDS_AGAIN,
        SORT_LINES_AGAIN,
        SORT_LINES_MERGED,
} SortJob;

static uint64_t job_sort(SortJob job, uint64_t times, Scratch *scratch)
{
        bool lines = job == SORT_LINES_AGAIN || job == SORT_LINES_MERGED;
        size_t runs = job == SORT_RECORDS_MERGED ? SORT_RUNS : RESORT_RUNS;
        uint64_t seconds = 0, records;
        int fds[RESORT_RUNS];

        for (size_t i = 0; i < runs; i++) {
                fds[i] = memory_file();
                if (lines)
                        sort_run_of_lines(fds[i], times * LINES / runs, &seconds, scratch);
                else
                        sort_run(fds[i], times * SORT_RECORDS / runs, scratch);
        }
        records = merge_all(fds, runs, job == SORT_LINES_MERGED, scratch);
        for (size_t i = 0; i < runs; i++)
                (void) close(fds[i]);
        return records;
}

static void read_log(PieceReader *reader, size_t lines)
{
        const size_t size = sizeof(log_line) - 1;
        g_autofree char *text = g_malloc(lines * size);
        uint64_t seconds = 0;
        int fd = memory_file();

        for (size_t i = 0; i < lines; i++) {
                memcpy(text + i * size, log_line, size);
                (void) next_log_line(text + i * size, &seconds);
        }
        must(write(fd, text, lines * size) == (ssize_t) (lines * size) ? 0 : -EIO);
        piece_reader_init(reader, fd, 0, lines * size, lines * size, NULL);
}

static bool makes_machine_code(void)
{
        uint32_t jit = 0;

        return pcre2_config(PCRE2_CONFIG_JIT, &jit) >= 0 && jit;
}

/* The app, as a map has it: how many lines of a log a pattern matches that has no literal to look
 * for first. */
static uint64_t job_grep(uint64_t times, Scratch *scratch)
{
        char *args[] = {(char *) "output=matches",
                        (char *) "pattern=[0-9]{3} [0-9]*7[0-9]? .*(Linux|Windows) [a-z0-9_]+;"};
        Mapreduced__Task__V1__AttemptStart start = MAPREDUCED__TASK__V1__ATTEMPT_START__INIT;
        Mapreduced__V1__Program program = MAPREDUCED__V1__PROGRAM__INIT;
        Mapreduced__V1__Piece piece = MAPREDUCED__V1__PIECE__INIT;
        Attempt a = {.start = &start, .memory_bytes = MIB(16), .scratch = *scratch};
        PieceReader reader;
        Plugin plugin;
        uint64_t keys;

        program.app = (char *) "grep";
        program.args = args;
        program.n_args = ELEMENTSOF(args);
        start.program = &program;
        start.partitions = PARTITIONS;
        a.page = &a.own_page;
        read_log(&reader, times * GREP_LINES);
        must(plugin_init(&plugin, &a));
        must(map_plugin_begin(&plugin));
        must(map_plugin_piece(&plugin, &piece, &reader));
        keys = finish(TAKE_PTR(plugin.combiner), scratch);
        plugin_done(&plugin);
        (void) close(reader.fd);
        piece_reader_done(&reader);
        return keys;
}

int main(int argc, char *argv[])
{
        Scratch scratch = {.fd = memory_file()};
        uint64_t times, result;
        const char *job;

        if (argc != 2 && argc != 3)
                return 2;
        job = argv[1];
        if (g_str_equal(job, "grep") && !makes_machine_code())
                return 77;
        times = argc == 3 ? strtoull(argv[2], NULL, 10) : 1;
        result = g_str_equal(job, "count")          ? job_count(&scratch)
                 : g_str_equal(job, "sort")         ? job_sort(SORT_RECORDS_MERGED, times, &scratch)
                 : g_str_equal(job, "resort")       ? job_sort(SORT_RECORDS_AGAIN, times, &scratch)
                 : g_str_equal(job, "lines")        ? job_sort(SORT_LINES_AGAIN, times, &scratch)
                 : g_str_equal(job, "lines-merged") ? job_sort(SORT_LINES_MERGED, times, &scratch)
                 : g_str_equal(job, "grep")         ? job_grep(times, &scratch)
                                                    : job_sum(&scratch);
        (void) printf("%" G_GUINT64_FORMAT "\n", result);
        (void) close(scratch.fd);
        return 0;
}

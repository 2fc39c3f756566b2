/*
 * What it costs R reduces to find their parts of one run file: each reading the index, and by the
 * worker's cache of indices. Interleaved, the median of five rounds; times a part, and the ratio.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "base/fs.h"
#include "mr-workerd/worker-index.h"
#include "records/run-file.h"

#define ROUNDS 5

static double now_sec(void)
{
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int make_run(uint32_t reduces)
{
        _cleanup_(run_writer_freep) RunWriter *w = NULL;
        static const uint8_t bytes[8];
        int fd = memfd_create("run", MFD_CLOEXEC);
        uint64_t size;

        if (fd < 0 || run_writer_new(fd, reduces, &w) < 0)
                return -1;
        for (uint32_t p = 0; p < reduces; p++)
                if (run_writer_add(w, &(Record){.partition = p,
                                                .key = bytes,
                                                .key_size = 8,
                                                .value = bytes,
                                                .value_size = 8}) < 0)
                        return -1;
        return run_writer_finish(w, &size) < 0 ? -1 : fd;
}

/* Seconds for all parts, each asked for once. */
static double ask(IndexCache *c, int fd, uint32_t reduces)
{
        uint64_t offset, length, sum = 0;
        double begin = now_sec();

        for (uint32_t p = 0; p < reduces; p++) {
                int r = c ? index_cache_segment(c, fd, reduces, p, &offset, &length, NULL)
                          : run_file_segment(fd, reduces, p, &offset, &length, NULL);

                if (r < 0)
                        g_error("cannot find part %u", p);
                sum += length;
        }
        return sum > 0 ? now_sec() - begin : 0;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

int main(void)
{
        static const uint32_t sizes[] = {100, 1000, 10000};

        printf("%8s %14s %14s %8s\n", "reduces", "each reads", "by the cache", "ratio");
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                double plain[ROUNDS], cached[ROUNDS];
                int fd = make_run(sizes[i]);

                if (fd < 0)
                        g_error("cannot make a run file");
                for (int k = 0; k < ROUNDS; k++) {
                        IndexCache *c = index_cache_new(INDEX_CACHE_BYTES);

                        plain[k] = ask(NULL, fd, sizes[i]);
                        cached[k] = ask(c, fd, sizes[i]);
                        index_cache_free(c);
                }
                qsort(plain, ROUNDS, sizeof(*plain), compare);
                qsort(cached, ROUNDS, sizeof(*cached), compare);
                printf("%8u %11.2f us %11.2f us %8.1f\n", sizes[i],
                       plain[ROUNDS / 2] / sizes[i] * 1e6, cached[ROUNDS / 2] / sizes[i] * 1e6,
                       plain[ROUNDS / 2] / cached[ROUNDS / 2]);
                safe_close(fd);
        }
        return 0;
}

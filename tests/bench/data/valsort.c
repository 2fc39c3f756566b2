/*
 * Is a sort's output sorted, and is it what was to be sorted? As valsort of the sort benchmark
 * does.
 *
 *      valsort FILE…
 *
 * Reads records of 100 bytes from the files, one after another as if they were one, and prints how
 * many there are, a checksum that does not depend on their order (the sum of a hash of each), and
 * "sorted", or where they are not: by the first 10 bytes. It shares no code with what it checks.
 *
 * Source of the hash: FNV-1a's multiplication over words of 64 bits, and the finish of splitmix64.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES 100
#define KEY_BYTES 10
#define BUFFER_RECORDS 10000

static uint64_t record_hash(const unsigned char *record)
{
        uint64_t h = UINT64_C(0xcbf29ce484222325), word;
        uint32_t last;

        for (size_t i = 0; i < RECORD_BYTES / 8; i++) {
                memcpy(&word, record + i * 8, 8);
                h = (h ^ word) * UINT64_C(0x100000001b3);
                h ^= h >> 29;
        }
        memcpy(&last, record + RECORD_BYTES - 4, 4);
        h = (h ^ last) * UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        return h ^ h >> 31;
}

typedef struct Seen {
        unsigned char last[KEY_BYTES];
        uint64_t count, sum, unsorted_at; /* 0: all are sorted */
} Seen;

static void see(Seen *s, const unsigned char *record)
{
        s->sum += record_hash(record);
        if (s->count > 0 && s->unsorted_at == 0 && memcmp(record, s->last, KEY_BYTES) < 0)
                s->unsorted_at = s->count;
        memcpy(s->last, record, KEY_BYTES);
        s->count++;
}

static void read_file(Seen *s, const char *path)
{
        static unsigned char buffer[BUFFER_RECORDS * RECORD_BYTES];
        FILE *f = fopen(path, "rb");
        size_t n = 0;

        if (!f) {
                perror(path);
                exit(2);
        }
        (void) setvbuf(f, NULL, _IONBF, 0);
        while ((n = fread(buffer, 1, sizeof(buffer), f)) >= RECORD_BYTES) {
                for (size_t i = 0; i + RECORD_BYTES <= n; i += RECORD_BYTES)
                        see(s, buffer + i);
                if (n % RECORD_BYTES != 0)
                        break;
        }
        if (ferror(f) || n % RECORD_BYTES != 0) {
                fprintf(stderr, "%s: cannot be read, or ends within a record\n", path);
                exit(2);
        }
        fclose(f);
}

int main(int argc, char *argv[])
{
        Seen s = {.count = 0};

        for (int i = 1; i < argc; i++)
                read_file(&s, argv[i]);
        printf("%" PRIu64 " records, checksum %016" PRIx64 ", ", s.count, s.sum);
        if (s.unsorted_at == 0)
                printf("sorted\n");
        else
                printf("not sorted at record %" PRIu64 "\n", s.unsorted_at);
        return 0;
}

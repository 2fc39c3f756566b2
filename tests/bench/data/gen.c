/*
 * gen — data for the benchmarks, the same in every run.
 *
 *      gen records BYTES   lines of 100 bytes: a key of 10 printable bytes, uniform, and a payload
 *      gen log BYTES       a web server's log: clients and paths by Zipf's law
 *      gen text BYTES      words by Zipf's law over a vocabulary that grows with the text
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_BYTES 100
#define KEY_BYTES 10
#define CLIENTS 200000
#define PATHS 50000
#define WORDS_MAX (16 * 1024 * 1024)

static uint64_t state;

/* splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. */
static uint64_t mix(uint64_t z)
{
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static uint64_t next(void)
{
        return mix(state += UINT64_C(0x9e3779b97f4a7c15));
}

static double uniform(void)
{
        return (double) (next() >> 11) * 0x1p-53;
}

/* Rank by Zipf's law with exponent near 1, from its integral: 0 to n - 1. */
static uint64_t zipf(uint64_t n)
{
        return (uint64_t) pow((double) n, uniform()) - 1;
}

static void put_records(uint64_t bytes)
{
        char line[RECORD_BYTES + 1];

        for (uint64_t i = 0; i < bytes / RECORD_BYTES; i++) {
                for (size_t j = 0; j < KEY_BYTES; j++)
                        line[j] = (char) (' ' + next() % 95);
                (void) snprintf(line + KEY_BYTES, sizeof(line) - KEY_BYTES, "  %032llX  ",
                                (unsigned long long) i);
                memset(line + KEY_BYTES + 36, (int) ('A' + next() % 26),
                       RECORD_BYTES - KEY_BYTES - 37);
                line[RECORD_BYTES - 1] = '\n';
                (void) fwrite(line, 1, RECORD_BYTES, stdout);
        }
}

static void put_log(uint64_t bytes)
{
        static const char *const methods[] = {"GET", "GET", "GET", "GET", "POST", "HEAD"};
        static const char *const agents[] = {
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)",
                "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
                "curl/7.88.1",
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        };
        static const int statuses[] = {200, 200, 200, 200, 200, 200, 304, 301, 404, 500};
        time_t now = 1700000000;
        uint64_t written = 0;

        while (written < bytes) {
                uint64_t client = mix(zipf(CLIENTS) * 7919 + 13), path = zipf(PATHS);
                int status = statuses[next() % 10], n;
                char when[64];
                struct tm tm;

                now += next() % 8 == 0;
                (void) strftime(when, sizeof(when), "%d/%b/%Y:%H:%M:%S +0000", gmtime_r(&now, &tm));
                n = printf("%u.%u.%u.%u - - [%s] \"%s /%llx/item%llu.html HTTP/1.1\" %d %llu "
                           "\"-\" \"%s\"\n",
                           (unsigned) (1 + client % 223), (unsigned) (client >> 8 & 255),
                           (unsigned) (client >> 16 & 255), (unsigned) (client >> 24 & 255), when,
                           methods[next() % 6], (unsigned long long) (mix(path) >> 44),
                           (unsigned long long) path, status,
                           status == 304
                                   ? 0ULL
                                   : (unsigned long long) (200 + next() % 1000 * (next() % 200)),
                           agents[next() % 4]);
                written += (uint64_t) n;
        }
}

/* One word in sixteen is new. */
static void put_text(uint64_t bytes)
{
        uint64_t written = 0, known = 1000;

        for (uint64_t i = 1; written < bytes; i++) {
                uint64_t rank = next() % 16 == 0 && known < WORDS_MAX ? known++ : zipf(known);
                uint64_t letters = mix(rank) | 1;
                char word[24];
                int n = 0, size = 1 + (int) (log2((double) rank + 2) / 2) + (int) (mix(~rank) % 4);

                for (; n < size; n++, letters = letters / 26 + mix(letters) * 26)
                        word[n] = (char) ('a' + letters % 26);
                word[n++] = i % 11 == 0 ? '\n' : ' ';
                (void) fwrite(word, 1, (size_t) n, stdout);
                written += (uint64_t) n;
        }
}

int main(int argc, char *argv[])
{
        uint64_t bytes = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;

        if (bytes == 0) {
                (void) fprintf(stderr, "usage: gen records|log|text BYTES\n");
                return 2;
        }
        state = 42;
        if (strcmp(argv[1], "records") == 0)
                put_records(bytes);
        else if (strcmp(argv[1], "log") == 0)
                put_log(bytes);
        else
                put_text(bytes);
        return fflush(stdout) == 0 ? 0 : 1;
}

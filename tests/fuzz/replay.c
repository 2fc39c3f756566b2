/*
 * Runs a fuzz target over files and folders of them, and over every prefix of the small ones: input
 * that is cut short is the commonest damage of all. Prints TAP.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

#define FILE_BYTES_MAX ((size_t) 1 << 20)
#define PREFIXES_MAX 512u /* of one file */

static unsigned tests;

static void run_copy(const uint8_t *data, size_t size)
{
        uint8_t *exact = malloc(size > 0 ? size : 1); /* a byte too far is seen by the sanitizer */

        CLAIM(exact);
        memcpy(exact, data, size);
        (void) LLVMFuzzerTestOneInput(exact, size);
        free(exact);
}

static void run_file(const char *path)
{
        FILE *f = fopen(path, "re");
        uint8_t *data = malloc(FILE_BYTES_MAX);
        size_t size, step;

        CLAIM(f && data);
        size = fread(data, 1, FILE_BYTES_MAX, f);
        (void) fclose(f);
        step = size / PREFIXES_MAX + 1;
        for (size_t cut = 0; cut < size; cut += step)
                run_copy(data, cut);
        run_copy(data, size);
        free(data);
        printf("ok %u %s\n", ++tests, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
        (void) fflush(stdout);
}

static void run_folder(const char *path)
{
        struct dirent **entries;
        int n = scandir(path, &entries, NULL, alphasort);

        CLAIM(n >= 0);
        for (int i = 0; i < n; i++) {
                char child[4096];

                if (entries[i]->d_name[0] != '.') {
                        (void) snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
                        run_file(child);
                }
                free(entries[i]);
        }
        free(entries);
}

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                struct stat st;

                if (stat(argv[i], &st) < 0) {
                        perror(argv[i]);
                        return 2;
                }
                if (S_ISDIR(st.st_mode))
                        run_folder(argv[i]);
                else
                        run_file(argv[i]);
        }
        printf("1..%u\n", tests);
        return tests > 0 ? 0 : 2;
}

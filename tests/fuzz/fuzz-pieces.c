/*
 * Pieces of inputs: plain lines, records of a fixed length, and files of every codec; and of each
 * line its fields and its sort key. The first byte says which reader, the second how large the
 * reads are. The pieces of a plain file give all of it once; an unpacked one ends, or says why it
 * does not.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "records/block.h"
#include "records/pair.h"
#include "records/piece.h"
#include "records/sort-key.h"

#define OUTPUT_MAX ((size_t) 1 << 20)
#define PIECES 3

static int file_of(const void *data, size_t size)
{
        int fd = memfd_create("fuzz", MFD_CLOEXEC);

        CLAIM(fd >= 0);
        CLAIM(block_pwrite(fd, data, size, 0) == 0);
        return fd;
}

/* Return: the bytes that were given; what was wrong, if anything, is in @e. */
static size_t read_all(PieceReader *p, size_t step, GByteArray *out, Error *e)
{
        uint8_t buffer[256];
        size_t total = 0;
        ssize_t n;

        while (total < OUTPUT_MAX && (n = piece_reader_read(p, buffer, step, e)) != 0) {
                if (n < 0) {
                        CLAIM(e->message || n == -ENOMEM);
                        break;
                }
                CLAIM((size_t) n <= step);
                total += (size_t) n;
                if (out)
                        g_byte_array_append(out, buffer, (guint) n);
        }
        return total;
}

static void try_packed(const uint8_t *data, size_t size, Codec codec, size_t step)
{
        int fd = file_of(data, size);
        PieceReader p;
        Error e = {};

        CLAIM(piece_reader_init_packed(&p, fd, size, codec, NULL, NULL) == 0);
        (void) read_all(&p, step, NULL, &e);
        piece_reader_done(&p);
        error_done(&e);
        (void) close(fd);
}

static void try_plain(const uint8_t *data, size_t size, size_t step, uint64_t record_bytes)
{
        g_autoptr(GByteArray) out = g_byte_array_new();
        int fd = file_of(data, size);
        uint64_t begin = 0;
        Error e = {};

        for (uint64_t i = 1; i <= PIECES; i++) {
                uint64_t end = size * i / PIECES;
                PieceReader p;

                if (record_bytes > 0)
                        piece_reader_init_fixed(&p, fd, begin, end - begin, size, record_bytes,
                                                NULL);
                else
                        piece_reader_init(&p, fd, begin, end - begin, size, NULL);
                (void) read_all(&p, step, out, &e);
                begin = end;
        }
        CLAIM(!e.message);
        CLAIM(out->len == size && (size == 0 || memcmp(out->data, data, size) == 0));
        (void) close(fd);
}

static void try_line(const uint8_t *data, size_t size)
{
        const SortSpec specs[] = {{.key = 1},
                                  {.numeric = true},
                                  {.numeric = true, .reverse = true},
                                  {.fields = {.delimited = true, .delimiter = ','}, .key = 2}};
        uint8_t *line = calloc(1, size + LINES_PADDING), *key = malloc(sort_key_size_max(size));
        const uint8_t *back;
        size_t back_size, key_size;
        uint64_t number;

        CLAIM(line && key);
        memcpy(line, data, size);
        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                key_size = sort_key_put(&specs[i], line, size, key);
                CLAIM(key_size <= sort_key_size_max(size));
                CLAIM(sort_key_get(&specs[i], key, key_size, &back, &back_size) == 0);
                CLAIM(back_size == size && (size == 0 || memcmp(back, data, size) == 0));
        }
        (void) fields_number(line, size, &number);
        CLAIM(pair_head_size(data, size) <= size);
        memcpy(key, data, size);
        (void) sort_key_get(&specs[0], key, size, &back, &back_size);
        free(line);
        free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        size_t step, rest;

        if (size < 2)
                return 0;
        step = 1 + data[1] % 255u;
        rest = size - 2;
        if (data[0] % 8 >= CODEC_GZIP && data[0] % 8 < _CODEC_MAX)
                try_packed(data + 2, rest, (Codec) (data[0] % 8), step);
        else if (data[0] % 8 == 6)
                try_plain(data + 2, rest - rest % 3, step, 3);
        else if (data[0] % 8 == 7)
                try_line(data + 2, rest);
        else
                try_plain(data + 2, rest, step, 0);
        return 0;
}

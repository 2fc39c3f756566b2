/*
 * Lines of a file that is cut anywhere. However it is cut, and however few bytes are read at once,
 * the pieces together give each line once and in order: they give the file.
 *
 * Input: the number of cuts, the size of a read, then the file.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "records/block.h"
#include "records/lines.h"
#include "records/piece.h"

#define INPUT_BYTES_MAX ((size_t) 64 << 10)

typedef struct Check {
        const uint8_t *file;
        size_t size, at;
} Check;

static void check_lines(Check *check, Lines *l, bool final)
{
        const uint8_t *line;
        size_t n;

        while (lines_next(l, final, &line, &n)) {
                CLAIM(n <= check->size - check->at);
                CLAIM(n == 0 || memcmp(line, check->file + check->at, n) == 0);
                CLAIM(!memchr(line, '\n', n));
                check->at += n;
                if (check->at < check->size)
                        CLAIM(check->file[check->at++] == '\n');
                else
                        CLAIM(final);
        }
}

static void read_piece(Check *check, int fd, uint64_t offset, uint64_t length, size_t read_size)
{
        PieceReader p;
        Lines l = {};
        Error e = {};
        ssize_t n;

        piece_reader_init(&p, fd, offset, length, check->size, NULL);
        do {
                uint8_t *space;
                size_t room;

                CLAIM(lines_space(&l, read_size, &space, &room) == 0);
                CLAIM(room >= read_size);
                n = piece_reader_read(&p, space, read_size, &e);
                CLAIM(n >= 0 && (size_t) n <= read_size);
                lines_filled(&l, (size_t) n);
                check_lines(check, &l, n == 0);
        } while (n > 0);
        lines_done(&l);
        error_done(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Check check = {};
        size_t pieces, read_size;
        int fd;

        if (size < 3 || size > INPUT_BYTES_MAX)
                return 0;
        check.file = data + 2;
        check.size = size - 2;
        pieces = 1 + data[0] % 16u;
        read_size = 1 + data[1];
        if (pieces > check.size)
                pieces = check.size;
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        CLAIM(fd >= 0);
        CLAIM(block_pwrite(fd, check.file, check.size, 0) == 0);
        for (size_t i = 0; i < pieces; i++) {
                uint64_t begin = check.size * i / pieces, end = check.size * (i + 1) / pieces;

                read_piece(&check, fd, begin, end - begin, read_size);
        }
        CLAIM(check.at == check.size);
        (void) close(fd);
        return 0;
}

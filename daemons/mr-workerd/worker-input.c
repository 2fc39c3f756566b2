/*
 * Input — see worker-input.h.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"
#include "mr-workerd/worker-input.h"

/* What a packet holds beside pieces or segments. */
#define ENVELOPE_BYTES 64
/* Tag and length of one piece or segment; and a whole segment at its longest. */
#define FRAME_BYTES 8
#define SEGMENT_BYTES (FRAME_BYTES + 4 * 11)

#define PATH_SHOWN_BYTES 1024

/* A network file system, or its server, that is away for a while comes back as it was. */
static bool passes(int error)
{
        static const int away[] = {ENOTCONN,     ECONNABORTED, ECONNRESET,  EHOSTDOWN,
                                   EHOSTUNREACH, ENETDOWN,     ENETUNREACH, ESHUTDOWN};

        for (size_t i = 0; i < ELEMENTSOF(away); i++)
                if (error == -away[i])
                        return true;
        return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EIO ||
               error == -EINTR || error == -EAGAIN || error == -ETIMEDOUT;
}

int input_open_piece(const Mapreduced__V1__Piece *p, int *ret_fd, bool *ret_permanent, Error *e)
{
        g_autofree char *path = text_escape(p->path, strlen(p->path), PATH_SHOWN_BYTES);
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        *ret_permanent = true;
        /* Non-blocking, so that a FIFO in the place of the file cannot hold us. */
        fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0) {
                r = -errno;
                *ret_permanent = !passes(r);
                return error_setf(e, r, "cannot read %s: %s", path, error_text(r));
        }
        if (!S_ISREG(st.st_mode))
                return error_setf(e, EINVAL, "cannot read %s: not a regular file", path);
        if ((uint64_t) st.st_size != p->file_size ||
            st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec != p->mtime_ns)
                return error_setf(e, ESTALE, "%s has changed since the job was planned", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

void input_batch_init(InputBatch *b)
{
        b->count = 0;
        b->packed_bytes = ENVELOPE_BYTES;
}

void input_batch_done(InputBatch *b)
{
        while (b->count > 0)
                safe_close(b->fds[--b->count]);
}

static size_t piece_bytes(const Mapreduced__V1__Piece *p)
{
        return FRAME_BYTES + mapreduced__v1__piece__get_packed_size(p);
}

bool input_batch_has_room_for_piece(const InputBatch *b, const Mapreduced__V1__Piece *p)
{
        return b->count < PACKET_MAX_FDS && b->packed_bytes + piece_bytes(p) <= PACKET_MAX_BYTES;
}

bool input_batch_has_room_for_segment(const InputBatch *b)
{
        return b->count < PACKET_MAX_FDS && b->packed_bytes + SEGMENT_BYTES <= PACKET_MAX_BYTES;
}

void input_batch_add_piece(InputBatch *b, Mapreduced__V1__Piece *p, int fd)
{
        b->packed_bytes += piece_bytes(p);
        b->pieces[b->count] = p;
        b->fds[b->count++] = fd;
}

void input_batch_add_segment(InputBatch *b, const Mapreduced__Task__V1__Segment *g, int fd)
{
        b->packed_bytes += SEGMENT_BYTES;
        b->segments[b->count] = *g;
        b->fds[b->count++] = fd;
}

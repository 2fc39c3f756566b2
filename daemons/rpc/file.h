/*
 * Files — ranges of them in messages, which go from the page cache to the socket.
 *
 *      queue of a stream:   | prefix, fields | range of a file | prefix, fields | range | …
 *
 * A range waits in the queue as a name (file, offset, length) and costs no memory. When its turn
 * comes it is sent by sendfile() where frames are large and nothing is encrypted; else it is read
 * into a block, a piece at a time, and goes the way of all bytes.
 *
 * A frame says how long it is before its bytes are there, so whether the file still has them is
 * looked at before each frame is made. One that shrinks between that look and sendfile() ends the
 * connection: the peer waits for bytes that nobody has, and no other bytes may stand in for them.
 */
#pragma once

#include <signal.h>

#include "rpc/evgrpc.h"
#include "rpc/util.h"

#define RPC_FILE_FRAME_MIN                                                                         \
        ((size_t) 256 * 1024) /* of the peer's frames: smaller ones are gathered */
#define RPC_FILE_READ_BYTES ((size_t) 256 * 1024) /* that are read ahead of the frames */

struct EvgrpcFile {
        unsigned refs;
        int fd;
        uint64_t size; /* when it was looked at last */
};

/* Why a range cannot be sent, a sentence. */
void rpc_file_explain(int error, char *ret, size_t room);

/* Looks at its size. Return: 0 or negative errno. */
int rpc_file_look(EvgrpcFile *f);
/* The range is in the file, by its size when it was looked at. */
static inline bool rpc_file_had(const EvgrpcFile *f, uint64_t offset, size_t size)
{
        return offset <= f->size && size <= f->size - offset;
}
/* Looks again only if it was not. Return: 0; -ENODATA: the file ends before the range does;
 * negative errno. */
int rpc_file_check(EvgrpcFile *f, uint64_t offset, size_t size);
/* All of it. Return: as rpc_file_check(). */
int rpc_file_read(const EvgrpcFile *f, uint64_t offset, uint8_t *buffer, size_t size);

/* sendfile() has no MSG_NOSIGNAL: a peer that is gone would end a program that does not ignore
 * SIGPIPE. So it is blocked around one or more rpc_file_send(), and what was raised is taken
 * back. */
typedef struct RpcPipeSignal {
        bool blocked;
        sigset_t before;
} RpcPipeSignal;

void rpc_pipe_signal_block(RpcPipeSignal *s);
void rpc_pipe_signal_restore(RpcPipeSignal *s, bool raised);

/* Return: bytes sent; -ENODATA: the file ends here; negative errno, -EAGAIN among them. */
ssize_t rpc_file_send(const EvgrpcFile *f, uint64_t offset, size_t size, int socket);

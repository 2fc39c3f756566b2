/*
 * Output.
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include "rpc/output.h"

void rpc_output_init(RpcOutput *o, RpcBlockPool *pool)
{
        *o = (RpcOutput){.pool = pool};
}

/* The piece that is so many behind the first. */
static RpcPiece *piece(const RpcOutput *o, unsigned i)
{
        return (RpcPiece *) (void *) o->ring->data + (o->first + i) % RPC_OUTPUT_PIECES_MAX;
}

/* An idle connection keeps no block. */
static void give_back(RpcOutput *o)
{
        if (o->gather)
                rpc_block_unref(o->pool, o->gather);
        if (o->ring)
                rpc_block_unref(o->pool, o->ring);
        o->gather = o->ring = NULL;
}

void rpc_output_done(RpcOutput *o)
{
        for (; o->count > 0; o->count--) {
                rpc_block_unref(o->pool, piece(o, 0)->block);
                o->first = (o->first + 1) % RPC_OUTPUT_PIECES_MAX;
        }
        give_back(o);
        o->bytes = 0;
}

static int append_piece(RpcOutput *o, RpcPiece added)
{
        assert(o->count < RPC_OUTPUT_PIECES_MAX);

        if (!o->ring)
                o->ring = rpc_block_new(o->pool, RPC_OUTPUT_PIECES_MAX * sizeof(RpcPiece));
        if (!o->ring)
                return -ENOMEM;
        o->bytes += added.size;
        added.block->refs++;
        *piece(o, o->count++) = added;
        return 0;
}

/* Adds a piece, or makes the last one longer when the new one lies right behind it. */
static int append(RpcOutput *o, RpcBlock *block, const uint8_t *data, size_t size)
{
        if (o->count > 0) {
                RpcPiece *last = piece(o, o->count - 1);

                if (last->block == block && last->data + last->size == data) {
                        last->size += size;
                        o->bytes += size;
                        return 0;
                }
        }
        return append_piece(o, (RpcPiece){.data = data, .size = size, .block = block});
}

static int gather_ready(RpcOutput *o)
{
        if (o->gather && o->gather->fill < o->gather->room)
                return 0;
        if (o->gather && o->gather->refs == 1) {
                o->gather->fill = 0; /* all of it is sent */
                return 0;
        }
        if (o->gather)
                rpc_block_unref(o->pool, o->gather);
        o->gather = rpc_block_new(o->pool, RPC_BLOCK_LARGE);
        return o->gather ? 0 : -ENOMEM;
}

int rpc_output_copy(RpcOutput *o, const uint8_t *data, size_t size)
{
        while (size > 0) {
                uint8_t *to;
                size_t n;
                int r = gather_ready(o);

                if (r < 0)
                        return r;
                to = o->gather->data + o->gather->fill;
                n = RPC_MIN(size, o->gather->room - o->gather->fill);
                memcpy(to, data, n);
                r = append(o, o->gather, to, n);
                if (r < 0)
                        return r;
                o->gather->fill += n;
                data += n;
                size -= n;
        }
        return 0;
}

int rpc_output_take(RpcOutput *o, RpcQueue *q, size_t size)
{
        assert(size <= q->bytes);

        while (size > 0) {
                RpcBlock *b = q->head;
                size_t n = RPC_MIN(size, b->fill - b->done);

                int r;

                if (b->file)
                        r = append_piece(
                                o,
                                (RpcPiece){.offset = b->offset + b->done, .size = n, .block = b});
                else if (n >= RPC_OUTPUT_REFERENCE_MIN)
                        r = append(o, b, b->data + b->done, n);
                else
                        r = rpc_output_copy(o, b->data + b->done, n);
                if (r < 0)
                        return r;
                b->done += n;
                q->bytes -= n;
                size -= n;
                if (b->done < b->fill)
                        continue;
                q->head = b->next;
                if (!q->head)
                        q->tail = NULL;
                rpc_block_unref(o->pool, b);
        }
        return 0;
}

size_t rpc_output_peek(const RpcOutput *o, uint8_t *space, size_t room, const uint8_t **ret)
{
        const RpcPiece *p;
        size_t size = 0;

        assert(o->count > 0);

        p = piece(o, 0);
        if (p->size >= room || o->count == 1) {
                *ret = p->data;
                return RPC_MIN(p->size, room);
        }
        for (unsigned i = 0; i < o->count && size < room; i++) {
                size_t n;

                p = piece(o, i);
                n = RPC_MIN(p->size, room - size);
                memcpy(space + size, p->data, n);
                size += n;
        }
        *ret = space;
        return size;
}

void rpc_output_forget(RpcOutput *o, size_t sent)
{
        o->bytes -= sent;
        o->left += sent;
        while (sent > 0) {
                RpcPiece *p = piece(o, 0);

                if (sent < p->size) {
                        if (p->data)
                                p->data += sent;
                        p->offset += sent;
                        p->size -= sent;
                        return;
                }
                sent -= p->size;
                rpc_block_unref(o->pool, p->block);
                o->first = (o->first + 1) % RPC_OUTPUT_PIECES_MAX;
                o->count--;
        }
        if (o->count == 0)
                give_back(o);
}

/* Those up to the next file. The bytes before one leave with it. Return: bytes sent; negative
 * errno. */
static ssize_t send_pieces(const RpcOutput *o, int fd)
{
        struct iovec iov[RPC_OUTPUT_PIECES_MAX];
        struct msghdr mh = {.msg_iov = iov};
        ssize_t n;

        for (unsigned i = 0; i < o->count; i++) {
                const RpcPiece *p = piece(o, i);

                if (!p->data)
                        break;
                iov[mh.msg_iovlen++] = (struct iovec){(void *) (uintptr_t) p->data, p->size};
        }
        n = sendmsg(fd, &mh,
                    MSG_NOSIGNAL | MSG_DONTWAIT | (mh.msg_iovlen < o->count ? MSG_MORE : 0));
        return n < 0 ? -errno : n;
}

static ssize_t send_file_piece(const RpcPiece *p, int fd, RpcPipeSignal *pipe_signal)
{
        rpc_pipe_signal_block(pipe_signal);
        return rpc_file_send(p->block->file, p->offset, p->size, fd);
}

int rpc_output_send(RpcOutput *o, int fd)
{
        RpcPipeSignal pipe_signal = {};
        ssize_t n = 0;

        while (o->count > 0) {
                const RpcPiece *p = piece(o, 0);

                n = p->data ? send_pieces(o, fd) : send_file_piece(p, fd, &pipe_signal);
                if (n < 0 && n != -EINTR)
                        break;
                if (n > 0)
                        rpc_output_forget(o, (size_t) n);
        }
        rpc_pipe_signal_restore(&pipe_signal, n == -EPIPE);
        return o->count == 0 ? 1 : n == -EAGAIN ? 0 : (int) n;
}

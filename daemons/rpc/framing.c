/*
 * Framing.
 */
#include "rpc/framing.h"

#define BUFFER_MIN ((size_t) 4096)

void rpc_prefix_write(uint8_t *ret, uint32_t size)
{
        ret[0] = 0;
        ret[1] = (uint8_t) (size >> 24);
        ret[2] = (uint8_t) (size >> 16);
        ret[3] = (uint8_t) (size >> 8);
        ret[4] = (uint8_t) size;
}

void rpc_reader_done(RpcReader *r)
{
        free(r->buffer);
        *r = (RpcReader){};
}

static int read_prefix(RpcReader *r, const uint8_t **at, size_t *left, size_t limit)
{
        size_t n = RPC_MIN(*left, RPC_PREFIX_SIZE - r->prefix_fill);

        memcpy(r->prefix + r->prefix_fill, *at, n);
        r->prefix_fill = (uint8_t) (r->prefix_fill + n);
        *at += n;
        *left -= n;
        if (r->prefix_fill < RPC_PREFIX_SIZE)
                return 0;
        r->size = (uint32_t) r->prefix[1] << 24 | (uint32_t) r->prefix[2] << 16 |
                  (uint32_t) r->prefix[3] << 8 | r->prefix[4];
        r->fill = 0;
        if (r->prefix[0] > 1)
                return -EBADMSG;
        if (r->size > limit)
                return -EMSGSIZE;
        return r->prefix[0] == 1 ? -EOPNOTSUPP : 1;
}

static int gather(RpcReader *r, const uint8_t **at, size_t *left)
{
        size_t n = RPC_MIN(*left, r->size - r->fill);

        if (r->fill + n > r->room) {
                size_t room = RPC_MAX(RPC_MAX(BUFFER_MIN, r->room * 2), r->fill + n);
                uint8_t *buffer = realloc(r->buffer, RPC_MIN(room, RPC_MAX(r->size, BUFFER_MIN)));

                if (!buffer)
                        return -ENOMEM;
                r->buffer = buffer;
                r->room = RPC_MIN(room, RPC_MAX(r->size, BUFFER_MIN));
        }
        memcpy(r->buffer + r->fill, *at, n);
        r->fill += n;
        *at += n;
        *left -= n;
        return r->fill == r->size;
}

int rpc_reader_feed(RpcReader *r, const uint8_t **at, size_t *left, size_t limit,
                    const uint8_t **ret, size_t *ret_size)
{
        int k;

        if (r->handed_out) {
                r->handed_out = false;
                r->prefix_fill = 0;
        }
        if (*left == 0)
                return 0;
        if (r->prefix_fill < RPC_PREFIX_SIZE) {
                k = read_prefix(r, at, left, limit);
                *ret_size = r->size;
                if (k <= 0)
                        return k;
                if (*left >= r->size) { /* whole: no copy */
                        *ret = *at;
                        *at += r->size;
                        *left -= r->size;
                        r->prefix_fill = 0;
                        return 1;
                }
                if (*left == 0)
                        return 0;
        }
        k = gather(r, at, left);
        if (k <= 0)
                return k;
        r->handed_out = true;
        *ret = r->buffer;
        *ret_size = r->size;
        return 1;
}

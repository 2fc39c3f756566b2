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

static int charge(RpcBudget *budget, size_t size)
{
        for (const RpcBudget *b = budget; b; b = b->parent)
                if (size > b->limit - RPC_MIN(b->used, b->limit))
                        return -EDQUOT;
        for (RpcBudget *b = budget; b; b = b->parent)
                b->used += size;
        return 0;
}

static void discharge(RpcBudget *budget, size_t size)
{
        for (RpcBudget *b = budget; b; b = b->parent)
                b->used -= size;
}

void rpc_reader_done(RpcReader *r)
{
        discharge(r->budget, r->room);
        free(r->buffer);
        *r = (RpcReader){.budget = r->budget,
                         .keep_buffer = r->keep_buffer,
                         .lent = r->lent,
                         .lent_room = r->lent_room};
}

void rpc_reader_free(RpcReader *r)
{
        rpc_reader_done(r);
        free(r->lent);
        r->lent = NULL;
        r->lent_room = 0;
}

void rpc_reader_lend(RpcReader *r)
{
        uint8_t *spare = r->lent;
        size_t spare_room = r->lent_room;

        assert(r->handed_out);

        discharge(r->budget, r->room);
        r->lent = r->buffer;
        r->lent_room = r->room;
        r->buffer = NULL;
        r->room = 0;
        if (r->keep_buffer && spare && charge(r->budget, spare_room) >= 0) {
                r->buffer = spare;
                r->room = spare_room;
        } else
                free(spare);
}

size_t rpc_reader_place(const RpcReader *r, uint8_t **ret)
{
        size_t room = RPC_MIN(r->size, r->room);

        *ret = NULL;
        if (r->prefix_fill < RPC_PREFIX_SIZE || r->size < RPC_PLACE_MIN)
                return 0;
        *ret = r->buffer;
        if (r->handed_out || r->fill >= room)
                return 0;
        *ret += r->fill;
        return room - r->fill;
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

static int grow(RpcReader *r, size_t need)
{
        size_t room = RPC_MAX(RPC_MAX(BUFFER_MIN, r->room * 2), need);
        uint8_t *buffer;
        int k;

        room = RPC_MIN(room, RPC_MAX(r->size, BUFFER_MIN));
        k = charge(r->budget, room - r->room);
        if (k < 0)
                return k;
        buffer = realloc(r->buffer, room);
        if (!buffer) {
                discharge(r->budget, room - r->room);
                return -ENOMEM;
        }
        r->buffer = buffer;
        r->room = room;
        return 0;
}

static int gather(RpcReader *r, const uint8_t **at, size_t *left)
{
        size_t n = RPC_MIN(*left, r->size - r->fill);

        if (r->fill + n > r->room) {
                int k = grow(r, r->fill + n);

                if (k < 0)
                        return k;
        }
        if (*at != r->buffer + r->fill) /* else it was read to its place */
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
                if (!r->keep_buffer)
                        rpc_reader_done(r);
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

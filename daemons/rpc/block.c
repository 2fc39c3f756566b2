/*
 * Blocks.
 */
#include "rpc/block.h"
#include "rpc/framing.h"

static void free_list(RpcBlock *b)
{
        while (b) {
                RpcBlock *next = b->next;

                free(b);
                b = next;
        }
}

void rpc_block_pool_done(RpcBlockPool *p)
{
        free_list(p->small);
        free_list(p->large);
        free_list(p->bulk);
        *p = (RpcBlockPool){};
}

static RpcBlock *pop(RpcBlock **list, unsigned *count)
{
        RpcBlock *b = *list;

        if (b) {
                *list = b->next;
                (*count)--;
        }
        return b;
}

static bool push(RpcBlock **list, unsigned *count, unsigned max, RpcBlock *b)
{
        if (*count >= max)
                return false;
        b->next = *list;
        *list = b;
        (*count)++;
        return true;
}

/* One that fits without waste: the messages of a bulk stream are of one size, or nearly so. */
static RpcBlock *pop_bulk(RpcBlockPool *p, size_t room)
{
        for (RpcBlock **at = &p->bulk; *at; at = &(*at)->next) {
                RpcBlock *b = *at;

                if (b->room < room || b->room / 2 > room)
                        continue;
                *at = b->next;
                p->bulk_count--;
                p->bulk_bytes -= b->room;
                return b;
        }
        return NULL;
}

static bool push_bulk(RpcBlockPool *p, RpcBlock *b)
{
        if (b->room > RPC_POOL_BULK_BYTES - p->bulk_bytes ||
            !push(&p->bulk, &p->bulk_count, RPC_POOL_BULK_MAX, b))
                return false;
        p->bulk_bytes += b->room;
        return true;
}

RpcBlock *rpc_block_new(RpcBlockPool *p, size_t room)
{
        RpcBlock *b = NULL;

        if (room <= RPC_BLOCK_SMALL) {
                room = RPC_BLOCK_SMALL;
                b = pop(&p->small, &p->small_count);
        } else if (room <= RPC_BLOCK_LARGE) {
                room = RPC_BLOCK_LARGE;
                b = pop(&p->large, &p->large_count);
        } else
                b = pop_bulk(p, room);
        if (!b) {
                if (room > SIZE_MAX - sizeof(*b))
                        return NULL;
                b = malloc(sizeof(*b) + room);
                if (!b)
                        return NULL;
                b->room = room;
        }
        b->next = NULL;
        b->refs = 1;
        b->fill = b->done = 0;
        return b;
}

void rpc_block_unref(RpcBlockPool *p, RpcBlock *b)
{
        assert(b->refs > 0);

        if (--b->refs > 0)
                return;
        if (b->room == RPC_BLOCK_SMALL && push(&p->small, &p->small_count, RPC_POOL_SMALL_MAX, b))
                return;
        if (b->room == RPC_BLOCK_LARGE && push(&p->large, &p->large_count, RPC_POOL_LARGE_MAX, b))
                return;
        if (b->room > RPC_BLOCK_LARGE && push_bulk(p, b))
                return;
        free(b);
}

void rpc_queue_done(RpcQueue *q, RpcBlockPool *p)
{
        while (q->head) {
                RpcBlock *b = q->head;

                q->head = b->next;
                rpc_block_unref(p, b);
        }
        *q = (RpcQueue){};
}

/* Room for a message of @size bytes at the end of the queue, its prefix written. */
static int add_room(RpcQueue *q, RpcBlockPool *p, size_t size, uint8_t **ret)
{
        size_t need = size + RPC_PREFIX_SIZE;
        RpcBlock *b = q->tail;

        if (size > UINT32_MAX)
                return -EMSGSIZE;
        if (!b || b->room - b->fill < need) {
                b = rpc_block_new(p, need);
                if (!b)
                        return -ENOMEM;
                if (q->tail)
                        q->tail->next = b;
                else
                        q->head = b;
                q->tail = b;
        }
        rpc_prefix_write(b->data + b->fill, (uint32_t) size);
        *ret = b->data + b->fill + RPC_PREFIX_SIZE;
        b->fill += need;
        q->bytes += need;
        return 0;
}

int rpc_queue_append(RpcQueue *q, RpcBlockPool *p, const ProtobufCMessage *message)
{
        uint8_t *at;
        int r = add_room(q, p, protobuf_c_message_get_packed_size(message), &at);

        if (r >= 0)
                (void) protobuf_c_message_pack(message, at);
        return r;
}

int rpc_queue_append_packed(RpcQueue *q, RpcBlockPool *p, const void *data, size_t size)
{
        uint8_t *at;
        int r = add_room(q, p, size, &at);

        if (r >= 0 && size > 0)
                memcpy(at, data, size);
        return r;
}

size_t rpc_queue_peek(const RpcQueue *q, unsigned blocks)
{
        size_t bytes = 0;

        for (const RpcBlock *b = q->head; b && blocks > 0; b = b->next, blocks--)
                bytes += b->fill - b->done;
        return bytes;
}

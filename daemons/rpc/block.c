/*
 * Blocks.
 */
#include "rpc/block.h"
#include "rpc/framing.h"

#define FIELD_HEAD_MAX 15 /* two varints, of 32 bits with 3 more and of 64 */

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
        b->file = NULL;
        return b;
}

void rpc_block_unref(RpcBlockPool *p, RpcBlock *b)
{
        assert(b->refs > 0);

        if (--b->refs > 0)
                return;
        if (b->file)
                b->file = evgrpc_file_unref(b->file);
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

static void add_block(RpcQueue *q, RpcBlock *b)
{
        if (q->tail)
                q->tail->next = b;
        else
                q->head = b;
        q->tail = b;
}

/* Room at the end of the queue for the first @here bytes of a message of @size, its prefix
 * written. */
static int add_room(RpcQueue *q, RpcBlockPool *p, size_t size, size_t here, uint8_t **ret)
{
        size_t need = here + RPC_PREFIX_SIZE;
        RpcBlock *b = q->tail;

        if (size > UINT32_MAX)
                return -EMSGSIZE;
        if (!b || b->file || b->room - b->fill < need) {
                b = rpc_block_new(p, need);
                if (!b)
                        return -ENOMEM;
                add_block(q, b);
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
        size_t size = protobuf_c_message_get_packed_size(message);
        int r = add_room(q, p, size, size, &at);

        if (r >= 0)
                (void) protobuf_c_message_pack(message, at);
        return r;
}

int rpc_queue_append_packed(RpcQueue *q, RpcBlockPool *p, const void *data, size_t size)
{
        uint8_t *at;
        int r = add_room(q, p, size, size, &at);

        if (r >= 0 && size > 0)
                memcpy(at, data, size);
        return r;
}

static size_t put_varint(uint8_t *at, uint64_t value)
{
        size_t n = 0;

        for (; value >= 0x80; value >>= 7)
                at[n++] = (uint8_t) (value | 0x80);
        at[n++] = (uint8_t) value;
        return n;
}

/* What stands before the range: protobuf's key of a length-delimited field, and the length. */
static size_t put_field(uint8_t at[static FIELD_HEAD_MAX], uint32_t number, size_t size)
{
        size_t n = put_varint(at, (uint64_t) number << 3 | 2);

        return n + put_varint(at + n, size);
}

int rpc_queue_append_file(RpcQueue *q, RpcBlockPool *p, const ProtobufCMessage *message,
                          uint32_t number, EvgrpcFile *file, uint64_t offset, size_t size)
{
        size_t packed = protobuf_c_message_get_packed_size(message), head_size;
        uint8_t head[FIELD_HEAD_MAX], *at;
        RpcBlock *b;
        int r;

        if (size > UINT32_MAX)
                return -EMSGSIZE;
        head_size = put_field(head, number, size);
        b = rpc_block_new(p, 0);
        if (!b)
                return -ENOMEM;
        r = add_room(q, p, packed + head_size + size, packed + head_size, &at);
        if (r < 0) {
                rpc_block_unref(p, b);
                return r;
        }
        (void) protobuf_c_message_pack(message, at);
        memcpy(at + packed, head, head_size);
        b->file = evgrpc_file_ref(file);
        b->offset = offset;
        b->fill = size;
        q->bytes += size;
        if (size > 0)
                add_block(q, b);
        else
                rpc_block_unref(p, b); /* nothing to wait for */
        return 0;
}

/* The first bytes of the range at @at, into a block of memory before what is left of it. */
static int read_range(RpcQueue *q, RpcBlockPool *p, RpcBlock **at)
{
        RpcBlock *range = *at, *b;
        size_t n = RPC_MIN(range->fill - range->done, RPC_FILE_READ_BYTES);
        int r;

        b = rpc_block_new(p, n);
        if (!b)
                return -ENOMEM;
        r = rpc_file_read(range->file, range->offset + range->done, b->data, n);
        if (r < 0) {
                rpc_block_unref(p, b);
                return r;
        }
        b->fill = n;
        b->next = range;
        *at = b;
        range->done += n;
        if (range->done < range->fill)
                return 0;
        b->next = range->next;
        if (q->tail == range)
                q->tail = b;
        rpc_block_unref(p, range);
        return 0;
}

/* @known: the file that was just looked at. */
static int check_range(const RpcBlock *b, size_t size, const EvgrpcFile **known)
{
        int r = b->file == *known ? 0 : rpc_file_look(b->file);

        if (r < 0)
                return r;
        *known = b->file;
        return rpc_file_had(b->file, b->offset + b->done, size) ? 0 : -ENODATA;
}

ssize_t rpc_queue_prepare(RpcQueue *q, RpcBlockPool *p, size_t size, bool read)
{
        const EvgrpcFile *known = NULL;
        size_t ready = 0;
        int r;

        for (RpcBlock **at = &q->head; *at && ready < size; at = &(*at)->next) {
                RpcBlock *b = *at;
                size_t n = RPC_MIN(b->fill - b->done, size - ready);

                if (b->file) {
                        r = read ? read_range(q, p, at) : check_range(b, n, &known);
                        if (r < 0)
                                return r;
                        b = *at;
                        n = RPC_MIN(b->fill - b->done, size - ready);
                }
                ready += n;
        }
        return (ssize_t) ready;
}

size_t rpc_queue_peek(const RpcQueue *q, unsigned blocks)
{
        size_t bytes = 0;

        for (const RpcBlock *b = q->head; b && blocks > 0; b = b->next, blocks--)
                bytes += b->fill - b->done;
        return bytes;
}

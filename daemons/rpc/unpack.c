/*
 * Unpacking.
 */
#include "rpc/unpack.h"

typedef struct Large {
        const ProtobufCFieldDescriptor *field;
        const uint8_t *begin; /* of its key */
        const uint8_t *value, *end;
} Large;

/* Return: what follows it; NULL: it is malformed. */
static const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, uint64_t *ret)
{
        *ret = 0;
        for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
                *ret |= (uint64_t) (*at & 0x7f) << shift;
                if (*at++ < 0x80)
                        return at;
        }
        return NULL;
}

/* One field from behind its key: protobuf's wire types. Return: as read_varint(). */
static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end, unsigned wire_type,
                                 const uint8_t **ret_value)
{
        uint64_t n = 0;

        if (wire_type == PROTOBUF_C_WIRE_TYPE_VARINT)
                return read_varint(at, end, &n);
        if (wire_type == PROTOBUF_C_WIRE_TYPE_64BIT)
                n = 8;
        else if (wire_type == PROTOBUF_C_WIRE_TYPE_32BIT)
                n = 4;
        else if (wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
                return NULL;
        else
                at = read_varint(at, end, &n);
        if (!at || n > (uint64_t) (end - at))
                return NULL;
        *ret_value = at;
        return at + n;
}

static bool may_stay(const ProtobufCFieldDescriptor *f)
{
        return f && f->type == PROTOBUF_C_TYPE_BYTES && f->label != PROTOBUF_C_LABEL_REQUIRED &&
               f->label != PROTOBUF_C_LABEL_REPEATED && !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
}

/* The first large field, if it is the last of its number, which is the one that counts. What is
 * malformed is protobuf-c's to refuse. */
static bool find_large(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                       Large *ret)
{
        const uint8_t *at = data, *end = data + size;

        *ret = (Large){};
        while (at < end) {
                const uint8_t *begin = at, *value = NULL;
                uint64_t key;

                at = read_varint(at, end, &key);
                if (!at || key >> 3 > UINT32_MAX)
                        return false;
                at = skip_value(at, end, key & 7, &value);
                if (!at || (ret->field && key >> 3 == ret->field->id))
                        return false;
                if (ret->field || (key & 7) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED ||
                    (size_t) (at - value) < RPC_UNPACK_LARGE_BYTES)
                        continue;
                ret->field = protobuf_c_message_descriptor_get_field(type, (unsigned) (key >> 3));
                if (!may_stay(ret->field))
                        return false;
                ret->begin = begin;
                ret->value = value;
                ret->end = at;
        }
        return ret->field;
}

static void set_field(ProtobufCMessage *m, const Large *large)
{
        const ProtobufCFieldDescriptor *f = large->field;
        ProtobufCBinaryData *bytes = (void *) ((uint8_t *) m + f->offset);

        bytes->data = (uint8_t *) (uintptr_t) large->value;
        bytes->len = (size_t) (large->end - large->value);
        if (f->label == PROTOBUF_C_LABEL_OPTIONAL)
                *(protobuf_c_boolean *) ((uint8_t *) m + f->quantifier_offset) = true;
}

ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, RpcArena *arena,
                             const uint8_t *data, size_t size, bool *ret_in_place)
{
        size_t before, after;
        ProtobufCMessage *m;
        uint8_t *rest;
        Large large;

        if (!ret_in_place || size < RPC_UNPACK_LARGE_BYTES || !find_large(type, data, size, &large))
                return protobuf_c_message_unpack(type, &arena->allocator, size, data);
        before = (size_t) (large.begin - data);
        after = (size_t) (data + size - large.end);
        rest = rpc_arena_alloc(arena, before + after + 1);
        if (!rest)
                return NULL;
        memcpy(rest, data, before);
        memcpy(rest + before, large.end, after);
        m = protobuf_c_message_unpack(type, &arena->allocator, before + after, rest);
        if (!m)
                return NULL;
        set_field(m, &large);
        *ret_in_place = true;
        return m;
}

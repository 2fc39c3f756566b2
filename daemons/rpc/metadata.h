/*
 * Metadata — a call's own headers, as the application sees them and as the wire carries them.
 *
 * A key that ends in "-bin" stands for arbitrary bytes, base64 on the wire; any other value is
 * printable ASCII. Keys that HTTP/2 or gRPC keep for themselves never reach the application.
 * Entries and their text lie in the arena of their call.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "rpc/arena.h"
#include "rpc/evgrpc.h"

#define RPC_METADATA_ENTRIES_MAX ((size_t) 256) /* of one call, each way */

typedef struct RpcMetadata {
        EvgrpcMetadataEntry *entries;
        size_t count, room;
} RpcMetadata;

/**
 * rpc_metadata_add_received() - one header field from the wire
 * Values of -bin keys are decoded, and split at commas (a field may carry several).
 * Return: 1 kept; 0 a reserved key, not kept; -EBADMSG no base64; -E2BIG too many entries; -ENOMEM.
 */
int rpc_metadata_add_received(RpcMetadata *m, RpcArena *arena, const uint8_t *key, size_t key_size,
                              const uint8_t *value, size_t value_size);

/**
 * rpc_metadata_add_outgoing() - one entry of the application, checked and encoded for the wire
 * Return: 0; -EINVAL for a key or value that gRPC does not allow; -E2BIG; -ENOMEM.
 */
int rpc_metadata_add_outgoing(RpcMetadata *m, RpcArena *arena, const char *key, const void *value,
                              size_t size);

/* One entry that is encoded for the wire already. Return: 0; -E2BIG; -ENOMEM. */
int rpc_metadata_add_encoded(RpcMetadata *m, RpcArena *arena, const char *key, const char *value,
                             size_t size);

/* Fields for nghttp2 that point into the metadata. Returns how many were written, at most
 * m->count. */
size_t rpc_metadata_fields(const RpcMetadata *m, nghttp2_nv *ret);

/* A field that points to text which outlives the frame's sending or is copied by nghttp2. */
static inline nghttp2_nv rpc_field(const char *name, size_t name_size, const char *value,
                                   size_t value_size)
{
        return (nghttp2_nv){.name = (uint8_t *) (uintptr_t) name,
                            .value = (uint8_t *) (uintptr_t) value,
                            .namelen = name_size,
                            .valuelen = value_size};
}
#define RPC_FIELD(name, value, value_size)                                                         \
        rpc_field((name), sizeof(name) - 1, (value), (value_size))

/* A field whose name and value are literals: nghttp2 keeps the pointers. */
#define RPC_FIELD_STATIC(name_, value_)                                                            \
        {                                                                                          \
                .name = (uint8_t *) (uintptr_t) (name_),                                           \
                .value = (uint8_t *) (uintptr_t) (value_), .namelen = sizeof(name_) - 1,           \
                .valuelen = sizeof(value_) - 1,                                                    \
                .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE              \
        }

/*
 * Unpacking — protobuf-c's, but a large field of bytes stays where it lies.
 *
 * A message of a bulk stream is one large field and a few small ones. protobuf-c copies it whole;
 * here the rest is unpacked without it, and the field is told where its bytes are. Such a message
 * lives as long as they do.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "rpc/arena.h"

#define RPC_UNPACK_LARGE_BYTES ((size_t) 32 * 1024) /* shorter ones are cheaper to copy */

/**
 * rpc_unpack() - a message from its bytes
 * @ret_in_place: whether a field of it points into @data; NULL: none may
 *
 * Return: NULL: it is none of this type, or there is no memory.
 */
ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, RpcArena *arena,
                             const uint8_t *data, size_t size, bool *ret_in_place);

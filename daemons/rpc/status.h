/*
 * Status — its codes, what other layers' errors mean in them, and the text's encoding on the wire.
 */
#pragma once

#include "rpc/evgrpc.h"
#include "rpc/util.h"

#define RPC_STATUS_MESSAGE_MAX ((size_t) 4096) /* bytes of a status message; longer ones are cut */

/* grpc-status: a number without sign or leading zero. What is none of the codes is UNKNOWN. */
EvgrpcCode rpc_status_parse(const char *text, size_t size);

/* gRPC's statuscodes for a reply that carries none (http-grpc-status-mapping.md). */
EvgrpcCode rpc_status_from_http(unsigned http);

/* For a stream that ended by RST_STREAM (gRPC over HTTP/2, "HTTP2 Transport Mapping"). */
EvgrpcCode rpc_status_from_h2(uint32_t h2_error);

/**
 * rpc_percent_encode() - grpc-message's encoding: bytes 0x20-0x7E but '%' stay, others are %XX
 * @ret: three bytes for each byte of @text
 * Return: the size written. There is no NUL.
 */
size_t rpc_percent_encode(const char *text, size_t size, char *ret);

/* In place; what is no valid escape stays as it is, as the specification demands. Returns the
 * size. */
size_t rpc_percent_decode(char *text, size_t size);

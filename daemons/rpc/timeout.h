/*
 * grpc-timeout — at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
 */
#pragma once

#include "rpc/util.h"

#define RPC_TIMEOUT_SIZE ((size_t) 12) /* what rpc_timeout_format() needs, with the NUL */

/**
 * rpc_timeout_format() - the shortest exact form, else rounded up to the next unit that fits
 * @usec: 0 becomes "1n", since 0 would be no timeout for some peers
 * Return: the length of the text, without the NUL.
 */
size_t rpc_timeout_format(uint64_t usec, char ret[static RPC_TIMEOUT_SIZE]);

/* Return: 0, or -EINVAL for what is no timeout. Nanoseconds round up to a microsecond. */
int rpc_timeout_parse(const char *text, size_t size, uint64_t *ret_usec);

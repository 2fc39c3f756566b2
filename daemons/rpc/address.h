/*
 * Addresses — "HOST:PORT", "[V6]:PORT", "unix:PATH".
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "rpc/util.h"

#define RPC_HOST_MAX ((size_t) 255)
#define RPC_ADDRESS_TEXT_MAX ((size_t) 300) /* any of the three forms with its NUL */

typedef union RpcSockaddr {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
} RpcSockaddr;

typedef struct RpcAddress {
        RpcSockaddr sockaddr;
        socklen_t size;              /* 0: a name that must be resolved first */
        char host[RPC_HOST_MAX + 1]; /* without brackets; empty for unix */
        char port[6];
        bool is_unix;
} RpcAddress;

/* Return: 0, or -EINVAL for what is none of the three. A "*" or empty host stands for every IPv6
 * and IPv4 address of this machine. Never asks a name server. */
int rpc_address_parse(const char *text, RpcAddress *ret);

/* "127.0.0.1:41234", "[::1]:5" or "unix:/path" (or just "unix" when it has no name). */
void rpc_address_format(const RpcSockaddr *sockaddr, socklen_t size,
                        char ret[static RPC_ADDRESS_TEXT_MAX]);

/* A listening, non-blocking socket. A stale unix socket is replaced, a living one is
 * -EADDRINUSE. */
int rpc_address_listen(const RpcAddress *address, int *ret_fd);

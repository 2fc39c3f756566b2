/*
 * Addresses.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/address.h"

#define BACKLOG 1024

static int parse_unix(const char *path, RpcAddress *ret)
{
        size_t size = strlen(path);

        if (size == 0 || size >= sizeof(ret->sockaddr.un.sun_path))
                return -EINVAL;
        ret->is_unix = true;
        ret->sockaddr.un.sun_family = AF_UNIX;
        memcpy(ret->sockaddr.un.sun_path, path, size + 1);
        ret->size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size + 1);
        return 0;
}

static int parse_port(const char *text, char ret[static 6])
{
        size_t size = strlen(text);
        unsigned value = 0;

        if (size == 0 || size > 5)
                return -EINVAL;
        for (size_t i = 0; i < size; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -EINVAL;
                value = value * 10 + (unsigned) (text[i] - '0');
        }
        if (value > UINT16_MAX)
                return -EINVAL;
        memcpy(ret, text, size + 1);
        return (int) value;
}

static void resolve_numeric(RpcAddress *a)
{
        struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                 .ai_socktype = SOCK_STREAM};
        struct addrinfo *found;

        if (getaddrinfo(a->host, a->port, &hints, &found) != 0)
                return;
        memcpy(&a->sockaddr, found->ai_addr, found->ai_addrlen);
        a->size = found->ai_addrlen;
        freeaddrinfo(found);
}

int rpc_address_parse(const char *text, RpcAddress *ret)
{
        RpcAddress a = {};
        const char *colon, *host = text;
        size_t host_size;
        int port;

        if (strncmp(text, "unix:", 5) == 0) {
                int r = parse_unix(text + 5, &a);

                if (r >= 0)
                        *ret = a;
                return r;
        }
        colon = strrchr(text, ':');
        if (!colon)
                return -EINVAL;
        host_size = (size_t) (colon - text);
        if (host_size >= 2 && text[0] == '[' && colon[-1] == ']') {
                host++;
                host_size -= 2;
        } else if (memchr(text, ':', host_size))
                return -EINVAL; /* IPv6 goes in brackets: its last group could be the port */
        if (host_size > RPC_HOST_MAX)
                return -EINVAL;
        port = parse_port(colon + 1, a.port);
        if (port < 0)
                return port;
        memcpy(a.host, host, host_size);
        if (host_size == 0 || strcmp(a.host, "*") == 0) {
                a.sockaddr.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                                       .sin6_port = htons((uint16_t) port)};
                a.size = sizeof(a.sockaddr.in6);
        } else
                resolve_numeric(&a);
        *ret = a;
        return 0;
}

void rpc_address_format(const RpcSockaddr *sockaddr, socklen_t size,
                        char ret[static RPC_ADDRESS_TEXT_MAX])
{
        char host[INET6_ADDRSTRLEN] = "";

        switch (sockaddr->sa.sa_family) {
        case AF_INET:
                (void) inet_ntop(AF_INET, &sockaddr->in.sin_addr, host, sizeof(host));
                (void) snprintf(ret, RPC_ADDRESS_TEXT_MAX, "%s:%u", host,
                                ntohs(sockaddr->in.sin_port));
                break;
        case AF_INET6:
                (void) inet_ntop(AF_INET6, &sockaddr->in6.sin6_addr, host, sizeof(host));
                (void) snprintf(ret, RPC_ADDRESS_TEXT_MAX, "[%s]:%u", host,
                                ntohs(sockaddr->in6.sin6_port));
                break;
        default:
                if (size > offsetof(struct sockaddr_un, sun_path) && sockaddr->un.sun_path[0])
                        (void) snprintf(ret, RPC_ADDRESS_TEXT_MAX, "unix:%.107s",
                                        sockaddr->un.sun_path);
                else
                        (void) snprintf(ret, RPC_ADDRESS_TEXT_MAX, "unix");
        }
}

/* Nobody answers on a stale socket; only then it is ours to remove. */
static int remove_stale_socket(const RpcAddress *a)
{
        struct stat st;
        int fd, r;

        if (lstat(a->sockaddr.un.sun_path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EADDRINUSE;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        r = connect(fd, &a->sockaddr.sa, a->size) < 0 ? -errno : 0;
        (void) close(fd);
        if (r != -ECONNREFUSED)
                return r == -ENOENT ? 0 : -EADDRINUSE;
        return unlink(a->sockaddr.un.sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int prepare(int fd, const RpcAddress *a)
{
        int on = 1, off = 0;

        if (a->is_unix) {
                /* The mode of the socket before bind() is that of the file after it. */
                if (fchmod(fd, 0600) < 0)
                        return -errno;
                return remove_stale_socket(a);
        }
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                return -errno;
        if (a->sockaddr.sa.sa_family == AF_INET6 &&
            IN6_IS_ADDR_UNSPECIFIED(&a->sockaddr.in6.sin6_addr) &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
                return -errno;
        return 0;
}

static int listen_on(const RpcAddress *a, int *ret_fd)
{
        int fd, r;

        fd = socket(a->sockaddr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        r = prepare(fd, a);
        if (r >= 0 && (bind(fd, &a->sockaddr.sa, a->size) < 0 || listen(fd, BACKLOG) < 0))
                r = -errno;
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

/* At start-up a name may be looked up the simple way: nothing is served yet. */
static int resolve_name(const RpcAddress *address, RpcAddress *ret)
{
        struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                 .ai_socktype = SOCK_STREAM};
        struct addrinfo *found;

        if (getaddrinfo(address->host, address->port, &hints, &found) != 0)
                return -EADDRNOTAVAIL;
        *ret = *address;
        memcpy(&ret->sockaddr, found->ai_addr, found->ai_addrlen);
        ret->size = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
}

int rpc_address_listen(const RpcAddress *address, int *ret_fd)
{
        RpcAddress a = *address;
        int r;

        if (a.size == 0) {
                r = resolve_name(address, &a);
                if (r < 0)
                        return r;
        }
        r = listen_on(&a, ret_fd);
        if (r == -EAFNOSUPPORT && (a.host[0] == 0 || strcmp(a.host, "*") == 0)) {
                /* A machine without IPv6. */
                in_port_t port = a.sockaddr.in6.sin6_port;

                a.sockaddr.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
                a.size = sizeof(a.sockaddr.in);
                r = listen_on(&a, ret_fd);
        }
        return r;
}

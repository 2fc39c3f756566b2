/*
 * Packets with descriptors — see packet.h.
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include "platform/packet.h"

typedef union Control {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * PACKET_MAX_FDS)];
} Control;

int packet_send(int fd, const void *data, size_t size_bytes, const int *fds, size_t fd_count)
{
        struct iovec iov = {.iov_base = (void *) data, .iov_len = size_bytes};
        struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
        Control control = {};

        if (size_bytes == 0 || size_bytes > PACKET_MAX_BYTES || fd_count > PACKET_MAX_FDS)
                return -EMSGSIZE;

        if (fd_count > 0) {
                struct cmsghdr *c;

                mh.msg_control = control.bytes;
                mh.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
                c = CMSG_FIRSTHDR(&mh);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
        }
        while (sendmsg(fd, &mh, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

ssize_t packet_recv(int fd, void *data, int fds[static PACKET_MAX_FDS], size_t *ret_fd_count)
{
        struct iovec iov = {.iov_base = data, .iov_len = PACKET_MAX_BYTES};
        Control control;
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.bytes,
                .msg_controllen = sizeof(control.bytes),
        };
        size_t count = 0;
        ssize_t n;

        do
                n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == ECONNRESET ? 0 : -errno;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
                size_t got;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < got; i++) {
                        int one;

                        memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (count < PACKET_MAX_FDS)
                                fds[count++] = one;
                        else
                                safe_close(one);
                }
        }
        if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
                while (count > 0)
                        safe_close(fds[--count]);
                return -EBADMSG;
        }
        *ret_fd_count = count;
        return n;
}

/*
 * Link — see link.h.
 */
#include <poll.h>

#include "mr-task/link.h"

void message_done(Message *m)
{
        for (size_t i = 0; i < m->fd_count; i++)
                safe_close(m->fds[i]);
        if (m->body)
                mapreduced__task__v1__to_task__free_unpacked(m->body, NULL);
        *m = (Message){};
}

static int wait_for(int fd, short events)
{
        struct pollfd p = {.fd = fd, .events = events};

        while (poll(&p, 1, -1) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

int link_receive(int fd, Message *ret)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        Message m = {};
        ssize_t n;
        int r;

        for (;;) {
                n = packet_recv(fd, buffer, m.fds, &m.fd_count);
                if (n != -EAGAIN)
                        break;
                r = wait_for(fd, POLLIN);
                if (r < 0)
                        return r;
        }
        if (n < 0)
                return (int) n;
        if (n == 0)
                return LINK_ENDED;
        m.body = mapreduced__task__v1__to_task__unpack(NULL, (size_t) n, buffer);
        if (!m.body) {
                message_done(&m);
                return -EBADMSG;
        }
        *ret = m;
        return 0;
}

int link_send(int fd, Mapreduced__Task__V1__FromTask *m, bool may_drop)
{
        static uint8_t buffer[PACKET_MAX_BYTES];
        size_t size = mapreduced__task__v1__from_task__get_packed_size(m);
        int r;

        if (size > sizeof(buffer))
                return -EMSGSIZE;
        (void) mapreduced__task__v1__from_task__pack(m, buffer);
        for (;;) {
                r = packet_send(fd, buffer, size, NULL, 0);
                if (r == -EPIPE || r == -ECONNRESET)
                        return LINK_ENDED;
                if (r != -EAGAIN)
                        return r;
                if (may_drop)
                        return 0;
                r = wait_for(fd, POLLOUT);
                if (r < 0)
                        return r;
        }
}

int link_check(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLRDHUP};

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) ? LINK_ENDED : 0;
}

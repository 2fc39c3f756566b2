/*
 * Transport.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/transport.h"

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        RpcTransport *t = userdata;
        ssize_t n;

        n = recv((int) fd, t->read_buffer, RPC_READ_SIZE, MSG_DONTWAIT);
        if (n < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        t->on_lost(t->userdata, -errno);
                return;
        }
        if (n == 0) {
                t->on_lost(t->userdata, 0);
                return;
        }
        if (t->stamp)
                t->last_read_usec = rpc_now_usec();
        t->on_input(t->userdata, t->read_buffer, (size_t) n);
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
        RpcTransport *t = userdata;
        int r;

        t->write_waiting = false;
        r = rpc_transport_send(t);
        if (r < 0)
                t->on_lost(t->userdata, r);
        else if (r > 0)
                t->on_room(t->userdata);
}

int rpc_transport_init(RpcTransport *t, struct event_base *base, int fd, RpcBlockPool *pool,
                       uint8_t *read_buffer)
{
        int on = 1;

        t->fd = fd;
        t->read_buffer = read_buffer;
        t->write_waiting = false;
        /* Fails on a unix socket, which needs it not. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        rpc_output_init(&t->output, pool);
        (void) event_assign(&t->read_event, base, fd, EV_READ | EV_PERSIST, on_readable, t);
        (void) event_assign(&t->write_event, base, fd, EV_WRITE, on_writable, t);
        return event_add(&t->read_event, NULL) < 0 ? -ENOMEM : 0;
}

void rpc_transport_done(RpcTransport *t)
{
        if (t->fd < 0)
                return;
        (void) event_del(&t->read_event);
        (void) event_del(&t->write_event);
        (void) close(t->fd);
        t->fd = -EBADF;
        rpc_output_done(&t->output);
}

int rpc_transport_send(RpcTransport *t)
{
        int r;

        if (t->write_waiting)
                return 0;
        r = rpc_output_send(&t->output, t->fd);
        if (r == 0) {
                if (event_add(&t->write_event, NULL) < 0)
                        return -ENOMEM;
                t->write_waiting = true;
        }
        return r;
}

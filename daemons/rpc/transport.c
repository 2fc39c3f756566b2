/*
 * Transport.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/transport.h"

/* Of the read buffer. Decrypted bytes are fewer than their records, but for one that came in parts:
 * 16 KiB that OpenSSL keeps. */
#define RECORDS_SIZE ((size_t) 112 * 1024)
#define PLAIN_SIZE (RPC_READ_SIZE - RECORDS_SIZE)
#define NEXT_HEAD_SIZE ((size_t) 4096)
#define LINGER_USEC RPC_USEC_PER_SEC /* for an alert to arrive before the socket is closed */

/* Return: how many bytes came; 0: none now; -ESHUTDOWN: the peer closed; negative errno. */
static ssize_t take(RpcTransport *t, struct iovec *iov, size_t count)
{
        ssize_t n;

        if (t->timestamps)
                n = rpc_timestamps_receive(t->fd, iov, count, &t->received);
        else if (count == 1)
                n = recv(t->fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT);
        else
                n = recvmsg(t->fd, &(struct msghdr){.msg_iov = iov, .msg_iovlen = count},
                            MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ESHUTDOWN;
        if (t->stamp)
                t->last_read_usec = rpc_now_usec();
        return n;
}

/* ---- TLS
 * ---------------------------------------------------------------------------------------- */

static ssize_t take_records(RpcTransport *t)
{
        return take(t, &(struct iovec){t->read_buffer, RECORDS_SIZE}, 1);
}

static void set_handshake_timer(RpcTransport *t, uint64_t usec)
{
        struct timeval tv = rpc_timeval(usec);

        (void) event_add(&t->handshake_timer, &tv);
}

static void on_handshake_timer(evutil_socket_t fd, short what, void *userdata)
{
        RpcTransport *t = userdata;

        rpc_tls_set_error(t->tls, "No TLS handshake in time");
        t->on_lost(t->userdata, -ETIMEDOUT);
}

/* The alert leaves, the client reads it and closes, then we do. */
static void linger(RpcTransport *t)
{
        (void) rpc_output_send(&t->tls->cipher, t->fd);
        (void) event_del(&t->write_event);
        if (!t->tls->server || shutdown(t->fd, SHUT_WR) < 0) {
                t->on_lost(t->userdata, -EPROTO);
                return;
        }
        t->lingering = true;
        set_handshake_timer(t, LINGER_USEC);
}

/* Answers of the handshake, and of what TLS sends beside data. Return: as rpc_transport_send(). */
static int answer(RpcTransport *t)
{
        return t->tls->cipher.count > 0 ? rpc_transport_send(t) : 1;
}

static void on_records(RpcTransport *t, size_t size)
{
        uint8_t *plain = t->read_buffer + RECORDS_SIZE;
        bool shaking = !t->tls->established, gone = false;
        ssize_t n;
        int r;

        t->gone = &gone;
        rpc_tls_feed(t->tls, t->read_buffer, size);
        while ((n = rpc_tls_read(t->tls, plain, PLAIN_SIZE)) > 0) {
                t->on_input(t->userdata, plain, (size_t) n);
                if (gone)
                        return;
        }
        t->gone = NULL;
        if (n == -EPROTO) {
                linger(t);
                return;
        }
        if (n < 0) {
                t->on_lost(t->userdata, n == -ECONNRESET ? 0 : (int) n);
                return;
        }
        r = answer(t);
        if (r < 0)
                t->on_lost(t->userdata, r);
        else if (shaking && t->tls->established) {
                (void) event_del(&t->handshake_timer);
                t->on_room(t->userdata);
        }
}

/* The peer may have said why before it hung up. */
static void read_last_words(RpcTransport *t)
{
        ssize_t n = take_records(t);

        if (n <= 0)
                return;
        rpc_tls_feed(t->tls, t->read_buffer, (size_t) n);
        while (rpc_tls_read(t->tls, t->read_buffer + RECORDS_SIZE, PLAIN_SIZE) > 0)
                ;
}

int rpc_transport_secure(RpcTransport *t, EvgrpcTls *tls, bool server, const char *server_name,
                         uint64_t handshake_usec)
{
        int r = rpc_tls_new(tls, server, server_name, t->output.pool, &t->tls);

        if (r >= 0 && handshake_usec > 0)
                set_handshake_timer(t, handshake_usec);
        return r;
}

void rpc_transport_stamp(RpcTransport *t,
                         void (*on_stamp)(void *userdata, const RpcStampNote *note, int64_t ns))
{
        RpcStamps *s = calloc(1, sizeof(*s));

        if (!s || rpc_stamps_enable(s, t->fd) < 0) {
                free(s);
                return;
        }
        s->tls = t->tls != NULL;
        s->on_stamp = on_stamp;
        s->userdata = t->userdata;
        t->stamps = s;
        if (t->tls)
                t->tls->stamps = s;
}

/* ---- The socket
 * --------------------------------------------------------------------------------- */

static void on_read_error(RpcTransport *t, int error)
{
        if (rpc_transport_is_shaking_hands(t))
                rpc_tls_set_error(t->tls, "The connection ended within the TLS handshake");
        t->on_lost(t->userdata, error == -ESHUTDOWN ? 0 : error);
}

static void read_records(RpcTransport *t)
{
        ssize_t n = take_records(t);

        if (n < 0)
                on_read_error(t, (int) n);
        else if (n > 0 && !t->lingering)
                on_records(t, (size_t) n);
}

/* To the place that the owner names, and behind that only a little of what follows: the head of the
 * next message, so that the rest of that one has its place in the next read. */
static void read_plain(RpcTransport *t)
{
        struct iovec iov[2] = {{}, {t->read_buffer, RPC_READ_SIZE}};
        uint8_t *place = NULL;
        bool gone = false;
        size_t first;
        ssize_t n;

        if (t->place)
                iov[0].iov_len = t->place(t->userdata, &place);
        iov[0].iov_base = place;
        if (place)
                iov[1].iov_len = NEXT_HEAD_SIZE;
        n = iov[0].iov_len > 0 ? take(t, iov, 2) : take(t, iov + 1, 1);
        if (n < 0)
                on_read_error(t, (int) n);
        if (n <= 0)
                return;
        first = RPC_MIN((size_t) n, iov[0].iov_len);
        if (first > 0) {
                t->gone = &gone;
                t->on_input(t->userdata, iov[0].iov_base, first);
                if (gone)
                        return;
                t->gone = NULL;
        }
        if ((size_t) n > first)
                t->on_input(t->userdata, t->read_buffer, (size_t) n - first);
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        RpcTransport *t = userdata;

        if (t->stamps)
                rpc_stamps_drain(t->stamps, t->fd);
        if (t->tls)
                read_records(t);
        else
                read_plain(t);
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
        (void) event_assign(&t->handshake_timer, base, -1, 0, on_handshake_timer, t);
        return event_add(&t->read_event, NULL) < 0 ? -ENOMEM : 0;
}

void rpc_transport_done(RpcTransport *t)
{
        if (t->fd < 0)
                return;
        if (t->gone)
                *t->gone = true;
        t->gone = NULL;
        if (t->tls)
                rpc_tls_say_goodbye(t->tls, t->fd);
        t->tls = rpc_tls_free(t->tls);
        free(t->stamps);
        t->stamps = NULL;
        (void) event_del(&t->read_event);
        (void) event_del(&t->write_event);
        (void) event_del(&t->handshake_timer);
        (void) close(t->fd);
        t->fd = -EBADF;
        rpc_output_done(&t->output);
}

int rpc_transport_send(RpcTransport *t)
{
        int r;

        if (t->write_waiting || t->lingering)
                return 0;
        r = t->tls ? rpc_tls_send(t->tls, &t->output, t->fd) : rpc_output_send(&t->output, t->fd);
        if (t->stamps && t->stamps->count > 0)
                rpc_stamps_drain(t->stamps, t->fd); /* mostly they are there at once */
        if (r == 0) {
                if (event_add(&t->write_event, NULL) < 0)
                        return -ENOMEM;
                t->write_waiting = true;
        } else if (r < 0 && t->tls)
                read_last_words(t);
        return r > 0 && rpc_transport_is_shaking_hands(t) ? 0 : r;
}

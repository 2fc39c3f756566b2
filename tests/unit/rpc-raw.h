/*
 * A client that speaks HTTP/2 by hand, so that it can speak it badly: frames are put together here,
 * and what the server answers is kept as bytes.
 */
#pragma once

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc-fixture.h"

enum {
        RAW_DATA,
        RAW_HEADERS,
        RAW_RST = 3,
        RAW_SETTINGS,
        RAW_PING = 6,
        RAW_GOAWAY,
        RAW_WINDOW,
        RAW_MORE
};
#define RAW_END_STREAM 1
#define RAW_ACK 1
#define RAW_END_HEADERS 4

typedef struct Raw {
        int fd;
        GByteArray *out; /* not yet sent */
        GByteArray *got;
        bool closed;
} Raw;

static inline void raw_frame(Raw *p, uint8_t type, uint8_t flags, uint32_t id, const void *data,
                             size_t size)
{
        uint8_t head[9] = {(uint8_t) (size >> 16),
                           (uint8_t) (size >> 8),
                           (uint8_t) size,
                           type,
                           flags,
                           (uint8_t) (id >> 24),
                           (uint8_t) (id >> 16),
                           (uint8_t) (id >> 8),
                           (uint8_t) id};

        g_byte_array_append(p->out, head, sizeof(head));
        if (size > 0)
                g_byte_array_append(p->out, data, (guint) size);
}

/* Sends what the socket takes and reads what has come. Returns true while there is more to send. */
static inline bool raw_turn(Raw *p)
{
        uint8_t buffer[65536];
        ssize_t n = 0;

        if (p->out->len > 0)
                n = send(p->fd, p->out->data, p->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
                g_byte_array_remove_range(p->out, 0, (guint) n);
        while ((n = recv(p->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
                g_byte_array_append(p->got, buffer, (guint) n);
        if (n == 0 || errno != EAGAIN)
                p->closed = true;
        return p->out->len > 0 && !p->closed;
}

/* Connects, and sends the preface and SETTINGS of @settings (six bytes each). */
static inline void raw_begin(Raw *p, Fixture *f, const void *settings, size_t size)
{
        struct sockaddr_storage to;
        int to_size = sizeof(to);

        g_assert_cmpint(evutil_parse_sockaddr_port(f->address, (struct sockaddr *) &to, &to_size),
                        ==, 0);
        *p = (Raw){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                   .out = g_byte_array_new(),
                   .got = g_byte_array_new()};
        g_assert_cmpint(connect(p->fd, (struct sockaddr *) &to, (socklen_t) to_size), ==, 0);
        g_byte_array_append(p->out, (const uint8_t *) "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        raw_frame(p, RAW_SETTINGS, 0, 0, settings, size);
}

static inline void raw_end(Raw *p)
{
        close(p->fd);
        g_byte_array_unref(p->out);
        g_byte_array_unref(p->got);
}

/* A literal field that is not indexed (RFC 7541 §6.2.2), names and values below 127 bytes. */
static inline void raw_field(GByteArray *block, const char *name, const char *value)
{
        uint8_t n = (uint8_t) strlen(name), v = (uint8_t) strlen(value);

        g_byte_array_append(block, (const uint8_t *) "\0", 1);
        g_byte_array_append(block, &n, 1);
        g_byte_array_append(block, (const uint8_t *) name, n);
        g_byte_array_append(block, &v, 1);
        g_byte_array_append(block, (const uint8_t *) value, v);
}

static inline GByteArray *raw_block(const char *method)
{
        g_autofree char *path = g_strdup_printf("/evgrpc.test.Echo/%s", method);
        GByteArray *block = g_byte_array_new();

        g_byte_array_append(block, (const uint8_t *) "\x83\x86", 2); /* POST, http */
        raw_field(block, ":path", path);
        raw_field(block, ":authority", "test");
        raw_field(block, "content-type", "application/grpc");
        raw_field(block, "te", "trailers");
        return block;
}

static inline void raw_headers(Raw *p, uint32_t id, const char *method)
{
        g_autoptr(GByteArray) block = raw_block(method);

        raw_frame(p, RAW_HEADERS, RAW_END_HEADERS, id, block->data, block->len);
}

static inline void raw_call(Raw *p, uint32_t id, const char *method, const Order *order)
{
        uint8_t message[256] = {};
        size_t size = evgrpc__test__order__pack(order, message + 5);

        g_assert_cmpuint(size, <, sizeof(message) - 5);
        message[4] = (uint8_t) size;
        raw_headers(p, id, method);
        raw_frame(p, RAW_DATA, RAW_END_STREAM, id, message, 5 + size);
}

typedef struct RawFrame {
        size_t size;
        uint8_t type, flags;
        uint32_t id;
        const uint8_t *data;
} RawFrame;

/* The frames that have come whole. @at begins with 0. */
static inline bool raw_next(const Raw *p, size_t *at, RawFrame *ret)
{
        const uint8_t *h = p->got->data + *at;

        if (p->got->len < *at + 9)
                return false;
        *ret = (RawFrame){.size = (size_t) h[0] << 16 | (size_t) h[1] << 8 | h[2],
                          .type = h[3],
                          .flags = h[4],
                          .id = (uint32_t) h[5] << 24 | (uint32_t) h[6] << 16 |
                                (uint32_t) h[7] << 8 | h[8],
                          .data = h + 9};
        if (p->got->len < *at + 9 + ret->size)
                return false;
        *at += 9 + ret->size;
        return true;
}

/* Frames of this type for this stream; UINT32_MAX: any. */
static inline unsigned raw_count(const Raw *p, uint8_t type, uint32_t id)
{
        unsigned count = 0;
        size_t at = 0;
        RawFrame frame;

        while (raw_next(p, &at, &frame))
                count += frame.type == type && (id == UINT32_MAX || frame.id == id);
        return count;
}

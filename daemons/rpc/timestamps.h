/*
 * Receive timestamps — when the kernel got the bytes that one read returns.
 *
 * The time a program sees a message is later than the time it came by the wait for the processor,
 * which under load is the largest error of a clock comparison. Linux notes the time of each segment
 * when its driver hands it over (SO_TIMESTAMPNS, socket(7)) and a read of a TCP socket gives that
 * of the last segment it took bytes from. So a time may be too late for the first of several
 * messages that one read takes, never too early for any.
 *
 * Local sockets carry none, nor do segments that came before the kernel had begun to note times (it
 * does so once some socket asks). Then it is the time just after the read, and says so.
 */
#pragma once

#include <sys/uio.h>

#include "rpc/util.h"

typedef struct RpcTime {
        int64_t ns;       /* CLOCK_REALTIME, since 1970; 0: none was asked for */
        bool from_kernel; /* else from user space, after the read */
} RpcTime;

/* For a socket that listens or is yet to connect: what it accepts inherits it. Never fails; without
 * the kernel's help the times are our own. */
void rpc_timestamps_enable(int fd);

/* readv() that tells the time. Return: as recv(). @ret changes only when bytes came. */
ssize_t rpc_timestamps_receive(int fd, struct iovec *iov, size_t count, RpcTime *ret);

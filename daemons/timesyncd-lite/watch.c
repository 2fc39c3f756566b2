/*
 * Watching — see watch.h.
 */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "timesyncd-lite/watch.h"

static int arm(int fd)
{
        /* A moment that never comes. The kernel's own limit of times is below INT64_MAX ns. */
        const struct itimerspec never = {.it_value.tv_sec = INT64_MAX / NSEC_PER_SEC / 2};

        return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0
                       ? -errno
                       : 0;
}

int watch_clock_open(int *ret_fd)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = arm(fd);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

void watch_clock_rearm(int fd)
{
        uint64_t expirations;

        (void) !read(fd, &expirations, sizeof(expirations)); /* ECANCELED */
        (void) arm(fd);
}

int watch_network_open(int *ret_fd)
{
        const struct sockaddr_nl address = {
                .nl_family = AF_NETLINK,
                .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                             RTMGRP_IPV6_ROUTE,
        };
        _cleanup_close_ int fd = -EBADF;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

void watch_network_drain(int fd)
{
        char buffer[8192];

        /* What it was does not matter; ENOBUFS means that there was more. */
        for (int i = 0; i < 64; i++)
                if (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
                        return;
}

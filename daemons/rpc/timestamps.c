/*
 * Receive timestamps.
 */
#include <linux/errqueue.h>
#include <sys/socket.h>

#include "rpc/timestamps.h"

#define NS_PER_SEC INT64_C(1000000000)

static int64_t to_ns(const struct timespec *ts)
{
        return (int64_t) ts->tv_sec * NS_PER_SEC + ts->tv_nsec;
}

void rpc_timestamps_enable(int fd)
{
        int on = 1;

        (void) setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

static RpcTime time_of(struct msghdr *mh)
{
        struct timespec ts;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS ||
                    c->cmsg_len < CMSG_LEN(sizeof(ts)))
                        continue;
                memcpy(&ts, CMSG_DATA(c), sizeof(ts));
                return (RpcTime){.ns = to_ns(&ts), .from_kernel = true};
        }
        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (RpcTime){.ns = to_ns(&ts)};
}

ssize_t rpc_timestamps_receive(int fd, struct iovec *iov, size_t count, RpcTime *ret)
{
        union {
                /* A socket with send stamps tells the time of receipt in their form, too. */
                char space[CMSG_SPACE(sizeof(struct timespec)) +
                           CMSG_SPACE(sizeof(struct scm_timestamping))];
                struct cmsghdr align;
        } control;
        struct msghdr mh = {.msg_iov = iov,
                            .msg_iovlen = count,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n > 0)
                *ret = time_of(&mh);
        return n;
}

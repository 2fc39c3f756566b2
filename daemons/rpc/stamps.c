/*
 * Send stamps.
 */
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <sys/socket.h>

#include "rpc/stamps.h"

#define NS_PER_SEC INT64_C(1000000000)
#define ID_TCP                                                                                     \
        (1u                                                                                        \
         << 16) /* SOF_TIMESTAMPING_OPT_ID_TCP, of Linux 6.2; older headers have no name for it */
#define DRAIN_MAX 64u /* more than one flush can make; what is left is read in the next round */

int rpc_stamps_enable(RpcStamps *s, int fd)
{
        unsigned flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                         SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY | ID_TCP;
        int domain = 0;
        socklen_t size = sizeof(domain);

        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
                return -errno;
        if (domain != AF_INET && domain != AF_INET6)
                return -EOPNOTSUPP;
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)) >= 0)
                return 0;
        /* Without it bytes are counted from the first one that is not acknowledged: the same here,
         * as nothing was sent. */
        flags &= ~ID_TCP;
        return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)) < 0 ? -errno : 0;
}

static void drop_first(RpcStamps *s, unsigned count)
{
        s->count -= count;
        memmove(s->marks, s->marks + count, s->count * sizeof(*s->marks));
}

void rpc_stamps_mark(RpcStamps *s, uint64_t plain_end, const RpcStampNote *note)
{
        if (!rpc_stamps_are_told(s))
                return;
        if (s->count == RPC_STAMPS_MARKS) {
                drop_first(s, 1);
                s->missed++;
        }
        s->marks[s->count++] = (RpcStampMark){
                .note = *note,
                .plain_end = plain_end,
                .end = s->tls ? 0 : plain_end,
        };
}

void rpc_stamps_encrypted(RpcStamps *s, uint64_t plain_end, uint64_t end)
{
        for (unsigned i = 0; i < s->count; i++)
                if (s->marks[i].end == 0 && s->marks[i].plain_end <= plain_end)
                        s->marks[i].end = end;
}

/* All marks up to the byte with this number, which counts modulo 2³², have left by now. */
static void take_stamp(RpcStamps *s, uint32_t last_byte, int64_t ns)
{
        unsigned left = 0;

        while (left < s->count && s->marks[left].end != 0 &&
               (int32_t) (last_byte - (uint32_t) (s->marks[left].end - 1)) >= 0)
                left++;
        if (left == 0)
                return; /* of bytes that nobody asked about, or that were sent again */
        s->missed = 0;
        for (unsigned i = 0; i < left; i++)
                s->on_stamp(s->userdata, &s->marks[i].note, ns);
        drop_first(s, left);
}

static void read_message(RpcStamps *s, struct msghdr *mh)
{
        struct sock_extended_err error = {};
        struct scm_timestamping times = {};

        for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING &&
                    c->cmsg_len >= CMSG_LEN(sizeof(times)))
                        memcpy(&times, CMSG_DATA(c), sizeof(times));
                else if (c->cmsg_level != SOL_SOCKET && c->cmsg_len >= CMSG_LEN(sizeof(error)))
                        memcpy(&error, CMSG_DATA(c), sizeof(error)); /* IP_RECVERR, IPV6_RECVERR */
        }
        if (error.ee_errno == ENOMSG && error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING &&
            error.ee_info == SCM_TSTAMP_SND && times.ts[0].tv_sec != 0)
                take_stamp(s, error.ee_data,
                           (int64_t) times.ts[0].tv_sec * NS_PER_SEC + times.ts[0].tv_nsec);
}

void rpc_stamps_drain(RpcStamps *s, int fd)
{
        for (unsigned i = 0; i < DRAIN_MAX; i++) {
                union {
                        char space[CMSG_SPACE(sizeof(struct scm_timestamping)) +
                                   CMSG_SPACE(sizeof(struct sock_extended_err) + 32)];
                        struct cmsghdr align;
                } control;
                struct msghdr mh = {.msg_control = &control, .msg_controllen = sizeof(control)};

                if (recvmsg(fd, &mh, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
                        return;
                read_message(s, &mh);
        }
}

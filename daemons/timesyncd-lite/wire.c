/*
 * Wire — see wire.h.
 */
#include <systemd/sd-id128.h>

#include "timesyncd-lite/wire.h"

/* From the program's T3 to the wire: later than this the machine slept, or its clock was
 * stepped. */
#define LATE_MAX_NS NSEC_PER_SEC

int wire_own_id(uint64_t *ret)
{
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        *ret = (boot.qwords[0] ^ boot.qwords[1]) | 1; /* never 0 */
        return 0;
}

static TimeLeap leap_from_wire(Mapreduced__Time__V1__Leap leap)
{
        switch (leap) {
        case MAPREDUCED__TIME__V1__LEAP__LEAP_INSERT:
                return TIME_LEAP_INSERT;
        case MAPREDUCED__TIME__V1__LEAP__LEAP_DELETE:
                return TIME_LEAP_DELETE;
        default:
                return TIME_LEAP_NONE; /* a later version's word is no announcement */
        }
}

static Mapreduced__Time__V1__Leap leap_to_wire(TimeLeap leap)
{
        switch (leap) {
        case TIME_LEAP_INSERT:
                return MAPREDUCED__TIME__V1__LEAP__LEAP_INSERT;
        case TIME_LEAP_DELETE:
                return MAPREDUCED__TIME__V1__LEAP__LEAP_DELETE;
        default:
                return MAPREDUCED__TIME__V1__LEAP__LEAP_NONE;
        }
}

int wire_read_reply(const Mapreduced__Time__V1__SyncTimeReply *m, int64_t t1_ns, uint64_t own_id,
                    WireReply *ret)
{
        WireReply reply;

        if (m->t1_ns != t1_ns || m->n_reference_ids >= CLOCK_PATH_MAX)
                return -EBADMSG;

        reply = (WireReply){
                .t = {t1_ns, m->t2_ns, m->t3_ns},
                .claim =
                        {
                                .synchronised = m->synchronised,
                                .stratum = m->stratum,
                                .root_delay_ns = m->root_delay_ns,
                                .root_dispersion_ns = m->root_dispersion_ns,
                                .leap = leap_from_wire(m->leap),
                        },
                .path = {.ids = {m->server_id}, .count = 1},
                .t2_from_kernel = m->t2_from_kernel,
                .t3_follows = m->t3_follows,
        };
        for (size_t i = 0; i < m->n_reference_ids; i++)
                reply.path.ids[reply.path.count++] = m->reference_ids[i];
        for (size_t i = 0; i < reply.path.count; i++)
                reply.claim.is_loop |= own_id != 0 && reply.path.ids[i] == own_id;
        *ret = reply;
        return 0;
}

int wire_take_follow_up(const Mapreduced__Time__V1__SyncTimeReply *m, WireReply *first)
{
        int64_t late_ns;

        if (m->previous_t3_ns == 0 || m->previous_t1_ns != first->t[0])
                return -ENODATA;
        if (__builtin_sub_overflow(m->previous_t3_ns, first->t[2], &late_ns) ||
            late_ns < -WIRE_READING_NS || late_ns > LATE_MAX_NS)
                return -EBADMSG;
        first->t[2] = m->previous_t3_ns;
        first->t3_from_kernel = true;
        return 0;
}

void wire_fill_reply(const TimeClaim *claim, uint64_t own_id, ClockPath *references,
                     Mapreduced__Time__V1__SyncTimeReply *m)
{
        m->synchronised = claim->synchronised;
        m->leap = leap_to_wire(claim->leap);
        m->stratum = claim->stratum;
        m->root_delay_ns = claim->root_delay_ns;
        m->root_dispersion_ns = claim->root_dispersion_ns;
        m->server_id = own_id;
        m->reference_ids = references->ids;
        m->n_reference_ids = MIN(references->count, CLOCK_PATH_MAX - 1);
}

/*
 * Whatever servers answer: a reply is refused or carried over whole, and the keeper that is given
 * it never sets a frequency that the kernel does not take, never steps while it runs, and never
 * claims more than it knows.
 *
 * Input: for each exchange one byte for the server and what passes of time, one for the length, and
 * the bytes of a SyncTimeReply, in which all times are counted from T1 of the question; it is also
 * its own follow-up.
 */
#include <math.h>

#include "fuzz.h"
#include "timekeeping/keeper.h"
#include "timesyncd-lite/wire.h"

#define SERVERS 3U
#define EXCHANGES_MAX 400
#define START_NS (INT64_C(1795691595) * NSEC_PER_SEC)
#define OWN UINT64_C(0x1111)

typedef struct Machine {
        TimeKeeper *keeper;
        int64_t mono_ns, base_ns;
        bool ran; /* followed somebody once */
} Machine;

static TimeReading look(const Machine *m)
{
        return (TimeReading){m->mono_ns + m->base_ns, m->mono_ns, m->mono_ns};
}

static void decide(Machine *m)
{
        TimeReading now = look(m);
        KeeperDecision d;
        TimeClaim claim;

        keeper_tick(m->keeper, &now, &d);
        CLAIM(isfinite(d.frequency_ppm) && fabs(d.frequency_ppm) <= 500.0001);
        CLAIM(d.step_ns == 0 || !m->ran);
        CLAIM(d.maxerror_ns >= 0 && d.esterror_ns >= 0);
        CLAIM(d.state >= 0 && d.state < _KEEPER_STATE_MAX);
        m->ran |= d.state == KEEPER_SYNCHRONISED || d.step_ns != 0;
        m->base_ns += d.step_ns;
        now = look(m);
        keeper_claim(m->keeper, &now, &claim);
        if (claim.synchronised) {
                CLAIM(claim.stratum >= 2 && claim.stratum <= 16);
                CLAIM(claim.root_delay_ns >= 0 && claim.root_dispersion_ns >= 0);
                CLAIM(time_claim_distance_ns(&claim) <= keeper_defaults.source.distance_limit_ns);
        }
}

static void answer(Machine *m, unsigned server, const uint8_t *data, size_t size)
{
        int64_t t1_ns = look(m).real_ns;
        Mapreduced__Time__V1__SyncTimeReply *reply =
                mapreduced__time__v1__sync_time_reply__unpack(NULL, size, data);
        TimeReading now;
        WireReply r;

        m->mono_ns += 300000;
        now = look(m);
        if (reply) {
                reply->t1_ns = (int64_t) ((uint64_t) reply->t1_ns + (uint64_t) t1_ns);
                reply->t2_ns = (int64_t) ((uint64_t) reply->t2_ns + (uint64_t) t1_ns);
                reply->t3_ns = (int64_t) ((uint64_t) reply->t3_ns + (uint64_t) t1_ns);
                reply->previous_t1_ns =
                        (int64_t) ((uint64_t) reply->previous_t1_ns + (uint64_t) t1_ns);
                reply->previous_t3_ns =
                        (int64_t) ((uint64_t) reply->previous_t3_ns + (uint64_t) t1_ns);
        }
        if (reply && wire_read_reply(reply, t1_ns, OWN, &r) >= 0) {
                CLAIM(r.path.count >= 1 && r.path.count <= CLOCK_PATH_MAX);
                CLAIM(r.t[0] == t1_ns && r.t[1] == reply->t2_ns && r.t[2] == reply->t3_ns);
                if (wire_take_follow_up(reply, &r) >= 0)
                        CLAIM(r.t3_from_kernel && r.t[0] == reply->previous_t1_ns &&
                              r.t[2] == reply->previous_t3_ns);
                r.t[3] = now.real_ns;
                (void) keeper_reply(m->keeper, server, r.t, &r.claim, &now);
        } else
                (void) keeper_no_reply(m->keeper, server, &now);
        if (reply)
                mapreduced__time__v1__sync_time_reply__free_unpacked(reply, NULL);
}

/* Time passes until the keeper wants something; then each server that is due is answered from the
 * input. */
static void run(Machine *m, const uint8_t *data, size_t size)
{
        for (int i = 0; i < EXCHANGES_MAX && size >= 2; i++) {
                TimeReading now;
                unsigned server;
                size_t n;

                m->mono_ns = MAX(m->mono_ns,
                                 MIN(keeper_wakeup_ns(m->keeper), m->mono_ns + 100 * NSEC_PER_SEC));
                decide(m);
                now = look(m);
                if (keeper_poll(m->keeper, &now, &server) <= 0)
                        continue;
                m->mono_ns += data[0] * 1000000;
                n = MIN((size_t) data[1], size - 2);
                answer(m, server, data + 2, n);
                data += 2 + n;
                size -= 2 + n;
                decide(m);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Machine m = {.mono_ns = 100 * NSEC_PER_SEC, .base_ns = START_NS};
        TimeReading now = look(&m);

        m.keeper = keeper_new(&keeper_defaults, &now, NULL);
        for (unsigned i = 0; i < SERVERS; i++)
                (void) keeper_add_server(m.keeper, &now);
        run(&m, data, size);
        keeper_free(m.keeper);
        return 0;
}

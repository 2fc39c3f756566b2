/*
 * Clock — see clock.h.
 */
#include <linux/capability.h>
#include <math.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>

#include "timesyncd-lite/clock.h"

#define READ_TRIES 4
/* ADJ_FREQUENCY is in units of 2⁻¹⁶ ppm: adjtimex(2). */
#define PPM_UNIT 65536.0
#define FREQUENCY_MAX_PPM 500.0
/* NTP_PHASE_LIMIT of the kernel: beyond it a clock is unsynchronised by definition. */
#define MAXERROR_UNKNOWN_USEC 16000000L

struct Clock {
        bool is_virtual;
        /* The virtual clock: since @mark_ns of the machine's monotonic clock its own ran from
         * @mono_ns at 1 + @rate, and real − mono of it is @base_ns. */
        int64_t mark_ns, mono_ns, base_ns;
        double oscillator, rate, command_ppm;
        ClockStatus status;
};

static int64_t now_ns(clockid_t id)
{
        struct timespec ts;

        (void) clock_gettime(id, &ts);
        return (int64_t) ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Real between two reads of mono, the tightest of a few, so that their difference is known to tens
 * of ns. */
static TimeReading read_machine(void)
{
        TimeReading best = {};
        int64_t best_width_ns = INT64_MAX;

        for (int i = 0; i < READ_TRIES; i++) {
                int64_t before_ns = now_ns(CLOCK_MONOTONIC);
                int64_t real_ns = now_ns(CLOCK_REALTIME);
                int64_t boot_ns = now_ns(CLOCK_BOOTTIME);
                int64_t width_ns = now_ns(CLOCK_MONOTONIC) - before_ns;

                if (width_ns >= best_width_ns)
                        continue;
                best_width_ns = width_ns;
                best = (TimeReading){real_ns, before_ns + width_ns / 2, boot_ns};
        }
        return best;
}

static int adjust(struct timex *tx)
{
        return clock_adjtime(CLOCK_REALTIME, tx) < 0 ? -errno : 0;
}

static bool may_set_time(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        if (syscall(SYS_capget, &header, data) < 0)
                return false;
        return data[CAP_TO_INDEX(CAP_SYS_TIME)].effective & CAP_TO_MASK(CAP_SYS_TIME);
}

int clock_new_system(bool may_adjust, Clock **ret, Error *e)
{
        struct timex tx = {};
        int r;

        r = adjust(&tx);
        if (r < 0)
                return error_setf(e, r, "cannot read the clock's state: %s", error_text(r));
        if (may_adjust && !may_set_time())
                return error_setf(e, EPERM,
                                  "no right to set the clock (CAP_SYS_TIME is missing): start "
                                  "timesyncd-lite.service, or see --dry-run and --role=server");
        *ret = g_new0(Clock, 1);
        return 0;
}

Clock *clock_new_virtual(int64_t offset_ns, double oscillator_ppm)
{
        TimeReading now = read_machine();
        Clock *c = g_new0(Clock, 1);

        *c = (Clock){
                .is_virtual = true,
                .mark_ns = now.mono_ns,
                .mono_ns = now.mono_ns,
                .base_ns = now.real_ns - now.mono_ns + offset_ns,
                .oscillator = oscillator_ppm * 1e-6,
                .rate = oscillator_ppm * 1e-6,
                .status = {.maxerror_ns = INT64_MAX, .esterror_ns = INT64_MAX},
        };
        return c;
}

Clock *clock_free(Clock *c)
{
        g_free(c);
        return NULL;
}

bool clock_is_virtual(const Clock *c)
{
        return c->is_virtual;
}

static int64_t virtual_mono_ns(const Clock *c, int64_t machine_mono_ns)
{
        int64_t passed_ns = machine_mono_ns - c->mark_ns;

        return c->mono_ns + passed_ns + (int64_t) llround((double) passed_ns * c->rate);
}

void clock_read(Clock *c, TimeReading *ret)
{
        TimeReading now = read_machine();

        if (c->is_virtual) {
                int64_t asleep_ns = now.boot_ns - now.mono_ns;

                now.mono_ns = virtual_mono_ns(c, now.mono_ns);
                now.real_ns = now.mono_ns + c->base_ns;
                now.boot_ns = now.mono_ns + asleep_ns;
        }
        *ret = now;
}

int64_t clock_real_ns(Clock *c)
{
        if (c->is_virtual)
                return virtual_mono_ns(c, now_ns(CLOCK_MONOTONIC)) + c->base_ns;
        return now_ns(CLOCK_REALTIME);
}

int64_t clock_ahead_ns(Clock *c)
{
        TimeReading now = read_machine();

        if (!c->is_virtual)
                return 0;
        return virtual_mono_ns(c, now.mono_ns) + c->base_ns - now.real_ns;
}

int64_t clock_from_realtime(Clock *c, int64_t realtime_ns)
{
        TimeReading now;

        if (!c->is_virtual)
                return realtime_ns;
        now = read_machine();
        return virtual_mono_ns(c, realtime_ns - (now.real_ns - now.mono_ns)) + c->base_ns;
}

uint64_t clock_wait_usec(Clock *c, int64_t mono_ns)
{
        TimeReading now;

        clock_read(c, &now);
        if (mono_ns <= now.mono_ns)
                return 0;
        /* Rounded up, or the timer would find nothing to do yet. A rate of 500 ppm is made good
         * later. */
        return (uint64_t) (mono_ns - now.mono_ns) / (uint64_t) NSEC_PER_USEC + 1;
}

int clock_set_frequency(Clock *c, double ppm)
{
        struct timex tx = {.modes = ADJ_FREQUENCY};
        int64_t now;

        ppm = fmin(fmax(ppm, -FREQUENCY_MAX_PPM), FREQUENCY_MAX_PPM);
        if (!c->is_virtual) {
                tx.freq = lround(ppm * PPM_UNIT);
                return adjust(&tx);
        }
        now = now_ns(CLOCK_MONOTONIC);
        c->mono_ns = virtual_mono_ns(c, now);
        c->mark_ns = now;
        c->command_ppm = ppm;
        c->rate = (1 + c->oscillator) * (1 + ppm * 1e-6) - 1;
        return 0;
}

int clock_step(Clock *c, int64_t ns)
{
        struct timex tx = {.modes = ADJ_SETOFFSET | ADJ_NANO};
        int64_t seconds = ns / NSEC_PER_SEC, rest_ns = ns % NSEC_PER_SEC;

        if (c->is_virtual) {
                c->base_ns += ns;
                return 0;
        }
        if (rest_ns < 0) { /* the kernel wants the fraction positive */
                rest_ns += NSEC_PER_SEC;
                seconds--;
        }
        tx.time.tv_sec = (time_t) seconds;
        tx.time.tv_usec = (suseconds_t) rest_ns;
        return adjust(&tx);
}

static long to_usec(int64_t ns)
{
        if (ns >= MAXERROR_UNKNOWN_USEC * NSEC_PER_USEC)
                return MAXERROR_UNKNOWN_USEC;
        return (long) ((ns + NSEC_PER_USEC - 1) / NSEC_PER_USEC);
}

int clock_set_status(Clock *c, const ClockStatus *s)
{
        struct timex tx = {.modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR};

        if (c->is_virtual) {
                c->status = *s;
                return 0;
        }
        /* No STA_PLL: the kernel's own loop stays off, we set the frequency. */
        if (!s->synchronised)
                tx.status |= STA_UNSYNC;
        if (s->leap == TIME_LEAP_INSERT)
                tx.status |= STA_INS;
        else if (s->leap == TIME_LEAP_DELETE)
                tx.status |= STA_DEL;
        tx.maxerror = to_usec(s->maxerror_ns);
        tx.esterror = to_usec(s->esterror_ns);
        return adjust(&tx);
}

int clock_get_status(Clock *c, ClockStatus *ret)
{
        struct timex tx = {};
        int state;

        if (c->is_virtual) {
                *ret = c->status;
                ret->frequency_ppm = c->command_ppm;
                return 0;
        }
        state = clock_adjtime(CLOCK_REALTIME, &tx);
        if (state < 0)
                return -errno;
        *ret = (ClockStatus){
                .synchronised = state != TIME_ERROR && !(tx.status & STA_UNSYNC) &&
                                tx.maxerror < MAXERROR_UNKNOWN_USEC,
                .maxerror_ns = (int64_t) tx.maxerror * NSEC_PER_USEC,
                .esterror_ns = (int64_t) tx.esterror * NSEC_PER_USEC,
                .leap = tx.status & STA_INS   ? TIME_LEAP_INSERT
                        : tx.status & STA_DEL ? TIME_LEAP_DELETE
                                              : TIME_LEAP_NONE,
                .frequency_ppm = (double) tx.freq / PPM_UNIT,
        };
        return 0;
}

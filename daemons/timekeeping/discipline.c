#include <math.h>

#include "timekeeping/discipline.h"
#include "timekeeping/history.h"

#define NS_PER_S 1e9
#define NS_PER_S_PER_PPM 1e3
#define LEAST_SLEW_PPM 0.1 /* left for slewing when the frequency alone is at the limit */
#define STRAY_SHARE 0.1    /* of the newest line in what lines differ by */
#define IGNORED_NS 1.0     /* an offset not worth a change of frequency */

static double clamp(double v, double limit)
{
        return fmin(fmax(v, -limit), limit);
}

void discipline_init(TimeDiscipline *d, const DisciplineLimits *limits, const TimeReading *now,
                     double frequency_ppm, double sd_ppm)
{
        *d = (TimeDiscipline){
                .limits = *limits,
                .base_ns = now->real_ns - now->mono_ns,
                .frequency_ppm = clamp(frequency_ppm, limits->frequency_ppm),
                .frequency_sd_ppm = sd_ppm,
                .slew_end_ns = INT64_MAX,
        };
        d->now = (DisciplineSegment){.mono_ns = now->mono_ns, .rate_ppm = d->frequency_ppm};
        d->before = d->now;
}

/*
 * The clock ran 1 + rate for each free second, so rate / (1 + rate) of what it shows is correction.
 */
static double correction_at(const DisciplineSegment *s, int64_t mono_ns)
{
        double rate = s->rate_ppm * 1e-6;

        return s->correction_ns + (double) (mono_ns - s->mono_ns) * rate / (1 + rate);
}

int64_t discipline_free_ns(const TimeDiscipline *d, int64_t mono_ns)
{
        const DisciplineSegment *s = mono_ns < d->now.mono_ns ? &d->before : &d->now;

        return mono_ns - (int64_t) correction_at(s, mono_ns);
}

static void set_rate(TimeDiscipline *d, int64_t mono_ns, double rate_ppm)
{
        d->before = d->now;
        d->now = (DisciplineSegment){
                .mono_ns = mono_ns,
                .correction_ns = correction_at(&d->before, mono_ns),
                .rate_ppm = rate_ppm,
        };
}

static void line_at(const TimeDiscipline *d, int64_t mono_ns, TimeEstimate *ret)
{
        *ret = d->line;
        estimate_advance(ret, discipline_free_ns(d, mono_ns), d->limits.wander_ppm);
}

int64_t discipline_offset_ns(const TimeDiscipline *d, int64_t mono_ns)
{
        TimeEstimate line;

        if (!d->has_line)
                return 0;
        line_at(d, mono_ns, &line);
        return line.free_ns + line.ahead_ns - (mono_ns + d->base_ns);
}

static int64_t step_for(const TimeDiscipline *d, int64_t offset_ns, DisciplinePhase phase)
{
        int64_t limit_ns =
                phase == DISCIPLINE_RUNNING ? d->limits.step_ns : d->limits.step_at_start_ns;

        if (limit_ns == 0 || (offset_ns <= limit_ns && offset_ns >= -limit_ns))
                return 0;
        /* On a busy machine an answer takes longer than the clock is wrong by: it may be right. */
        if (fabs((double) offset_ns) <= d->line.bound_ns)
                return 0;
        if (phase != DISCIPLINE_START && offset_ns < 0)
                return 0;
        return offset_ns;
}

static void plan_slew(TimeDiscipline *d, int64_t mono_ns, double offset_ns, double slew_s)
{
        double room_ppm, seconds;

        d->slew_ppm = 0;
        d->slew_end_ns = INT64_MAX;
        if (fabs(offset_ns) >= IGNORED_NS) {
                room_ppm = d->limits.slew_ppm -
                           copysign(d->frequency_ppm, offset_ns * d->frequency_ppm);
                room_ppm = fmax(room_ppm, LEAST_SLEW_PPM);
                seconds = fmax(slew_s, fabs(offset_ns) / NS_PER_S_PER_PPM / room_ppm);
                d->slew_ppm = offset_ns / NS_PER_S_PER_PPM / seconds;
                d->slew_end_ns = mono_ns + (int64_t) fmin(seconds * NS_PER_S, 1e17);
        }
        set_rate(d, mono_ns, d->frequency_ppm + d->slew_ppm);
}

/* What the residuals cannot tell: how far the line itself moves from one sample to the next. */
static void learn_stray(TimeDiscipline *d, const TimeEstimate *line)
{
        TimeEstimate old = d->line;
        double moved_ns;

        if (!d->has_line)
                return;
        estimate_advance(&old, line->free_ns, d->limits.wander_ppm);
        moved_ns = (double) (line->ahead_ns - old.ahead_ns);
        if (fabs(moved_ns) > old.bound_ns + line->bound_ns)
                return; /* a server's jump, which says nothing of lines */
        d->stray_ns = hypot(d->stray_ns * sqrt(1 - STRAY_SHARE), moved_ns * sqrt(STRAY_SHARE));
}

int64_t discipline_update(TimeDiscipline *d, const TimeEstimate *line, int64_t mono_ns,
                          double slew_s, DisciplinePhase phase)
{
        int64_t offset_ns, step_ns;

        learn_stray(d, line);
        d->has_line = true;
        d->line = *line;
        d->line.frequency_ppm = clamp(line->frequency_ppm, d->limits.frequency_ppm);
        d->frequency_ppm = d->line.frequency_ppm;
        d->frequency_sd_ppm = fmin(line->frequency_sd_ppm, d->limits.frequency_ppm);

        offset_ns = discipline_offset_ns(d, mono_ns);
        step_ns = step_for(d, offset_ns, phase);
        if (step_ns != 0)
                d->base_ns += step_ns;
        plan_slew(d, mono_ns, (double) (offset_ns - step_ns), slew_s);
        return step_ns;
}

void discipline_widen(TimeDiscipline *d, int64_t mono_ns, double bound_ns)
{
        TimeEstimate line;

        if (!d->has_line)
                return;
        line_at(d, mono_ns, &line);
        if (bound_ns <= line.bound_ns)
                return;
        d->line = line;
        d->line.bound_ns = bound_ns;
}

int64_t discipline_step(TimeDiscipline *d, int64_t mono_ns)
{
        int64_t step_ns = discipline_offset_ns(d, mono_ns);

        d->base_ns += step_ns;
        plan_slew(d, mono_ns, 0, 0);
        return step_ns;
}

bool discipline_tick(TimeDiscipline *d, int64_t mono_ns)
{
        if (mono_ns < d->slew_end_ns)
                return false;

        d->slew_ppm = 0;
        d->slew_end_ns = INT64_MAX;
        set_rate(d, mono_ns, d->frequency_ppm);
        return true;
}

static int64_t saturate(double v)
{
        return v < 9e18 ? (int64_t) ceil(v) : INT64_MAX;
}

int64_t discipline_bound_ns(const TimeDiscipline *d, int64_t mono_ns)
{
        TimeEstimate line;

        if (!d->has_line)
                return INT64_MAX;
        line_at(d, mono_ns, &line);
        return saturate(line.bound_ns + fabs((double) discipline_offset_ns(d, mono_ns)));
}

int64_t discipline_esterror_ns(const TimeDiscipline *d, int64_t mono_ns)
{
        TimeEstimate line;

        if (!d->has_line)
                return INT64_MAX;
        line_at(d, mono_ns, &line);
        return saturate(hypot(line.ahead_sd_ns, d->stray_ns) +
                        fabs((double) discipline_offset_ns(d, mono_ns)));
}

void discipline_set_base(TimeDiscipline *d, int64_t base_ns)
{
        d->base_ns = base_ns;
}

void discipline_shift(TimeDiscipline *d, int64_t ahead_ns)
{
        d->line.ahead_ns += ahead_ns;
}

void discipline_forget(TimeDiscipline *d, int64_t mono_ns)
{
        d->has_line = false;
        d->frequency_sd_ppm = hypot(d->frequency_sd_ppm, d->limits.wander_ppm);
        d->slew_ppm = 0;
        d->slew_end_ns = INT64_MAX;
        set_rate(d, mono_ns, d->frequency_ppm);
}

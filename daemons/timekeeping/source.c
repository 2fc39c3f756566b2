#include <math.h>

#include "timekeeping/source.h"

#define START_SPACE_NS (2 * NSEC_PER_SEC)
/* Far enough for a queue to pass, near enough for one sample. */
#define BURST_SPACE_NS (50 * 1000 * NSEC_PER_USEC)
#define CALM_POLLS 3U
#define SETTLED_COUNT 6U      /* samples below which nothing is called settled */
#define WIDEN_ERROR_NS 2000.0 /* an error too small to hold an interval back */

void source_reset(TimeSource *s, double frequency_ppm, double sd_ppm, int64_t mono_ns)
{
        history_init(&s->history, frequency_ppm, sd_ppm, s->config.wander_ppm);
        filter_init(&s->filter);
        s->n_jumps = 0;
        s->has_line = false;
        s->polls = 0;
        s->vain = 0;
        s->poll = s->config.min_poll;
        s->calm = 0;
        s->next_ns = mono_ns;
        filter_begin(&s->filter, MAX(s->config.burst, SOURCE_START_BURST), s->config.retries);
}

void source_init(TimeSource *s, const SourceConfig *c, double frequency_ppm, double sd_ppm,
                 int64_t mono_ns)
{
        assert(c->min_poll >= SOURCE_POLL_LEAST && c->min_poll <= c->max_poll);
        assert(c->max_poll <= SOURCE_POLL_MOST && c->burst > 0);

        *s = (TimeSource){
                .config = *c,
                .last_sample = TIME_REJECT_NO_SAMPLES,
                .status = TIME_REJECT_NO_SAMPLES,
        };
        source_reset(s, frequency_ppm, sd_ppm, mono_ns);
}

void source_begin(TimeSource *s, int64_t mono_ns)
{
        if (s->filter.asked == 0)
                s->poll_began_ns = mono_ns;
        s->next_ns = INT64_MAX;
}

static bool jumps_agree(const TimeSource *s)
{
        for (size_t i = 1; i < s->n_jumps; i++) {
                const HistorySample *a = s->jumps, *b = s->jumps + i;
                TimeEstimate e = s->line;

                e.free_ns = a->free_ns;
                e.ahead_ns = a->ahead_ns;
                e.bound_ns = (double) a->half_ns;
                if (!estimate_agrees(&e, b, s->config.wander_ppm))
                        return false;
        }
        return true;
}

/*
 * Keeps the sample aside. True when the jumps are the server's new time, and the history now begins
 * with them.
 */
static bool take_jump(TimeSource *s, const HistorySample *sample)
{
        if (s->n_jumps == SOURCE_JUMPS) {
                s->n_jumps--;
                memmove(s->jumps, s->jumps + 1, s->n_jumps * sizeof(*s->jumps));
        }
        s->jumps[s->n_jumps++] = *sample;
        s->poll = s->config.min_poll;
        s->calm = 0;
        if (s->n_jumps < SOURCE_JUMPS || !jumps_agree(s))
                return false;

        /* A server's jump says nothing of our oscillator. */
        history_init(&s->history, s->line.frequency_ppm,
                     hypot(s->line.frequency_sd_ppm, s->config.wander_ppm), s->config.wander_ppm);
        for (size_t i = 0; i < s->n_jumps; i++)
                history_add(&s->history, s->jumps + i);
        return true;
}

/*
 * Whether the frequency is known so well that twice the interval costs no accuracy. A line from
 * which samples had to go has bent: the errors that it states are those of a bend, and no measure.
 */
static bool is_settled(const TimeSource *s, bool bent)
{
        double strays_ns = s->line.frequency_sd_ppm * 1e3 * (double) (UINT64_C(2) << s->poll);

        return !bent && s->line.count >= SETTLED_COUNT &&
               strays_ns < fmax(s->line.ahead_sd_ns, WIDEN_ERROR_NS);
}

static void adapt_poll(TimeSource *s, bool bent)
{
        if (!is_settled(s, bent)) {
                s->calm = 0;
                if (s->line.count < SETTLED_COUNT && s->polls > 2 * SETTLED_COUNT)
                        s->poll =
                                MAX(s->poll - 1, s->config.min_poll); /* the line keeps breaking */
                return;
        }
        if (++s->calm < CALM_POLLS || s->poll >= s->config.max_poll)
                return;
        s->calm = 0;
        s->poll++;
}

static TimeReject take_sample(TimeSource *s, const HistorySample *sample)
{
        size_t count;

        if (s->has_line && !estimate_agrees(&s->line, sample, s->config.wander_ppm)) {
                if (!take_jump(s, sample))
                        return TIME_REJECT_JUMP;
        } else
                history_add(&s->history, sample);

        s->n_jumps = 0;
        s->has_line = true;
        count = s->history.count;
        (void) history_fit(&s->history, &s->line); /* there is a sample */
        adapt_poll(s, s->history.count < count);
        return TIME_ACCEPTED;
}

static void end_poll(TimeSource *s, TimeReject outcome, int64_t mono_ns)
{
        bool is_starting = s->polls < SOURCE_START_POLLS || source_is_pending(s);
        int64_t space_ns = is_starting ? START_SPACE_NS : poll_ns(s->poll);

        s->polls++;
        s->vain += !s->has_line;
        s->last_sample = outcome;
        s->reach = (uint8_t) (s->reach << 1 | (outcome != TIME_REJECT_TIMEOUT));
        s->next_ns = MAX(s->poll_began_ns + MIN(space_ns, poll_ns(s->config.max_poll)), mono_ns);
        filter_begin(&s->filter, s->config.burst, s->config.retries);
}

TimeReject source_offer(TimeSource *s, const HistorySample *sample, TimeReject why, int64_t mono_ns,
                        bool *ret_new_line)
{
        HistorySample best;
        TimeReject one, whole;

        *ret_new_line = false;
        one = filter_offer(&s->filter, sample);
        if (!sample)
                one = why;
        if (filter_wants_more(&s->filter)) {
                s->next_ns = mono_ns + BURST_SPACE_NS;
                return one;
        }

        whole = filter_end(&s->filter, &best);
        if (whole == TIME_ACCEPTED) {
                whole = take_sample(s, &best);
                *ret_new_line = whole == TIME_ACCEPTED;
        } else if (!sample)
                whole = why;
        end_poll(s, whole, mono_ns);
        return whole;
}

bool source_is_pending(const TimeSource *s)
{
        return !s->has_line && s->vain < SOURCE_VAIN;
}

void source_ask_again(TimeSource *s, int64_t mono_ns)
{
        if (s->has_line)
                return;
        s->vain = 0;
        if (s->next_ns != INT64_MAX)
                s->next_ns = mono_ns;
}

TimeReject source_candidate(const TimeSource *s, int64_t free_ns, TimeEstimate *ret)
{
        TimeReject claim;
        TimeEstimate line;

        if (!s->has_line)
                return s->polls > 0 ? s->last_sample : TIME_REJECT_NO_SAMPLES;
        if (s->reach == 0)
                return TIME_REJECT_UNREACHABLE;

        claim = time_claim_check(&s->claim, s->config.distance_limit_ns);
        if (claim != TIME_ACCEPTED)
                return claim;

        line = s->line;
        estimate_advance(&line, free_ns, s->config.wander_ppm);
        if (!(line.bound_ns < (double) s->config.distance_limit_ns))
                return TIME_REJECT_ROOT_DISTANCE;
        *ret = line;
        return TIME_ACCEPTED;
}

int64_t source_doubt_ns(const TimeSource *s)
{
        TimeEstimate line = s->line;
        const HistorySample *jump;
        double off;

        if (s->n_jumps == 0)
                return 0;
        jump = s->jumps + s->n_jumps - 1;
        estimate_advance(&line, jump->free_ns, s->config.wander_ppm);
        off = fabs((double) (jump->ahead_ns - line.ahead_ns)) + (double) jump->half_ns;
        return off < 9e18 ? (int64_t) off : INT64_MAX;
}

void source_shift(TimeSource *s, int64_t ahead_ns)
{
        history_shift(&s->history, ahead_ns);
        s->line.ahead_ns += ahead_ns;
        s->n_jumps = 0;
}

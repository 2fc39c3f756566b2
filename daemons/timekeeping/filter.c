#include "timekeeping/filter.h"

void filter_init(SampleFilter *f)
{
        *f = (SampleFilter){.burst = 1};
}

int64_t filter_limit_ns(const SampleFilter *f)
{
        int64_t least_ns = INT64_MAX;
        double sum = 0, excess;

        if (f->count < FILTER_LEAST)
                return INT64_MAX;

        for (size_t i = 0; i < f->count; i++)
                least_ns = MIN(least_ns, f->rtts_ns[i]);
        for (size_t i = 0; i < f->count; i++)
                sum += (double) (f->rtts_ns[i] - least_ns);

        excess = FILTER_FACTOR * sum / (double) f->count;
        if (excess > (double) (INT64_MAX / 2 - least_ns))
                return INT64_MAX;
        return least_ns + MAX((int64_t) excess, FILTER_FLOOR_NS);
}

void filter_begin(SampleFilter *f, uint32_t burst, uint32_t retries)
{
        assert(burst > 0);

        f->burst = burst;
        f->retries = retries;
        f->asked = 0;
        f->has_best = false;
}

bool filter_wants_more(const SampleFilter *f)
{
        if (!f->has_best && f->asked >= FILTER_SILENT)
                return false;
        if (f->asked < f->burst)
                return true;
        if (f->has_best && f->best.rtt_ns < filter_limit_ns(f))
                return false;
        return f->asked < f->burst + f->retries;
}

TimeReject filter_offer(SampleFilter *f, const HistorySample *s)
{
        bool is_best;

        f->asked++;
        if (!s)
                return TIME_REJECT_TIMEOUT;

        is_best = !f->has_best || s->rtt_ns <= f->best.rtt_ns;
        if (is_best) {
                f->best = *s;
                f->has_best = true;
        }
        if (s->rtt_ns >= filter_limit_ns(f))
                return TIME_REJECT_RETRY;
        return is_best ? TIME_ACCEPTED : TIME_REJECT_BURST;
}

static void remember(SampleFilter *f, int64_t rtt_ns)
{
        f->rtts_ns[f->next] = rtt_ns;
        f->next = (f->next + 1) % FILTER_MAX;
        f->count = MIN(f->count + 1, (size_t) FILTER_MAX);
}

TimeReject filter_end(SampleFilter *f, HistorySample *ret)
{
        if (!f->has_best)
                return TIME_REJECT_TIMEOUT;

        if (f->best.rtt_ns >= filter_limit_ns(f)) {
                if (++f->spikes < FILTER_PATIENCE)
                        return TIME_REJECT_SPIKE;
                f->count = f->next = 0; /* another way: learn it from here */
        }
        f->spikes = 0;
        remember(f, f->best.rtt_ns);
        *ret = f->best;
        return TIME_ACCEPTED;
}

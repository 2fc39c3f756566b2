/*
 * Remote — see remote.h.
 */
#include "timesyncd-lite/remote.h"

Remote *remote_free(Remote *r)
{
        if (!r)
                return NULL;
        exchange_free(r->exchange);
        g_free(r->address);
        g_free(r->failure);
        g_free(r);
        return NULL;
}

void remote_keep_sample(Remote *r, const RemoteSample *s)
{
        r->samples[r->sample_next] = *s;
        r->sample_next = (r->sample_next + 1) % REMOTE_SAMPLES_MAX;
        r->sample_count = MIN(r->sample_count + 1, (size_t) REMOTE_SAMPLES_MAX);
}

const RemoteSample *remote_sample(const Remote *r, size_t index)
{
        assert(index < r->sample_count);

        return r->samples +
               (r->sample_next + REMOTE_SAMPLES_MAX - r->sample_count + index) % REMOTE_SAMPLES_MAX;
}

const char *remote_explain(const Remote *r, TimeReject why)
{
        if (r->failure && (why == TIME_REJECT_TIMEOUT || why == TIME_REJECT_UNREACHABLE ||
                           why == TIME_REJECT_NO_SAMPLES))
                return r->failure;
        return time_reject_explain(why);
}

#include "timekeeping/time-types.h"

#define STRATUM_MAX 15

static const struct {
        const char *name;
        const char *text;
} rejects[_TIME_REJECT_MAX] = {
        [TIME_ACCEPTED] = {"accepted", "Accepted"},
        [TIME_REJECT_TIMEOUT] = {"timeout", "No answer came in time"},
        [TIME_REJECT_BAD_TIMES] = {"bad-times", "The four times contradict each other"},
        [TIME_REJECT_RANGE] = {"range", "The server's time cannot be the present"},
        [TIME_REJECT_CLOCK_STEPPED] = {"clock-stepped",
                                       "The clock was stepped or slept during the exchange"},
        [TIME_REJECT_LEAP] = {"leap", "Too close to a leap second"},
        [TIME_REJECT_RETRY] = {"retry", "The round trip took too long, asking again"},
        [TIME_REJECT_BURST] = {"burst", "Another exchange of the burst was faster"},
        [TIME_REJECT_SPIKE] = {"spike", "The round trip took too long on every try"},
        [TIME_REJECT_JUMP] = {"jump", "The time contradicts the server's earlier answers"},
        [TIME_REJECT_UNSYNCHRONISED] = {"unsynchronised",
                                        "The server says that it is not synchronised"},
        [TIME_REJECT_STRATUM] = {"stratum", "The server's stratum is not between 1 and 15"},
        [TIME_REJECT_ROOT_DISTANCE] = {"root-distance", "The root distance exceeds the limit"},
        [TIME_REJECT_LOOP] = {"loop", "The server takes its time from this machine"},
        [TIME_REJECT_UNREACHABLE] = {"unreachable", "The last polls were not answered"},
        [TIME_REJECT_NO_SAMPLES] = {"no-samples", "The server has not been heard yet"},
        [TIME_REJECT_FALSETICKER] = {"falseticker",
                                     "Its time misses the interval that the majority agrees on"},
        [TIME_REJECT_NO_MAJORITY] = {"no-majority", "No majority of the servers agrees"},
};

const char *time_reject_to_string(TimeReject r)
{
        assert(r >= 0 && r < _TIME_REJECT_MAX);
        return rejects[r].name;
}

const char *time_reject_explain(TimeReject r)
{
        assert(r >= 0 && r < _TIME_REJECT_MAX);
        return rejects[r].text;
}

const char *time_leap_to_string(TimeLeap leap)
{
        static const char *const names[_TIME_LEAP_MAX] = {"none", "insert", "delete"};

        assert(leap >= 0 && leap < _TIME_LEAP_MAX);
        return names[leap];
}

int64_t time_claim_distance_ns(const TimeClaim *c)
{
        int64_t sum;

        if (c->root_delay_ns < 0 || c->root_dispersion_ns < 0)
                return INT64_MAX;
        if (__builtin_add_overflow(c->root_delay_ns / 2, c->root_dispersion_ns, &sum))
                return INT64_MAX;
        return sum;
}

TimeReject time_claim_check(const TimeClaim *c, int64_t distance_limit_ns)
{
        if (!c->synchronised)
                return TIME_REJECT_UNSYNCHRONISED;
        if (c->is_loop)
                return TIME_REJECT_LOOP;
        if (c->stratum < 1 || c->stratum > STRATUM_MAX)
                return TIME_REJECT_STRATUM;
        if (time_claim_distance_ns(c) > distance_limit_ns)
                return TIME_REJECT_ROOT_DISTANCE;
        return TIME_ACCEPTED;
}

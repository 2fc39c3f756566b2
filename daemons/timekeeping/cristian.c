#include "timekeeping/cristian.h"

static int check(const int64_t t[static 4])
{
        for (size_t i = 0; i < 4; i++)
                if (t[i] < 0)
                        return -ERANGE;

        /* From here on each difference of two fits, as none is negative. */
        if (t[3] < t[0] || t[2] < t[1] || t[3] - t[0] < t[2] - t[1])
                return -EBADMSG;
        return 0;
}

int cristian_sample(const int64_t t[static 4], CristianSample *ret)
{
        int64_t out, back, odd;
        int r;

        assert(t);
        assert(ret);

        r = check(t);
        if (r < 0)
                return r;

        out = t[1] - t[0];
        back = t[2] - t[3];
        odd = (out & 1) & (back & 1);

        *ret = (CristianSample){
                .offset_ns = (out >> 1) + (back >> 1) + odd, /* the sum itself may not fit */
                .rtt_ns = (t[3] - t[0]) - (t[2] - t[1]),
        };
        ret->bound_ns = cristian_bound(ret->rtt_ns, 0);
        return 0;
}

int64_t cristian_bound(int64_t rtt_ns, int64_t least_one_way_ns)
{
        int64_t free_ns;

        assert(rtt_ns >= 0);
        assert(least_one_way_ns >= 0);

        if (least_one_way_ns >= rtt_ns / 2)
                return 1;

        free_ns = rtt_ns - 2 * least_one_way_ns;
        return MAX(free_ns / 2 + (free_ns & 1), 1);
}

int cristian_time_to_set(const int64_t t[static 4], int64_t *ret_ns)
{
        CristianSample s;
        int64_t set_ns;
        int r;

        assert(ret_ns);

        r = cristian_sample(t, &s);
        if (r < 0)
                return r;
        if (__builtin_add_overflow(t[2], s.rtt_ns / 2, &set_ns))
                return -ERANGE;

        *ret_ns = set_ns;
        return 0;
}

#include "timekeeping/select.h"

typedef struct Edge {
        int64_t at_ns;
        int step; /* +1 where an interval begins, -1 where it ends */
} Edge;

/* By place; at the same place beginnings first, so that touching counts as overlapping. */
static int compare_edges(const void *a, const void *b)
{
        const Edge *x = a, *y = b;

        if (x->at_ns != y->at_ns)
                return x->at_ns < y->at_ns ? -1 : 1;
        return y->step - x->step;
}

int select_intersect(const SelectInterval *v, size_t n, SelectInterval *ret)
{
        Edge edges[2 * SELECT_MAX];
        SelectInterval best = {};
        int depth = 0, most = 0;

        assert(n <= SELECT_MAX);

        for (size_t i = 0; i < n; i++) {
                assert(v[i].low_ns <= v[i].high_ns);
                edges[2 * i] = (Edge){v[i].low_ns, +1};
                edges[2 * i + 1] = (Edge){v[i].high_ns, -1};
        }
        if (n == 0)
                return 0;
        qsort(edges, 2 * n, sizeof(*edges), compare_edges);

        for (size_t i = 0; i < 2 * n; i++) {
                SelectInterval here;

                depth += edges[i].step;
                if (edges[i].step < 0 || depth < most)
                        continue;
                here = (SelectInterval){edges[i].at_ns, edges[i + 1].at_ns};
                if (depth > most || (uint64_t) here.high_ns - (uint64_t) here.low_ns <
                                            (uint64_t) best.high_ns - (uint64_t) best.low_ns)
                        best = here;
                most = depth;
        }
        if ((size_t) most * 2 <= n)
                return -EDOM;

        *ret = best;
        return most;
}

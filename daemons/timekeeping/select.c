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

static void make_edges(const SelectInterval *v, size_t n, Edge *ret)
{
        assert(n <= SELECT_MAX);

        for (size_t i = 0; i < n; i++) {
                assert(v[i].low_ns <= v[i].high_ns);
                ret[2 * i] = (Edge){v[i].low_ns, +1};
                ret[2 * i + 1] = (Edge){v[i].high_ns, -1};
        }
        qsort(ret, 2 * n, sizeof(*ret), compare_edges);
}

int select_intersect(const SelectInterval *v, size_t n, SelectInterval *ret)
{
        Edge edges[2 * SELECT_MAX];
        SelectInterval best = {};
        int depth = 0, most = 0;

        if (n == 0)
                return 0;
        make_edges(v, n, edges);

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

int select_tolerate(const SelectInterval *v, size_t n, size_t faults, SelectInterval *ret)
{
        size_t depth = 0, wanted = faults < n ? n - faults : 1;
        Edge edges[2 * SELECT_MAX];
        SelectInterval hull = {};
        bool found = false;

        make_edges(v, n, edges);
        for (size_t i = 0; i < 2 * n; i++) {
                if (edges[i].step < 0) {
                        if (depth-- == wanted)
                                hull.high_ns = edges[i].at_ns; /* the last one stays */
                } else if (++depth == wanted && !found) {
                        hull.low_ns = edges[i].at_ns;
                        found = true;
                }
        }
        if (!found)
                return -EDOM;
        *ret = hull;
        return 0;
}

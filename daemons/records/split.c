/*
 * Splits — see split.h.
 */
#include "records/split.h"

/* Files may be many and small: the split count alone would not bound the pieces. */
#define MAX_PIECES_OF_PLAN (64 * (size_t) SPLIT_MAX_COUNT)

typedef struct Planner {
        GArray *pieces; /* SplitPiece */
        GArray *splits; /* Split */
        uint64_t split_size_bytes;
        size_t open_path_bytes; /* of the last split */
        bool combine;
} Planner;

static bool fits_open_split(const Planner *p, uint64_t length, size_t path_bytes)
{
        const Split *open;

        if (!p->combine || p->splits->len == 0)
                return false;
        open = &g_array_index(p->splits, Split, p->splits->len - 1);
        return open->count < SPLIT_MAX_PIECES && open->size_bytes < p->split_size_bytes &&
               length <= p->split_size_bytes - open->size_bytes &&
               path_bytes <= SPLIT_MAX_PATH_BYTES - MIN(p->open_path_bytes, SPLIT_MAX_PATH_BYTES);
}

static int add_piece(Planner *p, const SplitPiece *piece, size_t path_bytes)
{
        Split *open;

        if (p->pieces->len >= MAX_PIECES_OF_PLAN)
                return -E2BIG;
        if (!fits_open_split(p, piece->length, path_bytes)) {
                Split fresh = {.first = p->pieces->len};

                if (p->splits->len >= SPLIT_MAX_COUNT)
                        return -E2BIG;
                g_array_append_val(p->splits, fresh);
                p->open_path_bytes = 0;
        }
        open = &g_array_index(p->splits, Split, p->splits->len - 1);
        open->count++;
        open->size_bytes += piece->length;
        p->open_path_bytes += path_bytes;
        g_array_append_vals(p->pieces, piece, 1);
        return 0;
}

/* Pieces of one file differ by one byte at most. */
static int cut_file(Planner *p, size_t index, const SplitFile *f)
{
        uint64_t count, base, longer, offset = 0;
        size_t path_bytes = strlen(f->path);
        int r;

        if (f->size_bytes == 0)
                return 0;
        count = f->whole ? 1 : (f->size_bytes - 1) / p->split_size_bytes + 1;
        if (count > SPLIT_MAX_COUNT)
                return -E2BIG;
        base = f->size_bytes / count;
        longer = f->size_bytes % count;

        for (uint64_t i = 0; i < count; i++) {
                SplitPiece piece = {
                        .file = index,
                        .offset = offset,
                        .length = base + (i < longer ? 1 : 0),
                };

                r = add_piece(p, &piece, path_bytes);
                if (r < 0)
                        return r;
                offset += piece.length;
        }
        return 0;
}

int split_plan_new(const SplitFile *files, size_t file_count, uint64_t split_size_bytes,
                   bool combine, SplitPlan **ret)
{
        g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(SplitPiece));
        g_autoptr(GArray) splits = g_array_new(FALSE, FALSE, sizeof(Split));
        Planner p = {
                .pieces = pieces,
                .splits = splits,
                .split_size_bytes = split_size_bytes,
                .combine = combine,
        };
        SplitPlan *plan;
        int r;

        if (split_size_bytes == 0)
                return -EINVAL;
        for (size_t i = 0; i < file_count; i++) {
                r = cut_file(&p, i, &files[i]);
                if (r < 0)
                        return r;
        }

        plan = g_new0(SplitPlan, 1);
        plan->piece_count = pieces->len;
        plan->split_count = splits->len;
        plan->pieces = (SplitPiece *) g_array_free(g_steal_pointer(&pieces), FALSE);
        plan->splits = (Split *) g_array_free(g_steal_pointer(&splits), FALSE);
        *ret = plan;
        return 0;
}

SplitPlan *split_plan_free(SplitPlan *plan)
{
        if (!plan)
                return NULL;
        g_free(plan->pieces);
        g_free(plan->splits);
        g_free(plan);
        return NULL;
}

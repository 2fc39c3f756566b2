/*
 * Splits — see split.h.
 */
#include "records/record.h"
#include "records/split.h"

/* Files may be many and small: the split count alone would not bound the pieces. */
#define MAX_PIECES_OF_PLAN (64 * (size_t) SPLIT_MAX_COUNT)
#define HASH_BITS 64U

typedef struct Small {
        uint64_t hash; /* of its path */
        size_t file;
} Small;

typedef struct Planner {
        const SplitFile *files;
        GArray *pieces; /* SplitPiece */
        GArray *splits; /* Split */
        GArray *small;  /* Small */
        uint64_t split_size_bytes;
        bool combine;
} Planner;

static void planner_init(Planner *p, const SplitFile *files)
{
        *p = (Planner){
                .files = files,
                .pieces = g_array_new(FALSE, FALSE, sizeof(SplitPiece)),
                .splits = g_array_new(FALSE, FALSE, sizeof(Split)),
                .small = g_array_new(FALSE, FALSE, sizeof(Small)),
        };
}

/* Of what is not in a plan now. */
static void planner_done(Planner *p)
{
        g_clear_pointer(&p->pieces, g_array_unref);
        g_clear_pointer(&p->splits, g_array_unref);
        g_clear_pointer(&p->small, g_array_unref);
}

static SplitPlan *planner_finish(Planner *p)
{
        SplitPlan *plan = g_new0(SplitPlan, 1);

        plan->piece_count = p->pieces->len;
        plan->split_count = p->splits->len;
        plan->pieces = (SplitPiece *) g_array_free(g_steal_pointer(&p->pieces), FALSE);
        plan->splits = (Split *) g_array_free(g_steal_pointer(&p->splits), FALSE);
        return plan;
}

static int open_split(Planner *p)
{
        Split fresh = {.first = p->pieces->len};

        if (p->splits->len >= SPLIT_MAX_COUNT)
                return -E2BIG;
        g_array_append_val(p->splits, fresh);
        return 0;
}

/* To the split that was opened last. */
static int add_piece(Planner *p, const SplitPiece *piece)
{
        Split *open = &g_array_index(p->splits, Split, p->splits->len - 1);

        if (p->pieces->len >= MAX_PIECES_OF_PLAN)
                return -E2BIG;
        open->count++;
        open->size_bytes += piece->length;
        g_array_append_vals(p->pieces, piece, 1);
        return 0;
}

/* In a split of its own. */
static int add_alone(Planner *p, const SplitPiece *piece)
{
        int r = open_split(p);

        return r < 0 ? r : add_piece(p, piece);
}

/* Pieces of one file differ by one byte at most. */
static int cut_file(Planner *p, size_t index, const SplitFile *f)
{
        uint64_t count, base, longer, offset = 0;
        int r;

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

                r = add_alone(p, &piece);
                if (r < 0)
                        return r;
                offset += piece.length;
        }
        return 0;
}

static int add_file(Planner *p, size_t index)
{
        const SplitFile *f = &p->files[index];
        Small small = {.file = index};

        if (f->size_bytes == 0)
                return 0;
        if (!p->combine || f->size_bytes > p->split_size_bytes / 2)
                return cut_file(p, index, f);
        small.hash = XXH3_64bits(f->path, strlen(f->path));
        g_array_append_val(p->small, small);
        return 0;
}

/* ---- Small files ---- */

static int by_hash(const void *a, const void *b)
{
        const Small *x = a, *y = b;

        if (x->hash != y->hash)
                return x->hash < y->hash ? -1 : 1;
        return x->file < y->file ? -1 : x->file > y->file;
}

static int by_file(const void *a, const void *b)
{
        const Small *x = a, *y = b;

        return x->file < y->file ? -1 : x->file > y->file;
}

/* How many of them, from the first one on, fit in one split. */
static size_t count_fitting(const Planner *p, const Small *small, size_t count)
{
        uint64_t bytes = 0;
        size_t paths = 0, n = 0;

        for (; n < MIN(count, (size_t) SPLIT_MAX_PIECES); n++) {
                const SplitFile *f = &p->files[small[n].file];

                bytes += f->size_bytes;
                paths += strlen(f->path);
                if (n > 0 && (bytes > p->split_size_bytes || paths > SPLIT_MAX_PATH_BYTES))
                        break;
        }
        return n;
}

static int add_pack(Planner *p, Small *small, size_t count)
{
        int r;

        qsort(small, count, sizeof(*small), by_file);
        r = open_split(p);
        for (size_t i = 0; r >= 0 && i < count; i++) {
                const SplitFile *f = &p->files[small[i].file];

                r = add_piece(p, &(SplitPiece){.file = small[i].file, .length = f->size_bytes});
        }
        return r;
}

/* Those whose hashes begin with the same @bit bits, in the order of their hashes. */
static int pack(Planner *p, Small *small, size_t count, unsigned bit)
{
        size_t fitting = count_fitting(p, small, count), zeros = 0;
        int r;

        if (count == 0)
                return 0;
        if (fitting == count)
                return add_pack(p, small, count);
        if (bit == HASH_BITS) { /* one path, very often */
                r = add_pack(p, small, fitting);
                return r < 0 ? r : pack(p, small + fitting, count - fitting, bit);
        }
        while (zeros < count && !(small[zeros].hash >> (HASH_BITS - 1 - bit) & 1))
                zeros++;
        r = pack(p, small, zeros, bit + 1);
        return r < 0 ? r : pack(p, small + zeros, count - zeros, bit + 1);
}

static int pack_all(Planner *p)
{
        Small *small = (Small *) (void *) p->small->data;

        if (p->small->len > 1)
                qsort(small, p->small->len, sizeof(*small), by_hash);
        return pack(p, small, p->small->len, 0);
}

int split_plan_new(const SplitFile *files, size_t file_count, uint64_t split_size_bytes,
                   bool combine, SplitPlan **ret)
{
        _cleanup_(planner_done) Planner p = {};
        int r;

        if (split_size_bytes == 0)
                return -EINVAL;
        planner_init(&p, files);
        p.split_size_bytes = split_size_bytes;
        p.combine = combine;
        for (size_t i = 0; i < file_count; i++) {
                r = add_file(&p, i);
                if (r < 0)
                        return r;
        }
        r = pack_all(&p);
        if (r < 0)
                return r;
        *ret = planner_finish(&p);
        return 0;
}

/* ---- For slots ---- */

typedef struct Factoring {
        uint64_t left_bytes; /* of all files */
        uint64_t share_bytes;
        uint32_t slots, in_batch; /* pieces of that share that are still to come */
} Factoring;

/* No piece is a sliver: what would leave one takes it, or is half of both. */
static uint64_t next_length(Factoring *f, uint64_t file_left_bytes, bool whole)
{
        uint64_t slop, length;

        if (f->in_batch == 0) {
                f->in_batch = f->slots;
                f->share_bytes = CLAMP((f->left_bytes - 1) / f->slots / 2 + 1, SPLIT_DEAR_MIN_BYTES,
                                       SPLIT_DEAR_MAX_BYTES);
        }
        f->in_batch--;
        slop = f->share_bytes / 8;
        if (whole || file_left_bytes <= f->share_bytes + slop)
                length = file_left_bytes;
        else if (file_left_bytes <= 2 * f->share_bytes + slop)
                length = (file_left_bytes + 1) / 2;
        else
                length = f->share_bytes;
        f->left_bytes -= length;
        return length;
}

static int cut_for_slots(Planner *p, size_t index, Factoring *f)
{
        const SplitFile *file = &p->files[index];
        uint64_t at = 0;

        while (at < file->size_bytes) {
                uint64_t length = next_length(f, file->size_bytes - at, file->whole);
                int r = add_alone(p, &(SplitPiece){index, at, length});

                if (r < 0)
                        return r;
                at += length;
        }
        return 0;
}

int split_plan_new_for_slots(const SplitFile *files, size_t file_count, uint32_t slots,
                             SplitPlan **ret)
{
        _cleanup_(planner_done) Planner p = {};
        Factoring f = {.slots = slots};

        if (slots == 0)
                return split_plan_new(files, file_count, SPLIT_DEAR_MIN_BYTES, false, ret);
        planner_init(&p, files);
        for (size_t i = 0; i < file_count; i++)
                f.left_bytes += files[i].size_bytes;
        for (size_t i = 0; i < file_count; i++) {
                int r = cut_for_slots(&p, i, &f);

                if (r < 0)
                        return r;
        }
        *ret = planner_finish(&p);
        return 0;
}

uint64_t split_plan_digest(const SplitPlan *plan)
{
        uint64_t pieces = XXH3_64bits(plan->pieces, plan->piece_count * sizeof(*plan->pieces)),
                 all = XXH3_64bits_withSeed(plan->splits, plan->split_count * sizeof(*plan->splits),
                                            pieces);

        return MAX(all, 1U);
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

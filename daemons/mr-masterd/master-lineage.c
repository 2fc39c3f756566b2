/*
 * Lineage — see master-lineage.h.
 */
#include "base/text.h"
#include "config.h"
#include "mr-masterd/master-lineage.h"
#include "mr-masterd/master-store-keys.h"
#include "records/run-file.h"

#define KEY_BYTES 32U
/* An app's code is ours: grows when a map of one makes other records of the same input than another
 * build of this version did. */
#define APPS_REVISION "+1"

typedef struct Key {
        uint8_t bytes[KEY_BYTES];
} Key;

/* What a split was when it was seen last. */
typedef struct Seen {
        Key split, program;
} Seen;

/* Of one map in the store. */
typedef struct SeenRow {
        Key place, split, program;
        uint8_t why, unused[7];
} SeenRow;

struct LineageIndex {
        GHashTable *holders; /* Key *, owned → worker number */
        GHashTable *seen;    /* Key * of a place (path and offset), owned → Seen *, owned */
        GHashTable *planned; /* job number → GArray of SeenRow, owned: as it was planned before our
                                start */
        uint64_t stored;     /* maps in the store */
};

struct JobLineage {
        LineageIndex *lineage;
        Manager *manager;
        uint32_t maps, next;
        Key *keys;    /* by map; NULL: the job has none */
        uint8_t *why; /* LineageWhy, by map */
};

static guint key_hash(gconstpointer p)
{
        guint h;

        memcpy(&h, p, sizeof(h));
        return h;
}

static gboolean same_key(gconstpointer a, gconstpointer b)
{
        return memcmp(a, b, KEY_BYTES) == 0;
}

static bool key_is_none(const Key *k)
{
        static const Key none;

        return same_key(k, &none);
}

static void key_to_text(const Key *k, char ret[static 2 * KEY_BYTES + 1])
{
        text_hex(k->bytes, KEY_BYTES, ret);
}

static bool key_from_text(const char *text, Key *ret)
{
        if (strlen(text) != 2 * KEY_BYTES)
                return false;
        for (size_t i = 0; i < KEY_BYTES; i++) {
                int high = g_ascii_xdigit_value(text[2 * i]);
                int low = g_ascii_xdigit_value(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                ret->bytes[i] = (uint8_t) (high << 4 | low);
        }
        return true;
}

const char *lineage_why_to_string(LineageWhy why)
{
        static const char *const sentences[_WHY_MAX] = {
                [WHY_UNKNOWN] = "it was planned before the master was restarted",
                [WHY_REUSE_OFF] = "Reuse=no",
                [WHY_STABLE] = "outputs on stable storage go with their job",
                [WHY_PART] = "it writes a part of the result: there is no reduce",
                [WHY_COMMAND] =
                        "the mapper is a command, and Reuse=yes does not say that it depends on "
                        "nothing but its input",
                [WHY_TOO_FRESH] = "its input was changed less than 2 s before the job came: it may "
                                  "change again unseen",
                [WHY_NEW_INPUT] = "this piece of input was not seen before",
                [WHY_INPUT_CHANGED] = "its input has changed since it was seen last",
                [WHY_PROGRAM_CHANGED] =
                        "the program, its files, arguments, environment or a setting that shapes "
                        "its output, the combiner or the number of reduces is another than when "
                        "this input was seen last",
                [WHY_NOT_KEPT] = "its output was made before, and is not kept any more",
                [WHY_NOT_THERE] = "its worker did not have the output any more",
        };

        return sentences[why < _WHY_MAX ? why : WHY_UNKNOWN];
}

LineageIndex *lineage_new(void)
{
        LineageIndex *l = g_new(LineageIndex, 1);

        *l = (LineageIndex){
                .holders = g_hash_table_new_full(key_hash, same_key, g_free, NULL),
                .seen = g_hash_table_new_full(key_hash, same_key, g_free, g_free),
                .planned = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                                 (GDestroyNotify) g_array_unref),
        };
        return l;
}

LineageIndex *lineage_free(LineageIndex *l)
{
        if (!l)
                return NULL;
        g_hash_table_unref(l->holders);
        g_hash_table_unref(l->seen);
        g_hash_table_unref(l->planned);
        g_free(l);
        return NULL;
}

/* ---- Who has what ---- */

static void put_holder(LineageIndex *l, const Key *k, uint32_t worker)
{
        if (g_hash_table_size(l->holders) >= LINEAGE_KEYS_MAX)
                return;
        g_hash_table_replace(l->holders, g_memdup2(k, sizeof(*k)), GUINT_TO_POINTER(worker));
}

static gboolean is_of_worker(gpointer key, gpointer worker, gpointer userdata)
{
        return worker == userdata;
}

void lineage_forget_worker(LineageIndex *l, uint32_t worker)
{
        (void) g_hash_table_foreach_remove(l->holders, is_of_worker, GUINT_TO_POINTER(worker));
}

void lineage_set_worker(LineageIndex *l, uint32_t worker, char *const *keys, size_t count)
{
        Key k;

        lineage_forget_worker(l, worker);
        for (size_t i = 0; i < count; i++)
                if (key_from_text(keys[i], &k))
                        put_holder(l, &k, worker);
}

void lineage_made(LineageIndex *l, const char *key, uint32_t worker)
{
        Key k;

        if (key_from_text(key, &k))
                put_holder(l, &k, worker);
}

bool lineage_is_held(const LineageIndex *l, const char *key, uint32_t worker)
{
        Key k;

        return key_from_text(key, &k) &&
               g_hash_table_lookup(l->holders, &k) == GUINT_TO_POINTER(worker);
}

void lineage_lost(LineageIndex *l, const char *key, uint32_t worker)
{
        Key k;

        if (key_from_text(key, &k) &&
            g_hash_table_lookup(l->holders, &k) == GUINT_TO_POINTER(worker))
                (void) g_hash_table_remove(l->holders, &k);
}

/* ---- Keys ---- */

/* Each with its length, so that no two lists of fields read the same. */
static void add_bytes(GChecksum *sum, const void *data, size_t size)
{
        uint64_t n = size;

        g_checksum_update(sum, (const guchar *) &n, sizeof(n));
        g_checksum_update(sum, data, (gssize) size);
}

static void add_text(GChecksum *sum, const char *s)
{
        add_bytes(sum, s, strlen(s));
}

static void add_number(GChecksum *sum, uint64_t n)
{
        g_checksum_update(sum, (const guchar *) &n, sizeof(n));
}

static void add_list(GChecksum *sum, const GPtrArray *list)
{
        add_number(sum, list->len);
        for (guint i = 0; i < list->len; i++)
                add_text(sum, list->pdata[i]);
}

static void finish(GChecksum *sum, Key *ret)
{
        gsize size = KEY_BYTES;

        g_checksum_get_digest(sum, ret->bytes, &size);
        g_checksum_free(sum);
}

/* With its name, at the end, and only where it is set: what older masters' jobs have made has the
 * key it had. */
static void add_later(GChecksum *sum, const JobDesc *d)
{
        if (*d->sort_key_fields) {
                add_text(sum, "SortKeyFields");
                add_text(sum, d->sort_key_fields);
        }
        if (d->ignore_exit_status) /* done for one may be failed for another */
                add_text(sum, "IgnoreExitStatus");
}

static void program_key(const MasterJob *j, Key *ret)
{
        GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
        const JobDesc *d = j->desc;

        add_text(sum, "mapreduced lineage 1");
        add_text(sum, *d->app || *d->reducer_app ? MR_VERSION APPS_REVISION : "");
        add_number(sum, RUN_FILE_VERSION);
        add_number(sum, j->uid);
        add_number(sum, j->reduces);
        add_text(sum, d->app);
        add_list(sum, d->args);
        add_text(sum, d->mapper);
        add_text(sum, d->combiner);
        add_text(sum, d->reducer_app);
        add_list(sum, d->env);
        add_list(sum, d->archives);
        add_text(sum, d->map_separator);
        add_number(sum, d->map_key_fields);
        add_number(sum, d->partition_key_fields);
        add_text(sum, d->input_format);
        add_number(sum,
                   d->bounds->len); /* of a total order: they come from samples of all the input */
        for (guint i = 0; i < d->bounds->len; i++) {
                gsize size;
                gconstpointer data = g_bytes_get_data(d->bounds->pdata[i], &size);

                add_bytes(sum, data, size);
        }
        add_number(sum, d->files->len);
        for (guint i = 0; i < d->files->len; i++) {
                const JobShippedFile *f = d->files->pdata[i];

                add_text(sum, f->name);
                add_text(sum, f->digest);
                add_number(sum, f->executable);
        }
        add_later(sum, d);
        finish(sum, ret);
}

static const PlanFile *file_of(const MasterJob *j, const SplitPiece *piece)
{
        return &g_array_index(j->files->files, PlanFile, piece->file);
}

static void split_keys(const MasterJob *j, const Split *split, Key *ret_split, Key *ret_place)
{
        GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
        GChecksum *place = g_checksum_new(G_CHECKSUM_SHA256);

        for (size_t i = 0; i < split->count; i++) {
                const SplitPiece *p = &j->splits->pieces[split->first + i];
                const PlanFile *f = file_of(j, p);

                add_text(sum, f->path);
                add_text(place, f->path);
                add_number(place, p->offset);
                add_number(sum, p->offset);
                add_number(sum, p->length);
                add_number(sum, f->size_bytes);
                add_number(sum, (uint64_t) f->mtime_ns);
                add_number(sum, (uint64_t) f->ctime_ns);
                add_number(sum, f->inode);
                add_number(sum, f->device);
        }
        finish(sum, ret_split);
        finish(place, ret_place);
}

static bool is_settled(const MasterJob *j, const Split *split)
{
        int64_t looked_ns = (int64_t) (j->submitted_usec * NSEC_PER_USEC);

        for (size_t i = 0; i < split->count; i++) {
                const PlanFile *f = file_of(j, &j->splits->pieces[split->first + i]);

                if (MAX(f->ctime_ns, f->mtime_ns) >
                    looked_ns - (int64_t) (LINEAGE_SETTLED_USEC * NSEC_PER_USEC))
                        return false;
        }
        return true;
}

static void remember(LineageIndex *l, const SeenRow *row)
{
        Seen *seen = g_hash_table_lookup(l->seen, &row->place);

        if (!seen) {
                if (g_hash_table_size(l->seen) >= LINEAGE_HISTORY_MAX)
                        g_hash_table_remove_all(l->seen); /* it only explains */
                seen = g_new(Seen, 1);
                g_hash_table_insert(l->seen, g_memdup2(&row->place, sizeof(row->place)), seen);
        }
        *seen = (Seen){.split = row->split, .program = row->program};
}

static LineageWhy why_run(const LineageIndex *l, const SeenRow *row)
{
        const Seen *seen = g_hash_table_lookup(l->seen, &row->place);

        if (!seen)
                return WHY_NEW_INPUT;
        if (!same_key(&seen->split, &row->split))
                return WHY_INPUT_CHANGED;
        return same_key(&seen->program, &row->program) ? WHY_NOT_KEPT : WHY_PROGRAM_CHANGED;
}

static void on_seen(uint64_t job, const void *maps, size_t size, void *userdata)
{
        LineageIndex *l = userdata;
        GArray *rows = g_array_new(FALSE, FALSE, sizeof(SeenRow));

        g_array_append_vals(rows, maps, (guint) (size / sizeof(SeenRow)));
        for (guint i = 0; i < rows->len; i++)
                if (!key_is_none(&g_array_index(rows, SeenRow, i).place))
                        remember(l, &g_array_index(rows, SeenRow, i));
        l->stored += rows->len;
        g_hash_table_insert(l->planned, g_memdup2(&job, sizeof(job)), rows);
}

int lineage_restore(LineageIndex *l, Store *s)
{
        return store_each_seen(s, on_seen, l);
}

void lineage_restored(LineageIndex *l)
{
        g_hash_table_remove_all(l->planned);
}

/* All jobs before this one are forgotten when there are too many maps: as in memory. */
static void store_rows(LineageIndex *l, MasterJob *j, const GArray *rows)
{
        l->stored += rows->len;
        if (l->stored > LINEAGE_HISTORY_MAX) {
                store_trim_seen(j->manager->store, j->number);
                l->stored = rows->len;
        }
        store_put_seen(j->manager->store, j->number, rows->data,
                       (size_t) rows->len * sizeof(SeenRow));
}

/* @row: zeroed; its place stays so for a map without a key. */
static void map_key(JobLineage *jl, const MasterJob *j, const Key *program, uint32_t map,
                    SeenRow *row)
{
        const Split *split = &j->splits->splits[map];
        GChecksum *sum;

        if (!is_settled(j, split)) {
                jl->why[map] = row->why = WHY_TOO_FRESH;
                return;
        }
        split_keys(j, split, &row->split, &row->place);
        row->program = *program;
        sum = g_checksum_new(G_CHECKSUM_SHA256);
        add_bytes(sum, program, sizeof(*program));
        add_bytes(sum, &row->split, sizeof(row->split));
        finish(sum, &jl->keys[map]);
        jl->why[map] = row->why = (uint8_t) why_run(jl->lineage, row);
}

/* As it was said when the job was planned, where that was before our start; else against what was
 * seen until now. */
static void explain_maps(JobLineage *jl, MasterJob *j, GArray *rows)
{
        const GArray *before = g_hash_table_lookup(jl->lineage->planned, &j->number);

        if (before && before->len == rows->len) {
                for (uint32_t map = 0; map < j->maps; map++)
                        jl->why[map] = g_array_index(before, SeenRow, map).why;
                (void) g_hash_table_remove(jl->lineage->planned, &j->number);
                return;
        }
        for (guint i = 0; i < rows->len; i++)
                if (!key_is_none(&g_array_index(rows, SeenRow, i).place))
                        remember(jl->lineage, &g_array_index(rows, SeenRow, i));
        store_rows(jl->lineage, j, rows);
}

JobLineage *job_lineage_new(MasterJob *j)
{
        JobLineage *jl = g_new(JobLineage, 1);
        g_autoptr(GArray) rows = NULL;
        LineageWhy why = WHY_UNKNOWN;
        Key program;

        *jl = (JobLineage){
                .lineage = j->manager->lineage,
                .manager = j->manager,
                .maps = j->maps,
                .why = g_new0(uint8_t, j->maps),
        };
        if (g_str_equal(j->desc->reuse, "no") || j->manager->conf->ephemeral)
                why = WHY_REUSE_OFF;
        else if (j->reduces == 0)
                why = WHY_PART;
        else if (j->stable_dir)
                why = WHY_STABLE;
        else if (!*j->desc->app && !g_str_equal(j->desc->reuse, "yes"))
                why = WHY_COMMAND;
        if (why != WHY_UNKNOWN) {
                if (j->maps > 0)
                        memset(jl->why, (int) why, j->maps);
                return jl;
        }
        jl->keys = g_new0(Key, j->maps);
        program_key(j, &program);
        rows = g_array_set_size(g_array_new(FALSE, TRUE, sizeof(SeenRow)), j->maps);
        for (uint32_t map = 0; map < j->maps; map++)
                map_key(jl, j, &program, map, &g_array_index(rows, SeenRow, map));
        explain_maps(jl, j, rows);
        return jl;
}

JobLineage *job_lineage_free(JobLineage *jl)
{
        if (!jl)
                return NULL;
        g_free(jl->keys);
        g_free(jl->why);
        g_free(jl);
        return NULL;
}

const char *job_lineage_key(const JobLineage *jl, uint32_t map)
{
        static char text[2 * KEY_BYTES + 1];

        if (!jl || !jl->keys || map >= jl->maps || key_is_none(&jl->keys[map]))
                return NULL;
        key_to_text(&jl->keys[map], text);
        return text;
}

LineageWhy job_lineage_why(const JobLineage *jl, uint32_t map)
{
        return jl && map < jl->maps ? (LineageWhy) jl->why[map] : WHY_UNKNOWN;
}

void job_lineage_set_why(JobLineage *jl, uint32_t map, LineageWhy why)
{
        if (jl && map < jl->maps)
                jl->why[map] = (uint8_t) why;
}

bool job_lineage_next(JobLineage *jl, uint32_t *ret_map, uint32_t *ret_worker)
{
        while (jl && jl->keys && jl->next < jl->maps) {
                uint32_t map = jl->next++;
                const MasterWorker *w;

                if (key_is_none(&jl->keys[map]))
                        continue;
                w = manager_worker(jl->manager, GPOINTER_TO_UINT(g_hash_table_lookup(
                                                        jl->lineage->holders, &jl->keys[map])));
                if (!w || !w->alive || !w->reachable)
                        continue;
                *ret_map = map;
                *ret_worker = w->number;
                return true;
        }
        return false;
}

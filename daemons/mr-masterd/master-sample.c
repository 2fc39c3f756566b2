/*
 * Sampling — see master-sample.h.
 */
#include <fcntl.h>

#include "apps/catalog.h"
#include "base/fs.h"
#include "mr-masterd/master-sample.h"
#include "records/piece.h"
#include "records/sort-key.h"

#define PLACES_PER_REDUCE 8
#define PLACES_MIN 128
#define PLACES_MAX 2048
#define PLACE_BYTES (32 * 1024)
#define RECORDS_PER_PLACE 16
#define KEY_BYTES_MAX 1024 /* of a sampled key: more would not make the bounds better */

typedef struct Sample {
        SortSpec spec;
        uint64_t record_bytes;
        GPtrArray *keys; /* of GBytes */
        uint8_t *block;  /* of PLACE_BYTES + LINES_PADDING */
        uint64_t random; /* the state of a generator, the same in every run */
        const char *path;
        int fd;
} Sample;

static void sample_free(Sample *s)
{
        g_ptr_array_unref(s->keys);
        safe_close(s->fd);
        g_free(s->block);
        g_free(s);
}
DEFINE_CLEANUP(Sample, sample_free);

/* splitmix64 (Steele, Lea, Flood 2014): below @limit. */
static uint64_t random_below(Sample *s, uint64_t limit)
{
        uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return limit > 0 ? (z ^ z >> 31) % limit : 0;
}

static void add_key(Sample *s, const uint8_t *record, size_t size)
{
        g_autofree uint8_t *key = NULL;

        if (s->record_bytes > 0 && s->spec.key_bytes > 0)
                size = MIN(size, (size_t) s->spec.key_bytes);
        if (!sort_is_plain(&s->spec)) {
                key = g_malloc(sort_key_size_max(size));
                size = sort_key_put(&s->spec, record, size, key);
                record = key;
        }
        g_ptr_array_add(s->keys, g_bytes_new(record, MIN(size, (size_t) KEY_BYTES_MAX)));
}

/*
 * The block's lines, the first one only when it begins the file. The last may go on behind the
 * block: where a line's beginning is what is compared first, a bound is made of it just as well.
 */
static void add_lines(Sample *s, size_t size, bool first)
{
        const uint8_t *at = s->block, *end = s->block + size, *newline;

        for (unsigned taken = 0; taken < RECORDS_PER_PLACE && at < end; at = newline + 1) {
                newline = memchr(at, '\n', (size_t) (end - at));
                if (!newline && (s->spec.key > 0 || end - at < KEY_BYTES_MAX))
                        break;
                if (!newline)
                        newline = end;
                if (first) {
                        add_key(s, at, (size_t) (newline - at));
                        taken++;
                }
                first = true;
        }
}

/* Of a record that is longer than the block, its beginning. */
static void add_records(Sample *s, size_t size)
{
        size_t record_bytes = MIN((size_t) s->record_bytes, (size_t) PLACE_BYTES);
        size_t count = MIN(size / record_bytes, (size_t) RECORDS_PER_PLACE);

        for (size_t i = 0; i < count; i++)
                add_key(s, s->block + i * record_bytes, record_bytes);
}

static int open_file(Sample *s, const PlanFile *f, Error *e)
{
        if (s->path == f->path)
                return 0;
        s->fd = safe_close(s->fd);
        s->fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (s->fd < 0)
                return error_setf(e, errno, "cannot read the input %s: %s", f->path,
                                  error_text(errno));
        s->path = f->path;
        return 0;
}

/* Of a compressed file only the beginning is within reach. */
static int take_packed(Sample *s, const PlanFile *f, Error *e)
{
        _cleanup_(piece_reader_done) PieceReader reader = {};
        g_autofree char *cause = NULL;
        size_t size = 0;
        ssize_t n;
        int r;

        r = piece_reader_init_packed(&reader, s->fd, f->size_bytes, codec_of_path(f->path), NULL,
                                     e);
        if (r < 0)
                return r;
        do {
                n = piece_reader_read(&reader, s->block + size, PLACE_BYTES - size, e);
                if (n < 0) {
                        cause = g_strdup(error_message(e, (int) n));
                        error_done(e);
                        return error_setf(e, (int) n, "cannot read the input %s: %s", f->path,
                                          cause);
                }
                size += (size_t) n;
        } while (n > 0 && size < PLACE_BYTES);
        memset(s->block + size, 0, LINES_PADDING);
        add_lines(s, size, true);
        return 0;
}

static int take_place(Sample *s, const PlanFile *f, uint64_t offset, Error *e)
{
        ssize_t n;
        int r;

        if (s->record_bytes > 0)
                offset -= offset % s->record_bytes;
        r = open_file(s, f, e);
        if (r < 0)
                return r;
        if (codec_of_path(f->path) != CODEC_NONE)
                return take_packed(s, f, e);
        n = pread_full(s->fd, s->block, PLACE_BYTES, offset);
        if (n < 0)
                return error_setf(e, (int) n, "cannot read the input %s: %s", f->path,
                                  error_text((int) n));
        memset(s->block + n, 0, LINES_PADDING);
        if (s->record_bytes > 0)
                add_records(s, (size_t) n);
        else
                add_lines(s, (size_t) n, offset == 0);
        return 0;
}

/* The files end to end, cut into stretches, one place in each. */
static int take_places(Sample *s, const PlanFiles *files, uint64_t places, Error *e)
{
        uint64_t stretch = MAX(files->size_bytes / places, 1), file_begin = 0;
        guint at = 0;

        for (uint64_t i = 0; i < places && i * stretch < files->size_bytes; i++) {
                uint64_t offset =
                        MIN(i * stretch + random_below(s, stretch), files->size_bytes - 1);
                const PlanFile *f;
                int r;

                while (f = &g_array_index(files->files, PlanFile, at),
                       offset >= file_begin + f->size_bytes) {
                        file_begin += f->size_bytes;
                        at++;
                }
                r = take_place(s, f, offset - file_begin, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static gint compare_keys(gconstpointer a, gconstpointer b)
{
        return g_bytes_compare(*(GBytes *const *) a, *(GBytes *const *) b);
}

/* The shortest beginning of @b that is above @a. */
static GBytes *shortest_above(GBytes *a, GBytes *b)
{
        size_t a_size, b_size, n = 0;
        const uint8_t *x = g_bytes_get_data(a, &a_size), *y = g_bytes_get_data(b, &b_size);

        while (n < a_size && n < b_size && x[n] == y[n])
                n++;
        return g_bytes_new(y, MIN(n + 1, b_size));
}

/* Places at which another key begins than stands before it. */
static GArray *find_changes(const Sample *s)
{
        GArray *changes = g_array_new(false, false, sizeof(size_t));

        for (size_t i = 1; i < s->keys->len; i++)
                if (!g_bytes_equal(s->keys->pdata[i - 1], s->keys->pdata[i]))
                        g_array_append_val(changes, i);
        return changes;
}

/*
 * A bound for each i-th part of the sample, at the change of keys that is nearest: all of a key go
 * to one reduce. Where a key fills several parts there are fewer bounds.
 */
static GPtrArray *choose_bounds(const Sample *s, uint32_t reduces)
{
        GPtrArray *bounds = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        g_autoptr(GArray) changes = find_changes(s);
        size_t total = 0, last = 0;
        guint next = 0;

        for (uint32_t i = 1; i < reduces; i++) {
                size_t at = (size_t) ((uint64_t) s->keys->len * i / reduces), before, behind;

                while (next < changes->len && g_array_index(changes, size_t, next) < at)
                        next++;
                before = next > 0 ? g_array_index(changes, size_t, next - 1) : 0;
                behind = next < changes->len ? g_array_index(changes, size_t, next) : 0;
                at = before > last && (behind == 0 || at - before <= behind - at) ? before : behind;
                if (at <= last)
                        continue;
                last = at;
                g_ptr_array_add(bounds, shortest_above(s->keys->pdata[at - 1], s->keys->pdata[at]));
                total += g_bytes_get_size(bounds->pdata[bounds->len - 1]) + 2;
        }
        /* Too many to travel: fewer, and some reduces have nothing to do. */
        for (; total > SAMPLE_BOUNDS_BYTES; total /= 2)
                for (guint i = 0; i < bounds->len; i++)
                        g_ptr_array_remove_index(bounds, i);
        return bounds;
}

static int read_spec(Sample *s, const char *app, char *const *args, size_t arg_count, Error *e)
{
        g_autofree const char **values = NULL;
        CatalogSort c;
        int r;

        r = catalog_resolve(app, catalog_find(app)->parameters, args, arg_count, &values, e);
        if (r >= 0)
                r = catalog_read_sort(values, &c, e);
        if (r < 0)
                return r;
        s->spec = (SortSpec){
                .fields = {.delimited = c.delimiter != '\0', .delimiter = (uint8_t) c.delimiter},
                .key = c.key,
                .key_bytes = c.key_bytes,
                .numeric = c.numeric,
                .reverse = c.reverse,
        };
        s->record_bytes = c.record_bytes;
        return 0;
}

int plan_sample(const PlanFiles *files, const char *app, char *const *args, size_t arg_count,
                uint32_t reduces, GPtrArray **ret, Error *e)
{
        _cleanup_(sample_freep) Sample *s = g_new0(Sample, 1);
        int r;

        s->fd = -EBADF;
        s->keys = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        if (g_str_equal(app, "sort") && reduces > 1 && files->size_bytes > 0) {
                s->block = g_malloc(PLACE_BYTES + LINES_PADDING);
                r = read_spec(s, app, args, arg_count, e);
                if (r >= 0)
                        r = take_places(s, files,
                                        CLAMP(PLACES_PER_REDUCE * (uint64_t) reduces, PLACES_MIN,
                                              PLACES_MAX),
                                        e);
                if (r < 0)
                        return r;
        }
        g_ptr_array_sort(s->keys, compare_keys);
        *ret = choose_bounds(s, reduces);
        return 0;
}

/*
 * Indices — see worker-index.h.
 */
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-index.h"
#include "records/run-file.h"

/* Beside its bounds. */
#define ENTRY_BYTES 256

typedef struct Key {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec mtime, ctime;
} Key;

typedef struct Entry {
        Key key;    /* of the file it was read from */
        GList link; /* by use, the last one first */
        uint32_t partitions;
        uint64_t *bounds; /* partitions + 1 */
} Entry;

struct IndexCache {
        GHashTable *entries; /* Entry *, by device and inode; owned */
        GQueue used;
        size_t bytes, max_bytes;
        uint64_t reads;
};

static guint key_hash(gconstpointer p)
{
        const Entry *e = p;

        return (guint) (e->key.inode * 31 + e->key.device);
}

static gboolean key_equal_file(gconstpointer a, gconstpointer b)
{
        const Entry *x = a, *y = b;

        return x->key.inode == y->key.inode && x->key.device == y->key.device;
}

static bool time_equal(const struct timespec *a, const struct timespec *b)
{
        return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const Key *a, const Key *b)
{
        return a->size == b->size && time_equal(&a->mtime, &b->mtime) &&
               time_equal(&a->ctime, &b->ctime);
}

static void entry_free(gpointer p)
{
        Entry *e = p;

        free(e->bounds);
        g_free(e);
}

static size_t entry_bytes(const Entry *e)
{
        return ENTRY_BYTES + ((size_t) e->partitions + 1) * sizeof(uint64_t);
}

IndexCache *index_cache_new(size_t max_bytes)
{
        IndexCache *c = g_new0(IndexCache, 1);

        c->entries = g_hash_table_new_full(key_hash, key_equal_file, NULL, entry_free);
        c->max_bytes = max_bytes;
        g_queue_init(&c->used);
        return c;
}

IndexCache *index_cache_free(IndexCache *c)
{
        if (!c)
                return NULL;
        g_hash_table_unref(c->entries);
        g_free(c);
        return NULL;
}

static void drop(IndexCache *c, Entry *e)
{
        c->bytes -= entry_bytes(e);
        g_queue_unlink(&c->used, &e->link);
        (void) g_hash_table_remove(c->entries, e);
}

static Entry *keep(IndexCache *c, const Key *key, uint32_t partitions, uint64_t *bounds)
{
        Entry *e = g_new0(Entry, 1);

        *e = (Entry){.key = *key, .partitions = partitions, .bounds = bounds};
        e->link.data = e;
        g_hash_table_add(c->entries, e);
        g_queue_push_head_link(&c->used, &e->link);
        c->bytes += entry_bytes(e);
        while (c->bytes > c->max_bytes && c->used.length > 1)
                drop(c, c->used.tail->data);
        return e;
}

/* The entry of this very file, or NULL. One of the file as it was before is dropped. */
static Entry *find(IndexCache *c, const Key *key, uint32_t partitions)
{
        Entry wanted = {.key = *key}, *e = g_hash_table_lookup(c->entries, &wanted);

        if (!e)
                return NULL;
        if (!is_same(&e->key, key) || e->partitions != partitions) {
                drop(c, e);
                return NULL;
        }
        g_queue_unlink(&c->used, &e->link);
        g_queue_push_head_link(&c->used, &e->link);
        return e;
}

int index_cache_segment(IndexCache *c, int fd, uint32_t partitions, uint32_t partition,
                        uint64_t *ret_offset, uint64_t *ret_length, Error *error)
{
        uint64_t *bounds;
        struct stat st;
        Entry *e;
        Key key;
        int r;

        if (fstat(fd, &st) < 0)
                return error_setf(error, errno, "cannot stat a run file: %s", error_text(errno));
        key = (Key){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
        e = find(c, &key, partitions);
        if (!e) {
                c->reads++;
                r = run_file_index(fd, partitions, &bounds, error);
                if (r < 0)
                        return r;
                e = keep(c, &key, partitions, bounds);
        }
        if (partition >= partitions)
                return error_setf(error, EINVAL, "no partition %u of %u", partition, partitions);
        *ret_offset = e->bounds[partition];
        *ret_length = e->bounds[partition + 1] - e->bounds[partition];
        return 0;
}

uint64_t index_cache_reads(const IndexCache *c)
{
        return c->reads;
}

size_t index_cache_bytes(const IndexCache *c)
{
        return c->bytes;
}

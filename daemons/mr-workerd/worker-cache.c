/*
 * The cache — see worker-cache.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-cache.h"

#define NAME_SIZE (CACHE_KEY_SIZE + 8)
#define META_MAX_BYTES KIB(256)

typedef struct Entry {
        char key[CACHE_KEY_SIZE];
        uint64_t size_bytes;
        int64_t used_ns; /* of the last use, by the .meta file's time; while we run the order in
                            `lru` says it */
        GList link;      /* in lru, the most recently used first */
} Entry;

struct Cache {
        Spool *spool;
        int fd;
        uint64_t max_bytes, bytes;
        GHashTable *entries; /* key → Entry *, owned */
        GQueue lru;
};

bool cache_key_is_valid(const char *key)
{
        return strlen(key) == CACHE_KEY_SIZE - 1 &&
               strspn(key, "0123456789abcdef") == CACHE_KEY_SIZE - 1;
}

static void file_name(const char *key, const char *suffix, char ret[static NAME_SIZE])
{
        g_snprintf(ret, NAME_SIZE, "%s.%s", key, suffix);
}

static Entry *find(const Cache *c, const char *key)
{
        return c ? g_hash_table_lookup(c->entries, key) : NULL;
}

bool cache_has(const Cache *c, const char *key)
{
        return find(c, key);
}

uint64_t cache_bytes(const Cache *c)
{
        return c ? c->bytes : 0;
}

static void add_entry(Cache *c, const char *key, uint64_t size_bytes, int64_t used_ns, bool newest)
{
        Entry *n = g_new0(Entry, 1);

        (void) g_strlcpy(n->key, key, sizeof(n->key));
        n->size_bytes = size_bytes;
        n->used_ns = used_ns;
        n->link.data = n;
        c->bytes += size_bytes;
        g_hash_table_insert(c->entries, n->key, n);
        if (newest)
                g_queue_push_head_link(&c->lru, &n->link);
        else
                g_queue_push_tail_link(&c->lru, &n->link);
}

static void remove_files(Cache *c, const char *key)
{
        char name[NAME_SIZE];

        file_name(key, "run", name);
        (void) unlinkat(c->fd, name, 0);
        file_name(key, "meta", name);
        (void) unlinkat(c->fd, name, 0);
}

static void drop(Cache *c, Entry *n)
{
        remove_files(c, n->key);
        c->bytes -= n->size_bytes;
        g_queue_unlink(&c->lru, &n->link);
        g_hash_table_remove(c->entries, n->key);
}

void cache_drop(Cache *c, const char *key)
{
        Entry *n = find(c, key);

        if (n)
                drop(c, n);
}

void cache_shrink(Cache *c, uint64_t bytes)
{
        uint64_t dropped = 0;

        while (c && c->lru.tail && dropped < bytes) {
                Entry *n = c->lru.tail->data;

                dropped += MAX(n->size_bytes, 1);
                drop(c, n);
        }
}

static void hold_bounds(Cache *c)
{
        while (c->lru.tail &&
               (c->bytes > c->max_bytes || g_hash_table_size(c->entries) > CACHE_ENTRIES_MAX))
                drop(c, c->lru.tail->data);
}

/* ---- At the start ---- */

static gint compare_use(gconstpointer a, gconstpointer b, gpointer userdata)
{
        const Entry *x = a, *y = b;

        return x->used_ns < y->used_ns ? 1 : x->used_ns > y->used_ns ? -1 : 0;
}

/* Takes what is whole, by its .meta file; the rest is removed afterwards. */
static void learn(Cache *c, const char *name)
{
        g_autofree char *key = g_strndup(name, CACHE_KEY_SIZE - 1);
        struct stat run, meta;
        char run_name[NAME_SIZE];

        if (!g_str_has_suffix(name, ".meta") || !cache_key_is_valid(key) ||
            strlen(name) != CACHE_KEY_SIZE - 1 + strlen(".meta"))
                return;
        file_name(key, "run", run_name);
        if (fstatat(c->fd, run_name, &run, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(run.st_mode) ||
            fstatat(c->fd, name, &meta, AT_SYMLINK_NOFOLLOW) < 0)
                return;
        add_entry(c, key, (uint64_t) run.st_size,
                  meta.st_mtim.tv_sec * NSEC_PER_SEC + meta.st_mtim.tv_nsec, false);
}

static bool belongs(const Cache *c, const char *name)
{
        g_autofree char *key = g_strndup(name, CACHE_KEY_SIZE - 1);

        return strlen(name) > CACHE_KEY_SIZE && find(c, key) &&
               (g_str_has_suffix(name, ".run") || g_str_has_suffix(name, ".meta"));
}

static int scan(Cache *c, void (*each)(Cache *c, const char *name))
{
        struct dirent *de;
        DIR *d;
        int fd;

        fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                safe_close(fd);
                return -ENOMEM;
        }
        while ((de = readdir(d)))
                if (!g_str_equal(de->d_name, ".") && !g_str_equal(de->d_name, ".."))
                        each(c, de->d_name);
        (void) closedir(d);
        return 0;
}

static void remove_stray(Cache *c, const char *name)
{
        if (!belongs(c, name))
                (void) rm_rf_at(c->fd, name);
}

int cache_open(Spool *spool, uint64_t max_bytes, Cache **ret, Error *e)
{
        Cache *c = g_new0(Cache, 1);
        int r;

        *c = (Cache){
                .spool = spool,
                .fd = -EBADF,
                .max_bytes = max_bytes,
                .entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free),
        };
        g_queue_init(&c->lru);
        r = spool_cache_make(spool, &c->fd);
        if (r >= 0)
                r = scan(c, learn);
        if (r >= 0)
                r = scan(c, remove_stray);
        if (r < 0) {
                cache_free(c);
                return error_setf(e, r, "cannot prepare the cache of map outputs: %s",
                                  error_text(r));
        }
        g_queue_sort(&c->lru, compare_use, NULL);
        hold_bounds(c);
        *ret = c;
        return 0;
}

Cache *cache_free(Cache *c)
{
        if (!c)
                return NULL;
        safe_close(c->fd);
        g_hash_table_unref(c->entries);
        g_free(c);
        return NULL;
}

GPtrArray *cache_list(const Cache *c)
{
        GPtrArray *keys = g_ptr_array_new();

        for (GList *l = c ? c->lru.head : NULL; l; l = l->next)
                g_ptr_array_add(keys, ((Entry *) l->data)->key);
        return keys;
}

/* ---- In and out ---- */

/* The result as a later job will hear it. Not synced: a torn one does not unpack, and the map is
 * run. */
static int write_meta(Cache *c, const char *key, const Mapreduced__V1__TaskResult *result,
                      const char *made_by)
{
        Mapreduced__V1__TaskResult kept = *result;
        _cleanup_close_ int fd = -EBADF;
        g_autofree uint8_t *data = NULL;
        char name[NAME_SIZE];
        size_t size;

        kept.reused_from = (char *) made_by;
        kept.cpu_usec = 0;
        kept.stderr_tail = (char *) "";
        size = mapreduced__v1__task_result__get_packed_size(&kept);
        if (size > META_MAX_BYTES)
                return -E2BIG;
        data = g_malloc(MAX(size, 1));
        mapreduced__v1__task_result__pack(&kept, data);
        file_name(key, "meta", name);
        fd = openat(c->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : write_full(fd, data, size);
}

void cache_add(Cache *c, const char *key, const char *job_id, uint32_t map, uint32_t attempt,
               const Mapreduced__V1__TaskResult *result, const char *made_by)
{
        char name[NAME_SIZE];
        uint64_t size;
        int r;

        if (!c || !cache_key_is_valid(key) || result->output_bytes > c->max_bytes)
                return;
        cache_drop(c, key); /* a newer one is as good, and surely whole */
        file_name(key, "run", name);
        r = write_meta(c, key, result, made_by);
        if (r >= 0)
                r = spool_output_link(c->spool, job_id, map, attempt, c->fd, name, &size);
        if (r < 0) {
                remove_files(c, key);
                return;
        }
        add_entry(c, key, size, 0, true);
        hold_bounds(c);
}

static int read_meta(Cache *c, const char *key, Mapreduced__V1__TaskResult **ret)
{
        g_autofree uint8_t *data = g_malloc(META_MAX_BYTES);
        _cleanup_close_ int fd = -EBADF;
        char name[NAME_SIZE];
        ssize_t n;

        file_name(key, "meta", name);
        fd = openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read_full(fd, data, META_MAX_BYTES);
        if (n < 0)
                return (int) n;
        *ret = mapreduced__v1__task_result__unpack(NULL, (size_t) n, data);
        if (!*ret)
                return -EBADMSG;
        (void) futimens(fd, NULL); /* so that a restart knows the order, too */
        return 0;
}

int cache_take(Cache *c, const char *key, const char *job_id, uint32_t map, uint32_t attempt,
               Mapreduced__V1__TaskResult **ret_result)
{
        Mapreduced__V1__TaskResult *result = NULL;
        Entry *n = find(c, key);
        char name[NAME_SIZE];
        int r;

        if (!n)
                return -ENOENT;
        r = read_meta(c, key, &result);
        if (r >= 0 && (result->outcome != MAPREDUCED__V1__TASK_OUTCOME__SUCCEEDED ||
                       result->output_bytes != n->size_bytes || !*result->reused_from))
                r = -EBADMSG;
        file_name(key, "run", name);
        if (r >= 0)
                r = spool_output_adopt(c->spool, job_id, map, attempt, c->fd, name, n->size_bytes);
        if (r < 0) {
                mapreduced__v1__task_result__free_unpacked(result, NULL);
                drop(c, n);
                return r;
        }
        g_queue_unlink(&c->lru, &n->link);
        g_queue_push_head_link(&c->lru, &n->link);
        *ret_result = result;
        return 0;
}

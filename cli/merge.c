/*
 * Merge of the parts of a result — see merge.h.
 *
 * The inputs meet in a loser tree: one comparison a level for each line, and most comparisons end
 * at the first eight bytes of the keys, which are kept as one big-endian number.
 * Source: Knuth, TAOCP 3, §5.4.1 (tree of losers).
 */
#include <endian.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "cli/merge.h"

#define NONE UINT32_MAX
#define FD_RESERVE 64 /* descriptors left for the bus, the output and the libraries */

typedef struct Sink {
        int fd;
        char *buffer;
        size_t used, size;
        const volatile sig_atomic_t *interrupted;
} Sink;

/* The line that is next in this input starts at buffer[begin]. */
typedef struct Input {
        int fd;
        bool owned;             /* to be closed with the input */
        uint64_t offset, limit; /* of the file: the next byte to read, and the first one not to */
        char *buffer;
        size_t size, begin, end;
        size_t key_size;
        size_t line_size; /* with its newline; as far as it is in the buffer */
        bool whole;       /* line_size is all of it */
        bool eof;         /* nothing more to read from fd */
        bool done;        /* no line */
        uint64_t prefix;  /* the key's first 8 bytes */
} Input;

typedef struct Tree {
        Input *inputs;
        uint32_t *losers; /* [0] is the winner */
        uint32_t count;
} Tree;

/* A sorted text that waits to be merged: a part that is not open yet, or a range of the scratch
 * file. */
typedef struct Run {
        bool merged; /* in the scratch file */
        uint32_t part;
        uint64_t offset, limit;
} Run;

typedef struct Merge {
        MergeOpen open_part;
        void *userdata;
        const MergeOptions *options;
        int scratch; /* groups that were merged, one behind the other; -EBADF: none yet */
        uint64_t scratch_end;
} Merge;

static void sink_done(Sink *s)
{
        free(s->buffer);
}

static int sink_write(Sink *s, const char *data, size_t size_bytes)
{
        while (size_bytes > 0) {
                ssize_t n;

                if (s->interrupted && *s->interrupted)
                        return -EINTR;
                n = write(s->fd, data, size_bytes);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                data += n;
                size_bytes -= (size_t) n;
        }
        return 0;
}

static int sink_flush(Sink *s)
{
        size_t used = s->used;

        s->used = 0;
        return sink_write(s, s->buffer, used);
}

static int sink_append(Sink *s, const char *data, size_t size_bytes)
{
        int r;

        if (s->used + size_bytes > s->size) {
                r = sink_flush(s);
                if (r < 0)
                        return r;
                if (size_bytes >= s->size)
                        return sink_write(s, data, size_bytes);
        }
        memcpy(s->buffer + s->used, data, size_bytes);
        s->used += size_bytes;
        return 0;
}

static int sink_init(Sink *s, int fd, const MergeOptions *o)
{
        *s = (Sink){.fd = fd, .size = (size_t) KIB(256), .interrupted = o->interrupted};
        s->buffer = malloc(s->size);
        return s->buffer ? 0 : -ENOMEM;
}

/* Reads more behind what is there; the buffer has room. 0 at the end. */
static int input_read(Input *in)
{
        size_t room = (size_t) MIN((uint64_t) (in->size - in->end), in->limit - in->offset);
        ssize_t n;

        do
                n = pread(in->fd, in->buffer + in->end, room, (off_t) in->offset);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        in->eof = n == 0;
        in->offset += (size_t) n;
        in->end += (size_t) n;
        return n > 0;
}

/* Makes room by moving the line to the front, or by a larger buffer where the key needs one. */
static int input_make_room(Input *in)
{
        char *grown;

        if (in->begin > 0) {
                memmove(in->buffer, in->buffer + in->begin, in->end - in->begin);
                in->end -= in->begin;
                in->begin = 0;
        }
        if (in->end < in->size)
                return 0;
        if (in->size >= MERGE_KEY_MAX_BYTES)
                return -EMSGSIZE;
        grown = realloc(in->buffer, in->size * 2);
        if (!grown)
                return -ENOMEM;
        in->buffer = grown;
        in->size *= 2;
        return 0;
}

static uint64_t key_prefix(const char *key, size_t size_bytes)
{
        uint64_t v = 0;

        memcpy(&v, key, MIN(size_bytes, sizeof(v)));
        return be64toh(v);
}

static void input_set_line(Input *in, size_t line_size, size_t text_size, bool whole)
{
        const char *line = in->buffer + in->begin;
        const char *tab = memchr(line, '\t', text_size);

        in->line_size = line_size;
        in->key_size = tab ? (size_t) (tab - line) : text_size;
        in->whole = whole;
        in->prefix = key_prefix(line, in->key_size);
}

/* Finds the next line: all of it, or at least its key. Each byte is looked at once. */
static int input_next(Input *in)
{
        size_t scanned = 0;
        bool tab = false;

        for (;;) {
                size_t have = in->end - in->begin;
                const char *line = in->buffer + in->begin;
                const char *newline;
                int r;

                newline = have > scanned ? memchr(line + scanned, '\n', have - scanned) : NULL;
                if (newline) {
                        size_t size = (size_t) (newline - line);

                        input_set_line(in, size + 1, size, true);
                        return 0;
                }
                if (in->eof) {
                        in->done = have == 0;
                        input_set_line(in, have, have, true);
                        return 0;
                }
                tab = tab || (have > scanned && memchr(line + scanned, '\t', have - scanned));
                scanned = have;
                if (tab && have == in->size) {
                        input_set_line(in, have, have, false);
                        return 0;
                }
                if (in->end == in->size) {
                        r = input_make_room(in);
                        if (r < 0)
                                return r;
                }
                r = input_read(in);
                if (r < 0)
                        return r;
        }
}

/* Writes the rest of a line whose key alone was in the buffer. */
static int input_stream_rest(Input *in, Sink *to)
{
        for (;;) {
                const char *newline;
                int r;

                in->begin = in->end = 0;
                r = input_read(in);
                if (r < 0)
                        return r;
                if (in->eof)
                        return sink_append(to, "\n", 1);
                newline = memchr(in->buffer, '\n', in->end);
                in->begin = newline ? (size_t) (newline - in->buffer) + 1 : in->end;
                r = sink_append(to, in->buffer, in->begin);
                if (r < 0 || newline)
                        return r;
        }
}

static int input_emit(Input *in, Sink *to)
{
        const char *line = in->buffer + in->begin;
        int r;

        r = sink_append(to, line, in->line_size);
        if (r < 0)
                return r;
        in->begin += in->line_size;
        if (!in->whole)
                return input_stream_rest(in, to);
        if (line[in->line_size - 1] != '\n')
                return sink_append(to, "\n", 1);
        return 0;
}

/* Does input @a come before input @b? A finished one comes after all others. */
static bool tree_less(const Tree *t, uint32_t a, uint32_t b)
{
        const Input *x = &t->inputs[a], *y = &t->inputs[b];
        int c;

        if (x->done || y->done)
                return x->done == y->done ? a < b : y->done;
        if (x->prefix != y->prefix)
                return x->prefix < y->prefix;
        c = memcmp(x->buffer + x->begin, y->buffer + y->begin, MIN(x->key_size, y->key_size));
        if (c != 0)
                return c < 0;
        if (x->key_size != y->key_size)
                return x->key_size < y->key_size;
        return a < b;
}

/* Every inner node sees two inputs arrive: the first waits there, the second plays against it. */
static void tree_build(Tree *t)
{
        for (uint32_t i = 0; i < t->count; i++)
                t->losers[i] = NONE;
        for (uint32_t i = 0; i < t->count; i++) {
                uint32_t c = i, n;

                for (n = (i + t->count) / 2; n > 0; n /= 2) {
                        if (t->losers[n] == NONE)
                                break;
                        if (tree_less(t, t->losers[n], c)) {
                                uint32_t winner = t->losers[n];

                                t->losers[n] = c;
                                c = winner;
                        }
                }
                t->losers[n] = c;
        }
}

/* The winner has a new line: it plays its way up again. */
static void tree_replay(Tree *t)
{
        uint32_t c = t->losers[0];

        for (uint32_t n = (c + t->count) / 2; n > 0; n /= 2) {
                if (tree_less(t, t->losers[n], c)) {
                        uint32_t winner = t->losers[n];

                        t->losers[n] = c;
                        c = winner;
                }
        }
        t->losers[0] = c;
}

static void tree_done(Tree *t)
{
        for (uint32_t i = 0; i < t->count; i++) {
                free(t->inputs[i].buffer);
                if (t->inputs[i].owned)
                        safe_close(t->inputs[i].fd);
        }
        g_free(t->inputs);
        g_free(t->losers);
}

static int tree_add(Tree *t, Input new, size_t buffer_bytes)
{
        Input *in = &t->inputs[t->count++];

        *in = new;
        in->size = buffer_bytes;
        in->buffer = malloc(buffer_bytes);
        return in->buffer ? input_next(in) : -ENOMEM;
}

static int tree_merge(Tree *t, Sink *to)
{
        int r;

        tree_build(t);
        for (;;) {
                Input *in = &t->inputs[t->losers[0]];

                if (in->done)
                        return sink_flush(to);
                r = input_emit(in, to);
                if (r < 0)
                        return r;
                r = input_next(in);
                if (r < 0)
                        return r;
                tree_replay(t);
        }
}

static int open_run(const Merge *m, const Run *run, Input *ret, Error *e)
{
        int r;

        if (run->merged) {
                *ret = (Input){.fd = m->scratch, .offset = run->offset, .limit = run->limit};
                return 0;
        }
        *ret = (Input){.owned = true, .limit = INT64_MAX};
        r = m->open_part(m->userdata, run->part, &ret->fd, e);
        if (r >= 0)
                (void) posix_fadvise(ret->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        return r;
}

static size_t buffer_size(uint32_t count, const MergeOptions *o)
{
        if (o->buffer_bytes > 0)
                return o->buffer_bytes;
        return (size_t) CLAMP(MERGE_BUFFERS_BYTES / count, MERGE_BUFFER_MIN_BYTES,
                              MERGE_BUFFER_MAX_BYTES);
}

static int merge_group(const Merge *m, const Run *runs, uint32_t count, int to, Error *e)
{
        _cleanup_(sink_done) Sink sink = {};
        _cleanup_(tree_done) Tree t = {};
        int r;

        t.inputs = g_new0(Input, count);
        t.losers = g_new(uint32_t, count);
        r = sink_init(&sink, to, m->options);
        for (uint32_t i = 0; i < count && r >= 0; i++) {
                Input in;

                r = open_run(m, &runs[i], &in, e);
                if (r >= 0)
                        r = tree_add(&t, in, buffer_size(count, m->options));
        }
        if (r >= 0)
                r = tree_merge(&t, &sink);
        if (r == -EMSGSIZE)
                return error_setf(e, r, "a key of the result is longer than %d MiB",
                                  (int) (MERGE_KEY_MAX_BYTES / MIB(1)));
        return r;
}

static int open_scratch(int *ret, Error *e)
{
        const char *dir = getenv("TMPDIR");
        g_autofree char *path = NULL;
        int fd;

        dir = dir && *dir ? dir : "/var/tmp";
        fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0) { /* not every file system has O_TMPFILE */
                path = g_build_filename(dir, "mrctl-merge-XXXXXX", NULL);
                fd = mkostemp(path, O_CLOEXEC);
                if (fd < 0)
                        return error_setf(e, errno, "cannot make a temporary file in %s: %s", dir,
                                          error_text(errno));
                (void) unlink(path);
        }
        *ret = fd;
        return 0;
}

/* Merges a group into the scratch file, behind what is there. */
static int merge_to_scratch(Merge *m, const Run *runs, uint32_t count, Run *ret, Error *e)
{
        off_t end;
        int r = 0;

        if (m->scratch < 0)
                r = open_scratch(&m->scratch, e);
        if (r >= 0)
                r = merge_group(m, runs, count, m->scratch, e);
        if (r == -ENOSPC)
                return error_setf(e, r, "no space left for temporary files ($TMPDIR)");
        if (r < 0)
                return r;
        end = lseek(m->scratch, 0, SEEK_CUR);
        if (end < 0)
                return -errno;
        *ret = (Run){.merged = true, .offset = m->scratch_end, .limit = (uint64_t) end};
        m->scratch_end = (uint64_t) end;
        return 0;
}

/* One pass from left to right: groups become one run each, until no more than @max_open are
 * left. */
static int merge_pass(Merge *m, GArray *runs, uint32_t max_open, Error *e)
{
        for (uint32_t at = 0; at < runs->len && runs->len > max_open; at++) {
                uint32_t count = MIN(MIN(max_open, runs->len - at), runs->len - max_open + 1);
                Run merged;
                int r;

                if (count < 2)
                        break;
                r = merge_to_scratch(m, &g_array_index(runs, Run, at), count, &merged, e);
                if (r < 0)
                        return r;
                g_array_remove_range(runs, at, count - 1);
                g_array_index(runs, Run, at) = merged;
        }
        return 0;
}

static int copy_part(const Merge *m, uint32_t part, int to, Error *e)
{
        _cleanup_(sink_done) Sink sink = {};
        _cleanup_close_ int fd = -EBADF;
        uint64_t offset = 0;
        int r;

        r = m->open_part(m->userdata, part, &fd, e);
        if (r < 0)
                return r;
        r = sink_init(&sink, to, m->options);
        while (r >= 0) {
                ssize_t n = pread(fd, sink.buffer, sink.size, (off_t) offset);

                if (n == 0)
                        return 0;
                if (n > 0) {
                        r = sink_write(&sink, sink.buffer, (size_t) n);
                        offset += (size_t) n;
                } else if (errno != EINTR)
                        r = -errno;
        }
        return r;
}

static int copy_parts(const Merge *m, uint32_t parts, int to, Error *e)
{
        int r = 0;

        for (uint32_t i = 0; i < parts && r >= 0; i++)
                r = copy_part(m, i, to, e);
        return r;
}

static uint32_t default_max_open(void)
{
        struct rlimit rl;

        if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur <= FD_RESERVE + 8)
                return 8;
        return (uint32_t) MIN(rl.rlim_cur - FD_RESERVE, (rlim_t) MERGE_OPEN_MAX);
}

static void merge_done(Merge *m)
{
        safe_close(m->scratch);
}

int merge_parts(MergeOpen open_part, void *userdata, uint32_t parts, int to, const MergeOptions *o,
                Error *e)
{
        _cleanup_(merge_done) Merge m = {
                .open_part = open_part, .userdata = userdata, .options = o, .scratch = -EBADF};
        uint32_t max_open = o->max_open > 0 ? o->max_open : default_max_open();
        g_autoptr(GArray) runs = NULL;
        int r;

        if (parts == 0)
                return 0;
        if (parts == 1 || o->in_order)
                return copy_parts(&m, parts, to, e);
        runs = g_array_sized_new(FALSE, FALSE, sizeof(Run), parts);
        for (uint32_t i = 0; i < parts; i++) {
                Run run = {.part = i};

                g_array_append_val(runs, run);
        }
        while (runs->len > max_open) {
                r = merge_pass(&m, runs, max_open, e);
                if (r < 0)
                        return r;
        }
        return merge_group(&m, &g_array_index(runs, Run, 0), runs->len, to, e);
}

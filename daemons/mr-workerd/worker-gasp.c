/*
 * Gasp — see worker-gasp.h.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/text.h"
#include "mr-workerd/worker-gasp.h"
#include "records/record-page.h"

#define PATH_SHOWN_BYTES 1024
/* Of how a record's run ended; goes to mr-task with each of them. */
#define HOW_MAX_BYTES 160
/* Runs that fail on another record each time: more than a map that has only bad records needs. */
#define STRAY_RUNS_MAX 16

struct Gasp {
        Loop *loop;
        int page_fd, stderr_fd, theirs_fd;
        struct event *readable;
        GString *tail;
        uint32_t skip_records, strays;
        GPtrArray *bad; /* Mapreduced__Task__V1__BadRecord *, owned */
        RecordPage last;
};

static void bad_record_free(gpointer p)
{
        Mapreduced__Task__V1__BadRecord *b = p;

        g_free(b->error);
        g_free(b);
}

Gasp *gasp_new(Loop *l, uint32_t skip_records)
{
        Gasp *g = g_new(Gasp, 1);

        *g = (Gasp){
                .loop = l,
                .page_fd = memfd_create("record-page", MFD_CLOEXEC),
                .stderr_fd = -EBADF,
                .theirs_fd = -EBADF,
                .tail = g_string_new(NULL),
                .skip_records = skip_records,
                .bad = g_ptr_array_new_with_free_func(bad_record_free),
        };
        if (g->page_fd < 0 || ftruncate(g->page_fd, sizeof(RecordPage)) < 0)
                return gasp_free(g);
        return g;
}

static void close_stderr(Gasp *g)
{
        if (g->readable)
                event_free(g->readable);
        g->readable = NULL;
        g->stderr_fd = safe_close(g->stderr_fd);
        g->theirs_fd = safe_close(g->theirs_fd);
}

Gasp *gasp_free(Gasp *g)
{
        if (!g)
                return NULL;
        close_stderr(g);
        safe_close(g->page_fd);
        g_string_free(g->tail, TRUE);
        g_ptr_array_unref(g->bad);
        g_free(g);
        return NULL;
}

/* What there is; more than the tail is read and dropped, at most so much at a time. */
static void read_stderr(Gasp *g)
{
        char buffer[STDERR_TAIL_BYTES];
        ssize_t n;

        for (int i = 0; i < 16 && g->stderr_fd >= 0; i++) {
                n = read(g->stderr_fd, buffer, sizeof(buffer));
                if (n <= 0)
                        break;
                text_keep_tail(g->tail, buffer, (size_t) n, STDERR_TAIL_BYTES);
        }
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
        Gasp *g = userdata;
        char probe;

        read_stderr(g);
        /* At its end it would stay readable for ever. */
        if (read(fd, &probe, 1) == 0)
                close_stderr(g);
}

int gasp_begin(Gasp *g, Mapreduced__Task__V1__AttemptStart *start)
{
        static const RecordPage empty;
        int pair[2];

        close_stderr(g);
        g_string_truncate(g->tail, 0);
        if (pwrite(g->page_fd, &empty, sizeof(empty), 0) != sizeof(empty))
                return -EIO;
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        g->stderr_fd = pair[0];
        g->theirs_fd = pair[1];
        if (fcntl(g->stderr_fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        g->readable =
                event_new(loop_base(g->loop), g->stderr_fd, EV_READ | EV_PERSIST, on_readable, g);
        if (!g->readable || event_add(g->readable, NULL) < 0)
                return -ENOMEM;
        start->n_bad = g->bad->len;
        start->bad = (Mapreduced__Task__V1__BadRecord **) g->bad->pdata;
        return 0;
}

void gasp_fds(const Gasp *g, int ret[static 2])
{
        ret[0] = g->page_fd;
        ret[1] = g->theirs_fd;
}

void gasp_sent(Gasp *g)
{
        g->theirs_fd = safe_close(g->theirs_fd);
}

char *gasp_stderr(Gasp *g)
{
        read_stderr(g);
        for (size_t i = 0; i < g->tail->len; i++)
                if (g->tail->str[i] == '\0')
                        g->tail->str[i] = '?';
        return g_utf8_make_valid(g->tail->str, (gssize) g->tail->len);
}

/* The record in hand. What stands there was written by a process that runs user code. */
static bool read_page(const Gasp *g, const TaskSpec *spec, RecordPage *ret)
{
        RecordPage page;

        if (pread(g->page_fd, &page, sizeof(page), 0) != sizeof(page) || page.in_hand != 1 ||
            page.piece >= spec->n_pieces)
                return false;
        *ret = page;
        return true;
}

uint64_t gasp_over_limit_bytes(const Gasp *g)
{
        RecordPage page;

        return pread(g->page_fd, &page, sizeof(page), 0) == sizeof(page) ? page.over_limit_bytes
                                                                         : 0;
}

char *gasp_where(const Gasp *g, const TaskSpec *spec)
{
        g_autofree char *path = NULL;
        RecordPage page;

        if (!read_page(g, spec, &page))
                return NULL;
        path = text_escape(spec->pieces[page.piece]->path, strlen(spec->pieces[page.piece]->path),
                           PATH_SHOWN_BYTES);
        return g_strdup_printf("in map() on the record at %s byte %" PRIu64, path, page.offset);
}

static void add_bad(Gasp *g, const RecordPage *page, const char *how)
{
        Mapreduced__Task__V1__BadRecord *b = g_new(Mapreduced__Task__V1__BadRecord, 1);

        mapreduced__task__v1__bad_record__init(b);
        b->piece = page->piece;
        b->offset = page->offset;
        b->error = g_utf8_make_valid(how, (gssize) MIN(strlen(how), (size_t) HOW_MAX_BYTES));
        g_ptr_array_add(g->bad, b);
}

bool gasp_try_again(Gasp *g, const TaskSpec *spec, const char *how, char **ret_sentence)
{
        RecordPage page;

        *ret_sentence = NULL;
        if (g->skip_records == 0 || !read_page(g, spec, &page))
                return false;
        if (!g->last.in_hand || g->last.piece != page.piece || g->last.offset != page.offset) {
                g->last = page;
                if (++g->strays <= g->skip_records + STRAY_RUNS_MAX)
                        return true;
                *ret_sentence = g_strdup("it fails on another record each time");
                return false;
        }
        if (g->bad->len >= g->skip_records) {
                *ret_sentence =
                        g_strdup_printf("after %u that were skipped already (SkipBadRecords=%u)",
                                        g->bad->len, g->skip_records);
                return false;
        }
        add_bad(g, &page, how);
        g->last = (RecordPage){};
        return true;
}

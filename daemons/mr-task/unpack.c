/*
 * Unpacking — see archive-module.h.
 *
 * libarchive reads every format it knows, with its filters, and writes to disk below the current
 * directory.
 */
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "base/text.h"
#include "mr-task/archive-module.h"

#define READ_BYTES (256 * 1024)
#define NAME_SHOWN_BYTES 200

typedef struct archive Archive;

typedef struct Unpacking {
        const Ticker *ticker;
        Error *error;
        Archive *from, *to;
        uint64_t bytes;
        unsigned entries;
} Unpacking;

static int refuse_entry(Unpacking *u, struct archive_entry *entry, int code, const char *what)
{
        const char *path = archive_entry_pathname(entry);
        g_autofree char *shown = path ? text_escape(path, strlen(path), NAME_SHOWN_BYTES) : NULL;

        return error_setf(u->error, code, "%s: %s", shown ? shown : "an entry without a name",
                          what);
}

static int write_failed(Unpacking *u, struct archive_entry *entry)
{
        int code = archive_errno(u->to);
        const char *what = archive_error_string(u->to);

        return refuse_entry(u, entry, code > 0 ? -code : -EBADMSG, what ? what : "cannot write it");
}

/* Does a link at @path to @target stay below the directory that @path is relative to? */
static bool stays_inside(const char *path, const char *target)
{
        g_auto(GStrv) at = g_strsplit(path, "/", -1), to = g_strsplit(target, "/", -1);
        int depth = -1; /* the last name is the link's own */

        if (target[0] == '/')
                return false;
        for (char **p = at; *p; p++)
                depth += **p && !g_str_equal(*p, ".");
        for (char **p = to; *p; p++) {
                if (g_str_equal(*p, ".."))
                        depth--;
                else
                        depth += **p && !g_str_equal(*p, ".");
                if (depth < 0)
                        return false;
        }
        return true;
}

static int check_entry(Unpacking *u, struct archive_entry *entry)
{
        const char *path = archive_entry_pathname(entry), *link;
        unsigned type = archive_entry_filetype(entry);

        if (!path)
                return refuse_entry(u, entry, -EBADMSG, "cannot read its name");
        if (++u->entries > ARCHIVE_ENTRIES_MAX)
                return error_setf(u->error, -E2BIG, "it has more than %u entries",
                                  ARCHIVE_ENTRIES_MAX);
        if (archive_entry_hardlink(entry))
                return 0; /* libarchive holds its target to the rules of names */
        if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
                return refuse_entry(u, entry, -EINVAL, "neither a file, a directory nor a link");
        if (type != AE_IFLNK)
                return 0;
        link = archive_entry_symlink(entry);
        if (!link || !stays_inside(path, link))
                return refuse_entry(u, entry, -EINVAL, "a link that leads out of the archive");
        return 0;
}

static int copy_data(Unpacking *u, struct archive_entry *entry)
{
        for (;;) {
                const void *data;
                la_int64_t offset;
                size_t size;
                int r;

                r = archive_read_data_block(u->from, &data, &size, &offset);
                if (r == ARCHIVE_EOF)
                        return 0;
                if (r < ARCHIVE_WARN || offset < 0)
                        return refuse_entry(u, entry, -EBADMSG, "its data is damaged");
                u->bytes += size;
                if (u->bytes > ARCHIVE_BYTES_MAX || (uint64_t) offset + size > ARCHIVE_BYTES_MAX)
                        return error_setf(u->error, -E2BIG, "it unpacks to more than 4G");
                r = ticker_tick(u->ticker, 0);
                if (r < 0)
                        return r;
                if (archive_write_data_block(u->to, data, size, offset) < ARCHIVE_WARN)
                        return write_failed(u, entry);
        }
}

static int unpack_entry(Unpacking *u, struct archive_entry *entry)
{
        int r;

        r = check_entry(u, entry);
        if (r < 0)
                return r;
        if (archive_write_header(u->to, entry) < ARCHIVE_WARN)
                return write_failed(u, entry);
        r = copy_data(u, entry);
        if (r < 0)
                return r;
        return archive_write_finish_entry(u->to) < ARCHIVE_WARN ? write_failed(u, entry) : 0;
}

static int unpack_all(Unpacking *u, int fd)
{
        struct archive_entry *entry;
        int r;

        (void) archive_read_support_filter_all(u->from);
        (void) archive_read_support_format_all(u->from);
        (void) archive_write_disk_set_options(
                u->to, ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                               ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS | ARCHIVE_EXTRACT_TIME);
        if (archive_read_open_fd(u->from, fd, READ_BYTES) < ARCHIVE_WARN)
                return error_setf(u->error, -EBADMSG, "%s", archive_error_string(u->from));
        while ((r = archive_read_next_header(u->from, &entry)) != ARCHIVE_EOF) {
                if (r < ARCHIVE_WARN)
                        return error_setf(u->error, -EBADMSG, "%s", archive_error_string(u->from));
                r = unpack_entry(u, entry);
                if (r < 0)
                        return r;
        }
        return archive_write_close(u->to) < ARCHIVE_WARN
                       ? error_setf(u->error, -EIO, "%s", archive_error_string(u->to))
                       : 0;
}

int archive_unpack(int fd, const Ticker *ticker, Error *e)
{
        Unpacking u = {.ticker = ticker, .error = e};
        int r = -ENOMEM;

        u.from = archive_read_new();
        u.to = archive_write_disk_new();
        if (u.from && u.to)
                r = unpack_all(&u, fd);
        if (u.from)
                (void) archive_read_free(u.from);
        if (u.to)
                (void) archive_write_free(u.to);
        return r;
}

/*
 * Packing — see archive-module.h.
 *
 * libarchive's filters write all five formats alike; its "raw" format adds nothing of its own.
 */
#include <archive.h>
#include <archive_entry.h>

#include "base/fs.h"
#include "mr-task/archive-module.h"

#define PACKED_BLOCK_BYTES (256 * 1024)

struct Packer {
        struct archive *archive;
        int fd;
        int failed; /* of a write beneath the archive */
};

static la_ssize_t write_packed(struct archive *archive, void *userdata, const void *data,
                               size_t size)
{
        Packer *p = userdata;

        p->failed = write_full(p->fd, data, size);
        if (p->failed < 0) {
                archive_set_error(archive, -p->failed, "%s", error_text(p->failed));
                return -1;
        }
        return (la_ssize_t) size;
}

static int packer_write(Packer *p, const void *data, size_t size)
{
        if (size == 0)
                return 0;
        if (archive_write_data(p->archive, data, size) == (la_ssize_t) size)
                return 0;
        return p->failed < 0 ? p->failed : -EIO;
}

static int add_filter(struct archive *archive, Codec codec)
{
        switch (codec) {
        case CODEC_GZIP:
                return archive_write_add_filter_gzip(archive);
        case CODEC_BZIP2:
                return archive_write_add_filter_bzip2(archive);
        case CODEC_ZSTD:
                return archive_write_add_filter_zstd(archive);
        case CODEC_LZ4:
                return archive_write_add_filter_lz4(archive);
        default:
                return archive_write_add_filter_xz(archive);
        }
}

/* The raw format has one entry, of whatever size. */
static int packer_open(Packer *p, Codec codec)
{
        struct archive_entry *entry = archive_entry_new();
        int r = ARCHIVE_FATAL;

        p->archive = archive_write_new();
        if (p->archive && entry) {
                archive_entry_set_filetype(entry, AE_IFREG);
                r = add_filter(p->archive, codec);
                if (r == ARCHIVE_OK)
                        r = archive_write_set_format_raw(p->archive);
                (void) archive_write_set_bytes_per_block(p->archive, PACKED_BLOCK_BYTES);
                (void) archive_write_set_bytes_in_last_block(p->archive, 1); /* no padding */
                if (r == ARCHIVE_OK)
                        r = archive_write_open(p->archive, p, NULL, write_packed, NULL);
                if (r == ARCHIVE_OK)
                        r = archive_write_header(p->archive, entry);
        }
        archive_entry_free(entry);
        return r == ARCHIVE_OK ? 0 : -ENOTSUP;
}

static Packer *packer_free(Packer *p)
{
        if (p && p->archive)
                (void) archive_write_free(p->archive);
        free(p);
        return NULL;
}

static int packer_new(int fd, Codec codec, Packer **ret)
{
        Packer *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->fd = fd;
        r = packer_open(p, codec);
        if (r < 0) {
                packer_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

static int packer_finish(Packer *p)
{
        if (archive_write_close(p->archive) == ARCHIVE_OK)
                return 0;
        return p->failed < 0 ? p->failed : -EIO;
}

const ArchiveModule archive_module = {
        .unpack = archive_unpack,
        .packer_new = packer_new,
        .packer_write = packer_write,
        .packer_finish = packer_finish,
        .packer_free = packer_free,
};

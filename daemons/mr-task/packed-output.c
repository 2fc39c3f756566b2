/*
 * Packed output — see packed-output.h.
 *
 * libarchive's filters write all five formats alike; its "raw" format adds nothing of its own.
 */
#include <archive.h>
#include <archive_entry.h>

#include "base/fs.h"
#include "mr-task/packed-output.h"
#include "records/codec.h"

#define PACKED_BLOCK_BYTES (256 * 1024)

static la_ssize_t write_packed(struct archive *packer, void *userdata, const void *data,
                               size_t size)
{
        PackedOutput *p = userdata;

        p->failed = write_full(p->fd, data, size);
        if (p->failed < 0) {
                archive_set_error(packer, -p->failed, "%s", error_text(p->failed));
                return -1;
        }
        return (la_ssize_t) size;
}

static int pack(void *userdata, const void *data, size_t size)
{
        PackedOutput *p = userdata;

        if (size == 0)
                return 0;
        if (archive_write_data(p->packer, data, size) == (la_ssize_t) size)
                return 0;
        return p->failed < 0 ? p->failed : -EIO;
}

static int add_filter(struct archive *packer, Codec codec)
{
        switch (codec) {
        case CODEC_GZIP:
                return archive_write_add_filter_gzip(packer);
        case CODEC_BZIP2:
                return archive_write_add_filter_bzip2(packer);
        case CODEC_ZSTD:
                return archive_write_add_filter_zstd(packer);
        case CODEC_LZ4:
                return archive_write_add_filter_lz4(packer);
        default:
                return archive_write_add_filter_xz(packer);
        }
}

/* The raw format has one entry, of whatever size. */
static int packer_open(PackedOutput *p, Codec codec)
{
        struct archive_entry *entry = archive_entry_new();
        int r = ARCHIVE_FATAL;

        p->packer = archive_write_new();
        if (p->packer && entry) {
                archive_entry_set_filetype(entry, AE_IFREG);
                r = add_filter(p->packer, codec);
                if (r == ARCHIVE_OK)
                        r = archive_write_set_format_raw(p->packer);
                (void) archive_write_set_bytes_per_block(p->packer, PACKED_BLOCK_BYTES);
                (void) archive_write_set_bytes_in_last_block(p->packer, 1); /* no padding */
                if (r == ARCHIVE_OK)
                        r = archive_write_open(p->packer, p, NULL, write_packed, NULL);
                if (r == ARCHIVE_OK)
                        r = archive_write_header(p->packer, entry);
        }
        archive_entry_free(entry);
        return r == ARCHIVE_OK ? 0 : -ENOTSUP;
}

int packed_output_init(PackedOutput *p, Attempt *a)
{
        const char *name = a->start->program->output_compression;
        Codec codec = codec_of_name(name);
        int r;

        *p = (PackedOutput){.fd = a->output_fd};
        r = output_init(&p->out, a->output_fd);
        if (r < 0 || codec == CODEC_NONE)
                return r;
        p->out.sink = pack;
        p->out.userdata = p;
        r = packer_open(p, codec);
        if (r >= 0)
                return 0;
        a->permanent = true;
        return attempt_failf(a, r, "this host's libarchive cannot write %s", name);
}

void packed_output_done(PackedOutput *p)
{
        if (p->packer)
                (void) archive_write_free(p->packer);
        output_done(&p->out);
        *p = (PackedOutput){};
}

int packed_output_finish(PackedOutput *p, Attempt *a)
{
        int r;

        r = output_flush(&p->out);
        if (r >= 0 && p->packer && archive_write_close(p->packer) != ARCHIVE_OK)
                r = p->failed < 0 ? p->failed : -EIO;
        return r < 0 ? attempt_fail_write(a, r, "the part") : 0;
}

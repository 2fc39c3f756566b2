/*
 * Packed output — see packed-output.h.
 */
#include "mr-task/archive-load.h"
#include "mr-task/packed-output.h"

static int pack(void *userdata, const void *data, size_t size)
{
        PackedOutput *p = userdata;

        return p->module->packer_write(p->packer, data, size);
}

int packed_output_init(PackedOutput *p, Attempt *a)
{
        const char *name = a->start->program->output_compression;
        Codec codec = codec_of_name(name);
        int r;

        *p = (PackedOutput){};
        r = output_init(&p->out, a->output_fd);
        if (r < 0 || codec == CODEC_NONE)
                return r;
        r = archive_module_load(a, &p->module);
        if (r < 0)
                return r;
        p->out.sink = pack;
        p->out.userdata = p;
        r = p->module->packer_new(a->output_fd, codec, &p->packer);
        if (r >= 0)
                return 0;
        a->permanent = true;
        return attempt_failf(a, r, "this host's libarchive cannot write %s", name);
}

void packed_output_done(PackedOutput *p)
{
        if (p->packer)
                (void) p->module->packer_free(p->packer);
        output_done(&p->out);
        *p = (PackedOutput){};
}

int packed_output_finish(PackedOutput *p, Attempt *a)
{
        int r;

        r = output_flush(&p->out);
        if (r >= 0 && p->packer)
                r = p->module->packer_finish(p->packer);
        return r < 0 ? attempt_fail_write(a, r, "the part") : 0;
}

/*
 * Codecs — see codec.h.
 */
#include "records/codec.h"

static const struct {
        const char *ending, *name;
} codecs[_CODEC_MAX] = {
        [CODEC_NONE] = {"", "plain"},      [CODEC_GZIP] = {".gz", "gzip"},
        [CODEC_BZIP2] = {".bz2", "bzip2"}, [CODEC_ZSTD] = {".zst", "zstd"},
        [CODEC_LZ4] = {".lz4", "lz4"},     [CODEC_XZ] = {".xz", "xz"},
};

Codec codec_of_path(const char *path)
{
        for (size_t i = CODEC_NONE + 1; i < _CODEC_MAX; i++)
                if (g_str_has_suffix(path, codecs[i].ending))
                        return (Codec) i;
        return CODEC_NONE;
}

const char *codec_name(Codec c)
{
        return codecs[c].name;
}

Codec codec_of_name(const char *name)
{
        for (size_t i = CODEC_NONE + 1; i < _CODEC_MAX; i++)
                if (g_str_equal(name, codecs[i].name))
                        return (Codec) i;
        return CODEC_NONE;
}

const char *codec_ending(Codec c)
{
        return codecs[c].ending;
}

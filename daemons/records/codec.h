/*
 * Codecs — the formats of compressed files, by name.
 *
 * A name's ending says which: .gz, .bz2, .zst, .lz4, .xz, as Hadoop has it. A compressed file
 * cannot be cut: it is one split. What reads them is in decoder.h; names need no library.
 */
#pragma once

#include "base/macro.h"

typedef enum Codec {
        CODEC_NONE,
        CODEC_GZIP,
        CODEC_BZIP2,
        CODEC_ZSTD,
        CODEC_LZ4,
        CODEC_XZ,
        _CODEC_MAX,
} Codec;

Codec codec_of_path(const char *path);
const char *codec_name(Codec c);
Codec codec_of_name(const char *name); /* "gzip"; CODEC_NONE for any other */
const char *codec_ending(Codec c);     /* ".gz"; "" for CODEC_NONE */

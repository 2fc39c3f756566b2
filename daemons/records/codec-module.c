/*
 * The table of the codecs — see codec-module.h.
 */
#include "records/codec-module.h"

const CodecModule codec_module = {
        .decoder_new = decoder_new,
        .decoder_free = decoder_free,
        .decoder_step = decoder_step,
        .block_packer_new = block_packer_new,
        .block_packer_free = block_packer_free,
        .block_pack = block_pack,
        .block_unpacker_new = block_unpacker_new,
        .block_unpacker_free = block_unpacker_free,
        .block_unpack = block_unpack,
};

/*
 * The codecs, loaded when they are needed — see codec-module.h.
 */
#include "base/beside.h"
#include "records/codec-module.h"

int codec_module_get(const CodecModule **ret, Error *e)
{
        static const void *_Atomic loaded; /* by whichever thread: it is the same for all */
        const void *module = loaded;
        int r;

        if (!module) {
                r = load_beside(CODEC_MODULE, "records", "codec_module", &module, e);
                if (r < 0)
                        return r;
                loaded = module;
        }
        *ret = module;
        return 0;
}

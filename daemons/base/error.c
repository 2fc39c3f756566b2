/*
 * Error — see error.h.
 */
#include <stdarg.h>

#include "base/error.h"

int error_setf(Error *e, int code, const char *format, ...)
{
        va_list ap;

        code = code < 0 ? code : -code;
        if (!e || e->message)
                return code;

        va_start(ap, format);
        e->message = g_strdup_vprintf(format, ap);
        va_end(ap);
        e->code = code;
        return code;
}

const char *error_text(int code)
{
        return g_strerror(code < 0 ? -code : code);
}

const char *error_message(const Error *e, int code)
{
        return e && e->message ? e->message : error_text(code);
}

void error_done(Error *e)
{
        g_free(e->message);
        *e = (Error){};
}

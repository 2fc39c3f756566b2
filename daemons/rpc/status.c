/*
 * Status.
 */
#include <nghttp2/nghttp2.h>

#include "rpc/status.h"

static const char *const code_names[_EVGRPC_CODE_MAX] = {
        [EVGRPC_OK] = "OK",
        [EVGRPC_CANCELLED] = "CANCELLED",
        [EVGRPC_UNKNOWN] = "UNKNOWN",
        [EVGRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [EVGRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [EVGRPC_NOT_FOUND] = "NOT_FOUND",
        [EVGRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [EVGRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [EVGRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [EVGRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [EVGRPC_ABORTED] = "ABORTED",
        [EVGRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [EVGRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [EVGRPC_INTERNAL] = "INTERNAL",
        [EVGRPC_UNAVAILABLE] = "UNAVAILABLE",
        [EVGRPC_DATA_LOSS] = "DATA_LOSS",
        [EVGRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *evgrpc_code_to_string(EvgrpcCode code)
{
        if ((unsigned) code >= ELEMENTSOF(code_names))
                code = EVGRPC_UNKNOWN;
        return code_names[code];
}

EvgrpcCode rpc_status_parse(const char *text, size_t size)
{
        unsigned code = 0;

        if (size < 1 || size > 2 || (size == 2 && text[0] == '0'))
                return EVGRPC_UNKNOWN;
        for (size_t i = 0; i < size; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return EVGRPC_UNKNOWN;
                code = code * 10 + (unsigned) (text[i] - '0');
        }
        return code < _EVGRPC_CODE_MAX ? (EvgrpcCode) code : EVGRPC_UNKNOWN;
}

EvgrpcCode rpc_status_from_http(unsigned http)
{
        switch (http) {
        case 400:
                return EVGRPC_INTERNAL;
        case 401:
                return EVGRPC_UNAUTHENTICATED;
        case 403:
                return EVGRPC_PERMISSION_DENIED;
        case 404:
                return EVGRPC_UNIMPLEMENTED;
        case 429:
        case 502:
        case 503:
        case 504:
                return EVGRPC_UNAVAILABLE;
        default:
                return EVGRPC_UNKNOWN;
        }
}

EvgrpcCode rpc_status_from_h2(uint32_t h2_error)
{
        switch (h2_error) {
        case NGHTTP2_REFUSED_STREAM:
                return EVGRPC_UNAVAILABLE;
        case NGHTTP2_CANCEL:
                return EVGRPC_CANCELLED;
        case NGHTTP2_ENHANCE_YOUR_CALM:
                return EVGRPC_RESOURCE_EXHAUSTED;
        case NGHTTP2_INADEQUATE_SECURITY:
                return EVGRPC_PERMISSION_DENIED;
        default:
                return EVGRPC_INTERNAL;
        }
}

size_t rpc_percent_encode(const char *text, size_t size, char *ret)
{
        static const char hex[] = "0123456789ABCDEF";
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                uint8_t c = (uint8_t) text[i];

                if (c >= 0x20 && c <= 0x7e && c != '%') {
                        ret[n++] = (char) c;
                        continue;
                }
                ret[n++] = '%';
                ret[n++] = hex[c >> 4];
                ret[n++] = hex[c & 15];
        }
        return n;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -1;
}

size_t rpc_percent_decode(char *text, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                int high, low;

                if (text[i] == '%' && i + 2 < size && (high = hex_value(text[i + 1])) >= 0 &&
                    (low = hex_value(text[i + 2])) >= 0) {
                        text[n++] = (char) (high << 4 | low);
                        i += 2;
                } else
                        text[n++] = text[i];
        }
        return n;
}

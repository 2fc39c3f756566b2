/*
 * grpc-timeout.
 */
#include "rpc/timeout.h"

#define DIGITS_MAX 8
#define VALUE_MAX UINT64_C(99999999)

static const struct {
        char unit;
        uint64_t usec;
} units[] = {
        {'u', 1},
        {'m', RPC_USEC_PER_MSEC},
        {'S', RPC_USEC_PER_SEC},
        {'M', 60 * RPC_USEC_PER_SEC},
        {'H', 3600 * RPC_USEC_PER_SEC},
};

static size_t format_value(uint64_t value, char unit, char *ret)
{
        char digits[24];
        size_t count = 0, size = 0;

        do
                digits[count++] = (char) ('0' + value % 10);
        while ((value /= 10) > 0);
        while (count > 0)
                ret[size++] = digits[--count];
        ret[size++] = unit;
        ret[size] = 0;
        return size;
}

size_t rpc_timeout_format(uint64_t usec, char ret[static RPC_TIMEOUT_SIZE])
{
        size_t best = 0;

        if (usec == 0)
                return format_value(1, 'n', ret);
        /* The largest unit that divides it keeps the text the same over calls, so that the peer's
         * header table knows it. */
        for (size_t i = 0; i < 3; i++)
                if (usec % units[i].usec == 0)
                        best = i;
        while (best + 1 < ELEMENTSOF(units) &&
               usec / units[best].usec + (usec % units[best].usec != 0) > VALUE_MAX)
                best++;
        /* Written so that it cannot overflow near UINT64_MAX. */
        uint64_t value = usec / units[best].usec + (usec % units[best].usec != 0);

        return format_value(RPC_MIN(value, VALUE_MAX), units[best].unit, ret);
}

int rpc_timeout_parse(const char *text, size_t size, uint64_t *ret_usec)
{
        uint64_t value = 0;

        if (size < 2 || size > DIGITS_MAX + 1)
                return -EINVAL;
        for (size_t i = 0; i < size - 1; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -EINVAL;
                value = value * 10 + (uint64_t) (text[i] - '0');
        }
        if (text[size - 1] == 'n') {
                *ret_usec = (value + 999) / 1000;
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (text[size - 1] == units[i].unit) {
                        *ret_usec = value * units[i].usec; /* 10^8 hours fit */
                        return 0;
                }
        return -EINVAL;
}

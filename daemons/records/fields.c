/*
 * Fields — see fields.h.
 */
#include "records/fields.h"
#include "records/words.h"

#define STEP 64

_Static_assert(LINES_PADDING >= STEP, "a step may begin at the last byte of a line");

static bool find_delimited(const Fields *f, const uint8_t *line, size_t size, uint64_t number,
                           const uint8_t **ret, size_t *ret_size)
{
        const uint8_t *at = line, *end = line + size, *next;

        for (;;) {
                next = at < end ? memchr(at, f->delimiter, (size_t) (end - at)) : NULL;
                if (--number == 0)
                        break;
                if (!next)
                        return false;
                at = next + 1;
        }
        *ret = at;
        *ret_size = (size_t) ((next ? next : end) - at);
        return true;
}

/* White space in the step at @at; what is past the end of the line is space. */
static uint64_t step_space(const uint8_t *line, size_t size, size_t at)
{
        uint64_t space, high;

        words_masks(line + at, 1, &space, &high);
        return size - at < STEP ? space | UINT64_MAX << (size - at) : space;
}

static size_t find_end(const uint8_t *line, size_t size, size_t begin)
{
        for (size_t at = begin; at < size; at += STEP) {
                uint64_t space = step_space(line, size, at);

                if (space)
                        return at + (size_t) __builtin_ctzll(space);
        }
        return size;
}

static bool find_in_space(const uint8_t *line, size_t size, uint64_t number, const uint8_t **ret,
                          size_t *ret_size)
{
        uint64_t carry = 1;

        for (size_t at = 0; at < size; at += STEP) {
                uint64_t space = step_space(line, size, at);
                uint64_t begins = ~space & (space << 1 | carry);

                for (; begins; begins &= begins - 1) {
                        size_t begin;

                        if (--number > 0)
                                continue;
                        begin = at + (size_t) __builtin_ctzll(begins);
                        *ret = line + begin;
                        *ret_size = find_end(line, size, begin) - begin;
                        return true;
                }
                carry = space >> (STEP - 1);
        }
        return false;
}

bool fields_find(const Fields *f, const uint8_t *line, size_t size, uint64_t number,
                 const uint8_t **ret, size_t *ret_size)
{
        if (number == 0) {
                *ret = line;
                *ret_size = size;
                return true;
        }
        return f->delimited ? find_delimited(f, line, size, number, ret, ret_size)
                            : find_in_space(line, size, number, ret, ret_size);
}

bool fields_number(const uint8_t *field, size_t size, uint64_t *ret)
{
        uint64_t n = 0;

        for (size_t i = 0; i < size; i++) {
                unsigned digit = (unsigned) field[i] - '0';

                if (digit > 9)
                        return false;
                if (i >= 18 &&
                    (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n)))
                        return false;
                if (i < 18)
                        n = n * 10 + digit;
        }
        *ret = n;
        return size > 0;
}

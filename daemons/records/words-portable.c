/*
 * Words, classified byte by byte, for machines without SSE2 — see words.h.
 */
#include "records/words.h"

void words_masks(const uint8_t *p, size_t count, uint64_t *ret_space, uint64_t *ret_high)
{
        for (size_t i = 0; i < count; i++) {
                uint64_t space = 0, high = 0;

                for (unsigned j = 0; j < 64; j++, p++) {
                        space |= (uint64_t) (*p == ' ' || (uint8_t) (*p - 9) < 5) << j;
                        high |= (uint64_t) (*p >> 7) << j;
                }
                ret_space[i] = space;
                ret_high[i] = high;
        }
}

void words_letter_masks(const uint8_t *p, size_t count, uint64_t *ret_space)
{
        for (size_t i = 0; i < count; i++) {
                uint64_t letters = 0;

                for (unsigned j = 0; j < 64; j++, p++)
                        letters |= (uint64_t) ((uint8_t) ((*p | 0x20) - 'a') < 26) << j;
                ret_space[i] = ~letters;
        }
}

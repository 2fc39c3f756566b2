/*
 * Words, classified by SSE2, which every x86-64 has — see words.h.
 */
#include <emmintrin.h>

#include "records/words.h"

void words_masks(const uint8_t *p, size_t count, uint64_t *ret_space, uint64_t *ret_high)
{
        const __m128i nine = _mm_set1_epi8(9), four = _mm_set1_epi8(4), blank = _mm_set1_epi8(' ');

        for (size_t i = 0; i < count; i++) {
                uint64_t space = 0, high = 0;

                for (unsigned j = 0; j < 4; j++, p += 16) {
                        __m128i v = _mm_loadu_si128((const __m128i *) p);
                        __m128i shifted = _mm_sub_epi8(v, nine);
                        /* 9 to 13, unsigned: x - 9 is its own minimum with 4 */
                        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(shifted, four), shifted);
                        __m128i any = _mm_or_si128(control, _mm_cmpeq_epi8(v, blank));

                        space |= (uint64_t) (unsigned) _mm_movemask_epi8(any) << (16 * j);
                        high |= (uint64_t) (unsigned) _mm_movemask_epi8(v) << (16 * j);
                }
                ret_space[i] = space;
                ret_high[i] = high;
        }
}

void words_letter_masks(const uint8_t *p, size_t count, uint64_t *ret_space)
{
        const __m128i lower = _mm_set1_epi8(0x20), a = _mm_set1_epi8('a'), last = _mm_set1_epi8(25);

        for (size_t i = 0; i < count; i++) {
                uint64_t letters = 0;

                for (unsigned j = 0; j < 4; j++, p += 16) {
                        __m128i v = _mm_loadu_si128((const __m128i *) p);
                        __m128i shifted = _mm_sub_epi8(_mm_or_si128(v, lower), a);
                        __m128i any = _mm_cmpeq_epi8(_mm_min_epu8(shifted, last), shifted);

                        letters |= (uint64_t) (unsigned) _mm_movemask_epi8(any) << (16 * j);
                }
                ret_space[i] = ~letters;
        }
}

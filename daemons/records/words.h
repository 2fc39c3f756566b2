/*
 * Words — runs of bytes between white space, as Go's strings.Fields cuts them.
 *
 * White space is what Go's unicode.IsSpace says: U+0009 to U+000D, U+0020, U+0085, U+00A0, U+1680,
 * U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000 (Unicode's White_Space). Invalid UTF-8
 * is part of a word, byte by byte. No byte that may begin one of these sequences can be inside a
 * valid other one, so sequences are found by looking at bytes, with no decoder running along.
 *
 * The caller reads into words_space(), then words_scan() tells all words that are complete. A word
 * may span any number of blocks: the buffer grows to hold it, up to RECORD_MAX_BYTES.
 */
#pragma once

#include "records/record.h"

#define WORDS_PADDING 16 /* bytes after any word that may be read, whatever they are */

typedef struct Word {
        uint32_t begin; /* offsets in words->buffer */
        uint32_t end;
} Word;

typedef struct Words {
        uint8_t *buffer;
        size_t capacity; /* WORDS_PADDING not counted */
        size_t keep;     /* what is before belongs to words already told */
        size_t scanned;
        size_t end;
        bool letters;    /* words are runs of A-Z and a-z, and everything else is between them */
        bool in_word;    /* the byte before scanned is part of the word that begins at keep */
        uint32_t *edges; /* where words begin and end, by turns: as an array, Words */
        size_t edges_capacity;
} Words;

void words_done(Words *w);

/* Room for at least @min_bytes more. Words told before are gone. Return: 0, -ENOMEM, or -E2BIG for
 * a word above the limit. */
int words_space(Words *w, size_t min_bytes, uint8_t **ret, size_t *ret_size);

/**
 * words_scan() - cut what came
 * @bytes: that were written to the space
 * @final: the input ends here, and so does its last word
 * @ret:   the words completed; valid until the next words_space()
 *
 * Return: 0 or -ENOMEM.
 */
int words_scan(Words *w, size_t bytes, bool final, const Word **ret, size_t *ret_count);

/**
 * words_masks() - classify 64 bytes at a time; in words-sse2.c or words-portable.c
 * @p:         @count times 64 bytes
 * @ret_space: for each 64 one bit a byte, least first: ASCII white space
 * @ret_high:  likewise: 0x80 and above
 */
void words_masks(const uint8_t *p, size_t count, uint64_t *ret_space, uint64_t *ret_high);

/* The same for words of letters: @ret_space has all that is none. */
void words_letter_masks(const uint8_t *p, size_t count, uint64_t *ret_space);

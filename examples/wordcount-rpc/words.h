/*
 * Words — a text taken apart as Go's strings.Fields does it, and how often each word occurs.
 *
 * Nothing here knows of RPC: it is what the service is about, the lecture's
 * `for _, t := range strings.Fields(input) { counts[t] += 1 }`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct Word {
        char *text;
        int64_t count;
} Word;

typedef struct Words {
        Word *list;
        size_t count, room;
} Words;

/* Return: 0 or -ENOMEM. */
int words_add(Words *w, const char *text, size_t size, int64_t count);

/* Adds each word of @text once. Return: 0, -ENOMEM, or -EILSEQ for a text that is not UTF-8. */
int words_add_text(Words *w, const char *text);

/* Sorts by the words' bytes and makes one entry of equal words, with the sum of their counts. */
void words_merge(Words *w);

void words_done(Words *w);

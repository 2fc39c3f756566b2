/*
 * Words of a piece, block by block — for the apps that take text apart.
 */
#pragma once

#include "mr-task/plugin.h"
#include "records/words.h"

/* The parameter "words". Return: 0, or what mr_fail() says. */
int app_words_setup(MrTask *t, Words *w);

/**
 * app_words_next() - the words of the next block
 * @ret: offsets in w->buffer, which is padded; until the next call
 *
 * Return: 1; 0 at the end, after which the same @w may be used for another piece; or an error.
 */
int app_words_next(Plugin *p, PieceReader *piece, Words *w, const Word **ret, size_t *ret_count);

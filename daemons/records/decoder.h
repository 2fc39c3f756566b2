/*
 * Decoders — compressed inputs as the text they hold.
 *
 * Several compressed streams one after another are one text, as with the programs of those formats'
 * names. Part of codec-module.h, by which all others come here.
 */
#pragma once

#include "records/codec.h"

#define DECODER_MEMORY_MAX MIB(256) /* of one stream's window; files that want more are refused */

typedef struct Decoder Decoder;

/* Return: 0, or -ENOMEM. */
int decoder_new(Codec codec, Decoder **ret);
Decoder *decoder_free(Decoder *d);
DEFINE_CLEANUP(Decoder, decoder_free);

/**
 * decoder_step() - decode some
 * @in:  the next bytes of the file; moved on by what was taken
 * @out: where text goes; moved on by what was written
 *
 * After the end of a stream the next call begins another one. Zeros behind a stream of gzip's are
 * no text.
 *
 * Return: 1 within a stream, 0 at the end of one; -EBADMSG for bytes that are none, -E2BIG for a
 * stream that wants more than DECODER_MEMORY_MAX, -ENOMEM.
 */
int decoder_step(Decoder *d, const uint8_t **in, size_t *in_left, uint8_t **out, size_t *out_left);

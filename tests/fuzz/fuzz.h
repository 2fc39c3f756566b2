/*
 * What every fuzz target is: LLVMFuzzerTestOneInput(), as libFuzzer names it, over input from
 * nowhere in particular. It returns, leaves nothing behind, and crashes only for a bug.
 *
 * Built with -Dfuzzing=true and clang, libFuzzer drives a target; otherwise replay.c feeds it the
 * corpus, so that what was found once is looked at in every run of the tests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A claim that no input may break; not compiled out, unlike assert(). */
#define CLAIM(condition)                                                                           \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        (void) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

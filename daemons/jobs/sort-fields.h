/*
 * Sort fields — "2nr,1": by which fields of their keys a command's lines are sorted, as text.
 *
 * A list with commas, the first one counts most: the number of a field, from 1 on, behind it "n"
 * where it is sorted as a number, and "r" where the largest comes first. The letters are those of
 * sort -k.
 */
#pragma once

#include "base/error.h"
#include "base/macro.h"

#define SORT_FIELDS_MAX 16

typedef struct SortField {
        uint32_t number;
        bool numeric;
        bool reverse;
} SortField;

/**
 * sort_fields_parse() - the fields of a list
 * @max: the last one that a key has
 *
 * Return: how many they are, 0 for ""; -EINVAL or -E2BIG with a sentence that begins with the
 * setting's name.
 */
int sort_fields_parse(const char *text, uint32_t max, SortField ret[static SORT_FIELDS_MAX],
                      Error *e);

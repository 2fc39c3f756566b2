/*
 * Reserve — a buffer that grows, each time to at least twice its size.
 */
#pragma once

#include <stdlib.h>

#include "base/macro.h"

/* Room for @size bytes at *buffer, which its owner frees. Return: 0, or -ENOMEM with all as it
 * was. */
static inline int reserve(uint8_t **buffer, size_t *capacity, size_t size)
{
        uint8_t *grown;

        if (size <= *capacity)
                return 0;
        size = MAX(size, 2 * *capacity);
        grown = realloc(*buffer, size);
        if (!grown)
                return -ENOMEM;
        *buffer = grown;
        *capacity = size;
        return 0;
}

/*
 * How answers are printed: tables for people, JSON for programs.
 */
#pragma once

#include "base/error.h"

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonMode;

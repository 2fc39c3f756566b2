/*
 * Columns — the parameters by which apps name fields of a line.
 */
#pragma once

#include "mapreduce.h"
#include "records/fields.h"

/* The parameter "delimiter": one byte, or "\t". Return: 0, or what mr_fail() says. */
int fields_setup(Fields *f, MrTask *t);

/* The parameter @name as the number of a field. Return: 0, or what mr_fail() says. */
int fields_parameter(MrTask *t, const char *name, uint64_t min, uint64_t *ret);

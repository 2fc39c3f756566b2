/*
 * What lies beside us — modules of one of our programs, loaded when they are needed.
 *
 * Libraries that most runs have no use for cost every run their linking. What needs them is a
 * module instead, a shared object of which one symbol is wanted: a table of functions.
 */
#pragma once

#include "base/error.h"

/**
 * load_beside() - load a module of ours, for as long as the process lives
 * @file:   its name; it lies where the program, or the module, that calls this does
 * @room:   else, in a build tree, in the directory of this name beside that one
 * @symbol: what is wanted of it
 *
 * Return: 0, or -ELIBACC with a message that names what is missing and says what to do.
 */
int load_beside(const char *file, const char *room, const char *symbol, const void **ret, Error *e);

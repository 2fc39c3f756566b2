/*
 * Environment — what a command is told of its task: the variables of Hadoop Streaming, and the same
 * in our words.
 */
#pragma once

#include "mr-task/attempt.h"

/**
 * command_env() - our environment, the task's variables, and the job's own, which win
 * @piece: what a mapper reads; NULL for a combiner and a reducer
 *
 * Caller frees with g_strfreev().
 */
char **command_env(const Attempt *a, const Mapreduced__V1__Piece *piece);

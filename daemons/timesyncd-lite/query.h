/*
 * Query — the exchange of the lecture, once, for people to read: `mrctl time query` shows it.
 *
 * Prints KEY=VALUE lines, times in nanoseconds; nothing is changed, no daemon is needed.
 */
#pragma once

#include "timesyncd-lite/conf.h"

/* Return: 0, or negative errno with the sentence in @e. */
int query_run(const TimeConf *conf, Error *e);

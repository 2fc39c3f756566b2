/*
 * Deciding — what the keeper says is done to the clock, and told to the kernel, the log and the
 * service manager.
 */
#pragma once

#include "timesyncd-lite/manager.h"

/* Drift file and saved time. */
void decide_save(Manager *m);

/* The end: the clock is left running at the frequency learnt, without the slew. */
void decide_rest(Manager *m);

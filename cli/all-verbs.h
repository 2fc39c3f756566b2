/*
 * The module with all verbs of mrctl — see mrctl.c.
 */
#pragma once

#define ALL_VERBS "mrctl-verbs.so"

/* In the module. Returns the exit status. */
int mrctl_main(int argc, char **argv);

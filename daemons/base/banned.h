/*
 * Banned calls — functions whose honest use is rarer than their misuse do not compile.
 *
 * The build includes this file before every other, so that no header has to remember it. Each line
 * says what to call instead; the poison fires at the point of use.
 *
 * The system headers that declare these names must come first: poisoning a name
 * makes its later declaration an error, too.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat strncpy stpcpy /* g_strlcpy, g_strdup, memcpy with a known size */
#pragma GCC poison sprintf vsprintf             /* g_snprintf, g_strdup_printf */
#pragma GCC poison atoi atol atoll              /* parse_uint() and friends: they see garbage */
#pragma GCC poison strtok                       /* g_strsplit, or a loop that keeps its own state */
#pragma GCC poison usleep                       /* a timer in the loop */
#pragma GCC poison tmpnam mktemp tempnam        /* mkostemp, O_TMPFILE */

/*
 * The tests of test-rpc-streams.c once more, over TLS.
 */
#include "rpc-fixture-tls.h"

#include "test-rpc-streams.c"

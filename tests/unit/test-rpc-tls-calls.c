/*
 * The tests of test-rpc-calls.c once more, over TLS.
 */
#include "rpc-fixture-tls.h"

#include "test-rpc-calls.c"

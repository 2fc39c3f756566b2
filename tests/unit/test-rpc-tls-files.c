/*
 * The tests of test-rpc-files.c once more, over TLS, where every range is read into memory.
 */
#define FIXTURE_TLS_SET
#include "rpc-fixture-tls.h"

#include "test-rpc-files.c"

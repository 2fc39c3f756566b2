/*
 * Has the fixture of rpc-fixture.h speak TLS, so that a file of tests is held once more against it:
 * #include this, then the file.
 */
#pragma once

#include "tls-certificates.h"

#define FIXTURE_TLS fixture_tls()

/* Both ends have the same. Made once, for the life of the program. */
static inline EvgrpcTls *fixture_tls(void)
{
        static EvgrpcTls *tls;
        Authority ca;
        Identity own;

        if (tls)
                return tls;
        authority_make(&ca, "Fixture CA");
        identity_make(&own, &ca, "both", "DNS:localhost", NULL, -TLS_DAY, TLS_DAY);
        tls = tls_make(&ca, &own);
        identity_done(&own);
        authority_done(&ca);
        return tls;
}

/*
 * TLS for the echo programs, when the environment names a directory of ca.pem, certificate.pem and key.pem.
 */
#pragma once

#include <glib.h>

#include "rpc/evgrpc.h"

/* NULL: plain. A directory without certificate.pem is an end without one. */
static inline EvgrpcTls *echo_tls(void)
{
        const char *dir = g_getenv("ECHO_TLS");
        g_autofree char *ca = NULL, *certificate = NULL, *key = NULL;
        EvgrpcTls *tls;
        char *error;
        bool own;

        if (!dir)
                return NULL;
        ca = g_build_filename(dir, "ca.pem", NULL);
        certificate = g_build_filename(dir, "certificate.pem", NULL);
        key = g_build_filename(dir, "key.pem", NULL);
        own = g_file_test(certificate, G_FILE_TEST_EXISTS);
        if (evgrpc_tls_new(&(EvgrpcTlsSource){.ca_file = ca,
                                              .certificate_file = own ? certificate : NULL,
                                              .key_file = own ? key : NULL},
                           &tls, &error) < 0)
                g_error("%s", error);
        return tls;
}

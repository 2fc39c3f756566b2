/*
 * What the environment tells the echo programs: ECHO_TLS, a directory of ca.pem, certificate.pem
 * and key.pem; and ECHO_KEEPALIVE_MS, the silence before a PING and the limit of its answer.
 */
#pragma once

#include <glib.h>

#include "rpc/evgrpc.h"

/* 0: none. */
static inline uint64_t echo_keepalive_usec(void)
{
        const char *text = g_getenv("ECHO_KEEPALIVE_MS");

        return text ? g_ascii_strtoull(text, NULL, 10) * 1000 : 0;
}

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

/*
 * TLS for the interoperability programs, by options named as in the Go programs of gRPC:
 *
 *      --use_tls=true --ca_file=PEM [--tls_cert_file=PEM --tls_key_file=PEM]
 *
 * The official clients show no certificate, so a server here takes them without one. Our client
 * checks the server's name against --server_host_override, or the host.
 */
#pragma once

#include <stdio.h>
#include <glib.h>

#include "rpc/evgrpc.h"

typedef struct InteropTls {
        bool use;
        EvgrpcTlsSource source;
} InteropTls;

#define INTEROP_TLS_OPTIONS                                                                        \
        {"use_tls", required_argument, NULL, 't'}, {"ca_file", required_argument, NULL, 'A'},      \
                {"tls_cert_file", required_argument, NULL, 'C'},                                   \
        {                                                                                          \
                "tls_key_file", required_argument, NULL, 'K'                                       \
        }

/* Takes an option, if it is one of these. Return: whether it is, and says something that makes
 * sense. */
static inline bool interop_tls_option(InteropTls *t, int option, const char *value)
{
        switch (option) {
        case 't':
                t->use = g_str_equal(value, "true");
                return t->use || g_str_equal(value, "false");
        case 'A':
                t->source.ca_file = value;
                return true;
        case 'C':
                t->source.certificate_file = value;
                return true;
        case 'K':
                t->source.key_file = value;
                return true;
        default:
                return false;
        }
}

/* Return: 0, and NULL without --use_tls; negative errno after a word on stderr. */
static inline int interop_tls_new(InteropTls *t, EvgrpcTls **ret)
{
        char *text = NULL;
        int r;

        *ret = NULL;
        if (!t->use)
                return 0;
        t->source.anonymous_clients = true;
        r = evgrpc_tls_new(&t->source, ret, &text);
        if (r < 0)
                (void) fprintf(stderr, "TLS: %s\n", text ? text : g_strerror(-r));
        free(text);
        return r;
}

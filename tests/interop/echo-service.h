/*
 * The test service of echo.proto, served by evgrpc.
 */
#pragma once

#include <glib.h>

#include "rpc/evgrpc.h"
#include "echo.pb-c.h"

typedef struct EchoService {
        struct event_base *base;
        size_t calls;     /* begun */
        size_t cancelled; /* on_cancelled was called */
        size_t living;    /* begun and not over */
        size_t sent;      /* messages of List that were queued */
        size_t refused;   /* sends that were answered 0 */
        GQueue hanging;   /* calls that asked never to be answered */
} EchoService;

/* Answers the unary calls that hang, after all. */
void echo_service_release(EchoService *e);

int echo_service_add(EchoService *e, struct event_base *base, EvgrpcServer *server);

/*
 * The test service of echo.proto, served by evgrpc.
 */
#pragma once

#include "rpc/evgrpc.h"
#include "echo.pb-c.h"

typedef struct EchoService {
        struct event_base *base;
        size_t calls;     /* begun */
        size_t cancelled; /* on_cancelled was called */
        size_t living;    /* begun and not over */
        size_t sent;      /* messages of List that were queued */
        size_t refused;   /* sends that were answered 0 */
} EchoService;

int echo_service_add(EchoService *e, struct event_base *base, EvgrpcServer *server);

/*
 * The RPC side: service Master, on unix sockets plain and on TCP by TLS, and service Cluster for
 * hosts that are not in yet.
 */
#pragma once

#include "rpc/evgrpc.h"

/* A registration names every output that the worker holds. */
#define MASTER_REQUEST_MAX_BYTES MIB(64)

extern const EvgrpcMethod master_plain_methods[]; /* master-rpc.c */
extern const EvgrpcMethod
        master_secure_methods[]; /* the same, for those whose certificate allows it */

/* Where replies that must survive a restart are kept: the Manager is its userdata. */
extern const EvgrpcOnceStore master_once_store; /* master-listen.c */

EvgrpcCode rpc_code_of(int error); /* negative errno */

/* A connection that failed, for the log; a port scan does not fill it. @userdata: the Manager. */
void rpc_log_connection_error(EvgrpcServer *server, const char *peer, const char *error,
                              void *userdata);

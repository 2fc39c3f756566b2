/*
 * At most once, the server's end: what server.c and server-call.c call.
 */
#pragma once

#include "rpc/once-table.h"

typedef struct RpcOnce RpcOnce;

RpcEpoch rpc_once_epoch(const RpcOnce *o); /* unknown for NULL */
bool rpc_once_has_store(const RpcOnce *o);
/* Running calls are told that they are over. Takes NULL, as free. */
void rpc_once_stop(RpcOnce *o);
void rpc_once_free(RpcOnce *o);

/* The request of a unary call is here. Return: false: it is not marked, go on as usual. */
bool rpc_once_take(EvgrpcServerCall *call, const uint8_t *data, size_t size);
/* The try is over, or gone: it waits no more. No effect on a call that does not. */
void rpc_once_leave(EvgrpcServerCall *call);

/* An execution's message (as evgrpc_server_call_send()), and its end. */
int rpc_once_send(EvgrpcServerCall *execution, const ProtobufCMessage *message);
void rpc_once_finished(EvgrpcServerCall *execution);

/*
 * Exchange — one question to one server, on a connection of its own.
 *
 *      begin ─▶ connected? ──yes─▶ T1, ask ─▶ answer: T4 ─▶ ask once more: T3, done
 *                  │ no                │
 *                  ▼                   └─▶ refused, no answer in time: done, and the connection is
 *               connect first                given up: it may be half open
 *
 * The connection is made, with its handshake and its name look-up, before T1 is taken; so no
 * exchange measures how a connection is made. Nothing else is ever said on it, so no answer waits
 * behind another. All four times are the kernel's where it tells them. The server's kernel knows T3
 * after the answer has left, so a second question follows at once, whose answer brings it.
 * Source: RFC 9769, interleaved mode, where the next poll brings it; the follow-up is that of IEEE
 * 1588 (two-step clocks): a sample is whole within one round trip more, not a poll interval later.
 */
#pragma once

#include "platform/loop.h"
#include "rpc/evgrpc.h"
#include "timesyncd-lite/clock.h"
#include "timesyncd-lite/wire.h"

typedef struct Exchange Exchange;

typedef struct ExchangeResult {
        const char *error; /* a sentence: there was no answer; NULL: what follows holds */
        WireReply reply;   /* all four times */
        bool t1_from_kernel, t4_from_kernel;
} ExchangeResult;

/* Called from the loop, once for each begun exchange. The exchange may begin again from inside. */
typedef void (*ExchangeFn)(const ExchangeResult *result, void *userdata);

/* Return: 0, or -EINVAL for what is no address. @tls may be NULL, and so @server_name: the
 * certificate is then to be for the address. */
int exchange_new(Loop *l, Clock *clock, const char *address, uint64_t own_id, EvgrpcTls *tls,
                 const char *server_name, ExchangeFn fn, void *userdata, Exchange **ret);

/* Not from inside its own fn. */
Exchange *exchange_free(Exchange *x);
DEFINE_CLEANUP(Exchange, exchange_free);

void exchange_begin(Exchange *x);
bool exchange_is_under_way(const Exchange *x);

/*
 * Serving — the service Time: T2 by the kernel at receipt, T3 as late as we can, and how good our
 * clock is. When a reply left by the kernel's clock is told by the next one on its connection (RFC
 * 9769, interleaved mode), so a connection costs two numbers and no client costs more.
 *
 * Who asks more often than the limit is told so and costs a hash. Who is the same clock as we are
 * is refused: a clock that follows itself stays as wrong as it is.
 */
#pragma once

#include "platform/loop.h"
#include "rpc/evgrpc.h"
#include "timesyncd-lite/clock.h"
#include "timesyncd-lite/conf.h"
#include "timesyncd-lite/wire.h"

typedef struct Serve Serve;

/* What we may say of our clock now. @ret_references: whom it follows, nearest first. */
typedef void (*ServeClaimFn)(void *userdata, TimeClaim *ret, ClockPath *ret_references);

typedef struct ServeCounters {
        uint64_t answered, limited, refused;
} ServeCounters;

/* Listens on all of conf->listen; logs where. @tls may be NULL. Everything given must outlive
 * it. */
int serve_new(Loop *l, const TimeConf *conf, Clock *clock, uint64_t own_id, EvgrpcTls *tls,
              ServeClaimFn claim, void *userdata, Serve **ret, Error *e);
Serve *serve_free(Serve *s);

const ServeCounters *serve_counters(const Serve *s);
/* Of char *, with their real ports. */
const GPtrArray *serve_addresses(const Serve *s);

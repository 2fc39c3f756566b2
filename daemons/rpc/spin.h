/*
 * Spinning — to poll for a moment before the loop sleeps, when an answer is about to come.
 *
 * A core that has gone to sleep takes tens of microseconds to wake, several times what a call on
 * the same host takes otherwise. So after each input the loop is kept from sleeping for up to a
 * window, by a timer of zero: it goes round, and whatever else is on it has its turn as always.
 *
 *                input within the window                      a window passed without input,
 *               ┌──────────┐                                   RPC_SPIN_MISSES times running
 *               ▼          │                                              │
 *      SLEEPS ─────────▶ SPINS ───────────────────────────────────────▶ RESTS ──▶ SLEEPS
 *        ▲  input came soon │                                      for RPC_SPIN_REST inputs
 *        └── input came late┘
 *
 * Only an end that is in a conversation spins: one whose last input came within RPC_SPIN_SOON
 * windows. An idle end, one that is asked every few milliseconds and one on a machine with a single
 * processor never do.
 * Source: halt polling of KVM (Documentation/virt/kvm/halt-polling.rst), which grows and shrinks a
 * window by whether the wait was short. Changed: the window is whole or none, as ours costs a
 * process its time slice and not a host its idle time; misses end it, so that a conversation in
 * which spinning never pays costs some RPC_SPIN_MISSES windows in RPC_SPIN_REST inputs.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "rpc/util.h"

#define RPC_SPIN_USEC UINT64_C(50) /* the window by default: what waking a core takes */
#define RPC_SPIN_USEC_MAX UINT64_C(1000)
#define RPC_SPIN_SOON UINT64_C(8) /* windows: two sleeping cores and the call itself */
#define RPC_SPIN_MISSES 4u
#define RPC_SPIN_REST 64u

typedef struct RpcSpin {
        struct event timer;
        uint64_t window_usec; /* 0: never spins */
        uint64_t input_usec;  /* when the last input came */
        uint64_t until_usec;  /* of this window; 0: its first round is to come */
        bool spinning;
        bool missed;     /* a window has passed since the last input */
        bool soon;       /* the last input came soon after the one before */
        unsigned misses; /* running */
        unsigned rest;   /* inputs to go before it spins again */
} RpcSpin;

/* @usec: 0: the default; EVGRPC_SPIN_NONE: never. */
void rpc_spin_init(RpcSpin *s, struct event_base *base, uint64_t usec);
void rpc_spin_done(RpcSpin *s);

/* Bytes came. */
void rpc_spin_input(RpcSpin *s);
/* More are to come: spins, if this is a conversation. */
void rpc_spin_begin(RpcSpin *s);
/* None are waited for. */
void rpc_spin_stop(RpcSpin *s);

/*
 * At most once across connections — what both ends share: epochs, seqs, digests.
 *
 *      call 7, try 1 ──▶ server runs it, keeps the reply ──╳ connection lost
 *      call 7, try 2 ──────────────────────────────────────▶ the kept reply
 *      call 8, "all below 8 are in hand" ──────────────────▶ forgets the reply of 7
 *
 * Metadata of a marked call: x-rpc-client (32 hex digits), x-rpc-seq, x-rpc-ack, x-rpc-epoch.
 *
 * An *epoch* names what a server can remember: its process (a random number) and a generation,
 * which goes up whenever it forgets a client whose lease is over. A call carries the epoch of its
 * first try. The server runs a call that it does not remember only if nothing of it can have been
 * forgotten since then; so neither clocks nor a bound on the delay of a packet are trusted. The
 * server tells its epoch in HTTP/2 SETTINGS (experimental identifiers, which others ignore), hence
 * a client knows it before its first call, and again in the initial metadata of each reply.
 *
 * Source: Lee et al., "Implementing Linearizability at Large Scale and Low Latency" (RIFL), SOSP
 * 2015, §3.
 * Changed: no lease server; the epoch tells a client that is new from one that was forgotten.
 */
#pragma once

#include "rpc/evgrpc.h"
#include "rpc/util.h"

#define RPC_SETTINGS_EPOCH_HIGH 0xf0e0 /* RFC 9113 §11.2 leaves 0xf000-0xffff to experiments */
#define RPC_SETTINGS_EPOCH_LOW 0xf0e1
#define RPC_SETTINGS_EPOCH_GENERATION 0xf0e2

#define RPC_EPOCH_TEXT_SIZE ((size_t) 32)
#define RPC_CLIENT_ID_SIZE ((size_t) 16)
#define RPC_CLIENT_TEXT_SIZE (2 * RPC_CLIENT_ID_SIZE + 1)

typedef struct RpcEpoch {
        uint64_t process; /* 0: unknown */
        uint32_t generation;
} RpcEpoch;

/* "PROCESS.GENERATION" with its NUL; "0" for an unknown one. Returns the size without the NUL. */
size_t rpc_epoch_format(RpcEpoch epoch, char ret[static RPC_EPOCH_TEXT_SIZE]);
/* Return: 0 or -EBADMSG. */
int rpc_epoch_parse(const char *text, size_t size, RpcEpoch *ret);

void rpc_client_id_format(const uint8_t id[static RPC_CLIENT_ID_SIZE],
                          char ret[static RPC_CLIENT_TEXT_SIZE]);
/* Return: 0 or -EBADMSG. */
int rpc_client_id_parse(const char *text, size_t size, uint8_t ret[static RPC_CLIENT_ID_SIZE]);

/* Decimal, no sign. Return: 0 or -EBADMSG. */
int rpc_seq_parse(const char *text, size_t size, uint64_t *ret);

/* SipHash-2-4 (Aumasson & Bernstein, INDOCRYPT 2012): peers choose what is hashed. */
uint64_t rpc_siphash(const uint64_t key[static 2], const void *data, size_t size);

/* Fills it from the kernel. Return: 0 or negative errno. */
int rpc_random(void *ret, size_t size);

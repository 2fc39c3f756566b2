/*
 * Keys — the master's certificate, the cluster's CA, and who has been let in.
 *
 * Where nothing else is configured the master is its cluster's CA: at its first start it makes one
 * in STATE/tls, and a certificate for itself, which it renews. With certificates of an own PKI it
 * holds no CA's key: it can let nobody in and revoke nobody, and reads renewed files again when it
 * is told to reload.
 */
#pragma once

#include "pki/authority.h"
#include "rpc/evgrpc.h"

typedef struct Manager Manager;

typedef struct MasterKeys {
        Manager *manager;
        PkiAuthority *authority; /* NULL: an own PKI issues certificates */
        PkiAuthority *other; /* that takes its place, or whose place it takes: master-rotation.h */
        char *authorities_pem; /* both: whom everybody in the cluster believes */
        uint8_t fingerprint[PKI_FINGERPRINT_SIZE]; /* of the CA that has issued our certificate */
        int dir_fd;                                /* STATE/tls; -EBADF with an own PKI */
        char *dir;
        EvgrpcTls *tls;      /* of Master, and of calls to workers */
        EvgrpcTls *join_tls; /* of Cluster, which takes clients without a certificate; NULL as
                                authority */
        PkiCertificate own;
        uint64_t list_number; /* of the list of revoked certificates; 0: none was ever */
        char *list_pem;
        struct LoopTimer *timer; /* looks whether something must be renewed, or has expired */
} MasterKeys;

/* Makes or reads all of it. */
int keys_open(Manager *m, MasterKeys **ret, Error *e);
MasterKeys *keys_free(MasterKeys *k);

/* Reads the files again: those of an own PKI were renewed by somebody else. On failure the old ones
 * stay. */
int keys_reload(MasterKeys *k, Error *e);

/**
 * keys_grant() - a certificate for a worker, noted in the store (and not committed)
 * @name: for people
 *
 * Return: 0; what pki_authority_issue() says.
 */
int keys_grant(MasterKeys *k, const char *request_pem, const char *worker_id, const char *name,
               char **ret_pem, Error *e);

/* Takes back every certificate of the worker: in the store, in the list, and for every connection
 * there is.
 * Return: how many they were; negative errno with a sentence. */
int keys_revoke(MasterKeys *k, const char *worker_id, Error *e);

int64_t keys_now_sec(const Manager *m);

/* ---- For master-rotation.c ---- */

const PkiAuthority *keys_older(const MasterKeys *k); /* of two; else the one */
int keys_make_authority(const MasterKeys *k, const PkiAuthority *old, PkiAuthority **ret, Error *e);
/* What is believed from now on; @second may be NULL. On failure nothing has changed. */
int keys_write_authorities(MasterKeys *k, const PkiAuthority *first, const PkiAuthority *second,
                           Error *e);
/* Everything that follows from them: fingerprint, lists, TLS. */
int keys_use_authorities(MasterKeys *k, Error *e);
int keys_make_identity(MasterKeys *k, Error *e);
int keys_new_list_number(MasterKeys *k, Error *e); /* durably, before the list is made */
void keys_name_authority(const PkiAuthority *a, char ret[static 2 * PKI_FINGERPRINT_SIZE + 1]);
void keys_look_soon(MasterKeys *k);

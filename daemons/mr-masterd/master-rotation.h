/*
 * Rotation — another CA takes the place of the cluster's, and nobody joins anew.
 *
 *             start            every worker alive           no worker has only one of the old CA
 *                              believes both                (or when told to)
 *      [A] ─────────▶ [A, B] ───────────────────▶ [B, A] ────────────────────────────────────▶ [B]
 *                    spreading                   renewing
 *
 * In brackets: ca.pem, the CAs that everybody believes; the first one issues. That file is all the
 * state there is, so a restart goes on where it was. Of two CAs the older one is that which goes;
 * it is the issuer of the master's own certificate until it does: a host that was off meanwhile
 * believes the master, is told of the new CA as it registers, and renews. A worker renews as soon
 * as its certificate is not of the first CA. What counts is what workers say they hold, not what
 * they were sent; those that are off are waited for as long as a certificate of theirs is good.
 *
 * Source: the phases are those of Docker Swarm's `docker swarm ca --rotate` and of Kubernetes'
 * manual rotation of CA certificates (bundle, reissue, drop). Changed: no cross-signed CA, for the
 * master's own certificate does its work.
 */
#pragma once

#include "mr-masterd/master-keys.h"

typedef enum RotationPhase {
        ROTATION_NONE,
        ROTATION_SPREADING,
        ROTATION_RENEWING,
} RotationPhase;

RotationPhase rotation_phase(const MasterKeys *k);
const char *rotation_phase_to_string(RotationPhase p);

/* Return: 0; -EALREADY while one goes on; an errno with a sentence, and nothing has changed. */
int rotation_start(MasterKeys *k, Error *e);

/* The old CA goes now, and every certificate of it. Return: 0; -ENOENT while there is one CA only;
 * -EAGAIN while a worker that is there has no certificate of the new one: it is about to. */
int rotation_finish(MasterKeys *k, Error *e);

/* Whom it waits for, by name, sorted: while it spreads those who are there and have not heard of
 * it, then those who have a good certificate of the old CA and have not said that they hold one of
 * the new. */
GPtrArray *rotation_list_pending(const MasterKeys *k);
/* Who is out when the old CA goes now. */
GPtrArray *rotation_list_without_new(const MasterKeys *k);

/* Time has passed, or a worker has told something new: starts one when the CA ends soon, goes on
 * with one. */
void rotation_look(MasterKeys *k);

/* What workers tell of themselves, in the same digits. */
uint64_t rotation_bundle_digest(const MasterKeys *k);

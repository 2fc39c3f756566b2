/*
 * Keys — the worker's certificate, whom it trusts, and how both stay good.
 *
 * A worker that has joined by a token has its identity in SPOOL/tls. It renews it in time, over the
 * connection that the old certificate opens, and takes newer lists of revoked certificates from the
 * master, whose signature it checks. When another CA takes the place of the cluster's, the master
 * sends both, over the same connection: see master-rotation.h. With certificates of an own PKI it
 * does neither: they are somebody else's to renew.
 *
 * A worker without a certificate speaks to no network: it idles and says what to do.
 */
#pragma once

#include "mr-workerd/worker-manager.h"
#include "pki/certificate.h"

/* *ret is NULL when there is no certificate. The spool's id is made the certificate's, or both must
 * be the same. Logs. */
int keys_open(Manager *m, WorkerKeys **ret);
WorkerKeys *keys_free(WorkerKeys *k);

EvgrpcTls *keys_tls(const WorkerKeys *k); /* NULL for NULL: stays its owner's */

/* Begins to renew, once there is a link to the master. */
void keys_start(WorkerKeys *k);

/* Files of an own PKI were renewed. On failure the old ones stay. Logs. */
int keys_reload(WorkerKeys *k);

/* What the master is told of them with each heartbeat. */
void keys_fill(const WorkerKeys *k, Mapreduced__V1__HeartbeatRequest *request);
/* What it answers: CAs to believe from now on, and a list of revoked certificates; each may be "".
 * A certificate that is not of the first CA is renewed; who is not let in any more is out, here
 * too. Logs. */
void keys_take_news(WorkerKeys *k, const char *authorities_pem, const char *list_pem);

/* Why this worker may not be heard on the network, to be shown; NULL when it may. */
const char *keys_missing(const Manager *m);

/* Whether bytes to this address need TLS (and @m has it): false for unix sockets and where plain
 * TCP is allowed. */
bool keys_needed(const Manager *m, const char *address);

/*
 * The link to the master — registration, heartbeats, and the channel for every other call to it.
 *
 *      CONNECTING ──registered──▶ REGISTERED ──┐ heartbeat
 *          ▲                          │        │
 *          └── lost, or NOT_FOUND ────┘◀───────┘
 *
 * It tries for ever, and says why it is not registered. The call waits for the connection, so that
 * registration happens the moment a master is there, not at the next turn of a timer.
 */
#pragma once

#include "cluster.pb-c.h"
#include "mr-workerd/worker-manager.h"

/* With no master configured the link is there, and idle. */
int master_link_new(Manager *m, MasterLink **ret);
MasterLink *master_link_free(MasterLink *l);

EvgrpcChannel *master_link_channel(const MasterLink *l); /* NULL without a master */
/* Registers again, for there is something new to tell; at once, or as soon as the call on its way
 * is over. */
void master_link_rejoin(MasterLink *l);
bool master_link_is_registered(const MasterLink *l);
const char *master_link_reason(const MasterLink *l); /* why it is not registered; "" when it is */

typedef enum LostKind {
        LOST_UNREACHABLE, /* we cannot read it; somebody else may */
        LOST_GONE,        /* its holder does not have it */
        LOST_CORRUPT,     /* its bytes are bad */
} LostKind;

/* Sends the report; if it gets lost, whoever is still in need reports again. */
void master_link_report_lost(MasterLink *l, const char *job_id, uint32_t map, uint32_t attempt,
                             const char *worker_id, const char *reason, LostKind kind);

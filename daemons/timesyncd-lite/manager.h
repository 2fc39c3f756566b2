/*
 * The manager — everything one timesyncd-lite has, and who meets whom.
 *
 *      Exchange ──answers──▶ keeper ──decisions──▶ Clock
 *         ▲                    │                     ▲
 *      servers, each on a      └── when to ask       └── Serve tells others its time
 *      connection of its own
 *
 * manager_tick() is the one place where decisions are carried out. It runs at the time the keeper
 * asks for, with every answer, when the clock was set by somebody else, and every few seconds, as
 * the kernel lets the stated error grow by 500 ppm until it is told again.
 */
#pragma once

#include "platform/log.h"
#include "platform/loop.h"
#include "timesyncd-lite/conf.h"
#include "timesyncd-lite/remote.h"
#include "timesyncd-lite/serve.h"

typedef struct Manager {
        Loop *loop;
        TimeConf conf;
        Clock *clock;
        uint64_t own_id;
        EvgrpcTls *tls;
        TimeKeeper *keeper; /* NULL in the role of a server */
        Remote *remotes[KEEPER_SERVERS_MAX];
        Serve *serve; /* NULL: nothing to listen on */
        LoopTimer *wakeup, *save, *network;
        KeeperDecision last;
        uint64_t steps;
        int64_t synchronised_real_ns; /* when a line was followed last; 0: never */
        double frequency_set_ppm;     /* NAN: not yet */
        bool foreign_told;
        bool fresh; /* an exchange ended since the last decision */
        int lock_fd, set_fd, network_fd;
        struct TimeBus *bus;
} Manager;

/* Takes @conf. Everything is running when it returns, but the loop. Logs. */
int manager_new(TimeConf *conf, Manager **ret);
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager, manager_free);

/* Something may have changed: decide, do, and see to the next time. */
void manager_tick(Manager *m);

/* All servers are asked now. */
void manager_sync_now(Manager *m);
/* Steps what is left of the offset. Return: 0, or -ENODATA while the offset is not known. */
int manager_step(Manager *m, int64_t *ret_step_ns);
/* Replaces the servers, until the configuration is read again. @addresses: as Server=. */
int manager_set_servers(Manager *m, const GPtrArray *addresses, Error *e);
/* Reads the configuration again; on failure all stays as it was. Logs. */
int manager_reload(Manager *m);

/* What we may say of our clock. */
void manager_claim(void *userdata, TimeClaim *ret, ClockPath *ret_references);

/* The server followed, or NULL. */
Remote *manager_selected(const Manager *m);

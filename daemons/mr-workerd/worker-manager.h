/*
 * The manager — everything one mr-workerd has, and who meets whom.
 *
 *      master ──RunTask──▶ worker-rpc ──▶ Attempt ──▶ TaskPool ──▶ mr-task
 *        ▲                                  │  ▲
 *        │ Register, Heartbeat      Job ◀───┘  └── Shuffle ──▶ Peers ──▶ other workers
 *      MasterLink ◀──────────── files, watch          (ReadMapOutput)
 *
 * Each part is one file and knows only the parts its arrows point at; they find each other here.
 */
#pragma once

#include "mr-workerd/worker-cache.h"
#include "mr-workerd/worker-conf.h"
#include "mr-workerd/worker-disk.h"
#include "mr-workerd/worker-index.h"
#include "mr-workerd/worker-threads.h"
#include "mr-workerd/worker-spool.h"
#include "mr-workerd/worker-task.h"
#include "platform/log.h"
#include "rpc/evgrpc.h"

typedef struct MasterLink MasterLink;
typedef struct Peers Peers;
typedef struct Told Told;
typedef struct WorkerBus WorkerBus;
typedef struct WorkerKeys WorkerKeys;

typedef struct Manager {
        Loop *loop;
        WorkerConf conf;
        char incarnation[33]; /* fresh per process */
        Spool *spool;
        Cache *cache; /* NULL: an ephemeral worker keeps nothing */
        Disk *disk;
        Threads *threads;
        IndexCache *indices;
        TaskPool *pool;
        Peers *peers;
        WorkerKeys *keys;     /* NULL: in no cluster */
        EvgrpcServer *server; /* NULL: nobody may reach us */
        char *address;        /* where Worker is served, as others are told; "" for nowhere */
        MasterLink *master;
        WorkerBus *bus;
        GHashTable *jobs;     /* id -> Job */
        GHashTable *attempts; /* "JOB/map-3/0" -> Attempt */
        Told *told;           /* results of attempts that are over */
        uint64_t attempts_finished, attempts_failed;
        bool stopping; /* nothing new is taken */
        LoopTimer *stop_timer;
        uint64_t stop_usec; /* when patience ends */
        int argc;           /* for reading the configuration again */
        char **argv;
        uint64_t segments_wanted; /* by all reduce attempts together */
        bool release_is_dear;     /* inputs of reduces are kept: worker-release.h */
        uint32_t outputs_served;  /* ReadMapOutput calls open now */
} Manager;

/* Takes @conf. Everything is running when it returns, but the loop. */
int manager_new(WorkerConf *conf, Manager **ret);
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager, manager_free);

/* What the state is changed, so that status line and bus can say so. */
void manager_state_changed(Manager *m);

/* The job is no more: its attempts are killed, its files removed. Unknown jobs are none. */
void manager_forget_job(Manager *m, const char *job_id);

/*
 * The master as a client sees it — its bus connection, and errors made into sentences.
 */
#pragma once

#include "cli/arguments.h"
#include "platform/bus.h"

#define MASTER_NAME "org.mapreduced.Master1"
#define MASTER_PATH "/org/mapreduced/Master1"
#define MASTER_INTERFACE "org.mapreduced.Master1.Manager"
#define WORKER_INTERFACE "org.mapreduced.Master1.Worker"
#define JOB_INTERFACE "org.mapreduced.Master1.Job"

typedef struct Master {
        sd_bus *bus;
        const char *host; /* over ssh; else NULL */
        const char *name; /* where calls go; NULL on a private connection, which has no names */
} Master;

/* By --host= or --bus=; without either over the system bus. */
int master_connect(Master *m, const Arguments *a, Error *e);

/* The master at the other end of @fd, a socket pair. Takes @fd. */
int master_connect_fd(Master *m, int fd, Error *e);

void master_done(Master *m);

/* Has whoever is at the other end closed the connection: before we wrote, or before we read? */
bool master_is_lost(int r);

/**
 * master_call() - call a method of the object at @path and wait
 * @ret:   the reply, or NULL
 * @types: of the arguments, as in sd_bus_message_append(); may be NULL
 *
 * Return: 0, or negative errno with a message a person understands.
 */
int master_call(Master *m, const char *path, const char *interface, const char *method,
                sd_bus_message **ret, Error *e, const char *types, ...);

/* The same for a call that was made already. */
int master_send(Master *m, sd_bus_message *call, sd_bus_message **ret, Error *e);

/* The same for an error that came another way; @m may be NULL. */
int master_explain(const Master *m, const sd_bus_error *error, int r, Error *e);

/* The path of a job or a worker: @get is "GetJob" or "GetWorker". Caller frees. */
int master_find(Master *m, const char *get, const char *name, char **ret_path, Error *e);

/* A reply that does not have the shape of the contract. */
int master_bad_reply(int r, Error *e);

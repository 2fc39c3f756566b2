/*
 * The master as a client sees it — its bus connection, and errors made into sentences.
 */
#pragma once

#include "platform/bus.h"

#define MASTER_NAME "org.mapreduced.Master1"
#define MASTER_PATH "/org/mapreduced/Master1"
#define MASTER_INTERFACE "org.mapreduced.Master1.Manager"
#define JOB_INTERFACE "org.mapreduced.Master1.Job"

typedef struct Master {
        sd_bus *bus;
        const char *name; /* where calls go; NULL on a private connection, which has no names */
} Master;

/* @address: as --bus= has it; NULL means system. */
int master_connect(Master *m, const char *address, Error *e);

/* The master at the other end of @fd, a socket pair. Takes @fd. */
int master_connect_fd(Master *m, int fd, Error *e);

void master_done(Master *m);

/**
 * master_call() - call a method of the object at @path and wait
 * @ret:   the reply, or NULL
 * @types: of the arguments, as in sd_bus_message_append(); may be NULL
 *
 * Return: 0, or negative errno with a message a person understands.
 */
int master_call(Master *m, const char *path, const char *interface, const char *method,
                sd_bus_message **ret, Error *e, const char *types, ...);

/* The same for an error that came another way. */
int master_explain(const sd_bus_error *error, int r, Error *e);

/* A reply that does not have the shape of the contract. */
int master_bad_reply(int r, Error *e);

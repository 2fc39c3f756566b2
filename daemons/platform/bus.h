/*
 * Bus helpers — one way to reach a bus, whatever it is called, and errors that keep their names.
 *
 * ADDRESS, as --bus= takes it:
 *      system, session         the well-known buses
 *      none                    no bus at all
 *      fd:N                    an inherited socket, peer to peer: the daemon is the server of it
 *      anything with ':'       a D-Bus address, e.g. unix:path=/tmp/bus
 */
#pragma once

#include <systemd/sd-bus.h>

#include "base/error.h"
#include "platform/loop.h"

/**
 * bus_open() - connect, attached to the loop
 * @address: as above
 * @ret:     NULL for "none"
 *
 * Return: 1 when a name can be claimed on it (a message bus), 0 for none or peer to peer; negative
 * errno with a message that names the address.
 */
int bus_open(Loop *l, const char *address, sd_bus **ret, Error *e);

/* The client's side of the same: no loop, calls are synchronous. "fd:N" is not for clients. */
int bus_open_client(const char *address, sd_bus **ret, Error *e);

/* The client's end of a socket pair whose other end a daemon was given as fd:N. Takes @fd. */
int bus_open_peer_client(int fd, sd_bus **ret);

/* Claims @name; fails when another owns it. */
int bus_claim_name(sd_bus *bus, const char *name, Error *e);

/* "org.mapreduced.Error.NoSuchJob" and a sentence, for a method's reply. Returns negative errno. */
int bus_error_setf(sd_bus_error *ret_error, const char *name, const char *format, ...)
        _printf_(3, 4);

#define BUS_ERROR_NO_SUCH_JOB "org.mapreduced.Error.NoSuchJob"
#define BUS_ERROR_NO_SUCH_WORKER "org.mapreduced.Error.NoSuchWorker"
#define BUS_ERROR_NO_SUCH_PART "org.mapreduced.Error.NoSuchPart"
#define BUS_ERROR_INVALID_JOB "org.mapreduced.Error.InvalidJob"
#define BUS_ERROR_WRONG_STATE "org.mapreduced.Error.WrongState"
#define BUS_ERROR_LIMIT "org.mapreduced.Error.LimitExceeded"
#define BUS_ERROR_IO "org.mapreduced.Error.InputOutput"

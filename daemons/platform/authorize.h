/*
 * Authorization — may the sender of this message do what it asks for?
 *
 *      its uid is ours, root's, or the owner's of the thing    yes, at once
 *      the system bus                                          polkit is asked; the loop goes on
 *      any other bus, or a socket pair                         no: there is nobody to ask
 *
 * While polkit thinks (a person may be typing a password) the message is put aside. Then it is
 * given to its handler a second time, which finds the answer waiting. So a handler begins with
 *
 *      r = authorizer_check(a, message, "org.mapreduced.master1.submit", UID_NOBODY_OWNS, e);
 *      if (r <= 0)
 *              return r < 0 ? r : 1;
 *
 * and has done nothing before it that must not be done twice.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "platform/loop.h"

/* Of messages put aside, in all and of one sender; further ones are refused. */
#define AUTHORIZER_WAITING_MAX 256U
#define AUTHORIZER_WAITING_OF_ONE_MAX 16U

#define UID_NOBODY_OWNS UINT32_MAX

typedef struct Authorizer Authorizer;

/* @ask_polkit: the bus is the system's. Keeps a reference to @bus; free it before the loop. */
Authorizer *authorizer_new(Loop *l, sd_bus *bus, bool ask_polkit);
Authorizer *authorizer_free(Authorizer *a);
DEFINE_CLEANUP(Authorizer, authorizer_free);

/**
 * authorizer_check() - the first thing that a method which changes something does
 * @action: what polkit knows it as
 * @owner:  who may do it in any case, or UID_NOBODY_OWNS
 *
 * Return: 1 to go on; 0 when the message was put aside: the handler returns 1 and is called again;
 * negative errno with @ret_error filled: AccessDenied, InteractiveAuthorizationRequired or
 * LimitsExceeded.
 */
int authorizer_check(Authorizer *a, sd_bus_message *message, const char *action, uint32_t owner,
                     sd_bus_error *ret_error);

/* The uid that sent @message, as the bus says; of a socket pair, who is at its other end. */
int bus_sender_uid(sd_bus_message *message, uint32_t *ret);

/*
 * Link — the task's end of the socket to its worker: one message a packet, descriptors beside it.
 */
#pragma once

#include "platform/packet.h"
#include "task.pb-c.h"

#define LINK_ENDED (-ESHUTDOWN) /* the worker is gone, or wants us gone */

typedef struct Message {
        Mapreduced__Task__V1__ToTask *body;
        int fds[PACKET_MAX_FDS]; /* owned; -EBADF where taken */
        size_t fd_count;
} Message;

void message_done(Message *m);

/* Waits for the next message. Return: 0; LINK_ENDED at the end; -EBADMSG for bytes that are
 * none. */
int link_receive(int fd, Message *ret);

/* Waits until it is sent, or, with @may_drop, gives up when the socket is full. */
int link_send(int fd, Mapreduced__Task__V1__FromTask *m, bool may_drop);

/* Return: 0, or LINK_ENDED when the worker has closed its end. */
int link_check(int fd);

/*
 * Packets with descriptors — what worker and mr-task say to each other over SOCK_SEQPACKET.
 *
 * A packet is whole or not there; at most PACKET_MAX_BYTES and PACKET_MAX_FDS. Descriptors that
 * arrive are close-on-exec, and belong to the receiver.
 */
#pragma once

#include "base/macro.h"

#define PACKET_MAX_BYTES (64 * 1024)
#define PACKET_MAX_FDS 64

/**
 * packet_send() - one packet
 *
 * Return: 0; -EAGAIN when the socket is non-blocking and full; -EPIPE or -ECONNRESET when the peer
 * is gone (never SIGPIPE); -EMSGSIZE above the limits.
 */
int packet_send(int fd, const void *data, size_t size_bytes, const int *fds, size_t fd_count);

/**
 * packet_recv() - one packet
 * @data:       room for PACKET_MAX_BYTES
 * @fds:        room for PACKET_MAX_FDS
 *
 * Return: the packet's size; 0 at the end of the stream; -EAGAIN on an empty non-blocking socket;
 * -EBADMSG for a truncated packet (its descriptors are closed).
 */
ssize_t packet_recv(int fd, void *data, int fds[static PACKET_MAX_FDS], size_t *ret_fd_count);

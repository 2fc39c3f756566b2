/*
 * Input — opening the pieces of a map's split, and packing what mr-task is handed.
 *
 * mr-task asks for input a batch at a time, so the number of open files stays small however many
 * pieces a split has. A batch is as many as fit into one packet.
 */
#pragma once

#include "base/error.h"
#include "platform/packet.h"
#include "task.pb-c.h"

/**
 * input_open_piece() - open a piece's file and see that it is what was planned
 * @ret_permanent: set on failure: another try can only fail again
 *
 * A file whose size or time of change is another than when the job was planned is an error: its
 * lines would be counted twice or not at all.
 *
 * Return: 0; -ESTALE when it changed; -EINVAL when it is no regular file; the errno of open().
 */
int input_open_piece(const Mapreduced__V1__Piece *p, int *ret_fd, bool *ret_permanent, Error *e);

/* A batch of AttemptInput and the descriptors that go with it. */
typedef struct InputBatch {
        size_t count;
        size_t packed_bytes;                           /* so far, at most */
        Mapreduced__V1__Piece *pieces[PACKET_MAX_FDS]; /* borrowed */
        Mapreduced__Task__V1__Segment segments[PACKET_MAX_FDS];
        int fds[PACKET_MAX_FDS]; /* owned */
} InputBatch;

void input_batch_init(InputBatch *b);
void input_batch_done(InputBatch *b); /* closes descriptors */

bool input_batch_has_room_for_piece(const InputBatch *b, const Mapreduced__V1__Piece *p);
bool input_batch_has_room_for_segment(const InputBatch *b);
/* Both take @fd. The caller has seen that there is room. */
void input_batch_add_piece(InputBatch *b, Mapreduced__V1__Piece *p, int fd);
void input_batch_add_segment(InputBatch *b, const Mapreduced__Task__V1__Segment *g, int fd);

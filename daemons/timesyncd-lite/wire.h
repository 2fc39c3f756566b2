/*
 * Wire — what SyncTime says, made into the words of timekeeping, and back.
 *
 * Nothing here trusts a byte: a reply comes from whoever answers at that address. What cannot be a
 * reply to our question is refused; what a server claims of its clock is only carried over, since
 * keeper.h is what judges it.
 *
 * Loops. Each clock has a number: 64 bits of the kernel's boot id, as all that runs on one kernel
 * shares its clock. A reply names the clocks that its time came by, so a server that follows us,
 * at whatever distance, gives itself away. NTP compares one reference id only, and finds loops of
 * two.
 */
#pragma once

#include "time.pb-c.h"
#include "timekeeping/time-types.h"

/* Strata end at 15, so no honest reply names more. */
#define CLOCK_PATH_MAX 16U
/* What two ways to read one clock may differ by: a stamp of the kernel's may seem so much too
 * early. */
#define WIRE_READING_NS 1000

typedef struct ClockPath {
        uint64_t ids[CLOCK_PATH_MAX]; /* nearest first */
        size_t count;
} ClockPath;

/* The number of this machine's clock; never 0. */
int wire_own_id(uint64_t *ret);

typedef struct WireReply {
        int64_t t[4]; /* T1..T3; T4 is for the caller to fill in */
        TimeClaim claim;
        ClockPath path; /* the server itself, then what it follows */
        bool t2_from_kernel, t3_from_kernel;
        bool t3_follows; /* the next reply will tell the kernel's T3 of this one */
} WireReply;

/**
 * wire_read_reply() - an answer to the question asked at @t1_ns by the clock @own_id (0: untold)
 *
 * Return: 0; -EBADMSG for an answer to another question or with more references than there are
 * strata; @ret is untouched then.
 */
int wire_read_reply(const Mapreduced__Time__V1__SyncTimeReply *m, int64_t t1_ns, uint64_t own_id,
                    WireReply *ret);

/**
 * wire_take_follow_up() - T3 of @first by the server's kernel, from the reply to the next question
 *
 * Return: 0; -ENODATA when @m does not tell, or of another reply; -EBADMSG for a time that no reply
 * can have left at, before T3 or long after. @first is untouched then.
 */
int wire_take_follow_up(const Mapreduced__Time__V1__SyncTimeReply *m, WireReply *first);

/* @m keeps a pointer to @references. T3 is left for the last moment. */
void wire_fill_reply(const TimeClaim *claim, uint64_t own_id, ClockPath *references,
                     Mapreduced__Time__V1__SyncTimeReply *m);

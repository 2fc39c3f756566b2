/*
 * Task processes — a fixed number of slots, each an mr-task that runs one attempt at a time.
 *
 *                 spawn              granted               released
 *      (nothing) ───────▶ FRESH ──────────────▶ BUSY ──────────────────▶ WARM
 *                           │                    │ ▲       granted to      │
 *                           │                    │ └───── the same job ────┤
 *                           │  killed, or dies   │                         │ another job's turn,
 *                           └───────────────────▶▼◀────────────────────────┘ or job forgotten
 *                                              ENDING ──reaped──▶ (nothing)
 *
 * A process that somebody else started is told to end by the end of our half of its socket; that
 * the other half has ended is its being reaped.
 *
 * A process never serves two jobs: what user code left in it dies with its job. Two are started
 * before anybody asks, because a start costs more than the whole of a small task. Attempts wait in
 * one queue, first come, first served; its length is bounded by whoever accepts attempts.
 */
#pragma once

#include "platform/loop.h"
#include "task.pb-c.h"

typedef struct TaskPool TaskPool;
typedef struct TaskSlot TaskSlot;

typedef struct TaskSlotHandlers {
        void (*on_granted)(void *userdata); /* a process is ours: send AttemptStart */
        void (*on_message)(const Mapreduced__Task__V1__FromTask *message, void *userdata);
        /* The process is gone. @how completes "mr-task …": "was killed by SIGSEGV", "exited with
         * status 3"; @cause is of base/cause.h. The slot is still to be given back. */
        void (*on_lost)(const char *how, const char *cause, void *userdata);
        /* None could be started, which is no fault of the attempt. The slot is still to be given
         * back. */
        void (*on_unavailable)(int error, void *userdata);
} TaskSlotHandlers;

/**
 * task_pool_new() - start the first processes
 * @slots:      most processes at a time
 * @socket:     a socket at which each connection is a process that somebody else starts
 *              (mr-task.socket: a unit with a user of its own), or NULL: they are our children. No
 *              fall-back from the one to the other
 * @one_job:    there will be no other job: one process is started beforehand, and none after that
 *              job. A host's first task process (platform/module.h) is that one
 * @on_changed: told when the number of busy ones changed; may be NULL
 *
 * SIGCHLD must be blocked. Return: 0; -ENOENT when there is no mr-task.
 */
int task_pool_new(Loop *l, uint32_t slots, const char *socket, bool one_job,
                  void (*on_changed)(void *userdata), void *userdata, TaskPool **ret);
/* Tells the idle ones to end, so that there is less to wait for later. Takes NULL. */
void task_pool_end_idle(TaskPool *pool);
/* Every slot must have been given back. Ends every process, and waits for those that had an attempt
 * until then: what they started may write to its files to the last. Takes NULL. */
void task_pool_end(TaskPool *pool);
/* task_pool_end(), and reaps the others, too: the kernel takes milliseconds to take an idle process
 * apart, in which its owner may do other things. Takes NULL. */
TaskPool *task_pool_free(TaskPool *pool);

uint32_t task_pool_busy(const TaskPool *pool);
/* Of fewer slots those that are busy are taken away as they come free: nothing that runs is
 * ended. */
void task_pool_set_slots(TaskPool *pool, uint32_t slots);
/* Ends the job's idle processes. */
void task_pool_forget_job(TaskPool *pool, const char *job_id);

/* A place in the queue. Handlers come from the loop, never from inside a function of this file. */
TaskSlot *task_slot_request(TaskPool *pool, const char *job_id, const TaskSlotHandlers *handlers,
                            void *userdata);

/**
 * task_slot_send() - one packet to the granted process; descriptors are duplicated by the kernel
 * Return: 0; -EMSGSIZE when it is too large; -EPIPE when the process is gone (on_lost follows).
 */
int task_slot_send(TaskSlot *s, const Mapreduced__Task__V1__ToTask *message, const int *fds,
                   size_t fd_count);

/* Both give the slot back, take NULL and return NULL. */
TaskSlot *task_slot_release(TaskSlot *s); /* the attempt is done: its process stays warm */
TaskSlot *task_slot_kill(TaskSlot *s); /* wherever it is: out of the queue, or its process ended */

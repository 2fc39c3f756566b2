/*
 * Causes — why an attempt or a job failed or waits, as a word for programs beside the sentence for
 * people.
 *
 * The word is chosen where the cause is known, and travels as it is: mr-task, its worker, the
 * master, the master's database, the bus. Whoever does not know a word, of a newer program perhaps,
 * shows the sentence; "" is no word. Words stay: scripts go by them.
 */
#pragma once

/* Of an attempt. */
#define CAUSE_COMMAND_FAILED "command-failed"       /* exited with another status than 0 */
#define CAUSE_COMMAND_NOT_FOUND "command-not-found" /* 127, as sh(1) has it */
#define CAUSE_COMMAND_NOT_EXECUTABLE "command-not-executable" /* 126 */
#define CAUSE_COMMAND_KILLED "command-killed"   /* by SIGKILL, which is not its own doing */
#define CAUSE_COMMAND_CRASHED "command-crashed" /* by another signal */
#define CAUSE_TASK_ENDED "task-process-ended"   /* in a unit of its own, which knows how */
#define CAUSE_MEMORY "memory"
#define CAUSE_TIME_LIMIT "time-limit"
#define CAUSE_DISK_FULL "disk-full"
#define CAUSE_NOT_PERMITTED "not-permitted"
#define CAUSE_FILE_MISSING "file-missing"
#define CAUSE_INPUT_CHANGED "input-changed"
#define CAUSE_OUTPUT_EXISTS "output-exists"
#define CAUSE_WORKER_SILENT "worker-silent" /* its lease has ended */
#define CAUSE_WORKER_RESTARTED "worker-restarted"
#define CAUSE_WORKER_UNREACHABLE "worker-unreachable"
#define CAUSE_WORKER_REVOKED "worker-revoked"
#define CAUSE_MASTER_RESTARTED "master-restarted"

/* Of a job that waits. */
#define CAUSE_NO_WORKER "no-worker"
#define CAUSE_ALL_DRAINED "all-drained"
#define CAUSE_NO_SLOT "no-slot"
#define CAUSE_USER_LIMIT "user-limit"
#define CAUSE_NO_WILLING_WORKER "no-willing-worker"
#define CAUSE_OLD_WORKERS "old-workers" /* of a version that does not know what it asks for */

/* The word for an errno of either sign; "" for those that say too little. Static memory. */
const char *cause_of_errno(int code);

/* The word for how a command ended, as waitpid() has it; "" for success. */
const char *cause_of_status(int status);

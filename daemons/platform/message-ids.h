/*
 * Message ids — what an entry of the journal is about, whatever its words.
 *
 * `journalctl MESSAGE_ID=…` finds every entry of a kind, and `journalctl -x` explains it from
 * units/mapreduced.catalog, which has a text for each id here: tests/style/check-units.py holds the
 * two together. An id never changes its meaning.
 */
#pragma once

#define MESSAGE_JOB_SUBMITTED "21dc3a3b4dec4ac4bbe5928b1575c579"
#define MESSAGE_JOB_STARTED "a203082f6f9941aaaf5328030c60fd27"
#define MESSAGE_JOB_DONE "b5f1ed03b16b40339037e627facf9c2d"
#define MESSAGE_JOB_FAILED "63941ff6be6a4be893336910236597b7"
#define MESSAGE_JOB_CANCELLED "acf91942f77c45a591b253bdb6db8325"
#define MESSAGE_MASTER_RESTARTED "20da71ad6a4641caa9bbb4a1ab0645d7"
#define MESSAGE_ATTEMPT_FAILED "b6db4acd0fe24d9a9c3faa5a0f40e545"
#define MESSAGE_ATTEMPT_LOST "32e4e48bbee3469190fae50b64db318f"
#define MESSAGE_MAP_OUTPUT_LOST "7af3ee0656ef4c8eaed9f8bb9b0b8eb1"
#define MESSAGE_WORKER_LOST "1bfc73487dd24d8fb20fc2393ea708b5"
#define MESSAGE_WORKER_REGISTERED "1108c79a967842cda49e8574e85a7798"
#define MESSAGE_WORKER_NOT_REGISTERED "e06a03db7ae4408081bc8ebb7a0048e4"
#define MESSAGE_RELOAD_FAILED "c8efbf2f4ef348ec83ededad49d2bb08"

/*
 * Attempt — one run of one task: what the worker asked for, how far it is, and how it ended.
 *
 * Everything else in this folder works on an Attempt. Errors are sentences made where the cause is
 * known; the first one counts. LINK_ENDED from anywhere unwinds everything: nobody is left to tell.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "records/key-fields.h"
#include "records/key-order.h"
#include "records/record.h"
#include "records/record-page.h"
#include "mr-task/link.h"

#define ATTEMPT_MEMORY_DEFAULT MIB(64)
#define ATTEMPT_MEMORY_MIN MIB(4)
#define ERROR_MAX_BYTES 8192
#define STATUS_MAX_BYTES 512
#define USER_COUNTERS_MAX 128
#define COUNTER_NAME_MAX 160
#define PROGRESS_INTERVAL_USEC (200 * USEC_PER_MSEC)

static_assert(STDERR_TAIL_BYTES + ERROR_MAX_BYTES +
                              (USER_COUNTERS_MAX + 1) * (COUNTER_NAME_MAX + UINT64_C(32)) <
                      PACKET_MAX_BYTES,
              "counters, tail and sentence travel in one packet");

typedef enum CounterId {
        COUNTER_MAP_INPUT_RECORDS,
        COUNTER_MAP_INPUT_BYTES,
        COUNTER_MAP_OUTPUT_RECORDS,
        COUNTER_MAP_OUTPUT_BYTES,
        COUNTER_COMBINE_OUTPUT_RECORDS,
        COUNTER_REDUCE_INPUT_RECORDS,
        COUNTER_REDUCE_INPUT_GROUPS,
        COUNTER_REDUCE_OUTPUT_RECORDS,
        COUNTER_REDUCE_OUTPUT_BYTES,
        COUNTER_MAP_SKIPPED_RECORDS,
        _COUNTER_ID_MAX,
} CounterId;

typedef struct Attempt {
        int link;
        Message message; /* the AttemptStart and its descriptors */
        const Mapreduced__Task__V1__AttemptStart *start;
        char *name; /* "map-3" */
        int output_fd;
        int cwd_fd;
        Scratch scratch;
        Ticker ticker;
        size_t memory_bytes;
        KeyFields fields;           /* of the lines that commands' maps write */
        KeyFields reduce_separator; /* of those that their reduces read */
        KeyOrder order;             /* in which their keys come */

        uint64_t counters[_COUNTER_ID_MAX];
        GHashTable *user_counters; /* "group:name" to uint64_t* */
        GString *stderr_tail;
        char *status; /* valid UTF-8 */
        uint64_t bytes_read;
        uint64_t activity;      /* signs of life: bytes read or written, status, counters */
        uint64_t progress_usec; /* when the last was sent */
        uint64_t cpu_usec;      /* used before this attempt */

        Error error;
        bool error_is_named; /* its sentence has the attempt's name before it */
        const char *
                cause; /* how the last command ended, as cause_of_status() has it; NULL: none has */
        bool permanent;
        RecordPage own_page;       /* where the worker gave none */
        volatile RecordPage *page; /* what map() has in hand */
        bool bad_record;           /* it has refused that */
        uint32_t piece;            /* the next one's index */
        bool bad_segment;
        uint32_t bad_map;
        uint32_t bad_attempt;
} Attempt;

/* Runs one attempt and tells the worker how it ended. Takes @m over. Return: 0 or LINK_ENDED. */
int attempt_run(int link, Message *m);

/* Asks for the next batch of input and waits for it. A message that is no input is -EPROTO. */
int attempt_next_input(Attempt *a, Message *ret);

/* Nothing has happened, but time passes: says how far we are, which is no sign of life. */
int attempt_idle(Attempt *a);

/* Says how far we are and what we do, if that was not said a moment ago. */
int attempt_tell(Attempt *a);

/* Tells the worker of a record that is done without. */
int attempt_skip_record(Attempt *a, Mapreduced__V1__SkippedRecord *record);

/* NULL: keys are in the order of their bytes. */
static inline KeyOrder *attempt_order(Attempt *a)
{
        return a->order.count > 0 ? &a->order : NULL;
}

/* Of the monotonic clock. */
uint64_t attempt_now_usec(void);

/* "NAME: sentence". Return: -|code|. */
int attempt_failf(Attempt *a, int code, const char *format, ...) _printf_(3, 4);

/*
 * Puts the name, and @where if that is not NULL, before a sentence that has none yet: one of
 * records/, or a program's. Return: @code.
 */
int attempt_name_error(Attempt *a, int code, const char *where);

/* A failure to write output or scratch: says "disk full" when it is. */
int attempt_fail_write(Attempt *a, int code, const char *what);

/* Adds to the counter "GROUP:NAME". Beyond USER_COUNTERS_MAX new names are not taken. */
void attempt_count_user(Attempt *a, const char *name, uint64_t n);

/* The same of a program's own words, which may be any. */
void attempt_count_named(Attempt *a, const char *group, const char *name, uint64_t n);

/* Valid UTF-8 of at most @max_bytes, also where replacing invalid bytes makes it longer. Caller
 * frees. */
char *attempt_valid_text(const char *text, size_t size, size_t max_bytes);

/* reporter:status:… */
void attempt_set_status(Attempt *a, const char *text, size_t size);

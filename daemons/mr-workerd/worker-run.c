/*
 * Attempt — from its shipped files to the last word of its mr-task.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cause.h"
#include "base/fs.h"
#include "base/parse.h"
#include "mr-workerd/worker-attempt-impl.h"
#include "mr-workerd/worker-gasp.h"
#include "mr-workerd/worker-input.h"
#include "mr-workerd/worker-open.h"

/* A reduce that meets so many bad segments will hardly meet the last one. */
#define BAD_SEGMENTS_MAX 3u
/* Of the skipped records of one attempt together: the rest is named, and its bytes are not kept. */
#define SKIPPED_DATA_MAX_BYTES MIB(2)

static void shuffle_or_wait(Attempt *a);
static void run_when_granted(Attempt *a);

/* ---- With mr-task ---- */

/* A segment is gone or bad: wait for another attempt's, then run again. */
static void shuffle_again(Attempt *a, uint32_t map, uint32_t attempt, const char *reason,
                          bool corrupt)
{
        a->scratch_fd = safe_close(a->scratch_fd);
        if (++a->bad_segments > BAD_SEGMENTS_MAX) {
                attempt_fail(a, false, "met %u bad map outputs, the last one of map %u: %s",
                             a->bad_segments, map, reason);
                return;
        }
        shuffle_drop(a->shuffle, map, attempt, reason, corrupt);
        shuffle_or_wait(a);
}

static int fill_segments(Attempt *a, InputBatch *b)
{
        while (a->next < a->spec->maps && input_batch_has_room_for_segment(b)) {
                Mapreduced__Task__V1__Segment g = MAPREDUCED__TASK__V1__SEGMENT__INIT;
                ShuffleSegment segment;
                int r;

                r = shuffle_segment_open(a->shuffle, a->next, &segment);
                if (r < 0) {
                        a->slot = task_slot_kill(a->slot);
                        if (r == -EMFILE || r == -ENFILE)
                                attempt_fail(a, false, "cannot open its input: %s", g_strerror(-r));
                        else
                                shuffle_again(a, a->next, segment.attempt, g_strerror(-r), false);
                        return r;
                }
                g.offset = segment.offset;
                g.length = segment.length;
                g.map = a->next++;
                g.attempt = segment.attempt;
                input_batch_add_segment(b, &g, segment.fd);
        }
        a->last_is_sent = a->next == a->spec->maps;
        return 0;
}

static int send_to_task(Attempt *a, const Mapreduced__Task__V1__ToTask *m, const int *fds,
                        size_t fd_count)
{
        int r = task_slot_send(a->slot, m, fds, fd_count);

        if (r == -EPIPE)
                return 0; /* it is gone, and on_lost() will say how */
        if (r < 0)
                attempt_fail(a, false, "cannot talk to mr-task: %s", g_strerror(-r));
        return r;
}

static void send_batch(Attempt *a, InputBatch *b)
{
        Mapreduced__Task__V1__AttemptInput input = MAPREDUCED__TASK__V1__ATTEMPT_INPUT__INIT;
        Mapreduced__Task__V1__ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        Mapreduced__Task__V1__Segment *segments[PACKET_MAX_FDS];

        for (size_t i = 0; i < b->count; i++)
                segments[i] = &b->segments[i];
        if (attempt_is_map(a)) {
                input.n_pieces = b->count;
                input.pieces = b->pieces;
        } else {
                input.n_segments = b->count;
                input.segments = segments;
        }
        input.last = a->last_is_sent;
        m.kind_case = MAPREDUCED__TASK__V1__TO_TASK__KIND_INPUT;
        m.input = &input;
        (void) send_to_task(a, &m, b->fds, b->count);
}

static void on_opened(const int *fds, size_t count, int error, bool permanent, const char *sentence,
                      void *userdata)
{
        Attempt *a = userdata;
        InputBatch b;

        a->opening = NULL;
        input_batch_init(&b);
        for (size_t i = 0; i < count; i++)
                input_batch_add_piece(&b, a->spec->pieces[a->next++], fds[i]);
        if (error < 0) {
                input_batch_done(&b);
                a->cause = cause_of_errno(error);
                attempt_fail(a, permanent, "%s", sentence);
                return;
        }
        a->last_is_sent = a->next == a->spec->n_pieces;
        send_batch(a, &b);
        input_batch_done(&b);
}

/* As many as a packet holds: they are counted before they are opened. */
static void open_pieces(Attempt *a)
{
        const TaskSpec *s = a->spec;
        size_t count = 0;
        InputBatch b;

        input_batch_init(&b);
        while (a->next + count < s->n_pieces &&
               input_batch_has_room_for_piece(&b, s->pieces[a->next + count]))
                input_batch_add_piece(&b, s->pieces[a->next + count++], -EBADF);
        input_batch_done(&b);
        a->opening = open_pieces_start(a->manager->threads, s->job_id, s->pieces + a->next, count,
                                       on_opened, a);
}

static void send_input(Attempt *a)
{
        InputBatch b;

        if (a->last_is_sent || a->opening) {
                attempt_fail(a, false, "mr-task asked for more input than there is");
                return;
        }
        if (attempt_is_map(a)) {
                open_pieces(a);
                return;
        }
        input_batch_init(&b);
        if (fill_segments(a, &b) >= 0)
                send_batch(a, &b);
        input_batch_done(&b);
}

/* A plugin's map() has failed on a record, @how. Whether that is settled: there is another run,
 * without it or to see whether it does so again, or there may be no more and the attempt has ended.
 * @sentence: why, at length. */
static bool run_again(Attempt *a, const char *how, const char *sentence)
{
        g_autofree char *more = NULL;

        if (!a->gasp)
                return false;
        if (gasp_try_again(a->gasp, a->spec, how, &more)) {
                a->slot = task_slot_kill(a->slot);
                a->scratch_fd = safe_close(a->scratch_fd);
                run_when_granted(a);
                return true;
        }
        if (more)
                attempt_fail(a, false, "%s, %s", sentence, more);
        return more;
}

static TaskDone *done_copy(const TaskDone *d)
{
        size_t size = mapreduced__task__v1__done__get_packed_size(d);
        g_autofree uint8_t *data = g_malloc(MAX(size, 1));

        mapreduced__task__v1__done__pack(d, data);
        return mapreduced__task__v1__done__unpack(NULL, size, data);
}

static void on_task_done(Attempt *a, const TaskDone *d)
{
        mapreduced__task__v1__done__free_unpacked(a->done, NULL);
        a->done = done_copy(d);
        if (!a->done)
                g_error("Out of memory"); /* as GLib itself would */

        if (d->outcome == OUTCOME(SUCCEEDED)) {
                a->slot = task_slot_release(a->slot);
                a->scratch_fd = safe_close(a->scratch_fd);
                attempt_commit(a);
                return;
        }
        a->slot = task_slot_release(a->slot);
        if (d->bad_record && run_again(a, d->error, d->error))
                return;
        if (d->bad_segment && !attempt_is_map(a) && d->bad_map < a->spec->maps)
                shuffle_again(a, d->bad_map, d->bad_attempt, d->error, true);
        else
                attempt_finish_done(a, OUTCOME(FAILED));
}

static void free_skipped(gpointer p)
{
        mapreduced__v1__skipped_record__free_unpacked(p, NULL);
}

static void on_skipped(Attempt *a, const Mapreduced__V1__SkippedRecord *record)
{
        size_t size = mapreduced__v1__skipped_record__get_packed_size(record);
        g_autofree uint8_t *data = g_malloc(MAX(size, 1));
        Mapreduced__V1__SkippedRecord *copy;

        if (!a->skipped)
                a->skipped = g_ptr_array_new_with_free_func(free_skipped);
        if (a->skipped->len >= a->spec->skip_records) {
                attempt_fail(a, false, "mr-task skipped more records than it may");
                return;
        }
        mapreduced__v1__skipped_record__pack(record, data);
        copy = mapreduced__v1__skipped_record__unpack(NULL, size, data);
        if (!copy)
                g_error("Out of memory"); /* as GLib itself would */
        if (a->skipped_bytes + copy->data.len > SKIPPED_DATA_MAX_BYTES)
                copy->data.len = 0;
        a->skipped_bytes += copy->data.len;
        g_ptr_array_add(a->skipped, copy);
}

/* ---- The time limit ---- */

static void arm_patience(Attempt *a, uint64_t delay_usec)
{
        loop_timer_start(a->patience, delay_usec);
}

static void on_patience_over(void *userdata)
{
        g_autofree char *where = NULL;
        Attempt *a = userdata;
        uint64_t now = loop_now_usec(a->manager->loop), until;

        until = a->alive_usec + a->spec->timeout_usec;
        if (a->phase != PHASE_RUNNING)
                return;
        if (now < until) {
                arm_patience(a, until - now);
                return;
        }
        a->cause = CAUSE_TIME_LIMIT;
        if (a->output_work) {
                attempt_fail(
                        a, false,
                        "time limit: its output %s could not be opened for %g s (TaskTimeout=)",
                        a->output->path, (double) a->spec->timeout_usec / USEC_PER_SEC);
                return;
        }
        where = a->gasp ? gasp_where(a->gasp, a->spec) : NULL;
        attempt_fail(a, false,
                     "time limit: no input read, no output written and no status told for %g s "
                     "(TaskTimeout=)%s%s",
                     (double) a->spec->timeout_usec / USEC_PER_SEC, where ? ", " : "",
                     where ? where : "");
}

static int begin_patience(Attempt *a)
{
        int r = 0;

        if (a->spec->timeout_usec == 0)
                return 0;
        if (!a->patience)
                r = loop_timer_new(a->manager->loop, on_patience_over, a, &a->patience);
        if (r < 0)
                return r;
        a->activity = 0;
        a->alive_usec = loop_now_usec(a->manager->loop);
        arm_patience(a, a->spec->timeout_usec);
        return 0;
}

static void on_progress(Attempt *a, const Mapreduced__Task__V1__Progress *p)
{
        a->read_bytes = p->bytes_read;
        if (p->activity != a->activity) {
                a->activity = p->activity;
                a->alive_usec = loop_now_usec(a->manager->loop);
        }
        if (*p->status) {
                g_free(a->status);
                a->status = g_strdup(p->status);
        }
        attempt_tell_progress(a, false);
}

static void on_message(const Mapreduced__Task__V1__FromTask *m, void *userdata)
{
        Attempt *a = userdata;

        switch (m->kind_case) {
        case MAPREDUCED__TASK__V1__FROM_TASK__KIND_NEED_INPUT:
                send_input(a);
                break;
        case MAPREDUCED__TASK__V1__FROM_TASK__KIND_PROGRESS:
                on_progress(a, m->progress);
                break;
        case MAPREDUCED__TASK__V1__FROM_TASK__KIND_SKIPPED:
                on_skipped(a, m->skipped);
                break;
        case MAPREDUCED__TASK__V1__FROM_TASK__KIND_DONE:
                on_task_done(a, m->done);
                break;
        default:
                attempt_fail(a, false, "mr-task sent a message that is none");
        }
}

/* @how it ended; "memory limit: …" when it was that. Caller frees. */
static char *last_words(const Attempt *a, const char *how)
{
        uint64_t bytes = a->gasp ? gasp_over_limit_bytes(a->gasp) : 0;
        g_autofree char *has = NULL, *may = NULL;

        if (bytes == 0)
                return g_strdup_printf("mr-task %s", how);
        has = format_size(bytes);
        may = format_size(a->spec->memory_limit_bytes);
        return g_strdup_printf(
                "memory limit: the plugin's process uses %s, more than MemoryLimit=%s "
                "beside its buffers",
                has, may);
}

static void on_lost(const char *how, const char *cause, void *userdata)
{
        Attempt *a = userdata;
        g_autofree char *where = a->gasp ? gasp_where(a->gasp, a->spec) : NULL;
        g_autofree char *what = last_words(a, how);
        g_autofree char *sentence =
                g_strdup_printf("%s%s%s", what, where ? " " : "", where ? where : "");

        a->cause = a->gasp && gasp_over_limit_bytes(a->gasp) > 0 ? CAUSE_MEMORY : cause;
        if (!run_again(a, how, sentence))
                attempt_fail(a, false, "%s", sentence);
}

static void on_unavailable(int error, void *userdata)
{
        Attempt *a = userdata;
        g_autofree char *sentence = g_strdup_printf("worker %s: cannot start mr-task: %s",
                                                    a->manager->conf.name, g_strerror(-error));

        attempt_end(a, OUTCOME(REJECTED), sentence);
}

/* Where the output is to be; NULL: in the spool. */
static OutputFile *output_of(const Attempt *a)
{
        const TaskSpec *s = a->spec;
        g_autofree char *path = NULL, *name = NULL;

        if (!attempt_makes_part(a) && *s->intermediate_dir) {
                path = stable_output_path(s->intermediate_dir, s->task, s->attempt, true);
                name = stable_output_path(s->intermediate_dir, s->task, s->attempt, false);
                return output_file_new(NULL, path, name);
        }
        if (!attempt_makes_part(a) || !*s->output_dir)
                return NULL;
        path = g_build_filename(s->output_dir, s->part_name, NULL);
        return output_file_new(s->output_dir, path, NULL);
}

static int open_in_spool(Attempt *a)
{
        const TaskSpec *s = a->spec;

        if (a->output)
                return 0;
        if (a->out_fd >= 0) /* the second run after a bad segment or record */
                return ftruncate(a->out_fd, 0) < 0 || lseek(a->out_fd, 0, SEEK_SET) < 0 ? -errno
                                                                                        : 0;
        if (!attempt_makes_part(a))
                return spool_output_create(a->manager->spool, s->job_id, s->task, s->attempt,
                                           &a->out_fd);
        return spool_scratch_make(a->manager->spool, &a->out_fd);
}

static int prepare_files(Attempt *a)
{
        int r;

        r = open_in_spool(a);
        if (r < 0) {
                attempt_fail_disk(a, r, "cannot make its output");
                return r;
        }
        r = spool_scratch_make(a->manager->spool, &a->scratch_fd);
        if (r >= 0 && a->work_fd < 0)
                r = job_work_make(a->job, a->work_name, a->spec->program, &a->work_fd);
        if (r < 0)
                attempt_fail_disk(a, r, "cannot prepare its working directory");
        return r;
}

/* A command has a stderr of its own, and built-in programs do not crash. */
static int begin_gasp(Attempt *a, Mapreduced__Task__V1__AttemptStart *start)
{
        if (!g_str_has_suffix(a->spec->program->app, ".so"))
                return 0;
        if (!a->gasp)
                a->gasp = gasp_new(a->manager->loop, a->spec->skip_records);
        return a->gasp ? gasp_begin(a->gasp, start) : -ENOMEM;
}

/* In a slot, with its output open. */
static void run(Attempt *a)
{
        Mapreduced__Task__V1__AttemptStart start = MAPREDUCED__TASK__V1__ATTEMPT_START__INIT;
        Mapreduced__Task__V1__ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        const TaskSpec *s = a->spec;
        int fds[5];
        size_t fd_count = 3;

        if (prepare_files(a) < 0)
                return;
        if (a->skipped) /* of a run before, over bad segments or records */
                g_ptr_array_set_size(a->skipped, 0);
        a->skipped_bytes = 0;
        a->next = 0;
        a->last_is_sent = false;
        a->read_bytes = 0;

        start.kind = s->kind;
        start.job_id = s->job_id;
        start.task = s->task;
        start.attempt = s->attempt;
        start.program = s->program;
        start.partitions = s->partitions;
        start.memory_bytes = s->memory_bytes ? s->memory_bytes : a->manager->conf.task_memory_bytes;
        start.sort_output = *s->program->app ? s->sort_plugin_output : s->sort_output;
        start.maps = s->maps;
        start.job_name = s->job_name;
        start.memory_limit_bytes = s->memory_limit_bytes;
        start.skip_records = s->skip_records;
        m.kind_case = MAPREDUCED__TASK__V1__TO_TASK__KIND_START;
        m.start = &start;
        fds[0] = a->out_fd;
        fds[1] = a->scratch_fd;
        fds[2] = a->work_fd;
        if (begin_gasp(a, &start) < 0) {
                attempt_fail(a, false, "cannot make the pipe for its stderr");
                return;
        }
        if (a->gasp) {
                gasp_fds(a->gasp, fds + fd_count);
                fd_count += 2;
        }
        if (send_to_task(a, &m, fds, fd_count) >= 0 && a->gasp)
                gasp_sent(a->gasp);
}

static void on_output_opened(int fd, void *userdata)
{
        Attempt *a = userdata;
        g_autofree char *what = NULL;

        a->output_work = NULL;
        if (fd >= 0) {
                a->out_fd = fd;
                run(a);
        } else if (fd == -ENOENT && !attempt_makes_part(a)) {
                attempt_fail(a, false,
                             "worker %s does not see %s, which the master has made: "
                             "Intermediate=stable: needs a directory that the master and all "
                             "workers share",
                             a->manager->conf.name, a->spec->intermediate_dir);
        } else {
                what = g_strdup_printf("cannot make its output %s", a->output->path);
                attempt_fail_disk(a, fd, what);
        }
}

static void on_granted(void *userdata)
{
        Attempt *a = userdata;

        attempt_set_phase(a, PHASE_RUNNING);
        if (begin_patience(a) < 0) {
                attempt_fail(a, false, "cannot make a timer for TaskTimeout=");
                return;
        }
        if (!a->output)
                a->output = output_of(a);
        if (!a->output)
                run(a);
        else
                a->output_work = output_file_open(a->manager->threads, a->spec->job_id, a->output,
                                                  TAKE_FD(a->out_fd), on_output_opened, a);
}

static void run_when_granted(Attempt *a)
{
        static const TaskSlotHandlers handlers = {
                .on_granted = on_granted,
                .on_message = on_message,
                .on_lost = on_lost,
                .on_unavailable = on_unavailable,
        };

        a->slot = task_slot_request(a->manager->pool, a->spec->job_id, &handlers, a);
        attempt_set_phase(a, PHASE_WAITING);
}

/* ---- Before mr-task: shuffle and shipped files ---- */

static void on_segment(void *userdata)
{
        attempt_tell_progress(userdata, false);
}

static void on_complete(void *userdata)
{
        shuffle_or_wait(userdata);
}

static void on_shuffle_failed(const char *sentence, const char *cause, void *userdata)
{
        Attempt *a = userdata;
        g_autofree char *full = g_strdup_printf("worker %s: %s", a->manager->conf.name, sentence);

        a->cause = cause;
        attempt_end(a, OUTCOME(REJECTED), full);
}

static void shuffle_or_wait(Attempt *a)
{
        if (!shuffle_is_complete(a->shuffle)) {
                attempt_set_phase(a, PHASE_SHUFFLE);
                return;
        }
        a->total_bytes = shuffle_have_bytes(a->shuffle);
        run_when_granted(a);
}

static void begin_reduce(Attempt *a)
{
        static const ShuffleHandlers handlers = {
                .on_progress = on_segment,
                .on_complete = on_complete,
                .on_failed = on_shuffle_failed,
        };
        const TaskSpec *s = a->spec;
        int r;

        r = shuffle_new(a->job, s->maps, s->task, s->partitions, s->intermediate_dir, &handlers, a,
                        &a->shuffle);
        if (r == -E2BIG)
                attempt_end(a, OUTCOME(REJECTED), "this worker waits for too many map outputs");
        else if (r < 0)
                attempt_fail_disk(a, r, "cannot make a file for its input");
        else
                shuffle_or_wait(a);
}

static void begin(Attempt *a)
{
        if (!attempt_is_map(a)) {
                begin_reduce(a);
                return;
        }
        for (size_t i = 0; i < a->spec->n_pieces; i++)
                a->total_bytes += a->spec->pieces[i]->length;
        run_when_granted(a);
}

static void on_files(int error, const char *sentence, void *userdata)
{
        Attempt *a = userdata;

        a->files_wait = job_files_wait_free(a->files_wait);
        a->cause = cause_of_errno(error);
        if (error == 0)
                begin(a);
        else
                attempt_fail(a, error == -ENOENT, "%s", sentence);
}

/* An output of the same lineage is here: a link, and that was all. */
static bool reuse(Attempt *a)
{
        const TaskSpec *s = a->spec;
        TaskResult *result;
        int r;

        if (!attempt_can_reuse(a->manager, s))
                return false;
        r = cache_take(a->manager->cache, s->lineage, s->job_id, s->task, s->attempt, &result);
        if (r < 0) {
                log_debug_errno(r, "Failed to use the output %s again, running the map: %m",
                                s->lineage);
                return false;
        }
        a->committed = true;
        attempt_finish(a, result);
        mapreduced__v1__task_result__free_unpacked(result, NULL);
        return true;
}

void attempt_begin(Attempt *a)
{
        if (reuse(a))
                return;
        if (job_files_request(a->job->files, a->spec->program, on_files, a, &a->files_wait) == 1)
                begin(a);
}

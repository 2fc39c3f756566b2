/*
 * Attempt — the way from what mr-task wrote to what the master counts.
 *
 * A map's output gets its name in the spool, and is not waited for until it is on the disk: what a
 * power cut leaves of it has checksums, and what does not fit them is a lost output, which runs
 * again. (On ext4 a sync costs 5 to 10 ms, of a slot, for each map.) A part (a reduce's, or a map's
 * where there is no reduce) is left, synced, where the master will rename it from, or is sent back
 * a message at a time, as fast as the call takes it.
 */
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-attempt-impl.h"
#include "mr-workerd/worker-release.h"

/* Of bytes in one TaskUpdate.output. */
#define OUTPUT_BYTES KIB(256)

void attempt_stream_on(Attempt *a)
{
        g_autofree uint8_t *buffer = g_malloc(OUTPUT_BYTES);
        TaskUpdate u = MAPREDUCED__V1__TASK_UPDATE__INIT;

        if (!a->call)
                return; /* detached: from the beginning, to the master that calls again */
        while (!a->congested && a->streamed_bytes < a->output_bytes) {
                size_t n = (size_t) MIN(OUTPUT_BYTES, a->output_bytes - a->streamed_bytes);
                ssize_t got = pread_full(a->out_fd, buffer, n, a->streamed_bytes);

                if (got != (ssize_t) n) {
                        attempt_fail_disk(a, got < 0 ? (int) got : -EIO,
                                          "cannot read its result back");
                        return;
                }
                u.kind_case = MAPREDUCED__V1__TASK_UPDATE__KIND_OUTPUT;
                u.output = (ProtobufCBinaryData){.len = n, .data = buffer};
                a->congested = evgrpc_server_call_send(a->call, &u.base) == 0;
                a->streamed_bytes += n;
        }
        if (a->streamed_bytes == a->output_bytes)
                attempt_finish_done(a, OUTCOME(SUCCEEDED));
}

static void committed(Attempt *a)
{
        a->committed = true;
        attempt_finish_done(a, OUTCOME(SUCCEEDED));
}

static void on_finished(int error, uint64_t size_bytes, void *userdata)
{
        Attempt *a = userdata;

        a->output_work = NULL;
        a->output_bytes = size_bytes;
        if (error < 0) {
                attempt_fail_disk(a, error, "cannot write its output to disk");
                return;
        }
        if (!attempt_is_map(a))
                release_inputs(a);
        committed(a);
}

static void commit_in_spool(Attempt *a)
{
        const TaskSpec *s = a->spec;
        int r;

        r = spool_output_commit(a->manager->spool, s->job_id, s->task, s->attempt, a->output_bytes);
        if (r < 0)
                attempt_fail_disk(a, r, "cannot keep its output");
        else
                committed(a);
}

void attempt_commit(Attempt *a)
{
        Manager *m = a->manager;
        struct stat st;

        attempt_set_phase(a, PHASE_SYNCING);
        if (a->output) {
                a->output_work =
                        output_file_finish(m->threads, a->spec->job_id, a->output,
                                           TAKE_FD(a->out_fd), !m->conf.ephemeral, on_finished, a);
                return;
        }
        if (fstat(a->out_fd, &st) < 0) {
                attempt_fail_disk(a, -errno, "cannot read its output");
                return;
        }
        a->output_bytes = (uint64_t) st.st_size;
        if (attempt_makes_part(a)) {
                attempt_set_phase(a, PHASE_STREAMING);
                attempt_stream_on(a);
        } else {
                commit_in_spool(a);
        }
}

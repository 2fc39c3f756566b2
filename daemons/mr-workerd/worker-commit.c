/*
 * Attempt — the way from what mr-task wrote to what the master counts.
 *
 * A map's output gets its name in the spool; a part (a reduce's, or a map's where there is no reduce) is left, synced, where the master will
 * rename it from, or is sent back a message at a time, as fast as the call takes it.
 */
#include <sys/stat.h>

#include "base/fs.h"
#include "mr-workerd/worker-attempt-impl.h"

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

static void commit(Attempt *a)
{
        const TaskSpec *s = a->spec;
        int r;

        if (attempt_is_map(a) && a->stable_path) {
                g_autofree char *path =
                        stable_output_path(s->intermediate_dir, s->task, s->attempt, false);

                if (rename(a->stable_path, path) < 0) {
                        attempt_fail_disk(a, -errno, "cannot keep its output");
                        return;
                }
        } else if (!attempt_makes_part(a)) {
                r = spool_output_commit(a->manager->spool, s->job_id, s->task, s->attempt,
                                        a->output_bytes);
                if (r < 0) {
                        attempt_fail_disk(a, r, "cannot keep its output");
                        return;
                }
        } else if (!a->part_path) {
                attempt_set_phase(a, PHASE_STREAMING);
                attempt_stream_on(a);
                return;
        }
        a->committed = true;
        attempt_finish_done(a, OUTCOME(SUCCEEDED));
}

static void on_synced(int error, void *userdata)
{
        Attempt *a = userdata;

        a->sync = NULL;
        if (error < 0)
                attempt_fail_disk(a, error, "cannot write its output to disk");
        else
                commit(a);
}

void attempt_commit(Attempt *a)
{
        struct stat st;
        int r;

        if (fstat(a->out_fd, &st) < 0) {
                attempt_fail_disk(a, -errno, "cannot read its output");
                return;
        }
        a->output_bytes = (uint64_t) st.st_size;
        attempt_set_phase(a, PHASE_SYNCING);
        if (a->manager->conf.ephemeral || (attempt_makes_part(a) && !a->part_path)) {
                commit(a);
                return;
        }
        r = disk_sync(a->manager->disk, a->out_fd, on_synced, a, &a->sync);
        if (r < 0)
                attempt_fail_disk(a, r, "cannot write its output to disk");
}

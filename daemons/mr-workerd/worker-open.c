/*
 * Opening inputs — see worker-open.h.
 */
#include "base/fs.h"
#include "mr-workerd/worker-open.h"

typedef struct OpenRequest {
        size_t count, opened;
        Mapreduced__V1__Piece *pieces; /* with paths of their own */
        int fds[PACKET_MAX_FDS];
        int error;
        bool permanent;
        Error sentence;
        OpenDone done;
} OpenRequest;

static void request_free(void *data)
{
        OpenRequest *r = data;

        while (r->opened > 0)
                safe_close(r->fds[--r->opened]);
        for (size_t i = 0; i < r->count; i++)
                g_free(r->pieces[i].path);
        g_free(r->pieces);
        error_done(&r->sentence);
        g_free(r);
}

static void open_all(void *data)
{
        OpenRequest *r = data;

        while (r->opened < r->count && r->error >= 0) {
                r->error = input_open_piece(&r->pieces[r->opened], &r->fds[r->opened],
                                            &r->permanent, &r->sentence);
                if (r->error >= 0)
                        r->opened++;
        }
}

static void opened(void *data, void *userdata)
{
        OpenRequest *r = data;
        size_t count = r->opened;

        r->opened = 0; /* the callee's */
        r->done(r->fds, count, r->error, r->permanent,
                r->error < 0 ? error_message(&r->sentence, r->error) : "", userdata);
}

ThreadWork *open_pieces_start(Threads *t, const char *job, Mapreduced__V1__Piece *const *pieces,
                              size_t count, OpenDone done, void *userdata)
{
        static const ThreadWorkOps ops = {.work = open_all, .done = opened, .free = request_free};
        OpenRequest *r = g_new0(OpenRequest, 1);

        assert(count <= PACKET_MAX_FDS);

        *r = (OpenRequest){
                .count = count,
                .pieces = g_new(Mapreduced__V1__Piece, MAX(count, 1)),
                .done = done,
        };
        for (size_t i = 0; i < count; i++) {
                r->pieces[i] = *pieces[i];
                r->pieces[i].path = g_strdup(pieces[i]->path);
        }
        return threads_run(t, job, &ops, r, userdata);
}

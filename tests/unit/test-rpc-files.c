/*
 * Ranges of files in messages: every byte arrives by whichever way it goes, and a file that does
 * not hold what was promised never becomes an OK.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "rpc-raw.h"
#include "rpc/file.h"
#include "rpc/output.h"

#define FILE_BYTES ((size_t) 3 << 20)
#define BODY 1u /* the field of Answer and Order */

typedef struct Files {
        Fixture f;
        uint8_t *data; /* what the file holds */
        int fd;        /* of our own */
        EvgrpcFile *file;
        int file_fd; /* in it */
        /* What List sends: count ranges of size, one behind the other. */
        uint64_t offset;
        size_t size;
        unsigned count, sent;
        int send_error;
        unsigned cancelled;
        char *server_error;
        /* What came. */
        unsigned messages;
        uint64_t bytes;
} Files;

static EvgrpcFileRange range_of(const Files *x, unsigned i)
{
        return (EvgrpcFileRange){
                .file = x->file, .offset = x->offset + i * x->size, .size = x->size, .field = BODY};
}

/* ---- The service
 * -------------------------------------------------------------------------------- */

static void list_go_on(EvgrpcServerCall *call, void *userdata)
{
        Files *x = userdata;

        while (x->sent < x->count) {
                Answer a = EVGRPC__TEST__ANSWER__INIT;
                EvgrpcFileRange range = range_of(x, x->sent);
                int r;

                a.number = x->sent;
                r = evgrpc_server_call_send_file(call, &a.base, &range);
                if (r < 0) {
                        x->send_error = r;
                        evgrpc_server_call_finish(call, EVGRPC_NOT_FOUND, "no range");
                        return;
                }
                x->sent++;
                if (r == 0 && x->sent < x->count)
                        return;
        }
        evgrpc_server_call_finish(call, EVGRPC_OK, NULL);
}

static void list_cancelled(EvgrpcServerCall *call, void *userdata)
{
        ((Files *) userdata)->cancelled++;
}

static void list(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_writable = list_go_on,
                                                          .on_cancelled = list_cancelled};

        evgrpc_server_call_set_handlers(call, &handlers, userdata);
        list_go_on(call, userdata);
}

static void collect_message(EvgrpcServerCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Order *order = (const Order *) message;
        Files *x = userdata;

        g_assert_cmpuint(order->body.len, ==, x->size);
        g_assert_cmpint(
                memcmp(order->body.data, x->data + x->offset + x->messages * x->size, x->size), ==,
                0);
        x->messages++;
        x->bytes += order->body.len;
}

static void collect_end(EvgrpcServerCall *call, void *userdata)
{
        Answer a = EVGRPC__TEST__ANSWER__INIT;

        a.sum = ((Files *) userdata)->bytes;
        evgrpc_server_call_reply(call, &a.base);
}

static void collect(EvgrpcServerCall *call, const ProtobufCMessage *request, void *userdata)
{
        static const EvgrpcServerCallHandlers handlers = {.on_message = collect_message,
                                                          .on_half_close = collect_end,
                                                          .on_cancelled = list_cancelled};

        evgrpc_server_call_set_handlers(call, &handlers, userdata);
}

static const EvgrpcMethod methods[] = {
        {.name = "List", .handler = list, .server_streaming = true},
        {.name = "Collect", .handler = collect, .client_streaming = true},
        {},
};

static void on_error(EvgrpcServer *server, const char *peer, const char *error, void *userdata)
{
        Files *x = userdata;

        g_free(x->server_error);
        x->server_error = g_strdup(error);
}

/* ---- The fixture
 * -------------------------------------------------------------------------------- */

static int file_make(const uint8_t *data, size_t size)
{
        g_autofree char *path = g_build_filename(g_get_tmp_dir(), "mr-test-files-XXXXXX", NULL);
        int fd = g_mkstemp(path);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(g_unlink(path), ==, 0); /* sent all the same */
        g_assert_cmpint(write(fd, data, size), ==, size);
        return fd;
}

/* @window: of both ends; above 1 MiB they take large frames, and sendfile() is used without TLS. */
static void files_begin(Files *x, size_t window)
{
        EvgrpcServerOptions so = {.window_bytes = window,
                                  .max_message_bytes = 16 << 20,
                                  .tls = FIXTURE_TLS,
                                  .on_error = on_error,
                                  .userdata = x};
        EvgrpcChannelOptions co = FIXTURE_CHANNEL;
        Fixture *f = &x->f;

        *x = (Files){.data = g_malloc(FILE_BYTES)};
        for (size_t i = 0; i < FILE_BYTES; i++)
                x->data[i] = (uint8_t) (i * 2654435761u >> 13);
        x->fd = file_make(x->data, FILE_BYTES);
        x->file_fd = fcntl(x->fd, F_DUPFD_CLOEXEC, 3);
        g_assert_cmpint(evgrpc_file_new(x->file_fd, &x->file), ==, 0);
        f->base = event_base_new();
        co.window_bytes = window;
        co.max_message_bytes = 16 << 20;
        g_assert_cmpint(evgrpc_server_new(f->base, &so, &f->server), ==, 0);
        g_assert_cmpint(evgrpc_server_add_service(f->server, ECHO, methods, x), ==, 0);
        g_assert_cmpint(evgrpc_server_listen(f->server, "127.0.0.1:0", &f->address), ==, 0);
        g_assert_cmpint(evgrpc_channel_new(f->base, f->address, &co, &f->channel), ==, 0);
}

static void files_end(Files *x)
{
        x->file = evgrpc_file_unref(x->file);
        evgrpc_channel_free(x->f.channel);
        evgrpc_server_free(x->f.server);
        event_base_free(x->f.base);
        free(x->f.address);
        g_assert_cmpint(fcntl(x->file_fd, F_GETFD), ==, -1); /* the last reference closed it */
        close(x->fd);
        g_free(x->server_error);
        g_free(x->data);
}

static void on_answer(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Answer *a = (const Answer *) message;
        Files *x = userdata;

        g_assert_cmpuint(a->number, ==, x->messages);
        g_assert_cmpuint(a->body.len, ==, x->size);
        g_assert_true(x->size == 0 ||
                      memcmp(a->body.data, x->data + x->offset + x->messages * x->size, x->size) ==
                              0);
        x->messages++;
        x->bytes += a->body.len;
}

static EvgrpcCall *start_list(Files *x)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_answer};
        Order order = ORDER_INIT;
        EvgrpcCall *call;

        x->messages = x->sent = 0;
        x->bytes = 0;
        g_assert_cmpint(evgrpc_call_start(x->f.channel, ECHO, "List", &order.base, NULL, &handlers,
                                          x, &call),
                        ==, 0);
        return call;
}

/* ---- Whole
 * -------------------------------------------------------------------------------------- */

static void check_list(Files *x, uint64_t offset, size_t size, unsigned count)
{
        EvgrpcCall *call;

        x->offset = offset;
        x->size = size;
        x->count = count;
        call = start_list(x);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(x->messages, ==, count);
        g_assert_cmpuint(x->bytes, ==, count * size);
        if (size > 0) { /* the last one is kept */
                const Answer *last = (const Answer *) evgrpc_call_reply(call);

                g_assert_cmpmem(last->body.data, last->body.len,
                                x->data + offset + (count - 1) * size, size);
        }
        g_assert_cmpuint(x->cancelled, ==, 0);
        evgrpc_call_unref(call);
}

static void check_ranges(size_t window)
{
        Files x;

        files_begin(&x, window);
        check_list(&x, 0, FILE_BYTES, 1);
        check_list(&x, 1, FILE_BYTES - 1, 1);
        check_list(&x, 0, 512 << 10, 6);
        check_list(&x, 77, 1, 20);
        check_list(&x, 4095, 3000, 1000);
        check_list(&x, 12345, 300007, 9);
        check_list(&x, FILE_BYTES, 0, 3); /* nothing, at the end */
        files_end(&x);
}

static void test_ranges_arrive_whole(void)
{
        check_ranges(0);
}

static void test_ranges_arrive_whole_in_large_frames(void)
{
        check_ranges(16 << 20);
}

static void check_collect(size_t window)
{
        EvgrpcCall *call;
        Files x;

        files_begin(&x, window);
        x.offset = 5;
        x.size = 400009;
        g_assert_cmpint(
                evgrpc_call_start(x.f.channel, ECHO, "Collect", NULL, NULL, NULL, NULL, &call), ==,
                0);
        for (unsigned i = 0; i < 7; i++) {
                EvgrpcFileRange range = range_of(&x, i);
                Order order = ORDER_INIT;

                g_assert_cmpint(evgrpc_call_send_file(call, &order.base, &range), >=, 0);
        }
        g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_OK);
        g_assert_cmpuint(((const Answer *) evgrpc_call_reply(call))->sum, ==, 7 * x.size);
        evgrpc_call_unref(call);
        files_end(&x);
}

static void test_client_sends_ranges_as_well(void)
{
        check_collect(0);
        check_collect(16 << 20);
}

/* ---- What is refused at once
 * -------------------------------------------------------------------- */

static void test_range_that_is_not_there_is_refused(void)
{
        EvgrpcFileRange range;
        Order order = ORDER_INIT;
        EvgrpcFile *none = NULL;
        EvgrpcCall *call;
        int pipes[2];
        Files x;

        files_begin(&x, 0);
        x.offset = 1;
        x.size = FILE_BYTES;
        x.count = 1;
        call = start_list(&x);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_NOT_FOUND); /* the call went on */
        g_assert_cmpint(x.send_error, ==, -ENODATA);
        evgrpc_call_unref(call);

        x.size = 10;
        g_assert_cmpint(
                evgrpc_call_start(x.f.channel, ECHO, "Collect", NULL, NULL, NULL, NULL, &call), ==,
                0);
        range = range_of(&x, 0);
        range.offset = UINT64_MAX - 1;
        g_assert_cmpint(evgrpc_call_send_file(call, &order.base, &range), ==, -ENODATA);
        range = range_of(&x, 0);
        range.field = 2; /* reply_size, a number */
        g_assert_cmpint(evgrpc_call_send_file(call, &order.base, &range), ==, -EINVAL);
        range.field = 99;
        g_assert_cmpint(evgrpc_call_send_file(call, &order.base, &range), ==, -EINVAL);
        evgrpc_call_cancel(call);
        (void) evgrpc_call_wait(call);
        range = range_of(&x, 0);
        g_assert_cmpint(evgrpc_call_send_file(call, &order.base, &range), ==, -EPIPE);
        evgrpc_call_unref(call);

        g_assert_cmpint(pipe(pipes), ==, 0);
        g_assert_cmpint(evgrpc_file_new(pipes[0], &none), ==, -EINVAL);
        close(pipes[0]); /* still ours */
        g_assert_cmpint(evgrpc_file_new(pipes[0], &none), ==, -EBADF);
        g_assert_null(none);
        close(pipes[1]);
        files_end(&x);
}

/* ---- A file that shrinks
 * ------------------------------------------------------------------------ */

/* While its ranges wait for a reader that has paused. */
static void check_shrinks(size_t window, bool finished)
{
        const EvgrpcStatus *status;
        EvgrpcCall *call;
        Files x;

        files_begin(&x, window);
        x.size = 512 << 10;
        /* A handler that has sent all has said OK already; one that has more to send hears of
         * it. */
        x.count = finished ? 2 : 6;
        call = start_list(&x);
        evgrpc_call_pause(call);
        RUN_UNTIL(&x.f, x.sent > 1);
        g_assert_cmpint(ftruncate(x.fd, 600 << 10), ==, 0);
        x.data = g_realloc(x.data, 600 << 10);
        evgrpc_call_resume(call);
        status = evgrpc_call_wait(call);
        g_assert_cmpint(status->code, ==, EVGRPC_DATA_LOSS);
        g_assert_cmpstr(status->message, ==, "The file became shorter while it was sent");
        g_assert_cmpuint(x.messages, <=, 1);
        g_assert_cmpuint(x.cancelled, ==, finished ? 0 : 1);
        evgrpc_call_unref(call);
        x.cancelled = 0;
        check_list(&x, 3, 1000, 5); /* the connection goes on */
        files_end(&x);
}

static void test_file_that_shrinks_is_data_loss(void)
{
        check_shrinks(65535, true);
        check_shrinks(65535, false);
}

static void check_client_shrinks(size_t window)
{
        EvgrpcCall *call;
        Files x;

        files_begin(&x, window);
        x.size = FILE_BYTES;
        g_assert_cmpint(
                evgrpc_call_start(x.f.channel, ECHO, "Collect", NULL, NULL, NULL, NULL, &call), ==,
                0);
        g_assert_cmpint(
                evgrpc_call_send_file(
                        call, &((Order) ORDER_INIT).base,
                        &(EvgrpcFileRange){.file = x.file, .size = FILE_BYTES, .field = BODY}),
                ==, 0);
        g_assert_cmpint(evgrpc_call_close_send(call), ==, 0);
        g_assert_cmpint(ftruncate(x.fd, 1000), ==, 0);
        g_assert_cmpint(evgrpc_call_wait(call)->code, ==, EVGRPC_DATA_LOSS);
        evgrpc_call_unref(call);
        RUN_UNTIL(&x.f, x.cancelled == 1); /* the server heard of it, and got no message */
        g_assert_cmpuint(x.messages, ==, 0);
        files_end(&x);
}

static void test_file_of_a_client_that_shrinks_is_data_loss(void)
{
        check_client_shrinks(0);
        check_client_shrinks(16 << 20);
}

#ifndef FIXTURE_TLS_SET
/* In the middle of a frame: the peer has windows for all of it and takes large frames, but does not
 * read. */
static void test_file_that_shrinks_within_a_frame_ends_the_connection(void)
{
        static const uint8_t settings[] = {0, 5, 0, 0x40, 0, 0,  /* MAX_FRAME_SIZE 4 MiB */
                                           0, 4, 1, 0,    0, 0}; /* INITIAL_WINDOW_SIZE 16 MiB */
        Order order = ORDER_INIT;
        const size_t size = (size_t) 14 << 20; /* more than a socket takes, less than the window */
        int small = 65536, unread = 0;
        Files x;
        Raw p;

        files_begin(&x, 16 << 20);
        g_assert_cmpint(ftruncate(x.fd, (off_t) size), ==, 0);
        x.size = size;
        x.count = 1;
        raw_begin(&p, &x.f, settings, sizeof(settings));
        g_assert_cmpint(setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), ==, 0);
        raw_frame(&p, RAW_WINDOW, 0, 0, "\1\0\0\0", 4);
        raw_call(&p, 1, "List", &order);
        g_assert_cmpint(send(p.fd, p.out->data, p.out->len, MSG_NOSIGNAL), ==, p.out->len);
        g_byte_array_set_size(p.out, 0);
        /* A part of a frame is there; the socket does not take all of it. */
        RUN_UNTIL(&x.f, ioctl(p.fd, FIONREAD, &unread) == 0 && unread > 10000);
        g_assert_cmpint(ftruncate(x.fd, 1000), ==, 0);
        RUN_UNTIL(&x.f, (raw_turn(&p), p.closed));
        g_assert_cmpstr(x.server_error, ==, "The file became shorter while it was sent");
        g_assert_cmpuint(raw_count(&p, RAW_HEADERS, 1), ==, 1); /* no trailers, no status */
        g_assert_cmpuint(p.got->len, <, size);
        raw_end(&p);
        files_end(&x);
}
#endif

/* A program that leaves SIGPIPE as it is lives on. */
static void test_peer_that_is_gone_raises_no_signal(void)
{
        void (*before)(int) = signal(SIGPIPE, SIG_DFL);
        Order order = ORDER_INIT;
        uint8_t byte = 'x';
        RpcBlockPool pool = {};
        RpcOutput output;
        RpcQueue queue = {};
        EvgrpcFile *file;
        int ends[2], fd;
        sigset_t pending, blocked;

        fd = file_make(&byte, 1);
        g_assert_cmpint(evgrpc_file_new(fd, &file), ==, 0);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), ==, 0);
        close(ends[1]);
        rpc_output_init(&output, &pool);
        g_assert_cmpint(rpc_queue_append_file(&queue, &pool, &order.base, BODY, file, 0, 1), ==, 0);
        g_assert_cmpint(rpc_output_take(&output, &queue, queue.bytes), ==, 0);
        rpc_output_forget(&output, output.bytes - 1); /* what is left is the file's */
        g_assert_cmpint(rpc_output_send(&output, ends[0]), ==, -EPIPE);
        g_assert_cmpint(sigpending(&pending), ==, 0);
        g_assert_false(sigismember(&pending, SIGPIPE));
        g_assert_cmpint(pthread_sigmask(SIG_BLOCK, NULL, &blocked), ==, 0);
        g_assert_false(sigismember(&blocked, SIGPIPE));
        close(ends[0]);
        rpc_output_done(&output);
        rpc_block_pool_done(&pool);
        evgrpc_file_unref(file);
        (void) signal(SIGPIPE, before);
}

#define ADD(name, function) g_test_add_func("/rpc/files/" name, function)

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        ADD("whole", test_ranges_arrive_whole);
        ADD("whole-large-frames", test_ranges_arrive_whole_in_large_frames);
        ADD("client", test_client_sends_ranges_as_well);
        ADD("refused", test_range_that_is_not_there_is_refused);
        ADD("shrinks", test_file_that_shrinks_is_data_loss);
        ADD("client-shrinks", test_file_of_a_client_that_shrinks_is_data_loss);
#ifndef FIXTURE_TLS_SET
        ADD("shrinks-within-a-frame", test_file_that_shrinks_within_a_frame_ends_the_connection);
#endif
        ADD("no-signal", test_peer_that_is_gone_raises_no_signal);
        return g_test_run();
}

/*
 * Files.
 */
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/file.h"

int evgrpc_file_new(int fd, EvgrpcFile **ret)
{
        EvgrpcFile *f;
        struct stat st;

        assert(ret);

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        f = malloc(sizeof(*f));
        if (!f)
                return -ENOMEM;
        *f = (EvgrpcFile){.refs = 1, .fd = fd, .size = (uint64_t) st.st_size};
        *ret = f;
        return 0;
}

EvgrpcFile *evgrpc_file_ref(EvgrpcFile *file)
{
        file->refs++;
        return file;
}

EvgrpcFile *evgrpc_file_unref(EvgrpcFile *file)
{
        if (file && --file->refs == 0) {
                (void) close(file->fd);
                free(file);
        }
        return NULL;
}

void rpc_file_explain(int error, char *ret, size_t room)
{
        if (error == -ENODATA)
                (void) snprintf(ret, room, "The file became shorter while it was sent");
        else
                (void) snprintf(ret, room, "Failed to read the file that is sent: %s",
                                strerror(-error));
}

int rpc_file_look(EvgrpcFile *f)
{
        struct stat st;

        if (fstat(f->fd, &st) < 0)
                return -errno;
        f->size = (uint64_t) st.st_size;
        return 0;
}

int rpc_file_check(EvgrpcFile *f, uint64_t offset, size_t size)
{
        int r = rpc_file_had(f, offset, size) ? 0 : rpc_file_look(f);

        return r < 0 ? r : rpc_file_had(f, offset, size) ? 0 : -ENODATA;
}

int rpc_file_read(const EvgrpcFile *f, uint64_t offset, uint8_t *buffer, size_t size)
{
        while (size > 0) {
                ssize_t n = pread(f->fd, buffer, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -ENODATA;
                buffer += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

void rpc_pipe_signal_block(RpcPipeSignal *s)
{
        sigset_t pipe_signal;

        if (s->blocked)
                return;
        (void) sigemptyset(&pipe_signal);
        (void) sigaddset(&pipe_signal, SIGPIPE);
        s->blocked = pthread_sigmask(SIG_BLOCK, &pipe_signal, &s->before) == 0;
}

void rpc_pipe_signal_restore(RpcPipeSignal *s, bool raised)
{
        sigset_t pipe_signal;

        if (!s->blocked)
                return;
        (void) sigemptyset(&pipe_signal);
        (void) sigaddset(&pipe_signal, SIGPIPE);
        if (raised)
                (void) sigtimedwait(&pipe_signal, NULL, &(struct timespec){});
        (void) pthread_sigmask(SIG_SETMASK, &s->before, NULL);
        s->blocked = false;
}

ssize_t rpc_file_send(const EvgrpcFile *f, uint64_t offset, size_t size, int socket)
{
        off_t at = (off_t) offset;
        ssize_t n;

        do
                n = sendfile(socket, f->fd, &at, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n == 0 ? -ENODATA : n;
}

/*
 * The yardstick for bulk: a file over TCP with sendfile, received into one buffer and forgotten.
 *
 *      plain server FILE                  prints "listening on 127.0.0.1:PORT"
 *      plain client 127.0.0.1:PORT BYTES  asks for BYTES of the file, over and over
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

#define RECEIVE_BYTES ((size_t) 256 * 1024)

static int send_all(int socket, int file, uint64_t left, uint64_t file_size)
{
        while (left > 0) {
                off_t at = 0;
                while (left > 0 && (uint64_t) at < file_size) {
                        ssize_t n =
                                sendfile(socket, file, &at, left < file_size ? left : file_size);
                        if (n <= 0)
                                return -1;
                        left -= (uint64_t) n < left ? (uint64_t) n : left;
                }
        }
        return 0;
}

static int run_server(const char *path)
{
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        struct pollfd polls[] = {{.fd = listener, .events = POLLIN},
                                 {.fd = STDIN_FILENO, .events = POLLIN}};
        struct stat st;

        if (file < 0 || fstat(file, &st) < 0 ||
            bind(listener, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(listener, 16) < 0 ||
            getsockname(listener, (struct sockaddr *) &address, &size) < 0) {
                fprintf(stderr, "plain: %s: %s\n", path, strerror(errno));
                return 1;
        }
        printf("listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
        fflush(stdout);
        while (poll(polls, 2, -1) > 0 && polls[1].revents == 0) {
                uint64_t bytes;
                int fd = accept(listener, NULL, NULL);
                if (fd < 0)
                        continue;
                if (recv(fd, &bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes))
                        (void) send_all(fd, file, bytes, (uint64_t) st.st_size);
                close(fd);
        }
        return 0;
}

static int run_client(const char *where, uint64_t bytes)
{
        const char *port = strrchr(where, ':');
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint8_t *buffer = malloc(RECEIVE_BYTES);
        uint64_t start = now_ns(), got = 0;
        ssize_t n = 0;

        address.sin_port = htons((uint16_t) strtoul(port ? port + 1 : "0", NULL, 10));
        if (!buffer || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            send(fd, &bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes)) {
                fprintf(stderr, "plain: %s: %s\n", where, strerror(errno));
                return 1;
        }
        while (got < bytes && (n = recv(fd, buffer, RECEIVE_BYTES, 0)) > 0)
                got += (uint64_t) n;
        printf("{\"bytes\": %" PRIu64 ", \"mb_per_s\": %.0f}\n", got,
               (double) got * 1e3 / (double) (now_ns() - start));
        free(buffer);
        return got < bytes;
}

int main(int argc, char *argv[])
{
        if (argc == 3 && strcmp(argv[1], "server") == 0)
                return run_server(argv[2]);
        if (argc == 4 && strcmp(argv[1], "client") == 0)
                return run_client(argv[2], (uint64_t) argument_number(argv, 3, 0));
        fprintf(stderr, "usage: plain server FILE | plain client ADDRESS BYTES\n");
        return 2;
}

/*
 * The program that test-module.c runs as a module: says what it was given.
 */
#include <fcntl.h>
#include <getopt.h>
#include <sys/prctl.h>

#include "base/fs.h"

int main(int argc, char *argv[])
{
        char name[16] = "", text[64] = "", masks[4096] = "";
        const char *blocked, *ignored;
        int fd;

        (void) prctl(PR_GET_NAME, name);
        (void) read_full(9, text, sizeof(text) - 1);
        fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        (void) read_full(fd, masks, sizeof(masks) - 1);
        blocked = strstr(masks, "SigBlk:");
        ignored = strstr(masks, "SigIgn:");
        (void) printf("%s %s %d %s %.16s %.16s %s %d\n", name, argv[1], argc, text, blocked + 8,
                      ignored + 8, getenv("TEST_MODULE"), fcntl(200, F_GETFD));
        return getopt(argc, argv, "x") == 'x' ? 3 : 4;
}

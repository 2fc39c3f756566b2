/*
 * Quick starts and ends — see quick.h.
 */
#include <malloc.h>
#include <sys/mman.h>

#include "platform/quick.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14; others say EINVAL, and fault */
#define MADV_POPULATE_WRITE 23
#endif

#define HEAP_MAX_BYTES (4 * 1024 * 1024)

/* Of the leak sanitizer, where it is linked: it looks at the end of main(), which end_process() does not reach. */
extern void __lsan_do_leak_check(void) __attribute__((weak));

void heap_prepare(size_t size_bytes)
{
        uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE), start;
        void *p;

        (void) mallopt(M_MMAP_THRESHOLD, HEAP_MAX_BYTES);
        (void) mallopt(M_TRIM_THRESHOLD, HEAP_MAX_BYTES);
        p = malloc(size_bytes);
        if (!p)
                return;
        start = ((uintptr_t) p + page - 1) / page * page;
        (void) madvise((void *) start, size_bytes / page * page, MADV_POPULATE_WRITE);
        free(p);
}

void end_process(int status)
{
        (void) fflush(NULL);
        if (__lsan_do_leak_check)
                __lsan_do_leak_check();
        _exit(status);
}

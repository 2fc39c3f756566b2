/*
 * Quick starts and ends — see quick.h.
 */
#include <malloc.h>
#include <sys/mman.h>

#include "platform/quick.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14; others say EINVAL, and fault */
#define MADV_POPULATE_WRITE 23
#endif

#define HEAP_MAX_BYTES (4 * 1024 * 1024) /* what is larger is rare */

/* Of the leak sanitizer, where it is linked: it looks at the end of main(), which end_process()
 * does not reach. */
extern void __lsan_do_leak_check(void) __attribute__((weak));

/* glibc maps what is larger than 128 KiB anew each time: a merge would clear a page for each 4 KiB
 * that it reads. */
void heap_keep(size_t first_bytes, size_t kept_bytes)
{
        uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE), begin, end;
        void *p;

        assert(first_bytes < HEAP_MAX_BYTES && first_bytes < kept_bytes);

        (void) mallopt(M_MMAP_THRESHOLD, HEAP_MAX_BYTES);
        (void) mallopt(M_TRIM_THRESHOLD, (int) kept_bytes);
        p = malloc(first_bytes);
        if (!p)
                return;
        begin = ((uintptr_t) p + page - 1) / page * page;
        end = ((uintptr_t) p + first_bytes) / page * page;
        (void) madvise((void *) begin, end - begin, MADV_POPULATE_WRITE);
        free(p);
}

void heap_forget(void)
{
        (void) malloc_trim(0);
}

void end_process(int status)
{
        (void) fflush(NULL);
        if (__lsan_do_leak_check)
                __lsan_do_leak_check();
        _exit(status);
}

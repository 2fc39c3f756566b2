/*
 * Ownership in the type — a variable that owns something says how it is given back.
 *
 * `_cleanup_(fooP)` runs fooP(&var) when the scope ends, on every path out of it;
 * TAKE_PTR()/TAKE_FD() hand the thing to someone else and leave nothing behind to free.
 * Same idea as systemd's macros of these names; written for this project.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <glib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))

#define TAKE_PTR(p)                                                                                \
        ({                                                                                         \
                typeof(p) *_pp = &(p), _taken = *_pp;                                              \
                *_pp = NULL;                                                                       \
                _taken;                                                                            \
        })

#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int *_fdp = &(fd), _taken_fd = *_fdp;                                              \
                *_fdp = -EBADF;                                                                    \
                _taken_fd;                                                                         \
        })

/* Makes the cleanup handler FUNCp() of a destructor `FUNC(type *)`. */
#define DEFINE_CLEANUP(type, func)                                                                 \
        static inline void _unused_ func##p(type **p)                                              \
        {                                                                                          \
                if (*p)                                                                            \
                        func(*p);                                                                  \
        }                                                                                          \
        struct _swallow_semicolon_

/* close() that keeps errno and takes a negative number for "nothing to close". Returns -EBADF. */
static inline int safe_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;
                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

static inline void closep(int *fd)
{
        *fd = safe_close(*fd);
}

static inline void freep(void *p)
{
        free(*(void **) p);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
/* GLib's g_autofree and g_autoptr() serve for what GLib allocated. */

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
#define NSEC_PER_SEC INT64_C(1000000000)
#define USEC_INFINITY UINT64_MAX

#define KIB(n) (UINT64_C(1024) * (n))
#define MIB(n) (UINT64_C(1048576) * (n))
#define GIB(n) (UINT64_C(1073741824) * (n))

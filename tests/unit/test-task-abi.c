/*
 * The layout of include/mapreduce.h, member by member: a plugin that was built last year is called
 * through it.
 *
 * The numbers are those of the x86-64 and AArch64 psABI (LP64: pointers and size_t of 8 bytes, int
 * and enums of 4, natural alignment), written down once by hand and never computed. A change of any
 * of them needs another MR_ABI; a member more at the end of MrPlugin, MrHost or MrInfo needs a line
 * more here.
 */
#include <glib.h>

#include "mapreduce.h"

#define MEMBER(type, member, at, bytes)                                                            \
        G_STATIC_ASSERT(offsetof(type, member) == (at) &&                                          \
                        sizeof(((type *) NULL)->member) == (bytes))
#define POINTER(type, member, at) MEMBER(type, member, at, 8)

#ifdef __LP64__
MEMBER(MrParameter, name, 0, 8);
MEMBER(MrParameter, value, 8, 8);
MEMBER(MrParameter, help, 16, 8);
G_STATIC_ASSERT(sizeof(MrParameter) == 24); /* an array of them: it cannot grow */

MEMBER(MrInfo, job_id, 0, 8);
MEMBER(MrInfo, job_name, 8, 8);
MEMBER(MrInfo, task, 16, 4);
MEMBER(MrInfo, attempt, 20, 4);
MEMBER(MrInfo, partitions, 24, 4);
MEMBER(MrInfo, is_map, 28, 4);
MEMBER(MrInfo, input, 32, 8);
MEMBER(MrInfo, offset, 40, 8);
MEMBER(MrInfo, length, 48, 8);
G_STATIC_ASSERT(sizeof(MrInfo) == 56);

MEMBER(MrPlugin, abi, 0, 4);
MEMBER(MrPlugin, size, 4, 4);
POINTER(MrPlugin, name, 8);
POINTER(MrPlugin, summary, 16);
POINTER(MrPlugin, parameters, 24);
MEMBER(MrPlugin, op, 32, 4);
MEMBER(MrPlugin, ordered, 36, 4);
POINTER(MrPlugin, setup, 40);
POINTER(MrPlugin, teardown, 48);
POINTER(MrPlugin, map, 56);
POINTER(MrPlugin, map_end, 64);
POINTER(MrPlugin, combine, 72);
POINTER(MrPlugin, reduce, 80);
POINTER(MrPlugin, reduce_end, 88);
POINTER(MrPlugin, partition, 96);
G_STATIC_ASSERT(sizeof(MrPlugin) == 104);

MEMBER(MrHost, abi, 0, 4);
MEMBER(MrHost, size, 4, 4);
POINTER(MrHost, emit, 8);
POINTER(MrHost, emit_number, 16);
POINTER(MrHost, emit_ordered, 24);
POINTER(MrHost, next, 32);
POINTER(MrHost, next_number, 40);
POINTER(MrHost, order, 48);
POINTER(MrHost, write, 56);
POINTER(MrHost, fail, 64);
POINTER(MrHost, parameter, 72);
POINTER(MrHost, info, 80);
POINTER(MrHost, count, 88);
POINTER(MrHost, status, 96);
G_STATIC_ASSERT(sizeof(MrHost) == 104);

POINTER(MrTask, host, 0);
#endif

G_STATIC_ASSERT(MR_ABI == 1);
G_STATIC_ASSERT(MR_OP_NONE == 0 && MR_OP_SUM == 1 && MR_OP_MIN == 2 && MR_OP_MAX == 3);

/* The types of the functions: an assignment of another one is a warning, and warnings are
 * errors. */
G_GNUC_UNUSED static void types(const MrPlugin *p, const MrHost *h)
{
        int (*setup)(MrTask *, void **) = p->setup;
        void (*teardown)(MrTask *, void *) = p->teardown;
        int (*map)(MrTask *, void *, const void *, size_t) = p->map;
        int (*map_end)(MrTask *, void *) = p->map_end;
        int (*combine)(MrTask *, void *, const void *, size_t) = p->combine;
        int (*reduce)(MrTask *, void *, const void *, size_t) = p->reduce;
        int (*reduce_end)(MrTask *, void *) = p->reduce_end;
        uint32_t (*partition)(MrTask *, void *, const void *, size_t, uint32_t) = p->partition;
        int (*emit)(MrTask *, const void *, size_t, const void *, size_t) = h->emit;
        int (*emit_number)(MrTask *, const void *, size_t, uint64_t) = h->emit_number;
        int (*emit_ordered)(MrTask *, const void *, size_t, const void *, size_t, const void *,
                            size_t) = h->emit_ordered;
        int (*next)(MrTask *, const void **, size_t *) = h->next;
        int (*next_number)(MrTask *, uint64_t *) = h->next_number;
        int (*order)(MrTask *, const void **, size_t *) = h->order;
        int (*write)(MrTask *, const void *, size_t) = h->write;
        int (*fail)(MrTask *, const char *) = h->fail;
        const char *(*parameter)(MrTask *, const char *) = h->parameter;
        const MrInfo *(*info)(MrTask *) = h->info;
        void (*count)(MrTask *, const char *, const char *, uint64_t) = h->count;
        void (*status)(MrTask *, const char *) = h->status;

        (void) setup, (void) teardown, (void) map, (void) map_end, (void) combine, (void) reduce;
        (void) reduce_end, (void) partition, (void) emit, (void) emit_number, (void) emit_ordered;
        (void) next, (void) next_number, (void) order, (void) write, (void) fail, (void) parameter;
        (void) info, (void) count, (void) status;
}

static void test_the_header_begins_as_every_version_must(void)
{
        const MrPlugin p = {MR_PLUGIN_HEADER};
        uint32_t words[2];

        memcpy(words, &p, sizeof(words));
        g_assert_cmpuint(words[0], ==, 1);
        g_assert_cmpuint(words[1], ==, sizeof(MrPlugin));
        g_assert_cmpstr(MR_PLUGIN_SYMBOL, ==, "mapreduce_plugin");
#ifndef __LP64__
        g_test_skip("the numbers are those of machines with pointers of 64 bits");
#endif
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/task/abi/the-header-begins-as-every-version-must",
                        test_the_header_begins_as_every_version_must);
        return g_test_run();
}

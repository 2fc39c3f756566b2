/*
 * Memory — see memory.h.
 *
 * Hadoop's node manager watches its containers in the same way. Pages that are shared (a library's text, a
 * mapped input) are not counted, so that ten processes of one program are not charged for it ten times.
 */
#include <inttypes.h>

#include "base/fs.h"
#include "mr-task/memory.h"

#define DEPTH_MAX 64 /* of processes below processes; deeper ones are not seen */

static uint64_t memory_of(long pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%ld/statm", pid);
        _cleanup_free_ char *text = NULL;
        uint64_t size, resident, shared;

        if (read_file(path, 4096, &text, NULL) < 0 ||
            sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
                return 0;
        return (resident - MIN(shared, resident)) * (uint64_t) sysconf(_SC_PAGESIZE);
}

static uint64_t memory_below(long pid, unsigned depth)
{
        g_autofree char *path = g_strdup_printf("/proc/%ld/task/%ld/children", pid, pid);
        _cleanup_free_ char *text = NULL;
        uint64_t sum = 0;

        if (depth > DEPTH_MAX || read_file(path, MIB(1), &text, NULL) < 0)
                return 0;
        for (char *p = text, *end; *p; p = end + strspn(end, " \n")) {
                long child = strtol(p, &end, 10);

                if (end == p)
                        break;
                sum += memory_of(child) + memory_below(child, depth + 1);
        }
        return sum;
}

uint64_t memory_of_children(void)
{
        return memory_below((long) getpid(), 0);
}

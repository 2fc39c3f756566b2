/*
 * mrctl time query — the exchange of Cristian's algorithm, once, for people to read.
 *
 * The question is asked by timesyncd-lite --query, which needs no daemon and changes nothing; so
 * mrctl itself still opens no network connection.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cli/mrctl-time.h"
#include "cli/print.h"
#include "platform/spawn.h"

#define ANSWER_MAX_BYTES KIB(16)

/* What the helper printed: its KEY, the JSON's name for it, and what it is. */
static const struct {
        const char *key, *name;
        enum { KIND_NS, KIND_BOOL, KIND_TEXT, KIND_NUMBER } kind;
} fields[] = {
        {"T1_NS", "T1NSec", KIND_NS},
        {"T2_NS", "T2NSec", KIND_NS},
        {"T3_NS", "T3NSec", KIND_NS},
        {"T4_NS", "T4NSec", KIND_NS},
        {"T1_FROM_KERNEL", "T1FromKernel", KIND_BOOL},
        {"T2_FROM_KERNEL", "T2FromKernel", KIND_BOOL},
        {"T3_FROM_KERNEL", "T3FromKernel", KIND_BOOL},
        {"T4_FROM_KERNEL", "T4FromKernel", KIND_BOOL},
        {"RTT_NS", "RTTNSec", KIND_NS},
        {"OFFSET_NS", "OffsetNSec", KIND_NS},
        {"BOUND_NS", "BoundNSec", KIND_NS},
        {"TIME_TO_SET_NS", "TimeToSetNSec", KIND_NS},
        {"SYNCHRONISED", "Synchronised", KIND_BOOL},
        {"STRATUM", "Stratum", KIND_NUMBER},
        {"LEAP", "Leap", KIND_TEXT},
        {"ROOT_DELAY_NS", "RootDelayNSec", KIND_NS},
        {"ROOT_DISPERSION_NS", "RootDispersionNSec", KIND_NS},
        {"LOOP", "Loop", KIND_BOOL},
        {"SERVER_ID", "ServerId", KIND_TEXT},
        {"REFERENCE_ID", "ReferenceId", KIND_TEXT},
};

static json_t *parse_answer(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        json_t *o = json_object();

        for (char **line = lines; *line; line++) {
                char *equals = strchr(*line, '=');

                if (!equals)
                        continue;
                *equals = '\0';
                for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                        json_t *v;

                        if (!g_str_equal(fields[i].key, *line))
                                continue;
                        if (fields[i].kind == KIND_BOOL)
                                v = json_boolean(g_str_equal(equals + 1, "yes"));
                        else if (fields[i].kind == KIND_TEXT)
                                v = json_string(equals + 1);
                        else
                                v = json_integer(g_ascii_strtoll(equals + 1, NULL, 10));
                        (void) json_object_set_new(o, fields[i].name, v);
                }
        }
        return o;
}

static int64_t number(const json_t *o, const char *name)
{
        return json_integer_value(json_object_get(o, name));
}

static bool is_true(const json_t *o, const char *name)
{
        return json_is_true(json_object_get(o, name));
}

static const char *by(const json_t *o, const char *name)
{
        return is_true(o, name) ? "by the kernel" : "by the program, as the kernel noted none";
}

static void print_times(const json_t *o)
{
        static const char *const what[] = {"our clock, as the question left",
                                           "theirs, as it came in", "theirs, as the answer left",
                                           "ours, as it came in"};

        for (int i = 0; i < 4; i++) {
                char name[16], kernel[16];
                g_autofree char *when = NULL;

                g_snprintf(name, sizeof(name), "T%dNSec", i + 1);
                when = format_clock_ns(number(o, name));
                g_snprintf(kernel, sizeof(kernel), "T%dFromKernel", i + 1);
                printf("         T%d: %s  %s, %s\n", i + 1, when, what[i], by(o, kernel));
        }
}

static void print_result(const json_t *o)
{
        int64_t offset_ns = number(o, "OffsetNSec");
        g_autofree char *rtt = format_span_ns(number(o, "RTTNSec"));
        g_autofree char *offset = format_span_ns(offset_ns);
        g_autofree char *bound = format_span_ns(number(o, "BoundNSec"));
        g_autofree char *set = format_clock_ns(number(o, "TimeToSetNSec"));

        printf(" Round trip: %s = (T4 - T1) - (T3 - T2)\n", rtt);
        printf("     Offset: %s = ((T2 - T1) + (T3 - T4)) / 2, our clock is %s\n", offset,
               offset_ns > 0   ? "slow"
               : offset_ns < 0 ? "fast"
                               : "right");
        printf("      Bound: %s either way, and how far the server itself is off\n", bound);
        printf("Time to set: %s  at T4: T3 + RTT/2\n", set);
}

static void print_server(const json_t *o)
{
        g_autofree char *delay = format_span_ns(number(o, "RootDelayNSec"));
        g_autofree char *dispersion = format_span_ns(number(o, "RootDispersionNSec"));

        if (!is_true(o, "Synchronised"))
                printf("     Server: not synchronised, and says so: do not follow it\n");
        else
                printf("     Server: synchronised, stratum %" PRId64
                       ", root delay %s, root dispersion %s, leap second %s\n",
                       number(o, "Stratum"), delay, dispersion,
                       json_string_value(json_object_get(o, "Leap")));
}

static int run_helper(const char *server, char **ret_answer)
{
        _cleanup_free_ char *path = NULL;
        g_autofree char *query = g_strconcat("--query=", server, NULL);
        char *argv[] = {(char *) "timesyncd-lite", query, NULL};
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        g_autofree char *text = g_malloc(ANSWER_MAX_BYTES + 1);
        int pipe_fds[2], status, r;
        ssize_t n;
        pid_t pid;

        r = find_helper("timesyncd-lite", &path);
        if (r < 0)
                return complain("timesyncd-lite is not installed, and it is what asks");
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return complain("cannot make a pipe: %s", g_strerror(errno));
        ours = pipe_fds[0];
        theirs = pipe_fds[1];
        r = spawn(path, argv,
                  &(SpawnOptions){.fds = (SpawnFd[]){{-EBADF, 0}, {theirs, 1}, {2, 2}},
                                  .fd_count = 3,
                                  .cwd_fd = -1},
                  &pid);
        if (r < 0)
                return complain("cannot start %s: %s", path, g_strerror(-r));
        theirs = safe_close(theirs);
        n = read_full(ours, text, ANSWER_MAX_BYTES);
        if (waitpid(pid, &status, 0) < 0 || n < 0)
                return complain("lost timesyncd-lite: %s", g_strerror(errno));
        text[n] = '\0';
        *ret_answer = TAKE_PTR(text);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EXIT_JOB_FAILED;
}

int time_query(const Arguments *a)
{
        g_autofree char *answer = NULL;
        json_t *o;
        int status;

        status = run_helper(a->operands->pdata[1], &answer);
        if (!answer || !*answer)
                return status; /* the helper has said why */

        o = parse_answer(answer);
        if (a->json != JSON_OFF) {
                int printed = print_json(o, a->json);

                return status == 0 ? printed : status;
        }
        print_times(o);
        if (json_object_get(o, "RTTNSec"))
                print_result(o);
        print_server(o);
        json_decref(o);
        return status == 0 ? print_finish() : status;
}

/*
 * Causes: the word for an errno, and for how a command ended.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "base/cause.h"

static void test_an_errno_of_either_sign_has_its_word(void)
{
        g_assert_cmpstr(cause_of_errno(-ENOSPC), ==, CAUSE_DISK_FULL);
        g_assert_cmpstr(cause_of_errno(EDQUOT), ==, CAUSE_DISK_FULL);
        g_assert_cmpstr(cause_of_errno(-EACCES), ==, CAUSE_NOT_PERMITTED);
        g_assert_cmpstr(cause_of_errno(-ENOENT), ==, CAUSE_FILE_MISSING);
        g_assert_cmpstr(cause_of_errno(-ESTALE), ==, CAUSE_INPUT_CHANGED);
        g_assert_cmpstr(cause_of_errno(-EEXIST), ==, CAUSE_OUTPUT_EXISTS);
        g_assert_cmpstr(cause_of_errno(-ENOMEM), ==, CAUSE_MEMORY);
        g_assert_cmpstr(cause_of_errno(-ETIMEDOUT), ==, CAUSE_TIME_LIMIT);
        g_assert_cmpstr(cause_of_errno(-EIO), ==, "");
        g_assert_cmpstr(cause_of_errno(0), ==, "");
}

/* What the shell and the kernel really say, not what we think that they do. */
static const char *cause_of(const char *command)
{
        int status = system(command);

        g_assert_cmpint(status, !=, -1);
        return cause_of_status(status);
}

static void test_the_end_of_a_command_has_its_word(void)
{
        g_assert_cmpstr(cause_of("exit 0"), ==, "");
        g_assert_cmpstr(cause_of("exit 3"), ==, CAUSE_COMMAND_FAILED);
        g_assert_cmpstr(cause_of("no-such-command-here 2>/dev/null"), ==, CAUSE_COMMAND_NOT_FOUND);
        g_assert_cmpstr(cause_of("/etc/passwd 2>/dev/null"), ==, CAUSE_COMMAND_NOT_EXECUTABLE);
        g_assert_cmpstr(cause_of("kill -KILL $$"), ==, CAUSE_COMMAND_KILLED);
        g_assert_cmpstr(cause_of("kill -TERM $$"), ==, CAUSE_COMMAND_CRASHED);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
#define T(name, function) g_test_add_func("/base/cause/" name, function)
        T("an-errno-of-either-sign-has-its-word", test_an_errno_of_either_sign_has_its_word);
        T("the-end-of-a-command-has-its-word", test_the_end_of_a_command_has_its_word);
#undef T
        return g_test_run();
}

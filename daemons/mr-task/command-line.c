/*
 * Command lines — see command-line.h.
 */
#include <sys/stat.h>

#include "mr-task/command-line.h"

/* What a shell does itself or reads as its grammar: POSIX.1-2017, XCU 2.4, 2.14 and 1.6, and what
 * dash, bash, BusyBox and ksh add to it. Without those that hold a character which is not plain. */
static const char *const shells_own[] = {
        ".",         ":",        "alias",   "bg",      "bind",    "break",   "builtin",
        "caller",    "case",     "cd",      "chdir",   "command", "compgen", "compopt",
        "complete",  "continue", "coproc",  "declare", "dirs",    "disown",  "do",
        "done",      "echo",     "elif",    "else",    "enable",  "esac",    "eval",
        "exec",      "exit",     "export",  "false",   "fc",      "fg",      "fi",
        "for",       "function", "getopts", "hash",    "help",    "history", "if",
        "in",        "jobs",     "kill",    "let",     "local",   "logout",  "mapfile",
        "namespace", "popd",     "print",   "printf",  "pushd",   "pwd",     "read",
        "readarray", "readonly", "return",  "select",  "set",     "shift",   "shopt",
        "source",    "suspend",  "test",    "then",    "time",    "times",   "trap",
        "true",      "type",     "typeset", "ulimit",  "umask",   "unalias", "unset",
        "until",     "wait",     "whence",  "while",
};

static bool is_program(const char *path)
{
        struct stat st;

        return stat(path, &st) >= 0 && S_ISREG(st.st_mode) && access(path, X_OK) >= 0;
}

/* Directories of a PATH that are not absolute ones would be looked for in the command's working
 * directory. */
static char *find_program(const char *name, char *const *env)
{
        const char *path = g_environ_getenv((char **) env, "PATH");
        g_auto(GStrv) dirs = g_strsplit(path ? path : "", ":", -1);

        for (char **d = dirs; *d && **d == '/'; d++) {
                g_autofree char *candidate = g_build_filename(*d, name, NULL);

                if (is_program(candidate))
                        return TAKE_PTR(candidate);
        }
        return NULL;
}

/* A function that bash was exported may have the name of a program. */
static bool is_exported_function(const char *name, char *const *env)
{
        g_autofree char *variable = g_strdup_printf("BASH_FUNC_%s%%%%", name);

        return g_environ_getenv((char **) env, variable);
}

static bool is_shells_own(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(shells_own); i++)
                if (g_str_equal(name, shells_own[i]))
                        return true;
        return false;
}

char **command_line_split(const char *line, char *const *env, char **ret_path)
{
        static const char plain[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,+@%-= ";
        g_autofree char *path = NULL;
        g_auto(GStrv) words = NULL;

        if (line[strspn(line, plain)] != '\0')
                return NULL;
        words = g_strsplit(line, " ", -1);
        for (char **w = words; *w; w++)
                if (!**w)
                        return NULL;
        /* A variable to be set, a job of the shell's */
        if (!words[0] || strchr(words[0], '=') || words[0][0] == '%')
                return NULL;
        if (strchr(words[0], '/'))
                path = g_strdup(words[0]);
        else if (!is_shells_own(words[0]) && !is_exported_function(words[0], env))
                path = find_program(words[0], env);
        if (!path)
                return NULL;
        *ret_path = TAKE_PTR(path);
        return TAKE_PTR(words);
}

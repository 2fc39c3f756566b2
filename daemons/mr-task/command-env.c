/*
 * Environment — see command-env.h.
 *
 * Hadoop hands every property of the job to a command, dots made underscores; these are the ones
 * that scripts read, under the names of Hadoop 2 and, where scripts still use them, of Hadoop 1.
 */
#include <inttypes.h>

#include "mr-task/command-env.h"

static void set(char ***env, const char *name, const char *value)
{
        *env = g_environ_setenv(*env, name, value, true);
}

static void set_number(char ***env, const char *name, uint64_t value)
{
        g_autofree char *text = g_strdup_printf("%" PRIu64, value);

        set(env, name, text);
}

static void set_task(char ***env, const Attempt *a)
{
        const Mapreduced__Task__V1__AttemptStart *s = a->start;
        bool map = s->kind == MAPREDUCED__V1__TASK_KIND__MAP;
        g_autofree char *task =
                g_strdup_printf("task_%s_%c_%06u", s->job_id, map ? 'm' : 'r', s->task);
        g_autofree char *attempt = g_strdup_printf("attempt_%s_%c_%06u_%u", s->job_id,
                                                   map ? 'm' : 'r', s->task, s->attempt);

        set(env, "mapreduce_job_id", s->job_id);
        set(env, "mapreduce_job_name", s->job_name);
        set(env, "mapreduce_task_id", task);
        set(env, "mapreduce_task_attempt_id", attempt);
        set(env, "mapreduce_task_ismap", map ? "true" : "false");
        set_number(env, "mapreduce_task_partition", s->task);
        set(env, "mapred_job_id", s->job_id);
        set(env, "mapred_job_name", s->job_name);
        set(env, "mapred_tip_id", task);
        set(env, "mapred_task_id", attempt);
        set(env, "mapred_task_is_map", map ? "true" : "false");
        set_number(env, "mapred_task_partition", s->task);

        set(env, "MR_JOB", s->job_id);
        set(env, "MR_JOB_NAME", s->job_name);
        set(env, "MR_TASK", a->name);
        set_number(env, "MR_ATTEMPT", s->attempt);
}

static void set_input(char ***env, const Mapreduced__V1__Piece *piece)
{
        set(env, "mapreduce_map_input_file", piece->path);
        set_number(env, "mapreduce_map_input_start", piece->offset);
        set_number(env, "mapreduce_map_input_length", piece->length);
        set(env, "map_input_file", piece->path);
        set_number(env, "map_input_start", piece->offset);
        set_number(env, "map_input_length", piece->length);

        set(env, "MR_INPUT", piece->path);
        set_number(env, "MR_INPUT_OFFSET", piece->offset);
        set_number(env, "MR_INPUT_LENGTH", piece->length);
}

/* A separator with a NUL in it is no variable; neither is one that we were started with. */
static void set_separator(char ***env, const char *name, const KeyFields *k)
{
        g_autofree char *text = g_strndup((const char *) k->separator, k->separator_size);

        if (strlen(text) == k->separator_size)
                set(env, name, text);
        else
                *env = g_environ_unsetenv(*env, name);
}

/* How the job was asked for. */
static void set_parameters(char ***env, const Attempt *a)
{
        const Mapreduced__Task__V1__AttemptStart *s = a->start;

        set_separator(env, "stream_map_output_field_separator", &a->fields);
        set_separator(env, "stream_reduce_input_field_separator", &a->reduce_separator);
        set_number(env, "stream_num_map_output_key_fields", a->fields.count);
        set_number(env, "mapreduce_job_reduces", s->partitions);
        set_number(env, "mapred_reduce_tasks", s->partitions);
        set_number(env, "mapreduce_job_maps", s->maps);
        set_number(env, "mapred_map_tasks", s->maps);
        set_number(env, "MR_REDUCES", s->partitions);
        set_number(env, "MR_MAPS", s->maps);
}

char **command_env(const Attempt *a, const Mapreduced__V1__Piece *piece)
{
        const Mapreduced__V1__Program *p = a->start->program;
        char **env = g_get_environ();

        set_task(&env, a);
        set_parameters(&env, a);
        if (piece)
                set_input(&env, piece);
        for (size_t i = 0; i < p->n_env; i++) {
                g_autofree char *name = g_strdup(p->env[i]);
                char *equals = strchr(name, '=');

                if (!equals || equals == name)
                        continue;
                *equals = '\0';
                set(&env, name, equals + 1);
        }
        return env;
}

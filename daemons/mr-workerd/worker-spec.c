/*
 * A task's description, judged — see worker-spec.h.
 */
#include <inttypes.h>
#include <limits.h>

#include "base/text.h"
#include "mr-workerd/worker-cache.h"
#include "mr-workerd/worker-spec.h"
#include "mr-workerd/worker-spool.h"

const char *spec_kind_to_string(Mapreduced__V1__TaskKind kind)
{
        return kind == MAPREDUCED__V1__TASK_KIND__MAP ? "map" : "reduce";
}

bool spec_file_name_is_valid(const char *s)
{
        size_t n = strlen(s);

        return n >= 1 && n <= NAME_MAX && !strchr(s, '/') && !g_str_equal(s, ".") &&
               !g_str_equal(s, "..");
}

static int bad(Error *e, const char *field, const char *value, const char *what)
{
        g_autofree char *shown = text_escape(value, strlen(value), 80);

        return error_setf(e, EINVAL, "%s: %s: \"%s\"", field, what, shown);
}

static int bad_number(Error *e, const char *field, uint64_t value, uint64_t min, uint64_t max)
{
        return error_setf(e, EINVAL, "%s: %" PRIu64 " is not from %" PRIu64 " to %" PRIu64, field,
                          value, min, max);
}

/* Absolute, and without "." and ".." on the way: what was planned is what is opened. */
static bool path_is_valid(const char *s)
{
        g_auto(GStrv) parts = NULL;

        if (s[0] != '/' || strlen(s) >= PATH_MAX)
                return false;
        parts = g_strsplit(s, "/", -1);
        for (char **p = parts; *p; p++)
                if (g_str_equal(*p, ".") || g_str_equal(*p, "..") || strlen(*p) > NAME_MAX)
                        return false;
        return true;
}

static int validate_files(const Mapreduced__V1__Program *p, Error *e)
{
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

        if (p->n_files > SPEC_FILES_MAX)
                return bad_number(e, "program.files", p->n_files, 0, SPEC_FILES_MAX);
        for (size_t i = 0; i < p->n_files; i++) {
                const Mapreduced__V1__JobFile *f = p->files[i];

                if (!spec_file_name_is_valid(f->name))
                        return bad(e, "program.files.name", f->name, "not a plain file name");
                if (!g_hash_table_add(seen, f->name))
                        return bad(e, "program.files.name", f->name, "given twice");
                if (f->size_bytes > SPEC_FILE_BYTES_MAX)
                        return bad_number(e, "program.files.size_bytes", f->size_bytes, 0,
                                          SPEC_FILE_BYTES_MAX);
        }
        return 0;
}

/* "FILE" or "FILE#DIRECTORY", FILE being shipped. */
static int validate_archives(const Mapreduced__V1__Program *p, Error *e)
{
        for (size_t i = 0; i < p->n_archives; i++) {
                const char *s = p->archives[i], *mark = strrchr(s, '#');
                size_t n = mark ? (size_t) (mark - s) : strlen(s), k = 0;

                while (k < p->n_files &&
                       (strncmp(p->files[k]->name, s, n) != 0 || p->files[k]->name[n] != '\0'))
                        k++;
                if (k == p->n_files || (mark && !spec_file_name_is_valid(mark + 1)))
                        return bad(e, "program.archives", s, "not a shipped file");
        }
        return 0;
}

static int validate_program(const Mapreduced__V1__Program *p, Error *e)
{
        size_t size;
        int r;

        if (!p)
                return error_setf(e, EINVAL, "program: missing");
        if (!*p->app == !*p->mapper)
                return error_setf(e, EINVAL, "program: exactly one of app and mapper must be set");
        for (size_t i = 0; i < p->n_env; i++) {
                const char *equals = strchr(p->env[i], '=');

                if (!equals || equals == p->env[i])
                        return bad(e, "program.env", p->env[i], "not NAME=VALUE");
        }
        size = protobuf_c_message_get_packed_size(&p->base);
        if (size > SPEC_PROGRAM_BYTES_MAX)
                return error_setf(e, EINVAL,
                                  "program: commands, arguments, environment and file names are "
                                  "%zu bytes, more than %" PRIu64,
                                  size, SPEC_PROGRAM_BYTES_MAX);
        r = validate_files(p, e);
        return r < 0 ? r : validate_archives(p, e);
}

static int validate_part(const Mapreduced__V1__TaskSpec *s, Error *e)
{
        if (!*s->output_dir)
                return 0;
        if (!path_is_valid(s->output_dir))
                return bad(e, "output_dir", s->output_dir, "not an absolute path without . and ..");
        if (!spool_job_id_is_valid(s->part_name))
                return bad(e, "part_name", s->part_name, "not a plain name");
        return 0;
}

static int validate_map(const Mapreduced__V1__TaskSpec *s, Error *e)
{
        if (s->n_pieces > SPEC_PIECES_MAX)
                return bad_number(e, "pieces", s->n_pieces, 0, SPEC_PIECES_MAX);
        for (size_t i = 0; i < s->n_pieces; i++) {
                const Mapreduced__V1__Piece *p = s->pieces[i];

                if (!path_is_valid(p->path))
                        return bad(e, "pieces.path", p->path,
                                   "not an absolute path without . and ..");
                if (p->offset > INT64_MAX || p->length > INT64_MAX - p->offset ||
                    p->offset + p->length > p->file_size)
                        return bad(e, "pieces", p->path, "does not lie within its file");
        }
        return s->partitions == 0 ? validate_part(s, e) : 0;
}

static int validate_reduce(const Mapreduced__V1__TaskSpec *s, Error *e)
{
        if (s->maps > SPEC_MAPS_MAX)
                return bad_number(e, "maps", s->maps, 0, SPEC_MAPS_MAX);
        if (s->task >= s->partitions)
                return bad_number(e, "task", s->task, 0, s->partitions - 1);
        return validate_part(s, e);
}

int spec_validate(const Mapreduced__V1__TaskSpec *s, Error *e)
{
        int r;

        if (s->kind != MAPREDUCED__V1__TASK_KIND__MAP &&
            s->kind != MAPREDUCED__V1__TASK_KIND__REDUCE)
                return error_setf(e, EINVAL, "kind: %d is neither MAP nor REDUCE", (int) s->kind);
        if (!spool_job_id_is_valid(s->job_id))
                return bad(e, "job_id", s->job_id, "not 1 to 64 of [A-Za-z0-9._-], no '.' first");
        if (s->task > SPEC_TASK_MAX)
                return bad_number(e, "task", s->task, 0, SPEC_TASK_MAX);
        if (s->attempt > SPEC_TASK_MAX)
                return bad_number(e, "attempt", s->attempt, 0, SPEC_TASK_MAX);
        if (s->partitions > SPEC_PARTITIONS_MAX ||
            (s->partitions == 0 && s->kind != MAPREDUCED__V1__TASK_KIND__MAP))
                return bad_number(e, "partitions", s->partitions, 1, SPEC_PARTITIONS_MAX);
        if (s->memory_bytes > SPEC_MEMORY_BYTES_MAX)
                return bad_number(e, "memory_bytes", s->memory_bytes, 0, SPEC_MEMORY_BYTES_MAX);
        if (strlen(s->job_name) > 1024)
                return bad_number(e, "job_name (its length)", strlen(s->job_name), 0, 1024);
        if (*s->lineage && !cache_key_is_valid(s->lineage))
                return bad(e, "lineage", s->lineage, "not 64 hexadecimal digits");
        if (*s->intermediate_dir && !path_is_valid(s->intermediate_dir))
                return bad(e, "intermediate_dir", s->intermediate_dir,
                           "not an absolute path without . and ..");
        r = validate_program(s->program, e);
        if (r < 0)
                return r;
        return s->kind == MAPREDUCED__V1__TASK_KIND__MAP ? validate_map(s, e)
                                                         : validate_reduce(s, e);
}

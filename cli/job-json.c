/*
 * A job as JSON — see job.h. Apart from the rest of it, which needs no jansson.
 */
#include "cli/job-properties.h"
#include "cli/print.h"

static json_t *texts_to_json(char *const *texts)
{
        json_t *array = json_array();

        for (; *texts; texts++)
                (void) json_array_append_new(array, json_string(*texts));
        return array;
}

static json_t *counters_to_json(const GArray *counters)
{
        json_t *object = json_object();

        for (guint i = 0; i < counters->len; i++) {
                const JobCounter *c = &g_array_index(counters, JobCounter, i);

                (void) json_object_set_new(object, c->name, json_integer((json_int_t) c->value));
        }
        return object;
}

static json_t *value_to_json(PropertyType type, const void *p)
{
        switch (type) {
        case TEXT:
                return json_string(*(char *const *) p);
        case TEXTS:
                return texts_to_json(*(char **const *) p);
        case NUMBER:
                return json_integer(*(const uint32_t *) p);
        case BIG:
                return json_integer((json_int_t) * (const uint64_t *) p);
        case REAL:
                return json_real(*(const double *) p);
        case COUNTERS:
                return counters_to_json(*(GArray *const *) p);
        default:
                g_assert_not_reached();
        }
}

json_t *job_to_json(const Job *j)
{
        json_t *object = json_object();

        for (size_t i = 0; i < job_property_count; i++)
                (void) json_object_set_new(object, job_properties[i].name,
                                           value_to_json(job_properties[i].type, field(j, i)));
        return object;
}

int job_print_json(const Job *j, JsonMode mode)
{
        return print_json(job_to_json(j), mode);
}

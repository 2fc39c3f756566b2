/*
 * Fold — see fold.h.
 */
#include "base/text.h"
#include "mr-task/fold.h"
#include "mr-task/map-command.h"
#include "records/fields.h"
#include "records/reserve.h"

#define VALUE_SHOWN_BYTES 64

static CombineOp combine_op(MrOp op)
{
        return op == MR_OP_MIN ? COMBINE_MIN : op == MR_OP_MAX ? COMBINE_MAX : COMBINE_SUM;
}

/* The key alone is given here, and where it chooses the reduce in part, that part is found in it
 * again. */
static uint32_t partition(void *userdata, const uint8_t *key, size_t size)
{
        const Attempt *a = userdata;

        return key_partition(key, key_fields_partition_size(&a->fields, key, size),
                             a->start->partitions);
}

static int find_app(Fold *f, Attempt *a)
{
        const char *name = a->start->program->reducer_app;

        *f = (Fold){.attempt = a, .app = catalog_find_reducer(name)};
        if (f->app)
                return 0;
        a->permanent = true;
        return attempt_failf(a, ENOENT, "no app that reduces is named \"%s\"", name);
}

int fold_init_map(Fold *f, Attempt *a)
{
        CombinerOptions options = {
                .partitions = a->start->partitions,
                .unsorted = true, /* the reduce hashes, too */
                .partition = a->fields.partition_count > 0 ? partition : NULL,
                .partition_userdata = a,
                .memory_bytes = a->memory_bytes,
                .scratch = &a->scratch,
                .ticker = &a->ticker,
        };
        int r;

        r = find_app(f, a);
        if (r < 0)
                return r;
        options.op = combine_op(f->app->op);
        return combiner_new(&options, &f->combiner);
}

void fold_done(Fold *f)
{
        combiner_free(f->combiner);
        free(f->key);
        *f = (Fold){};
}

static int copy_key(Fold *f, const Record *record)
{
        int r = reserve(&f->key, &f->key_capacity, record->key_size + WORDS_PADDING);

        if (r < 0)
                return r;
        if (record->key_size > 0)
                memcpy(f->key, record->key, record->key_size);
        return 0;
}

static int no_number(Fold *f, const Record *record)
{
        g_autofree char *key =
                text_escape((const char *) record->key, record->key_size, VALUE_SHOWN_BYTES);
        g_autofree char *value =
                text_escape((const char *) record->value, record->value_size, VALUE_SHOWN_BYTES);

        return attempt_failf(f->attempt, EINVAL,
                             "the mapper wrote \"%s\" for the key \"%s\": %s takes whole numbers "
                             "from 0 to 18446744073709551615",
                             value, key, f->app->name);
}

int fold_add(Fold *f, const Record *record)
{
        uint64_t number = f->app->fold == CATALOG_FOLD_LINE;
        int r;

        if (f->app->fold == CATALOG_FOLD_NUMBER &&
            !fields_number(record->value, record->value_size, &number))
                return no_number(f, record);
        r = copy_key(f, record);
        if (r >= 0)
                r = combiner_add(f->combiner, f->key, record->key_size, number);
        return r < 0 && r != -E2BIG ? attempt_fail_write(f->attempt, r, "the scratch file") : r;
}

int fold_write_run(Fold *f)
{
        Attempt *a = f->attempt;
        RecordStream *stream;
        int r;

        r = combiner_finish(f->combiner, &stream);
        if (r < 0)
                return attempt_fail_write(a, r, "the scratch file");
        return map_write_run(a, stream, false, &a->counters[COUNTER_COMBINE_OUTPUT_RECORDS]);
}

int fold_init_reduce(Fold *f, Attempt *a, CombineOp *ret_op)
{
        int r;

        r = find_app(f, a);
        if (r >= 0)
                *ret_op = combine_op(f->app->op);
        return r;
}

int fold_write_part(Fold *f, RecordStream *stream, Output *out)
{
        Attempt *a = f->attempt;
        Record record;
        uint64_t n;
        int r;

        while ((r = stream->next(stream, &record)) > 0) {
                r = combine_decode(record.value, record.value_size, &n);
                if (r < 0)
                        break;
                a->counters[COUNTER_REDUCE_INPUT_GROUPS]++;
                a->counters[COUNTER_REDUCE_OUTPUT_RECORDS]++;
                r = f->app->fold == CATALOG_FOLD_KEY
                            ? output_line(out, record.key, record.key_size, NULL, 0, true)
                            : output_number(out, record.key, record.key_size, n);
                if (r < 0)
                        return attempt_fail_write(a, r, "the part");
        }
        return r < 0 ? attempt_fail_write(a, r, "the scratch file") : 0;
}

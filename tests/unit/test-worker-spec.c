/*
 * TaskSpecs from a network: the good one passes, every bad one is refused by the name of its field.
 */
#include "mr-workerd/worker-input.h"
#include "mr-workerd/worker-spec.h"

typedef Mapreduced__V1__TaskSpec TaskSpec;

typedef struct Example {
        TaskSpec spec;
        Mapreduced__V1__Program program;
        Mapreduced__V1__Piece piece, *pieces[1];
        Mapreduced__V1__JobFile file, *files[2];
        char *env[1];
} Example;

/* A map of ten bytes of a file, by a command with a shipped file. */
static void example(Example *x)
{
        mapreduced__v1__task_spec__init(&x->spec);
        mapreduced__v1__program__init(&x->program);
        mapreduced__v1__piece__init(&x->piece);
        mapreduced__v1__job_file__init(&x->file);
        x->piece.path = (char *) "/srv/in put.txt";
        x->piece.offset = 5;
        x->piece.length = 10;
        x->piece.file_size = 15;
        x->pieces[0] = &x->piece;
        x->file.name = (char *) "my map.py";
        x->files[0] = x->files[1] = &x->file;
        x->env[0] = (char *) "A=";
        x->program.mapper = (char *) "./m.py";
        x->program.n_files = 1;
        x->program.files = x->files;
        x->program.n_env = 1;
        x->program.env = x->env;
        x->spec.job_id = (char *) "job-1";
        x->spec.kind = MAPREDUCED__V1__TASK_KIND__MAP;
        x->spec.partitions = 3;
        x->spec.program = &x->program;
        x->spec.n_pieces = 1;
        x->spec.pieces = x->pieces;
}

static void make_reduce(Example *x)
{
        x->spec.kind = MAPREDUCED__V1__TASK_KIND__REDUCE;
        x->spec.maps = 4;
        x->spec.task = 2;
        x->spec.output_dir = (char *) "/srv/out/_temporary/attempt-1";
        x->spec.part_name = (char *) "part-00002";
}

static void assert_refused(const Example *x, const char *field)
{
        _cleanup_error_ Error e = {};

        g_assert_cmpint(spec_validate(&x->spec, &e), ==, -EINVAL);
        if (!g_str_has_prefix(e.message, field))
                g_error("\"%s\" does not name %s", e.message, field);
}

static void test_a_good_map_passes(void)
{
        Example x;

        example(&x);
        g_assert_cmpint(spec_validate(&x.spec, NULL), ==, 0);
}

static void test_a_map_without_reduces_has_a_place_for_its_part(void)
{
        Example x;

        example(&x);
        x.spec.partitions = 0;
        g_assert_cmpint(spec_validate(&x.spec, NULL), ==, 0);
        x.spec.output_dir = (char *) "/srv/../etc";
        assert_refused(&x, "output_dir");
        x.spec.output_dir = (char *) "/srv/out/_temporary/attempt-1";
        x.spec.part_name = (char *) "../part";
        assert_refused(&x, "part_name");
}

static void test_archives_are_shipped(void)
{
        static const struct {
                const char *archive;
                bool good;
        } cases[] = {{"a.tgz", true},     {"a.tgz#dir", true},  {"b.tgz", false},  {"a.tg", false},
                     {"a.tgz#..", false}, {"a.tgz#x/y", false}, {"a.tgz#", false}, {"", false}};
        Mapreduced__V1__JobFile file = MAPREDUCED__V1__JOB_FILE__INIT, *files[] = {&file};

        file.name = (char *) "a.tgz";
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char *archives[] = {(char *) cases[i].archive};
                Example x;

                example(&x);
                x.program.n_files = 1;
                x.program.files = files;
                x.program.n_archives = 1;
                x.program.archives = archives;
                if (cases[i].good)
                        g_assert_cmpint(spec_validate(&x.spec, NULL), ==, 0);
                else
                        assert_refused(&x, "program.archives");
        }
}

static void test_a_good_reduce_passes(void)
{
        Example x;

        example(&x);
        make_reduce(&x);
        g_assert_cmpint(spec_validate(&x.spec, NULL), ==, 0);
        x.spec.output_dir = (char *) "";
        x.spec.part_name = (char *) "";
        x.spec.maps = 0;
        g_assert_cmpint(spec_validate(&x.spec, NULL), ==, 0);
}

#define REFUSE(field, change)                                                                      \
        do {                                                                                       \
                Example x;                                                                         \
                example(&x);                                                                       \
                change;                                                                            \
                assert_refused(&x, field);                                                         \
        } while (0)

static void test_what_every_task_must_say(void)
{
        REFUSE("kind", x.spec.kind = MAPREDUCED__V1__TASK_KIND__TASK_KIND_UNSPECIFIED);
        REFUSE("kind", x.spec.kind = (Mapreduced__V1__TaskKind) 77);
        REFUSE("job_id", x.spec.job_id = (char *) "../../etc");
        REFUSE("job_id", x.spec.job_id = (char *) "");
        REFUSE("task", x.spec.task = UINT32_MAX);
        REFUSE("attempt", x.spec.attempt = UINT32_MAX);
        REFUSE("partitions", make_reduce(&x); x.spec.partitions = 0);
        REFUSE("partitions", x.spec.partitions = 10001);
        REFUSE("memory_bytes", x.spec.memory_bytes = UINT64_MAX);
}

static void test_programs_are_judged(void)
{
        g_autofree char *huge = g_strnfill(KIB(60), 'x');

        REFUSE("program", x.spec.program = NULL);
        REFUSE("program", x.program.mapper = (char *) "");
        REFUSE("program", x.program.app = (char *) "wordcount"); /* and a mapper */
        REFUSE("program", x.program.reducer = huge);
        REFUSE("program.env", x.env[0] = (char *) "=x");
        REFUSE("program.env", x.env[0] = (char *) "A");
        REFUSE("program.files.name", x.file.name = (char *) "a/b");
        REFUSE("program.files.name", x.file.name = (char *) "..");
        REFUSE("program.files.name", x.file.name = (char *) "");
        REFUSE("program.files.name", x.program.n_files = 2); /* the same twice */
        REFUSE("program.files.size_bytes", x.file.size_bytes = UINT64_MAX);
}

static void test_pieces_lie_within_their_files(void)
{
        REFUSE("pieces.path", x.piece.path = (char *) "relative");
        REFUSE("pieces.path", x.piece.path = (char *) "/srv/../etc/shadow");
        REFUSE("pieces.path", x.piece.path = (char *) "/srv/.");
        REFUSE("pieces", x.piece.length = 11);
        REFUSE("pieces", x.piece.offset = UINT64_MAX);
        REFUSE("pieces", x.piece.length = UINT64_MAX);
        REFUSE("pieces", x.spec.n_pieces = SPEC_PIECES_MAX + 1);
}

static void test_reduces_are_judged(void)
{
        REFUSE("task", (make_reduce(&x), x.spec.task = 3));
        REFUSE("maps", (make_reduce(&x), x.spec.maps = SPEC_MAPS_MAX + 1));
        REFUSE("output_dir", (make_reduce(&x), x.spec.output_dir = (char *) "out"));
        REFUSE("output_dir", (make_reduce(&x), x.spec.output_dir = (char *) "/out/.."));
        REFUSE("part_name", (make_reduce(&x), x.spec.part_name = (char *) "../x"));
        REFUSE("part_name", (make_reduce(&x), x.spec.part_name = (char *) ""));
}

/* Names of 4 KiB: 64 of them are more than a packet holds, and the batch must say so first. */
static void test_a_batch_fits_its_packet(void)
{
        Mapreduced__Task__V1__AttemptInput input = MAPREDUCED__TASK__V1__ATTEMPT_INPUT__INIT;
        Mapreduced__Task__V1__ToTask m = MAPREDUCED__TASK__V1__TO_TASK__INIT;
        Mapreduced__V1__Piece p = MAPREDUCED__V1__PIECE__INIT;
        g_autofree char *path = g_strnfill(4000, 'p');
        InputBatch b;

        p.path = path;
        p.offset = p.length = p.file_size = UINT64_MAX;
        p.mtime_ns = -1;
        input_batch_init(&b);
        while (input_batch_has_room_for_piece(&b, &p))
                input_batch_add_piece(&b, &p, -EBADF);
        g_assert_cmpuint(b.count, >, 10);
        input.n_pieces = b.count;
        input.pieces = b.pieces;
        input.last = true;
        m.kind_case = MAPREDUCED__TASK__V1__TO_TASK__KIND_INPUT;
        m.input = &input;
        g_assert_cmpuint(mapreduced__task__v1__to_task__get_packed_size(&m), <=, PACKET_MAX_BYTES);
        input_batch_done(&b);
}

static void test_a_batch_holds_at_most_64_segments(void)
{
        Mapreduced__Task__V1__Segment g = MAPREDUCED__TASK__V1__SEGMENT__INIT;
        InputBatch b;

        input_batch_init(&b);
        while (input_batch_has_room_for_segment(&b))
                input_batch_add_segment(&b, &g, -EBADF);
        g_assert_cmpuint(b.count, ==, 64);
        input_batch_done(&b);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/spec/a-good-map-passes", test_a_good_map_passes);
        g_test_add_func("/worker/spec/a-good-reduce-passes", test_a_good_reduce_passes);
        g_test_add_func("/worker/spec/a-map-without-reduces-has-a-place-for-its-part",
                        test_a_map_without_reduces_has_a_place_for_its_part);
        g_test_add_func("/worker/spec/archives-are-shipped", test_archives_are_shipped);
        g_test_add_func("/worker/spec/what-every-task-must-say", test_what_every_task_must_say);
        g_test_add_func("/worker/spec/programs-are-judged", test_programs_are_judged);
        g_test_add_func("/worker/spec/pieces-lie-within-their-files",
                        test_pieces_lie_within_their_files);
        g_test_add_func("/worker/spec/reduces-are-judged", test_reduces_are_judged);
        g_test_add_func("/worker/input/a-batch-fits-its-packet", test_a_batch_fits_its_packet);
        g_test_add_func("/worker/input/a-batch-holds-at-most-64-segments",
                        test_a_batch_holds_at_most_64_segments);
        return g_test_run();
}

/*
 * mr-masterd on a private bus, with workers played by the test.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "masterd-fixture.h"

/* ---- The main way ---- */

static void test_a_job_is_mapped_reduced_and_put_in_place(void)
{
        g_autofree char *output = NULL, *out = NULL;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 2);
        (void) fake_worker(&f, "w2", 1);
        out = g_build_filename(f.dir, "new", "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 5 * 4096, SETTINGS("App=wordcount", output, "Reduces=3", "SplitSize=4096"),
                     id);
        wait_for_state(&f, id, "done");

        assert_part(
                out, "part-00000",
                "map 0 attempt 0\nmap 1 attempt 0\nmap 2 attempt 0\nmap 3 attempt 0\nmap 4 attempt 0\nreduce 0\n");
        g_assert_true(exists(out, "part-00001"));
        g_assert_true(exists(out, "part-00002"));
        g_assert_false(exists(out, "part-00003"));
        g_assert_true(exists(out, "_SUCCESS"));
        g_assert_false(exists(out, "_temporary"));
        g_assert_cmpuint(job_number(&f, id, "MapsDone"), ==, 5);
        g_assert_cmpuint(job_number(&f, id, "ReducesDone"), ==, 3);
        g_assert_cmpuint(job_number(&f, id, "InputBytes"), ==, 5 * 4096);
        g_assert_cmpuint(job_number(&f, id, "AttemptsFailed"), ==, 0);
        fixture_done(&f);
}

static void test_a_result_without_output_is_read_part_by_part(void)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char id[16], text[256] = {};
        Fixture f;
        int fd;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 2);
        submit_input(&f, 100, SETTINGS("App=wordcount", "Reduces=2"), id);
        wait_for_state(&f, id, "done");
        g_assert_cmpint(call_job(&f, id, "OpenPart", &error, &reply, "u", 1U), >=, 0);
        g_assert_cmpint(sd_bus_message_read(reply, "h", &fd), >=, 0);
        g_assert_cmpint(read_full(fd, text, sizeof(text) - 1), >, 0);
        g_assert_cmpstr(text, ==, "map 0 attempt 0\nreduce 1\n");
        g_assert_cmpint(call_job(&f, id, "OpenPart", &error, NULL, "u", 2U), <, 0);
        g_assert_cmpstr(error.name, ==, "org.mapreduced.Error.NoSuchPart");
        sd_bus_error_free(&error);
        fixture_done(&f);
}

static void test_without_input_bytes_the_reduces_make_empty_parts(void)
{
        g_autofree char *empty = NULL, *dir = NULL, *a = NULL, *b = NULL, *out = NULL,
                        *output = NULL;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 2);
        empty = write_input(&f, "empty", 0);
        dir = g_build_filename(f.dir, "empty-directory", NULL);
        g_assert_cmpint(mkdir(dir, 0755), ==, 0);
        out = g_build_filename(f.dir, "out", NULL);
        g_assert_cmpint(mkdir(out, 0755), ==, 0); /* empty is as good as missing */
        a = setting("Input", empty);
        b = setting("Input", dir);
        output = setting("Output", out);
        submit(&f, SETTINGS("App=wordcount", a, b, output, "Reduces=2"), id);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(job_number(&f, id, "Maps"), ==, 0);
        assert_part(out, "part-00000", "reduce 0\n");
        g_assert_true(exists(out, "_SUCCESS"));
        fixture_done(&f);
}

typedef struct Said {
        Fixture *f;
        const char *id, *words;
} Said;

static bool is_said(void *userdata)
{
        const Said *s = userdata;
        g_autofree char *reason = job_text(s->f, s->id, "StateReason");

        return strstr(reason, s->words);
}

static void test_a_job_without_workers_waits_and_says_so(void)
{
        Said s = {.words = "waiting for a worker: none is registered at unix:"};
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        wait_for_state(&f, id, "running");
        s.f = &f;
        s.id = id;
        fixture_wait(&f, is_said, &s, s.words);
        (void) fake_worker(&f, "late", 1);
        wait_for_state(&f, id, "done");
        fixture_done(&f);
}

static void assert_waits_for_newer(Fixture *f, const char *id, const char *words)
{
        Said s = {.f = f, .id = id, .words = words};
        g_autofree char *cause = NULL;

        fixture_wait(f, is_said, &s, words);
        cause = job_text(f, id, "Cause");
        g_assert_cmpstr(cause, ==, "old-workers");
}

/* A worker would pass over a setting that came after it, and make another result: also after the
 * master's restart. */
static void test_a_job_waits_for_a_worker_that_knows_its_settings(void)
{
        static const char words[] =
                "waiting for a slot on a worker that knows SortKeyFields=: older, and to be "
                "upgraded: old";
        char sorted[16], plain[16];
        FakeWorker *old, *new;
        Fixture f;

        fixture_init(&f, patient);
        old = fake_worker(&f, "old", 2);
        wait_count(&f, &old->registered, 1, "a registration");
        submit_input(&f, 100, SETTINGS("Mapper=cat", "Reducer=cat", "SortKeyFields=1n"), sorted);
        assert_waits_for_newer(&f, sorted, words);
        submit_input(&f, 100, SETTINGS("Mapper=cat", "Reducer=cat"), plain);
        wait_for_state(&f, plain, "done");
        g_assert_cmpuint(old->maps_started, ==, 1);

        fixture_kill_master(&f, SIGKILL);
        fixture_start_master(&f);
        wait_count(&f, &old->registered, 2, "another registration");
        assert_waits_for_newer(&f, sorted, words);
        g_assert_cmpuint(old->maps_started, ==, 1);

        new = fake_worker_of_level(&f, "new", 1, 1);
        wait_for_state(&f, sorted, "done");
        g_assert_cmpuint(new->maps_started, ==, 1);
        g_assert_cmpuint(new->reduces_started, ==, 1);
        g_assert_cmpuint(old->maps_started + old->reduces_started, ==, 2);
        fixture_done(&f);
}

/* ---- What is refused ---- */

static void assert_refused(Fixture *f, const char *const settings[], const char *name,
                           const char *words)
{
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char id[16];

        if (submit_job(f, settings, id, &error) >= 0)
                g_error("accepted, but should be refused: %s", words);
        g_assert_cmpstr(error.name, ==, name);
        assert_contains(error.message, words);
        sd_bus_error_free(&error);
}

static void test_a_bad_description_is_refused_with_the_way_out(void)
{
        static const char invalid[] = "org.mapreduced.Error.InvalidJob";
        Fixture f;

        fixture_init(&f, patient);
        assert_refused(&f, SETTINGS("App=wordcount"), invalid, "no Input");
        assert_refused(&f, SETTINGS("Input=/etc/passwd"), invalid, "no program");
        assert_refused(&f, SETTINGS("App=x", "Input=/etc/passwd"), invalid,
                       "wordcount, or a plugin NAME.so");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=/etc/passwd", "Reduces=0"), invalid,
                       "Reduces=0: App=wordcount has a reduce");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=/etc/passwd", "Reduces=1000000000"),
                       invalid, "0 to 10000");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=/etc/passwd", "SplitSize=4095"),
                       invalid, "4K to 1T");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=etc/passwd"), invalid,
                       "not an absolute path");
        assert_refused(&f, SETTINGS("App=wordcount", "Ouptut=/x"), invalid, "did you mean Output?");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=/etc/passwd", "File=x:/dev/null"),
                       invalid, "not a regular file");
        assert_refused(&f, SETTINGS("App=wordcount", "Input=/etc/passwd", "File=../x:/etc/passwd"),
                       invalid, "plain file name");
        fixture_done(&f);
}

static void assert_fails(Fixture *f, const char *const settings[], const char *words)
{
        g_autofree char *reason = NULL;
        char id[16];

        submit(f, settings, id);
        wait_for_state(f, id, "failed");
        reason = job_text(f, id, "StateReason");
        assert_contains(reason, words);
}

static void test_inputs_that_cannot_be_read_are_named(void)
{
        g_autofree char *fifo = NULL, *glob = NULL, *missing = NULL, *link = NULL, *dir = NULL,
                        *a = NULL, *b = NULL, *c = NULL, *d = NULL;
        Fixture f;

        fixture_init(&f, patient);
        fifo = g_build_filename(f.dir, "fifo", NULL);
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        glob = g_build_filename(f.dir, "*.none", NULL);
        missing = g_build_filename(f.dir, "missing", NULL);
        dir = g_build_filename(f.dir, "dir", NULL);
        link = g_build_filename(dir, "link", NULL);
        g_assert_cmpint(mkdir(dir, 0755), ==, 0);
        g_assert_cmpint(symlink("/nowhere/at/all", link), ==, 0);
        a = setting("Input", fifo);
        b = setting("Input", glob);
        c = setting("Input", missing);
        d = setting("Input", dir);
        assert_fails(&f, SETTINGS("App=wordcount", a), "fifo is a fifo");
        assert_fails(&f, SETTINGS("App=wordcount", "Input=/dev/zero"), "/dev/zero is a device");
        assert_fails(&f, SETTINGS("App=wordcount", b), "*.none matches no file");
        assert_fails(&f, SETTINGS("App=wordcount", c), "missing does not exist");
        assert_fails(&f, SETTINGS("App=wordcount", d), "symbolic link to nothing");
        fixture_done(&f);
}

static void test_an_output_with_something_in_it_is_refused_and_kept(void)
{
        g_autofree char *path = NULL, *input = NULL, *out = NULL, *precious = NULL, *output = NULL,
                        *file = NULL;
        Fixture f;

        fixture_init(&f, patient);
        path = write_input(&f, "input", 100);
        out = g_build_filename(f.dir, "out", NULL);
        precious = g_build_filename(out, "precious", NULL);
        g_assert_cmpint(mkdir(out, 0755), ==, 0);
        g_assert_true(g_file_set_contents(precious, "x", 1, NULL));
        input = setting("Input", path);
        output = setting("Output", out);
        file = setting("Output", path);
        assert_fails(&f, SETTINGS("App=wordcount", input, output),
                     "out is not empty: remove it or name another");
        assert_fails(&f, SETTINGS("App=wordcount", input, file), "is not a directory");
        g_assert_true(exists(out, "precious"));
        g_assert_false(exists(out, "_temporary"));
        fixture_done(&f);
}

/* ---- Orders ---- */

static void test_a_cancelled_job_stops_its_attempts_and_leaves_nothing(void)
{
        g_autofree char *out = NULL, *output = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 4);
        w->deed = hold_maps;
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", output, "SplitSize=4096"), id);
        wait_count(&f, &w->maps_started, 3, "the maps");
        g_assert_true(exists(out, "_temporary"));
        g_assert_cmpint(call_job(&f, id, "Cancel", &error, NULL, ""), >=, 0);
        wait_for_state(&f, id, "cancelled");
        wait_count(&f, &w->cancelled, 3, "the calls to be cancelled");
        g_assert_false(exists(f.dir, "out"));
        g_assert_cmpint(call_job(&f, id, "Cancel", &error, NULL, ""), <, 0);
        g_assert_cmpstr(error.name, ==, "org.mapreduced.Error.WrongState");
        sd_bus_error_free(&error);
        fixture_done(&f);
}

static void test_a_repeated_submission_is_the_same_job(void)
{
        g_autofree char *path = NULL, *input = NULL, *file = NULL;
        char a[16], b[16], c[16];
        Fixture f;

        fixture_init(&f, patient);
        path = write_input(&f, "input", 100);
        input = setting("Input", path);
        file = g_strconcat("File=m.py:", path, NULL);
        submit(&f, SETTINGS("App=wordcount", input, file, "RequestId=one"), a);
        submit(&f, SETTINGS("App=wordcount", input, file, "RequestId=one"), b);
        submit(&f, SETTINGS("App=wordcount", input, file, "RequestId=two"), c);
        g_assert_cmpstr(a, ==, b);
        g_assert_cmpstr(a, !=, c);
        fixture_done(&f);
}

typedef struct FileText {
        GByteArray *bytes;
        uint64_t total;
} FileText;

static void on_chunk(EvgrpcCall *call, const ProtobufCMessage *message, void *userdata)
{
        const Mapreduced__V1__Chunk *chunk = (const Mapreduced__V1__Chunk *) message;
        FileText *t = userdata;

        t->total += chunk->total_bytes;
        g_byte_array_append(t->bytes, chunk->data.data, (guint) chunk->data.len);
}

static void ignore_done(EvgrpcCall *call, const EvgrpcStatus *status, void *userdata)
{
}

static EvgrpcCode read_job_file(FakeWorker *w, const char *job, const char *name, FileText *t)
{
        static const EvgrpcCallHandlers handlers = {.on_message = on_chunk, .on_done = ignore_done};
        Mapreduced__V1__ReadJobFileRequest request = MAPREDUCED__V1__READ_JOB_FILE_REQUEST__INIT;
        EvgrpcCall *call = NULL;
        EvgrpcCode code;

        request.job_id = (char *) fake_wire_id(job);
        request.name = (char *) name;
        g_assert_cmpint(evgrpc_call_start(w->master, &mapreduced__v1__master__descriptor,
                                          "ReadJobFile", &request.base, NULL, &handlers, t, &call),
                        ==, 0);
        code = evgrpc_call_wait(call)->code;
        evgrpc_call_unref(call);
        return code;
}

static void test_shipped_files_come_to_the_workers_as_they_were(void)
{
        g_autofree char *script = NULL, *path = NULL, *input = NULL, *a = NULL, *b = NULL,
                        *text = NULL, *empty = NULL;
        FileText t = {.bytes = g_byte_array_new()}, none = {.bytes = g_byte_array_new()};
        const Mapreduced__V1__Program *program;
        FakeWorker *w;
        char id[16];
        Fixture f;
        gsize size;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        w->deed = hold_maps;
        path = write_input(&f, "input", 5000000);
        script = write_input(&f, "script", 3000001);
        empty = write_input(&f, "nothing", 0);
        g_assert_cmpint(chmod(script, 0755), ==, 0);
        input = setting("Input", path);
        a = g_strconcat("File=m.py:", script, NULL);
        b = g_strconcat("File=empty:", empty, NULL);
        submit(&f, SETTINGS("Mapper=./m.py", input, a, b), id);
        g_assert_cmpint(unlink(script), ==, 0); /* it has its own copy */
        wait_count(&f, &w->maps_started, 1, "the map");
        program = ((FakeRun *) w->runs->pdata[0])->spec->program;
        g_assert_cmpuint(program->n_files, ==, 2);
        g_assert_cmpstr(program->files[0]->name, ==, "m.py");
        g_assert_cmpuint(program->files[0]->size_bytes, ==, 3000001);
        g_assert_true(program->files[0]->executable);
        g_assert_false(program->files[1]->executable);

        g_assert_cmpint(read_job_file(w, id, "m.py", &t), ==, EVGRPC_OK);
        g_assert_true(g_file_get_contents(path, &text, &size, NULL)); /* the same pattern */
        g_assert_cmpuint(t.total, ==, 3000001);
        g_assert_cmpmem(t.bytes->data, t.bytes->len, text, 3000001);
        g_assert_cmpint(read_job_file(w, id, "empty", &none), ==, EVGRPC_OK);
        g_assert_cmpuint(none.bytes->len, ==, 0);
        g_assert_cmpint(read_job_file(w, id, "../state.db", &none), ==, EVGRPC_NOT_FOUND);
        g_assert_cmpint(read_job_file(w, "99", "m.py", &none), ==, EVGRPC_NOT_FOUND);
        g_byte_array_unref(t.bytes);
        g_byte_array_unref(none.bytes);
        fixture_done(&f);
}

/* ---- The contract ---- */

typedef struct Contract {
        GString *text;
        GPtrArray *lines;
        char *interface, *member;
        bool ours;
} Contract;

static const char *attribute(const gchar **names, const gchar **values, const char *name)
{
        for (; *names; names++, values++)
                if (g_str_equal(*names, name))
                        return *values;
        return "";
}

static void on_element(GMarkupParseContext *context, const gchar *element, const gchar **names,
                       const gchar **values, gpointer userdata, GError **error)
{
        Contract *c = userdata;
        const char *name = attribute(names, values, "name");

        if (g_str_equal(element, "interface")) {
                g_free(c->interface);
                c->interface = g_strdup(name);
                c->ours = g_str_has_prefix(name, "org.mapreduced.");
        } else if (g_str_equal(element, "method") || g_str_equal(element, "property")) {
                g_free(c->member);
                c->member = g_strdup(name);
                if (c->ours)
                        g_ptr_array_add(c->lines,
                                        g_strdup_printf("%s %s %s %s %s", c->interface, element,
                                                        name, attribute(names, values, "type"),
                                                        attribute(names, values, "access")));
        } else if (g_str_equal(element, "arg") && c->ours) {
                g_ptr_array_add(c->lines,
                                g_strdup_printf("%s %s arg %s %s %s", c->interface, c->member, name,
                                                attribute(names, values, "type"),
                                                attribute(names, values, "direction")));
        } else if (g_str_equal(element, "annotation") && c->ours &&
                   g_str_equal(name, "org.freedesktop.DBus.Property.EmitsChangedSignal")) {
                g_ptr_array_add(c->lines, g_strdup_printf("%s %s emits %s", c->interface, c->member,
                                                          attribute(names, values, "value")));
        }
}

static gint compare_lines(gconstpointer a, gconstpointer b)
{
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void read_contract(Contract *c, const char *xml)
{
        static const GMarkupParser parser = {.start_element = on_element};
        GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, c, NULL);

        g_assert_true(g_markup_parse_context_parse(context, xml, -1, NULL));
        g_markup_parse_context_free(context);
}

static char *contract_text(Contract *c)
{
        char *s;

        g_ptr_array_sort(c->lines, compare_lines);
        g_ptr_array_add(c->lines, NULL);
        s = g_strjoinv("\n", (char **) c->lines->pdata);
        g_ptr_array_unref(c->lines);
        g_free(c->interface);
        g_free(c->member);
        return s;
}

static void introspect(Fixture *f, Contract *c, const char *path)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *xml;

        g_assert_cmpint(sd_bus_call_method(f->bus, "org.mapreduced.Master1", path,
                                           "org.freedesktop.DBus.Introspectable", "Introspect",
                                           &error, &reply, ""),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_read(reply, "s", &xml), >=, 0);
        read_contract(c, xml);
}

static void test_what_lives_on_the_bus_is_what_the_contract_says(void)
{
        Contract live = {.lines = g_ptr_array_new_with_free_func(g_free)};
        Contract written = {.lines = g_ptr_array_new_with_free_func(g_free)};
        g_autofree char *xml = NULL, *a = NULL, *b = NULL, *path = NULL, *input = NULL,
                        *worker = NULL;
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        worker = g_strconcat("/org/mapreduced/Master1/worker/", w->id, NULL);
        introspect(&f, &live, "/org/mapreduced/Master1");
        introspect(&f, &live, "/org/mapreduced/Master1/job/1");
        introspect(&f, &live, worker);
        g_assert_true(g_file_get_contents(g_getenv("MR_MASTER_XML"), &xml, NULL, NULL));
        read_contract(&written, xml);
        a = contract_text(&live);
        b = contract_text(&written);
        g_assert_cmpstr(a, ==, b);
        assert_contains(a, "org.mapreduced.Master1.Job method OpenPart");
        fixture_done(&f);
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        (*(unsigned *) userdata)++;
        return 0;
}

static bool bus_drained(void *userdata)
{
        return sd_bus_process(userdata, NULL) == 0;
}

static void test_changes_are_announced_but_not_one_by_one(void)
{
        unsigned signals = 0;
        gint64 began, took;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 4);
        g_assert_cmpint(sd_bus_match_signal(f.bus, NULL, "org.mapreduced.Master1",
                                            "/org/mapreduced/Master1/job/1",
                                            "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                            on_properties, &signals),
                        >=, 0);
        began = g_get_monotonic_time();
        submit_input(&f, 400 * 4096, SETTINGS("App=wordcount", "SplitSize=4096"), id);
        wait_for_state(&f, id, "done");
        took = g_get_monotonic_time() - began;
        fixture_run_for(&f, 100);
        fixture_wait(&f, bus_drained, f.bus, "the bus");
        g_assert_cmpuint(signals, >=, 2);
        g_assert_cmpuint(signals, <=,
                         5 + (unsigned) (took / 200000)); /* four states, and five a second */
        fixture_done(&f);
}

/* ---- In the long run ---- */

static uint64_t memory_of(pid_t pid)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int) pid), *text = NULL;
        uint64_t pages = 0;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpint(sscanf(text, "%*u %" G_GUINT64_FORMAT, &pages), ==, 1);
        return pages * (uint64_t) sysconf(_SC_PAGESIZE);
}

static void run_jobs(Fixture *f, const char *input, unsigned count)
{
        char id[16];

        for (unsigned i = 0; i < count; i++) {
                submit(f, SETTINGS("App=wordcount", input, "SplitSize=4096", "Reduces=2"), id);
                wait_for_state(f, id, "done");
        }
}

static void test_hundreds_of_jobs_leave_no_memory_behind(void)
{
        g_autofree char *path = NULL, *input = NULL, *results = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t before, after;
        Fixture f;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 4);
        path = write_input(&f, "input", 10 * 4096);
        input = setting("Input", path);
        run_jobs(&f, input, 150);
        before = memory_of(f.master_pid);
        run_jobs(&f, input, 250);
        after = memory_of(f.master_pid);
        g_test_message("resident memory after 150 jobs %" G_GUINT64_FORMAT
                       " KiB, after 400 %" G_GUINT64_FORMAT " KiB",
                       before / 1024, after / 1024);
        if (g_getenv("MR_SANITIZED") && g_str_equal(g_getenv("MR_SANITIZED"), "0"))
                g_assert_cmpuint(after, <=, before + before / 10);
        /* KeepJobs=100: the first are gone, with their results. */
        g_assert_cmpint(call_job(&f, "1", "ListEvents", &error, NULL, ""), <, 0);
        sd_bus_error_free(&error);
        results = g_build_filename(f.state, "results", NULL);
        g_assert_false(exists(results, "1"));
        g_assert_true(exists(results, "400"));
        fixture_done(&f);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        if (!g_getenv("MR_MASTERD") || !g_getenv("MR_MASTER_XML")) {
                g_printerr("MR_MASTERD and MR_MASTER_XML name what is tested\n");
                return 77;
        }
#define T(name, function) g_test_add_func("/bus/masterd/" name, function)
        T("a-job-is-mapped-reduced-and-put-in-place",
          test_a_job_is_mapped_reduced_and_put_in_place);
        T("a-result-without-output-is-read-part-by-part",
          test_a_result_without_output_is_read_part_by_part);
        T("without-input-bytes-the-reduces-make-empty-parts",
          test_without_input_bytes_the_reduces_make_empty_parts);
        T("a-job-without-workers-waits-and-says-so", test_a_job_without_workers_waits_and_says_so);
        T("a-job-waits-for-a-worker-that-knows-its-settings",
          test_a_job_waits_for_a_worker_that_knows_its_settings);
        T("a-bad-description-is-refused-with-the-way-out",
          test_a_bad_description_is_refused_with_the_way_out);
        T("inputs-that-cannot-be-read-are-named", test_inputs_that_cannot_be_read_are_named);
        T("an-output-with-something-in-it-is-refused-and-kept",
          test_an_output_with_something_in_it_is_refused_and_kept);
        T("a-cancelled-job-stops-its-attempts-and-leaves-nothing",
          test_a_cancelled_job_stops_its_attempts_and_leaves_nothing);
        T("a-repeated-submission-is-the-same-job", test_a_repeated_submission_is_the_same_job);
        T("shipped-files-come-to-the-workers-as-they-were",
          test_shipped_files_come_to_the_workers_as_they_were);
        T("what-lives-on-the-bus-is-what-the-contract-says",
          test_what_lives_on_the_bus_is_what_the_contract_says);
        T("changes-are-announced-but-not-one-by-one",
          test_changes_are_announced_but_not_one_by_one);
        T("hundreds-of-jobs-leave-no-memory-behind", test_hundreds_of_jobs_leave_no_memory_behind);
#undef T
        return g_test_run();
}

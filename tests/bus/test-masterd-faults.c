/*
 * mr-masterd when things go wrong: attempts that fail, workers that go, and its own end.
 */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "masterd-fixture.h"

/* Of job 1; every fake map counts one. */
static void assert_maps_counted(const Fixture *f, uint64_t maps)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *counters = NULL;
        const char *name;
        uint64_t value;

        g_assert_cmpint(sd_bus_get_property(
                                f->bus, "org.mapreduced.Master1", "/org/mapreduced/Master1/job/1",
                                "org.mapreduced.Master1.Job", "Counters", NULL, &counters, "a{st}"),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(counters, 'a', "{st}"), >, 0);
        g_assert_cmpint(sd_bus_message_read(counters, "{st}", &name, &value), >, 0);
        g_assert_cmpstr(name, ==, "maps-counted");
        g_assert_cmpuint(value, ==, maps);
}

/* ---- Attempts that do not succeed ---- */

static Deed fail_maps(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return spec->kind == MAPREDUCED__V1__TASK_KIND__MAP ? FAIL : SUCCEED;
}

static Deed fail_for_good(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return FAIL_FOR_GOOD;
}

static Deed fail_first_attempts(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return spec->attempt == 0 ? FAIL : SUCCEED;
}

static Deed break_off_first_attempts(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec,
                                     void *userdata)
{
        return spec->attempt == 0 ? BREAK_OFF : SUCCEED;
}

static Deed reject_first_attempts(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec,
                                  void *userdata)
{
        return spec->attempt == 0 ? REJECT : SUCCEED;
}

static Deed hold_reduces(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return spec->kind == MAPREDUCED__V1__TASK_KIND__REDUCE ? HOLD : SUCCEED;
}

static void test_a_task_that_always_fails_fails_the_job_with_its_sentence(void)
{
        g_autofree char *out = NULL, *output = NULL, *reason = NULL, *words = NULL, *events = NULL;
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        w->deed = fail_maps;
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 100, SETTINGS("Mapper=./m.py", output, "MaxAttempts=3"), id);
        wait_for_state(&f, id, "failed");
        reason = job_text(&f, id, "StateReason");
        words = job_text(&f, id, "ErrorOutput");
        events = job_events(&f, id);
        assert_contains(reason,
                        "the mapper ended with status 3 (attempt 2, on w1, the last of 3 that "
                        "failed)");
        g_assert_cmpstr(words, ==, "last words\n");
        assert_contains(events, "attempt-failed: attempt 2 of map 0 on w1 failed");
        g_assert_cmpuint(job_number(&f, id, "AttemptsFailed"), ==, 3);
        g_assert_cmpuint(w->maps_started, ==, 3);
        g_assert_false(
                exists(f.dir, "out")); /* we made it, we removed it: the next run is not refused */
        fixture_done(&f);
}

static void test_a_permanent_failure_is_not_tried_again(void)
{
        g_autofree char *reason = NULL;
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        w->deed = fail_for_good;
        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        wait_for_state(&f, id, "failed");
        reason = job_text(&f, id, "StateReason");
        g_assert_cmpstr(reason, ==, "no such option: -x");
        g_assert_cmpuint(w->maps_started, ==, 1);
        fixture_done(&f);
}

static void run_with_deed(DeedFn deed, uint64_t failed, uint64_t lost)
{
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 2);
        w->deed = deed;
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", "SplitSize=4096", "Reduces=2"), id);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(job_number(&f, id, "AttemptsFailed"), ==, failed);
        g_assert_cmpuint(job_number(&f, id, "AttemptsLost"), ==, lost);
        fixture_done(&f);
}

static void test_failed_attempts_are_made_again(void)
{
        run_with_deed(fail_first_attempts, 5, 0);
}

static void test_a_call_that_ends_without_a_result_is_a_lost_attempt(void)
{
        run_with_deed(break_off_first_attempts, 0, 5);
}

static void test_a_rejected_task_is_offered_again_and_counts_for_nothing(void)
{
        run_with_deed(reject_first_attempts, 0, 0);
}

static Deed refuse(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return REFUSE;
}

/* Lost attempts are made again without end; this one would be lost each time. */
static void test_a_task_that_no_worker_understands_fails_its_job(void)
{
        g_autofree char *reason = NULL;
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        w->deed = refuse;
        submit_input(&f, 100, SETTINGS("App=wordcount", "MaxAttempts=3"), id);
        wait_for_state(&f, id, "failed");
        reason = job_text(&f, id, "StateReason");
        assert_contains(reason, "INVALID_ARGUMENT: no such kind");
        g_assert_cmpuint(w->maps_started, ==, 3);
        fixture_done(&f);
}

/* ---- Workers that go ---- */

static bool all_maps_done(void *userdata)
{
        return job_number(userdata, "1", "MapsDone") == job_number(userdata, "1", "Maps");
}

/* Three maps on w1; then w1 is cut off without a word, and w2 has to make them again. */
static void test_a_silent_worker_loses_its_maps_which_run_again(void)
{
        g_autofree char *out = NULL, *output = NULL, *events = NULL;
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, quick);
        w1 = fake_worker(&f, "w1", 4);
        w1->deed = hold_reduces;
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", output, "SplitSize=4096"), id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        wait_count(&f, &w1->reduces_started, 1, "the reduce");
        w2 = fake_worker(&f, "w2", 1);
        fake_silence(w1);
        wait_for_state(&f, id, "done");

        g_assert_cmpuint(w2->maps_started, ==, 3);
        assert_part(out, "part-00000",
                    "map 0 attempt 1\nmap 1 attempt 1\nmap 2 attempt 1\nreduce 0\n");
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 3);
        g_assert_cmpuint(job_number(&f, id, "AttemptsLost"), ==, 1);
        events = job_events(&f, id);
        g_assert_true(g_regex_match_simple(
                "worker-lost: w1 is lost: not heard of for [0-9.]+ s, its lease was 2 s\n", events,
                0, 0));
        assert_contains(events, "map-output-lost: the outputs of 3 maps were on w1");
        assert_contains(events, "attempt-lost: attempt 0 of reduce 0 on w1");
        fixture_done(&f);
}

static Deed hold_reduces_untold(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return spec->kind == MAPREDUCED__V1__TASK_KIND__REDUCE ? HOLD_UNTOLD : SUCCEED;
}

static Deed hold_all(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        return HOLD;
}

/* As that, but the reduce has read them all, and says so with its result only: before any map has
 * run again. */
static void test_records_count_once_though_the_reduce_ends_before_its_maps(void)
{
        g_autofree char *path = NULL, *input = NULL;
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w1 = fake_worker(&f, "w1", 4);
        w1->deed = hold_reduces_untold;
        path = write_input(&f, "input", 3 * 4096);
        input = setting("Input", path);
        submit(&f, SETTINGS("App=wordcount", input, "SplitSize=4096"), id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        wait_count(&f, &w1->reduces_started, 1, "the reduce");
        w1->deed = hold_all;
        w2 = fake_worker(&f, "w2", 1);
        w2->deed = hold_all;
        for (uint32_t map = 0; map < 2; map++)
                fake_report_lost(w2, id, map, 0, w1, true);
        g_assert_cmpuint(job_number(&f, id, "MapsDone"), ==, 1);
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 2);
        fake_finish_reduce(w1);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(job_number(&f, id, "MapsDone"), ==, 3);
        assert_maps_counted(&f, 3);
        fixture_done(&f);
}

/* The one reduce of all workers has heard of one map. */
static bool first_output_is_heard_of(void *userdata)
{
        const Fixture *f = userdata;

        for (guint i = 0; i < f->workers->len; i++) {
                const FakeWorker *w = f->workers->pdata[i];

                for (guint j = 0; j < w->runs->len; j++) {
                        const FakeRun *run = w->runs->pdata[j];

                        if (run->spec->kind == MAPREDUCED__V1__TASK_KIND__REDUCE &&
                            g_hash_table_size(run->outputs) == 1)
                                return true;
                }
        }
        return false;
}

static void test_a_shuffling_reduce_hears_of_a_lost_output_and_of_the_new_one(void)
{
        g_autofree char *out = NULL, *output = NULL;
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w1 = fake_worker(&f, "w1",
                         1); /* does one map; the other is held on w2, so the reduce waits */
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        w2 = fake_worker(&f, "w2", 1);
        w2->deed = hold_maps;
        submit_input(&f, 2 * 4096, SETTINGS("App=wordcount", output, "SplitSize=4096"), id);
        wait_count(&f, &w1->maps_started, 1, "the first map");
        wait_count(&f, &w2->maps_started, 1, "the second map");
        fixture_wait(&f, first_output_is_heard_of, &f, "the reduce to have the first map's output");
        g_assert_cmpuint(w1->reduces_started + w2->reduces_started, ==, 1);
        fake_report_lost(w2, id, 0, 0, w1, true);
        fake_report_lost(w2, id, 1, 0, w1, true);
        wait_count(&f, &w1->maps_started, 2, "the map again");
        fake_release(w2);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 1);
        g_assert_cmpuint(w1->lost_seen + w2->lost_seen, ==, 1);
        fixture_done(&f);
}

/* A report that blames a worker which nobody knows is one report, not a certainty. */
static void test_one_report_does_not_cost_the_output_of_a_healthy_worker(void)
{
        static const FakeWorker nobody = {.id = "00000000000000000000000000000000"};
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w1 = fake_worker(&f, "w1", 4);
        w1->deed = hold_reduces;
        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        wait_count(&f, &w1->reduces_started, 1, "the reduce");
        w2 = fake_worker(&f, "w2", 1);
        fake_report_lost(w2, id, 0, 0, &nobody, false);
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 0);
        fake_release(w1);
        wait_for_state(&f, id, "done");
        fixture_done(&f);
}

static void test_a_restarted_worker_keeps_its_outputs_and_loses_its_attempts(void)
{
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 4);
        w->deed = hold_reduces;
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", "SplitSize=4096"), id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        wait_count(&f, &w->reduces_started, 1, "the reduce");
        w->deed = NULL;
        fake_restart(w, true);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(w->maps_started, ==, 3);
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 0);
        g_assert_cmpuint(job_number(&f, id, "AttemptsLost"), ==, 1);
        fixture_done(&f);
}

static void test_a_worker_that_lost_its_disk_makes_its_maps_again(void)
{
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 4);
        w->deed = hold_reduces;
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", "SplitSize=4096"), id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        w->deed = NULL;
        fake_restart(w, false);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(w->maps_started, ==, 6);
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 3);
        fixture_done(&f);
}

static bool is_forgotten(void *userdata)
{
        const FakeWorker *w = userdata;

        for (guint i = 0; i < w->forgotten->len; i++)
                if (g_str_equal(w->forgotten->pdata[i], fake_wire_id("1")))
                        return true;
        return false;
}

static void test_workers_are_told_which_jobs_to_forget(void)
{
        FakeWorker *w;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 1);
        submit_input(&f, 100, SETTINGS("App=wordcount"), id);
        wait_for_state(&f, id, "done");
        fixture_wait(&f, is_forgotten, w, "the order to forget job 1");
        fixture_done(&f);
}

static void test_a_registration_that_makes_no_sense_is_refused(void)
{
        FakeWorker *w;
        Fixture f;

        fixture_init(&f, patient);
        w = fake_worker(&f, "w1", 5000);
        g_assert_cmpuint(w->refused, ==, 1);
        assert_contains(w->refusal, "1 to 4096 slots");
        fixture_done(&f);
}

/* ---- The master goes ---- */

static bool both_reduces_are_started(void *userdata)
{
        const Fixture *f = userdata;
        unsigned started = 0;

        for (guint i = 0; i < f->workers->len; i++)
                started += ((const FakeWorker *) f->workers->pdata[i])->reduces_started;
        return started == 2;
}

/* What the bus tells may not be saved yet. It is before a job is taken. */
static void submit_another(Fixture *f)
{
        char id[16];

        submit(f, SETTINGS("App=wordcount", "Input=/nonexistent"), id);
}

static void test_a_killed_master_goes_on_where_it_was(void)
{
        g_autofree char *out = NULL, *output = NULL, *events = NULL;
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        w1 = fake_worker(&f, "w1", 4);
        w2 = fake_worker(&f, "w2", 4);
        w1->deed = w2->deed = hold_reduces;
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 6 * 4096, SETTINGS("App=wordcount", output, "SplitSize=4096", "Reduces=2"),
                     id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        fixture_wait(&f, both_reduces_are_started, &f, "the reduces");
        submit_another(&f);
        fixture_kill_master(&f, SIGKILL);
        w1->deed = w2->deed = NULL;
        fixture_start_master(&f);
        wait_for_state(&f, id, "done");

        g_assert_cmpuint(w1->maps_started + w2->maps_started, ==, 6); /* none again */
        g_assert_cmpuint(job_number(&f, id, "MapOutputsLost"), ==, 0);
        g_assert_cmpuint(job_number(&f, id, "AttemptsLost"), ==, 2);
        g_assert_true(exists(out, "_SUCCESS"));
        events = job_events(&f, id);
        assert_contains(
                events,
                "master-restarted: the master was restarted: 6 of 6 maps and 0 of 2 reduces were done");
        fixture_done(&f);
}

/* The length of map 0, in @userdata. */
static Deed hold_and_tell(FakeWorker *w, const Mapreduced__V1__TaskSpec *spec, void *userdata)
{
        uint64_t *length = userdata;

        if (spec->kind == MAPREDUCED__V1__TASK_KIND__MAP && spec->task == 0) {
                g_assert_cmpuint(spec->n_pieces, ==, 1);
                *length = spec->pieces[0]->length;
        }
        return HOLD;
}

static bool is_told(void *userdata)
{
        return *(uint64_t *) userdata > 0;
}

/*
 * A command's job on a worker with a slot, of maps alone, for a reduce would hold one. 190 MiB on
 * one slot are 95 and two halves of 95 (split.h). On three slots they would be 64, 63 and 63: as
 * many.
 */
static FakeWorker *hold_a_command(Fixture *f, char id[static 16])
{
        g_autofree char *path = g_build_filename(f->dir, "sparse", NULL),
                        *input = setting("Input", path);
        FakeWorker *w = fake_worker(f, "w1", 1);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        uint64_t length = 0;

        w->deed = hold_and_tell;
        w->userdata = &length;
        g_assert_cmpint(ftruncate(fd, MIB(190)), ==, 0);
        (void) close(fd);
        submit(f, SETTINGS("Mapper=cat", "Reduces=0", input), id);
        fixture_wait(f, is_told, &length, "map 0");
        w->deed = hold_all;
        g_assert_cmpuint(length, ==, MIB(95));
        g_assert_cmpuint(job_number(f, id, "Maps"), ==, 3);
        return w;
}

static void test_a_command_has_the_same_splits_after_a_restart(void)
{
        FakeWorker *w1, *w2;
        uint64_t after = 0;
        char id[16];
        Fixture f;

        fixture_init(&f, quick);
        w1 = hold_a_command(&f, id);
        fixture_kill_master(&f, SIGKILL);
        fake_kill(w1);
        fixture_start_master(&f);
        w2 = fake_worker(&f, "w2", 3);
        w2->deed = hold_and_tell;
        w2->userdata = &after;
        fixture_wait(&f, is_told, &after, "map 0 again");
        g_assert_cmpuint(after, ==, MIB(95));
        fixture_done(&f);
}

static void test_maps_of_a_worker_that_did_not_come_back_run_again(void)
{
        FakeWorker *w1, *w2;
        char id[16];
        Fixture f;

        fixture_init(&f, quick);
        w1 = fake_worker(&f, "w1", 4);
        w1->deed = hold_reduces;
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", "SplitSize=4096"), id);
        wait_for_state(&f, id, "running");
        fixture_wait(&f, all_maps_done, &f, "the maps");
        fixture_kill_master(&f, SIGKILL);
        fake_kill(w1);
        fixture_start_master(&f);
        w2 = fake_worker(&f, "w2", 4);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(w2->maps_started, ==, 3);
        fixture_done(&f);
}

static void test_jobs_that_are_over_are_there_after_a_restart(void)
{
        g_autofree char *path = NULL, *input = NULL, *state = NULL, *reason = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char id[16], other[16], again[16];
        Fixture f;

        fixture_init(&f, patient);
        (void) fake_worker(&f, "w1", 4);
        path = write_input(&f, "input", 100);
        input = setting("Input", path);
        submit(&f, SETTINGS("App=wordcount", input, "RequestId=r1"), id);
        wait_for_state(&f, id, "done");
        submit(&f, SETTINGS("App=wordcount", "Input=/nonexistent"), other);
        wait_for_state(&f, other, "failed");
        fixture_kill_master(&f, SIGTERM);
        fixture_start_master(&f);
        state = job_text(&f, id, "State");
        g_assert_cmpstr(state, ==, "done");
        reason = job_text(&f, other, "StateReason");
        assert_contains(reason, "/nonexistent does not exist");
        g_assert_cmpint(call_job(&f, id, "OpenPart", &error, &reply, "u", 0U), >=, 0);
        submit(&f, SETTINGS("App=wordcount", input, "RequestId=r1"), again);
        g_assert_cmpstr(again, ==, id);
        submit(&f, SETTINGS("App=wordcount", input), again);
        g_assert_cmpstr(again, ==, "3");
        fixture_done(&f);
}

static void change_state(Fixture *f, const char *sql)
{
        g_autofree char *path = g_build_filename(f->state, "state.db", NULL);
        sqlite3 *db = NULL;

        g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
}

/* As many, but cut elsewhere: some lines would be mapped twice, and others never. */
static void test_a_job_that_would_be_cut_elsewhere_fails(void)
{
        g_autofree char *reason = NULL;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        (void) hold_a_command(&f, id);
        fixture_kill_master(&f, SIGTERM);
        change_state(&f, "UPDATE jobs SET description = CAST(replace(CAST(description AS TEXT), "
                         "'PlannedSlots=1', 'PlannedSlots=3') AS BLOB)");
        fixture_start_master(&f);
        wait_for_state(&f, id, "failed");
        reason = job_text(&f, id, "StateReason");
        assert_contains(reason, "planned by another version, which cut its input elsewhere");
        fixture_done(&f);
}

static bool master_is_gone(void *userdata)
{
        const Fixture *f = userdata;
        siginfo_t info = {};

        return waitid(P_PID, (id_t) f->master_pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == f->master_pid;
}

/* The disk lets it write that the job commits, and not that it is done. */
static void test_a_job_whose_commit_was_interrupted_keeps_its_numbers(void)
{
        g_autofree char *out = NULL, *output = NULL;
        char id[16];
        Fixture f;

        fixture_init(&f, patient);
        fixture_kill_master(&f, SIGTERM);
        change_state(&f, "CREATE TRIGGER full BEFORE INSERT ON jobs WHEN NEW.state = 3 "
                         "BEGIN SELECT RAISE(ABORT, 'no room'); END");
        fixture_start_master(&f);
        (void) fake_worker(&f, "w1", 4);
        out = g_build_filename(f.dir, "out", NULL);
        output = setting("Output", out);
        submit_input(&f, 3 * 4096, SETTINGS("App=wordcount", output, "SplitSize=4096", "Reduces=2"),
                     id);
        fixture_wait(&f, master_is_gone, &f, "the end of a master that cannot save");
        fixture_kill_master(&f, SIGKILL);
        change_state(&f, "DROP TRIGGER full");
        fixture_start_master(&f);
        wait_for_state(&f, id, "done");
        g_assert_cmpuint(job_number(&f, id, "MapsDone"), ==, 3);
        g_assert_cmpuint(job_number(&f, id, "ReducesDone"), ==, 2);
        g_assert_true(exists(out, "_SUCCESS"));
        assert_maps_counted(&f, 3);
        fixture_done(&f);
}

static bool one_job_is_forgotten(void *userdata)
{
        unsigned known = 0;

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

                known +=
                        call_job(userdata, i == 0 ? "1" : "2", "ListEvents", &error, NULL, "") >= 0;
        }
        return known == 1;
}

/* Job 2 is over long before job 1, and only one is kept. Its number must not come again. */
static void test_a_number_is_never_given_to_two_jobs(void)
{
        g_autofree char *path = NULL, *input = NULL, *config = NULL, *option = NULL;
        char first[16], second[16], third[16];
        FakeWorker *w;
        Fixture f;

        fixture_init(&f, patient);
        fixture_kill_master(&f, SIGTERM);
        config = g_build_filename(f.dir, "masterd.conf", NULL);
        g_assert_true(g_file_set_contents(config, "[Master]\nKeepJobs=1\n", -1, NULL));
        option = g_strconcat("--config=", config, NULL);
        g_ptr_array_insert(f.options, 0, g_steal_pointer(&option));
        fixture_start_master(&f);
        w = fake_worker(&f, "w1", 1);
        w->deed = hold_maps;
        path = write_input(&f, "input", 100);
        input = setting("Input", path);
        submit(&f, SETTINGS("App=wordcount", input), first);
        wait_count(&f, &w->maps_started, 1, "the map");
        submit(&f, SETTINGS("App=wordcount", "Input=/nonexistent"), second);
        wait_for_state(&f, second, "failed");
        fake_release(w);
        fixture_wait(&f, one_job_is_forgotten, &f, "the end of a job too many");
        fixture_kill_master(&f, SIGTERM);
        fixture_start_master(&f);
        submit(&f, SETTINGS("App=wordcount", "Input=/nonexistent"), third);
        g_assert_cmpstr(third, ==, "3");
        fixture_done(&f);
}

static void test_a_second_master_on_one_state_is_refused_by_name(void)
{
        g_autofree char *words = NULL, *network = NULL;
        Fixture f;

        fixture_init(&f, patient);
        g_assert_cmpint(fixture_run_master(&f, SETTINGS("--bus=none"), &words), !=, 0);
        assert_contains(words, "another mr-masterd uses the state directory");
        assert_contains(words, f.state);
        g_assert_cmpint(fixture_run_master(&f,
                                           SETTINGS("--listen=0.0.0.0:0", "--insecure-plain-tcp"),
                                           &network),
                        !=, 0);
        assert_contains(network, "--insecure-plain-tcp is for the loopback only");
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
        T("a-task-that-always-fails-fails-the-job-with-its-sentence",
          test_a_task_that_always_fails_fails_the_job_with_its_sentence);
        T("a-permanent-failure-is-not-tried-again", test_a_permanent_failure_is_not_tried_again);
        T("failed-attempts-are-made-again", test_failed_attempts_are_made_again);
        T("a-call-that-ends-without-a-result-is-a-lost-attempt",
          test_a_call_that_ends_without_a_result_is_a_lost_attempt);
        T("a-rejected-task-is-offered-again-and-counts-for-nothing",
          test_a_rejected_task_is_offered_again_and_counts_for_nothing);
        T("a-silent-worker-loses-its-maps-which-run-again",
          test_a_silent_worker_loses_its_maps_which_run_again);
        T("records-count-once-though-the-reduce-ends-before-its-maps",
          test_records_count_once_though_the_reduce_ends_before_its_maps);
        T("a-shuffling-reduce-hears-of-a-lost-output-and-of-the-new-one",
          test_a_shuffling_reduce_hears_of_a_lost_output_and_of_the_new_one);
        T("one-report-does-not-cost-the-output-of-a-healthy-worker",
          test_one_report_does_not_cost_the_output_of_a_healthy_worker);
        T("a-restarted-worker-keeps-its-outputs-and-loses-its-attempts",
          test_a_restarted_worker_keeps_its_outputs_and_loses_its_attempts);
        T("a-worker-that-lost-its-disk-makes-its-maps-again",
          test_a_worker_that_lost_its_disk_makes_its_maps_again);
        T("workers-are-told-which-jobs-to-forget", test_workers_are_told_which_jobs_to_forget);
        T("a-registration-that-makes-no-sense-is-refused",
          test_a_registration_that_makes_no_sense_is_refused);
        T("a-killed-master-goes-on-where-it-was", test_a_killed_master_goes_on_where_it_was);
        T("a-command-has-the-same-splits-after-a-restart",
          test_a_command_has_the_same_splits_after_a_restart);
        T("a-job-that-would-be-cut-elsewhere-fails", test_a_job_that_would_be_cut_elsewhere_fails);
        T("maps-of-a-worker-that-did-not-come-back-run-again",
          test_maps_of_a_worker_that_did_not_come_back_run_again);
        T("jobs-that-are-over-are-there-after-a-restart",
          test_jobs_that_are_over_are_there_after_a_restart);
        T("a-task-that-no-worker-understands-fails-its-job",
          test_a_task_that_no_worker_understands_fails_its_job);
        T("a-job-whose-commit-was-interrupted-keeps-its-numbers",
          test_a_job_whose_commit_was_interrupted_keeps_its_numbers);
        T("a-number-is-never-given-to-two-jobs", test_a_number_is_never_given_to_two_jobs);
        T("a-second-master-on-one-state-is-refused-by-name",
          test_a_second_master_on_one_state_is_refused_by_name);
#undef T
        return g_test_run();
}

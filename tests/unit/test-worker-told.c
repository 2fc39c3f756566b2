/*
 * Results that were told and may not have been heard: kept until an answer to the question does not
 * name them, and bounded.
 */
#include "mr-workerd/worker-told.h"

typedef Mapreduced__V1__TaskSpec TaskSpec;
typedef Mapreduced__V1__TaskResult TaskResult;
typedef Mapreduced__V1__RunningAttempt RunningAttempt;

static TaskSpec spec_of(const char *job, Mapreduced__V1__TaskKind kind, uint32_t task,
                        uint32_t attempt)
{
        TaskSpec s = MAPREDUCED__V1__TASK_SPEC__INIT;

        s.job_id = (char *) job;
        s.kind = kind;
        s.task = task;
        s.attempt = attempt;
        return s;
}

static TaskSpec map(uint32_t task)
{
        return spec_of("7-ab", MAPREDUCED__V1__TASK_KIND__MAP, task, 0);
}

static void tell(Told *t, TaskSpec spec, uint64_t bytes)
{
        TaskResult r = MAPREDUCED__V1__TASK_RESULT__INIT;

        r.output_bytes = bytes;
        told_add(t, &spec, &r);
}

/* The result's bytes; -1: none is kept. */
static int64_t bytes_of(const Told *t, TaskSpec spec)
{
        TaskResult *r = told_find(t, &spec);
        int64_t bytes = r ? (int64_t) r->output_bytes : -1;

        mapreduced__v1__task_result__free_unpacked(r, NULL);
        return bytes;
}

static void test_an_answer_settles_what_was_asked_about_and_nothing_else(void)
{
        g_autoptr(GPtrArray) asked = running_attempts_new();
        Told *t = told_new();
        RunningAttempt *wanted[1];

        tell(t, map(0), 10);
        tell(t, map(1), 11);
        told_ask(t, asked);
        g_assert_cmpuint(asked->len, ==, 2);
        wanted[0] = asked->pdata[1];
        g_assert_cmpuint(wanted[0]->task, ==, 1);
        g_assert_cmpstr(wanted[0]->job_id, ==, "7-ab");
        tell(t, map(2), 12); /* while the question is on its way */
        told_answer(t, wanted, 1);
        g_assert_cmpint(bytes_of(t, map(0)), ==, -1);
        g_assert_cmpint(bytes_of(t, map(1)), ==, 11);
        g_assert_cmpint(bytes_of(t, map(2)), ==, 12);
        told_answer(t, NULL, 0); /* to no question */
        g_assert_cmpuint(told_count(t), ==, 2);
        g_ptr_array_set_size(asked, 0);
        told_ask(t, asked);
        told_answer(t, NULL, 0);
        g_assert_cmpuint(told_count(t), ==, 0);
        told_free(t);
}

static void test_attempts_are_told_apart(void)
{
        const TaskSpec reduce = spec_of("7-ab", MAPREDUCED__V1__TASK_KIND__REDUCE, 0, 0);
        const TaskSpec second = spec_of("7-ab", MAPREDUCED__V1__TASK_KIND__MAP, 0, 1);
        const TaskSpec other = spec_of("8-ab", MAPREDUCED__V1__TASK_KIND__MAP, 0, 0);
        Told *t = told_new();

        tell(t, map(0), 1);
        tell(t, reduce, 2);
        tell(t, second, 3);
        tell(t, other, 4);
        tell(t, map(0), 5); /* the newer one counts */
        g_assert_cmpuint(told_count(t), ==, 4);
        g_assert_cmpint(bytes_of(t, map(0)), ==, 5);
        g_assert_cmpint(bytes_of(t, reduce), ==, 2);
        g_assert_cmpint(bytes_of(t, second), ==, 3);
        told_forget(t, &reduce);
        g_assert_cmpint(bytes_of(t, reduce), ==, -1);
        told_forget_job(t, "7-ab");
        g_assert_cmpuint(told_count(t), ==, 1);
        g_assert_cmpint(bytes_of(t, other), ==, 4);
        told_free(t);
}

static void test_the_oldest_go_beyond_a_number_and_beyond_a_size(void)
{
        g_autofree char *error = g_strnfill(TOLD_BYTES_MAX / 4, 'e');
        TaskResult large = MAPREDUCED__V1__TASK_RESULT__INIT;
        Told *t = told_new();
        TaskSpec spec;

        for (uint32_t i = 0; i < TOLD_MAX + 5; i++)
                tell(t, map(i), i);
        g_assert_cmpuint(told_count(t), ==, TOLD_MAX);
        g_assert_cmpint(bytes_of(t, map(4)), ==, -1);
        g_assert_cmpint(bytes_of(t, map(5)), ==, 5);
        large.error = error;
        for (uint32_t i = 0; i < 5; i++) {
                spec = spec_of("9-ab", MAPREDUCED__V1__TASK_KIND__MAP, i, 0);
                told_add(t, &spec, &large);
        }
        g_assert_cmpuint(told_count(t), ==, 3); /* four would be the bound and their tags */
        g_assert_cmpint(bytes_of(t, spec), ==, 0);
        told_free(t);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/told/an-answer-settles-what-was-asked-about-and-nothing-else",
                        test_an_answer_settles_what_was_asked_about_and_nothing_else);
        g_test_add_func("/worker/told/attempts-are-told-apart", test_attempts_are_told_apart);
        g_test_add_func("/worker/told/the-oldest-go-beyond-a-number-and-beyond-a-size",
                        test_the_oldest_go_beyond_a_number_and_beyond_a_size);
        return g_test_run();
}

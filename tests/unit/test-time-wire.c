/*
 * What a server says is carried over whole, a reply to something else is refused, and loops of any
 * length are seen.
 */
#include "timesyncd-lite/wire.h"

#define OWN UINT64_C(0x1111)
#define T1 INT64_C(1795691595057862904)

static Mapreduced__Time__V1__SyncTimeReply good_reply(void)
{
        Mapreduced__Time__V1__SyncTimeReply m = MAPREDUCED__TIME__V1__SYNC_TIME_REPLY__INIT;

        m.t1_ns = T1;
        m.t2_ns = T1 + 100;
        m.t3_ns = T1 + 200;
        m.synchronised = true;
        m.stratum = 3;
        m.root_delay_ns = 5;
        m.root_dispersion_ns = 7;
        m.leap = MAPREDUCED__TIME__V1__LEAP__LEAP_DELETE;
        m.server_id = 0x2222;
        return m;
}

static void test_a_claim_survives_the_way_there_and_back(void)
{
        const TimeClaim said = {
                .synchronised = true,
                .stratum = 4,
                .root_delay_ns = 123456,
                .root_dispersion_ns = 654321,
                .leap = TIME_LEAP_INSERT,
        };
        Mapreduced__Time__V1__SyncTimeReply m = MAPREDUCED__TIME__V1__SYNC_TIME_REPLY__INIT, *back;
        ClockPath references = {.ids = {7, 8}, .count = 2};
        g_autofree uint8_t *bytes = NULL;
        WireReply r;
        size_t size;

        wire_fill_reply(&said, 6, &references, &m);
        m.t1_ns = T1;
        m.t2_ns = -1;
        m.t3_ns = INT64_MAX;
        size = mapreduced__time__v1__sync_time_reply__get_packed_size(&m);
        bytes = g_malloc(size);
        g_assert_cmpuint(mapreduced__time__v1__sync_time_reply__pack(&m, bytes), ==, size);
        back = mapreduced__time__v1__sync_time_reply__unpack(NULL, size, bytes);
        g_assert_nonnull(back);

        g_assert_cmpint(wire_read_reply(back, T1, OWN, &r), ==, 0);
        g_assert_cmpint(r.t[0], ==, T1);
        g_assert_cmpint(r.t[1], ==, -1);
        g_assert_cmpint(r.t[2], ==, INT64_MAX);
        g_assert_true(r.claim.synchronised);
        g_assert_false(r.claim.is_loop);
        g_assert_cmpuint(r.claim.stratum, ==, 4);
        g_assert_cmpint(r.claim.root_delay_ns, ==, 123456);
        g_assert_cmpint(r.claim.root_dispersion_ns, ==, 654321);
        g_assert_cmpint(r.claim.leap, ==, TIME_LEAP_INSERT);
        g_assert_cmpuint(r.path.count, ==, 3);
        g_assert_cmpuint(r.path.ids[0], ==, 6);
        g_assert_cmpuint(r.path.ids[2], ==, 8);
        mapreduced__time__v1__sync_time_reply__free_unpacked(back, NULL);
}

static void test_an_answer_to_another_question_is_refused(void)
{
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply r;

        g_assert_cmpint(wire_read_reply(&m, T1 + 1, OWN, &r), ==, -EBADMSG);
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
}

/* We are asked through two others: NTP's one reference id would not show it. */
static void test_a_loop_through_others_is_seen(void)
{
        uint64_t ids[] = {0x3333, OWN};
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply r;

        m.reference_ids = ids;
        m.n_reference_ids = 2;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
        g_assert_true(r.claim.is_loop);
        g_assert_cmpint(time_claim_check(&r.claim, INT64_MAX), ==, TIME_REJECT_LOOP);
        m.n_reference_ids = 1;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
        g_assert_false(r.claim.is_loop);
}

static void test_a_server_that_is_our_own_clock_is_a_loop(void)
{
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply r;

        m.server_id = OWN;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
        g_assert_true(r.claim.is_loop);
        g_assert_cmpint(wire_read_reply(&m, T1, 0, &r), ==, 0); /* who has no number finds none */
        g_assert_false(r.claim.is_loop);
}

static void test_no_path_is_longer_than_there_are_strata(void)
{
        uint64_t ids[CLOCK_PATH_MAX] = {};
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply r;

        m.reference_ids = ids;
        m.n_reference_ids = CLOCK_PATH_MAX - 1;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
        g_assert_cmpuint(r.path.count, ==, CLOCK_PATH_MAX);
        m.n_reference_ids = CLOCK_PATH_MAX;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, -EBADMSG);
}

/* A later version may announce what we do not know: that is no leap second to us. */
static void test_an_unknown_leap_is_none(void)
{
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply r;

        m.leap = (Mapreduced__Time__V1__Leap) 99;
        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &r), ==, 0);
        g_assert_cmpint(r.claim.leap, ==, TIME_LEAP_NONE);
}

static int follow_up(int64_t previous_t1_ns, int64_t previous_t3_ns, WireReply *first)
{
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();

        m.t1_ns = T1 + 5000;
        m.previous_t1_ns = previous_t1_ns;
        m.previous_t3_ns = previous_t3_ns;
        return wire_take_follow_up(&m, first);
}

/* T3 of the first reply was T1 + 200; that it left 3 µs later its server knew afterwards. */
static void test_a_follow_up_makes_t3_the_kernels(void)
{
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply first;

        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &first), ==, 0);
        g_assert_false(first.t3_from_kernel);
        g_assert_cmpint(follow_up(T1, T1 + 3200, &first), ==, 0);
        g_assert_true(first.t3_from_kernel);
        g_assert_cmpint(first.t[0], ==, T1);
        g_assert_cmpint(first.t[1], ==, T1 + 100);
        g_assert_cmpint(first.t[2], ==, T1 + 3200);
}

static void test_a_follow_up_that_cannot_be_is_none(void)
{
        const struct {
                int64_t t1_ns, t3_ns;
                int r;
        } cases[] = {
                {T1, 0, -ENODATA},
                {T1 + 5000, T1 + 9000, -ENODATA},
                {T1 - 1, T1 + 3200, -ENODATA},
                {0, T1 + 3200, -ENODATA},
                {T1, T1 - 5000, -EBADMSG},
                {T1, T1 + 2 * NSEC_PER_SEC, -EBADMSG},
                {T1, INT64_MIN, -EBADMSG},
                {T1, INT64_MAX, -EBADMSG},
                {T1, -1, -EBADMSG},
        };
        Mapreduced__Time__V1__SyncTimeReply m = good_reply();
        WireReply first, before;

        g_assert_cmpint(wire_read_reply(&m, T1, OWN, &first), ==, 0);
        before = first;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                g_assert_cmpint(follow_up(cases[i].t1_ns, cases[i].t3_ns, &first), ==, cases[i].r);
                g_assert_cmpmem(&first, sizeof(first), &before, sizeof(before));
        }
        /* A server may have said any time of itself. */
        first.t[2] = INT64_MIN;
        g_assert_cmpint(follow_up(T1, INT64_MAX, &first), ==, -EBADMSG);
        first.t[2] = INT64_MAX;
        g_assert_cmpint(follow_up(T1, INT64_MIN, &first), ==, -EBADMSG);
}

static void test_the_own_number_is_the_kernels(void)
{
        uint64_t a, b;

        g_assert_cmpint(wire_own_id(&a), ==, 0);
        g_assert_cmpint(wire_own_id(&b), ==, 0);
        g_assert_cmpuint(a, ==, b);
        g_assert_cmpuint(a, !=, 0);
}

int main(int argc, char *argv[])
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/timesyncd-lite/wire/a-claim-survives-the-way-there-and-back",
                        test_a_claim_survives_the_way_there_and_back);
        g_test_add_func("/timesyncd-lite/wire/an-answer-to-another-question-is-refused",
                        test_an_answer_to_another_question_is_refused);
        g_test_add_func("/timesyncd-lite/wire/a-loop-through-others-is-seen",
                        test_a_loop_through_others_is_seen);
        g_test_add_func("/timesyncd-lite/wire/a-server-that-is-our-own-clock-is-a-loop",
                        test_a_server_that_is_our_own_clock_is_a_loop);
        g_test_add_func("/timesyncd-lite/wire/no-path-is-longer-than-there-are-strata",
                        test_no_path_is_longer_than_there_are_strata);
        g_test_add_func("/timesyncd-lite/wire/an-unknown-leap-is-none",
                        test_an_unknown_leap_is_none);
        g_test_add_func("/timesyncd-lite/wire/a-follow-up-makes-t3-the-kernels",
                        test_a_follow_up_makes_t3_the_kernels);
        g_test_add_func("/timesyncd-lite/wire/a-follow-up-that-cannot-be-is-none",
                        test_a_follow_up_that_cannot_be_is_none);
        g_test_add_func("/timesyncd-lite/wire/the-own-number-is-the-kernels",
                        test_the_own_number_is_the_kernels);
        return g_test_run();
}

#include "filters/jwks_schedule.h"

#include "test.h"

#define SECOND UINT64_C(1000000000)

static const struct tr_jwks_schedule_params params = {.refresh_interval_ns = 300 * SECOND,
                                                      .max_stale_ns = 3600 * SECOND,
                                                      .unknown_kid_interval_ns = 10 * SECOND};
static const uint64_t start = 1000 * SECOND;

static struct tr_jwks_schedule fresh_schedule(void)
{
    struct tr_jwks_schedule s;
    tr_jwks_schedule_init(&s, &params, start);
    return s;
}

static void ok_at(struct tr_jwks_schedule *s, uint64_t now, int64_t max_age, uint64_t random)
{
    tr_jwks_schedule_begin(s, now);
    tr_jwks_schedule_ok(s, now, max_age, random);
}

static void fail_at(struct tr_jwks_schedule *s, uint64_t now, uint64_t random)
{
    tr_jwks_schedule_begin(s, now);
    tr_jwks_schedule_failed(s, now, random);
}

static void first_attempt_is_due_at_once(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    assert_true(tr_jwks_schedule_due(&s, start));
    assert_int_equal(tr_jwks_schedule_wake_ns(&s, start), start);
    assert_int_equal(tr_jwks_schedule_state(&s, start), TR_JWKS_NONE);
    tr_jwks_schedule_begin(&s, start);
    assert_false(tr_jwks_schedule_due(&s, start + 100 * SECOND));
    assert_true(tr_jwks_schedule_wake_ns(&s, start) == UINT64_MAX);
}

static void next_attempt_is_before_the_keys_age(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed(), least = UINT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        struct tr_jwks_schedule s = fresh_schedule();
        ok_at(&s, start, -1, tr_test_rand(&seed));
        uint64_t wait = s.next_ns - start;
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
        assert_true(wait >= 225 * SECOND && wait <= 270 * SECOND);
        assert_int_equal(tr_jwks_schedule_wake_ns(&s, start), s.next_ns);
    }
    assert_true(most - least > 40 * SECOND); /* jitter */
}

static void lifetime_is_the_lesser_of_max_age_and_interval(void **state)
{
    (void)state;
    static const struct {
        int64_t max_age_s;
        uint64_t life;
    } cases[] = {{-1, 300},  {0, 10},    {1, 10},      {60, 60},        {299, 299},
                 {300, 300}, {301, 300}, {86400, 300}, {INT64_MAX, 300}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_jwks_schedule s = fresh_schedule();
        ok_at(&s, start, cases[i].max_age_s, UINT64_MAX);
        assert_int_equal(s.fresh_until_ns, start + cases[i].life * SECOND);
        assert_true(s.next_ns < s.fresh_until_ns);
        assert_int_equal(tr_jwks_schedule_state(&s, s.fresh_until_ns - 1), TR_JWKS_FRESH);
        assert_int_equal(tr_jwks_schedule_state(&s, s.fresh_until_ns), TR_JWKS_STALE);
    }
}

static void floor_is_no_more_than_the_interval(void **state)
{
    (void)state;
    struct tr_jwks_schedule_params quick = params;
    struct tr_jwks_schedule s;
    quick.refresh_interval_ns = SECOND / 10;
    tr_jwks_schedule_init(&s, &quick, start);
    ok_at(&s, start, 0, 0);
    assert_int_equal(s.fresh_until_ns, start + SECOND / 10);
}

static void failures_back_off_to_a_minute(void **state)
{
    (void)state;
    static const uint64_t waits[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct tr_jwks_schedule s = fresh_schedule(), t = s;
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        uint64_t now = s.next_ns;
        t = s;
        fail_at(&s, now, 0);
        assert_int_equal(s.next_ns, now + waits[i] * SECOND);
        fail_at(&t, now, waits[i] * SECOND / 2);
        assert_int_equal(t.next_ns, now + waits[i] * SECOND / 2);
    }
    for (int i = 0; i < 100; i++)
        fail_at(&s, s.next_ns, 12345);
    assert_true(s.next_ns > s.begun_ns);
    ok_at(&s, s.next_ns, -1, 0);
    fail_at(&s, s.next_ns, 0);
    assert_int_equal(s.next_ns, s.begun_ns + SECOND); /* a success forgets */
}

static void attempts_under_total_failure_are_few(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    uint64_t seed = tr_test_seed();
    int attempts = 0;
    while (s.next_ns < start + 3600 * SECOND) {
        fail_at(&s, s.next_ns, tr_test_rand(&seed));
        attempts++;
    }
    assert_true(attempts > 60 && attempts < 140);
}

static void keys_are_used_on_until_max_stale(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    ok_at(&s, start, 100, 0);
    uint64_t stale = start + 100 * SECOND, gone = stale + 3600 * SECOND;
    uint64_t now = s.next_ns;
    while (now < gone) {
        assert_int_equal(tr_jwks_schedule_state(&s, now),
                         now < stale ? TR_JWKS_FRESH : TR_JWKS_STALE);
        if (tr_jwks_schedule_due(&s, now))
            fail_at(&s, now, 7);
        uint64_t wake = tr_jwks_schedule_wake_ns(&s, now);
        assert_true(wake > now && wake <= gone);
        if (now < stale)
            assert_true(wake <= stale);
        now = wake;
    }
    assert_int_equal(now, gone);
    assert_int_equal(tr_jwks_schedule_state(&s, gone - 1), TR_JWKS_STALE);
    assert_int_equal(tr_jwks_schedule_state(&s, gone), TR_JWKS_NONE);
    assert_true(tr_jwks_schedule_wake_ns(&s, gone) > gone ||
                tr_jwks_schedule_due(&s, gone)); /* attempts go on */
    ok_at(&s, gone + SECOND, -1, 0);
    assert_int_equal(tr_jwks_schedule_state(&s, gone + SECOND), TR_JWKS_FRESH);
}

static void no_max_stale_means_no_stale_keys(void **state)
{
    (void)state;
    struct tr_jwks_schedule_params strict = params;
    struct tr_jwks_schedule s;
    strict.max_stale_ns = 0;
    tr_jwks_schedule_init(&s, &strict, start);
    ok_at(&s, start, -1, 0);
    assert_int_equal(tr_jwks_schedule_state(&s, start + 300 * SECOND - 1), TR_JWKS_FRESH);
    assert_int_equal(tr_jwks_schedule_state(&s, start + 300 * SECOND), TR_JWKS_NONE);
}

static void wake_while_an_attempt_is_slow_is_the_end_of_the_keys(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    ok_at(&s, start, -1, 0);
    tr_jwks_schedule_begin(&s, s.next_ns);
    assert_int_equal(tr_jwks_schedule_wake_ns(&s, s.next_ns), start + 300 * SECOND);
    assert_int_equal(tr_jwks_schedule_wake_ns(&s, start + 300 * SECOND), start + 3900 * SECOND);
}

static void unknown_kid_starts_one_attempt_an_interval(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    ok_at(&s, start, -1, 0);
    uint64_t now = start + 1;
    assert_int_equal(tr_jwks_schedule_ask_after_ns(&s, TR_JWKS_ASK_KID), 0);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, now), TR_JWKS_START);
    tr_jwks_schedule_begin(&s, now);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, now + 1), TR_JWKS_JOIN);
    tr_jwks_schedule_ok(&s, now + 2, -1, 0);
    assert_int_equal(tr_jwks_schedule_ask_after_ns(&s, TR_JWKS_ASK_KID), now + 10 * SECOND);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, now + 10 * SECOND - 1),
                     TR_JWKS_REFUSE);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, now + 10 * SECOND), TR_JWKS_START);
}

static void flood_of_unknown_kids_is_bounded(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    uint64_t seed = tr_test_seed(), now = start;
    int attempts = 0;
    for (; now < start + 1000 * SECOND; now += SECOND / 1000 * (1 + tr_test_rand(&seed) % 20)) {
        bool begin = tr_jwks_schedule_due(&s, now) ||
                     tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, now) == TR_JWKS_START;
        if (!begin)
            continue;
        attempts++;
        tr_jwks_schedule_begin(&s, now);
        if (tr_test_rand(&seed) % 2)
            tr_jwks_schedule_ok(&s, now, -1, tr_test_rand(&seed));
        else
            tr_jwks_schedule_failed(&s, now, tr_test_rand(&seed));
    }
    assert_true(attempts >= 100); /* one each 10 s by kid ... */
    assert_true(attempts <= 400); /* ... and what failures ask for between them */
}

static void scheduled_attempt_does_not_use_up_the_ask(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    ok_at(&s, start, -1, 0); /* the issuer may have rotated since */
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KID, start + 1), TR_JWKS_START);
}

static void waiting_requests_shorten_a_long_backoff(void **state)
{
    (void)state;
    struct tr_jwks_schedule s = fresh_schedule();
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KEYS, start), TR_JWKS_START);
    fail_at(&s, start, 0); /* again in 1 s */
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KEYS, start + SECOND - 1),
                     TR_JWKS_REFUSE);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KEYS, start + SECOND), TR_JWKS_START);
    while (s.failures < 10)
        fail_at(&s, s.next_ns, 0); /* again in 60 s */
    uint64_t last = s.begun_ns;
    assert_int_equal(s.next_ns, last + 60 * SECOND);
    assert_int_equal(tr_jwks_schedule_ask_after_ns(&s, TR_JWKS_ASK_KEYS), last + 10 * SECOND);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KEYS, last + 10 * SECOND - 1),
                     TR_JWKS_REFUSE);
    assert_int_equal(tr_jwks_schedule_ask(&s, TR_JWKS_ASK_KEYS, last + 10 * SECOND), TR_JWKS_START);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_attempt_is_due_at_once),
        cmocka_unit_test(next_attempt_is_before_the_keys_age),
        cmocka_unit_test(lifetime_is_the_lesser_of_max_age_and_interval),
        cmocka_unit_test(floor_is_no_more_than_the_interval),
        cmocka_unit_test(failures_back_off_to_a_minute),
        cmocka_unit_test(attempts_under_total_failure_are_few),
        cmocka_unit_test(keys_are_used_on_until_max_stale),
        cmocka_unit_test(no_max_stale_means_no_stale_keys),
        cmocka_unit_test(wake_while_an_attempt_is_slow_is_the_end_of_the_keys),
        cmocka_unit_test(unknown_kid_starts_one_attempt_an_interval),
        cmocka_unit_test(flood_of_unknown_kids_is_bounded),
        cmocka_unit_test(scheduled_attempt_does_not_use_up_the_ask),
        cmocka_unit_test(waiting_requests_shorten_a_long_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

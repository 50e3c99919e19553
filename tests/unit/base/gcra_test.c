#include "base/gcra.h"

#include "test.h"

#define SECOND UINT64_C(1000000000)

static bool ask(const struct tr_gcra *g, uint64_t *tat, uint64_t now_ns, uint32_t cost,
                struct tr_gcra_result *ret)
{
    uint64_t next;
    *ret = tr_gcra_ask(g, *tat, tr_gcra_ticks(now_ns) + 1, cost, &next);
    if (ret->allowed)
        *tat = next;
    return ret->allowed;
}

static void burst_passes_at_once_then_one_each_interval(void **state)
{
    (void)state;
    struct tr_gcra g = tr_gcra_make(1000, 60 * SECOND, 20);
    struct tr_gcra_result r;
    uint64_t tat = 0, interval = 60 * SECOND / 1000;
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(ask(&g, &tat, 5 * SECOND, 1, &r));
        assert_int_equal(r.remaining, 19 - i);
    }
    assert_false(ask(&g, &tat, 5 * SECOND, 1, &r));
    assert_true(r.retry_after_ns > interval - 10 && r.retry_after_ns <= interval);
    assert_false(ask(&g, &tat, 5 * SECOND + interval - 1, 1, &r));
    for (uint32_t i = 1; i < 100; i++) {
        assert_true(ask(&g, &tat, 5 * SECOND + i * interval, 1, &r));
        assert_false(ask(&g, &tat, 5 * SECOND + i * interval, 1, &r));
    }
}

static void burst_is_the_limit_unless_it_is_given(void **state)
{
    (void)state;
    struct tr_gcra g = tr_gcra_make(7, SECOND, 0);
    struct tr_gcra_result r;
    uint64_t tat = 0;
    uint32_t admitted = 0;
    for (int i = 0; i < 20; i++)
        admitted += ask(&g, &tat, 0, 1, &r);
    assert_int_equal(admitted, 7);
}

static void interval_that_is_no_whole_number_admits_never_one_more(void **state)
{
    (void)state;
    static const uint32_t limits[] = {3, 7, 997, 1000003, 999999937};
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        struct tr_gcra g = tr_gcra_make(limits[k], SECOND, 1);
        struct tr_gcra_result r;
        uint64_t tat = 0, admitted = 0, step = SECOND / limits[k] / 3 + 1, now = 0;
        for (int i = 0; i < 30000; i++, now += step) {
            admitted += ask(&g, &tat, now, 1, &r);
            /* burst + floor(elapsed / interval), in integers */
            uint64_t most = 1 + (uint64_t)((__uint128_t)now * limits[k] / SECOND);
            assert_true(admitted <= most);
        }
        uint64_t most = 1 + (uint64_t)((__uint128_t)now * limits[k] / SECOND);
        assert_true(admitted >= most / 2 - 1); /* steps are coarse beside the interval */
    }
}

static void cost_counts_for_several(void **state)
{
    (void)state;
    struct tr_gcra g = tr_gcra_make(10, 10 * SECOND, 10);
    struct tr_gcra_result r;
    uint64_t tat = 0;
    assert_true(ask(&g, &tat, 0, 7, &r));
    assert_int_equal(r.remaining, 3);
    assert_false(ask(&g, &tat, 0, 4, &r));
    assert_true(r.retry_after_ns > SECOND - 10 && r.retry_after_ns <= SECOND);
    assert_true(ask(&g, &tat, 0, 3, &r));
    assert_int_equal(r.remaining, 0);
    assert_true(ask(&g, &tat, 0, 0, &r)); /* what costs nothing always passes */
    assert_false(ask(&g, &tat, 0, 11, &r));
    assert_true(r.retry_after_ns == UINT64_MAX);
}

static void reset_tells_when_all_is_there_again(void **state)
{
    (void)state;
    struct tr_gcra g = tr_gcra_make(10, 10 * SECOND, 10);
    struct tr_gcra_result r;
    uint64_t tat = 0;
    assert_true(ask(&g, &tat, 3 * SECOND, 4, &r));
    assert_true(r.reset_ns == 4 * SECOND);
    (void)ask(&g, &tat, 8 * SECOND, 0, &r);
    assert_true(r.reset_ns == 0);
    assert_int_equal(r.remaining, 10);
}

static void what_is_told_is_when_it_passes_to_the_nanosecond(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 3, 7, 997, 30011, 1000000};
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        struct tr_gcra g = tr_gcra_make(limits[k], SECOND, 2);
        struct tr_gcra_result r, later;
        uint64_t tat = 0;
        assert_true(ask(&g, &tat, 0, 2, &r));
        assert_int_equal(r.reset_ns, (2 * SECOND + limits[k] - 1) / limits[k]);
        assert_false(ask(&g, &tat, 0, 1, &r));
        assert_false(ask(&g, &tat, r.retry_after_ns - 1, 1, &later));
        assert_true(ask(&g, &tat, r.retry_after_ns, 1, &later));
    }
}

static void largest_values_do_not_overflow(void **state)
{
    (void)state;
    struct tr_gcra g = tr_gcra_make(1, 366 * 86400 * SECOND, 1000000000);
    struct tr_gcra_result r;
    uint64_t tat = 0, admitted = 0;
    assert_true(g.capacity % g.interval == 0 && g.capacity <= TR_GCRA_CAPACITY_MAX);
    for (int i = 0; i < 100; i++)
        admitted += ask(&g, &tat, SECOND, 1, &r);
    assert_int_equal(admitted,
                     TR_GCRA_CAPACITY_MAX / TR_GCRA_TICKS_PER_NS / (366 * 86400 * SECOND));
    g = tr_gcra_make(1000000000, 1000000, 1000000000); /* below a tick: one tick */
    assert_true(g.interval >= 1);
}

/* A process may run for long: time does not wrap before 18 years. */
static void years_of_running_change_nothing(void **state)
{
    (void)state;
    const uint64_t year = 365 * 86400 * SECOND;
    struct tr_gcra g = tr_gcra_make(1, 86400 * SECOND, 3);
    struct tr_gcra_result r;
    for (uint64_t years = 0; years < 18; years++) {
        uint64_t tat = 0, now = years * year;
        for (uint32_t i = 0; i < 3; i++)
            assert_true(ask(&g, &tat, now, 1, &r));
        assert_false(ask(&g, &tat, now, 1, &r));
        assert_true(r.retry_after_ns == 86400 * SECOND);
        assert_false(ask(&g, &tat, now + 86400 * SECOND - 1, 1, &r));
        assert_true(ask(&g, &tat, now + 86400 * SECOND, 1, &r));
        (void)ask(&g, &tat, now + year / 2, 0, &r);
        assert_int_equal(r.remaining, 3);
    }
}

/* With the ticks rounded up, what is lost in 100,000 requests at the full rate. */
static void full_rate_is_given_to_the_last_but_one(void **state)
{
    (void)state;
    static const uint32_t limits[] = {3, 7, 997, 30011, 1000000};
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        struct tr_gcra g = tr_gcra_make(limits[k], SECOND, 2);
        struct tr_gcra_result r;
        uint64_t tat = 0, admitted = 0;
        for (uint64_t i = 0; i < 100000; i++) /* just when each is earned */
            admitted += ask(&g, &tat, (i * SECOND + limits[k] - 1) / limits[k], 1, &r);
        assert_int_equal(admitted, 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_passes_at_once_then_one_each_interval),
        cmocka_unit_test(burst_is_the_limit_unless_it_is_given),
        cmocka_unit_test(interval_that_is_no_whole_number_admits_never_one_more),
        cmocka_unit_test(cost_counts_for_several),
        cmocka_unit_test(reset_tells_when_all_is_there_again),
        cmocka_unit_test(what_is_told_is_when_it_passes_to_the_nanosecond),
        cmocka_unit_test(largest_values_do_not_overflow),
        cmocka_unit_test(years_of_running_change_nothing),
        cmocka_unit_test(full_rate_is_given_to_the_last_but_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

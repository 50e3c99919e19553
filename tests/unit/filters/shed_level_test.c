#include "filters/shed_level.h"

#include "test.h"

#define MS ((uint64_t)1000000)

static void shed_level_one_long_turn_is_no_overload(void **state)
{
    struct tr_shed_level level = {0};
    (void)state;
    tr_shed_lag(&level, 0, 100 * MS);
    tr_shed_lag(&level, 300 * MS, 100 * MS);
    assert_false(level.over);
    for (unsigned i = 0; i < 10; i++) {
        tr_shed_lag(&level, 1 * MS, 100 * MS);
        assert_false(level.over);
    }
}

static void shed_level_lag_that_lasts_is(void **state)
{
    struct tr_shed_level level = {0};
    unsigned samples = 0;
    (void)state;
    while (!level.over && samples++ < 100)
        tr_shed_lag(&level, 300 * MS, 100 * MS);
    assert_int_equal(samples, 2);
}

static void shed_level_ends_at_half_the_bound(void **state)
{
    struct tr_shed_level level = {.value = 101 * MS};
    (void)state;
    tr_shed_lag(&level, 101 * MS, 100 * MS);
    assert_true(level.over);
    for (unsigned i = 0; i < 50; i++) /* falls towards 60 ms: still over */
        tr_shed_lag(&level, 60 * MS, 100 * MS);
    assert_true(level.over);
    for (unsigned i = 0; i < 50; i++)
        tr_shed_lag(&level, 45 * MS, 100 * MS);
    assert_false(level.over);
    for (unsigned i = 0; i < 50; i++) /* and between the two it stays as it is */
        tr_shed_lag(&level, 90 * MS, 100 * MS);
    assert_false(level.over);
}

static void shed_level_an_idle_loop_comes_to_rest(void **state)
{
    struct tr_shed_level level = {.value = 5000 * MS, .over = true};
    unsigned samples = 0;
    (void)state;
    while (level.over && samples++ < 1000)
        tr_shed_lag(&level, 0, 2);
    assert_true(samples < 100);
    for (unsigned i = 0; i < 10; i++)
        tr_shed_lag(&level, 0, 2);
    assert_int_equal(level.value, 0);
}

static unsigned refused_of_160(struct tr_shed_level *level)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 160; i++)
        n += tr_shed_refuses(level);
    return n;
}

/* From half to nearly all while it is above, none some time after it is below. */
static void shed_level_the_share_follows_the_lag(void **state)
{
    struct tr_shed_level level = {0};
    static const unsigned rising[] = {80, 100, 120, 140, 150, 150, 150};
    (void)state;
    assert_int_equal(refused_of_160(&level), 0);
    for (size_t i = 0; i < sizeof rising / sizeof rising[0]; i++) {
        tr_shed_lag(&level, 4000 * MS, 100 * MS);
        assert_int_equal(refused_of_160(&level), rising[i]);
    }
    level.value = 80 * MS; /* between half and the bound it stays */
    for (unsigned i = 0; i < 20; i++)
        tr_shed_lag(&level, 80 * MS, 100 * MS);
    assert_int_equal(refused_of_160(&level), 150);
    unsigned last = 150;
    for (unsigned i = 0; i < 20; i++) {
        tr_shed_lag(&level, 0, 100 * MS);
        unsigned now = refused_of_160(&level);
        assert_true(now <= last);
        last = now;
    }
    assert_int_equal(last, 0);
}

static void shed_level_above_the_bound_of_memory_all_are_refused(void **state)
{
    struct tr_shed_level level = {0};
    (void)state;
    tr_shed_memory(&level, 1001, 1000);
    assert_int_equal(refused_of_160(&level), 160);
    tr_shed_memory(&level, 900, 1000);
    assert_int_equal(refused_of_160(&level), 0);
}

/* What is refused is spread, not bunched: no client waits for a long row of refusals to end. */
static void shed_level_refusals_are_spread(void **state)
{
    struct tr_shed_level level = {.share = 8};
    (void)state;
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(tr_shed_refuses(&level), i % 2);
}

static void shed_level_without_a_bound_nothing_is_shed(void **state)
{
    struct tr_shed_level level = {0};
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        tr_shed_lag(&level, UINT64_MAX / 8, 0);
    assert_false(level.over);
    tr_shed_memory(&level, UINT64_MAX, 0);
    assert_false(level.over);
}

static void shed_level_memory_has_a_distance(void **state)
{
    struct tr_shed_level level = {0};
    (void)state;
    tr_shed_memory(&level, 1000, 1000);
    assert_false(level.over);
    tr_shed_memory(&level, 1001, 1000);
    assert_true(level.over);
    tr_shed_memory(&level, 951, 1000);
    assert_true(level.over);
    tr_shed_memory(&level, 949, 1000);
    assert_false(level.over);
    tr_shed_memory(&level, 951, 1000);
    assert_false(level.over);
}

static void shed_level_samples_are_steady_and_not_too_many(void **state)
{
    (void)state;
    assert_int_equal(tr_shed_lag_interval(0), 1000 * MS);
    assert_int_equal(tr_shed_lag_interval(1), 5 * MS);
    assert_int_equal(tr_shed_lag_interval(100 * MS), 25 * MS);
    assert_int_equal(tr_shed_lag_interval(60000 * MS), 50 * MS);
}

static uint64_t pages(const char *text)
{
    return tr_shed_statm_pages(text, (uint32_t)strlen(text));
}

static void shed_level_reads_resident_pages(void **state)
{
    (void)state;
    assert_int_equal(pages("12345 678 90 1 0 2 0\n"), 678);
    assert_int_equal(pages("1 2"), 2);
    assert_int_equal(pages(""), 0);
    assert_int_equal(pages("12345"), 0);
    assert_int_equal(pages("a b c"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shed_level_one_long_turn_is_no_overload),
        cmocka_unit_test(shed_level_lag_that_lasts_is),
        cmocka_unit_test(shed_level_ends_at_half_the_bound),
        cmocka_unit_test(shed_level_an_idle_loop_comes_to_rest),
        cmocka_unit_test(shed_level_the_share_follows_the_lag),
        cmocka_unit_test(shed_level_above_the_bound_of_memory_all_are_refused),
        cmocka_unit_test(shed_level_refusals_are_spread),
        cmocka_unit_test(shed_level_without_a_bound_nothing_is_shed),
        cmocka_unit_test(shed_level_memory_has_a_distance),
        cmocka_unit_test(shed_level_samples_are_steady_and_not_too_many),
        cmocka_unit_test(shed_level_reads_resident_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

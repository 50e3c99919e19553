#include "upstream/outlier.h"

#include "test.h"

#include <pthread.h>

#define SEC  ((uint64_t)1000000000)
#define MANY 10

static const struct tr_outlier_conf conf = {
    .consecutive_failures = 5, .base_ejection_ns = 30 * SEC, .max_ejected_percent = 50};

static struct tr_outlier o[MANY];
static _Atomic uint32_t ejected;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    memset(o, 0, sizeof o);
    ejected = 0;
    now = 1000 * SEC;
    return 0;
}

static bool report(int i, uint32_t count, bool failure)
{
    return tr_outlier_report(&o[i], &conf, &ejected, count, failure, now);
}

static bool fail_all(int i, uint32_t count)
{
    bool done = false;
    for (int n = 0; n < 5; n++)
        done = report(i, count, true) || done;
    return done;
}

static bool is_out(int i)
{
    bool ended = false;
    return tr_outlier_settle(&o[i], &ejected, now, &ended);
}

static void outlier_is_ejected_after_failures_in_a_row(void **state)
{
    (void)state;
    for (int n = 0; n < 4; n++)
        assert_false(report(0, 4, true));
    assert_false(report(0, 4, false)); /* from the start */
    for (int n = 0; n < 4; n++)
        assert_false(report(0, 4, true));
    assert_false(is_out(0));
    assert_true(report(0, 4, true));
    assert_true(is_out(0));
    assert_int_equal(ejected, 1);
}

static void outlier_comes_back_after_base_ejection(void **state)
{
    (void)state;
    bool ended = false;
    assert_true(fail_all(0, 4));
    now += 30 * SEC - 1;
    assert_true(tr_outlier_settle(&o[0], &ejected, now, &ended));
    assert_false(ended);
    now += 1;
    assert_false(tr_outlier_settle(&o[0], &ejected, now, &ended));
    assert_true(ended);
    assert_int_equal(ejected, 0);
    ended = false;
    assert_false(tr_outlier_settle(&o[0], &ejected, now, &ended));
    assert_false(ended);
    /* and needs as many failures as before to go again */
    for (int n = 0; n < 4; n++)
        assert_false(report(0, 4, true));
    assert_true(report(0, 4, true));
}

static void outlier_is_out_longer_each_time_in_a_row(void **state)
{
    (void)state;
    for (uint64_t times = 1; times <= 12; times++) {
        uint64_t n = times < TR_OUTLIER_TIMES_MAX ? times : TR_OUTLIER_TIMES_MAX;
        assert_true(fail_all(0, 4));
        now += n * 30 * SEC - 1;
        assert_true(is_out(0));
        now += 1;
        assert_false(is_out(0));
    }
}

static void outlier_makes_good_while_it_is_in_use(void **state)
{
    (void)state;
    for (uint64_t times = 1; times <= 4; times++) {
        assert_true(fail_all(0, 4));
        now += times * 30 * SEC;
        assert_false(is_out(0));
    }
    now += 2 * 30 * SEC + SEC; /* two less: the next would be the third in a row */
    assert_true(fail_all(0, 4));
    now += 3 * 30 * SEC - 1;
    assert_true(is_out(0));
    now += 1;
    assert_false(is_out(0));
    now += 3600 * SEC;
    assert_true(fail_all(0, 4));
    now += 30 * SEC;
    assert_false(is_out(0));
}

static void outlier_does_not_count_what_fails_while_it_is_out(void **state)
{
    (void)state;
    assert_true(fail_all(0, 4));
    for (int n = 0; n < 20; n++)
        assert_false(report(0, 4, true));
    assert_int_equal(ejected, 1);
    now += 30 * SEC;
    assert_false(is_out(0));
    assert_false(report(0, 4, true));
}

static void outlier_places_are_a_share_of_the_group(void **state)
{
    (void)state;
    struct tr_outlier_conf c = conf;
    assert_int_equal(tr_outlier_places(&c, 0), 0);
    assert_int_equal(tr_outlier_places(&c, 1), 0); /* the only one stays */
    assert_int_equal(tr_outlier_places(&c, 2), 1);
    assert_int_equal(tr_outlier_places(&c, 3), 1);
    assert_int_equal(tr_outlier_places(&c, 10), 5);
    c.max_ejected_percent = 10;
    assert_int_equal(tr_outlier_places(&c, 3), 1); /* at least one */
    c.max_ejected_percent = 0;
    assert_int_equal(tr_outlier_places(&c, 10), 0);
    c.max_ejected_percent = 100;
    assert_int_equal(tr_outlier_places(&c, 3), 3);
}

static void outlier_waits_for_a_place(void **state)
{
    (void)state;
    assert_true(fail_all(0, 4));
    assert_true(fail_all(1, 4));
    assert_false(fail_all(2, 4));
    assert_false(is_out(2));
    now += 30 * SEC;
    assert_false(is_out(0));
    assert_true(report(2, 4, true)); /* it had its failures already */
    assert_int_equal(ejected, 2);
}

static void outlier_reset_gives_the_place_back(void **state)
{
    (void)state;
    assert_true(fail_all(0, 2));
    assert_int_equal(ejected, 1);
    tr_outlier_reset(&o[0], &ejected);
    assert_int_equal(ejected, 0);
    tr_outlier_reset(&o[0], &ejected);
    assert_int_equal(ejected, 0);
    assert_false(is_out(0));
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4

static _Atomic uint32_t ejections, most, settled;

static void *storm(void *arg)
{
    uint64_t seed = (uintptr_t)arg, at = 1000 * SEC;
    for (int n = 0; n < 20000; n++) {
        int i = (int)(tr_test_rand(&seed) % MANY);
        bool ended = false;
        if (tr_outlier_report(&o[i], &conf, &ejected, MANY, tr_test_rand(&seed) % 8 != 0, at))
            (void)atomic_fetch_add(&ejections, 1);
        uint32_t out = atomic_load(&ejected), m = atomic_load(&most);
        while (out > m && !atomic_compare_exchange_weak(&most, &m, out))
            ;
        (void)tr_outlier_settle(&o[tr_test_rand(&seed) % MANY], &ejected, at, &ended);
        if (ended)
            (void)atomic_fetch_add(&settled, 1);
        at += SEC / 4;
    }
    return NULL;
}

static void outlier_group_keeps_its_bound_among_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    uint32_t out = 0;
    for (int i = 0; i < MANY; i++)
        out += o[i].until_ns != 0;
    assert_in_range(atomic_load(&most), 1, 5);
    assert_true(ejections > 0);
    assert_int_equal(ejections, settled + out);
    assert_int_equal(ejected, out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(outlier_is_ejected_after_failures_in_a_row, setup),
        cmocka_unit_test_setup(outlier_comes_back_after_base_ejection, setup),
        cmocka_unit_test_setup(outlier_is_out_longer_each_time_in_a_row, setup),
        cmocka_unit_test_setup(outlier_makes_good_while_it_is_in_use, setup),
        cmocka_unit_test_setup(outlier_does_not_count_what_fails_while_it_is_out, setup),
        cmocka_unit_test_setup(outlier_places_are_a_share_of_the_group, setup),
        cmocka_unit_test_setup(outlier_waits_for_a_place, setup),
        cmocka_unit_test_setup(outlier_reset_gives_the_place_back, setup),
        cmocka_unit_test_setup(outlier_group_keeps_its_bound_among_threads, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/rand.h"

#include "test.h"

static void same_seed_gives_the_same_numbers(void **state)
{
    (void)state;
    struct tr_rand a, b, c;
    tr_rand_seed(&a, 42);
    tr_rand_seed(&b, 42);
    tr_rand_seed(&c, 43);
    int differ = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = tr_rand_u64(&a);
        assert_true(v == tr_rand_u64(&b));
        differ += v != tr_rand_u64(&c);
    }
    assert_true(differ > 990);
}

static void state_of_known_words_gives_the_published_sequence(void **state)
{
    (void)state;
    struct tr_rand r = {{1, 2, 3, 4}};
    /* by hand from the definition: rotl(s1 * 5, 7) * 9 of each state */
    assert_true(tr_rand_u64(&r) == 11520);
    assert_true(tr_rand_u64(&r) == 0);
    assert_true(tr_rand_u64(&r) == 1509978240);
}

static void seeding_from_the_system_differs_each_time(void **state)
{
    (void)state;
    struct tr_rand a, b;
    tr_rand_init(&a);
    tr_rand_init(&b);
    assert_true(tr_rand_u64(&a) != tr_rand_u64(&b) || tr_rand_u64(&a) != tr_rand_u64(&b));
}

static void below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct tr_rand r;
    unsigned seen[7] = {0};
    tr_rand_seed(&r, tr_test_seed());
    for (int i = 0; i < 70000; i++) {
        uint64_t v = tr_rand_below(&r, 7);
        assert_true(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9400, 10600); /* 10000, six standard deviations are 556 */
    assert_true(tr_rand_below(&r, 0) == 0);
    assert_true(tr_rand_below(&r, 1) == 0);
    for (int i = 0; i < 1000; i++) /* where a plain remainder would be biased most: 2^63 + 1 */
        assert_true(tr_rand_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

static void unit_is_in_the_half_open_interval(void **state)
{
    (void)state;
    struct tr_rand r;
    double sum = 0;
    tr_rand_seed(&r, tr_test_seed());
    for (int i = 0; i < 10000; i++) {
        double v = tr_rand_unit(&r);
        assert_true(v >= 0 && v < 1);
        sum += v;
    }
    assert_true(sum > 4800 && sum < 5200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_the_same_numbers),
        cmocka_unit_test(state_of_known_words_gives_the_published_sequence),
        cmocka_unit_test(seeding_from_the_system_differs_each_time),
        cmocka_unit_test(below_stays_below_and_reaches_all),
        cmocka_unit_test(unit_is_in_the_half_open_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"
#include "upstream/upstream_int.h"

#define MANY 20

static struct tr_endpoint_conf confs[MANY];
static struct tr_uendpoint endpoints[MANY];
static struct tr_uendpoint *live[MANY];
static uint64_t random_state;

static void init(uint32_t count, const uint32_t *weights)
{
    random_state = tr_test_seed();
    for (uint32_t i = 0; i < count; i++) {
        confs[i] = (struct tr_endpoint_conf){.weight = weights ? weights[i] : 1};
        endpoints[i] = (struct tr_uendpoint){.conf = &confs[i], .state = TR_ENDPOINT_UP};
        live[i] = &endpoints[i];
    }
}

static uint32_t pick(enum tr_balance how, uint32_t count)
{
    const struct tr_pick p = {.how = how};
    return tr_balance_pick(&p, live, count, &random_state);
}

static void balance_of_nothing_is_nothing(void **state)
{
    (void)state;
    init(3, NULL);
    assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, 0), 0);
    for (int i = 0; i < 3; i++)
        endpoints[i].state = TR_ENDPOINT_DOWN;
    assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, 1), 1);
    assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, 3), 3);
    assert_int_equal(pick(TR_BALANCE_ROUND_ROBIN, 3), 3);
}

static void round_robin_is_smooth(void **state)
{
    (void)state;
    const uint32_t weights[] = {5, 1, 1};
    const uint32_t want[] = {0, 0, 1, 0, 2, 0, 0};
    init(3, weights);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 7; i++)
            assert_int_equal(pick(TR_BALANCE_ROUND_ROBIN, 3), want[i]);
    }
}

static void round_robin_passes_over_what_is_down(void **state)
{
    (void)state;
    unsigned count[3] = {0, 0, 0};
    init(3, NULL);
    endpoints[1].state = TR_ENDPOINT_DOWN;
    for (int i = 0; i < 100; i++)
        count[pick(TR_BALANCE_ROUND_ROBIN, 3)]++;
    assert_int_equal(count[0], 50);
    assert_int_equal(count[1], 0);
    assert_int_equal(count[2], 50);
}

static void least_request_takes_the_least_loaded_of_a_few(void **state)
{
    (void)state;
    const uint32_t weights[] = {1, 1, 4};
    init(3, weights);
    endpoints[0].active = 2;
    endpoints[1].active = 1;
    endpoints[2].active = 6; /* (6+1)/4 < (1+1)/1 */
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, 3), 2);
    endpoints[2].active = 8; /* (8+1)/4 > 2 */
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, 3), 1);
}

static void least_request_shares_among_equals(void **state)
{
    (void)state;
    unsigned count[4] = {0};
    init(4, NULL);
    for (int i = 0; i < 4000; i++)
        count[pick(TR_BALANCE_LEAST_REQUEST, 4)]++;
    for (int i = 0; i < 4; i++)
        assert_in_range(count[i], 850, 1150);
}

/* With two choices the load of the fullest stays near the mean, far below what one random choice
 * gives. */
static void least_request_of_two_keeps_many_even(void **state)
{
    (void)state;
    init(MANY, NULL);
    for (int i = 0; i < 2000; i++)
        endpoints[pick(TR_BALANCE_LEAST_REQUEST, MANY)].active++;
    for (int i = 0; i < MANY; i++)
        assert_in_range(endpoints[i].active, 94, 105);
}

static void least_request_finds_the_only_one_that_is_up(void **state)
{
    (void)state;
    init(MANY, NULL);
    for (int i = 0; i < MANY; i++)
        endpoints[i].state = i == 13 ? TR_ENDPOINT_IDLE : TR_ENDPOINT_DOWN;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(TR_BALANCE_LEAST_REQUEST, MANY), 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balance_of_nothing_is_nothing),
        cmocka_unit_test(round_robin_is_smooth),
        cmocka_unit_test(round_robin_passes_over_what_is_down),
        cmocka_unit_test(least_request_takes_the_least_loaded_of_a_few),
        cmocka_unit_test(least_request_shares_among_equals),
        cmocka_unit_test(least_request_of_two_keeps_many_even),
        cmocka_unit_test(least_request_finds_the_only_one_that_is_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

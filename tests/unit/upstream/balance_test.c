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

/* ---- what is left out ------------------------------------------------------------------------ */

static const enum tr_balance plain[] = {TR_BALANCE_LEAST_REQUEST, TR_BALANCE_ROUND_ROBIN};

static void balance_passes_over_what_is_blocked(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        init(MANY, NULL);
        for (uint32_t i = 0; i < MANY; i++)
            endpoints[i].blocked = i % 2;
        for (int i = 0; i < 200; i++)
            assert_int_equal(pick(plain[how], MANY) % 2, 0);
        for (uint32_t i = 0; i < MANY; i++)
            endpoints[i].blocked = true;
        assert_int_equal(pick(plain[how], MANY), MANY);
    }
}

static void balance_avoids_an_endpoint_when_there_is_another(void **state)
{
    (void)state;
    const uint32_t counts[] = {2, 3, MANY};
    for (int how = 0; how < 2; how++) {
        for (int n = 0; n < 3; n++) {
            init(counts[n], NULL);
            const struct tr_pick p = {.how = plain[how], .avoid = &confs[1]};
            for (int i = 0; i < 100; i++)
                assert_int_not_equal(tr_balance_pick(&p, live, counts[n], &random_state), 1);
            for (uint32_t i = 0; i < counts[n]; i++)
                endpoints[i].state = i == 1 ? TR_ENDPOINT_UP : TR_ENDPOINT_DOWN;
            assert_int_equal(tr_balance_pick(&p, live, counts[n], &random_state), 1);
        }
    }
}

static void balance_avoids_one_address_of_a_name(void **state)
{
    (void)state;
    init(3, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        endpoints[i].conf = &confs[0]; /* all of one name */
        endpoints[i].key = 100 + i;
    }
    const struct tr_pick p = {.avoid = &confs[0], .avoid_key = 101};
    unsigned count[3] = {0};
    for (int i = 0; i < 200; i++)
        count[tr_balance_pick(&p, live, 3, &random_state)]++;
    assert_int_equal(count[1], 0);
    assert_true(count[0] && count[2]);
}

/* ---- slow start ------------------------------------------------------------------------------ */

#define SEC ((uint64_t)1000000000)

static void slow_start_share_grows_from_a_tenth_to_the_whole(void **state)
{
    (void)state;
    struct tr_uendpoint e = {.ramp_ns = 0};
    assert_int_equal(tr_uendpoint_share(&e, 5, 10 * SEC), 1024);
    e.ramp_ns = 100 * SEC;
    assert_int_equal(tr_uendpoint_share(&e, 100 * SEC, 10 * SEC), 102);
    assert_in_range(tr_uendpoint_share(&e, 105 * SEC, 10 * SEC), 562, 564);
    assert_in_range(tr_uendpoint_share(&e, 110 * SEC - 1, 10 * SEC), 1022, 1024);
    assert_int_equal(tr_uendpoint_share(&e, 110 * SEC, 10 * SEC), 1024);
    assert_int_equal(tr_uendpoint_share(&e, 1000 * SEC, 10 * SEC), 1024);
    assert_int_equal(tr_uendpoint_share(&e, 100 * SEC, 0), 1024);
}

/* Calls of 10000 that the first of `count` gets when it has been back for that long. */
static unsigned share_of_the_first(enum tr_balance how, uint32_t count, uint64_t age_ns)
{
    unsigned n = 0;
    init(count, NULL);
    endpoints[0].ramp_ns = 100 * SEC;
    const struct tr_pick p = {.how = how, .now_ns = 100 * SEC + age_ns, .slow_start_ns = 10 * SEC};
    for (int i = 0; i < 10000; i++)
        n += tr_balance_pick(&p, live, count, &random_state) == 0;
    return n;
}

static void slow_start_gives_an_endpoint_its_share_by_and_by(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        /* of three: a tenth of a whole share at first, against two whole ones */
        unsigned first = share_of_the_first(plain[how], 3, 0);
        unsigned half = share_of_the_first(plain[how], 3, 5 * SEC);
        unsigned whole = share_of_the_first(plain[how], 3, 10 * SEC);
        assert_in_range(first, 250, 650);
        assert_in_range(half, 1500, 2500);
        assert_in_range(whole, 3000, 3700);
        assert_in_range(share_of_the_first(plain[how], MANY, 0), 20, 120);
        assert_in_range(share_of_the_first(plain[how], MANY, 10 * SEC), 350, 650);
    }
}

static void slow_start_does_not_leave_calls_without_an_endpoint(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        init(3, NULL);
        for (int i = 0; i < 3; i++) {
            endpoints[i].ramp_ns = 100 * SEC;
            endpoints[i].state = i == 2 ? TR_ENDPOINT_UP : TR_ENDPOINT_DOWN;
        }
        const struct tr_pick p = {
            .how = plain[how], .now_ns = 100 * SEC, .slow_start_ns = 10 * SEC};
        for (int i = 0; i < 100; i++)
            assert_int_equal(tr_balance_pick(&p, live, 3, &random_state), 2);
    }
}

/* ---- ring hash ------------------------------------------------------------------------------- */

static void ring_hash_goes_by_the_hash_and_past_what_is_unusable(void **state)
{
    (void)state;
    struct tr_ring_node nodes[4];
    struct tr_ring *ring;
    init(4, NULL);
    for (uint32_t i = 0; i < 4; i++)
        nodes[i] = (struct tr_ring_node){i + 1, 1};
    assert_int_equal(tr_ring_new(nodes, 4, &ring), TR_OK);
    struct tr_pick p = {
        .how = TR_BALANCE_RING_HASH, .ring = ring, .hash = 12345678901234567u, .hashed = true};
    uint32_t own = tr_balance_pick(&p, live, 4, &random_state);
    for (int i = 0; i < 20; i++)
        assert_int_equal(tr_balance_pick(&p, live, 4, &random_state), own);
    p.avoid = &confs[own];
    uint32_t next = tr_balance_pick(&p, live, 4, &random_state);
    assert_int_not_equal(next, own);
    p.avoid = NULL;
    endpoints[own].blocked = true;
    assert_int_equal(tr_balance_pick(&p, live, 4, &random_state), next);
    endpoints[own].blocked = false;
    p.hashed = false; /* nothing to go by: all are used */
    unsigned count[4] = {0};
    for (int i = 0; i < 400; i++)
        count[tr_balance_pick(&p, live, 4, &random_state)]++;
    for (int i = 0; i < 4; i++)
        assert_true(count[i] > 0);
    tr_ring_free(ring);
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
        cmocka_unit_test(balance_passes_over_what_is_blocked),
        cmocka_unit_test(balance_avoids_an_endpoint_when_there_is_another),
        cmocka_unit_test(balance_avoids_one_address_of_a_name),
        cmocka_unit_test(slow_start_share_grows_from_a_tenth_to_the_whole),
        cmocka_unit_test(slow_start_gives_an_endpoint_its_share_by_and_by),
        cmocka_unit_test(slow_start_does_not_leave_calls_without_an_endpoint),
        cmocka_unit_test(ring_hash_goes_by_the_hash_and_past_what_is_unusable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

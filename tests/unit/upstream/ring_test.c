#include "upstream/ring.h"

#include "test.h"

#define OWNERS 8
#define KEYS   20000

static bool out[OWNERS];

static bool usable(void *ctx, uint32_t owner)
{
    (void)ctx;
    return !out[owner];
}

static struct tr_ring *ring_of(const uint64_t *keys, const uint32_t *weights, uint32_t count)
{
    struct tr_ring_node nodes[OWNERS];
    struct tr_ring *ring;
    memset(out, 0, sizeof out);
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (struct tr_ring_node){keys[i], weights ? weights[i] : 1};
    assert_int_equal(tr_ring_new(nodes, count, &ring), TR_OK);
    return ring;
}

static const uint64_t keys[OWNERS] = {11, 22, 33, 44, 55, 66, 77, 88};

static uint64_t hash(uint64_t i)
{
    uint64_t state = i * 31;
    return tr_test_rand(&state);
}

static void ring_keeps_a_hash_where_it_is(void **state)
{
    (void)state;
    struct tr_ring *a = ring_of(keys, NULL, 5), *b = ring_of(keys, NULL, 5);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(tr_ring_find(a, hash(i), usable, NULL, 99),
                         tr_ring_find(b, hash(i), usable, NULL, 99));
    tr_ring_free(a);
    tr_ring_free(b);
}

static void ring_shares_by_weight(void **state)
{
    (void)state;
    const uint32_t weights[4] = {1, 1, 2, 4};
    unsigned count[4] = {0};
    struct tr_ring *ring = ring_of(keys, weights, 4);
    assert_int_equal(tr_ring_size(ring), 800);
    for (uint64_t i = 0; i < KEYS; i++)
        count[tr_ring_find(ring, hash(i), usable, NULL, 99)]++;
    for (int i = 0; i < 4; i++) {
        unsigned want = KEYS * weights[i] / 8;
        assert_in_range(count[i], want * 7 / 10, want * 13 / 10);
    }
    tr_ring_free(ring);
}

static void ring_moves_only_what_it_must(void **state)
{
    (void)state;
    struct tr_ring *seven = ring_of(keys, NULL, 7), *eight = ring_of(keys, NULL, 8);
    unsigned moved = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        uint32_t a = tr_ring_find(seven, hash(i), usable, NULL, 99);
        uint32_t b = tr_ring_find(eight, hash(i), usable, NULL, 99);
        if (a != b) {
            assert_int_equal(b, 7); /* only to the new one */
            moved++;
        }
    }
    assert_in_range(moved, KEYS / 8 * 7 / 10, KEYS / 8 * 13 / 10);
    tr_ring_free(seven);
    tr_ring_free(eight);
}

static void ring_walks_on_past_the_unusable(void **state)
{
    (void)state;
    struct tr_ring *ring = ring_of(keys, NULL, 4);
    uint32_t before[1000];
    unsigned to[4] = {0};
    for (uint64_t i = 0; i < 1000; i++)
        before[i] = tr_ring_find(ring, hash(i), usable, NULL, 99);
    out[2] = true;
    for (uint64_t i = 0; i < 1000; i++) {
        uint32_t at = tr_ring_find(ring, hash(i), usable, NULL, 99);
        assert_int_not_equal(at, 2);
        if (before[i] != 2)
            assert_int_equal(at, before[i]); /* the others keep theirs */
        else
            to[at]++;
    }
    assert_true(to[0] && to[1] && to[3]); /* what was its own is spread */
    out[0] = out[1] = out[2] = out[3] = true;
    assert_int_equal(tr_ring_find(ring, hash(5), usable, NULL, 99), 99);
    out[3] = false;
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(tr_ring_find(ring, hash(i), usable, NULL, 99), 3);
    tr_ring_free(ring);
}

static void ring_takes_the_ends_of_the_circle(void **state)
{
    (void)state;
    struct tr_ring *ring = ring_of(keys, NULL, 3);
    uint32_t first = tr_ring_find(ring, 0, usable, NULL, 99);
    assert_in_range(first, 0, 2);
    assert_int_equal(tr_ring_find(ring, UINT64_MAX, usable, NULL, 99), first); /* round */
    tr_ring_free(ring);
}

static void ring_is_bounded(void **state)
{
    (void)state;
    const uint32_t weights[3] = {1, 1000, 500};
    struct tr_ring *ring = ring_of(keys, weights, 3);
    assert_int_equal(tr_ring_size(ring), 1 + 1000 + 500);
    tr_ring_free(ring);
    struct tr_ring_node *many = tr_calloc(5000, sizeof *many);
    assert_non_null(many);
    for (uint32_t i = 0; i < 5000; i++)
        many[i] = (struct tr_ring_node){i, 100};
    assert_int_equal(tr_ring_new(many, 5000, &ring), TR_OK);
    assert_in_range(tr_ring_size(ring), 5000, TR_RING_TOTAL_MAX);
    tr_ring_free(ring);
    tr_free(many);
}

static void ring_says_when_there_is_no_memory(void **state)
{
    (void)state;
    const struct tr_ring_node node = {1, 1};
    struct tr_ring *ring = NULL;
    tr_alloc_fail_after(1);
    enum tr_err err = tr_ring_new(&node, 1, &ring);
    tr_alloc_fail_after(0);
    assert_int_equal(err, TR_ERR_NOMEM);
    assert_null(ring);
    tr_ring_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_keeps_a_hash_where_it_is),
        cmocka_unit_test(ring_shares_by_weight),
        cmocka_unit_test(ring_moves_only_what_it_must),
        cmocka_unit_test(ring_walks_on_past_the_unusable),
        cmocka_unit_test(ring_takes_the_ends_of_the_circle),
        cmocka_unit_test(ring_is_bounded),
        cmocka_unit_test(ring_says_when_there_is_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

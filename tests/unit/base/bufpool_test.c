#include "base/bufpool.h"

#include "test.h"

static void a_buffer_comes_back_empty_with_its_capacity(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    struct tr_buf b = tr_bufpool_get(&pool);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, TR_BUFPOOL_MIN);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("text")), TR_OK);
    tr_bufpool_put(&pool, &b);
    assert_null(b.ptr);
    uint64_t before = tr_alloc_stats().calls;
    b = tr_bufpool_get(&pool);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, TR_BUFPOOL_MIN);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("text")), TR_OK);
    assert_int_equal(tr_alloc_stats().calls, before);
    tr_buf_fini(&b);
    tr_bufpool_fini(&pool);
}

static void large_buffers_are_not_kept(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_reserve(&b, TR_BUFPOOL_MAX + 1), TR_OK);
    tr_bufpool_put(&pool, &b);
    assert_null(b.ptr);
    tr_bufpool_put(&pool, &b); /* one that never allocated */
    assert_int_equal(pool.kept + pool.kept_min, 0);
    tr_bufpool_fini(&pool);
}

static void get_never_gives_a_large_one(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    struct tr_buf b = tr_bufpool_get(&pool);
    assert_int_equal(tr_bufpool_reserve(&pool, &b, 40000), TR_OK);
    assert_int_equal(b.cap, 65536);
    tr_bufpool_put(&pool, &b);
    b = tr_bufpool_get(&pool);
    assert_int_equal(b.cap, TR_BUFPOOL_MIN);
    tr_bufpool_put(&pool, &b);
    tr_bufpool_fini(&pool);
}

static void growing_keeps_the_bytes_and_reuses_buffers(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    for (int round = 0; round < 3; round++) {
        uint64_t before = tr_alloc_stats().calls;
        struct tr_buf b;
        tr_buf_init(&b);
        for (size_t n = 0; n < 2 * TR_BUFPOOL_MAX; n++) {
            assert_int_equal(tr_bufpool_reserve(&pool, &b, 1), TR_OK);
            b.ptr[b.len++] = (char)(n * 31 >> 3);
        }
        for (size_t n = 0; n < b.len; n++)
            assert_int_equal(b.ptr[n], (char)(n * 31 >> 3));
        /* a class each at first, then only what is above all of them */
        assert_true(tr_alloc_stats().calls - before <= (round ? 2 : TR_BUFPOOL_CLASSES + 2));
        tr_bufpool_put(&pool, &b);
    }
    tr_bufpool_fini(&pool);
}

static void a_capacity_between_two_classes_serves_the_lower(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_reserve(&b, 5000), TR_OK);
    tr_bufpool_put(&pool, &b);
    assert_int_equal(tr_bufpool_reserve(&pool, &b, 4097), TR_OK);
    assert_int_equal(b.cap, 8192);
    tr_bufpool_put(&pool, &b);
    assert_int_equal(tr_bufpool_reserve(&pool, &b, 4096), TR_OK);
    assert_true(b.cap >= 5000 && b.cap < 8192);
    tr_bufpool_put(&pool, &b);
    tr_bufpool_fini(&pool);
}

static void no_more_than_the_bounds_are_kept(void **state)
{
    (void)state;
    static struct tr_buf many[600];
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    for (size_t i = 0; i < 600; i++)
        many[i] = tr_bufpool_get(&pool);
    for (size_t i = 0; i < 600; i++)
        tr_bufpool_put(&pool, &many[i]);
    assert_int_equal(pool.kept_min, TR_BUFPOOL_KEEP_MIN);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &many[i], TR_BUFPOOL_MAX), TR_OK);
    for (size_t i = 0; i < 40; i++)
        tr_bufpool_put(&pool, &many[i]);
    assert_int_equal(pool.kept, TR_BUFPOOL_KEEP);
    tr_bufpool_fini(&pool);
    assert_int_equal(pool.kept + pool.kept_min, 0);
}

static void large_ones_make_room_for_smaller_ones(void **state)
{
    (void)state;
    static struct tr_buf large[20], small[60];
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &large[i], TR_BUFPOOL_MAX), TR_OK);
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &small[i], 40000), TR_OK);
    for (size_t i = 0; i < 20; i++)
        tr_bufpool_put(&pool, &large[i]);
    for (size_t i = 0; i < 60; i++)
        tr_bufpool_put(&pool, &small[i]);
    uint64_t before = tr_alloc_stats().calls;
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &small[i], 40000), TR_OK);
    assert_int_equal(tr_alloc_stats().calls, before);
    for (size_t i = 0; i < 60; i++)
        tr_bufpool_put(&pool, &small[i]);
    assert_true(pool.kept <= TR_BUFPOOL_KEEP);
    tr_bufpool_fini(&pool);
}

static void decay_frees_what_nobody_needed(void **state)
{
    (void)state;
    struct tr_buf many[10] = {{0}};
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &many[i], 10000), TR_OK);
    for (size_t i = 0; i < 10; i++)
        tr_bufpool_put(&pool, &many[i]);
    tr_bufpool_decay(&pool); /* all were in use */
    assert_int_equal(pool.kept, 10 * 16384);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(tr_bufpool_reserve(&pool, &many[i], 10000), TR_OK);
    for (size_t i = 0; i < 3; i++)
        tr_bufpool_put(&pool, &many[i]);
    tr_bufpool_decay(&pool);
    assert_int_equal(pool.kept, 3 * 16384);
    assert_int_equal(pool.dropped, 7 * 16384);
    tr_bufpool_decay(&pool);
    assert_int_equal(pool.kept, 0);
    tr_bufpool_fini(&pool);
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    tr_alloc_fail_after(1);
    struct tr_buf b = tr_bufpool_get(&pool);
    assert_int_equal(b.cap, 0);
    assert_int_equal(tr_buf_push(&b, 'x'), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    b = tr_bufpool_get(&pool);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("text")), TR_OK);
    tr_alloc_fail_after(1);
    assert_int_equal(tr_bufpool_reserve(&pool, &b, 10000), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_true(tr_span_eq(tr_buf_span(&b), TR_SPAN("text")));
    tr_bufpool_put(&pool, &b);
    tr_bufpool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_comes_back_empty_with_its_capacity),
        cmocka_unit_test(large_buffers_are_not_kept),
        cmocka_unit_test(get_never_gives_a_large_one),
        cmocka_unit_test(growing_keeps_the_bytes_and_reuses_buffers),
        cmocka_unit_test(a_capacity_between_two_classes_serves_the_lower),
        cmocka_unit_test(no_more_than_the_bounds_are_kept),
        cmocka_unit_test(large_ones_make_room_for_smaller_ones),
        cmocka_unit_test(decay_frees_what_nobody_needed),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

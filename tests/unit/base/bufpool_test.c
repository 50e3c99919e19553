#include "base/bufpool.h"

#include "test.h"

static void a_buffer_comes_back_empty_with_its_capacity(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    struct tr_buf b = tr_bufpool_get(&pool);
    assert_int_equal(b.cap, 0);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("text")), TR_OK);
    size_t cap = b.cap;
    tr_bufpool_put(&pool, &b);
    assert_null(b.ptr);
    uint64_t before = tr_alloc_stats().calls;
    b = tr_bufpool_get(&pool);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
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
    assert_int_equal(tr_buf_reserve(&b, TR_BUFPOOL_KEEP_CAP + 1), TR_OK);
    tr_bufpool_put(&pool, &b);
    assert_int_equal(pool.count, 0);
    tr_bufpool_put(&pool, &b); /* one that never allocated */
    b = tr_bufpool_get(&pool);
    assert_int_equal(b.cap, 0);
    tr_bufpool_fini(&pool);
}

static void no_more_than_the_bound_are_kept(void **state)
{
    (void)state;
    struct tr_bufpool pool;
    tr_bufpool_init(&pool);
    for (int i = 0; i < TR_BUFPOOL_KEEP + 10; i++) {
        struct tr_buf b;
        tr_buf_init(&b);
        assert_int_equal(tr_buf_push(&b, 'x'), TR_OK);
        tr_bufpool_put(&pool, &b);
    }
    assert_int_equal(pool.count, TR_BUFPOOL_KEEP);
    tr_bufpool_fini(&pool);
    assert_int_equal(pool.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_comes_back_empty_with_its_capacity),
        cmocka_unit_test(large_buffers_are_not_kept),
        cmocka_unit_test(no_more_than_the_bound_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

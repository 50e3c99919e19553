#include "base/arena.h"

#include "test.h"

static void allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    char *got[300];
    for (size_t i = 0; i < 300; i++) {
        got[i] = tr_arena_alloc(&a, i % 50 + 1);
        assert_non_null(got[i]);
        assert_int_equal((uintptr_t)got[i] % 8, 0);
        memset(got[i], (int)i, i % 50 + 1);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j <= i % 50; j++)
            assert_int_equal((unsigned char)got[i][j], i & 255);
    tr_arena_fini(&a);
}

static void no_allocation_before_the_first_use(void **state)
{
    (void)state;
    uint64_t before = tr_alloc_stats().calls;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    tr_arena_fini(&a);
    assert_int_equal(tr_alloc_stats().calls, before);
}

static void large_requests_get_a_block_of_their_own(void **state)
{
    (void)state;
    struct tr_block_cache cache;
    struct tr_arena a;
    tr_block_cache_init(&cache, 4);
    tr_arena_init(&a, &cache);
    char *p = tr_arena_alloc(&a, 100000);
    memset(p, 1, 100000);
    char *q = tr_arena_alloc(&a, 10);
    memset(q, 2, 10);
    assert_int_equal(p[99999], 1);
    tr_arena_reset(&a);
    assert_true(cache.count <= 1); /* the large block went back to the heap */
    tr_arena_fini(&a);
    tr_block_cache_fini(&cache);
}

static void calloc_refuses_overflow(void **state)
{
    (void)state;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    assert_null(tr_arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(tr_arena_alloc(&a, SIZE_MAX));
    const uint64_t *p = tr_arena_calloc(&a, 4, 8);
    assert_non_null(p);
    assert_int_equal(p[0] | p[1] | p[2] | p[3], 0);
    tr_arena_fini(&a);
}

static void copy_ends_in_nul(void **state)
{
    (void)state;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    struct tr_span s = tr_arena_copy(&a, TR_SPAN("hello"));
    assert_int_equal(s.len, 5);
    assert_string_equal(s.ptr, "hello");
    s = tr_arena_copy(&a, tr_span(NULL, 0));
    assert_int_equal(s.len, 0);
    assert_non_null(s.ptr);
    tr_arena_fini(&a);
}

static void rewind_frees_what_came_after_the_mark(void **state)
{
    (void)state;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    char *first = tr_arena_alloc(&a, 16);
    memset(first, 7, 16);
    struct tr_arena_mark outer = tr_arena_mark(&a);
    for (int i = 0; i < 20; i++) {
        assert_non_null(tr_arena_alloc(&a, 1000));
        struct tr_arena_mark inner = tr_arena_mark(&a);
        assert_non_null(tr_arena_alloc(&a, 5000));
        tr_arena_rewind(&a, inner);
        assert_int_equal(a.used_bytes, inner.used_bytes);
    }
    tr_arena_rewind(&a, outer);
    assert_int_equal(a.used_bytes, outer.used_bytes);
    assert_int_equal(first[15], 7);
    char *again = tr_arena_alloc(&a, 8);
    memset(again, 1, 8);
    assert_int_equal(first[0], 7);
    tr_arena_fini(&a);
}

static void cached_blocks_are_used_again(void **state)
{
    (void)state;
#ifdef TR_ARENA_EMULATE
    skip(); /* each allocation is a heap block of its own */
#endif
    struct tr_block_cache cache;
    struct tr_arena a;
    tr_block_cache_init(&cache, 2);
    tr_arena_init(&a, &cache);
    for (int round = 0; round < 3; round++) {
        uint64_t before = tr_alloc_stats().calls;
        for (int i = 0; i < 8; i++)
            assert_non_null(tr_arena_alloc(&a, 1000));
        if (round)
            assert_int_equal(tr_alloc_stats().calls, before);
        tr_arena_reset(&a);
    }
    assert_int_equal(cache.count, 2);
    tr_arena_fini(&a);
    tr_block_cache_fini(&cache);
    assert_int_equal(cache.count, 0);
}

static void out_of_memory_is_null_and_harmless(void **state)
{
    (void)state;
    struct tr_arena a;
    tr_arena_init(&a, NULL);
    tr_alloc_fail_after(1);
    assert_null(tr_arena_alloc(&a, 8));
    assert_null(tr_arena_calloc(&a, 1, 8));
    assert_null(tr_arena_copy(&a, TR_SPAN("x")).ptr);
    tr_alloc_fail_after(0);
    assert_non_null(tr_arena_alloc(&a, 8));
    tr_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(no_allocation_before_the_first_use),
        cmocka_unit_test(large_requests_get_a_block_of_their_own),
        cmocka_unit_test(calloc_refuses_overflow),
        cmocka_unit_test(copy_ends_in_nul),
        cmocka_unit_test(rewind_frees_what_came_after_the_mark),
        cmocka_unit_test(cached_blocks_are_used_again),
        cmocka_unit_test(out_of_memory_is_null_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"

static void counts_calls_and_frees(void **state)
{
    (void)state;
    struct tr_alloc_stats before = tr_alloc_stats();
    void *a = tr_malloc(10), *b = tr_calloc(2, 3);
    a = tr_realloc(a, 20);
    tr_free(a);
    tr_free(b);
    tr_free(NULL);
    struct tr_alloc_stats after = tr_alloc_stats();
    assert_int_equal(after.calls - before.calls, 3);
    assert_int_equal(after.frees - before.frees, 2);
}

static void size_zero_gives_distinct_pointers(void **state)
{
    (void)state;
    void *a = tr_malloc(0), *b = tr_calloc(0, 8), *c = tr_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_ptr_not_equal(a, b);
    tr_free(a);
    tr_free(b);
    tr_free(c);
}

static void calloc_zeroes(void **state)
{
    (void)state;
    unsigned char *p = tr_calloc(64, 4);
    for (size_t i = 0; i < 256; i++)
        assert_int_equal(p[i], 0);
    tr_free(p);
}

static void fails_from_the_nth_on_until_cleared(void **state)
{
    (void)state;
    tr_alloc_fail_after(2);
    void *a = tr_malloc(1);
    assert_non_null(a);
    assert_null(tr_malloc(1));
    assert_null(tr_calloc(1, 1));
    assert_null(tr_realloc(a, 100));
    tr_alloc_fail_after(0);
    void *b = tr_realloc(a, 100);
    assert_non_null(b);
    tr_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_calls_and_frees),
        cmocka_unit_test(size_zero_gives_distinct_pointers),
        cmocka_unit_test(calloc_zeroes),
        cmocka_unit_test(fails_from_the_nth_on_until_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

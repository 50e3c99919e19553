#include "base/buf.h"

#include "test.h"

static void appends_and_keeps_order(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(tr_buf_append(&b, TR_SPAN("ab")), TR_OK);
        assert_int_equal(tr_buf_push(&b, (char)('0' + i % 10)), TR_OK);
    }
    assert_int_equal(b.len, 3000);
    for (size_t i = 0; i < 1000; i++) {
        assert_memory_equal(b.ptr + i * 3, "ab", 2);
        assert_int_equal(b.ptr[i * 3 + 2], '0' + i % 10);
    }
    assert_int_equal(tr_buf_append(&b, tr_span(NULL, 0)), TR_OK);
    assert_int_equal(b.len, 3000);
    tr_buf_fini(&b);
    assert_null(b.ptr);
}

static void growth_is_amortised(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    uint64_t before = tr_alloc_stats().calls;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(tr_buf_push(&b, 'x'), TR_OK);
    assert_true(tr_alloc_stats().calls - before < 15);
    tr_buf_fini(&b);
}

static void clear_keeps_the_capacity(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_reserve(&b, 5000), TR_OK);
    size_t cap = b.cap;
    tr_buf_clear(&b);
    uint64_t before = tr_alloc_stats().calls;
    assert_int_equal(tr_buf_reserve(&b, 5000), TR_OK);
    assert_int_equal(tr_alloc_stats().calls, before);
    assert_int_equal(b.cap, cap);
    tr_buf_fini(&b);
}

static void consume_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("hello world")), TR_OK);
    tr_buf_consume(&b, 6);
    assert_span_equal(tr_buf_span(&b), "world");
    tr_buf_consume(&b, 0);
    assert_span_equal(tr_buf_span(&b), "world");
    tr_buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    tr_buf_fini(&b);
}

static void printf_appends(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("n=")), TR_OK);
    assert_int_equal(tr_buf_printf(&b, "%d, %s", 42, "x"), TR_OK);
    assert_span_equal(tr_buf_span(&b), "n=42, x");
    assert_int_equal(tr_buf_printf(&b, "%600d", 1), TR_OK);
    assert_int_equal(b.len, 607);
    tr_buf_fini(&b);
}

static void out_of_memory_leaves_it_as_it_was(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("abc")), TR_OK);
    tr_alloc_fail_after(1);
    assert_int_equal(tr_buf_reserve(&b, 100000), TR_ERR_NOMEM);
    assert_int_equal(tr_buf_printf(&b, "%9999d", 1), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_span_equal(tr_buf_span(&b), "abc");
    assert_int_equal(tr_buf_reserve(&b, SIZE_MAX - 1), TR_ERR_NOMEM);
    assert_int_equal(tr_buf_reserve(&b, SIZE_MAX / 2), TR_ERR_NOMEM);
    assert_span_equal(tr_buf_span(&b), "abc");
    tr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_keeps_order),
        cmocka_unit_test(growth_is_amortised),
        cmocka_unit_test(clear_keeps_the_capacity),
        cmocka_unit_test(consume_moves_the_rest_to_the_front),
        cmocka_unit_test(printf_appends),
        cmocka_unit_test(out_of_memory_leaves_it_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

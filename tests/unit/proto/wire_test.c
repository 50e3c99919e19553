#include "proto/wire.h"

#include "test.h"

static bool read_varint(const char *bytes, size_t len, uint64_t *v, size_t *used)
{
    const char *p = bytes;
    bool ok = tr_wire_varint(&p, bytes + len, v);
    *used = (size_t)(p - bytes);
    return ok;
}

static void varint_reads_what_it_wrote(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 20000; i++) {
        uint64_t v = tr_test_rand(&seed) >> (tr_test_rand(&seed) % 64), got;
        char out[TR_VARINT_MAX];
        size_t n = tr_wire_put_varint(out, v), used;
        assert_int_equal(n, tr_wire_varint_len(v));
        assert_true(read_varint(out, n, &got, &used));
        assert_true(got == v);
        assert_int_equal(used, n);
        for (size_t cut = 0; cut < n; cut++)
            assert_false(read_varint(out, cut, &got, &used));
    }
}

static void varint_lengths_change_at_powers_of_128(void **state)
{
    (void)state;
    assert_int_equal(tr_wire_varint_len(0), 1);
    assert_int_equal(tr_wire_varint_len(127), 1);
    assert_int_equal(tr_wire_varint_len(128), 2);
    assert_int_equal(tr_wire_varint_len(16383), 2);
    assert_int_equal(tr_wire_varint_len(16384), 3);
    assert_int_equal(tr_wire_varint_len(UINT64_MAX), 10);
}

static void varint_takes_overlong_forms_and_refuses_eleven_bytes(void **state)
{
    (void)state;
    uint64_t v;
    size_t used;
    assert_true(read_varint("\x81\x80\x00", 3, &v, &used));
    assert_true(v == 1);
    assert_int_equal(used, 3);
    assert_true(read_varint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10, &v, &used));
    assert_true(v == 0);
    assert_false(read_varint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11, &v, &used));
    assert_int_equal(used, 0);
    /* bits above the 64th fall off */
    assert_true(read_varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, &v, &used));
    assert_true(v == UINT64_MAX);
}

static bool read_tag(struct tr_span s, uint32_t *number, uint32_t *type)
{
    const char *p = s.ptr;
    return tr_wire_tag(&p, s.ptr + s.len, number, type);
}

static void tag_bounds_the_field_number(void **state)
{
    (void)state;
    uint32_t number, type;
    assert_true(read_tag(TR_SPAN("\x0a"), &number, &type));
    assert_int_equal(number, 1);
    assert_int_equal(type, TR_WIRE_LEN);
    assert_true(read_tag(TR_SPAN("\xff\xff\xff\xff\x0f"), &number, &type));
    assert_int_equal(number, 536870911);
    assert_int_equal(type, 7);
    assert_false(read_tag(TR_SPAN("\x02"), &number, &type));                 /* number 0 */
    assert_false(read_tag(TR_SPAN("\x80\x80\x80\x80\x10"), &number, &type)); /* 2^29 */
    assert_false(read_tag(TR_SPAN(""), &number, &type));
    assert_false(read_tag(TR_SPAN("\x8a"), &number, &type));
}

static void fixed_and_len_stop_at_the_end(void **state)
{
    (void)state;
    const char *bytes = "\x01\x02\x03\x04\x05\x06\x07\x08", *p = bytes;
    uint32_t v32;
    uint64_t v64;
    struct tr_span s;
    assert_false(tr_wire_fixed32(&p, bytes + 3, &v32));
    assert_ptr_equal(p, bytes);
    assert_true(tr_wire_fixed32(&p, bytes + 4, &v32));
    assert_int_equal(v32, 0x04030201);
    p = bytes;
    assert_false(tr_wire_fixed64(&p, bytes + 7, &v64));
    assert_true(tr_wire_fixed64(&p, bytes + 8, &v64));
    assert_true(v64 == 0x0807060504030201u);
    p = "\x03"
        "ab";
    assert_false(tr_wire_len(&p, p + 3, &s));
    p = "\x02"
        "ab";
    assert_true(tr_wire_len(&p, p + 3, &s));
    assert_span_equal(s, "ab");
    p = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_false(tr_wire_len(&p, p + 10, &s)); /* a length of 2^64 - 1 */
}

/* Skips the value after one tag; the number of bytes used with the tag, 0: malformed. */
static size_t skipped(struct tr_span s)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    uint32_t number, type;
    if (!tr_wire_tag(&p, end, &number, &type) || !tr_wire_skip(&p, end, number, type))
        return 0;
    return (size_t)(p - s.ptr);
}

static void skip_takes_each_wire_type(void **state)
{
    (void)state;
    assert_int_equal(skipped(TR_SPAN("\x08\xac\x02zz")), 3);
    assert_int_equal(skipped(TR_SPAN("\x09"
                                     "12345678zz")),
                     9);
    assert_int_equal(skipped(TR_SPAN("\x0a\x03"
                                     "abczz")),
                     5);
    assert_int_equal(skipped(TR_SPAN("\x0d"
                                     "1234zz")),
                     5);
    assert_int_equal(skipped(TR_SPAN("\x0b\x0czz")), 2);
    assert_int_equal(skipped(TR_SPAN("\x0b\x10\x05\x13\x1a\x01x\x14\x0czz")), 9);
    assert_int_equal(skipped(TR_SPAN("\x0c")), 0);     /* an end without a start */
    assert_int_equal(skipped(TR_SPAN("\x0e\x00")), 0); /* wire type 6 */
    assert_int_equal(skipped(TR_SPAN("\x0f\x00")), 0);
    assert_int_equal(skipped(TR_SPAN("\x0b\x14")), 0);     /* the end of another group */
    assert_int_equal(skipped(TR_SPAN("\x0b\x10\x05")), 0); /* never ends */
    assert_int_equal(skipped(TR_SPAN("\x0a\x05"
                                     "abc")),
                     0);
}

static void skip_bounds_the_nesting_of_groups(void **state)
{
    (void)state;
    char bytes[300];
    for (size_t depth = 1; depth <= 120; depth++) {
        memset(bytes, 0x0b, depth);
        memset(bytes + depth, 0x0c, depth);
        assert_int_equal(skipped(tr_span(bytes, 2 * depth)), depth <= 100 ? 2 * depth : 0);
    }
}

static void zigzag_goes_both_ways(void **state)
{
    (void)state;
    assert_int_equal(tr_wire_zigzag32(-1), 1);
    assert_int_equal(tr_wire_zigzag32(INT32_MIN), UINT32_MAX);
    assert_int_equal(tr_wire_unzigzag32(UINT32_MAX), INT32_MIN);
    assert_true(tr_wire_zigzag64(INT64_MIN) == UINT64_MAX);
    assert_true(tr_wire_unzigzag64(UINT64_MAX) == INT64_MIN);
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 10000; i++) {
        int64_t v = (int64_t)tr_test_rand(&seed);
        assert_true(tr_wire_unzigzag64(tr_wire_zigzag64(v)) == v);
        assert_int_equal(tr_wire_unzigzag32(tr_wire_zigzag32((int32_t)v)), (int32_t)v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_reads_what_it_wrote),
        cmocka_unit_test(varint_lengths_change_at_powers_of_128),
        cmocka_unit_test(varint_takes_overlong_forms_and_refuses_eleven_bytes),
        cmocka_unit_test(tag_bounds_the_field_number),
        cmocka_unit_test(fixed_and_len_stop_at_the_end),
        cmocka_unit_test(skip_takes_each_wire_type),
        cmocka_unit_test(skip_bounds_the_nesting_of_groups),
        cmocka_unit_test(zigzag_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"

static void equality_and_order(void **state)
{
    (void)state;
    assert_true(tr_span_eq(TR_SPAN("abc"), TR_SPAN("abc")));
    assert_false(tr_span_eq(TR_SPAN("abc"), TR_SPAN("abd")));
    assert_false(tr_span_eq(TR_SPAN("abc"), TR_SPAN("ab")));
    assert_true(tr_span_eq(tr_span(NULL, 0), TR_SPAN("")));
    assert_true(tr_span_ieq(TR_SPAN("Content-TYPE"), TR_SPAN("content-type")));
    assert_false(tr_span_ieq(TR_SPAN("a"), TR_SPAN("b")));
    assert_false(tr_span_ieq(TR_SPAN("@"), TR_SPAN("`"))); /* differ by 0x20 but are no letters */
    assert_true(tr_span_cmp(TR_SPAN("ab"), TR_SPAN("abc")) < 0);
    assert_true(tr_span_cmp(TR_SPAN("b"), TR_SPAN("abc")) > 0);
    assert_true(tr_span_cmp(TR_SPAN("\xff"), TR_SPAN("a")) > 0);
    assert_int_equal(tr_span_cmp(TR_SPAN("x"), TR_SPAN("x")), 0);
    assert_int_equal(tr_span_cmp(tr_span(NULL, 0), tr_span(NULL, 0)), 0);
}

static void prefixes_suffixes_and_parts(void **state)
{
    (void)state;
    struct tr_span s = TR_SPAN("hello");
    assert_true(tr_span_starts(s, TR_SPAN("he")));
    assert_true(tr_span_starts(s, TR_SPAN("")));
    assert_false(tr_span_starts(s, TR_SPAN("hello!")));
    assert_true(tr_span_ends(s, TR_SPAN("llo")));
    assert_false(tr_span_ends(s, TR_SPAN("lo!")));
    assert_span_equal(tr_span_from(s, 3), "lo");
    assert_span_equal(tr_span_from(s, 9), "");
    assert_span_equal(tr_span_sub(s, 1, 3), "ell");
    assert_span_equal(tr_span_sub(s, 3, 30), "lo");
    assert_span_equal(tr_span_cstr("x"), "x");
    assert_int_equal(tr_span_cstr(NULL).len, 0);
}

static void finds_first_and_last(void **state)
{
    (void)state;
    struct tr_span s = TR_SPAN("a.b.c");
    assert_int_equal(tr_span_find(s, '.'), 1);
    assert_int_equal(tr_span_rfind(s, '.'), 3);
    assert_int_equal(tr_span_find(s, 'x'), 5);
    assert_int_equal(tr_span_rfind(s, 'x'), 5);
    assert_int_equal(tr_span_find(tr_span(NULL, 0), 'x'), 0);
}

static void trim_takes_space_and_tab_only(void **state)
{
    (void)state;
    assert_span_equal(tr_span_trim(TR_SPAN(" \t a b\t ")), "a b");
    assert_span_equal(tr_span_trim(TR_SPAN(" \t ")), "");
    assert_span_equal(tr_span_trim(TR_SPAN("\r\nx")), "\r\nx");
}

static void cut_gives_every_part(void **state)
{
    (void)state;
    struct tr_span s = TR_SPAN("a,,b,");
    assert_span_equal(tr_span_cut(&s, ','), "a");
    assert_span_equal(tr_span_cut(&s, ','), "");
    assert_span_equal(tr_span_cut(&s, ','), "b");
    assert_non_null(s.ptr);
    assert_span_equal(tr_span_cut(&s, ','), "");
    assert_null(s.ptr);
}

static void u64_takes_1_to_19_digits(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_true(tr_span_u64(TR_SPAN("0"), &v));
    assert_int_equal(v, 0);
    assert_true(tr_span_u64(TR_SPAN("9999999999999999999"), &v));
    assert_true(v == 9999999999999999999u);
    static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "1a", "10000000000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = 7;
        assert_false(tr_span_u64(tr_span_cstr(bad[i]), &v));
        assert_int_equal(v, 7);
    }
}

static void hash_depends_on_every_byte_the_length_and_the_seed(void **state)
{
    (void)state;
    char text[40];
    memset(text, 'a', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++) {
        uint64_t h = tr_span_hash(tr_span(text, len), 1);
        assert_true(h == tr_span_hash(tr_span(text, len), 1));
        assert_true(h != tr_span_hash(tr_span(text, len), 2));
        for (size_t i = 0; i < len; i++) {
            text[i] = 'b';
            assert_true(h != tr_span_hash(tr_span(text, len), 1));
            text[i] = 'a';
        }
        if (len)
            assert_true(h != tr_span_hash(tr_span(text, len - 1), 1));
    }
}

static void characters(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char ch = (char)c;
        assert_int_equal(tr_is_digit(ch), c >= '0' && c <= '9');
        assert_int_equal(tr_is_alpha(ch), (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
        assert_int_equal(tr_lower(ch), c >= 'A' && c <= 'Z' ? (char)(c + 32) : ch);
        const char *at = c ? strchr("0123456789abcdef0123456789ABCDEF", c) : NULL;
        int want = at ? (int)((at - strchr(at, '\0') + 32) % 16) : -1;
        assert_int_equal(tr_hex_value(ch), want);
    }
}

static void printable_is_what_is_from_space_to_tilde(void **state)
{
    (void)state;
    char text[40];
    for (size_t len = 0; len < sizeof text; len++) {
        memset(text, 'a', sizeof text);
        assert_true(tr_span_is_printable(tr_span(text, len)));
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_int_equal(tr_span_is_printable(tr_span(text, len)), c >= 0x20 && c <= 0x7E);
            }
            text[at] = ' ';
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable_is_what_is_from_space_to_tilde),
        cmocka_unit_test(equality_and_order),
        cmocka_unit_test(prefixes_suffixes_and_parts),
        cmocka_unit_test(finds_first_and_last),
        cmocka_unit_test(trim_takes_space_and_tab_only),
        cmocka_unit_test(cut_gives_every_part),
        cmocka_unit_test(u64_takes_1_to_19_digits),
        cmocka_unit_test(hash_depends_on_every_byte_the_length_and_the_seed),
        cmocka_unit_test(characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "route/path.h"

#include "test.h"

#include <stdio.h>

static void check_ok(const char *path)
{
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_path_check(tr_span_cstr(path), &st);
    if (err)
        fail_msg("%s: %.*s at %zu", path, (int)st.text_len, st.text, st.offset);
}

static void check_refused(const char *path, size_t offset)
{
    struct tr_status st;
    tr_status_clear(&st);
    if (tr_path_check(tr_span_cstr(path), &st) != TR_ERR_BAD_TARGET)
        fail_msg("%s was let in", path);
    if (st.offset != offset)
        fail_msg("%s: offset %zu, not %zu", path, st.offset, offset);
    assert_int_equal(tr_path_check(tr_span_cstr(path), NULL), TR_ERR_BAD_TARGET);
}

static void check_lets_pchar_and_slashes_in(void **state)
{
    (void)state;
    check_ok("/");
    check_ok("//");
    check_ok("/a//b/");
    check_ok("/-._~!$&'()*+,;=:@/azAZ09");
    check_ok("/%20%2F%2f%25%01%7F");
    check_ok("/%C3%A9%E2%82%AC%F0%9F%92%A9x");
}

static void check_refuses_bytes_outside_the_grammar(void **state)
{
    (void)state;
    check_refused("", 0);
    check_refused("a", 0);
    check_refused("*", 0);
    const char *bad = " \"#<>?[\\]^`{|}\x01\x7f\x80\xff";
    for (size_t i = 0; bad[i]; i++) {
        char path[8] = {'/', 'x', bad[i], 'y', 0};
        check_refused(path, 2);
    }
    struct tr_status st;
    assert_int_equal(tr_path_check(tr_span("/a\0b", 4), &st), TR_ERR_BAD_TARGET);
    assert_int_equal(st.offset, 2);
}

static void check_refuses_malformed_escapes_and_nul(void **state)
{
    (void)state;
    check_refused("/%", 1);
    check_refused("/a%2", 2);
    check_refused("/a%2g/b", 2);
    check_refused("/a%g2", 2);
    check_refused("/%%20", 1);
    check_refused("/ab%00", 3);
}

static void check_refuses_dot_segments_however_written(void **state)
{
    (void)state;
    static const char *const dots[] = {".",    "..",     "%2e",   "%2E",    "%2e.",
                                       ".%2E", "%2e%2E", ".:get", "..:get", "%2e%2e:get"};
    for (size_t i = 0; i < sizeof dots / sizeof dots[0]; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/%s", dots[i]);
        check_refused(path, 1);
        (void)snprintf(path, sizeof path, "/ab/%s", dots[i]);
        check_refused(path, 4);
        bool verb = strchr(dots[i], ':') != NULL;
        (void)snprintf(path, sizeof path, "/ab/%s/c", dots[i]);
        if (verb)
            check_ok(path);
        else
            check_refused(path, 4);
    }
    check_ok("/...");
    check_ok("/.a/..b/a../b.");
    check_ok("/%2e%2e%2e");
    check_ok("/..%2Fa"); /* data of one segment: '/' is not a separator there */
}

static void check_refuses_what_is_not_utf8_after_decoding(void **state)
{
    (void)state;
    check_refused("/%80", 1);
    check_refused("/a%C3", 2);
    check_refused("/%C3/%A9", 1);
    check_refused("/%C3a", 1);
    check_refused("/%C3%41", 1);
    check_refused("/%E2%82", 1);
    check_refused("/%C3%A9%FF", 7);
    check_refused("/%ED%A0%80", 1); /* a surrogate */
    check_refused("/%C0%AF", 1);    /* overlong '/' */
    check_refused("/%F4%90%80%80", 1);
}

static void canonical_decodes_unreserved_escapes_only(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"/a/b", "/a/b"},
        {"/%61%2Fb", "/a%2Fb"},
        {"/%2f%2F%3a", "/%2f%2F%3a"},
        {"/%7E%2D%5f%30%5A", "/~-_0Z"},
        {"/%2525", "/%2525"},
        {"/a%20b%41", "/a%20bA"},
        {"/%C3%A9", "/%C3%A9"},
    };
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_span in = tr_span_cstr(cases[i].in), out;
        assert_int_equal(tr_path_canonical(in, &arena, &out), TR_OK);
        assert_span_equal(out, cases[i].out);
        if (strcmp(cases[i].in, cases[i].out) == 0)
            assert_ptr_equal(in.ptr, out.ptr);
    }
    tr_arena_fini(&arena);
}

static void decode_keeps_what_the_mode_keeps_as_it_was_sent(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *slash, *reserved, *all;
    } cases[] = {
        {"plain", "plain", "plain", "plain"},
        {"a%20b", "a b", "a b", "a b"},
        {"%2f%2F", "%2f%2F", "%2f%2F", "//"},
        {"%3a%21%5B%23", ":![#", "%3a%21%5B%23", ":![#"},
        {"%25%22", "%\"", "%\"", "%\""},
        {"%C3%A9/%2fx", "\xC3\xA9/%2fx", "\xC3\xA9/%2fx", "\xC3\xA9//x"},
    };
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_span raw = tr_span_cstr(cases[i].raw), out;
        assert_int_equal(tr_path_decode(raw, TR_UNESCAPE_ALL_EXCEPT_SLASH, &arena, &out), TR_OK);
        assert_span_equal(out, cases[i].slash);
        if (strcmp(cases[i].raw, cases[i].slash) == 0)
            assert_ptr_equal(out.ptr, raw.ptr);
        assert_int_equal(tr_path_decode(raw, TR_UNESCAPE_ALL_EXCEPT_RESERVED, &arena, &out), TR_OK);
        assert_span_equal(out, cases[i].reserved);
        assert_int_equal(tr_path_decode(raw, TR_UNESCAPE_ALL, &arena, &out), TR_OK);
        assert_span_equal(out, cases[i].all);
    }
    tr_arena_fini(&arena);
}

static void every_reserved_character_of_rfc_6570_stays(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    for (unsigned c = 1; c < 0x80; c++) {
        char raw[4];
        (void)snprintf(raw, sizeof raw, "%%%02X", c);
        struct tr_span out;
        assert_int_equal(
            tr_path_decode(tr_span(raw, 3), TR_UNESCAPE_ALL_EXCEPT_RESERVED, &arena, &out), TR_OK);
        assert_int_equal(out.len, strchr("!#$&'()*+,/:;=?@[]", (int)c) ? 3 : 1);
    }
    tr_arena_fini(&arena);
}

static void normal_forms_are_equal_when_segments_mean_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *segment, *normal;
    } cases[] = {
        {"abc", "abc"}, {"%61bc", "abc"}, {"%2f", "%2F"},       {"a%2Fb", "a%2Fb"},
        {"", ""},       {"%7e%2e", "~."}, {"%c3%a9", "%C3%A9"}, {"%2A", "%2A"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        struct tr_span segment = tr_span_cstr(cases[i].segment);
        size_t n = tr_path_normalise(segment, out);
        assert_span_equal(tr_span(out, n), cases[i].normal);
        assert_true(tr_path_normal_eq(segment, tr_span_cstr(cases[i].normal)));
        assert_false(tr_path_normal_eq(segment, tr_span_cstr("other")));
        char longer[64];
        (void)snprintf(longer, sizeof longer, "%sx", cases[i].normal);
        assert_false(tr_path_normal_eq(segment, tr_span_cstr(longer)));
        if (segment.len)
            assert_false(tr_path_normal_eq(segment, TR_SPAN("")));
    }
}

static void short_memory_is_an_error(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    struct tr_span out;
    tr_alloc_fail_after(1);
    assert_int_equal(tr_path_canonical(TR_SPAN("/%61"), &arena, &out), TR_ERR_NOMEM);
    assert_int_equal(tr_path_decode(TR_SPAN("%61"), TR_UNESCAPE_ALL, &arena, &out), TR_ERR_NOMEM);
    assert_int_equal(tr_path_canonical(TR_SPAN("/a"), &arena, &out), TR_OK);
    tr_alloc_fail_after(0);
    tr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_lets_pchar_and_slashes_in),
        cmocka_unit_test(check_refuses_bytes_outside_the_grammar),
        cmocka_unit_test(check_refuses_malformed_escapes_and_nul),
        cmocka_unit_test(check_refuses_dot_segments_however_written),
        cmocka_unit_test(check_refuses_what_is_not_utf8_after_decoding),
        cmocka_unit_test(canonical_decodes_unreserved_escapes_only),
        cmocka_unit_test(decode_keeps_what_the_mode_keeps_as_it_was_sent),
        cmocka_unit_test(every_reserved_character_of_rfc_6570_stays),
        cmocka_unit_test(normal_forms_are_equal_when_segments_mean_the_same),
        cmocka_unit_test(short_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

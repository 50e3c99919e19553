#include "base/status.h"

#include "base/utf8.h"
#include "test.h"

static void every_error_has_a_usable_row(void **state)
{
    (void)state;
    for (int e = 0; e < TR_ERR__COUNT; e++) {
        const struct tr_err_info *info = tr_err_info((enum tr_err)e);
        assert_non_null(info->name);
        assert_true(info->grpc_code <= 16);
        assert_true(info->http_status >= 200 && info->http_status <= 599);
        if (e != TR_OK) {
            assert_true(info->text.len > 0);
            assert_true(info->grpc_code != 0);
            assert_true(info->http_status >= 400);
        }
        for (int f = 0; f < e; f++)
            assert_string_not_equal(info->name, tr_err_info((enum tr_err)f)->name);
    }
    assert_string_equal(tr_err_info((enum tr_err)9999)->name, "INTERNAL");
    assert_string_equal(tr_err_info(TR_ERR_JSON_SYNTAX)->name, "JSON_SYNTAX");
}

static void fail_formats_and_returns_its_error(void **state)
{
    (void)state;
    struct tr_status st;
    tr_status_clear(&st);
    assert_int_equal(tr_fail(&st, TR_ERR_JSON_TYPE, "expected %s", "a string"), TR_ERR_JSON_TYPE);
    assert_int_equal(st.err, TR_ERR_JSON_TYPE);
    assert_span_equal(tr_status_text(&st), "expected a string");
    assert_int_equal(tr_fail(NULL, TR_ERR_NOMEM, "x"), TR_ERR_NOMEM);
    tr_status_set_field(NULL, TR_SPAN("x"));
    tr_status_set_field(&st, TR_SPAN("a.b"));
    assert_span_equal(tr_span(st.field, st.field_len), "a.b");
}

static void text_defaults_to_the_table(void **state)
{
    (void)state;
    struct tr_status st;
    tr_status_clear(&st);
    st.err = TR_ERR_JSON_BASE64;
    assert_span_equal(tr_status_text(&st), "the value is not base64");
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    struct tr_status st;
    char text[400];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x98\x80", 4); /* U+1F600 */
        text[396] = '\0';
        tr_status_clear(&st);
        (void)tr_fail(&st, TR_ERR_INTERNAL, "%s", text);
        assert_true(st.text_len <= sizeof st.text);
        assert_true(st.text_len > sizeof st.text - 6);
        assert_true(tr_utf8_valid(tr_status_text(&st)));
        tr_status_set_field(&st, tr_span(text, 396));
        assert_true(st.field_len <= sizeof st.field);
        assert_true(st.field_len >= sizeof st.field - 4);
        assert_true(tr_utf8_valid(tr_span(st.field, st.field_len)));
    }
}

static void a_text_that_just_fits_is_kept(void **state)
{
    (void)state;
    struct tr_status st;
    char text[TR_STATUS_FIELD_MAX];
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 2, "\xC3\xA9", 2);
    tr_status_clear(&st);
    tr_status_set_field(&st, tr_span(text, sizeof text));
    assert_int_equal(st.field_len, sizeof text);
    assert_true(tr_utf8_valid(tr_span(st.field, st.field_len)));
}

static void codes_map_as_the_tables_say(void **state)
{
    (void)state;
    static const unsigned http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    400, 409, 400, 501, 500, 503, 500, 401};
    for (unsigned i = 0; i < 17; i++)
        assert_int_equal(tr_http_from_grpc(i), http[i]);
    assert_int_equal(tr_http_from_grpc(17), 500);
    static const unsigned pairs[][2] = {{400, 13}, {401, 16}, {403, 7},  {404, 12}, {429, 14},
                                        {502, 14}, {503, 14}, {504, 14}, {500, 2},  {418, 2}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_int_equal(tr_grpc_from_http(pairs[i][0]), pairs[i][1]);
    assert_span_equal(tr_grpc_code_name(3), "INVALID_ARGUMENT");
    assert_span_equal(tr_grpc_code_name(16), "UNAUTHENTICATED");
    assert_span_equal(tr_grpc_code_name(17), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_usable_row),
        cmocka_unit_test(fail_formats_and_returns_its_error),
        cmocka_unit_test(text_defaults_to_the_table),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(a_text_that_just_fits_is_kept),
        cmocka_unit_test(codes_map_as_the_tables_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

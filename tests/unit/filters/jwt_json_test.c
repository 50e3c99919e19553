#include "filters/jwt_json.h"

#include "test.h"

static enum tr_jwt_result read_all(struct tr_span json, enum tr_jwt_result repeat)
{
    struct tr_jwt_json r;
    enum tr_json_tok tok;
    tr_jwt_json_begin(&r, json, repeat);
    do
        tok = tr_jwt_json_next(&r);
    while (tok != TR_JSON_END && tok != TR_JSON_ERROR);
    /* it stays so */
    assert_int_equal(tr_jwt_json_next(&r), tok);
    tr_jwt_json_end(&r);
    assert_int_equal(tok == TR_JSON_ERROR, r.fault != TR_JWT_OK);
    return r.fault;
}

static void a_name_is_there_once_in_an_object(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool once;
    } cases[] = {
        {"{}", true},
        {"{\"a\":1,\"b\":2,\"A\":3,\"\":4}", true},
        {"{\"a\":1,\"a\":1}", false},
        {"{\"\":1,\"\":1}", false},
        {"{\"a\":1,\"b\":{},\"c\":[],\"a\":1}", false},
        {"{\"a\":1,\"\\u0061\":1}", false},
        {"{\"a\":{\"a\":{\"a\":1}}}", true},
        {"{\"a\":{\"b\":1},\"b\":{\"a\":1}}", true},
        {"{\"x\":{\"a\":1,\"b\":2},\"y\":{\"a\":1,\"b\":2}}", true},
        {"{\"x\":{\"a\":1,\"b\":{\"a\":2},\"a\":3}}", false},
        {"[{\"a\":1},{\"a\":1},[{\"a\":1}]]", true},
        {"[[[{\"a\":[{\"b\":1}],\"b\":[],\"a\":0}]]]", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_span json = tr_span_cstr(cases[i].json);
        assert_int_equal(read_all(json, TR_JWT_CLAIMS), cases[i].once ? TR_JWT_OK : TR_JWT_CLAIMS);
        assert_int_equal(read_all(json, TR_JWT_MALFORMED),
                         cases[i].once ? TR_JWT_OK : TR_JWT_MALFORMED);
    }
}

static void every_cut_is_malformed(void **state)
{
    (void)state;
    struct tr_span json = TR_SPAN("{\"a\":[1,{\"b\":\"\\u00e9x\"},true,null],\"c\":-1.5e3}");
    assert_int_equal(read_all(json, TR_JWT_CLAIMS), TR_JWT_OK);
    for (size_t n = 0; n < json.len; n++)
        assert_int_equal(read_all(tr_span_sub(json, 0, n), TR_JWT_CLAIMS), TR_JWT_MALFORMED);
    assert_int_equal(read_all(TR_SPAN("{} {}"), TR_JWT_CLAIMS), TR_JWT_MALFORMED);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char json[2 * TR_JWT_DEPTH_MAX + 2];
    for (size_t depth = TR_JWT_DEPTH_MAX; depth <= TR_JWT_DEPTH_MAX + 1; depth++) {
        memset(json, '[', depth);
        memset(json + depth, ']', depth);
        assert_int_equal(read_all(tr_span(json, 2 * depth), TR_JWT_CLAIMS),
                         depth > TR_JWT_DEPTH_MAX ? TR_JWT_MALFORMED : TR_JWT_OK);
    }
}

static void names_that_are_open_are_bounded(void **state)
{
    (void)state;
    for (int n = TR_JWT_NAMES_MAX; n <= TR_JWT_NAMES_MAX + 1; n++) {
        struct tr_buf b;
        tr_buf_init(&b);
        for (int i = 0; i < n; i++)
            assert_int_equal(tr_buf_printf(&b, "%c\"%d\":0", i ? ',' : '{', i), 0);
        assert_int_equal(tr_buf_push(&b, '}'), 0);
        assert_int_equal(read_all(tr_buf_span(&b), TR_JWT_CLAIMS),
                         n > TR_JWT_NAMES_MAX ? TR_JWT_CLAIMS : TR_JWT_OK);
        tr_buf_fini(&b);
    }
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    tr_alloc_fail_after(1);
    assert_int_equal(read_all(TR_SPAN("{\"a\":1}"), TR_JWT_CLAIMS), TR_JWT_OK);
    assert_int_equal(read_all(TR_SPAN("{\"\\u0061\":1}"), TR_JWT_CLAIMS), TR_JWT_NOMEM);
    tr_alloc_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_there_once_in_an_object),
        cmocka_unit_test(every_cut_is_malformed),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(names_that_are_open_are_bounded),
        cmocka_unit_test(out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

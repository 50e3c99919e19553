#include "test.h"

#include "pipeline/accept.h"

#define ALL 0x1Fu

static enum tr_format choose(unsigned offered, const char *a, const char *b)
{
    struct tr_arena arena;
    struct tr_headers headers = {0};
    const char *values[] = {a, b};
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < 2; i++)
        if (values[i])
            assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("accept"), tr_span_cstr(values[i]), TR_TOKEN_ACCEPT), TR_OK);
    enum tr_format f = tr_accept_choose(&headers, offered);
    tr_arena_fini(&arena);
    return f;
}

static void absent_or_unacceptable_gives_json(void **state)
{
    (void)state;
    assert_int_equal(choose(ALL, NULL, NULL), TR_FORMAT_JSON);
    assert_int_equal(choose(ALL, "*/*", NULL), TR_FORMAT_JSON);
    assert_int_equal(choose(ALL, "image/png", NULL), TR_FORMAT_JSON);
    assert_int_equal(choose(ALL, "", NULL), TR_FORMAT_JSON);
    assert_int_equal(choose(1u << TR_FORMAT_JSON, "text/event-stream", NULL), TR_FORMAT_JSON);
}

static void the_highest_quality_wins(void **state)
{
    (void)state;
    assert_int_equal(choose(ALL, "application/json;q=0.5, application/x-ndjson", NULL), TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "application/json;q=0.5, application/x-protobuf;q=0.4", NULL), TR_FORMAT_JSON);
    assert_int_equal(choose(ALL, "application/json; q=0, */*", NULL), TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "application/json;q=0.001", "text/event-stream;q=0.002"), TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "application/jsonl", NULL), TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "APPLICATION/PROTOBUF", NULL), TR_FORMAT_PROTO);
}

static void the_more_specific_range_decides(void **state)
{
    (void)state;
    assert_int_equal(choose(ALL, "text/*, */*;q=0.1", NULL), TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "*/*, application/json;q=0.2, application/*;q=0.3", NULL), TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "application/json;q=1.5, application/json-seq;q=0.1", NULL), TR_FORMAT_JSON_SEQ); /* malformed q */
}

static void media_types_are_compared_without_parameters(void **state)
{
    (void)state;
    assert_true(tr_media_type_is(TR_SPAN("Application/JSON ; charset=utf-8"), TR_SPAN("application/json")));
    assert_false(tr_media_type_is(TR_SPAN("application/jsonx"), TR_SPAN("application/json")));
    assert_span_equal(tr_media_param(TR_SPAN("a/b; Charset=\"UTF-8\""), TR_SPAN("charset")), "UTF-8");
    assert_null(tr_media_param(TR_SPAN("a/b"), TR_SPAN("charset")).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_or_unacceptable_gives_json),
        cmocka_unit_test(the_highest_quality_wins),
        cmocka_unit_test(the_more_specific_range_decides),
        cmocka_unit_test(media_types_are_compared_without_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

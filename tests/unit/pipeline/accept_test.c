#include "pipeline/accept.h"

#include "test.h"
#include "transcode/plan.h"

#define ALL 0x1Fu

static enum tr_format choose(unsigned offered, const char *a, const char *b)
{
    struct tr_arena arena;
    struct tr_headers headers = {0};
    const char *values[] = {a, b};
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < 2; i++)
        if (values[i])
            assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("accept"),
                                            tr_span_cstr(values[i]), TR_TOKEN_ACCEPT),
                             TR_OK);
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
    assert_int_equal(choose(ALL, "application/json;q=0.5, application/x-ndjson", NULL),
                     TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "application/json;q=0.5, application/x-protobuf;q=0.4", NULL),
                     TR_FORMAT_JSON);
    assert_int_equal(choose(ALL, "application/json; q=0, */*", NULL), TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "application/json;q=0.001", "text/event-stream;q=0.002"),
                     TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "application/jsonl", NULL), TR_FORMAT_NDJSON);
    assert_int_equal(choose(ALL, "APPLICATION/PROTOBUF", NULL), TR_FORMAT_PROTO);
}

static void the_more_specific_range_decides(void **state)
{
    (void)state;
    assert_int_equal(choose(ALL, "text/*, */*;q=0.1", NULL), TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "*/*, application/json;q=0.2, application/*;q=0.3", NULL),
                     TR_FORMAT_SSE);
    assert_int_equal(choose(ALL, "application/json;q=1.5, application/json-seq;q=0.1", NULL),
                     TR_FORMAT_JSON_SEQ); /* malformed q */
}

static void media_types_are_compared_without_parameters(void **state)
{
    (void)state;
    assert_true(
        tr_media_type_is(TR_SPAN("Application/JSON ; charset=utf-8"), TR_SPAN("application/json")));
    assert_false(tr_media_type_is(TR_SPAN("application/jsonx"), TR_SPAN("application/json")));
    assert_span_equal(tr_media_param(TR_SPAN("a/b; Charset=\"UTF-8\""), TR_SPAN("charset")),
                      "UTF-8");
    assert_null(tr_media_param(TR_SPAN("a/b"), TR_SPAN("charset")).ptr);
}

static void lines_keep_the_name_they_were_asked_for(void **state)
{
    static const char *const rows[][2] = {
        {"application/jsonl", "application/jsonl"},
        {"application/x-ndjson, application/jsonl", "application/x-ndjson"},
        {"application/x-ndjson;q=0.5, application/jsonl", "application/jsonl"},
        {"application/*;q=0.1, application/jsonl;q=0.2", "application/jsonl"},
        {"application/*", "application/x-ndjson"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_arena arena;
        struct tr_headers headers = {0};
        tr_arena_init(&arena, NULL);
        assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("accept"),
                                        tr_span_cstr(rows[i][0]), TR_TOKEN_ACCEPT),
                         TR_OK);
        assert_span_equal(tr_accept_type(&headers, TR_FORMAT_NDJSON), rows[i][1]);
        assert_span_equal(tr_accept_type(&headers, TR_FORMAT_SSE), "text/event-stream");
        tr_arena_fini(&arena);
    }
}

static void the_type_and_the_rule_decide_how_a_body_is_read(void **state)
{
    static const struct {
        const char *type; /* NULL: none */
        enum tr_body_kind body;
        bool http_body, stream, no_body;
        enum tr_err want;
        enum tr_input input;
    } rows[] = {
        {NULL, TR_BODY_STAR, false, false, false, TR_OK, TR_INPUT_JSON},
        {"application/a+json", TR_BODY_STAR, false, false, false, TR_OK, TR_INPUT_JSON},
        {"application/+json", TR_BODY_STAR, false, false, false, TR_ERR_UNSUPPORTED_MEDIA_TYPE, 0},
        {"application/json;charset=latin1", TR_BODY_STAR, false, false, false,
         TR_ERR_UNSUPPORTED_MEDIA_TYPE, 0},
        {"application/protobuf", TR_BODY_FIELD, false, false, false, TR_OK, TR_INPUT_PROTO},
        {"application/x-ndjson", TR_BODY_STAR, false, true, false, TR_OK, TR_INPUT_JSON},
        {"application/x-ndjson", TR_BODY_STAR, false, false, false, TR_ERR_UNSUPPORTED_MEDIA_TYPE,
         0},
        {"text/plain", TR_BODY_STAR, false, false, true, TR_OK, TR_INPUT_JSON},
        {"text/plain", TR_BODY_STAR, true, false, false, TR_OK, TR_INPUT_HTTP_BODY},
        {"text/plain", TR_BODY_NONE, false, false, false, TR_OK, TR_INPUT_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tr_arena arena;
        struct tr_headers headers = {0};
        struct tr_rpc rpc = {.client_streaming = rows[i].stream};
        struct tr_plan plan = {
            .rpc = &rpc, .body = (uint8_t)rows[i].body, .body_is_http_body = rows[i].http_body};
        struct tr_span type;
        enum tr_input input = TR_INPUT_NONE;
        tr_arena_init(&arena, NULL);
        if (rows[i].type)
            assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("content-type"),
                                            tr_span_cstr(rows[i].type), TR_TOKEN_CONTENT_TYPE),
                             TR_OK);
        assert_int_equal(tr_input_choose(&headers, &plan, rows[i].no_body, &input, &type, NULL),
                         rows[i].want);
        if (!rows[i].want)
            assert_int_equal(input, rows[i].input);
        tr_arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_or_unacceptable_gives_json),
        cmocka_unit_test(the_highest_quality_wins),
        cmocka_unit_test(the_more_specific_range_decides),
        cmocka_unit_test(media_types_are_compared_without_parameters),
        cmocka_unit_test(lines_keep_the_name_they_were_asked_for),
        cmocka_unit_test(the_type_and_the_rule_decide_how_a_body_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
